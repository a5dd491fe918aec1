//! Shift: which version each Service leads to, and which share each route gives to the canary.

use super::{Plan, followed_at, is_lagging, observed_canary_max, observed_shares, passed, way_back};
use crate::bake;
use crate::on_failure;
use crate::pauses;
use crate::replicas;
use crate::scene::{Scene, Versions};
use crate::steps::{self, Stage, Wish};
use crate::workload;
use headgate_api::{PauseCondition, RolloutStatus};
use headgate_model::{
    Destination, Direction, Effect, Observed, ReplicaSetView, RouterProblem, RouterView, TrafficIntent,
    TrafficState, WeightRange,
};
use std::cmp::Ordering;

pub(super) fn shift(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    versions: &Versions<'_>,
    plan: &mut Plan,
) {
    let canary = &scene.spec.canary;
    let total = steps::total(scene.spec);
    let stable = Destination {
        service: canary.stable_service.clone(),
        hash: stable_selection(scene, stage, versions, &record.stable_rs),
    };
    let canary = Destination {
        service: canary.canary_service.clone(),
        hash: canary_selection(scene, record, stage, versions, plan),
    };
    for router in &scene.snapshot.routers {
        let Ok(state) = &router.state else {
            let intent =
                TrafficIntent { stable: stable.clone(), canary: canary.clone(), canary_weight: 0, total };
            let direction = services_direction(scene, stage, versions, &record.stable_rs);
            plan.shift.extend(lead_what_is_left(scene, router, intent, direction));
            continue;
        };
        let (weight, direction) = match (router.capabilities.weights, state.weights) {
            (true, Some(range)) => {
                let weight = weight(scene, stage, versions, record, (state, range), plan);
                (weight, weight_direction(stage, range, weight))
            }
            _ => (0, services_direction(scene, stage, versions, &record.stable_rs)),
        };
        let intent =
            TrafficIntent { stable: stable.clone(), canary: canary.clone(), canary_weight: weight, total };
        if !state.satisfies(&intent) {
            plan.shift.push(Effect::Route { config: router.config.clone(), intent, direction });
        }
    }
}

/// Without a router a Service that is gone keeps the other one with no version.
fn lead_what_is_left(
    scene: &Scene<'_>,
    router: &RouterView,
    mut intent: TrafficIntent,
    direction: Direction,
) -> Option<Effect> {
    let is_missing = matches!(router.state, Err(RouterProblem::Missing { .. }));
    if !is_missing || scene.spec.canary.routing.is_some() {
        return None;
    }
    let moves = |to: &Destination| {
        let is_there = to.service.as_ref().and_then(|name| scene.snapshot.services.get(name));
        let hash = to.hash.as_deref().filter(|_| is_there.is_some_and(|service| service.present().is_some()));
        hash.is_some() && scene.selected(to.service.as_ref()) != hash
    };
    for to in [&mut intent.stable, &mut intent.canary] {
        if !moves(to) {
            to.hash = None;
        }
    }
    let is_led = intent.stable.hash.is_some() || intent.canary.hash.is_some();
    is_led.then(|| Effect::Route { config: router.config.clone(), intent, direction })
}

/// A larger share of the canary is never a way back, not even when an abort gives it one because stable has no pods.
pub(super) fn weight_direction(stage: Stage, range: WeightRange, weight: i32) -> Direction {
    match weight.cmp(&range.canary_max) {
        Ordering::Less => Direction::TowardsStable,
        Ordering::Equal if matches!(stage, Stage::Aborted | Stage::Promoted) => Direction::TowardsStable,
        Ordering::Equal | Ordering::Greater => Direction::TowardsCanary,
    }
}

/// An abort leads back, unless it must lean on the newest version.
fn services_direction(
    scene: &Scene<'_>,
    stage: Stage,
    versions: &Versions<'_>,
    stable_hash: &str,
) -> Direction {
    let leans = scene.spec.replicas > 0 && leans_on_newest(versions, stable_hash);
    match stage {
        Stage::Aborted if !leans => Direction::TowardsStable,
        Stage::Aborted | Stage::Promoted | Stage::Step(_) | Stage::Finishing => Direction::TowardsCanary,
    }
}

