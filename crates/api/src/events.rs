//! Reasons of Kubernetes events, as Argo Rollouts writes them: people alert on them, and notification triggers
//! are named after them.

/// Component that reports events, as in Argo Rollouts.
pub const SOURCE_COMPONENT: &str = "rollouts-controller";

/// The revision of a Rollout has changed: a release begins.
pub const ROLLOUT_UPDATED: &str = "RolloutUpdated";
/// The ReplicaSet of a new version was created.
pub const NEW_REPLICA_SET_CREATED: &str = "NewReplicaSetCreated";
/// A ReplicaSet was scaled.
pub const SCALING_REPLICA_SET: &str = "ScalingReplicaSet";
/// The newest version isn't the stable one any more.
pub const ROLLOUT_NOT_COMPLETED: &str = "RolloutNotCompleted";
/// A step is done.
pub const ROLLOUT_STEP_COMPLETED: &str = "RolloutStepCompleted";
/// The release is paused.
pub const ROLLOUT_PAUSED: &str = "RolloutPaused";
/// A pause has lasted longer than its `maxDuration`. Not in Argo Rollouts.
pub const PAUSE_OVERDUE: &str = "PauseOverdue";
/// An analysis has failed, and the release waits because of it. Not in Argo Rollouts.
pub const ANALYSIS_FAILED: &str = "AnalysisFailed";
/// The release goes on after a pause.
pub const ROLLOUT_RESUMED: &str = "RolloutResumed";
/// The release was aborted.
pub const ROLLOUT_ABORTED: &str = "RolloutAborted";
/// The newest version has become the stable one.
pub const ROLLOUT_COMPLETED: &str = "RolloutCompleted";
/// Steps are skipped.
pub const SKIP_STEPS: &str = "SkipSteps";
/// The selector of a Service was switched.
pub const SWITCH_SERVICE: &str = "SwitchService";
/// The weights were changed.
pub const TRAFFIC_WEIGHT_UPDATED: &str = "TrafficWeightUpdated";
/// A traffic router can't do what it should.
pub const TRAFFIC_ROUTING_ERROR: &str = "TrafficRoutingError";
/// Start of the reasons for a changed phase of an AnalysisRun: the phase follows.
pub const ANALYSIS_RUN_PREFIX: &str = "AnalysisRun";
/// A ReplicaSet can't be created.
pub const REPLICA_SET_CREATE_ERROR: &str = "ReplicaSetCreateError";
/// A ReplicaSet can't be changed.
pub const REPLICA_SET_UPDATE_ERROR: &str = "ReplicaSetUpdateError";
/// A Rollout couldn't be worked on.
pub const RECONCILIATION_ERROR: &str = "ReconciliationError";

/// Headgate: an intent of the user is dropped because it was meant for another version.
pub const INTENT_DROPPED: &str = "IntentDropped";
/// Headgate: a release made no progress until its deadline. Argo Rollouts says so in the conditions only.
pub const PROGRESS_DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
/// Headgate: a pod of the new version is unhealthy, and the release waits for a user to look at it.
pub const UNHEALTHY_POD: &str = "UnhealthyPod";
/// Headgate: the spec is invalid; says what to mend.
pub const INVALID_SPEC: &str = "InvalidSpec";
/// Headgate: a value of the pod template has not the form that its field asks for, so that part of the template is not rolled
/// out. Once for each version.
pub const MALFORMED_TEMPLATE: &str = "MalformedTemplate";
/// Headgate: an analysis begins whose query does not tell canary and stable apart; says how bad the canary must be to trip
/// it. Once for each run.
pub const BLIND_ANALYSIS: &str = "BlindAnalysis";
