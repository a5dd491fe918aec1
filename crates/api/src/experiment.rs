//! The kind Experiment: versions that run side by side for some time, and their analysis.

use crate::analysis_run::{AnalysisPhase, phase_or_empty};
use crate::analysis_template::{Argument, DryRun, MeasurementRetention};
use crate::canary::AnalysisRunMetadata;
use crate::duration::GoDuration;
use crate::open_enum::open_enum;
use crate::rollout_status::RolloutCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The versions to run, for how long, and what is analysed.
#[serde_with::skip_serializing_none]
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "Experiment",
    plural = "experiments",
    shortname = "exp",
    namespaced,
    status = "ExperimentStatus",
    derive = "PartialEq",
    doc = "An Experiment runs several versions side by side for some time and analyses them.",
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.phase",
        description = "The verdict, or how far it is"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the Experiment was created"
    ),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentSpec {
    /// The versions to run, each in a ReplicaSet of its own.
    #[serde(deserialize_with = "crate::lenient::null_is_empty")]
    pub templates: Vec<TemplateSpec>,
    /// How long the experiment runs once its pods are available, for example `10m`. Default: until its
    /// analyses have finished, or for ever.
    pub duration: Option<GoDuration>,
    /// Seconds within which the pods must become available. Default: 600.
    pub progress_deadline_seconds: Option<i32>,
    /// Ends the experiment early. Default: false.
    pub terminate: Option<bool>,
    /// The analyses.
    pub analyses: Option<Vec<ExperimentAnalysisTemplateRef>>,
    /// Seconds for which the pods keep running after the end. Default: 30.
    pub scale_down_delay_seconds: Option<i32>,
    /// Metrics that are measured but can't fail the analysis.
    pub dry_run: Option<Vec<DryRun>>,
    /// How many measurements of a metric are kept.
    pub measurement_retention: Option<Vec<MeasurementRetention>>,
    /// Labels and annotations for the AnalysisRuns.
    pub analysis_run_metadata: Option<AnalysisRunMetadata>,
}

/// A version to run.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateSpec {
    /// Name of the version, different for each.
    pub name: String,
    /// Number of pods. Default: 1.
    pub replicas: Option<i32>,
    /// Seconds for which a new pod must be ready before it counts as available. Default: 0.
    pub min_ready_seconds: Option<i32>,
    /// Which pods belong to this version: must match the labels of `template`.
    pub selector: Option<LabelSelector>,
    /// The pods to run.
    #[serde(default)]
    #[schemars(schema_with = "crate::pod_template::pod_template_schema")]
    pub template: Option<Value>,
    /// Creates a Service for these pods.
    pub service: Option<TemplateService>,
}

/// A Service for the pods of a version: `{}` takes the name of the ReplicaSet.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateService {
    /// Name of the Service. Default: the name of the ReplicaSet.
    pub name: Option<String>,
}

/// An analysis of an Experiment.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentAnalysisTemplateRef {
    /// Name of this analysis within the experiment.
    pub name: String,
    /// Name of the AnalysisTemplate, or ClusterAnalysisTemplate.
    pub template_name: String,
    /// Whether `templateName` is a ClusterAnalysisTemplate. Default: false.
    pub cluster_scope: Option<bool>,
    /// Values for the arguments that the template declares.
    pub args: Option<Vec<Argument>>,
    /// Whether the experiment goes on until this analysis has finished, and ends when it succeeds. Default: false.
    pub required_for_completion: Option<bool>,
}

/// How far an Experiment is.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStatus {
    /// The verdict: Successful, Failed, Error or Inconclusive; before it Pending or Running.
    #[schemars(schema_with = "crate::free_form::optional_text")]
    pub phase: Option<AnalysisPhase>,
    /// Why.
    pub message: String,
    /// How far each version is.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub template_statuses: Vec<TemplateStatus>,
    /// When all versions had become available: `duration` counts from here.
    pub available_at: Option<Time>,
    /// What is true of the Experiment, by type.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ExperimentCondition>,
    /// How far each analysis is.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub analysis_runs: Vec<ExperimentAnalysisRunStatus>,
}

/// Something that is true, false or unknown of an Experiment; the same as a Rollout's.
pub type ExperimentCondition = RolloutCondition;

/// How far a version of an Experiment is.
#[serde_with::apply(
    Option => #[serde(skip_serializing_if = "Option::is_none")],
    String => #[serde(skip_serializing_if = "String::is_empty")],
)]
#[serde_with::apply(_ => #[serde(default, deserialize_with = "crate::lenient::field")])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateStatus {
    /// Name of the version.
    pub name: String,
    /// Number of pods.
    pub replicas: i32,
    /// Number of pods with the wanted template.
    pub updated_replicas: i32,
    /// Number of ready pods.
    pub ready_replicas: i32,
    /// Number of available pods.
    pub available_replicas: i32,
    /// How often the hash of the pod template met another one's.
    pub collision_count: Option<i32>,
    /// How far it is: `Progressing`, `Running`, `Successful`, `Failed` or `Error`.
    pub status: Option<TemplateStatusCode>,
    /// Why.
    pub message: String,
    /// When the ReplicaSet last moved: the deadline counts from here.
    pub last_transition_time: Option<Time>,
    /// Name of the Service.
    pub service_name: String,
    /// Hash of the pod template.
    pub pod_template_hash: String,
}

open_enum! {
    /// How far a version of an Experiment is.
    TemplateStatusCode {
        /// Pods are coming up.
        Progressing = "Progressing",
        /// All pods are available.
        Running = "Running",
        /// The experiment has ended.
        Successful = "Successful",
        /// The pods didn't become available in time.
        Failed = "Failed",
        /// The ReplicaSet or its Service couldn't be made.
        Error = "Error",
    }
}

impl TemplateStatusCode {
    /// Whether nothing more will happen to this version.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        matches!(self, Self::Successful | Self::Failed | Self::Error)
    }
}

/// How far an analysis of an Experiment is.
#[serde_with::apply(_ => #[serde(default, deserialize_with = "crate::lenient::field")])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentAnalysisRunStatus {
    /// Name of the analysis within the experiment.
    pub name: String,
    /// Name of the AnalysisRun.
    pub analysis_run: String,
    /// Phase of the AnalysisRun.
    #[serde(serialize_with = "phase_or_empty")]
    #[schemars(schema_with = "crate::free_form::optional_text")]
    pub phase: Option<AnalysisPhase>,
    /// Message of the AnalysisRun.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}
