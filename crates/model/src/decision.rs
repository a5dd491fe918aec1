use crate::template::MetadataChange;
use crate::{EffectKey, ReplicaSetView, RouterConfig, Timestamp, TrafficIntent, Verb};
use headgate_api::RolloutStatus;
use serde_json::Value;
use std::collections::BTreeMap;

/// What is decided for one rollout at one instant.
///
/// `record` is written first, fenced by uid and resourceVersion (R1); then the effects go out in order.
/// Each is guarded and idempotent, and after any prefix of them a crash is harmless: the next decision
/// starts from what is then observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The whole status as it shall be stored. What it does not know of the stored JSON survives.
    pub record: RolloutStatus,
    /// Acts, in order: all Grow, then Shift, then Shrink.
    pub effects: Vec<Effect>,
    /// An upper bound on silence: decide again then, even when nothing changes. Recomputed every time.
    pub wake_at: Option<Timestamp>,
}

/// One act on one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Merge these annotations and, where given, `spec.replicas` into the Rollout itself (revision, nil replicas).
    PatchRollout {
        /// Annotations to set.
        annotations: BTreeMap<String, String>,
        /// `spec.replicas` to write when the user left it out, so that autoscalers work.
        replicas: Option<i32>,
    },
    /// Create a ReplicaSet. Its name is already in the record (R5).
    CreateReplicaSet {
        /// The whole manifest, owner reference included.
        manifest: Value,
    },
    /// Set `spec.replicas` of a ReplicaSet, by a JSON patch that tests uid and the old number (R2).
    Scale {
        /// Name of the ReplicaSet.
        name: String,
        /// Its uid.
        uid: String,
        /// The number seen, which must still be there.
        from: i32,
        /// The number wanted.
        to: i32,
    },
    /// Set `spec.replicas` of the Deployment that `spec.workloadRef` names, guarded as [`Effect::Scale`] is. Nothing else of
    /// it is ever written.
    ScaleWorkload {
        /// Name of the Deployment.
        name: String,
        /// Its uid.
        uid: String,
        /// The number seen, which must still be there.
        from: i32,
        /// The number wanted.
        to: i32,
    },
    /// Patch a ReplicaSet, but for its number.
    PatchReplicaSet(ReplicaSetPatch),
    /// Make a ReplicaSet that nobody controls the Rollout's own.
    AdoptReplicaSet {
        /// Name of the ReplicaSet.
        name: String,
        /// Its uid.
        uid: String,
        /// Resource version that the patch was computed on.
        resource_version: String,
        /// All owner references that it is to have.
        owners: Vec<Value>,
    },
    /// Make a router's objects say what is intended.
    Route {
        /// Which router, and how it is configured.
        config: RouterConfig,
        /// The whole wish.
        intent: TrafficIntent,
        /// Whether the canary gets more or less than it is seen to have.
        direction: Direction,
    },
    /// Create an AnalysisRun. Its name is already in the record (R5).
    CreateAnalysisRun {
        /// The whole manifest, owner reference included.
        manifest: Value,
    },
    /// Set `spec.terminate` of an AnalysisRun that is no longer needed.
    TerminateAnalysisRun {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Delete a finished AnalysisRun that history limits no longer keep.
    DeleteAnalysisRun {
        /// Its name.
        name: String,
        /// Its uid, a precondition.
        uid: String,
    },
    /// Set or remove labels and annotations of a pod that runs on.
    PatchPod {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// Resource version that the patch was computed on.
        resource_version: String,
        /// Name of its ReplicaSet.
        replica_set: String,
        /// What changes.
        metadata: MetadataChange,
    },
    /// Evict a pod, so that its ReplicaSet makes another one. A PodDisruptionBudget may refuse.
    EvictPod {
        /// Its name.
        name: String,
        /// Its uid, a precondition.
        uid: String,
        /// Name of its ReplicaSet.
        replica_set: String,
        /// Whether it is available: then one pod fewer is, whatever its ReplicaSet still reports (R7).
        is_available: bool,
    },
    /// Delete an old ReplicaSet, scaled to zero, that the history limit no longer keeps.
    DeleteReplicaSet {
        /// Its name.
        name: String,
        /// Its uid, a precondition.
        uid: String,
    },
}

/// What changes of a ReplicaSet, but for its number.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSetPatch {
    /// Name of the ReplicaSet.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Resource version that the patch was computed on.
    pub resource_version: String,
    /// Annotations to set (`Some`) or remove (`None`).
    pub annotations: BTreeMap<String, Option<String>>,
    /// New `spec.minReadySeconds`.
    pub min_ready_seconds: Option<i32>,
    /// New `spec.template.spec.affinity`: pods that run are not touched.
    pub affinity: Option<Value>,
    /// Changes of `spec.template.metadata`: pods that run are not touched.
    pub pod_metadata: MetadataChange,
}

impl ReplicaSetPatch {
    /// A patch that changes nothing yet.
    pub fn of(set: &ReplicaSetView) -> Self {
        Self {
            name: set.name.clone(),
            uid: set.uid.clone(),
            resource_version: set.resource_version.clone(),
            annotations: BTreeMap::new(),
            min_ready_seconds: None,
            affinity: None,
            pod_metadata: MetadataChange::default(),
        }
    }

