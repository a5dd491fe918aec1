use headgate_api::{conditions::reasons, events};

words! {
    /// What is done, or tried. In alphabetical order: of several acts that are refused the first one is told.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Verb {
        /// Making a ReplicaSet that nobody controls the Rollout's own.
        AdoptReplicaSet,
        /// Creating an AnalysisRun.
        CreateAnalysisRun,
        /// Creating a ReplicaSet.
        CreateReplicaSet,
        /// Deciding, which fails by a defect of ours alone.
        Decide,
        /// Deleting an AnalysisRun that is no longer kept.
        DeleteAnalysisRun,
        /// Deleting a ReplicaSet that is no longer kept.
        DeleteReplicaSet,
        /// Evicting pods of a ReplicaSet.
        EvictPod,
        /// Patching pods of a ReplicaSet.
        PatchPod,
        /// Patching a ReplicaSet, but for its number.
        PatchReplicaSet,
        /// Patching the Rollout itself, but for its status.
        PatchRollout,
        /// Reading live what decisions rest on.
        Read,
        /// Reading pods.
        ReadPods,
        /// Reading an AnalysisTemplate.
        ReadTemplate,
        /// Writing the status.
        Record,
        /// Making a router's objects say what is intended.
        Route,
        /// Setting the number of a ReplicaSet.
        Scale,
        /// Setting the number of the Deployment that `spec.workloadRef` names.
        ScaleWorkload,
        /// Undoing the mark of a Service that nobody uses any more.
        Sweep,
        /// Ending an AnalysisRun.
        TerminateAnalysisRun,
    }
}

impl Verb {
    /// The reason of the event that tells of its failure: those of Argo Rollouts, and `InternalError`.
    pub fn failure_reason(self) -> &'static str {
        match self {
            Self::Route => events::TRAFFIC_ROUTING_ERROR,
            Self::CreateReplicaSet => events::REPLICA_SET_CREATE_ERROR,
            Self::Scale | Self::ScaleWorkload | Self::PatchReplicaSet | Self::DeleteReplicaSet => {
                events::REPLICA_SET_UPDATE_ERROR
            }
            Self::Decide => reasons::INTERNAL_ERROR,
            Self::AdoptReplicaSet
            | Self::CreateAnalysisRun
            | Self::DeleteAnalysisRun
            | Self::EvictPod
            | Self::PatchPod
            | Self::PatchRollout
            | Self::Read
            | Self::ReadPods
            | Self::ReadTemplate
            | Self::Record
            | Self::Sweep
            | Self::TerminateAnalysisRun => events::RECONCILIATION_ERROR,
        }
    }
}

/// Names an act over time, so that its failures can be remembered: the verb and the object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EffectKey {
    /// What is done.
    pub verb: Verb,
    /// Name of the object, or of the router; empty where the verb says all.
    pub object: String,
}

impl EffectKey {
    /// An act on an object.
    pub fn new(verb: Verb, object: &str) -> Self {
        Self { verb, object: object.to_owned() }
    }

    /// An act whose verb says all.
    pub fn of(verb: Verb) -> Self {
        Self { verb, object: String::new() }
    }

    /// Making a ReplicaSet of this name the Rollout's own.
    pub fn adoption(name: &str) -> Self {
        Self::new(Verb::AdoptReplicaSet, name)
    }

    /// The status write itself.
    pub fn record() -> Self {
        Self::of(Verb::Record)
    }
}
