//! `spec.strategy.canary`: its settings, its steps, and the analysis that steps refer to.

use crate::analysis_template::{AnalysisTemplateRef, DryRun, FieldRef, MeasurementRetention};
use crate::duration::{DurationOrSeconds, GoDuration};
use crate::experiment::TemplateService;
use crate::open_enum::open_enum;
use crate::pod_health::PodHealth;
use crate::rollout::{AntiAffinity, PodTemplateMetadata};
use crate::traffic_routing::{RolloutTrafficRouting, StringMatch};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Shifts pods, or traffic, to the new version in steps.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStrategy {
    /// The Service that selects the pods of the new version only. Needed by most traffic routers.
    pub canary_service: Option<String>,
    /// The Service that selects the pods of the stable version only. Must differ from `canaryService`.
    pub stable_service: Option<String>,
    /// The steps of a release, done one after the other. Without steps a release is a rolling update bound by
    /// `maxSurge` and `maxUnavailable`.
    pub steps: Option<Vec<CanaryStep>>,
    /// Splits traffic by a proxy or load balancer instead of by numbers of pods.
    pub traffic_routing: Option<RolloutTrafficRouting>,
    /// How many pods may be unavailable during a release, as a number or a percentage of `spec.replicas`
    /// (rounded down). Not 0 together with a `maxSurge` of 0. Default: 25%.
    pub max_unavailable: Option<IntOrString>,
    /// How many pods may run beyond `spec.replicas` during a release, as a number or a percentage (rounded
    /// up). Not 0 together with a `maxUnavailable` of 0. Default: 25%.
    pub max_surge: Option<IntOrString>,
    /// Analysis in the background of the steps: when it fails, the release is aborted.
    pub analysis: Option<RolloutAnalysisBackground>,
    /// Keeps pods of the new version off the nodes of the stable one.
    pub anti_affinity: Option<AntiAffinity>,
    /// Labels and annotations that pods carry while they are the canary.
    pub canary_metadata: Option<PodTemplateMetadata>,
    /// Labels and annotations that pods carry while they are stable.
    pub stable_metadata: Option<PodTemplateMetadata>,
    /// Seconds for which the old version keeps running after a release. Only with `trafficRouting`, and not
    /// with `dynamicStableScale`. Default: 30 with `trafficRouting`, else 0.
    pub scale_down_delay_seconds: Option<i32>,
    /// How many old versions may wait for their scale-down at the same time. Default: no limit.
    pub scale_down_delay_revision_limit: Option<i32>,
    /// Seconds after an abort before the new version is scaled down; 0 keeps it running. Only with
    /// `trafficRouting`. Default: 30.
    pub abort_scale_down_delay_seconds: Option<i32>,
    /// Scales the stable version down as traffic moves to the new one, instead of keeping all its pods for an
    /// instant way back. Only with `trafficRouting`. Default: false.
    pub dynamic_stable_scale: Option<bool>,
    /// Two Services that take turns in being the stable one, so that no selector is switched under traffic.
    pub ping_pong: Option<PingPongSpec>,
    /// The least number of pods of a version that has any. Only with `trafficRouting`. Default: 1.
    pub min_pods_per_replica_set: Option<i32>,
    /// How much of a version must be available for a step, or the promotion, to go on. Default: 100 percent.
    pub replica_progress_threshold: Option<ReplicaProgressThreshold>,
    /// When pods of the new version are unhealthy, and what is done then. Not in Argo Rollouts.
    pub pod_health: Option<PodHealth>,
    /// How traffic goes back to the stable version after an abort. Not in Argo Rollouts.
    pub abort: Option<CanaryAbort>,
    /// A last look at a new version that has everything already, while the old one still stands. Only with
    /// `trafficRouting`, and not with `dynamicStableScale`. Not in Argo Rollouts.
    pub bake: Option<Bake>,
    /// Whether the very first version is analysed before it is stable. Default: `skip`. Not in Argo Rollouts.
    pub initial: Option<InitialRelease>,
}

