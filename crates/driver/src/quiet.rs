//! How much is written (R10): numbers of pods at most once a second, and a breaker for a rollout that writes
//! and writes without getting anywhere.

use crate::backoff::{fingerprint_of, is_ahead, is_recent};
use crate::record::Weight;
use headgate_model::{Direction, Effect, Timestamp};
use jiff::SignedDuration;
use std::collections::VecDeque;

/// More writes than this in a minute, without a change of phase, step or weight, nor of the number of pods that is asked
/// for, trip the breaker.
const WRITES_PER_MINUTE_MAX: usize = 10;

/// Even writes that change phase, step or weight, with new numbers of pods, are no more than this in a minute: far above what any list of
/// steps needs, far below what a decision that never settles would do.
const PROGRESS_PER_MINUTE_MAX: usize = 120;

/// This often in a minute the same routing may be set, with nothing else in between; then somebody else writes the same paths. Nor is the canary given
/// another weight then: it would not get that one either, and steps are not to go on without traffic.
const REVERTS_MAX: usize = 3;

/// The breaker holds a rollout at least so long; it doubles up to a minute while it trips again.
const HOLD_SECONDS_MIN: i64 = 5;
const HOLD_SECONDS_MAX: i64 = 60;

/// What one rollout has written lately.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    record_written_at: Option<Timestamp>,
    /// Writes of the last minute that got nothing further.
    idle_writes: VecDeque<Timestamp>,
    /// Writes of the last minute that changed phase, step or weight, and new numbers of pods that were asked for.
    progress: VecDeque<Timestamp>,
    /// `spec.replicas` when it was looked at last.
    asked_for: Option<i64>,
    effects: VecDeque<Done>,
    held_until: Option<Timestamp>,
    hold_seconds: i64,
}

/// An effect of the last minute.
#[derive(Clone, Debug)]
struct Done {
    at: Timestamp,
    fingerprint: u64,
    /// Of a change of routing.
    router: Option<String>,
}

/// Whether a write may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Now.
    Go,
    /// Not before this time.
    NotBefore(Timestamp),
}

impl Quiet {
    /// Whether a record of this weight may be written.
    pub(crate) fn record(&self, weight: Weight, now: Timestamp) -> Permit {
        if weight == Weight::Progress {
            let excess = self.progress.len().checked_sub(PROGRESS_PER_MINUTE_MAX);
            let oldest = excess.and_then(|excess| self.progress.get(excess)).filter(|at| !is_old(**at, now));
            return oldest.map_or(Permit::Go, |at| Permit::NotBefore(later(*at, 60)));
        }
        if let Permit::NotBefore(until) = self.hold(now) {
            return Permit::NotBefore(until);
        }
        match self.record_written_at {
            Some(at) if weight == Weight::Counters && is_ahead(later(at, 1), 1, now) => {
                Permit::NotBefore(later(at, 1))
            }
            _ => Permit::Go,
        }
    }

    /// The Rollout asks for so many pods. Another number than before is a new wish, most likely an autoscaler's: what was
    /// written for the one before has led somewhere, and the same may have to be written again. Wishes that come faster
    /// than any progress may change nothing here.
    pub(crate) fn asked_for(&mut self, pods: i64, now: Timestamp) {
        let is_new = self.asked_for.replace(pods).is_some_and(|before| before != pods);
        if is_new && self.record(Weight::Progress, now) == Permit::Go {
            self.got_further(now);
        }
    }

    /// Whether the breaker lets anything out.
    pub(crate) fn hold(&self, now: Timestamp) -> Permit {
        match self.held_until {
            Some(until) if is_ahead(until, HOLD_SECONDS_MAX, now) => Permit::NotBefore(until),
            _ => Permit::Go,
        }
    }

    /// A record was sent. `moves_pods`: numbers of pods differ, so something is on its way.
    pub(crate) fn record_sent(&mut self, weight: Weight, moves_pods: MovesPods, now: Timestamp) -> Breaker {
        self.record_written_at = Some(now);
        match (weight, moves_pods) {
            (Weight::Progress, _) => {
                self.got_further(now);
                Breaker::Closed
            }
            (Weight::Change, MovesPods::No) => self.idle_write(now),
            (Weight::Change, MovesPods::Yes) | (Weight::Counters | Weight::Unchanged, _) => Breaker::Closed,
        }
    }

    /// An effect was carried out; the same one again within a minute is a write that gets nothing further.
    pub(crate) fn effect_done(&mut self, effect: &Effect, now: Timestamp) -> Breaker {
        self.forget_old(now);
        let fingerprint = fingerprint_of(effect);
        let before = self.effects.iter().filter(|done| done.fingerprint == fingerprint).count();
        // What a router was told again is held back for itself ([`Quiet::is_reverted`]), and there may be many of them. Only
        // one that is told other things in between comes so far.
        let is_route = matches!(effect, Effect::Route { .. });
        let repeated = before >= if is_route { WRITES_PER_MINUTE_MAX } else { 1 };
        self.effects.push_back(Done { at: now, fingerprint, router: router(effect) });
        if repeated { self.idle_write(now) } else { Breaker::Closed }
    }

