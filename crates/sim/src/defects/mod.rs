//! Defects made on purpose, to see whether the checkers find them. None is a switch in what users run: each is put around
//! the real thing, in the API server ([`ServerBug`]), in what a decision sees ([`seeing`]), in what becomes of it
//! ([`deciding`]) and of its record ([`recording`]), or in requests and answers on their way ([`wire`]). Only tests,
//! `--defect` and `--defects` use them.

mod deciding;
mod recording;
mod seeing;
mod wire;

pub use wire::Wire;

use crate::world::server::ServerBug;
use headgate_driver::Deciders;

/// A defect. The first line of each says what it breaks, then the rule that should notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Defect {
    /// None.
    #[default]
    None,
    // ---- the API server ----
    /// The API server takes every resource version: concurrent edits are lost. R2.
    VersionsIgnored,
    /// The API server takes a JSON patch whose test fails. R2; R11 where it changes nothing, and an event says that it did.
    TestsIgnored,
    // ---- weights and pods ----
    /// Pods count as available as soon as they are wanted. Rule 1.
    WeightBeforeReady,
    /// A canary that has lost some of its pods loses as much of its share. Rule 1.
    WeightFollowsPods,
    /// Pods go as soon as they get no new requests. Rule 2, its time.
    NoDrain,
    /// A router that has not read its route yet counts as one that says nothing. Rule 2, the router's word.
    AcknowledgementIgnored,
    /// What would go once a shift was seen goes together with the shift. Rule 2.
    ShiftAndShrink,
    /// A decision holds a shift and a shrink. R6: the driver refuses it, and the release stands still.
    ShiftAndShrinkDecided,
    /// Whatever shrinks goes to nothing at once. Rules 2 and 3.
    ShrunkToNothing,
    /// A Deployment that is to give way loses all its pods at once. Rule 2.
    HandsOverAtOnce,
    /// Pods are never removed. Rule 9.
    OldPodsKept,
    /// Whatever grows grows by two more. Rule 3.
    SurgeIgnored,
    /// `minPodsPerReplicaSet` is not seen. Rule 9.
    LeastPodsIgnored,
    /// Pods of an aborted version are never removed. Rule 9.
    AbortedPodsKept,
    /// A Deployment that is to give way keeps its pods. Rule 2, its end.
    NeverHandsOver,
    /// Routes are never written. Rule 9.
    RouteNotWritten,
    /// A router that the spec no longer names keeps its weights. Rule 9, and requests lost.
    FormerRouterForgotten,
    /// Stable goes with the weight that is meant, before the routes show it. Rule 2, for `dynamicStableScale`.
    StableGoesWithWish,
    /// An abort goes back at once, whatever the user chose. Rule 4, its way.
    WayBackIgnored,
    /// An abort that goes back at once does so before stable has the pods for it. Rule 4, its way.
    AbortTooFast,
    /// Our destinations get one more than there is. Rule 8.
    WeightsDoNotSum,
    /// Writing weights drops the routes of others. Rule 7.
    OthersRoutesDropped,
    // ---- the contract with the API server ----
    /// Each record says of all conditions that they have just changed. The status.
    TransitionsMove,
    /// Records are written without uid and resource version. R2, and rule 5 for what it costs.
    NoFence,
    /// The live read before effects is answered from the cache. R1.
    FenceFromCache,
    /// ReplicaSets are scaled without tests. R2.
    ScaledBlindly,
    /// The answer to a write is not taken in. R3.
    NoOverlay,
    /// After a conflict the cache is read instead of the server. R3.
    RetryOnStaleCache,
    /// A conflict counts as success. R1, R3 and R5.
    ConflictTakenForSuccess,
    /// What failed is no input of decisions. R4: nothing says so.
    FailuresForgotten,
    /// What was refused is tried again at once. R4.
    RefusedTriedAtOnce,
    /// Evictions never count: as many pods are available as their ReplicaSet has ever reported at its size. R7.
    EvictionsForgotten,
    /// A Service is pointed at a version without a mark. R8.
    MarkLeftOut,
    /// Services of a Rollout that is gone stay as they are. R8.
    MarksKept,
    /// A run's name is recorded after the run was created. R5.
    NameAfterCreate,
    /// Whoever ends a run writes its verdict, too. R9.
    TwoWriters,
    /// The record holds a number that moves every second. R10.
    NeverStill,
    /// The record holds a number that moves every minute. Rule 6.
    NeverQuiet,
    /// Events are sent before the record is stored. R11.
    EventBeforeRecord,
    /// A wish that is dropped is dropped without a word. R11.
    DroppedSilently,
    /// Webhooks are told by the decision, before its record is stored. R11.
    NotifiedFromDecision,
    /// What webhooks are to be told is not stored. R11.
    OutboxDropped,
    /// A webhook that refuses a message counts as one that has taken it. R11.
    RefusalTakenForDelivery,
    /// Each attempt to tell a webhook has a key of its own. R11.
    KeyOfEachAttempt,
    // ---- what users ask for ----
    /// The user's abort is not seen. Rule 5.
    AbortForgotten,
    /// Beside an analysis in the background proxies never count as up to date. Rule 9.
    StuckBesideAnalysis,
    /// After an abort the route is taken for what it should be. Rule 4.
    RouteTakenForGranted,
    /// An abort leaves the weights as they are. Rule 4.
    AbortForgetsWeights,
    /// An abort leaves the Services as they are. Rule 4.
    AbortForgetsServices,
    /// An abort forgets one of two routers. Rule 4.
    AbortForgetsOneRouter,
    /// An abort passes on to the next version. Rule 5.
    AbortOfAnotherRevision,
    /// A full promotion passes on to the next version. Rule 5.
    PromoteOfAnotherRevision,
    /// The user's full promotion is not seen. Rule 5.
    PromotionForgotten,
    /// The user's retry is not seen. Rule 10: nobody asks for that abort any more.
    RetryForgotten,
    /// A pause that the user has ended comes back. Rule 5.
    PausedAgain,
    /// A release that `spec.paused` holds gets its first pod. Rule 5, for releases that are held.
    HeldReleaseBegun,
    /// A pause without an end ends after half a minute. Rule 5.
    PauseEndsByItself,
    /// Two steps end at once. Rule 5.
    StepsSkipped,
    /// A version is promoted as soon as it bakes. The rule of bakes.
    BakeCutShort,
    /// A failed analysis that holds a release ends its step. Rule 10.
    HoldTakenForSuccess,
    // ---- time ----
    /// No decision is taken again by itself. Rule 9.
    NoWakeUp,
    /// Pods that come and go count as progress. Rule 9, for releases.
    DeadlineResetByFlapping,
    /// A changed number of pods counts as progress. Rule 9, for releases.
    DeadlineResetByScaling,
    /// Nothing says for what a release waits. The rule of waits.
    WaitUnnamed,
    // ---- analysis ----
    /// A provider that is away counts as a value of 0. Rule 10.
    OutageTakenForFailure,
    /// No data counts as good data. Rule 10.
    NoDataTakenForGood,
    /// A run that has failed counts as successful. Rule 10.
    FailureIgnored,
    /// Runs are ended before a record says that nobody waits for them any more. Rule 10.
    RunEndedUnrecorded,
    // ---- what is kept ----
    /// Old versions stay for ever. The rule of what is kept.
    VersionsKept,
    /// Runs that have ended stay for ever. The rule of what is kept.
    RunsKept,
    /// Runs that nobody waits for are not ended. The rule of what is kept.
    RunsGoOn,
    // ---- what is held ----
    /// A release without steps goes on while `spec.paused` holds it. Rule 5, for releases that are held.
    PauseEndsWithSteps,
    // ---- restarts ----
    /// All pods are evicted at once, whatever `maxUnavailable` says. Rule 3, for restarts.
    AllRestartedAtOnce,
    /// Pods are evicted although they are younger than the restart. Rule 3, for restarts.
    YoungRestarted,
    /// A restart counts as done as soon as it begins. Rule 3, for restarts.
    RestartTakenForDone,
    // ---- what pods carry ----
    /// Pods that run stay as they were made. The rule of roles.
    PodsStayAsMade,
    /// A ReplicaSet says that its pods are right before anybody has looked. The rule of roles.
    PodsTakenForRight,
    // ---- unhealthy pods ----
    /// Nobody looks at pods. The rule of unhealthy pods.
    PodHealthIgnored,
    /// A pod that is evicted or deleted is taken for one that was killed for want of memory. The rule of unhealthy pods.
    EvictionTakenForKill,
    /// A pod that is starting is taken for one that has lost its readiness long ago. The rule of unhealthy pods.
    StartTakenForLoss,
}

