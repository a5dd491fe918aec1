//! The order in which pods and traffic move: Grow, then Shift, then Shrink (R6). Everything that makes a release safe
//! for the requests that are under way is decided here and nowhere else.
//!
//! What is removed is judged by the *observed* route, never by what was meant; what is raised needs available pods.

use crate::replicas::{self, Counts, Pods};
use crate::scene::{Scene, Versions, after, memory, stored};
use crate::steps::{self, Stage, Wish};
use headgate_api::{RolloutStatus, TrafficWeights, WeightDestination, labels};
use headgate_model::spec::Routing;
use headgate_model::{Destination, Direction, Effect, ReplicaSetView, Timestamp, TrafficIntent, WeightRange};
use std::collections::BTreeMap;

/// Seconds that proxies are given to follow a route before the Service behind it is pointed elsewhere.
pub(crate) const ROUTE_SETTLES_SECONDS: i32 = 5;

/// What is to be done, and when to look again.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) grow: Vec<Effect>,
    pub(crate) shift: Vec<Effect>,
    pub(crate) shrink: Vec<Effect>,
    pub(crate) wake: Vec<Timestamp>,
    /// The latest time until which pods stay only because their delay has not passed.
    pub(crate) delayed_until: Option<Timestamp>,
}

/// The pods that a stage wants in the end.
pub(crate) fn target(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>) -> Counts {
    let desired = scene.spec.replicas;
    if versions.stable.is_none() {
        return Counts { canary: desired, stable: 0 };
    }
    let Wish { weight, scale } = steps::wish(stage, scene.spec);
    let total = steps::total(scene.spec);
    match &scene.spec.canary.routing {
        None => replicas::nearest_split(desired, weight, total, scene.max_surge()),
        Some(routing) => {
            let canary =
                replicas::routed_canary(desired, weight, total, scale, routing.min_pods_per_replica_set);
            Counts { canary, stable: desired }
        }
    }
}

/// True when pods and routes are as the stage wants them: a step may end, a release may be promoted.
pub(crate) fn is_reached(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>) -> bool {
    pods_reached(scene, stage, versions) && route_reached(scene, stage, versions)
}

/// True when the pods are as the stage wants them.
pub(crate) fn pods_reached(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>) -> bool {
    let target = target(scene, stage, versions);
    let routed = scene.spec.canary.routing.is_some();
    let canary = versions.current.is_some_and(|canary| {
        let size = if routed { canary.replicas >= target.canary } else { canary.replicas == target.canary };
        size && replicas::enough_available(
            canary.available(),
            target.canary,
            scene.spec.canary.progress_threshold,
        )
    });
    // At the end the old pods need not be gone: they go once the new version is stable.
    let finishing = stage == Stage::Finishing;
    let stable = versions.stable.is_none_or(|stable| {
        finishing || (stable.replicas == target.stable && stable.current == target.stable)
    });
    let others = routed || finishing || versions.others.iter().all(|other| other.available() == 0);
    canary && stable && others
}

/// True when every router shows what the stage wants, and none says that the data plane lags.
pub(crate) fn route_reached(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>) -> bool {
    if scene.spec.canary.routing.is_none() {
        return true;
    }
    let weight = steps::wish(stage, scene.spec).weight;
    let weights = scene.weight_routers().all(|router| {
        router.state.as_ref().is_ok_and(|state| {
            let shown = state.weights.is_none_or(|range| {
                range.well_formed && range.canary_min == weight && range.canary_max == weight
            });
            shown && state.confirmed != Some(false)
        })
    });
    weights && (weight == 0 || canary_service_selects(scene, versions.current))
}

/// The largest share that any route gives to the canary Service; `None` while a router can't tell.
fn observed_canary_max(scene: &Scene<'_>) -> Option<i32> {
    let mut most = 0;
    for router in scene.weight_routers() {
        let state = router.state.as_ref().ok()?;
        most = most.max(state.weights.map_or(0, |range| range.canary_max));
    }
    Some(most)
}

/// True when the Service of the canary, where there is one, leads to this version.
fn canary_service_selects(scene: &Scene<'_>, set: Option<&ReplicaSetView>) -> bool {
    let service = scene.spec.canary.canary_service.as_ref();
    service.is_none() || (set.is_some() && scene.selected(service) == set.map(ReplicaSetView::hash))
}

