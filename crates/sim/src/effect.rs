//! Kinds of what a controller does to the world, in which it is counted where a process has died or stood still.

use crate::faults::Fate;
use crate::kinds::Fault;
use crate::world::routes;
use headgate_driver::io::{Call, Patch};
use headgate_driver::resources::{
    ANALYSIS_RUNS, DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS, ROLLOUTS, SERVICES,
};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// The status of a Rollout is written.
    Record,
    /// Annotations or the number of pods of a Rollout are written.
    Annotate,
    /// A ReplicaSet is created.
    CreateSet,
    /// A ReplicaSet is scaled.
    ScaleSet,
    /// Metadata of a ReplicaSet are written.
    NoteSet,
    /// A ReplicaSet is deleted.
    DeleteSet,
    /// The selector of a Service is written.
    Service,
    /// A canary Ingress is made.
    CreateRoute,
    /// Weights are written into a route.
    Route,
    /// An AnalysisRun is created.
    CreateRun,
    /// The status of an AnalysisRun is written.
    RecordRun,
    /// An AnalysisRun is told to end.
    TerminateRun,
    /// An AnalysisRun is deleted.
    DeleteRun,
    /// A pod is evicted.
    Evict,
    /// Metadata of a pod are written.
    Pod,
    /// A Deployment is scaled.
    Workload,
    /// An event is told.
    Event,
    /// A metric is measured.
    Measure,
    /// A webhook is told.
    Notify,
    /// Something is read.
    Read,
}

/// What makes a process end or stand still at a request.
pub const INTERRUPTIONS: [Fate; 3] = [Fate::CrashBefore, Fate::CrashAfter, Fate::Freeze];

impl Effect {
    /// All.
    pub const ALL: [Self; 20] = [
        Self::Record,
        Self::Annotate,
        Self::CreateSet,
        Self::ScaleSet,
        Self::NoteSet,
        Self::DeleteSet,
        Self::Service,
        Self::CreateRoute,
        Self::Route,
        Self::CreateRun,
        Self::RecordRun,
        Self::TerminateRun,
        Self::DeleteRun,
        Self::Evict,
        Self::Pod,
        Self::Workload,
        Self::Event,
        Self::Measure,
        Self::Notify,
        Self::Read,
    ];

    /// The kind of a call.
    pub fn of(call: &Call) -> Self {
        let target = match call {
            Call::Get(_) | Call::List { .. } => return Self::Read,
            Call::Measure { .. } => return Self::Measure,
            Call::Notify { .. } => return Self::Notify,
            Call::Evict { .. } => return Self::Evict,
            Call::Create { target, .. } | Call::Patch { target, .. } | Call::Delete { target, .. } => target,
        };
        let (is_new, is_end) = (matches!(call, Call::Create { .. }), matches!(call, Call::Delete { .. }));
        match target.resource {
            EVENTS => Self::Event,
            PODS => Self::Pod,
            DEPLOYMENTS => Self::Workload,
            SERVICES => Self::Service,
            ROLLOUTS if matches!(call, Call::Patch { status: true, .. }) => Self::Record,
            ROLLOUTS => Self::Annotate,
            REPLICA_SETS if is_new => Self::CreateSet,
            REPLICA_SETS if is_end => Self::DeleteSet,
            REPLICA_SETS if matches!(call, Call::Patch { patch: Patch::Json(_), .. }) => Self::ScaleSet,
            REPLICA_SETS => Self::NoteSet,
            ANALYSIS_RUNS if is_new => Self::CreateRun,
            ANALYSIS_RUNS if is_end => Self::DeleteRun,
            ANALYSIS_RUNS if ends_a_run(call) => Self::TerminateRun,
            ANALYSIS_RUNS => Self::RecordRun,
            kind if routes::is_route(kind) && is_new => Self::CreateRoute,
            _ => Self::Route,
        }
    }

    /// True for what changes an object that the API server keeps: events come beside them.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Event | Self::Measure | Self::Notify | Self::Read)
    }

    /// True for a request to the API server, events left out.
    pub fn is_counted(self) -> bool {
        self.is_write() || self == Self::Read
    }
}

fn ends_a_run(call: &Call) -> bool {
    matches!(call, Call::Patch { patch: Patch::Merge(body), .. } if body.pointer("/spec/terminate").is_some())
}

/// All that is to be struck: each kind of request, by each kind of interruption.
pub fn strikes() -> impl Iterator<Item = (Effect, Fault)> {
    let faults = INTERRUPTIONS.map(crate::coverage::of_fate);
    Effect::ALL.into_iter().flat_map(move |effect| faults.into_iter().map(move |fault| (effect, fault)))
}
