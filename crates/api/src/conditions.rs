//! Types and reasons of conditions, as Argo Rollouts writes them: people alert on them.

/// `status` of a condition: it is so.
pub const TRUE: &str = "True";
/// `status` of a condition: it isn't so.
pub const FALSE: &str = "False";
/// `status` of a condition: can't be said now.
pub const UNKNOWN: &str = "Unknown";

/// Types of conditions.
pub mod types {
    /// The spec can't be carried out until it is mended. Rollouts and Experiments.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// As many pods are available as are wanted.
    pub const AVAILABLE: &str = "Available";
    /// The release makes progress. Rollouts and Experiments.
    pub const PROGRESSING: &str = "Progressing";
    /// A ReplicaSet or its pods can't be created or deleted.
    pub const REPLICA_FAILURE: &str = "ReplicaFailure";
    /// The release is paused.
    pub const PAUSED: &str = "Paused";
    /// The newest version is the stable one.
    pub const COMPLETED: &str = "Completed";
    /// The newest version is the stable one and runs everywhere.
    pub const HEALTHY: &str = "Healthy";
}

/// Reasons of conditions.
pub mod reasons {
    /// InvalidSpec: the spec is invalid.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// Available: enough pods are, or aren't.
    pub const AVAILABLE: &str = "AvailableReason";
    /// Progressing: the ReplicaSet of the newest version was created.
    pub const NEW_REPLICA_SET_CREATED: &str = "NewReplicaSetCreated";
    /// Progressing: the ReplicaSet of the newest version was there already.
    pub const FOUND_NEW_REPLICA_SET: &str = "FoundNewReplicaSet";
    /// Progressing: something has moved.
    pub const REPLICA_SET_UPDATED: &str = "ReplicaSetUpdated";
    /// Progressing: a version that had been released has lost pods.
    pub const REPLICA_SET_NOT_AVAILABLE: &str = "ReplicaSetNotAvailable";
    /// Progressing: the newest version runs everywhere.
    pub const NEW_REPLICA_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
    /// Progressing: nothing has moved for `progressDeadlineSeconds`.
    pub const PROGRESS_DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
    /// Progressing and Paused: the release is paused.
    pub const ROLLOUT_PAUSED: &str = "RolloutPaused";
    /// Progressing: the release goes on after a pause.
    pub const ROLLOUT_RESUMED: &str = "RolloutResumed";
    /// Progressing: the release was aborted.
    pub const ROLLOUT_ABORTED: &str = "RolloutAborted";
    /// Progressing: the release starts again after an abort.
    pub const ROLLOUT_RETRY: &str = "RolloutRetry";
    /// Progressing and ReplicaFailure: a ReplicaSet can't be created.
    pub const REPLICA_SET_CREATE_ERROR: &str = "ReplicaSetCreateError";
    /// Completed: the newest version is, or isn't, the stable one.
    pub const ROLLOUT_COMPLETED: &str = "RolloutCompleted";
    /// Healthy: the Rollout is, or isn't.
    pub const ROLLOUT_HEALTHY: &str = "RolloutHealthy";
    /// Progressing, of an Experiment: it has ended.
    pub const EXPERIMENT_COMPLETED: &str = "ExperimentCompleted";
    /// Deciding failed by a fault of the controller, for this object alone. Written by Headgate only.
    pub const INTERNAL_ERROR: &str = "InternalError";
}
