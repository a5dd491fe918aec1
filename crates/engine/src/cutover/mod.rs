//! The order in which pods and traffic move: Grow, then Shift, then Shrink (R6). What makes a release safe for
//! the requests that are under way is decided here.
//!
//! What is removed is judged by the *observed* route, never by what was meant; what is raised needs available pods.

mod dynamic;
mod former;
mod held;
mod pods;
mod route;
mod way_back;

use crate::initial;
use crate::replicas::{self, Counts};
use crate::scene::{Scene, Versions, after, memory, stored};
use crate::steps::{self, Stage, Wish};
use former::Shares;
use headgate_api::{RolloutStatus, TrafficWeights, WeightDestination, labels};
use headgate_model::{Destination, Effect, ReplicaSetView, Timestamp};
use pods::Way;

pub(crate) use pods::deadline;
pub(crate) use route::lacking_stable;
pub(crate) use way_back::{StepBack, next_step as next_step_back};

/// Seconds that proxies are given to follow a route before the Service behind it is pointed elsewhere, or pods go.
const ROUTE_SETTLES_SECONDS: i32 = 5;

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
            let canary = canary.max(succession(scene, stage, versions).unwrap_or(0));
            Counts { canary, stable: dynamic::target(scene, stage, versions, routing) }
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
    let routing = scene.spec.canary.routing.as_ref();
    // At the end the old pods need not be gone: they go once the new version is stable.
    let finishing = stage == Stage::Finishing;
    let stable = versions.stable.is_none_or(|stable| match routing {
        _ if finishing => true,
        Some(routing) if routing.dynamic_stable_scale => {
            dynamic::is_reached(scene, stage, versions, routing, stable)
        }
        _ => stable.replicas == target.stable && stable.current == target.stable,
    });
    let others = routing.is_some() || finishing || !versions.others.iter().any(|other| other.may_serve());
    canary_reached(scene, stage, versions) && stable && others
}

/// True when the newest version has the pods that the stage wants of it.
pub(crate) fn canary_reached(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>) -> bool {
    let target = target(scene, stage, versions);
    let routed = scene.spec.canary.routing.is_some();
    versions.current.is_some_and(|canary| {
        let size = if routed { canary.replicas >= target.canary } else { canary.replicas == target.canary };
        size && canary.is_observed()
            && replicas::enough_available(
                canary.available(),
                target.canary,
                scene.spec.canary.progress_threshold,
            )
    })
}

/// True when every router shows what the stage wants, and none says that the data plane lags.
pub(crate) fn route_reached(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>) -> bool {
    let weight = steps::wish(stage, scene.spec).weight;
    // No pods are wanted: Services that nobody has pointed at a version yet have nothing to be pointed at.
    scene.spec.canary.routing.is_none()
        || weights_shown(scene, weight)
            && (weight == 0 || scene.spec.replicas == 0 || canary_service_selects(scene, versions.current))
}

/// True when every router shows this weight, and none says that the data plane lags.
pub(crate) fn weights_shown(scene: &Scene<'_>, weight: i32) -> bool {
    scene.weight_routers().all(|router| {
        router.state.as_ref().is_ok_and(|state| {
            let shown = state.weights.is_none_or(|range| {
                range.well_formed && range.canary_min == weight && range.canary_max == weight
            });
            shown && state.confirmed != Some(false)
        })
    })
}

/// The smallest and the largest share that any route gives to the canary Service; `None` while a router can't tell, or when
/// the spec names one that Headgate does not know.
fn observed_shares(scene: &Scene<'_>) -> Option<Shares> {
    if scene.spec.canary.routing.as_ref().is_some_and(|routing| routing.routers.is_empty()) {
        return None;
    }
    let mut shares = former::shares(scene)?;
    for router in scene.weight_routers() {
        let weights = router.state.as_ref().ok()?.weights;
        shares.least = shares.least.min(weights.map_or(0, |range| range.canary_min));
        shares.most = shares.most.max(weights.map_or(0, |range| range.canary_max));
    }
    Some(shares)
}

