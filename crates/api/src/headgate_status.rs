//! What Headgate alone remembers of a Rollout, in its status. Argo Rollouts passes over it.

use crate::outbox::OutboxEntry;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What Headgate remembers beyond the fields of Argo Rollouts. Safety never depends on it: a server with the
/// CRDs of Argo Rollouts drops it.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadgateStatus {
    /// When the weight of a version was last lowered: the time for draining its connections counts from here.
    pub weight_lowered_at: Option<Time>,
    /// Why the release was aborted.
    pub abort_reason: Option<String>,
    /// How far the release had come when it was aborted: `currentStepIndex` starts over.
    pub abort_place: Option<AbortPlace>,
    /// Hash of the version that the user wanted to promote when `promoteFull` was first seen.
    pub promote_hash: Option<String>,
    /// The furthest that the release has come: only what goes beyond it counts as progress.
    pub progress: Option<ReleaseProgress>,
    /// The version whose pods' health counts. Absent for a release that was under way before Headgate saw it.
    pub pod_health: Option<PodHealthStatus>,
    /// The failed run in the background for which the release is held until a fresh one is successful.
    pub analysis_hold: Option<AnalysisHold>,
    /// The share that the newest version keeps of a number of pods that changes while a release without a router is held.
    pub held_share: Option<HeldShare>,
    /// The version that has everything and is not stable yet, because it bakes.
    pub bake: Option<BakeStatus>,
    /// What webhooks are to be told yet, in the order in which it happened; at most 8.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub outbox: Vec<OutboxEntry>,
    /// Hash of the version that was released in full and has not been Healthy since: once it is, webhooks are told.
    pub completing: Option<String>,
    /// The routers that the spec names and that have given the canary a share, or are told to. One that it no longer names is
    /// led back to the stable version, and watched for a minute, before it is forgotten.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub routers_in_use: Vec<RouterInUse>,
    /// The Deployment that `workloadRef` names, and how far its pods have given way to those of this Rollout.
    pub hand_over: Option<HandOver>,
}

/// How far the pods of a Deployment have given way to those of a Rollout.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandOver {
    /// Pods that the Deployment had at the beginning: it never gets more.
    pub from: i32,
    /// The number that it was last brought to. Who scales it up again is left alone until the next pod can go.
    pub reached: i32,
    /// It is over: whatever pods the Deployment gets, it keeps them until the next version is released.
    pub ended: bool,
}

/// A router that gives the canary a share, as the spec configured it.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterInUse {
    /// Its name: `istio`, `nginx`, `gateway-api`.
    pub router: String,
    /// `canaryService` of the spec.
    pub canary_service: Option<String>,
    /// `stableService` of the spec.
    pub stable_service: Option<String>,
    /// The weight that means all traffic.
    pub total: i32,
    /// Its own part of `trafficRouting`, as the user wrote it.
    #[schemars(schema_with = "crate::free_form::any_value")]
    pub config: Value,
    /// Since when it gives the canary nothing, and the spec no longer names it.
    pub led_back_at: Option<Time>,
}

/// The step at which a release was aborted.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AbortPlace {
    /// Index of the step, from 0; as many as there are steps when all of them were done.
    pub step_index: i32,
    /// Number of steps; 0 for a release without steps.
    pub step_count: i32,
    /// Weight of the new version.
    pub weight: i32,
}

/// The version whose pods' health counts, and since when.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodHealthStatus {
    /// Hash of the version.
    pub hash: String,
    /// What happened to its pods before this time does not count: the release began then, or was begun again, or a user
    /// resumed it.
    pub since: Option<Time>,
    /// For which pod, container and cause the release is paused.
    pub problem: Option<String>,
}

/// A failed AnalysisRun, and what it said.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisHold {
    /// Name of the last run that has failed.
    pub run: String,
    /// Its message.
    pub message: String,
    /// The step at which the release has been held since this run: while it stands the version gets no larger share.
    pub step_index: Option<i32>,
}

/// A share of the pods, as it was when the number first changed in a release that is held. Forgotten with the hold.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldShare {
    /// Hash of the version.
    pub hash: String,
    /// Its share, 0 to `total`.
    pub weight: i32,
    /// The whole, 1 or more.
    pub total: i32,
}

/// A version that bakes, and since when.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BakeStatus {
    /// Hash of the version.
    pub hash: String,
    /// Since when it has everything and all its pods are available.
    pub since: Option<Time>,
}

/// How far a release has come, in pods. Pods that come and go make no progress.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseProgress {
    /// Number of pods wanted when this was noted.
    pub desired: i32,
    /// Most pods of the newest version so far.
    pub updated: i32,
    /// Most ready pods of the newest version so far.
    pub ready: i32,
    /// Most available pods of the newest version so far.
    pub available: i32,
    /// Fewest pods of older versions so far.
    pub old: i32,
    /// Fewest pods that a restart (`spec.restartAt`) had still to replace so far; absent without one.
    pub outdated: Option<i32>,
    /// The step at which this was noted: whoever promotes writes another one into the status.
    pub step: Option<i32>,
}