/// Decides what moves. `record` is as it will be stored; the observed weights are entered into it.
pub(crate) fn plan(scene: &Scene<'_>, record: &mut RolloutStatus) -> Plan {
    let versions = scene.versions(&record.stable_rs);
    let stage = steps::stage(record, scene.spec);
    note_weights(scene, record);
    let mut plan = Plan::default();
    shift(scene, record, stage, &versions, &mut plan);
    match &scene.spec.canary.routing {
        Some(routing) => {
            scale_routed(scene, record, stage, &versions, routing, &mut plan);
            retire_others(scene, &versions, routing, &mut plan);
        }
        None => scale_basic(scene, record, stage, &versions, &mut plan),
    }
    plan
}

/// Enters the weights that the routes show. When they changed, drain time counts from now.
fn note_weights(scene: &Scene<'_>, record: &mut RolloutStatus) {
    if scene.spec.canary.routing.is_none() {
        if let Some(canary) = &mut record.canary {
            canary.weights = None;
        }
        return;
    }
    let Some(shown) = observed_canary_max(scene) else { return };
    let canary = &scene.spec.canary;
    let destination = |weight, service: &Option<String>, hash: &str| WeightDestination {
        weight,
        service_name: service.clone().unwrap_or_default(),
        pod_template_hash: hash.to_owned(),
    };
    let confirmed = scene.weight_routers().filter_map(|router| router.state.as_ref().ok()?.confirmed);
    let weights = TrafficWeights {
        canary: destination(shown, &canary.canary_service, &record.current_pod_hash),
        stable: destination(steps::total(scene.spec) - shown, &canary.stable_service, &record.stable_rs),
        additional: Vec::new(),
        verified: confirmed.reduce(|all, one| all && one),
    };
    let before = record
        .canary
        .as_ref()
        .and_then(|canary| canary.weights.as_ref())
        .map(|weights| weights.canary.weight);
    if before.is_some_and(|before| before != shown) {
        memory(record).weight_lowered_at = stored(scene.now);
    }
    crate::intent::canary(record).weights = Some(weights);
}

// ---- Shift ----------------------------------------------------------------------------------------------------------

fn shift(scene: &Scene<'_>, record: &RolloutStatus, stage: Stage, versions: &Versions<'_>, plan: &mut Plan) {
    let canary = &scene.spec.canary;
    let total = steps::total(scene.spec);
    let stable = Destination {
        service: canary.stable_service.clone(),
        hash: stable_selection(scene, versions, &record.stable_rs),
    };
    let canary = Destination {
        service: canary.canary_service.clone(),
        hash: canary_selection(scene, record, stage, versions, plan),
    };
    for router in &scene.snapshot.routers {
        let Ok(state) = &router.state else { continue };
        let (weight, direction) = match (router.capabilities.weights, state.weights) {
            (true, Some(range)) => {
                let weight = weight(scene, stage, versions, record, range);
                let back = weight < range.canary_max || matches!(stage, Stage::Aborted | Stage::Promoted);
                (weight, if back { Direction::TowardsStable } else { Direction::TowardsCanary })
            }
            _ => (0, services_direction(stage)),
        };
        let intent =
            TrafficIntent { stable: stable.clone(), canary: canary.clone(), canary_weight: weight, total };
        if !state.satisfies(&intent) {
            plan.shift.push(Effect::Route { config: router.config.clone(), intent, direction });
        }
    }
}

fn services_direction(stage: Stage) -> Direction {
    match stage {
        Stage::Aborted => Direction::TowardsStable,
        Stage::Promoted | Stage::Step(_) | Stage::Finishing => Direction::TowardsCanary,
    }
}

