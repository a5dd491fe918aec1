//! `status` of a Rollout: the record that the controller keeps, and the user's intents in it.
//!
//! Numbers, words and lists that are absent read as 0, "" and empty, as in the reference; nothing in a status
//! makes reading it fail.

use crate::analysis_run::AnalysisPhase;
use crate::headgate_status::HeadgateStatus;
use crate::open_enum::open_enum;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a Rollout stands: one word for people, dashboards and health checks.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[schemars(inline)]
pub enum RolloutPhase {
    /// The newest version runs everywhere and is available.
    Healthy,
    /// The spec is invalid, the release was aborted, or it makes no progress.
    Degraded,
    /// On its way.
    Progressing,
    /// Waits for the user or for a pause to end.
    Paused,
}

impl RolloutPhase {
    /// The word as written in YAML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Degraded => "Degraded",
            Self::Progressing => "Progressing",
            Self::Paused => "Paused",
        }
    }
}

impl std::fmt::Display for RolloutPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was observed of a Rollout and what was decided for it.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// An abort of the release was asked for, by the user or by the controller.
    pub abort: bool,
    /// Why the controller has paused. A user removes them to resume.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub pause_conditions: Vec<PauseCondition>,
    /// The controller has paused. True without `pauseConditions` means that the user has resumed.
    pub controller_pause: bool,
    /// When the abort was first seen.
    pub aborted_at: Option<Time>,
    /// Hash of the newest pod template.
    pub current_pod_hash: String,
    /// Hash of the steps; a change of it starts them again.
    pub current_step_hash: String,
    /// Number of pods of all versions.
    pub replicas: i32,
    /// Number of pods of the newest version.
    pub updated_replicas: i32,
    /// Number of ready pods (blueGreen: of the active version).
    pub ready_replicas: i32,
    /// Number of available pods (blueGreen: of the active version).
    pub available_replicas: i32,
    /// Index of the current step; the number of steps when all are done; absent without steps.
    pub current_step_index: Option<i32>,
    /// How often the hash of the pod template met another one's.
    pub collision_count: Option<i32>,
    /// The `metadata.generation` that this status is about, as text.
    pub observed_generation: String,
    /// What is true of the Rollout, by type.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<RolloutCondition>,
    /// State of a canary release.
    pub canary: Option<CanaryStatus>,
    /// State of a blue-green release.
    pub blue_green: Option<BlueGreenStatus>,
    /// Number of pods, for the autoscaler.
    #[serde(rename = "HPAReplicas")]
    pub hpa_replicas: i32,
    /// Label selector of the pods, as text, for the autoscaler.
    pub selector: String,
    /// Hash of the version that has last been released in full.
    #[serde(rename = "stableRS")]
    pub stable_rs: String,
    /// The last `spec.restartAt` that has been done.
    pub restarted_at: Option<Time>,
    /// A full promotion was asked for: skips steps, pauses and analysis.
    pub promote_full: bool,
    /// Where the Rollout stands: Healthy, Progressing, Paused or Degraded.
    #[schemars(schema_with = "crate::free_form::optional_text")]
    pub phase: Option<RolloutPhase>,
    /// Why it stands there.
    pub message: String,
    /// The generation of the referenced workload that this status is about, as text.
    pub workload_observed_generation: String,
    /// The AWS load balancer that was found, and its target groups.
    pub alb: Option<AlbStatus>,
    /// The AWS load balancers that were found, where there are several Ingresses.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub albs: Vec<AlbStatus>,
    /// When the release began and ended, and how it ended.
    pub duration: Option<RolloutDuration>,
    /// What the Rollout waits for. Written by Headgate only.
    pub waiting: Option<Waiting>,
    /// What else Headgate remembers. Written by Headgate only.
    pub headgate: Option<HeadgateStatus>,
}

impl RolloutStatus {
    /// Whether a release that was aborted `before` was tried again and is aborted once more, all in one record.
    #[must_use]
    pub fn is_another_abort(&self, before: &Self) -> bool {
        before.aborted_at.is_some() && self.aborted_at.is_some() && before.aborted_at != self.aborted_at
    }

    /// Whether a user has ended all pauses and the controller has not acted on it yet.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.controller_pause && self.pause_conditions.is_empty()
    }
}

