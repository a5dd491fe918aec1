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
/// The Rollout was deleted.
pub const ROLLOUT_DELETED: &str = "RolloutDeleted";
/// Steps are skipped.
pub const SKIP_STEPS: &str = "SkipSteps";
/// The selector of a Service was switched.
pub const SWITCH_SERVICE: &str = "SwitchService";
/// The weights were changed.
pub const TRAFFIC_WEIGHT_UPDATED: &str = "TrafficWeightUpdated";
/// A traffic router can't do what it should.
pub const TRAFFIC_ROUTING_ERROR: &str = "TrafficRoutingError";
/// Whether the weights have taken effect can't be found out.
pub const WEIGHT_VERIFY_ERROR: &str = "WeightVerifyError";
/// An AWS target group has its pods.
pub const TARGET_GROUP_VERIFIED: &str = "TargetGroupVerified";
/// An AWS target group doesn't have its pods yet.
pub const TARGET_GROUP_UNVERIFIED: &str = "TargetGroupUnverified";
/// Whether an AWS target group has its pods can't be found out.
pub const TARGET_GROUP_VERIFY_ERROR: &str = "TargetGroupVerifyError";
/// The AWS load balancer of an Ingress isn't there.
pub const LOAD_BALANCER_NOT_FOUND: &str = "LoadBalancerNotFound";
/// An Experiment was created.
pub const EXPERIMENT_CREATED: &str = "ExperimentCreated";
/// Start of the reasons for a changed phase of an AnalysisRun: the phase follows.
pub const ANALYSIS_RUN_PREFIX: &str = "AnalysisRun";
/// Start of the reasons for a changed phase of an Experiment: the phase follows.
pub const EXPERIMENT_PREFIX: &str = "Experiment";
/// Start of the reasons for a changed phase of a metric: the phase follows.
pub const METRIC_PREFIX: &str = "Metric";
/// Start of the reasons for a changed status of a version of an Experiment: the status follows.
pub const TEMPLATE_PREFIX: &str = "Template";
/// An Experiment ends its AnalysisRun.
pub const ANALYSIS_RUN_TERMINATING: &str = "AnalysisRunTerminating";
/// A ReplicaSet can't be created.
pub const REPLICA_SET_CREATE_ERROR: &str = "ReplicaSetCreateError";
/// A ReplicaSet can't be changed.
pub const REPLICA_SET_UPDATE_ERROR: &str = "ReplicaSetUpdateError";
/// A step plugin has got further.
pub const STEP_PLUGIN_TRANSITION: &str = "StepPluginTransition";
/// A Rollout couldn't be worked on.
pub const RECONCILIATION_ERROR: &str = "ReconciliationError";

/// Istio: a VirtualService was changed.
pub const UPDATED_VIRTUAL_SERVICE: &str = "Updated VirtualService";
/// Istio: a DestinationRule was changed.
pub const UPDATED_DESTINATION_RULE: &str = "UpdatedDestinationRule";
/// Istio: a VirtualService isn't there.
pub const VIRTUAL_SERVICE_NOT_FOUND: &str = "VirtualServiceNotFound";
/// Istio: a DestinationRule isn't there.
pub const DESTINATION_RULE_NOT_FOUND: &str = "DestinationRuleNotFound";
/// App Mesh: a VirtualRouter isn't there.
pub const VIRTUAL_ROUTER_NOT_FOUND: &str = "VirtualRouterNotFound";
/// App Mesh: a VirtualNode isn't there.
pub const VIRTUAL_NODE_NOT_FOUND: &str = "VirtualNodeNotFound";
/// ingress-nginx: a canary Ingress is created.
pub const CREATING_CANARY_INGRESS: &str = "CreatingCanaryIngress";
/// ingress-nginx: a canary Ingress is changed.
pub const PATCHING_CANARY_INGRESS: &str = "PatchingCanaryIngress";
/// AWS load balancer: an Ingress is changed.
pub const PATCHING_ALB_INGRESS: &str = "PatchingALBIngress";
/// SMI: a TrafficSplit was created.
pub const TRAFFIC_SPLIT_CREATED: &str = "TrafficSplitCreated";
/// SMI: a TrafficSplit can't be created.
pub const TRAFFIC_SPLIT_NOT_CREATED: &str = "TrafficSplitNotCreated";
/// Traefik: a TraefikService can't be changed.
pub const TRAEFIK_SERVICE_UPDATE_ERROR: &str = "TraefikServiceUpdateError";

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