/// The largest share that any route gives to the canary Service; `None` while a router can't tell.
fn observed_canary_max(scene: &Scene<'_>) -> Option<i32> {
    Some(observed_shares(scene)?.most)
}

/// Which Service a version is behind while nobody can read what the Services select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Canary,
    Stable,
}

/// The largest share that the routes give to a version, through whichever Service leads to it. `None` while a router can't
/// tell.
fn observed_share(scene: &Scene<'_>, set: &ReplicaSetView, role: Role) -> Option<i32> {
    let given = observed_given(scene, set, role)?;
    Some((given.through_canary + given.through_stable).min(steps::total(scene.spec)))
}

/// What a version gets at most through each Service.
struct Given {
    through_canary: i32,
    through_stable: i32,
}

/// See [`observed_share`]. After a promotion that was taken back, or when the stable version is gone, the stable Service may
/// lead to the newest.
fn observed_given(scene: &Scene<'_>, set: &ReplicaSetView, role: Role) -> Option<Given> {
    let (shares, total) = (observed_shares(scene)?, steps::total(scene.spec));
    let canary = &scene.spec.canary;
    let leads_here = |service: &Option<String>, by_role: bool| {
        scene.selected(service.as_ref()).map_or(by_role, |hash| hash == set.hash())
    };
    let through_canary =
        if leads_here(&canary.canary_service, role == Role::Canary) { shares.most } else { 0 };
    let through_stable =
        if leads_here(&canary.stable_service, role == Role::Stable) { total - shares.least } else { 0 };
    Some(Given { through_canary, through_stable })
}

/// A version behind the canary Service that was replaced since is left by the routes first, as far as stable's pods can bear
/// that. Where stable has none, and the routes give everything to that version, its successor takes the Service over as it
/// is, once its own steps give it requests; at the end of its steps it does so in any case. The available pods that it needs
/// for that: as many as the user wants, or as it replaces where these are all. `None` where there is nothing to take over.
fn succession(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>) -> Option<i32> {
    let (canary, desired) = (&scene.spec.canary, scene.spec.replicas);
    let is_wanted = matches!(stage, Stage::Step(_) | Stage::Finishing)
        && desired > 0
        && steps::wish(stage, scene.spec).weight > 0;
    let replaced = versions.with_hash(scene.selected(canary.canary_service.as_ref())?)?;
    let is_replaced = versions.others.iter().any(|other| other.name == replaced.name);
    let behind_stable = scene
        .selected(canary.stable_service.as_ref())
        .map_or(versions.stable, |hash| versions.with_hash(hash));
    let is_left_alone = behind_stable.is_none_or(|stable| !stable.may_serve())
        && observed_shares(scene).is_some_and(|shares| shares.least == steps::total(scene.spec));
    match (is_wanted && is_replaced, is_left_alone) {
        (true, true) => Some(desired.min(replaced.available_at_most()).max(1)),
        (true, false) if stage == Stage::Finishing => Some(desired),
        _ => None,
    }
}

/// True when the Service of the canary, where there is one, leads to this version.
fn canary_service_selects(scene: &Scene<'_>, set: Option<&ReplicaSetView>) -> bool {
    let service = scene.spec.canary.canary_service.as_ref();
    service.is_none() || (set.is_some() && scene.selected(service) == set.map(ReplicaSetView::hash))
}

/// Decides what moves. `record` is as it will be stored; the observed weights are entered into it.
pub(crate) fn plan(scene: &Scene<'_>, record: &mut RolloutStatus) -> Plan {
    initial::as_if_stable(record, |record| plan_as_recorded(scene, record))
}