/// A reason for which the controller has paused.
#[serde_with::apply(_ => #[serde(default, deserialize_with = "crate::lenient::field")])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PauseCondition {
    /// The reason: `CanaryPauseStep`, `BlueGreenPause`, `InconclusiveAnalysisRun`, `InconclusiveExperiment`
    /// or, by Headgate only, `PodHealth` and `AnalysisFailed`.
    pub reason: String,
    /// Since when.
    pub start_time: Option<Time>,
}

impl PauseCondition {
    /// Reason: a canary step pauses.
    pub const CANARY_PAUSE_STEP: &'static str = "CanaryPauseStep";
    /// Reason: blue-green waits before the switch.
    pub const BLUE_GREEN_PAUSE: &'static str = "BlueGreenPause";
    /// Reason: an AnalysisRun came to no verdict.
    pub const INCONCLUSIVE_ANALYSIS_RUN: &'static str = "InconclusiveAnalysisRun";
    /// Reason: an Experiment came to no verdict.
    pub const INCONCLUSIVE_EXPERIMENT: &'static str = "InconclusiveExperiment";
    /// Reason: a pod of the new version is unhealthy, and `podHealth` says `pause`. Not in Argo Rollouts.
    pub const POD_HEALTH: &'static str = "PodHealth";
    /// Reason: an AnalysisRun has failed, and its `onFailure` says `pause`. Not in Argo Rollouts.
    pub const ANALYSIS_FAILED: &'static str = "AnalysisFailed";
}

/// Something that is true, false or unknown of a Rollout, or of an Experiment.
#[serde_with::apply(_ => #[serde(default, deserialize_with = "crate::lenient::field")])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutCondition {
    /// What it is about.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When it was last looked at and found to move.
    pub last_update_time: Option<Time>,
    /// When `status` last changed.
    pub last_transition_time: Option<Time>,
    /// Why, as a word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

/// State of a canary release.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// The AnalysisRun of the current step.
    pub current_step_analysis_run_status: Option<RolloutAnalysisRunStatus>,
    /// The AnalysisRun in the background.
    pub current_background_analysis_run_status: Option<RolloutAnalysisRunStatus>,
    /// Name of the Experiment of the current step.
    pub current_experiment: String,
    /// The weights that the traffic routers show: of each version the largest share, where they differ.
    pub weights: Option<TrafficWeights>,
    /// Which of the two Services is the stable one: `ping` or `pong`.
    pub stable_ping_pong: Option<PingPongType>,
    /// State of the step plugins.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub step_plugin_statuses: Vec<StepPluginStatus>,
}

open_enum! {
    /// One of the two Services that take turns.
    PingPongType {
        /// `pingService`.
        Ping = "ping",
        /// `pongService`.
        Pong = "pong",
    }
}

/// How traffic is split.
#[serde_with::apply(_ => #[serde(default, deserialize_with = "crate::lenient::field")])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficWeights {
    /// Share of the new version.
    pub canary: WeightDestination,
    /// Share of the stable version.
    pub stable: WeightDestination,
    /// Shares of further versions: those of an Experiment.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub additional: Vec<WeightDestination>,
    /// Whether the router has confirmed the weights; absent if it can't tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// A version and its share of the traffic.
#[serde_with::apply(String => #[serde(skip_serializing_if = "String::is_empty")])]
#[serde_with::apply(_ => #[serde(default, deserialize_with = "crate::lenient::field")])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightDestination {
    /// The share, out of 100 or `maxTrafficWeight`.
    pub weight: i32,
    /// The Service that gets it.
    pub service_name: String,
    /// Hash of the version.
    pub pod_template_hash: String,
}

/// An AnalysisRun that the Rollout waits for.
#[serde_with::apply(_ => #[serde(default, deserialize_with = "crate::lenient::field")])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutAnalysisRunStatus {
    /// Its name.
    pub name: String,
    /// Its phase.
    #[serde(serialize_with = "crate::analysis_run::phase_or_empty")]
    #[schemars(schema_with = "crate::free_form::optional_text")]
    pub status: Option<AnalysisPhase>,
    /// Its message.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// State of a step plugin.