/// The share of the canary that this route shall show now, of its own total: the wish, as far as pods allow it.
pub(super) fn weight(
    scene: &Scene<'_>,
    stage: Stage,
    versions: &Versions<'_>,
    record: &RolloutStatus,
    (state, range): (&TrafficState, WeightRange),
    plan: &mut Plan,
) -> i32 {
    let total = range.total;
    let held = held_weight(record, range);
    if !services_are_known(scene) && stage != Stage::Aborted {
        return held;
    }
    if !is_stable_service_there(scene) {
        // What is given to a Service that does not exist is lost.
        return held;
    }
    let (canary_side, stable_side) = sides(scene, versions);
    if stage == Stage::Promoted && is_newest(versions, canary_side) {
        // The stable route gets everything back once its Service leads to the new version; before that no more than it
        // has, because the version behind it may have no pods. Nor does it while some proxies may still take it there.
        let is_led = is_newest(versions, stable_side)
            && (is_borne_by_former(scene, versions) || passed(scene, followed_at(record), plan));
        return if is_led || range.canary_max == 0 { 0 } else { held };
    }
    if scene.spec.replicas == 0 {
        return if is_newest(versions, canary_side) {
            weight_without_pods(scene, record, stage, held)
        } else {
            0
        };
    }
    let goes_back = matches!(stage, Stage::Aborted | Stage::Promoted) || !is_newest(versions, canary_side);
    match (may_serve(canary_side), may_serve(stable_side)) {
        (false, false) => held,
        // A version that has surely no available pod loses its share at once if the other one can take it, also if that one was
        // replaced since.
        (false, true) => 0,
        (true, false) => total,
        (true, true) if goes_back => {
            // Made smaller and larger again within a moment, stable still reports pods that are about to go.
            let available = available(stable_side.filter(|stable| stable.is_observed()));
            way_back::weight(scene, record, (state, range), held, available, plan)
        }
        (true, true) if is_held_at_the_end(scene, record, stage) => held,
        (true, true) => {
            let least = followed_weight(scene, record, stage, held, canary_side);
            let released = released_weight(scene, stage, range, least, canary_side, stable_side);
            if is_found_bad(record) { released.min(held) } else { released }
        }
    }
}

/// True when a version that was replaced has the pods for all requests: whoever still leads to it loses none.
fn is_borne_by_former(scene: &Scene<'_>, versions: &Versions<'_>) -> bool {
    let needed = needed_of_stable(scene, 0, steps::total(scene.spec));
    versions.others.iter().any(|former| bears(scene, Some(former), needed))
}

fn is_stable_service_there(scene: &Scene<'_>) -> bool {
    let stable = scene.spec.canary.stable_service.as_ref();
    !stable.is_some_and(|name| scene.snapshot.services.get(name).is_some_and(Observed::is_absent))
}

/// True when everything can go back to stable at once, for routes that can be led back as a whole only.
pub(super) fn may_go_back(scene: &Scene<'_>, versions: &Versions<'_>) -> bool {
    let (canary, stable) = sides(scene, versions);
    let needed = needed_of_stable(scene, 0, steps::total(scene.spec));
    let bears = stable.is_some_and(|stable| stable.is_observed() && stable.available() >= needed);
    let is_better = !may_serve(canary) && may_serve(stable);
    is_stable_service_there(scene) && (scene.spec.replicas == 0 || bears || is_better)
}

/// The share that the record speaks of, within those that the route shows: what it keeps while it is not to be moved.
fn held_weight(record: &RolloutStatus, range: WeightRange) -> i32 {
    let weights = record.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    let recorded = weights.map_or(0, |weights| weights.canary.weight);
    recorded.clamp(range.canary_min.min(range.canary_max), range.canary_max).clamp(0, range.total)
}

/// Nobody wants pods: the weights follow the release all the same, if it goes on.
fn weight_without_pods(scene: &Scene<'_>, record: &RolloutStatus, stage: Stage, held: i32) -> i32 {
    let is_held = steps::is_held(record, scene.spec)
        || is_found_bad(record)
        || is_held_at_the_end(scene, record, stage);
    if is_held && stage != Stage::Aborted { held } else { steps::wish(stage, scene.spec).weight }
}