/// How traffic goes back to the stable version after an abort. Not in Argo Rollouts.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryAbort {
    /// `instant`: the stable version gets everything as soon as its available pods are `spec.replicas` without
    /// `maxUnavailable`, and until then as much as they bear. `stepped`: the weight goes down through the `setWeight` values
    /// below it, each as soon as the stable version has the pods for it and the routes show the one before. `asCapacityAllows`:
    /// the weight goes down as pods of the stable version become available, and to 0 with the last of them. Whatever it says,
    /// a new version without an available pod loses everything at once. The last two only with `trafficRouting`. Default:
    /// `instant`.
    pub policy: Option<AbortPolicy>,
}

open_enum! {
    /// How the weight goes back to 0 after an abort.
    AbortPolicy {
        /// At once, where the stable version can bear it.
        Instant = "instant",
        /// Through the weights of the steps.
        Stepped = "stepped",
        /// With the pods of the stable version.
        AsCapacityAllows = "asCapacityAllows",
    }
}

/// For how long the old version stands with all its pods once the new one has done its steps and gets everything.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bake {
    /// How long: seconds as a number (`30`), or a duration with units (`30s`, `10m`, `1h30m`). Required.
    pub duration: Option<DurationOrSeconds>,
    /// An analysis meanwhile. One that ends by itself must be successful before the new version becomes stable.
    pub analysis: Option<RolloutAnalysis>,
    /// What happens when this analysis, the one in the background or a pod fails: `rollback`, the default, gives
    /// everything back to the old version at once.
    pub on_failure: Option<BakeFailure>,
}

open_enum! {
    /// What happens when a new version fails while it bakes.
    BakeFailure {
        /// Everything goes back to the old version.
        Rollback = "rollback",
    }
}

open_enum! {
    /// What is done about the very first version of a Rollout.
    InitialRelease {
        /// It takes the steps' analyses, and that of the background, before it is stable.
        Analyse = "analyse",
        /// It is stable at once.
        Skip = "skip",
    }
}

/// Two Services that take turns in being the stable one.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PingPongSpec {
    /// One of the two Services.
    pub ping_service: String,
    /// The other one.
    pub pong_service: String,
}

/// How much of a version must be available for a step to count as reached.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaProgressThreshold {
    /// What `value` counts: `Percent` or `Pods`.
    #[serde(rename = "type")]
    pub type_: ProgressThresholdType,
    /// Percentage of the wanted pods (1 to 100), or their number.
    pub value: i32,
}

open_enum! {
    /// What the value of a progress threshold counts.
    ProgressThresholdType {
        /// A percentage of the wanted pods.
        Percent = "Percent",
        /// A number of pods.
        Pods = "Pods",
    }
}

/// One step of a release: exactly one of its fields is set.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStep {
    /// Share of traffic (with `trafficRouting`) or of pods for the new version, in percent: 0 to 100, or to
    /// `trafficRouting.maxTrafficWeight`.
    pub set_weight: Option<i32>,
    /// Waits: for a while, or without `duration` until the user promotes.
    pub pause: Option<RolloutPause>,
    /// Runs an Experiment: copies of the stable or new version side by side for some time.
    pub experiment: Option<RolloutExperimentStep>,
    /// Runs an analysis and goes on when it succeeds.
    pub analysis: Option<RolloutAnalysis>,
    /// Sets the number of pods of the new version independently of its weight. Only with `trafficRouting`.
    pub set_canary_scale: Option<SetCanaryScale>,
    /// Sends requests with certain headers to the new version.
    pub set_header_route: Option<SetHeaderRoute>,
    /// Sends a copy of certain requests to the new version.
    pub set_mirror_route: Option<SetMirrorRoute>,
    /// Runs a step plugin.
    pub plugin: Option<PluginStep>,
}