impl Defect {
    /// All defects.
    pub const ALL: [Self; 80] = [
        Self::VersionsIgnored,
        Self::TestsIgnored,
        Self::WeightBeforeReady,
        Self::WeightFollowsPods,
        Self::NoDrain,
        Self::AcknowledgementIgnored,
        Self::ShiftAndShrink,
        Self::ShiftAndShrinkDecided,
        Self::ShrunkToNothing,
        Self::HandsOverAtOnce,
        Self::OldPodsKept,
        Self::AbortedPodsKept,
        Self::NeverHandsOver,
        Self::TransitionsMove,
        Self::SurgeIgnored,
        Self::LeastPodsIgnored,
        Self::RouteNotWritten,
        Self::FormerRouterForgotten,
        Self::StableGoesWithWish,
        Self::WayBackIgnored,
        Self::AbortTooFast,
        Self::WeightsDoNotSum,
        Self::OthersRoutesDropped,
        Self::NoFence,
        Self::FenceFromCache,
        Self::ScaledBlindly,
        Self::NoOverlay,
        Self::RetryOnStaleCache,
        Self::ConflictTakenForSuccess,
        Self::FailuresForgotten,
        Self::RefusedTriedAtOnce,
        Self::EvictionsForgotten,
        Self::MarkLeftOut,
        Self::MarksKept,
        Self::NameAfterCreate,
        Self::TwoWriters,
        Self::NeverStill,
        Self::NeverQuiet,
        Self::EventBeforeRecord,
        Self::DroppedSilently,
        Self::NotifiedFromDecision,
        Self::OutboxDropped,
        Self::RefusalTakenForDelivery,
        Self::KeyOfEachAttempt,
        Self::AbortForgotten,
        Self::StuckBesideAnalysis,
        Self::RouteTakenForGranted,
        Self::AbortForgetsWeights,
        Self::AbortForgetsServices,
        Self::AbortForgetsOneRouter,
        Self::AbortOfAnotherRevision,
        Self::PromoteOfAnotherRevision,
        Self::PromotionForgotten,
        Self::RetryForgotten,
        Self::PausedAgain,
        Self::HeldReleaseBegun,
        Self::PauseEndsByItself,
        Self::StepsSkipped,
        Self::BakeCutShort,
        Self::HoldTakenForSuccess,
        Self::NoWakeUp,
        Self::DeadlineResetByFlapping,
        Self::DeadlineResetByScaling,
        Self::WaitUnnamed,
        Self::OutageTakenForFailure,
        Self::NoDataTakenForGood,
        Self::FailureIgnored,
        Self::RunEndedUnrecorded,
        Self::VersionsKept,
        Self::RunsKept,
        Self::RunsGoOn,
        Self::PauseEndsWithSteps,
        Self::AllRestartedAtOnce,
        Self::YoungRestarted,
        Self::RestartTakenForDone,
        Self::PodsStayAsMade,
        Self::PodsTakenForRight,
        Self::PodHealthIgnored,
        Self::EvictionTakenForKill,
        Self::StartTakenForLoss,
    ];