/// Whose pods the shares of canary and stable go to: those that the Services lead to now, which may be versions since
/// replaced.
fn sides<'a>(
    scene: &Scene<'_>,
    versions: &Versions<'a>,
) -> (Option<&'a ReplicaSetView>, Option<&'a ReplicaSetView>) {
    let behind = |service: Option<&String>, role| {
        scene.selected(service).map_or(role, |hash| versions.with_hash(hash))
    };
    let canary = &scene.spec.canary;
    (
        behind(canary.canary_service.as_ref(), versions.current),
        behind(canary.stable_service.as_ref(), versions.stable.or(versions.current)),
    )
}

/// True when the pods behind a Service are those of the newest version.
fn is_newest(versions: &Versions<'_>, side: Option<&ReplicaSetView>) -> bool {
    side.is_some_and(|side| versions.current.is_some_and(|current| current.name == side.name))
}

/// True when no step is left and a user, or a verdict, holds the release itself. Once it bakes, everything was given to it:
/// then the route is kept so.
fn is_held_at_the_end(scene: &Scene<'_>, record: &RolloutStatus, stage: Stage) -> bool {
    let is_held = || steps::is_held(record, scene.spec) || on_failure::held_by(record).is_some();
    stage == Stage::Finishing && bake::since(record).is_none() && is_held()
}

/// True while a person is to look at what an analysis, or the pods, have said, or a better analysis is awaited: the version gets
/// no larger share meanwhile.
fn is_found_bad(record: &RolloutStatus) -> bool {
    let reasons = [PauseCondition::ANALYSIS_FAILED, PauseCondition::POD_HEALTH];
    on_failure::keeps_share(record) || reasons.into_iter().any(|reason| pauses::holds(record, reason))
}

fn available(side: Option<&ReplicaSetView>) -> i32 {
    side.map_or(0, ReplicaSetView::available)
}

fn may_serve(side: Option<&ReplicaSetView>) -> bool {
    side.is_some_and(ReplicaSetView::may_serve)
}

/// The one move that needs no valid spec: a version whose pods have all died loses its share at once if the other one
/// can take it. Services stay as they are.
pub(super) fn leave_the_dead(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>, plan: &mut Plan) {
    if scene.services().is_none() || scene.spec.replicas == 0 {
        return;
    }
    let total = steps::total(scene.spec);
    let (canary_side, stable_side) = sides(scene, versions);
    let weight = match (may_serve(canary_side), may_serve(stable_side)) {
        (false, true) => 0,
        (true, false) => total,
        (true, true) | (false, false) => return,
    };
    move_weights(scene, stage, plan, |range| {
        let is_asked_of_the_dead = if weight == 0 { range.canary_max > 0 } else { range.canary_min < total };
        is_asked_of_the_dead.then_some(weight)
    });
}

/// What the newest version got beyond its step, because stable had no pods, goes back once stable bears it, also while a spec
/// waits to be mended. Nothing is raised.
pub(super) fn give_back(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>, plan: &mut Plan) {
    let (canary, stable) = sides(scene, versions);
    let serve = is_newest(versions, canary) && may_serve(canary) && may_serve(stable);
    if scene.services().is_none() || scene.spec.replicas == 0 || !matches!(stage, Stage::Step(_)) || !serve {
        return;
    }
    move_weights(scene, stage, plan, |range| {
        let weight = released_weight(scene, stage, range, range.canary_max, canary, stable);
        (weight < range.canary_max).then_some(weight)
    });
}

/// Has routes show another weight, and leaves Services as they are.
fn move_weights(scene: &Scene<'_>, stage: Stage, plan: &mut Plan, to: impl Fn(WeightRange) -> Option<i32>) {
    let keep = |service: &Option<String>| Destination { service: service.clone(), hash: None };
    let canary = &scene.spec.canary;
    for router in scene.weight_routers() {
        let Some(range) = router.state.as_ref().ok().and_then(|state| state.weights) else { continue };
        let Some(weight) = to(range) else { continue };
        let intent = TrafficIntent {
            stable: keep(&canary.stable_service),
            canary: keep(&canary.canary_service),
            canary_weight: weight,
            total: steps::total(scene.spec),
        };
        let direction = weight_direction(stage, range, weight);
        plan.shift.push(Effect::Route { config: router.config.clone(), intent, direction });
    }
}

