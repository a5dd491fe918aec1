//! The kinds AnalysisTemplate and ClusterAnalysisTemplate: which metrics decide over a release.

use crate::duration::GoDuration;
use crate::providers::MetricProvider;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The metrics of an analysis, its arguments, and other templates to merge in.
#[serde_with::skip_serializing_none]
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "AnalysisTemplate",
    plural = "analysistemplates",
    shortname = "at",
    namespaced,
    derive = "PartialEq",
    doc = "An AnalysisTemplate says which metrics decide whether a release may go on.",
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the AnalysisTemplate was created"
    ),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisTemplateSpec {
    /// The metrics. All of them must succeed.
    pub metrics: Option<Vec<Metric>>,
    /// The arguments that metrics may use as `{{args.name}}`.
    pub args: Option<Vec<Argument>>,
    /// Metrics that are measured but can't fail the analysis.
    pub dry_run: Option<Vec<DryRun>>,
    /// How many measurements of a metric are kept.
    pub measurement_retention: Option<Vec<MeasurementRetention>>,
    /// Other templates whose metrics and arguments are merged in.
    pub templates: Option<Vec<AnalysisTemplateRef>>,
}

/// The same as an AnalysisTemplate's, for all namespaces.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "ClusterAnalysisTemplate",
    plural = "clusteranalysistemplates",
    shortname = "cat",
    derive = "PartialEq",
    doc = "A ClusterAnalysisTemplate is an AnalysisTemplate that all namespaces may use.",
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the ClusterAnalysisTemplate was created"
    ),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAnalysisTemplateSpec {
    /// The content of the template.
    #[serde(flatten)]
    pub template: AnalysisTemplateSpec,
}

/// An analysis template by name.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisTemplateRef {
    /// Name of the AnalysisTemplate, or ClusterAnalysisTemplate.
    pub template_name: Option<String>,
    /// Whether `templateName` is a ClusterAnalysisTemplate. Default: false.
    pub cluster_scope: Option<bool>,
}

/// An argument. Without `value` and `valueFrom` whoever uses the template must give it a value.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    /// Name of the argument.
    pub name: String,
    /// Its value; in a template its default.
    pub value: Option<String>,
    /// Where the value comes from.
    pub value_from: Option<ValueFrom>,
}

/// Where the value of an argument comes from: one of its fields is set.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueFrom {
    /// A key of a Secret in the namespace of the AnalysisRun. The value is never stored in the AnalysisRun.
    pub secret_key_ref: Option<SecretKeyRef>,
    /// A field of the object that the analysis belongs to.
    pub field_ref: Option<FieldRef>,
}

/// A key of a Secret.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// A field of an object.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldRef {
    /// Path of the field, for example `metadata.labels['env']` or `status.stableRS`.
    pub field_path: String,
}

/// Metrics that are measured but can't fail the analysis.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    /// Name of the metric, or a regular expression for names.
    pub metric_name: String,
}

/// How many measurements of a metric are kept.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeasurementRetention {
    /// Name of the metric, or a regular expression for names.
    pub metric_name: String,
    /// Number of measurements to keep. Without a rule: 10.
    pub limit: i32,
}

/// Something to measure, and what its values mean.
///
/// The numbers may be written as `{{args.name}}` too.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Name of the metric, different for each.
    pub name: String,
    /// Time between two measurements, for example `30s`, `5m`. Without it there is one measurement.
    pub interval: Option<GoDuration>,
    /// Time before the first measurement, for example `1m`.
    pub initial_delay: Option<GoDuration>,
    /// Number of measurements. Default: 1 without `interval`, no limit with it.
    pub count: Option<IntOrString>,
    /// Expression over `result` that must be true for a measurement to be successful, for example
    /// `result[0] >= 0.99`.
    pub success_condition: Option<String>,
    /// Expression over `result` that makes a measurement failed. If both conditions are given and neither is
    /// true, the measurement is inconclusive.
    pub failure_condition: Option<String>,
    /// How many measurements may fail; -1 for any number. Default: 0.
    pub failure_limit: Option<IntOrString>,
    /// How many measurements may be inconclusive. Default: 0.
    pub inconclusive_limit: Option<IntOrString>,
    /// How many measurements in a row may end in an error. Default: 4.
    pub consecutive_error_limit: Option<IntOrString>,
    /// How many measurements in a row must be successful for the metric to be. Default: 0 (off).
    pub consecutive_success_limit: Option<IntOrString>,
    /// Where the values come from: exactly one of its fields is set.
    pub provider: MetricProvider,
}
