//! Where a Rollout stands as a client must see it: computed once, for `get`, `list` and `status`.
//!
//! The stored phase is about the generation and the pauses that the controller has seen. What a user has changed since
//! is not in it, so a client looks at that first.

use headgate_api::{Rollout, RolloutPhase, RolloutStatus, labels};

/// Where a Rollout stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The phase.
    pub phase: RolloutPhase,
    /// Why, for people; empty when there is nothing to say.
    pub message: String,
}

/// Whether the controller has seen the latest spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It has, or the status does not tell.
    Latest,
    /// It has not.
    Behind {
        /// The generation that it has seen.
        seen: i64,
        /// The generation that there is.
        latest: i64,
    },
}

/// Where a Rollout stands.
#[must_use]
pub fn standing(rollout: &Rollout) -> Standing {
    let progressing =
        |message: &str| Standing { phase: RolloutPhase::Progressing, message: message.to_owned() };
    let Some(status) = &rollout.status else {
        return progressing("no controller has looked at this rollout yet");
    };
    if observed(rollout) != Observed::Latest {
        return progressing("waiting for rollout spec update to be observed");
    }
    if is_resumed(status) {
        return progressing("waiting for rollout to unpause");
    }
    if !workload_is_observed(rollout, status) {
        return progressing("waiting for rollout spec update to be observed for the reference workload");
    }
    match status.phase {
        Some(phase) => Standing { phase, message: status.message.clone() },
        None => progressing("no controller has looked at this rollout yet"),
    }
}

/// Whether the controller has seen the latest spec. A status without a number (very old releases of Argo Rollouts) does
/// not tell.
#[must_use]
pub fn observed(rollout: &Rollout) -> Observed {
    let seen = rollout.status.as_ref().and_then(|status| status.observed_generation.parse::<i64>().ok());
    match (seen, rollout.metadata.generation) {
        (Some(seen), Some(latest)) if seen < latest => Observed::Behind { seen, latest },
        _ => Observed::Latest,
    }
}

/// Whether a user has resumed and the controller has not acted on it yet.
#[must_use]
pub fn is_resumed(status: &RolloutStatus) -> bool {
    status.controller_pause && status.pause_conditions.is_empty()
}

fn workload_is_observed(rollout: &Rollout, status: &RolloutStatus) -> bool {
    if rollout.spec.workload_ref.is_none() {
        return true;
    }
    let latest = rollout
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(labels::WORKLOAD_GENERATION))
        .and_then(|text| text.parse::<i64>().ok());
    let seen = status.workload_observed_generation.parse::<i64>().ok();
    match (latest, seen) {
        (Some(latest), Some(seen)) => latest == seen,
        _ => true,
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of JSON read better without references")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(rollout: Value) -> String {
        let standing = standing(&serde_json::from_value(rollout).unwrap());
        format!("{} - {}", standing.phase, standing.message)
    }

    fn rollout(spec: Value, status: Value) -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {
                "name": "shop", "generation": 3,
                "annotations": { "rollout.argoproj.io/workload-generation": "7" }
            },
            "spec": spec, "status": status,
        })
    }

    #[test]
    fn what_the_controller_has_not_seen_comes_before_what_it_has_written() {
        let healthy = |more: Value| {
            let mut status = json!({ "phase": "Healthy", "observedGeneration": "3" });
            status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            status
        };
        let by_reference = json!({ "workloadRef": { "name": "shop" } });
        for (spec, status, expected) in [
            (json!({}), healthy(json!({})), "Healthy - "),
            (json!({}), healthy(json!({ "observedGeneration": "4" })), "Healthy - "),
            (json!({}), healthy(json!({ "observedGeneration": "5b98897bbd" })), "Healthy - "),
            (
                json!({}),
                healthy(json!({ "observedGeneration": "2" })),
                "Progressing - waiting for rollout spec update to be observed",
            ),
            (
                json!({}),
                healthy(json!({ "controllerPause": true })),
                "Progressing - waiting for rollout to unpause",
            ),
            (
                json!({}),
                json!({
                    "phase": "Paused", "message": "CanaryPauseStep", "observedGeneration": "3",
                    "controllerPause": true, "pauseConditions": [{ "reason": "CanaryPauseStep" }]
                }),
                "Paused - CanaryPauseStep",
            ),
            (by_reference.clone(), healthy(json!({ "workloadObservedGeneration": "7" })), "Healthy - "),
            (
                by_reference,
                healthy(json!({ "workloadObservedGeneration": "6" })),
                "Progressing - waiting for rollout spec update to be observed for the reference workload",
            ),
            (json!({}), json!({}), "Progressing - no controller has looked at this rollout yet"),
        ] {
            assert_eq!(told(rollout(spec.clone(), status.clone())), expected, "{spec} {status}");
        }
    }
}