/// The version that requests can lean on: the stable one before the newest, whatever the release wants. No Service leads to
/// a version without pods while this one has some.
fn living<'a>(versions: &Versions<'a>, stable_hash: &str) -> Option<&'a ReplicaSetView> {
    stable_or_newest(versions, stable_hash, ReplicaSetView::may_serve)
}

fn stable_or_newest<'a>(
    versions: &Versions<'a>,
    stable_hash: &str,
    serves: fn(&ReplicaSetView) -> bool,
) -> Option<&'a ReplicaSetView> {
    versions.with_hash(stable_hash).filter(|set| serves(set)).or(versions.current.filter(|set| serves(set)))
}

/// True when only the newest version has pods, and it is not stable.
fn leans_on_newest(versions: &Versions<'_>, stable_hash: &str) -> bool {
    living(versions, stable_hash).is_some_and(|living| living.hash() != stable_hash)
}

/// The other move that needs no valid spec: a Service that leads to a version without pods is pointed at one that has some.
pub(super) fn leave_dead_selectors(
    scene: &Scene<'_>,
    versions: &Versions<'_>,
    stable_hash: &str,
    plan: &mut Plan,
) {
    // What may be there and is not counted is better than nothing, and nothing more.
    let surely = stable_or_newest(versions, stable_hash, |set| set.available() > 0);
    let Some(living) = surely.or_else(|| living(versions, stable_hash)) else { return };
    let destination = |service: &Option<String>| {
        let selected = scene.selected(service.as_ref());
        let is_dead = selected.is_some_and(|hash| !may_serve(versions.with_hash(hash)));
        Destination { service: service.clone(), hash: is_dead.then(|| living.hash().to_owned()) }
    };
    let canary = &scene.spec.canary;
    for router in scene.snapshot.routers.iter().filter(|router| !router.capabilities.weights) {
        let intent = TrafficIntent {
            stable: destination(&canary.stable_service),
            canary: destination(&canary.canary_service),
            canary_weight: 0,
            total: steps::total(scene.spec),
        };
        let is_known = router.state.as_ref().is_ok_and(|state| !state.satisfies(&intent));
        if is_known && scene.spec.replicas > 0 {
            let direction = if leans_on_newest(versions, stable_hash) {
                Direction::TowardsCanary
            } else {
                Direction::TowardsStable
            };
            plan.shift.push(Effect::Route { config: router.config.clone(), intent, direction });
        }
    }
}

/// True when the selectors of all named Services can be read.
fn services_are_known(scene: &Scene<'_>) -> bool {
    scene.services().is_some()
        || scene.snapshot.routers.iter().all(|router| router.config.router != "services")
}

/// Where a full promotion lets stable shrink with its weight, the weight follows the canary's available pods; else it stays
/// until all of them are there (Argo Rollouts). Scaled down and up again within a moment, a ReplicaSet still reports pods that
/// are about to go.
fn followed_weight(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    held: i32,
    canary: Option<&ReplicaSetView>,
) -> i32 {
    let available = available(canary.filter(|canary| canary.is_observed()));
    let is_dynamic = scene.spec.canary.routing.as_ref().is_some_and(|routing| routing.dynamic_stable_scale);
    if stage == Stage::Finishing && record.promote_full && is_dynamic {
        held.max(replicas::bearable(available, scene.spec.replicas, steps::total(scene.spec)))
    } else {
        held
    }
}

fn released_weight(
    scene: &Scene<'_>,
    stage: Stage,
    range: WeightRange,
    held: i32,
    canary: Option<&ReplicaSetView>,
    stable: Option<&ReplicaSetView>,
) -> i32 {
    let desired = scene.spec.replicas;
    let total = steps::total(scene.spec);
    let Wish { weight, scale } = steps::wish(stage, scene.spec);
    let needed_of_canary = replicas::routed_canary(desired, weight, total, scale, None);
    let lacks_canary = weight > range.canary_min && !bears(scene, canary, needed_of_canary);
    let lacks_stable =
        weight < range.canary_max && !bears(scene, stable, needed_of_stable(scene, weight, total));
    if lacks_canary || lacks_stable { held } else { weight }
}