fn plan_as_recorded(scene: &Scene<'_>, record: &mut RolloutStatus) -> Plan {
    let versions = scene.versions(&record.stable_rs);
    let stage = steps::stage(record, scene.spec);
    note_unrecorded_shift(scene, record);
    note_weights(scene, record);
    let mut plan = Plan::default();
    route::shift(scene, record, stage, &versions, &mut plan);
    former::lead_back(scene, record, stage, &versions, &mut plan);
    former::remember(scene, record, &mut plan);
    note_unseen_shift(scene, record, &plan);
    note_switched_services(scene, record, &plan);
    let way = Way::of(scene, record);
    held::remember(scene, record, stage, &versions, way);
    pods::scale(scene, record, stage, &versions, way, &mut plan);
    keep_what_is_unknown(scene, &versions, &mut plan);
    plan
}

/// For a release that stands still: its pods follow the user's number all the same, because an autoscaler must not wait
/// for a mended spec, and neither a weight nor a Service stays with a version whose pods have all died.
pub(crate) fn follow_user(scene: &Scene<'_>, record: &mut RolloutStatus) -> Plan {
    initial::as_if_stable(record, |record| follow_user_as_recorded(scene, record))
}

/// What needs no valid spec: neither a weight nor a Service stays with a version whose pods have all died.
pub(crate) fn leave_the_dead(scene: &Scene<'_>, record: &mut RolloutStatus) -> Plan {
    initial::as_if_stable(record, |record| leave_the_dead_as_recorded(scene, record))
}

fn leave_the_dead_as_recorded(scene: &Scene<'_>, record: &mut RolloutStatus) -> Plan {
    let versions = scene.versions(&record.stable_rs);
    let mut plan = Plan::default();
    note_forgotten(scene, record);
    route::leave_the_dead(scene, steps::stage(record, scene.spec), &versions, &mut plan);
    route::leave_dead_selectors(scene, &versions, &record.stable_rs, &mut plan);
    former::remember(scene, record, &mut plan);
    plan
}

fn follow_user_as_recorded(scene: &Scene<'_>, record: &mut RolloutStatus) -> Plan {
    let mut plan = leave_the_dead_as_recorded(scene, record);
    let (versions, stage) = (scene.versions(&record.stable_rs), steps::stage(record, scene.spec));
    route::give_back(scene, stage, &versions, &mut plan);
    if plan.shift.iter().any(|effect| !is_refused(scene, effect)) {
        memory(record).weight_lowered_at = stored(scene.now);
    }
    let sets = [versions.current, versions.stable];
    let is_left_behind = sets.into_iter().flatten().any(|set| pods::is_left_behind(scene, set));
    held::remember(scene, record, stage, &versions, Way::Held);
    if is_left_behind || dynamic::lacks_owed(scene, &versions) {
        pods::scale(scene, record, stage, &versions, Way::Held, &mut plan);
    }
    keep_what_is_unknown(scene, &versions, &mut plan);
    plan
}

/// Nothing shrinks while something that it needs is unknown, but what the user's number takes.
fn keep_what_is_unknown(scene: &Scene<'_>, versions: &Versions<'_>, plan: &mut Plan) {
    let shrink = std::mem::take(&mut plan.shrink);
    plan.shrink = if !routes_are_known(scene) {
        shrink.into_iter().filter_map(|effect| by_number(scene, versions, effect)).collect()
    } else if numbers_are_known(versions) || is_user_scaling(scene, versions) {
        shrink
    } else {
        Vec::new()
    };
}

/// Seconds for which pods stay to which nothing leads any more.
pub(crate) fn settle_seconds(scene: &Scene<'_>) -> i32 {
    scene.spec.canary.routing.as_ref().map_or(ROUTE_SETTLES_SECONDS, pods::drain_seconds)
}

