use crate::Timestamp;
use crate::observed::Observed;
use crate::spec::RolloutSpec;
use crate::validate::SpecProblem;
use crate::workload::WorkloadView;
use headgate_api::RolloutStatus;
use serde_json::Value;
use std::collections::BTreeMap;

/// The Rollout itself, as last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutView {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Uid.
    pub uid: String,
    /// Resource version of what was seen; fences the record (R1).
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The spec, once validated; or why it is invalid. What an invalid spec still lets us know (for an abort) is
    /// in `spec_raw`.
    pub spec: Result<RolloutSpec, SpecProblem>,
    /// The workload that the template comes from (`spec.workloadRef`). `None`: the spec has its own, or names no workload
    /// properly. Absent: it is missing or may not be read, which `spec` says. Unknown: it has not been read yet.
    pub workload: Option<Observed<WorkloadView>>,
    /// `spec` as stored, with the template and the selector of a referenced workload, for field references and for what must work although the spec is invalid.
    pub spec_raw: Value,
    /// Hash of `spec.template` with the status' collision count (`template::pod_template_hash`); empty without a template.
    pub template_hash: String,
    /// Hash of the canary steps (`template::steps_hash`); empty for blue-green.
    pub step_hash: String,
    /// The status as stored.
    pub status: RolloutStatus,
}