/// True when a version has the available pods that its share needs.
fn bears(scene: &Scene<'_>, side: Option<&ReplicaSetView>, needed: i32) -> bool {
    let threshold = scene.spec.canary.progress_threshold;
    side.filter(|side| side.is_observed())
        .map(ReplicaSetView::available)
        .is_some_and(|available| available >= 1 && replicas::enough_available(available, needed, threshold))
}

/// Pods that stable needs before the canary's weight goes down to this, of `total`. All but those that may be missing bear
/// everything (rule 4).
pub(super) fn needed_of_stable(scene: &Scene<'_>, weight: i32, total: i32) -> i32 {
    let desired = scene.spec.replicas;
    replicas::share(desired, total - weight, total).min(desired - scene.max_unavailable()).max(1)
}

/// The pods that stable lacks for a weight that is to go down: so many are needed.
pub(crate) fn lacking_stable(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>) -> Option<i32> {
    let weight = steps::wish(stage, scene.spec).weight;
    let needed = needed_of_stable(scene, weight, steps::total(scene.spec));
    let falls = observed_canary_max(scene).is_some_and(|shown| shown > weight);
    (falls && !bears(scene, versions.stable, needed)).then_some(needed)
}

/// What the stable Service shall select; `None` leaves it alone.
fn stable_selection(
    scene: &Scene<'_>,
    stage: Stage,
    versions: &Versions<'_>,
    stable_hash: &str,
) -> Option<String> {
    let service = scene.spec.canary.stable_service.as_ref()?;
    let stable = versions.with_hash(stable_hash);
    let stands_in = scene.spec.canary.routing.is_none() && leans_on_newest(versions, stable_hash);
    let is_taken_over = |canary: &&ReplicaSetView| {
        stands_in && bears_the_rest(scene, service, versions, canary)
            || takes_all(scene, stage, versions, canary)
    };
    // A Service that is not managed yet may have a Deployment's pods behind it.
    let is_managed = scene.selected(Some(service)).is_some();
    if !is_managed && workload::is_way_back(scene) {
        return None;
    }
    if let Some(canary) = versions.current.filter(|canary| is_managed && is_taken_over(canary)) {
        return Some(canary.hash().to_owned());
    }
    let is_ready = |stable: &&ReplicaSetView| {
        selectable(scene, service, versions, stable) && bears_the_rest(scene, service, versions, stable)
    };
    stable.filter(is_ready).map(|_| stable_hash.to_owned())
}

/// True unless the stable Service would leave a version for one that has fewer available pods than it needs for what comes
/// through that Service: without a router all of it, and where a first version that was found to be bad is replaced, no
/// weight protects its successor. Nobody knows who serves behind a Service that is not managed.
fn bears_the_rest(
    scene: &Scene<'_>,
    service: &String,
    versions: &Versions<'_>,
    set: &ReplicaSetView,
) -> bool {
    let total = steps::total(scene.spec);
    let is_routed = scene.spec.canary.routing.is_some();
    let share = observed_shares(scene).filter(|_| is_routed).map_or(0, |shares| shares.least);
    let needed = replicas::share(scene.spec.replicas, total - share, total) - scene.max_unavailable();
    let serving = match scene.selected(Some(service)) {
        Some(hash) if hash == set.hash() => 0,
        Some(hash) => versions.with_hash(hash).map_or(0, ReplicaSetView::available_at_most),
        None if is_led_by_us(scene, service) => 0,
        None => i32::MAX,
    };
    set.available() >= needed.min(serving)
}

/// True when a Service bears our mark. If it selects no version then, somebody has taken that out, as a forced server-side
/// apply of a manifest does: until it is back the Service leads to all versions.
fn is_led_by_us(scene: &Scene<'_>, service: &String) -> bool {
    let Some(Observed::Present(service)) = scene.snapshot.services.get(service) else { return false };
    service.managed_by.as_ref() == Some(&scene.rollout.name)
}

