//! What webhooks are to be told of a Rollout, kept in its status until they have taken it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that happened to a Rollout and that webhooks are to be told. It holds everything that is told, because
/// the Rollout may have moved on by the time a webhook answers. Written by Headgate only.
#[serde_with::apply(_ => #[serde(
    default,
    deserialize_with = "crate::lenient::field",
    skip_serializing_if = "crate::lenient::is_default"
)])]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboxEntry {
    /// Names it: the same each time that it is sent.
    pub key: String,
    /// What happened: `degraded`, `aborted`, `completed` or `paused`.
    pub trigger: String,
    /// When.
    pub time: Option<Time>,
    /// Revision of the newest version then.
    pub revision: i64,
    /// Hash of the newest version then.
    pub pod_template_hash: String,
    /// Images of the newest version's containers; at most 4.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "crate::lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Where the Rollout stood then.
    pub phase: String,
    /// Why, for people; at most 512 bytes.
    pub message: String,
    /// Index of the canary step then, from 0.
    pub step_index: Option<i32>,
    /// Number of canary steps.
    pub step_count: Option<i32>,
    /// Weight that the routers had last been told to give the canary; absent without a router.
    pub weight: Option<i32>,
    /// The AnalysisRun that it is about.
    pub analysis_run: String,
}
