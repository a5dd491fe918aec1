//! Defects made on purpose, to see whether the checkers find them: in the API server, in what a decision sees, and in
//! what becomes of it. Only tests and `--defect` use them.

use crate::world::server::ServerBug;
use headgate_api::PauseCondition;
use headgate_driver::Deciders;
use headgate_model::{Decision, Effect, EffectClass, Snapshot, Timestamp};

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Defect {
    /// None.
    #[default]
    None,
    /// The API server takes every resource version: concurrent edits are lost.
    VersionsIgnored,
    /// The API server takes a JSON patch whose test fails.
    TestsIgnored,
    /// Pods count as available as soon as they are wanted.
    WeightBeforeReady,
    /// After an abort the route is taken for what it should be.
    RouteTakenForGranted,
    /// The user's abort is not seen.
    AbortForgotten,
    /// No decision is taken again by itself.
    NoWakeUp,
    /// Pods are never removed.
    OldPodsKept,
    /// Whatever shrinks goes to nothing at once.
    ShrunkToNothing,
    /// A pause that the user has ended comes back.
    PausedAgain,
    /// The record holds a moving number.
    NeverQuiet,
    /// Nothing says for what a release waits.
    WaitUnnamed,
    /// Routes are never written.
    RouteNotWritten,
}

impl Defect {
    /// All defects.
    pub const ALL: [Self; 12] = [
        Self::VersionsIgnored,
        Self::TestsIgnored,
        Self::WeightBeforeReady,
        Self::RouteTakenForGranted,
        Self::AbortForgotten,
        Self::NoWakeUp,
        Self::OldPodsKept,
        Self::ShrunkToNothing,
        Self::PausedAgain,
        Self::NeverQuiet,
        Self::WaitUnnamed,
        Self::RouteNotWritten,
    ];

    /// What the API server does wrong.
    pub fn of_server(self) -> ServerBug {
        match self {
            Self::VersionsIgnored => ServerBug::IgnoresVersions,
            Self::TestsIgnored => ServerBug::IgnoresTests,
            _ => ServerBug::None,
        }
    }

    /// The real deciders, with the defect around them.
    pub fn deciders(self) -> Deciders {
        let real = Deciders::default();
        if self == Self::None {
            return real;
        }
        let decide = real.rollout;
        let rollout = move |snapshot: &Snapshot, now: Timestamp| {
            let mut decision = decide(&self.seen(snapshot), now);
            self.spoil(&mut decision, snapshot, now);
            decision
        };
        Deciders { rollout: Box::new(rollout), ..real }
    }

    /// What the decision sees.
    fn seen(self, snapshot: &Snapshot) -> Snapshot {
        let mut seen = snapshot.clone();
        match self {
            Self::WeightBeforeReady => {
                if let headgate_model::Observed::Present(sets) = &mut seen.replica_sets {
                    for set in sets {
                        set.available_reported = set.replicas;
                    }
                }
            }
            Self::RouteTakenForGranted if seen.rollout.status.abort => {
                let states = seen.routers.iter_mut().filter_map(|router| router.state.as_mut().ok());
                for range in states.filter_map(|state| state.weights.as_mut()) {
                    (range.canary_min, range.canary_max) = (0, 0);
                }
            }
            Self::AbortForgotten => seen.rollout.status.abort = false,
            _ => {}
        }
        seen
    }

    /// What becomes of the decision.
    fn spoil(self, decision: &mut Decision, snapshot: &Snapshot, now: Timestamp) {
        match self {
            Self::NoWakeUp => decision.wake_at = None,
            Self::OldPodsKept => decision.effects.retain(|effect| effect.class() != EffectClass::Shrink),
            Self::RouteNotWritten => decision.effects.retain(|effect| effect.class() != EffectClass::Shift),
            Self::ShrunkToNothing => {
                for effect in &mut decision.effects {
                    if let Effect::Scale { from, to, .. } = effect
                        && to < from
                    {
                        *to = 0;
                    }
                }
            }
            Self::PausedAgain => {
                let status = &snapshot.rollout.status;
                if status.controller_pause && status.pause_conditions.is_empty() {
                    decision.record = status.clone();
                    decision.record.pause_conditions = vec![PauseCondition {
                        reason: PauseCondition::CANARY_PAUSE_STEP.to_owned(),
                        start_time: Some(headgate_api::Time(now)),
                    }];
                    decision.effects.clear();
                }
            }
            Self::NeverQuiet => {
                decision.record.message = format!("it is {}", now.as_second() / 60);
                decision.wake_at = now.checked_add(jiff::SignedDuration::from_secs(60)).ok();
            }
            Self::WaitUnnamed => decision.record.waiting = None,
            _ => {}
        }
    }
}