/// The share of the canary that this route shall show now: the wish, as far as pods allow it.
fn weight(
    scene: &Scene<'_>,
    stage: Stage,
    versions: &Versions<'_>,
    record: &RolloutStatus,
    range: WeightRange,
) -> i32 {
    let total = steps::total(scene.spec);
    let sent = record
        .canary
        .as_ref()
        .and_then(|canary| canary.weights.as_ref())
        .map_or(0, |weights| weights.canary.weight);
    let held = sent.clamp(range.canary_min.min(range.canary_max), range.canary_max).clamp(0, total);
    let Some(stable) = versions.stable else {
        return promoted_weight(scene, versions, range, held);
    };
    // Whose pods the shares go to: those that the Services lead to now, which may be versions since replaced.
    let canary = &scene.spec.canary;
    let behind = |service: Option<&String>, role| {
        scene.selected(service).map_or(role, |hash| versions.with_hash(hash))
    };
    let behind_canary = behind(canary.canary_service.as_ref(), versions.current);
    let behind_available = behind_canary.map_or(0, ReplicaSetView::available);
    let behind_stable = behind(canary.stable_service.as_ref(), Some(stable));
    let stable_available = behind_stable.map_or(0, ReplicaSetView::available);
    let is_current = behind_canary.map(ReplicaSetView::hash) == Some(scene.current_hash.as_str());
    if scene.spec.replicas == 0 {
        // Nobody wants pods: weights and selectors follow the release all the same.
        return if is_current { steps::wish(stage, scene.spec).weight } else { 0 };
    }
    match (behind_available > 0, stable_available > 0) {
        (false, false) => held,
        // A version without any available pod loses its share at once if the other one can take it.
        (false, true) => 0,
        (true, false) if is_current => total,
        (true, false) => held,
        (true, true) if stage == Stage::Aborted || !is_current => {
            aborted_weight(scene, held, total, stable_available)
        }
        (true, true) => released_weight(scene, stage, range, held, behind_available, stable_available),
    }
}

/// Nothing but one version: once the stable Service leads to it, the stable route gets everything back.
fn promoted_weight(scene: &Scene<'_>, versions: &Versions<'_>, range: WeightRange, held: i32) -> i32 {
    let service = scene.spec.canary.stable_service.as_ref();
    let selected = service.is_none() || scene.selected(service) == versions.current.map(ReplicaSetView::hash);
    // While the stable Service leads elsewhere its route gets no more than it has: that version may have no pods.
    if selected || range.canary_max == 0 { 0 } else { held }
}

/// Abort: everything to stable as soon as it can bear it; before that in proportion, and never back again.
fn aborted_weight(scene: &Scene<'_>, held: i32, total: i32, stable_available: i32) -> i32 {
    let desired = scene.spec.replicas;
    if stable_available >= desired - scene.max_unavailable() {
        return 0;
    }
    let bearable = i64::from(total) * i64::from(stable_available) / i64::from(desired.max(1));
    held.min(total - i32::try_from(bearable).unwrap_or(total).min(total))
}

fn released_weight(
    scene: &Scene<'_>,
    stage: Stage,
    range: WeightRange,
    held: i32,
    canary_available: i32,
    stable_available: i32,
) -> i32 {
    let desired = scene.spec.replicas;
    let total = steps::total(scene.spec);
    let Wish { weight, scale } = steps::wish(stage, scene.spec);
    let threshold = scene.spec.canary.progress_threshold;
    let enough = |available: i32, needed: i32| {
        available >= 1 && replicas::enough_available(available, needed, threshold)
    };
    if weight > range.canary_min {
        let needed = replicas::routed_canary(desired, weight, total, scale, None);
        if !enough(canary_available, needed) {
            return held;
        }
    }
    if weight < range.canary_max {
        let needed = replicas::share(desired, total - weight, total);
        if !enough(stable_available, needed) {
            return held;
        }
    }
    weight
}

/// What the stable Service shall select; `None` leaves it alone.
fn stable_selection(scene: &Scene<'_>, versions: &Versions<'_>, stable_hash: &str) -> Option<String> {
    let service = scene.spec.canary.stable_service.as_ref()?;
    let set = versions.with_hash(stable_hash)?;
    selectable(scene, service, set).then(|| stable_hash.to_owned())
}

/// True when this Service selects the ReplicaSet already, or may be pointed at it: it has an available pod, and all of
/// them where the Service has served others so far.
fn selectable(scene: &Scene<'_>, service: &String, set: &ReplicaSetView) -> bool {
    match scene.selected(Some(service)) {
        Some(selected) => selected == set.hash() || set.available() >= 1 || scene.spec.replicas == 0,
        // Not managed yet: its pods may be a Deployment's.
        None => is_full(set),
    }
}

fn is_full(set: &ReplicaSetView) -> bool {
    set.replicas > 0 && set.available() >= set.replicas
}