    /// True when there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.annotations.is_empty()
            && self.min_ready_seconds.is_none()
            && self.affinity.is_none()
            && self.pod_metadata.is_empty()
    }

    /// Takes up what another patch of the same ReplicaSet changes: two of them would conflict with each other.
    pub fn merge(&mut self, later: Self) {
        self.annotations.extend(later.annotations);
        self.min_ready_seconds = later.min_ready_seconds.or(self.min_ready_seconds);
        self.affinity = later.affinity.or(self.affinity.take());
        self.pod_metadata.labels.extend(later.pod_metadata.labels);
        self.pod_metadata.annotations.extend(later.pod_metadata.annotations);
    }
}

/// Which way a shift goes, as seen from the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards stable: allowed even when the record could not be written (R1).
    TowardsStable,
    /// Towards the canary, or sideways (selectors).
    TowardsCanary,
}

/// The order in which acts are safe: Grow, then Shift, then Shrink (R6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EffectClass {
    /// Adds capacity or bookkeeping. Harmless at any time, but for AnalysisRuns that no record names (R5).
    Grow,
    /// Moves traffic.
    Shift,
    /// Takes capacity away.
    Shrink,
}

impl Effect {
    /// Its place in the order of R6.
    pub fn class(&self) -> EffectClass {
        match self {
            Self::Scale { from, to, .. } | Self::ScaleWorkload { from, to, .. } if to < from => {
                EffectClass::Shrink
            }
            Self::EvictPod { .. } | Self::DeleteReplicaSet { .. } => EffectClass::Shrink,
            Self::Route { .. } => EffectClass::Shift,
            Self::PatchRollout { .. }
            | Self::CreateReplicaSet { .. }
            | Self::Scale { .. }
            | Self::ScaleWorkload { .. }
            | Self::PatchReplicaSet(_)
            | Self::PatchPod { .. }
            | Self::AdoptReplicaSet { .. }
            | Self::CreateAnalysisRun { .. }
            | Self::TerminateAnalysisRun { .. }
            | Self::DeleteAnalysisRun { .. } => EffectClass::Grow,
        }
    }

    /// Whether it leads requests back to stable: that waits for nothing that failed on the way there (R1).
    pub fn leads_back(&self) -> bool {
        matches!(self, Self::Route { direction: Direction::TowardsStable, .. })
    }

    /// Its name over time.
    pub fn key(&self) -> EffectKey {
        let (verb, object) = match self {
            Self::PatchRollout { .. } => (Verb::PatchRollout, ""),
            Self::CreateReplicaSet { manifest } => (Verb::CreateReplicaSet, manifest_name(manifest)),
            Self::Scale { name, .. } => (Verb::Scale, name.as_str()),
            Self::ScaleWorkload { name, .. } => (Verb::ScaleWorkload, name.as_str()),
            Self::PatchReplicaSet(patch) => (Verb::PatchReplicaSet, patch.name.as_str()),
            Self::AdoptReplicaSet { name, .. } => return EffectKey::adoption(name),
            Self::Route { config, .. } => return EffectKey { verb: Verb::Route, object: config.label() },
            Self::CreateAnalysisRun { manifest } => (Verb::CreateAnalysisRun, manifest_name(manifest)),
            Self::TerminateAnalysisRun { name, .. } => (Verb::TerminateAnalysisRun, name.as_str()),
            Self::DeleteAnalysisRun { name, .. } => (Verb::DeleteAnalysisRun, name.as_str()),
            // What refuses one pod of a version refuses the others.
            Self::PatchPod { replica_set, .. } => (Verb::PatchPod, replica_set.as_str()),
            // All pods of a version are under the same budget: one that is refused speaks for the others.
            Self::EvictPod { replica_set, .. } => (Verb::EvictPod, replica_set.as_str()),
            Self::DeleteReplicaSet { name, .. } => (Verb::DeleteReplicaSet, name.as_str()),
        };
        EffectKey::new(verb, object)
    }
}

fn manifest_name(manifest: &Value) -> &str {
    manifest.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// A decision that breaks the order of R6. It is never carried out: the rollout alone is held, and
/// `Progressing` has reason InternalError.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleBroken {
    /// Effects out of order.
    #[error("{later:?} comes before {earlier:?}: effects go Grow, Shift, Shrink")]
    OutOfOrder {
        /// The class that came too late.
        earlier: EffectClass,
        /// The class that came before it.
        later: EffectClass,
    },
    /// A shift and a shrink of pods in one decision: the shrink must look at the observed route.
    #[error(
        "a shift of traffic and a scale-down or eviction of {replica_set} in one decision: that must see the route first"
    )]
    ShiftAndShrink {
        /// The ReplicaSet that would shrink.
        replica_set: String,
    },
}

impl Decision {
    /// Asserts R6, in production too.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), RuleBroken> {
        for pair in self.effects.windows(2) {
            if let [first, second] = pair
                && first.class() > second.class()
            {
                return Err(RuleBroken::OutOfOrder { earlier: second.class(), later: first.class() });
            }
        }
        let shifts = self.effects.iter().any(|effect| effect.class() == EffectClass::Shift);
        let shrink = self.effects.iter().find(|effect| effect.class() == EffectClass::Shrink);
        match shrink {
            Some(effect) if shifts => Err(RuleBroken::ShiftAndShrink { replica_set: effect.key().object }),
            _ => Ok(()),
        }
    }
}