#[serde_with::apply(Option => #[serde(skip_serializing_if = "Option::is_none")])]
#[serde_with::apply(_ => #[serde(default, deserialize_with = "crate::lenient::field")])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepPluginStatus {
    /// Index of the step.
    pub index: i32,
    /// Name of the plugin.
    pub name: String,
    /// When it was last called.
    pub updated_at: Option<Time>,
    /// When it was first called.
    pub started_at: Option<Time>,
    /// When it was done.
    pub finished_at: Option<Time>,
    /// What it does: `Run`, `Terminate` or `Abort`.
    pub operation: Option<StepPluginOperation>,
    /// How far it is: `Running`, `Successful`, `Failed` or `Error`.
    pub phase: Option<StepPluginPhase>,
    /// What it says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How long it asked to wait before the next call.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backoff: String,
    /// How often it was called.
    #[serde(skip_serializing_if = "crate::lenient::is_default")]
    pub executions: i32,
    /// Whether the plugin is switched off, so that the step was skipped.
    #[serde(skip_serializing_if = "crate::lenient::is_default")]
    pub disabled: bool,
    /// What the plugin remembers between calls.
    #[schemars(schema_with = "crate::free_form::any_value")]
    pub status: Option<Value>,
}

open_enum! {
    /// What a step plugin does.
    StepPluginOperation {
        /// The step.
        Run = "Run",
        /// Ending the step early.
        Terminate = "Terminate",
        /// Undoing the step after an abort.
        Abort = "Abort",
    }
}

open_enum! {
    /// How far a step plugin is.
    StepPluginPhase {
        /// Not done.
        Running = "Running",
        /// Done.
        Successful = "Successful",
        /// Done, and the release must be aborted.
        Failed = "Failed",
        /// The plugin couldn't be called, or couldn't do its work.
        Error = "Error",
    }
}

/// State of a blue-green release.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlueGreenStatus {
    /// Hash that the preview Service points to.
    pub preview_selector: String,
    /// Hash that the active Service points to.
    pub active_selector: String,
    /// The preview was accepted and may be scaled to its full size.
    pub scale_up_preview_check_point: bool,
    /// The AnalysisRun before the switch.
    pub pre_promotion_analysis_run_status: Option<RolloutAnalysisRunStatus>,
    /// The AnalysisRun after the switch.
    pub post_promotion_analysis_run_status: Option<RolloutAnalysisRunStatus>,
}

/// An AWS load balancer and its target groups.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlbStatus {
    /// The load balancer.
    pub load_balancer: Option<AwsResourceRef>,
    /// The target group of the new version.
    pub canary_target_group: Option<AwsResourceRef>,
    /// The target group of the stable version.
    pub stable_target_group: Option<AwsResourceRef>,
    /// Name of the Ingress.
    pub ingress: String,
}

/// A thing in AWS.
#[serde_with::apply(_ => #[serde(default, deserialize_with = "crate::lenient::field")])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AwsResourceRef {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Its full name.
    pub full_name: String,
}

/// When a release began and ended, and how it ended.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutDuration {
    /// When the release began.
    pub rollout_started_at: Option<Time>,
    /// Since when it waits for a person.
    pub manual_pause_started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// Seconds for which it has waited for a person.
    pub total_manual_pause_duration_seconds: Option<i64>,
    /// How it ended: `Promoted`, `FastPromoted`, `Aborted`, `Superseded`, `RolledBack` or `FastRolledBack`.
    pub completion_status: Option<CompletionStatus>,
}

open_enum! {
    /// How a release ended.
    CompletionStatus {
        /// All steps were done.
        Promoted = "Promoted",
        /// The user promoted it in full.
        FastPromoted = "FastPromoted",
        /// It was aborted.
        Aborted = "Aborted",
        /// A newer version came in the middle.
        Superseded = "Superseded",
        /// It went back to an older version, with all steps.
        RolledBack = "RolledBack",
        /// It went back to an older version at once.
        FastRolledBack = "FastRolledBack",
    }
}

/// What a Rollout waits for, since when, until when, and what would end it.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// For what, as a word: `PodsAvailable`, `PauseDuration`, `UserPromotion`, `PauseOverdue`, `UserUnpause`, `Analysis`,
    /// `InconclusiveAnalysis`, `AnalysisFailed`, `AnalysisHold`, `Bake`, `PodHealth`, `RouteConfirmed`, `ScaleDownDelay`,
    /// `OldPodsGone`, `Restart`, `MendSpec`, `AfterAbort`, `ApiServer`, `ObjectInTheWay`. Later versions may know more.
    pub kind: String,
    /// For what, for people.
    pub message: String,
    /// Since when.
    pub since: Option<Time>,
    /// Until when at most.
    pub until: Option<Time>,
    /// What would end it: what happens at `until`, or what the user has to do.
    pub ends_with: String,
}