/// What the canary Service shall select; `None` leaves it alone. It is moved only while the route gives it nothing, or
/// while what it selects has no pods anyway.
fn canary_selection(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    versions: &Versions<'_>,
    plan: &mut Plan,
) -> Option<String> {
    let service = scene.spec.canary.canary_service.as_ref()?;
    let selected = scene.selected(Some(service));
    let current = versions.current.filter(|set| selectable(scene, service, set));
    let stable = versions.with_hash(&record.stable_rs).filter(|set| selectable(scene, service, set));
    let wanted = match stage {
        Stage::Promoted => current,
        Stage::Aborted => stable,
        // While the canary is not ready the Service must not lead to a version that is about to go.
        Stage::Step(_) | Stage::Finishing => {
            let is_known =
                selected == Some(record.stable_rs.as_str()) || selected == Some(scene.current_hash.as_str());
            current.or(stable.filter(|_| selected.is_some() && !is_known))
        }
    }?;
    if selected == Some(wanted.hash()) || selected.is_none() {
        return Some(wanted.hash().to_owned());
    }
    let serves = selected.and_then(|hash| versions.with_hash(hash)).is_some_and(|set| set.available() > 0);
    let movable = !serves || route_has_left(scene, record, plan);
    movable.then(|| wanted.hash().to_owned())
}

/// True when no route gives the canary Service anything and the proxies have had time to follow.
fn route_has_left(scene: &Scene<'_>, record: &RolloutStatus, plan: &mut Plan) -> bool {
    if scene.spec.canary.routing.is_none() {
        return true;
    }
    if observed_canary_max(scene) != Some(0) {
        return false;
    }
    let settled = lowered_at(record).map(|lowered| after(lowered, ROUTE_SETTLES_SECONDS));
    passed(scene, settled, plan)
}

fn lowered_at(record: &RolloutStatus) -> Option<Timestamp> {
    record.headgate.as_ref()?.weight_lowered_at.as_ref().map(|time| time.0)
}

/// True when `until` has passed or there is none; else the decision is to be taken again then.
fn passed(scene: &Scene<'_>, until: Option<Timestamp>, plan: &mut Plan) -> bool {
    match until {
        Some(until) if until > scene.now => {
            plan.wake.push(until);
            plan.delayed_until = plan.delayed_until.max(Some(until));
            false
        }
        _ => true,
    }
}

// ---- Grow and Shrink ------------------------------------------------------------------------------------------------

/// True while the user's change of `spec.replicas` has not reached the pods of the release.
pub(crate) fn is_user_scaling(scene: &Scene<'_>, versions: &Versions<'_>) -> bool {
    [versions.current, versions.stable].into_iter().flatten().any(|set| {
        let noted = set.annotations.get(labels::DESIRED_REPLICAS).and_then(|text| text.parse::<i32>().ok());
        set.replicas > 0 && noted.is_some_and(|noted| noted != scene.spec.replicas)
    })
}

fn is_frozen(scene: &Scene<'_>, record: &RolloutStatus, stage: Stage, versions: &Versions<'_>) -> bool {
    stage != Stage::Aborted && steps::is_held(record, scene.spec) && !is_user_scaling(scene, versions)
}

fn scale(set: &ReplicaSetView, to: i32, plan: &mut Plan) {
    let effect = Effect::Scale { name: set.name.clone(), uid: set.uid.clone(), from: set.replicas, to };
    match to.cmp(&set.replicas) {
        std::cmp::Ordering::Greater => plan.grow.push(effect),
        std::cmp::Ordering::Less => plan.shrink.push(effect),
        std::cmp::Ordering::Equal => {}
    }
}

/// Notes `spec.replicas` on a ReplicaSet that has its size; this tells a user's scaling from a release's.
fn note_desired(scene: &Scene<'_>, set: &ReplicaSetView, plan: &mut Plan) {
    let desired = scene.spec.replicas.to_string();
    if set.annotations.get(labels::DESIRED_REPLICAS) != Some(&desired) {
        annotate(set, labels::DESIRED_REPLICAS, Some(desired), plan);
    }
}

fn annotate(set: &ReplicaSetView, key: &str, value: Option<String>, plan: &mut Plan) {
    let known = plan.grow.iter_mut().find_map(|effect| match effect {
        Effect::PatchReplicaSet { name, annotations, .. } if *name == set.name => Some(annotations),
        _ => None,
    });
    match known {
        Some(annotations) => {
            annotations.insert(key.to_owned(), value);
        }
        None => plan.grow.push(Effect::PatchReplicaSet {
            name: set.name.clone(),
            uid: set.uid.clone(),
            resource_version: set.resource_version.clone(),
            annotations: BTreeMap::from([(key.to_owned(), value)]),
            min_ready_seconds: None,
        }),
    }
}

