use crate::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// A ReplicaSet whose controller owner is the rollout, as last seen (our own writes included, R3).
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSetView {
    /// Name: `<rollout>-<hash>` for those that we create.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Resource version of what was seen.
    pub resource_version: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// True once a deletion timestamp is set.
    pub deleting: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`; the counters below speak of this generation.
    pub observed_generation: i64,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i32,
    /// `status.replicas`: pods that exist, terminating ones not counted.
    pub current: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// `status.availableReplicas`, less what has been evicted since; decisions use [`ReplicaSetView::available`].
    pub available_reported: i32,
    /// Pods that are not counted as available because they may have been evicted: the answer was lost, perhaps with the
    /// request. They are not to be relied on, nor are they to be taken for gone.
    pub perhaps_evicted: i32,
    /// Condition ReplicaFailure=True as (reason, message), when present.
    pub failure: Option<(String, String)>,
    /// `spec.template`.
    pub template: Value,
}

/// A ReplicaSet that nobody controls and whose selector is the rollout's own: what `kubectl delete --cascade=orphan` leaves
/// behind. It becomes the rollout's again.
#[derive(Clone, Debug, PartialEq)]
pub struct OrphanView {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Resource version of what was seen.
    pub resource_version: String,
    /// Its owner references, none of them a controller's.
    pub owners: Vec<Value>,
}

impl ReplicaSetView {
    /// The value of label `rollouts-pod-template-hash`; empty when it has none.
    pub fn hash(&self) -> &str {
        self.labels.get(headgate_api::labels::POD_TEMPLATE_HASH).map_or("", String::as_str)
    }

    /// Available pods that can be counted on (R7): never more than are wanted, because the surplus is about to
    /// go; right after a scale-down the counters of the older generation are still an upper bound with that cap,
    /// and after a scale-up a lower one.
    pub fn available(&self) -> i32 {
        self.available_reported.min(self.replicas).max(0)
    }

    /// The same with those of which it is not known whether they were evicted: what may be taken away is what is left
    /// without these.
    pub fn available_at_most(&self) -> i32 {
        self.available().saturating_add(self.perhaps_evicted).min(self.replicas).max(0)
    }

    /// False when it has surely no available pod.
    pub fn may_serve(&self) -> bool {
        self.available_at_most() > 0
    }

    /// True when the ReplicaSet controller has seen our last change.
    pub fn is_observed(&self) -> bool {
        self.observed_generation >= self.generation
    }

    /// The revision in annotation `rollout.argoproj.io/revision`; 0 when absent or not a number.
    pub fn revision(&self) -> i64 {
        self.annotations.get(headgate_api::labels::REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}
