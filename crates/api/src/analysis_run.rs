//! The kind AnalysisRun: an analysis that runs, or has run, and its measurements.

use crate::analysis_template::{Argument, DryRun, MeasurementRetention, Metric};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

/// What is measured: the merged templates with all arguments, fixed when the AnalysisRun is created.
#[serde_with::skip_serializing_none]
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "AnalysisRun",
    plural = "analysisruns",
    shortname = "ar",
    namespaced,
    status = "AnalysisRunStatus",
    derive = "PartialEq",
    doc = "An AnalysisRun measures metrics and says whether a release may go on.",
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
        description = "Time since the AnalysisRun was created"
    ),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRunSpec {
    /// The metrics. All of them must succeed.
    #[serde(deserialize_with = "crate::lenient::null_is_empty")]
    pub metrics: Vec<Metric>,
    /// The arguments and their values.
    pub args: Option<Vec<Argument>>,
    /// Ends the analysis early. Default: false.
    pub terminate: Option<bool>,
    /// Metrics that are measured but can't fail the analysis.
    pub dry_run: Option<Vec<DryRun>>,
    /// How many measurements of a metric are kept.
    pub measurement_retention: Option<Vec<MeasurementRetention>>,
    /// Deletes the AnalysisRun some time after it has finished.
    #[serde(rename = "ttlStrategy")]
    pub ttl_strategy: Option<TtlStrategy>,
}

/// When a finished AnalysisRun is deleted, in seconds after its end.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TtlStrategy {
    /// After any end, unless a more special field is set.
    pub seconds_after_completion: Option<i32>,
    /// After it has failed.
    pub seconds_after_failure: Option<i32>,
    /// After it was successful.
    pub seconds_after_success: Option<i32>,
}

/// How far an AnalysisRun, a metric, a measurement or an Experiment is.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[schemars(inline)]
pub enum AnalysisPhase {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Good.
    Successful,
    /// Bad.
    Failed,
    /// Couldn't be measured.
    Error,
    /// Neither good nor bad.
    Inconclusive,
}

impl AnalysisPhase {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_completed(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Whether it ended with a bad verdict, or without one because it could not be carried out.
    #[must_use]
    pub fn has_failed(self) -> bool {
        matches!(self, Self::Failed | Self::Error)
    }

    /// The word as written in YAML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Error => "Error",
            Self::Inconclusive => "Inconclusive",
        }
    }
}

impl std::fmt::Display for AnalysisPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes a phase where the reference always has the field: no phase is the empty word.
pub(crate) fn phase_or_empty<S: Serializer>(
    phase: &Option<AnalysisPhase>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(phase.map_or("", AnalysisPhase::as_str))
}

/// How far the analysis is, and what was measured.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRunStatus {
    /// The verdict: Successful, Failed, Error or Inconclusive; before it Pending or Running.
    #[schemars(schema_with = "crate::free_form::optional_text")]
    pub phase: Option<AnalysisPhase>,
    /// Why.
    pub message: String,
    /// What was measured, by metric.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub metric_results: Vec<MetricResult>,
    /// When the analysis began.
    pub started_at: Option<Time>,
    /// How many metrics ended how.
    pub run_summary: Option<RunSummary>,
    /// The same for the metrics that can't fail the analysis.
    pub dry_run_summary: Option<RunSummary>,
    /// When the analysis ended.
    pub completed_at: Option<Time>,
}

/// How many metrics ended how.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Number of metrics.
    pub count: i32,
    /// Number of successful ones.
    pub successful: i32,
    /// Number of failed ones.
    pub failed: i32,
    /// Number of inconclusive ones.
    pub inconclusive: i32,
    /// Number of those that couldn't be measured.
    pub error: i32,
}

/// What was measured of one metric.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricResult {
    /// Name of the metric.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::field")]
    pub name: String,
    /// The verdict over the metric.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::field", serialize_with = "phase_or_empty")]
    #[schemars(schema_with = "crate::free_form::optional_text")]
    pub phase: Option<AnalysisPhase>,
    /// The last measurements, oldest first.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
    /// Why.
    pub message: String,
    /// Number of measurements that gave a value.
    pub count: i32,
    /// Number of successful ones.
    pub successful: i32,
    /// Number of failed ones.
    pub failed: i32,
    /// Number of inconclusive ones.
    pub inconclusive: i32,
    /// Number of measurements that ended in an error.
    pub error: i32,
    /// Number of the last measurements in a row that ended in an error.
    pub consecutive_error: i32,
    /// Number of the last measurements in a row that were successful.
    pub consecutive_success: i32,
    /// Whether this metric can't fail the analysis.
    pub dry_run: bool,
    /// What the provider says about the metric, for example the query as it was sent.
    pub metadata: BTreeMap<String, String>,
}

/// One measurement.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// What the value means.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::field", serialize_with = "phase_or_empty")]
    #[schemars(schema_with = "crate::free_form::optional_text")]
    pub phase: Option<AnalysisPhase>,
    /// Why.
    pub message: String,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// The value, as text.
    pub value: String,
    /// What the provider remembers about it, for example the name of the Job.
    pub metadata: BTreeMap<String, String>,
    /// When to look again, for providers that take a while.
    pub resume_at: Option<Time>,
}