fn forget_deadline(set: &ReplicaSetView, plan: &mut Plan) {
    if set.annotations.contains_key(labels::SCALE_DOWN_DEADLINE) {
        annotate(set, labels::SCALE_DOWN_DEADLINE, None, plan);
    }
}

fn scale_routed(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    versions: &Versions<'_>,
    routing: &Routing,
    plan: &mut Plan,
) {
    let frozen = is_frozen(scene, record, stage, versions);
    let target = target(scene, stage, versions);
    if let Some(stable) = versions.stable {
        forget_deadline(stable, plan);
        settle_size(scene, stable, target.stable, frozen, plan);
    }
    let Some(canary) = versions.current else { return };
    if stage == Stage::Aborted {
        retire_aborted(scene, canary, versions, routing, plan);
        return;
    }
    forget_deadline(canary, plan);
    let may_shrink = |plan: &mut Plan| {
        versions
            .stable
            .is_none_or(|stable| may_shrink_canary(scene, record, stage, target.canary, stable, plan))
    };
    if target.canary >= canary.replicas || may_shrink(plan) {
        settle_size(scene, canary, target.canary, frozen, plan);
    }
}

fn settle_size(scene: &Scene<'_>, set: &ReplicaSetView, to: i32, frozen: bool, plan: &mut Plan) {
    if set.replicas == to {
        note_desired(scene, set, plan);
    } else if !frozen {
        scale(set, to, plan);
    }
}

/// The canary may lose pods when the rest suffices for what the route still gives it, and drain time has passed.
fn may_shrink_canary(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    to: i32,
    stable: &ReplicaSetView,
    plan: &mut Plan,
) -> bool {
    let (Some(shown), Some(routing)) = (observed_canary_max(scene), &scene.spec.canary.routing) else {
        return false;
    };
    let scaled = steps::wish(stage, scene.spec).scale.is_some();
    let needed = if scaled {
        i32::from(shown > 0)
    } else {
        replicas::share(scene.spec.replicas, shown, routing.total)
    };
    // A user's scaling does not wait: the weight, and with it the share of the pods, is what it was.
    let lowered = lowered_at(record).filter(|_| !is_user_scaling(scene, &scene.versions(&record.stable_rs)));
    let drained = lowered.map(|lowered| after(lowered, routing.scale_down_delay_seconds));
    let left = stable.available().min(scene.spec.replicas) + to;
    let stays_available = left >= scene.spec.replicas - scene.max_unavailable();
    to >= needed && stays_available && passed(scene, drained, plan)
}

/// After an abort: once stable has everything the canary gets a deadline, and at the deadline it goes, unless a Service
/// still leads to it. Without a delay in the spec it stays.
fn retire_aborted(
    scene: &Scene<'_>,
    canary: &ReplicaSetView,
    versions: &Versions<'_>,
    routing: &Routing,
    plan: &mut Plan,
) {
    let Some(delay) = routing.abort_scale_down_delay_seconds else { return };
    let stable_bears_all = versions
        .stable
        .is_some_and(|stable| stable.available() >= scene.spec.replicas - scene.max_unavailable());
    if canary.replicas == 0 || !stable_bears_all || observed_canary_max(scene) != Some(0) {
        return;
    }
    match deadline(canary) {
        None => {
            annotate(canary, labels::SCALE_DOWN_DEADLINE, Some(text(after(scene.now, delay))), plan);
            plan.delayed_until = plan.delayed_until.max(Some(after(scene.now, delay)));
        }
        Some(deadline) if passed(scene, Some(deadline), plan) && !is_selected(scene, canary) => {
            scale(canary, 0, plan)
        }
        Some(_) => {}
    }
}