/// Enters the weights that the routes show. When they changed, or may have, drain time counts from now; where proxies
/// lag behind, from when they have followed.
fn note_weights(scene: &Scene<'_>, record: &mut RolloutStatus) {
    if scene.spec.canary.routing.is_none() {
        if let Some(canary) = &mut record.canary {
            canary.weights = None;
        }
        return;
    }
    note_forgotten(scene, record);
    let before = record.canary.as_ref().and_then(|canary| canary.weights.clone());
    let Some(shown) = observed_shares(scene) else { return };
    let canary = &scene.spec.canary;
    let destination = |weight, service: &Option<String>, hash: &str| WeightDestination {
        weight,
        service_name: service.clone().unwrap_or_default(),
        pod_template_hash: hash.to_owned(),
    };
    let confirmed = scene.weight_routers().filter_map(|router| router.state.as_ref().ok()?.confirmed);
    let weights = TrafficWeights {
        canary: destination(shown.most, &canary.canary_service, &record.current_pod_hash),
        // While routes differ the two are more than the whole: each is what its pods have to bear.
        stable: destination(
            steps::total(scene.spec) - shown.least,
            &canary.stable_service,
            &record.stable_rs,
        ),
        additional: Vec::new(),
        verified: confirmed.reduce(|all, one| all && one),
    };
    let has_followed =
        |before: &TrafficWeights| before.verified == Some(false) && weights.verified != Some(false);
    let has_moved = |before: &TrafficWeights| {
        (before.canary.weight, before.stable.weight) != (weights.canary.weight, weights.stable.weight)
    };
    let has_unseen_past = || shown.most == 0 && is_given_up(scene, record);
    if before.is_some_and(|before| has_moved(&before) || has_followed(&before) || has_unseen_past()) {
        memory(record).weight_lowered_at = stored(scene.now);
    }
    crate::intent::canary(record).weights = Some(weights);
}

/// True when with this record the version that was going out is aborted, or replaced. A process that could store nothing, and
/// is gone, may have given it a share that no record has seen, and have led it back just now.
fn is_given_up(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let (old, is_under_way) = (scene.old, scene.old.current_pod_hash != scene.old.stable_rs);
    let is_aborted = record.abort && record.aborted_at != old.aborted_at;
    let is_replaced = !old.abort && record.current_pod_hash != old.current_pod_hash;
    is_under_way && (is_aborted || is_replaced)
}

/// What moved while no record could be written may be back where the last record saw it: drain time counts all the same.
fn note_unrecorded_shift(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let shifted_at = scene.snapshot.unrecorded_shift_at;
    if let Some(at) = shifted_at.filter(|_| shifted_at > lowered_at(record)) {
        memory(record).weight_lowered_at = stored(at);
    }
}

/// While some route cannot be read nobody sees what the others come to show: drain time counts from when they were told.
fn note_unseen_shift(scene: &Scene<'_>, record: &mut RolloutStatus, plan: &Plan) {
    let is_weight = |effect: &Effect| {
        let Effect::Route { config, .. } = effect else { return false };
        scene.weight_routers().chain(scene.former_routers()).any(|router| router.config == *config)
            && !is_refused(scene, effect)
    };
    if observed_canary_max(scene).is_none() && plan.shift.iter().any(is_weight) {
        memory(record).weight_lowered_at = stored(scene.now);
    }
}

/// A Service that gets requests is led to another version when the one behind it has no pods. Some of these may be back
/// before all proxies have followed: drain time counts from now.
fn note_switched_services(scene: &Scene<'_>, record: &mut RolloutStatus, plan: &Plan) {
    let (Some(shown), true) = (observed_shares(scene), scene.spec.canary.routing.is_some()) else { return };
    let is_led_elsewhere = |to: &Destination| {
        let selected = scene.selected(to.service.as_ref());
        selected.is_some() && to.hash.is_some() && selected != to.hash.as_deref()
    };
    let is_switch = |effect: &Effect| {
        let Effect::Route { intent, .. } = effect else { return false };
        // The stable Service gets everything next, where it does not have it already.
        let is_switched =
            shown.most > 0 && is_led_elsewhere(&intent.canary) || is_led_elsewhere(&intent.stable);
        is_switched && !is_refused(scene, effect)
    };
    if plan.shift.iter().any(is_switch) {
        memory(record).weight_lowered_at = stored(scene.now);
    }
}