/// A step that a plugin does.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginStep {
    /// Name of the plugin, as the controller knows it.
    pub name: String,
    /// Settings of the plugin, in the form that it documents.
    #[serde(default)]
    #[schemars(schema_with = "crate::free_form::any_value")]
    pub config: Option<Value>,
}

/// A pause: `{}` waits until the user promotes.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutPause {
    /// How long to wait: seconds as a number (`30`), or a duration with units (`30s`, `10m`, `1h30m`).
    /// Without it the pause ends when the user promotes.
    pub duration: Option<DurationOrSeconds>,
    /// Of a pause without `duration`: for how long a promotion by the user is waited for, as `duration`. Default: for ever.
    /// Not in Argo Rollouts.
    pub max_duration: Option<DurationOrSeconds>,
    /// What happens after `maxDuration`: `abort` leads back to the stable version, `promote` goes on with the next step,
    /// `stay` waits on, and a Warning event says so. Default: `stay`. Not in Argo Rollouts.
    pub on_timeout: Option<PauseTimeout>,
}

open_enum! {
    /// What happens when nobody has promoted within the `maxDuration` of a pause.
    PauseTimeout {
        /// Back to the stable version.
        Abort = "abort",
        /// On with the next step.
        Promote = "promote",
        /// The release waits on.
        Stay = "stay",
    }
}

/// The number of pods of the new version: one of `weight`, `replicas` and `matchTrafficWeight`.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetCanaryScale {
    /// As a percentage of `spec.replicas`.
    pub weight: Option<i32>,
    /// As a number of pods.
    pub replicas: Option<i32>,
    /// Goes back to as many pods as the traffic weight asks for. Default: false.
    pub match_traffic_weight: Option<bool>,
}

/// Sends requests with certain headers to the new version.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetHeaderRoute {
    /// Name of the route: one of `trafficRouting.managedRoutes`.
    pub name: Option<String>,
    /// The headers that a request must have. Without any the route is removed.
    #[serde(rename = "match")]
    pub match_: Option<Vec<HeaderRoutingMatch>>,
}

/// A header and the value that it must have.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderRoutingMatch {
    /// Name of the header.
    pub header_name: String,
    /// Value of the header.
    pub header_value: StringMatch,
}

/// Sends a copy of certain requests to the new version; its answers are thrown away.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetMirrorRoute {
    /// Name of the route: one of `trafficRouting.managedRoutes`.
    pub name: String,
    /// The requests to copy. Without any the route is removed.
    #[serde(rename = "match")]
    pub match_: Option<Vec<RouteMatch>>,
    /// Percentage of the matching requests to copy. Default: 100.
    pub percentage: Option<i32>,
}

/// What a request must look like; all that is set must match.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// HTTP method.
    pub method: Option<StringMatch>,
    /// Path of the URL.
    pub path: Option<StringMatch>,
    /// Headers by name.
    pub headers: Option<BTreeMap<String, StringMatch>>,
}

/// An analysis: templates to run, and the arguments for them.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutAnalysis {
    /// The templates; their metrics, arguments and settings are merged into one AnalysisRun.
    pub templates: Option<Vec<AnalysisTemplateRef>>,
    /// Values for the arguments that the templates declare.
    pub args: Option<Vec<AnalysisRunArgument>>,
    /// Metrics that are measured but can't fail the analysis.
    pub dry_run: Option<Vec<DryRun>>,
    /// How many measurements of a metric are kept.
    pub measurement_retention: Option<Vec<MeasurementRetention>>,
    /// Labels and annotations for the AnalysisRun.
    pub analysis_run_metadata: Option<AnalysisRunMetadata>,
    /// Of a canary: `abort` (default), `pause` or `hold` when it has failed. Not in Argo Rollouts.
    pub on_failure: Option<AnalysisFailure>,
}

open_enum! {
    /// What happens when an analysis has failed.
    AnalysisFailure {
        /// Back to the stable version.
        Abort = "abort",
        /// The release waits for a user.
        Pause = "pause",
        /// The release stays where it is until a fresh run is successful.
        Hold = "hold",
    }
}

