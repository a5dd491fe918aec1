//! The kind Rollout: what users write in `spec`.

use crate::blue_green::BlueGreenStrategy;
use crate::canary::CanaryStrategy;
use crate::open_enum::open_enum;
use crate::rollout_status::RolloutStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What should run and how a new version of it goes out.
#[expect(clippy::duplicated_attributes, reason = "several columns have the same type")]
#[serde_with::skip_serializing_none]
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "Rollout",
    plural = "rollouts",
    shortname = "ro",
    namespaced,
    status = "RolloutStatus",
    derive = "PartialEq",
    doc = "A Rollout runs pods like a Deployment and releases each new version of them gradually (canary) or beside the old one (blueGreen).",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.HPAReplicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Desired",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "Number of desired pods"
    ),
    printcolumn(
        name = "Current",
        type_ = "integer",
        json_path = ".status.replicas",
        description = "Number of pods of all versions that are not terminating"
    ),
    printcolumn(
        name = "Up-to-date",
        type_ = "integer",
        json_path = ".status.updatedReplicas",
        description = "Number of pods of the newest version that are not terminating"
    ),
    printcolumn(
        name = "Available",
        type_ = "integer",
        json_path = ".status.availableReplicas",
        description = "Number of pods that have been ready for minReadySeconds"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the Rollout was created"
    ),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// Number of pods that should run. Default: 1, which is written back so that an autoscaler finds it.
    pub replicas: Option<i32>,
    /// Which pods belong to this Rollout: must match the labels of `template` and can't be changed later.
    /// Required unless `workloadRef` is set.
    pub selector: Option<LabelSelector>,
    /// The pods to run. A change of it starts a new release. Required unless `workloadRef` is set.
    #[serde(default)]
    #[schemars(schema_with = "crate::pod_template::pod_template_schema")]
    pub template: Option<Value>,
    /// Takes `selector` and `template` from another object (a Deployment, ReplicaSet or PodTemplate in the
    /// same namespace) instead of writing them here.
    pub workload_ref: Option<ObjectRef>,
    /// Seconds for which a new pod must be ready before it counts as available. Default: 0.
    pub min_ready_seconds: Option<i32>,
    /// Going back to a recent version skips steps, pauses and analysis.
    pub rollback_window: Option<RollbackWindowSpec>,
    /// How a new version goes out: exactly one of `canary` and `blueGreen`.
    pub strategy: Option<RolloutStrategy>,
    /// Number of old ReplicaSets, scaled to zero, that are kept to go back to. Default: 10.
    pub revision_history_limit: Option<i32>,
    /// Stops the release where it is: no further step, no promotion, no scaling of the new version.
    /// Default: false.
    pub paused: Option<bool>,
    /// Seconds without progress after which the Rollout is Degraded; time in a pause or an analysis does not
    /// count. Must be greater than `minReadySeconds`. Default: 600.
    pub progress_deadline_seconds: Option<i32>,
    /// Whether the release is aborted when `progressDeadlineSeconds` have passed. Default: false.
    pub progress_deadline_abort: Option<bool>,
    /// All pods created before this time are replaced, gradually.
    pub restart_at: Option<Time>,
    /// How many finished AnalysisRuns and Experiments are kept.
    pub analysis: Option<AnalysisRunStrategy>,
}

/// A workload whose selector and pod template a Rollout uses.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// API version of the workload, for example `apps/v1`.
    pub api_version: Option<String>,
    /// Kind of the workload: `Deployment`, `ReplicaSet` or `PodTemplate`.
    pub kind: Option<String>,
    /// Name of the workload, in the namespace of the Rollout.
    pub name: Option<String>,
    /// When the referenced Deployment is scaled to zero: `never`, `onsuccess` (after the first successful
    /// release) or `progressively` (as the pods of the Rollout become available). Default: never.
    pub scale_down: Option<WorkloadScaleDown>,
}

open_enum! {
    /// When a referenced Deployment is scaled to zero.
    WorkloadScaleDown {
        /// Never.
        Never = "never",
        /// Once the Rollout is healthy.
        OnSuccess = "onsuccess",
        /// As the pods of the Rollout become available.
        Progressively = "progressively",
    }
}

/// How recent a version must be for a fast rollback to it.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackWindowSpec {
    /// Number of latest revisions to which a rollback is promoted at once. Default: 0 (off).
    pub revisions: Option<i32>,
}

/// How a new version goes out: exactly one of its fields is set.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStrategy {
    /// Runs the new version beside the old one and switches a Service over at once.
    pub blue_green: Option<BlueGreenStrategy>,
    /// Shifts pods, or traffic, to the new version in steps.
    pub canary: Option<CanaryStrategy>,
}

/// How many finished AnalysisRuns and Experiments are kept.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRunStrategy {
    /// Number of successful AnalysisRuns, and of successful Experiments, to keep. Default: 5.
    pub successful_run_history_limit: Option<i32>,
    /// Number of failed, inconclusive or errored AnalysisRuns, and Experiments, to keep. Default: 5.
    pub unsuccessful_run_history_limit: Option<i32>,
}

/// An anti-affinity between the pods of the new and the stable version, so that they run on other nodes.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AntiAffinity {
    /// New pods prefer nodes without pods of the stable version.
    pub preferred_during_scheduling_ignored_during_execution:
        Option<PreferredDuringSchedulingIgnoredDuringExecution>,
    /// New pods only run on nodes without pods of the stable version.
    pub required_during_scheduling_ignored_during_execution:
        Option<RequiredDuringSchedulingIgnoredDuringExecution>,
}

/// A preferred anti-affinity.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreferredDuringSchedulingIgnoredDuringExecution {
    /// How much the scheduler cares: 1 to 100.
    pub weight: i32,
}

/// A required anti-affinity: has no settings, write `{}`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredDuringSchedulingIgnoredDuringExecution {}

/// Labels and annotations that pods carry while they have a role (canary, stable, preview, active) or that
/// an experiment adds to its pods.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplateMetadata {
    /// Labels to add.
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations to add.
    pub annotations: Option<BTreeMap<String, String>>,
}
