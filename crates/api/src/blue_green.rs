//! `spec.strategy.blueGreen`.

use crate::canary::RolloutAnalysis;
use crate::rollout::{AntiAffinity, PodTemplateMetadata};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Runs the new version beside the old one and switches a Service over at once.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlueGreenStrategy {
    /// The Service that users reach: its selector is pointed at the active version.
    pub active_service: String,
    /// The Service for looking at the new version before the switch. Must differ from `activeService`.
    pub preview_service: Option<String>,
    /// Number of pods of the new version before the switch. Default: all of `spec.replicas`.
    pub preview_replica_count: Option<i32>,
    /// Whether the switch happens by itself; `false` waits for a promotion by the user. Default: true.
    pub auto_promotion_enabled: Option<bool>,
    /// Seconds to wait, once the new version is available, before the switch. Default: 0.
    pub auto_promotion_seconds: Option<i32>,
    /// How many pods may be unavailable while `restartAt` replaces them, as a number or percentage. Default: 25%.
    pub max_unavailable: Option<IntOrString>,
    /// Seconds for which the old version keeps running after the switch. Default: 30.
    pub scale_down_delay_seconds: Option<i32>,
    /// How many old versions may wait for their scale-down at the same time. Default: no limit.
    pub scale_down_delay_revision_limit: Option<i32>,
    /// Analysis that must succeed before the switch.
    pub pre_promotion_analysis: Option<RolloutAnalysis>,
    /// Keeps pods of the new version off the nodes of the active one.
    pub anti_affinity: Option<AntiAffinity>,
    /// Analysis that must succeed after the switch; if it fails, the Service is switched back.
    pub post_promotion_analysis: Option<RolloutAnalysis>,
    /// Labels and annotations that pods carry while they are the preview.
    pub preview_metadata: Option<PodTemplateMetadata>,
    /// Labels and annotations that pods carry while they are active.
    pub active_metadata: Option<PodTemplateMetadata>,
    /// Seconds after an abort before the new version is scaled down; 0 keeps it running. Default: 30.
    pub abort_scale_down_delay_seconds: Option<i32>,
}