/// Analysis in the background of the steps.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutAnalysisBackground {
    /// The templates and their arguments.
    #[serde(flatten)]
    pub analysis: RolloutAnalysis,
    /// Index of the step (the first is 0) with which the analysis starts. Default: 0.
    pub starting_step: Option<i32>,
}

/// Labels and annotations for an AnalysisRun.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRunMetadata {
    /// Labels to add.
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations to add.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A value for an argument: one of `value` and `valueFrom`.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRunArgument {
    /// Name of the argument.
    pub name: String,
    /// The value itself.
    pub value: Option<String>,
    /// Where the value comes from.
    pub value_from: Option<ArgumentValueFrom>,
}

/// Where the value of an argument comes from.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArgumentValueFrom {
    /// The pod template hash of the `Stable` or the `Latest` version.
    pub pod_template_hash_value: Option<ValueFromPodTemplateHash>,
    /// A field of the Rollout.
    pub field_ref: Option<FieldRef>,
}

open_enum! {
    /// Whose pod template hash is meant.
    ValueFromPodTemplateHash {
        /// That of the stable version.
        Stable = "Stable",
        /// That of the newest version.
        Latest = "Latest",
    }
}

/// An Experiment as a step of a release.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutExperimentStep {
    /// The versions to run, each in a ReplicaSet of its own.
    #[serde(deserialize_with = "crate::lenient::null_is_empty")]
    pub templates: Vec<RolloutExperimentTemplate>,
    /// How long the experiment runs once its pods are available, for example `10m`. Without it the experiment
    /// ends when its analyses have finished.
    pub duration: Option<GoDuration>,
    /// Analyses during the experiment; a failed one aborts the release.
    pub analyses: Option<Vec<RolloutExperimentStepAnalysisTemplateRef>>,
    /// Metrics that are measured but can't fail the analysis.
    pub dry_run: Option<Vec<DryRun>>,
    /// Labels and annotations for the AnalysisRuns.
    pub analysis_run_metadata: Option<AnalysisRunMetadata>,
    /// Seconds for which the pods keep running after the end of the experiment. Default: 30.
    pub scale_down_delay_seconds: Option<i32>,
}

/// An analysis of an experiment step.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutExperimentStepAnalysisTemplateRef {
    /// Name of this analysis within the experiment.
    pub name: String,
    /// Name of the AnalysisTemplate, or ClusterAnalysisTemplate.
    pub template_name: String,
    /// Whether `templateName` is a ClusterAnalysisTemplate. Default: false.
    pub cluster_scope: Option<bool>,
    /// Values for the arguments that the template declares.
    pub args: Option<Vec<AnalysisRunArgument>>,
    /// Whether the experiment goes on until this analysis has finished, and ends when it succeeds. Default: false.
    pub required_for_completion: Option<bool>,
}

/// A version to run in an experiment step.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutExperimentTemplate {
    /// Name of the version within the experiment, different for each.
    pub name: String,
    /// Whose pod template is copied: `canary` (the new version) or `stable`.
    pub spec_ref: ReplicaSetSpecRef,
    /// Number of pods. Default: 1.
    pub replicas: Option<i32>,
    /// Labels and annotations for the pods.
    pub metadata: Option<PodTemplateMetadata>,
    /// Replaces the selector of the Rollout for these pods.
    pub selector: Option<LabelSelector>,
    /// Percentage of the traffic that these pods get. Needs a traffic router that can split between more than
    /// two versions.
    pub weight: Option<i32>,
    /// Creates a Service for these pods.
    pub service: Option<TemplateService>,
}

open_enum! {
    /// Whose pod template an experiment copies.
    ReplicaSetSpecRef {
        /// The new version's.
        Canary = "canary",
        /// The stable version's.
        Stable = "stable",
    }
}
