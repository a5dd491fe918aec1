//! Rule 2, its time: pods go only when their version has had no more than its present share for the drain time.

use super::{View, Write};
use crate::world::plus;
use crate::world::server::number;
use headgate_driver::resources::REPLICA_SETS;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Times are stored in whole seconds.
const ROUNDED: SignedDuration = SignedDuration::from_secs(2);

/// The share of each version, and since when it has had no more.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// By version: its share and those before it was lowered, the present one last.
    of: BTreeMap<String, Vec<Held>>,
    /// Versions whose release was aborted: another delay holds for them.
    aborted: BTreeSet<String>,
    /// When somebody else has written weights last.
    edited_at: Option<Timestamp>,
    /// How far the clocks of processes are from the truth, in milliseconds.
    clocks: BTreeMap<u32, i64>,
    /// The process whose clock is kept although it is gone: the next one reads what it has written.
    last: Option<u32>,
    /// Until then what one clock has written may be held against another one.
    differ_until: Option<Timestamp>,
    /// The longest drain time that was ever asked for.
    longest: i64,
}

/// A share that a version has until it is lowered again.
#[derive(Debug)]
struct Held {
    share: i64,
    /// Since when the version has had no more.
    since: Timestamp,
    /// The shortest drain time that was asked for meanwhile: a user who asks for more does not put off what has its time
    /// already.
    drain: i64,
}

impl Shares {
    /// Looks at the world as it is from now on.
    pub(super) fn look(&mut self, view: &View, now: Timestamp) {
        let drains = [view.drain, view.abort_drain].into_iter().filter(|drain| *drain != i64::MAX);
        self.longest = drains.fold(self.longest, i64::max);
        if view.canary_weight.is_none() {
            return;
        }
        if view.is_aborted {
            self.aborted.insert(view.current.clone());
        }
        // A ReplicaSet that is made again has pods that never had the share of those before.
        self.of.retain(|hash, _| view.sets.iter().any(|set| set.hash == *hash));
        for set in &view.sets {
            let share = view.given(&set.hash);
            let held = self.of.entry(set.hash.clone()).or_default();
            match held.last_mut() {
                Some(last) if share >= last.share => {
                    (last.share, last.drain) = (share, last.drain.min(view.drain));
                }
                Some(_) => held.push(Held { share, since: now, drain: view.drain }),
                None => held.push(Held { share, since: Timestamp::MIN, drain: view.drain }),
            }
        }
    }

    /// Somebody else writes weights now.
    pub(super) fn edited(&mut self, now: Timestamp) {
        self.edited_at = Some(now);
    }

    /// A process starts, with a clock that is right.
    pub(super) fn started(&mut self, process: u32, now: Timestamp) {
        self.clock_set(process, 0, now);
        if let Some(last) = self.last.take() {
            self.clocks.remove(&last);
        }
    }

    /// The clock of a process was set.
    pub(super) fn clock_set(&mut self, process: u32, skew: i64, now: Timestamp) {
        let before = self.clocks.get(&process).copied().unwrap_or(skew);
        self.differ(before - skew, now);
        self.clocks.insert(process, skew);
        self.differ(self.spread(), now);
    }

    /// A process is gone.
    pub(super) fn gone(&mut self, process: u32, now: Timestamp) {
        self.differ(self.spread(), now);
        if self.clocks.len() > 1 {
            self.clocks.remove(&process);
        } else {
            self.last = Some(process);
        }
    }

    /// Whether what was sent then may rest on two clocks that differ.
    fn may_differ(&self, sent_at: Timestamp) -> bool {
        self.spread() != 0 || self.differ_until.is_some_and(|until| until > sent_at)
    }

    fn spread(&self) -> i64 {
        let clocks = || self.clocks.values().copied();
        clocks().max().unwrap_or(0) - clocks().min().unwrap_or(0)
    }

    /// Clocks differ by so many milliseconds: when the longest drain has passed by both, nothing is left to differ about.
    fn differ(&mut self, by: i64, now: Timestamp) {
        if by != 0 {
            let until = plus(now, by.abs() + self.longest * 1_000);
            self.differ_until = self.differ_until.max(Some(until));
        }
    }

    /// A write; `views` are those that the process may have decided on.
    pub(super) fn check(&self, write: &Write<'_>, views: &[&View], now: Timestamp) -> Result<(), String> {
        let may_differ = self.may_differ(write.sent_at);
        let (REPLICA_SETS, Some(before), false) = (write.target.resource, write.before, may_differ) else {
            return Ok(());
        };
        let to = write.after.map_or(0, |after| number(after, "/spec/replicas"));
        let Some(view) = views.first() else { return Ok(()) };
        let Some(set) = view.set(&write.target.name).filter(|set| set.available > 0) else { return Ok(()) };
        // Somebody else's surplus may go at once.
        let takes_nothing = to >= set.available || to >= view.desired;
        if takes_nothing
            || to >= number(before, "/spec/replicas")
            || views.iter().any(|view| view.lets_pods_go())
        {
            return Ok(());
        }
        let held = self.of.get(&set.hash).map_or(&[][..], Vec::as_slice);
        let Some(last) = held.last() else { return Ok(()) };
        // What was decided before somebody else lowered the share is under way.
        if self.edited_at == Some(last.since) && now.duration_since(last.since) < ROUNDED {
            return Ok(());
        }
        let is_aborted = self.aborted.contains(&set.hash);
        let delay = |held: &Held| {
            let delay = if is_aborted { held.drain.min(view.abort_drain) } else { held.drain };
            views.iter().map(|view| view.drain_at_least(&set.hash)).fold(delay, i64::min)
        };
        let is_over = |held: &Held, until: Timestamp| {
            until.duration_since(held.since).saturating_add(ROUNDED) >= SignedDuration::from_secs(delay(held))
        };
        // What was lowered only after the request was sent does not count: it was right until then.
        let was_over =
            held.array_windows().any(|[held, next]| next.since > write.sent_at && is_over(held, next.since));
        if was_over || is_over(last, now) {
            return Ok(());
        }
        Err(format!(
            "{} goes to {to} pods {} s after its share was lowered; {} s are to pass",
            set.name,
            now.duration_since(last.since).as_secs(),
            delay(last)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        plus(Timestamp::UNIX_EPOCH, seconds * 1_000)
    }

    #[test]
    fn a_clock_that_was_set_excuses_nothing_once_the_step_and_the_longest_drain_have_passed() {
        let mut shares = Shares { longest: 30, ..Shares::default() };
        shares.started(1, at(0));
        shares.clock_set(1, 40_000, at(100));
        assert!(shares.may_differ(at(169)));
        assert!(!shares.may_differ(at(170)), "the only process goes by its own clock");
    }

    #[test]
    fn a_process_that_reads_what_another_clock_has_written_is_excused_anew() {
        let mut shares = Shares { longest: 30, ..Shares::default() };
        shares.started(1, at(0));
        shares.clock_set(1, -40_000, at(100));
        shares.gone(1, at(1_000));
        shares.started(2, at(1_010));
        assert!(shares.may_differ(at(1_079)) && !shares.may_differ(at(1_080)));
        shares.clock_set(2, 5_000, at(2_000));
        shares.started(3, at(2_010));
        assert!(shares.may_differ(at(9_000)), "two processes with different clocks");
        shares.gone(2, at(9_000));
        assert!(shares.may_differ(at(9_034)) && !shares.may_differ(at(9_035)));
    }
}
