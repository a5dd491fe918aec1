//! The order in which pods and traffic move: Grow, then Shift, then Shrink (R6). Everything that makes a release safe
//! for the requests that are under way is decided here and nowhere else.
//!
//! What is removed is judged by the *observed* route, never by what was meant; what is raised needs available pods.

mod former;
mod pods;
mod route;

use crate::replicas::{self, Counts};
use crate::scene::{Scene, Versions, memory, stored};
use crate::steps::{self, Stage, Wish};
use headgate_api::{RolloutStatus, TrafficWeights, WeightDestination, labels};
use headgate_model::{Effect, ReplicaSetView, Timestamp};

pub(crate) use pods::deadline;

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
        size && canary.is_observed()
            && replicas::enough_available(
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
    Some(most.max(former::shares(scene)?.most))
}

/// The largest share that the routes give to the newest version, through whichever Service leads to it: after a promotion
/// that was taken back the stable one may. `None` while a router can't tell.
fn observed_share(scene: &Scene<'_>, current: &ReplicaSetView) -> Option<i32> {
    let (mut least, total) = (steps::total(scene.spec), steps::total(scene.spec));
    for router in scene.weight_routers() {
        let state = router.state.as_ref().ok()?;
        least = least.min(state.weights.map_or(0, |range| range.canary_min));
    }
    let least = least.min(former::shares(scene)?.least);
    let canary = &scene.spec.canary;
    let leads_here = |service: &Option<String>, by_role: bool| {
        scene.selected(service.as_ref()).map_or(by_role, |hash| hash == current.hash())
    };
    let through_canary =
        if leads_here(&canary.canary_service, true) { observed_canary_max(scene)? } else { 0 };
    let through_stable = if leads_here(&canary.stable_service, false) { total - least } else { 0 };
    Some((through_canary + through_stable).min(total))
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
    note_unrecorded_shift(scene, record);
    note_weights(scene, record);
    let mut plan = Plan::default();
    route::shift(scene, record, stage, &versions, &mut plan);
    former::lead_back(scene, record, stage, &versions, &mut plan);
    former::remember(scene, record, &plan);
    note_unseen_shift(scene, record, &plan);
    pods::scale(scene, record, stage, &versions, &mut plan);
    let is_known = routes_are_known(scene) && numbers_are_known(&versions);
    if !is_known && !is_user_scaling(scene, &versions) {
        // Nothing shrinks while something that it needs is unknown.
        plan.shrink.clear();
    }
    plan
}

/// For a release that stands still: its pods follow the user's number all the same, because an autoscaler must not wait
/// for a mended spec, and neither a weight nor a Service stays with a version whose pods have all died.
pub(crate) fn follow_user(scene: &Scene<'_>, record: &mut RolloutStatus) -> Plan {
    let versions = scene.versions(&record.stable_rs);
    let stage = steps::stage(record, scene.spec);
    let mut plan = Plan::default();
    route::leave_the_dead(scene, stage, &versions, &mut plan);
    route::leave_dead_selectors(scene, &versions, &record.stable_rs, &mut plan);
    former::remember(scene, record, &plan);
    let sets = [versions.current, versions.stable];
    if sets.into_iter().flatten().any(|set| is_sized_for_another_number(scene, set)) {
        pods::scale(scene, record, stage, &versions, &mut plan);
    }
    plan
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
    let before = record.canary.as_ref().and_then(|canary| canary.weights.clone());
    if before.is_some() && is_forgotten(scene, record) {
        // Also while the routes cannot be read: the next decision will seem to remember.
        memory(record).weight_lowered_at = stored(scene.now);
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
    let has_followed =
        |before: &TrafficWeights| before.verified == Some(false) && weights.verified != Some(false);
    if before.is_some_and(|before| before.canary.weight != shown || has_followed(&before)) {
        memory(record).weight_lowered_at = stored(scene.now);
    }
    crate::intent::canary(record).weights = Some(weights);
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
    };
    if observed_canary_max(scene).is_none() && plan.shift.iter().any(is_weight) {
        memory(record).weight_lowered_at = stored(scene.now);
    }
}

/// True when nobody remembers when the weights of a release under way changed: the CRD drops what we remember and another
/// process did it, or Argo Rollouts. Then it may have been just now.
fn is_forgotten(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    scene.old.headgate.is_none() && record.current_pod_hash != record.stable_rs
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

/// True when the data plane of some router says that it lags behind.
fn is_lagging(scene: &Scene<'_>) -> bool {
    scene
        .weight_routers()
        .chain(scene.former_routers())
        .any(|router| router.state.as_ref().is_ok_and(|state| state.confirmed == Some(false)))
}

/// True when every router and every Service can be read, and no data plane says that it lags behind.
pub(crate) fn routes_are_known(scene: &Scene<'_>) -> bool {
    scene
        .snapshot
        .routers
        .iter()
        .chain(scene.former_routers())
        .all(|router| router.state.as_ref().is_ok_and(|state| state.confirmed != Some(false)))
}

/// True when the numbers of available pods speak of the sizes that we see. Scaled down and up again within a moment, a
/// ReplicaSet still reports pods that are gone.
fn numbers_are_known(versions: &Versions<'_>) -> bool {
    [versions.current, versions.stable].into_iter().flatten().all(ReplicaSetView::is_observed)
}

/// True when a Service that the spec names selects this ReplicaSet.
pub(crate) fn is_selected(scene: &Scene<'_>, set: &ReplicaSetView) -> bool {
    let canary = &scene.spec.canary;
    [&canary.canary_service, &canary.stable_service]
        .into_iter()
        .any(|service| scene.selected(service.as_ref()) == Some(set.hash()))
}

/// True while the user's change of `spec.replicas` has not reached the pods of the release.
fn is_user_scaling(scene: &Scene<'_>, versions: &Versions<'_>) -> bool {
    let mut sets = [versions.current, versions.stable].into_iter().flatten();
    sets.any(|set| set.replicas > 0 && is_sized_for_another_number(scene, set))
}

/// True when this ReplicaSet got its size for another `spec.replicas`.
fn is_sized_for_another_number(scene: &Scene<'_>, set: &ReplicaSetView) -> bool {
    let noted = set.annotations.get(labels::DESIRED_REPLICAS).and_then(|text| text.parse::<i32>().ok());
    noted.is_some_and(|noted| noted != scene.spec.replicas)
}