/// True when no pods of the stable version are wanted any more and no router leads to the newest one: then the stable
/// Service does, as soon as that version can bear it. Until it is stable the Service would lead to nothing.
fn takes_all(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>, canary: &ReplicaSetView) -> bool {
    let target = super::target(scene, stage, versions);
    let gets_all =
        matches!(stage, Stage::Step(_) | Stage::Finishing) && target.stable == 0 && target.canary > 0;
    let least = (scene.spec.replicas - scene.max_unavailable()).max(1);
    scene.spec.canary.routing.is_none() && gets_all && canary.is_observed() && canary.available() >= least
}

/// True when this Service selects the ReplicaSet already, or may be pointed at it: it has an available pod, and all of
/// them where the Service has served others so far. Scaled down and up again within a moment, a ReplicaSet still reports
/// pods that are about to go: it is waited for as long as others serve.
fn selectable(scene: &Scene<'_>, service: &String, versions: &Versions<'_>, set: &ReplicaSetView) -> bool {
    match scene.selected(Some(service)) {
        Some(selected) if selected == set.hash() || scene.spec.replicas == 0 => true,
        Some(selected) => {
            let can_wait = may_serve(versions.with_hash(selected));
            set.available() >= 1 && (set.is_observed() || !can_wait)
        }
        None if is_led_by_us(scene, service) => set.available() >= 1,
        // Not managed yet: its pods may be a Deployment's.
        None => is_full(scene, set),
    }
}

/// True when all of its pods are available, or as many as the spec is content with.
fn is_full(scene: &Scene<'_>, set: &ReplicaSetView) -> bool {
    let threshold = scene.spec.canary.progress_threshold;
    set.available() > 0 && replicas::enough_available(set.available(), set.replicas, threshold)
}

/// What the canary Service shall select; `None` leaves it alone. It is moved only while the route gives it nothing, while
/// what it selects has no pods anyway, or where the route cannot leave it.
fn canary_selection(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    versions: &Versions<'_>,
    plan: &mut Plan,
) -> Option<String> {
    let service = scene.spec.canary.canary_service.as_ref()?;
    let selected = scene.selected(Some(service));
    // Where nobody wants pods there are none to wait for: a release that is held does not begin by that.
    let is_held = scene.spec.replicas == 0 && steps::is_held(record, scene.spec);
    let may_begin = |set: &ReplicaSetView| !is_held || selected == Some(set.hash());
    let current = versions.current.filter(|set| selectable(scene, service, versions, set) && may_begin(set));
    let stable =
        versions.with_hash(&record.stable_rs).filter(|set| selectable(scene, service, versions, set));
    let wanted = match stage {
        Stage::Promoted => current,
        // The newest version alone may get pods after the abort only, when the Service has never led to it, and no weight
        // can give requests to a version without a Service.
        Stage::Aborted if scene.spec.replicas > 0 && leans_on_newest(versions, &record.stable_rs) => current,
        Stage::Aborted => stable,
        Stage::Step(_) | Stage::Finishing if is_better_left(scene, stage, versions) => stable.or(current),
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
    let serves = may_serve(selected.and_then(|hash| versions.with_hash(hash)));
    let succeeds = || {
        let needed = super::succession(scene, stage, versions);
        let is_held = steps::is_held(record, scene.spec);
        !is_held
            && wanted.hash() == scene.current_hash
            && needed.is_some_and(|needed| bears(scene, Some(wanted), needed))
    };
    let movable = !serves || route_has_left(scene, record, plan) || succeeds();
    movable.then(|| wanted.hash().to_owned())
}

/// True when the newest version has no pods, or a step is about to take them away: without a router nothing but the
/// Service keeps requests from it.
fn is_better_left(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>) -> bool {
    let is_dead = scene.spec.replicas > 0 && !may_serve(versions.current);
    let is_shrunk = || matches!(stage, Stage::Step(_)) && super::target(scene, stage, versions).canary == 0;
    scene.spec.canary.routing.is_none() && (is_dead || is_shrunk())
}

/// True when no route gives the canary Service anything and the proxies have had time to follow.
fn route_has_left(scene: &Scene<'_>, record: &RolloutStatus, plan: &mut Plan) -> bool {
    if scene.spec.canary.routing.is_none() {
        return true;
    }
    if observed_canary_max(scene) != Some(0) || is_lagging(scene) {
        return false;
    }
    passed(scene, followed_at(record), plan)
}
