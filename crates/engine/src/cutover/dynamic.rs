//! A stable version whose pods go with its weight (`dynamicStableScale`), and come back before the weight does.
//!
//! Argo Rollouts takes the pods away one pass after the weight. Here they go once the routes show the weight, the data plane
//! does not lag, and proxies have had their time.

use super::pods::{drained_at, forget_deadline, resize};
use super::{Plan, Role, former, is_known, is_selected, observed_canary_max, observed_share, passed};
use crate::replicas;
use crate::scene::{Scene, Versions};
use crate::steps::{self, Stage, Wish};
use headgate_api::RolloutStatus;
use headgate_model::ReplicaSetView;
use headgate_model::spec::Routing;

/// Stable pods that a stage of a routed release wants in the end.
pub(super) fn target(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>, routing: &Routing) -> i32 {
    let desired = scene.spec.replicas;
    if !routing.dynamic_stable_scale || is_way_back(scene, versions) {
        return desired;
    }
    let Wish { weight, scale } = steps::wish(stage, scene.spec);
    replicas::routed_stable(desired, weight, routing.total, scale, routing.min_pods_per_replica_set)
}

/// True while a share is to come back to stable that the stage does not speak of: that of a version that was replaced, or of
/// a router that the spec no longer names, also of one whose objects are away and may come back with what they gave. For that
/// stable needs all its pods.
fn is_way_back(scene: &Scene<'_>, versions: &Versions<'_>) -> bool {
    let selected = scene.selected(scene.spec.canary.canary_service.as_ref());
    let is_replaced = selected.is_some_and(|hash| versions.current.is_none_or(|set| set.hash() != hash));
    former::are_in_use(scene)
        || former::may_come_back(scene)
        || is_replaced && observed_canary_max(scene).is_some_and(|share| share > 0)
}

/// Stable pods that the routes need as they are; 0 while nobody can read them.
pub(super) fn owed(scene: &Scene<'_>, routing: &Routing, stable: &ReplicaSetView) -> i32 {
    let given = observed_share(scene, stable, Role::Stable).unwrap_or(0);
    replicas::share(scene.spec.replicas, given, routing.total)
}

/// True while stable has fewer pods than the routes need of it.
pub(super) fn lacks_owed(scene: &Scene<'_>, versions: &Versions<'_>) -> bool {
    let routing = scene.spec.canary.routing.as_ref().filter(|routing| routing.dynamic_stable_scale);
    routing
        .zip(versions.stable)
        .is_some_and(|(routing, stable)| owed(scene, routing, stable) > stable.replicas)
}

/// Where stable may go from here, while the canary keeps so many available pods; without regard to drain time.
fn bound(
    scene: &Scene<'_>,
    routing: &Routing,
    (stable, target): (&ReplicaSetView, i32),
    canary_left: i32,
) -> i32 {
    let desired = scene.spec.replicas;
    let wanted = target.max(owed(scene, routing, stable));
    if wanted >= stable.replicas {
        return wanted;
    }
    let least = desired - scene.max_unavailable() - canary_left;
    // While the Service leads to it one pod stays: some proxies answer nothing at all for a Service without pods, whatever
    // the weights say (ingress-nginx).
    let for_service = i32::from(desired > 0 && is_selected(scene, stable));
    wanted.max(stable.available_at_most().min(least)).max(for_service).min(stable.replicas)
}

/// How many stable pods there shall be now.
pub(super) fn size(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    (stable, target): (&ReplicaSetView, i32),
    canary_left: i32,
    routing: &Routing,
    plan: &mut Plan,
) -> i32 {
    let to = bound(scene, routing, (stable, target), canary_left);
    if to >= stable.replicas {
        return to;
    }
    let is_drained = is_known(scene, &scene.versions(&record.stable_rs))
        && passed(scene, drained_at(record, routing), plan);
    // Until then all of them may be needed, but no more than the user wants.
    if is_drained { to } else { to.max(scene.spec.replicas).min(stable.replicas) }
}

/// True when stable has as many pods as it is to have, as far as it may go there.
pub(super) fn is_reached(
    scene: &Scene<'_>,
    stage: Stage,
    versions: &Versions<'_>,
    routing: &Routing,
    stable: &ReplicaSetView,
) -> bool {
    let target = target(scene, stage, versions, routing);
    let canary_left = versions.current.map_or(0, ReplicaSetView::available);
    stable.replicas == bound(scene, routing, (stable, target), canary_left)
}

/// After an abort the canary goes with its weight, where the spec has no delay of its own for it.
pub(super) fn follow_weight(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    canary: &ReplicaSetView,
    versions: &Versions<'_>,
    routing: &Routing,
    plan: &mut Plan,
) {
    forget_deadline(canary, plan);
    let desired = scene.spec.replicas;
    let Some(given) = observed_share(scene, canary, Role::Canary) else { return };
    let borne = replicas::share(desired, given, routing.total);
    let borne = replicas::at_least(borne, routing.min_pods_per_replica_set, desired);
    let stable_left = versions.stable.map_or(0, ReplicaSetView::available).min(desired);
    let needed = canary.available_at_most().min(desired - scene.max_unavailable() - stable_left);
    let for_service = i32::from(desired > 0 && is_selected(scene, canary));
    let to = borne.max(needed).max(for_service);
    if to < canary.replicas && is_known(scene, versions) && passed(scene, drained_at(record, routing), plan) {
        resize(canary, to, plan);
    }
}