    /// The defect of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|defect| format!("{defect:?}") == name)
    }

    /// The rules that may notice it first. What is guarded twice may be noticed by what comes of it, too.
    pub fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::VersionsIgnored => &["R2 guards", "5 intents", "7 foreign"],
            Self::TestsIgnored => &["R2 guards", "R11 events"],
            Self::ScaledBlindly => &["R2 guards"],
            Self::WeightBeforeReady => &["1 weights", "3 availability", "2 removals", "requests lost"],
            Self::WeightFollowsPods => &["1 weights", "6 quiet", "9 settled", "R10 quiet"],
            Self::NoDrain | Self::ShiftAndShrink => &["2 drain", "2 removals", "R3 overlay", "requests lost"],
            Self::AcknowledgementIgnored => &["2 acknowledged", "2 drain", "requests lost"],
            Self::ShiftAndShrinkDecided => &["9 settled", "4 abort", "requests lost"],
            Self::ShrunkToNothing => &["3 availability", "2 removals", "2 drain"],
            Self::HandsOverAtOnce | Self::NeverHandsOver => &["2 hand-over"],
            Self::TransitionsMove => &["status"],
            Self::OldPodsKept | Self::RouteNotWritten => &["9 settled", "4 abort", "requests lost"],
            Self::NoWakeUp => &["9 settled", "4 abort", "pod health", "requests lost"],
            Self::FormerRouterForgotten => &["9 settled", "2 removals", "2 drain", "requests lost"],
            Self::StableGoesWithWish => {
                &["2 removals", "2 drain", "3 availability", "R1 fence", "R3 overlay"]
            }
            Self::WayBackIgnored | Self::AbortTooFast => &["4 way back"],
            Self::SurgeIgnored => &["3 availability", "9 settled", "6 quiet"],
            Self::WeightsDoNotSum | Self::OthersRoutesDropped => &["7 foreign"],
            Self::NoFence => &["R2 guards"],
            Self::FenceFromCache => &["R1 fence", "R3 overlay"],
            Self::NoOverlay => &["R3 overlay", "R5 names", "R11 events", "R11 news", "9 settled"],
            Self::RetryOnStaleCache => &["R3 overlay", "R1 fence"],
            Self::FailuresForgotten | Self::RefusedTriedAtOnce => &["R4 outcomes"],
            Self::EvictionsForgotten => &["R7 availability", "1 weights", "3 restarts", "requests lost"],
            Self::MarkLeftOut | Self::MarksKept => &["R8 marks"],
            Self::NameAfterCreate => &["R5 names"],
            Self::TwoWriters => &["R2 guards", "R9 writers"],
            Self::NeverStill => &["R10 quiet"],
            Self::NeverQuiet => &["6 quiet"],
            Self::EventBeforeRecord | Self::DroppedSilently => &["R11 events"],
            Self::NotifiedFromDecision
            | Self::OutboxDropped
            | Self::RefusalTakenForDelivery
            | Self::KeyOfEachAttempt => &["R11 news"],
            Self::AbortForgotten
            | Self::AbortOfAnotherRevision
            | Self::PromoteOfAnotherRevision
            | Self::PromotionForgotten
            | Self::PausedAgain
            | Self::PauseEndsByItself
            | Self::StepsSkipped => &["5 intents"],
            Self::StuckBesideAnalysis | Self::LeastPodsIgnored | Self::AbortedPodsKept => &["9 settled"],
            Self::RouteTakenForGranted => &["4 abort", "2 drain", "2 removals", "9 settled", "requests lost"],
            Self::AbortForgetsWeights | Self::AbortForgetsServices | Self::AbortForgetsOneRouter => {
                &["4 abort", "9 settled", "requests lost"]
            }
            Self::RetryForgotten => &["10 verdicts", "5 intents"],
            Self::DeadlineResetByFlapping | Self::DeadlineResetByScaling => &["9 deadline"],
            Self::HeldReleaseBegun | Self::PauseEndsWithSteps => &["5 held"],
            Self::ConflictTakenForSuccess => {
                &["R5 names", "R3 overlay", "R1 fence", "R11 events", "R11 news", "5 intents"]
            }
            Self::WaitUnnamed => &["waits"],
            Self::BakeCutShort => &["bake"],
            Self::HoldTakenForSuccess
            | Self::OutageTakenForFailure
            | Self::NoDataTakenForGood
            | Self::FailureIgnored
            | Self::RunEndedUnrecorded => &["10 verdicts"],
            Self::VersionsKept | Self::RunsKept | Self::RunsGoOn => &["kept"],
            Self::AllRestartedAtOnce | Self::YoungRestarted | Self::RestartTakenForDone => &["3 restarts"],
            Self::PodsStayAsMade | Self::PodsTakenForRight => &["roles"],
            Self::PodHealthIgnored | Self::EvictionTakenForKill | Self::StartTakenForLoss => &["pod health"],
        }
    }

    /// Rules whose defects others notice first, as they look at what comes before: each has to find one of these by itself.
    pub const ALONE: [(&'static str, Self); 7] = [
        ("R1 fence", Self::ConflictTakenForSuccess),
        ("2 acknowledged", Self::AcknowledgementIgnored),
        ("1 weights", Self::WeightBeforeReady),
        ("requests lost", Self::WeightBeforeReady),
        ("R7 availability", Self::EvictionsForgotten),
        ("R9 writers", Self::TwoWriters),
        ("2 removals", Self::ShiftAndShrink),
    ];

    /// What the API server does wrong.
    pub fn of_server(self) -> ServerBug {
        match self {
            Self::VersionsIgnored => ServerBug::IgnoresVersions,
            Self::TestsIgnored => ServerBug::IgnoresTests,
            _ => ServerBug::None,
        }
    }

    /// The real deciders with the defect around them, and what requests and answers go through.
    pub fn around(self) -> (Deciders, Wire) {
        let wire = Wire::new(self);
        (deciding::deciders(self, &wire.extra, &wire.reported), wire)
    }
}
