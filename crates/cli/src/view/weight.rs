//! The weight that the steps ask for, and the weight that the new version has.

use crate::intent::{canary, current_step};
use headgate_api::{CanaryStep, CanaryStrategy, Rollout, RolloutStatus};

/// Parts of a whole, unless `maxTrafficWeight` says otherwise.
const WEIGHT_MAX: i32 = 100;

/// The two weights of a canary release, in parts of `maxTrafficWeight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// What the steps ask for.
    pub set: i32,
    /// What the router was last told or, without a router, the new version's share of the available pods.
    pub actual: i32,
}

/// The weights of a Rollout; none without a canary strategy. `canary_available` is the number of available pods of the
/// new version.
#[must_use]
pub fn weights(rollout: &Rollout, canary_available: i32) -> Option<Weights> {
    let strategy = canary(rollout)?;
    let default = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&default);
    let set = set_weight(strategy, status);
    Some(Weights { set, actual: actual_weight(strategy, status, set, canary_available) })
}

fn set_weight(strategy: &CanaryStrategy, status: &RolloutStatus) -> i32 {
    if status.abort {
        return 0;
    }
    let Some(step) = current_step(strategy, status).filter(|step| step.index < step.count) else {
        return weight_max(strategy);
    };
    let done = usize::try_from(step.index).unwrap_or(0) + 1;
    let steps: &[CanaryStep] = strategy.steps.as_deref().unwrap_or_default();
    steps.iter().take(done).rev().find_map(|step| step.set_weight).unwrap_or(0)
}

fn actual_weight(strategy: &CanaryStrategy, status: &RolloutStatus, set: i32, canary_available: i32) -> i32 {
    let is_past_steps = current_step(strategy, status).is_none_or(|step| step.index >= step.count);
    if is_past_steps && !status.abort {
        return weight_max(strategy);
    }
    if status.available_replicas <= 0 {
        return 0;
    }
    if strategy.traffic_routing.is_none() {
        return canary_available.saturating_mul(weight_max(strategy)) / status.available_replicas;
    }
    let told = status.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    told.map_or(set, |weights| weights.canary.weight)
}

fn weight_max(strategy: &CanaryStrategy) -> i32 {
    let routing = strategy.traffic_routing.as_ref();
    routing.and_then(|routing| routing.max_traffic_weight).unwrap_or(WEIGHT_MAX)
}
