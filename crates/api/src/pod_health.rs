//! `spec.strategy.canary.podHealth`: when the pods themselves say that the new version is bad. Argo Rollouts has none of it.

use crate::open_enum::open_enum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done when a pod of the new version is unhealthy, and what counts as that. Pods that are being deleted, evicted
/// or on a node that is lost do not count. Not in Argo Rollouts.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodHealth {
    /// What is done: `abort` leads back to the stable version, `pause` holds the release until a user promotes or aborts,
    /// `off` does nothing. Default: what the controller's flag `--pod-health` says, which is `abort` unless set.
    pub action: Option<PodHealthAction>,
    /// A container that runs, was ready, and has failed so many readiness probes in a row since is unhealthy: 1 to 1000.
    /// The kubelet tells of failed probes once there are `failureThreshold` of them: a lower number is reached only then.
    /// One more is waited for, and 10 s at least. Default: 3.
    pub failed_probes: Option<i32>,
    /// A container that has ended more often than this within `restartWindowSeconds` is unhealthy: 0 to 30. An end counts
    /// when it happens, not when the kubelet starts the container again. Default: 5.
    pub max_restarts: Option<i32>,
    /// The seconds within which `maxRestarts` counts: 1 to 86400. Default: 300.
    pub restart_window_seconds: Option<i32>,
    /// A container that was killed for want of memory (reason `OOMKilled`) more often than this is unhealthy: 0 to 30.
    /// Default: 0, so that the first one counts.
    pub max_oom_kills: Option<i32>,
    /// A container whose image could not be pulled for so many seconds is unhealthy: 1 to 86400. Default: 120.
    pub image_pull_seconds: Option<i32>,
}

open_enum! {
    /// What is done when a pod of the new version is unhealthy.
    PodHealthAction {
        /// Back to the stable version.
        Abort = "abort",
        /// The release waits for a user.
        Pause = "pause",
        /// Nothing.
        Off = "off",
    }
}