/// True when the effect was refused and is not tried again now: nothing moves, and to say at each decision that it might would
/// be a record without end.
pub(crate) fn is_refused(scene: &Scene<'_>, effect: &Effect) -> bool {
    let failure = scene.snapshot.failures.get(&effect.key());
    failure.is_some_and(|failure| failure.class.is_refused() && failure.holds(effect))
}

/// Nobody remembers when the weights changed: the CRD drops what we remember and another process did it, or Argo Rollouts.
/// Then it may have been just now, and the version that has lost its share may be wanted again next. Also while the routes
/// cannot be read, or the release stands still: the next decision will seem to remember.
fn note_forgotten(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let has_weights = record.canary.as_ref().is_some_and(|canary| canary.weights.is_some());
    if scene.spec.canary.routing.is_some() && has_weights && scene.old.headgate.is_none() {
        memory(record).weight_lowered_at = stored(scene.now);
    }
}

fn lowered_at(record: &RolloutStatus) -> Option<Timestamp> {
    record.headgate.as_ref()?.weight_lowered_at.as_ref().map(|time| time.0)
}

/// When proxies have followed the last weight that moved; `None` when none has.
fn followed_at(record: &RolloutStatus) -> Option<Timestamp> {
    lowered_at(record).map(|lowered| after(lowered, ROUTE_SETTLES_SECONDS))
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

/// True when the data plane of some router says that it lags behind.
fn is_lagging(scene: &Scene<'_>) -> bool {
    scene
        .weight_routers()
        .chain(scene.former_routers())
        .any(|router| router.state.as_ref().is_ok_and(|state| state.confirmed == Some(false)))
}

/// True when every router and every Service can be read, and no data plane says that it lags behind.
pub(crate) fn routes_are_known(scene: &Scene<'_>) -> bool {
    scene.snapshot.routers.iter().chain(scene.former_routers()).all(|router| scene.is_known(router))
}

/// True when the numbers of available pods speak of the sizes that we see. Scaled down and up again within a moment, a
/// ReplicaSet still reports pods that are gone.
fn numbers_are_known(versions: &Versions<'_>) -> bool {
    [versions.current, versions.stable].into_iter().flatten().all(ReplicaSetView::is_observed)
}

/// True when routes and numbers of pods can be relied on.
fn is_known(scene: &Scene<'_>, versions: &Versions<'_>) -> bool {
    routes_are_known(scene) && numbers_are_known(versions)
}

/// True when a Service that the spec names selects this ReplicaSet.
pub(crate) fn is_selected(scene: &Scene<'_>, set: &ReplicaSetView) -> bool {
    let canary = &scene.spec.canary;
    [&canary.canary_service, &canary.stable_service]
        .into_iter()
        .any(|service| scene.selected(service.as_ref()) == Some(set.hash()))
}

/// As much of a shrink as a smaller `spec.replicas` takes of what its ReplicaSet has.
fn by_number(scene: &Scene<'_>, versions: &Versions<'_>, shrink: Effect) -> Option<Effect> {
    let Effect::Scale { name, uid, from, to } = shrink else { return None };
    let mut of_release = [versions.current, versions.stable].into_iter().flatten();
    let least = match of_release.find(|set| set.name == name) {
        _ if scene.spec.replicas == 0 => 0,
        Some(set) => pods::same_share(scene, set),
        None => return None,
    };
    let to = to.max(least);
    (to < from).then_some(Effect::Scale { name, uid, from, to })
}

/// True while the user's change of `spec.replicas` has not reached the pods of the release.
fn is_user_scaling(scene: &Scene<'_>, versions: &Versions<'_>) -> bool {
    let mut sets = [versions.current, versions.stable].into_iter().flatten();
    sets.any(|set| set.replicas > 0 && pods::is_left_behind(scene, set))
}

/// The `spec.replicas` that this ReplicaSet got its size for.
fn sized_for(set: &ReplicaSetView) -> Option<i32> {
    set.annotations.get(labels::DESIRED_REPLICAS)?.parse().ok()
}
