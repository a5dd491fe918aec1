//! How the weight goes back to stable after an abort, and from a version that was replaced.

use super::{Plan, followed_at, lowered_at, passed, route};
use crate::replicas;
use crate::scene::Scene;
use crate::steps;
use headgate_api::RolloutStatus;
use headgate_model::spec::{AbortPolicy, Step};
use headgate_model::{TrafficState, WeightRange};

/// The share of the canary that a route shall show now, while both versions have pods that may serve: never more than it is.
/// `available`: those of stable that can be counted on.
pub(super) fn weight(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    (state, range): (&TrafficState, WeightRange),
    held: i32,
    available: i32,
    plan: &mut Plan,
) -> i32 {
    let (desired, total) = (scene.spec.replicas, range.total);
    // What was replaced goes back at once: the policy is about aborts.
    let policy = if record.abort { scene.spec.canary.abort_policy } else { AbortPolicy::Instant };
    // So much stable cannot bear.
    let least = total - replicas::bearable(available, desired, total);
    match policy {
        // Also where none needs to be available: what may be there, and is not counted, bears nothing.
        AbortPolicy::Instant if available >= route::needed_of_stable(scene, 0, total) => 0,
        AbortPolicy::Instant | AbortPolicy::AsCapacityAllows => held.min(least),
        // The abort came in the middle of a raise: what has not been raised yet stays, if stable bears it.
        AbortPolicy::Stepped if range.canary_min < held => held.min(least.max(range.canary_min)),
        AbortPolicy::Stepped => {
            let is_shown = range.canary_min == range.canary_max;
            let next = next_weight(scene, held);
            let may_go = is_shown
                && available >= route::needed_of_stable(scene, next, total)
                && is_confirmed(scene, record, state, held, plan);
            if may_go { next } else { held }
        }
    }
}

/// The next weight on the way down: the largest one of the steps that is below this one, or 0.
fn next_weight(scene: &Scene<'_>, weight: i32) -> i32 {
    let set = scene.spec.canary.steps.iter().filter_map(Step::weight);
    set.filter(|set| *set < weight).max().unwrap_or(0)
}

/// True when the proxies have the weight before. Of a router that can't tell they are given their time; the first weight of
/// the way back waits for nothing.
fn is_confirmed(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    state: &TrafficState,
    held: i32,
    plan: &mut Plan,
) -> bool {
    let aborted_at = record.aborted_at.as_ref().map(|time| time.0);
    let has_begun = lowered_at(record).is_some_and(|lowered| Some(lowered) >= aborted_at) && held > 0;
    match state.confirmed {
        _ if !has_begun => true,
        Some(confirmed) => confirmed,
        None => passed(scene, followed_at(record), plan),
    }
}

/// A step of the way back, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StepBack {
    /// The weight as it is.
    pub(crate) from: i32,
    /// The weight that is next.
    pub(crate) to: i32,
    /// Stable pods that it needs.
    pub(crate) pods: i32,
}

/// The next step of an abort whose weight goes down in steps; `None` where it does not, or has got to 0.
pub(crate) fn next_step(scene: &Scene<'_>, record: &RolloutStatus) -> Option<StepBack> {
    let is_stepped = record.abort && scene.spec.canary.abort_policy == AbortPolicy::Stepped;
    let from = record.canary.as_ref()?.weights.as_ref()?.canary.weight;
    let to = next_weight(scene, from);
    let total = steps::total(scene.spec);
    (is_stepped && from > 0).then(|| StepBack { from, to, pods: route::needed_of_stable(scene, to, total) })
}
