//! Where a Rollout stands as a client must see it: computed once, for `get`, `list` and `status`.
//!
//! The stored phase is about the generation and the pauses that the controller has seen. What a user has changed since
//! is not in it, so a client looks at that first.

use headgate_api::{Rollout, RolloutPhase, labels};

/// Where a Rollout stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The phase.
    pub phase: RolloutPhase,
    /// Why, for people; empty when there is nothing to say.
    pub message: String,
}

/// Whether the controller has seen the latest spec, or the latest workload.
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

const WORKLOAD_UNSEEN: &str = "waiting for rollout spec update to be observed for the reference workload";

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
    if status.is_resumed() {
        return progressing("waiting for rollout to unpause");
    }
    if workload_observed(rollout, None) != Observed::Latest {
        return progressing(WORKLOAD_UNSEEN);
    }
    match status.phase {
        Some(phase) => Standing { phase, message: status.message.clone() },
        None => progressing("no controller has looked at this rollout yet"),
    }
}

/// Where a Rollout stands beside its workload. Healthy is about the template that the controller has seen, which is then
/// not the one that the workload has; any other phase says more than that it is out of date.
#[must_use]
pub fn standing_beside(rollout: &Rollout, workload: Observed) -> Standing {
    let standing = standing(rollout);
    if standing.phase == RolloutPhase::Healthy && workload != Observed::Latest {
        return Standing { phase: RolloutPhase::Progressing, message: WORKLOAD_UNSEEN.to_owned() };
    }
    standing
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

/// Whether the controller has seen the workload that the template is taken from as it is now. `read` is the generation that
/// somebody has read of it. Without that there is the annotation, which tells little: the controller writes it itself, once
/// it has seen the change.
#[must_use]
pub fn workload_observed(rollout: &Rollout, read: Option<i64>) -> Observed {
    let noted = || rollout.metadata.annotations.as_ref()?.get(labels::WORKLOAD_GENERATION)?.parse().ok();
    let seen = rollout.spec.workload_ref.as_ref().and_then(|_| seen_of_workload(rollout));
    match (seen, read.or_else(noted)) {
        // A workload that was deleted and created again begins anew.
        (Some(seen), Some(latest)) if seen != latest => Observed::Behind { seen, latest },
        _ => Observed::Latest,
    }
}

/// What is left of an answer of [`workload_observed`] at a later status: once the controller has seen another generation,
/// somebody has to read the workload again.
#[must_use]
pub fn still(rollout: &Rollout, workload: Observed) -> Observed {
    match workload {
        Observed::Behind { seen, .. } if seen_of_workload(rollout) == Some(seen) => workload,
        _ => Observed::Latest,
    }
}

fn seen_of_workload(rollout: &Rollout) -> Option<i64> {
    rollout.status.as_ref()?.workload_observed_generation.parse().ok()
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

    #[test]
    fn only_healthy_is_out_of_date_when_the_workload_has_changed() {
        let beside = |phase: &str, latest: i64| {
            let status =
                json!({ "phase": phase, "observedGeneration": "3", "workloadObservedGeneration": "7" });
            let rollout = rollout(json!({ "workloadRef": { "name": "shop" } }), status);
            let rollout: Rollout = serde_json::from_value(rollout).unwrap();
            standing_beside(&rollout, workload_observed(&rollout, Some(latest))).phase.to_string()
        };
        for (phase, latest, expected) in [
            ("Healthy", 7, "Healthy"),
            ("Healthy", 8, "Progressing"),
            ("Healthy", 1, "Progressing"),
            ("Degraded", 8, "Degraded"),
            ("Paused", 8, "Paused"),
        ] {
            assert_eq!(beside(phase, latest), expected, "{phase} {latest}");
        }
    }
}