/// Versions that are neither current nor stable: their pods go after a delay that begins when no Service leads to them.
fn retire_others(scene: &Scene<'_>, versions: &Versions<'_>, routing: &Routing, plan: &mut Plan) {
    let delay = routing.scale_down_delay_seconds;
    let mut waiting = 0;
    for old in versions.others.iter().filter(|old| old.replicas > 0) {
        if is_selected(scene, old) || !routes_are_known(scene) || !others_can_be_missed(scene, versions) {
            continue;
        }
        let deadline = match deadline(old) {
            Some(deadline) => deadline,
            None if delay == 0 => scene.now,
            None => {
                let deadline = after(scene.now, delay);
                annotate(old, labels::SCALE_DOWN_DEADLINE, Some(text(deadline)), plan);
                deadline
            }
        };
        waiting += 1;
        let too_many = routing.scale_down_delay_revision_limit.is_some_and(|limit| waiting > limit);
        if too_many || passed(scene, Some(deadline), plan) {
            scale(old, 0, plan);
        }
    }
}

/// True when every router and every Service can be read.
fn routes_are_known(scene: &Scene<'_>) -> bool {
    scene.snapshot.routers.iter().all(|router| router.state.is_ok())
}

/// Old pods may go only while enough of those that are meant to serve are available.
fn others_can_be_missed(scene: &Scene<'_>, versions: &Versions<'_>) -> bool {
    let serving = [versions.current, versions.stable].into_iter().flatten().map(ReplicaSetView::available);
    serving.sum::<i32>() >= scene.spec.replicas - scene.max_unavailable()
}

/// True when a Service that the spec names selects this ReplicaSet.
fn is_selected(scene: &Scene<'_>, set: &ReplicaSetView) -> bool {
    let canary = &scene.spec.canary;
    [&canary.canary_service, &canary.stable_service]
        .into_iter()
        .any(|service| scene.selected(service.as_ref()) == Some(set.hash()))
}

/// The time at which the pods of a ReplicaSet may go, as annotated.
pub(crate) fn deadline(set: &ReplicaSetView) -> Option<Timestamp> {
    set.annotations.get(labels::SCALE_DOWN_DEADLINE)?.parse().ok()
}

fn text(time: Timestamp) -> String {
    time.to_string()
}

fn scale_basic(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    versions: &Versions<'_>,
    plan: &mut Plan,
) {
    let pods = |set: &ReplicaSetView| Pods { wanted: set.replicas, available: set.available() };
    let frozen = is_frozen(scene, record, stage, versions);
    let others: Vec<Pods> = versions.others.iter().map(|set| pods(set)).collect();
    let Some(canary) = versions.current else { return };
    let counts = match versions.stable {
        None => {
            let wanted = canary.replicas + others.iter().map(|pods| pods.wanted).sum::<i32>();
            let budget = (scene.spec.replicas + scene.max_surge() - wanted).max(0);
            Counts { canary: scene.spec.replicas.min(canary.replicas.saturating_add(budget)), stable: 0 }
        }
        Some(stable) => replicas::basic(replicas::Basic {
            desired: scene.spec.replicas,
            weight: steps::wish(stage, scene.spec).weight,
            total: steps::total(scene.spec),
            surge: scene.max_surge(),
            unavailable: scene.max_unavailable(),
            canary: pods(canary),
            stable: pods(stable),
            others: others.iter().map(|pods| pods.wanted).sum(),
        }),
    };
    forget_deadline(canary, plan);
    settle_size(scene, canary, counts.canary, frozen, plan);
    if let Some(stable) = versions.stable {
        forget_deadline(stable, plan);
        settle_size(scene, stable, keep_one_for_service(scene, stable, counts.stable), frozen, plan);
    }
    retire_basic_others(scene, versions, &others, plan);
}

/// The stable Service leads to the stable version until the new one is promoted: one pod stays for it where there may be
/// one more.
fn keep_one_for_service(scene: &Scene<'_>, stable: &ReplicaSetView, to: i32) -> i32 {
    if scene.max_surge() > 0 && scene.spec.replicas > 0 && is_selected(scene, stable) {
        to.max(stable.replicas.min(1))
    } else {
        to
    }
}

fn retire_basic_others(scene: &Scene<'_>, versions: &Versions<'_>, others: &[Pods], plan: &mut Plan) {
    let serving =
        [versions.current, versions.stable].into_iter().flatten().map(ReplicaSetView::available).sum::<i32>();
    let available = serving + others.iter().map(|pods| pods.available).sum::<i32>();
    let spare = available - (scene.spec.replicas - scene.max_unavailable());
    for (old, to) in versions.others.iter().zip(replicas::basic_others(others, spare)) {
        scale(old, to, plan);
    }
}