    /// Whether this routing, or what the same router was told before, has been set so often that somebody must be reverting
    /// it.
    pub(crate) fn is_reverted(&mut self, effect: &Effect, now: Timestamp) -> bool {
        self.forget_old(now);
        let leads_on = matches!(effect, Effect::Route { direction: Direction::TowardsCanary, .. });
        self.times_in_a_row(effect) >= REVERTS_MAX
            || leads_on && self.reverts(router(effect).as_deref()) + 1 >= REVERTS_MAX
    }

    /// How often this router was told this, and nothing else since. A weight that comes and goes with the canary's pods is
    /// told again and again, and nobody reverts it.
    fn times_in_a_row(&self, effect: &Effect) -> usize {
        let wanted = fingerprint_of(effect);
        let told = self.effects.iter().rev().filter(|done| done.router == router(effect));
        told.take_while(|done| done.fingerprint == wanted).count()
    }

    /// How often this router was told the same again in the last minute, with nothing in between.
    fn reverts(&self, router: Option<&str>) -> usize {
        let told: Vec<u64> = self
            .effects
            .iter()
            .filter(|done| done.router.as_deref() == router)
            .map(|done| done.fingerprint)
            .collect();
        told.windows(2).filter(|pair| pair.first() == pair.last()).count()
    }

    fn forget_old(&mut self, now: Timestamp) {
        while self.effects.front().is_some_and(|done| is_old(done.at, now)) {
            self.effects.pop_front();
        }
    }

    fn got_further(&mut self, now: Timestamp) {
        while self.progress.front().is_some_and(|at| is_old(*at, now)) {
            self.progress.pop_front();
        }
        self.progress.push_back(now);
        self.idle_writes.clear();
        self.hold_seconds = 0;
        self.held_until = None;
    }

    fn idle_write(&mut self, now: Timestamp) -> Breaker {
        while self.idle_writes.front().is_some_and(|at| is_old(*at, now)) {
            self.idle_writes.pop_front();
        }
        self.idle_writes.push_back(now);
        if self.idle_writes.len() <= WRITES_PER_MINUTE_MAX {
            return Breaker::Closed;
        }
        self.idle_writes.clear();
        self.hold_seconds = (self.hold_seconds * 2).clamp(HOLD_SECONDS_MIN, HOLD_SECONDS_MAX);
        self.held_until = Some(later(now, self.hold_seconds));
        Breaker::Tripped
    }
}

/// Whether a record changes numbers of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MovesPods {
    Yes,
    No,
}

/// The state of the breaker after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaker {
    Closed,
    /// Just now.
    Tripped,
}

fn router(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Route { config, .. } => Some(config.label()),
        _ => None,
    }
}

fn is_old(at: Timestamp, now: Timestamp) -> bool {
    !is_recent(at, 59, now)
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(at)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use headgate_model::{Destination, RouterConfig, TrafficIntent};

    pub(crate) fn route(weight: i32, direction: Direction) -> Effect {
        let config = RouterConfig {
            router: "istio",
            namespace: "store".to_owned(),
            rollout: "shop".to_owned(),
            uid: "uid".to_owned(),
            total: 100,
            canary_service: None,
            stable_service: None,
            config: serde_json::Value::Null,
            item: None,
            object: None,
        };
        let nowhere = || Destination { service: None, hash: None };
        let intent =
            TrafficIntent { stable: nowhere(), canary: nowhere(), canary_weight: weight, total: 100 };
        Effect::Route { config, intent, direction }
    }

    #[test]
    fn a_weight_that_goes_up_and_down_with_the_pods_is_not_reverted_by_anybody() {
        let mut quiet = Quiet::default();
        let (up, down) = (route(20, Direction::TowardsCanary), route(0, Direction::TowardsStable));
        for second in 0..8 {
            let (effect, now) =
                (if second % 2 == 0 { &up } else { &down }, later(Timestamp::UNIX_EPOCH, second));
            assert!(!quiet.is_reverted(effect, now), "the change after {second} s");
            quiet.effect_done(effect, now);
        }
    }

    #[test]
    fn the_same_way_back_is_told_three_times_and_then_waits() {
        let mut quiet = Quiet::default();
        let (down, now) = (route(0, Direction::TowardsStable), Timestamp::UNIX_EPOCH);
        for _ in 0..REVERTS_MAX {
            assert!(!quiet.is_reverted(&down, now));
            quiet.effect_done(&down, now);
        }
        assert!(quiet.is_reverted(&down, now));
    }
}
