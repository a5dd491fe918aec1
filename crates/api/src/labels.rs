//! Every label and annotation key of the API, once.
//!
//! Keys are those of Argo Rollouts: dashboards, selectors and other controllers look for them. Ours, if any,
//! are documented as such.

/// Group of the API.
pub const GROUP: &str = "argoproj.io";
/// Version of the API.
pub const VERSION: &str = "v1alpha1";
/// Group and version as in `apiVersion`.
pub const API_VERSION: &str = "argoproj.io/v1alpha1";

/// Label on ReplicaSets, their pods and in selectors of Services: hash of the pod template.
pub const POD_TEMPLATE_HASH: &str = "rollouts-pod-template-hash";

/// Label on Rollouts, Experiments and AnalysisRuns: which controller instance looks after them. A controller
/// without an instance id looks after objects without this label.
pub const CONTROLLER_INSTANCE_ID: &str = "argo-rollouts.argoproj.io/controller-instance-id";

/// Label on AnalysisRuns of a Rollout: for what they run.
pub const ROLLOUT_TYPE: &str = "rollout-type";
/// Value of [`ROLLOUT_TYPE`]: a canary step.
pub const ROLLOUT_TYPE_STEP: &str = "Step";
/// Value of [`ROLLOUT_TYPE`]: the background of the steps.
pub const ROLLOUT_TYPE_BACKGROUND: &str = "Background";
/// Value of [`ROLLOUT_TYPE`]: before the blue-green switch.
pub const ROLLOUT_TYPE_PRE_PROMOTION: &str = "PrePromotion";
/// Value of [`ROLLOUT_TYPE`]: after the blue-green switch.
pub const ROLLOUT_TYPE_POST_PROMOTION: &str = "PostPromotion";

/// Label on AnalysisRuns of a step: its index.
pub const STEP_INDEX: &str = "step-index";

/// Label on Jobs of an AnalysisRun: its uid.
pub const ANALYSIS_RUN_UID: &str = "analysisrun.argoproj.io/uid";
/// Annotation on Jobs of an AnalysisRun: its name.
pub const ANALYSIS_RUN_NAME: &str = "analysisrun.argoproj.io/name";
/// Annotation on Jobs of an AnalysisRun: its namespace.
pub const ANALYSIS_RUN_NAMESPACE: &str = "analysisrun.argoproj.io/namespace";
/// Annotation on Jobs of an AnalysisRun: the metric.
pub const ANALYSIS_RUN_METRIC_NAME: &str = "analysisrun.argoproj.io/metric-name";

/// Annotation on Rollouts, ReplicaSets, AnalysisRuns and Experiments: number of the release.
pub const REVISION: &str = "rollout.argoproj.io/revision";
/// Annotation on ReplicaSets: numbers of earlier releases of the same pod template, with commas between.
pub const REVISION_HISTORY: &str = "rollout.argoproj.io/revision-history";
/// Annotation on ReplicaSets: `spec.replicas` of the Rollout when they were last scaled.
pub const DESIRED_REPLICAS: &str = "rollout.argoproj.io/desired-replicas";
/// Annotation on ReplicaSets: the ephemeral metadata that their pods carry, as JSON.
pub const EPHEMERAL_METADATA: &str = "rollout.argoproj.io/ephemeral-metadata";
/// Annotation on ReplicaSets, Headgate's own: labels and annotations of the pod template in whose place ephemeral metadata
/// stands, as JSON. They come back with the end of the role.
pub const OWN_POD_METADATA: &str = "headgate/own-pod-metadata";
/// Annotation on ReplicaSets, Headgate's own: ephemeral metadata that some of their pods may still carry, as JSON. It goes
/// once all of them have been seen to carry what is wanted now.
pub const FORMER_POD_METADATA: &str = "headgate/former-pod-metadata";
/// Annotation on Rollouts with a `workloadRef`: generation of the workload.
pub const WORKLOAD_GENERATION: &str = "rollout.argoproj.io/workload-generation";

/// Annotation on ReplicaSets: when they may be scaled to zero, as RFC 3339 in UTC.
pub const SCALE_DOWN_DEADLINE: &str = "scale-down-deadline";
/// Annotation on ReplicaSets: when their pods were last restarted (older releases of Argo Rollouts).
pub const RESTARTED_AFTER: &str = "argo-rollouts.argoproj.io/restarted-after";

/// Annotation on Services and DestinationRules: the Rollout that edits them.
pub const MANAGED_BY_ROLLOUTS: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";
/// Annotation on Ingresses of an AWS load balancer: the annotations that a Rollout edits, as JSON.
pub const MANAGED_ALB_ANNOTATIONS: &str = "rollouts.argoproj.io/managed-alb-annotations";
/// The same as [`MANAGED_ALB_ANNOTATIONS`], written by older releases of Argo Rollouts.
pub const MANAGED_ALB_ACTIONS: &str = "rollouts.argoproj.io/managed-alb-actions";

/// Annotation on ReplicaSets of an Experiment: its name.
pub const EXPERIMENT_NAME: &str = "experiment.argoproj.io/name";
/// Annotation on ReplicaSets of an Experiment: the name of the version in it.
pub const EXPERIMENT_TEMPLATE_NAME: &str = "experiment.argoproj.io/template-name";

/// Start of annotations on Rollouts that subscribe to notifications: `subscribe.<trigger>.<service>` follows.
pub const NOTIFICATIONS_SUBSCRIBE_PREFIX: &str = "notifications.argoproj.io/subscribe.";
/// Annotation on Rollouts: which notifications were sent, as JSON.
pub const NOTIFICATIONS_NOTIFIED: &str = "notified.notifications.argoproj.io";

/// Label on the Secret with the kubeconfig of the Istio primary cluster; its value is `true`.
pub const ISTIO_PRIMARY_CLUSTER: &str = "istio.argoproj.io/primary-cluster";

/// Annotation that `kubectl apply` leaves on objects.
pub const LAST_APPLIED_CONFIGURATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
