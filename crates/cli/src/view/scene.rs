//! A Rollout and all that belongs to it, as observed.

use headgate_api::{AnalysisRun, Experiment, Rollout};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A Rollout and the objects of its namespace; those of others may be among them and are not shown.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The Rollout.
    pub rollout: Rollout,
    /// ReplicaSets.
    pub replica_sets: Vec<ReplicaSet>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// AnalysisRuns.
    pub analysis_runs: Vec<AnalysisRun>,
    /// Experiments.
    pub experiments: Vec<Experiment>,
}

impl Scene {
    /// A Rollout alone.
    #[must_use]
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout, replica_sets: vec![], pods: vec![], analysis_runs: vec![], experiments: vec![] }
    }
}

/// Whether an object belongs to the object with this uid.
pub(crate) fn is_owned(metadata: &ObjectMeta, uid: Option<&String>) -> bool {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    uid.is_some_and(|uid| owners.iter().any(|owner| owner.uid == *uid))
}

/// An annotation's value.
pub(crate) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// A label's value, or nothing.
pub(crate) fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> &'a str {
    metadata.labels.as_ref().and_then(|labels| labels.get(key)).map_or("", String::as_str)
}

/// Number of the release that an object belongs to; 0 when it has none.
pub(crate) fn revision(metadata: &ObjectMeta) -> i64 {
    annotation(metadata, headgate_api::labels::REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// An object's name.
pub(crate) fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}
