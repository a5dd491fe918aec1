//! The clocks of processes: what was decided by one that is wrong, or by two that differ, is judged by wider bounds.

use crate::world::plus;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// A clock that was set once, by 40 s at most, may be so far from the truth, as times are cut to seconds.
pub(super) const FROM_THE_TRUTH: SignedDuration = SignedDuration::from_secs(45);
/// Two clocks may be so far from each other, or one from itself before it was set once more.
pub(super) const FROM_EACH_OTHER: SignedDuration = SignedDuration::from_secs(90);

/// How far clocks are from the truth, and when they agreed again.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// By process, in milliseconds.
    of: BTreeMap<u32, i64>,
    /// The process whose clock is kept although it is gone: the next one reads what it has written.
    last: Option<u32>,
    /// Then every clock had passed what another one had shown.
    agree_at: Option<Timestamp>,
}

impl Clocks {
    /// A process starts, with a clock that is right.
    pub(super) fn started(&mut self, process: u32, now: Timestamp) {
        self.set(process, 0, now);
        if let Some(last) = self.last.take() {
            self.of.remove(&last);
        }
    }

    /// The clock of a process was set.
    pub(super) fn set(&mut self, process: u32, skew: i64, now: Timestamp) {
        let before = self.of.get(&process).copied().unwrap_or(skew);
        self.differ(before - skew, now);
        self.of.insert(process, skew);
        self.differ(self.spread(), now);
    }

    /// A process is gone.
    pub(super) fn gone(&mut self, process: u32, now: Timestamp) {
        self.differ(self.spread(), now);
        if self.of.len() > 1 {
            self.of.remove(&process);
        } else {
            self.last = Some(process);
        }
    }

    /// Whether at this time something may have rested on two clocks that differ, or that differed so long before.
    pub(super) fn may_differ(&self, at: Timestamp, before: SignedDuration) -> bool {
        let agreed = |agree_at: Timestamp| agree_at.saturating_add(before).is_ok_and(|agreed| agreed <= at);
        self.spread() != 0 || self.agree_at.is_some_and(|agree_at| !agreed(agree_at))
    }

    /// Whether at this time one may have been wrong, or have been so shortly before.
    pub(super) fn may_be_wrong(&self, at: Timestamp) -> bool {
        self.of.values().any(|skew| *skew != 0) || self.may_differ(at, FROM_EACH_OTHER)
    }

    fn spread(&self) -> i64 {
        let clocks = || self.of.values().copied();
        clocks().max().unwrap_or(0) - clocks().min().unwrap_or(0)
    }

    /// Clocks differ by so many milliseconds.
    fn differ(&mut self, by: i64, now: Timestamp) {
        if by != 0 {
            self.agree_at = self.agree_at.max(Some(plus(now, by.abs())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: SignedDuration = SignedDuration::from_secs(30);

    fn at(seconds: i64) -> Timestamp {
        plus(Timestamp::UNIX_EPOCH, seconds * 1_000)
    }

    #[test]
    fn a_clock_that_was_set_excuses_nothing_once_the_step_and_the_longest_drain_have_passed() {
        let mut clocks = Clocks::default();
        clocks.started(1, at(0));
        clocks.set(1, 40_000, at(100));
        assert!(clocks.may_differ(at(169), DRAIN));
        assert!(!clocks.may_differ(at(170), DRAIN), "the only process goes by its own clock");
        assert!(clocks.may_be_wrong(at(9_000)), "which is wrong all the same");
    }

    #[test]
    fn a_process_that_reads_what_another_clock_has_written_is_excused_anew() {
        let mut clocks = Clocks::default();
        clocks.started(1, at(0));
        clocks.set(1, -40_000, at(100));
        clocks.gone(1, at(1_000));
        clocks.started(2, at(1_010));
        assert!(clocks.may_differ(at(1_079), DRAIN) && !clocks.may_differ(at(1_080), DRAIN));
        clocks.set(2, 5_000, at(2_000));
        clocks.started(3, at(2_010));
        assert!(clocks.may_differ(at(9_000), DRAIN), "two processes with different clocks");
        clocks.gone(2, at(9_000));
        assert!(clocks.may_differ(at(9_034), DRAIN) && !clocks.may_differ(at(9_035), DRAIN));
    }

    #[test]
    fn a_wrong_clock_excuses_nothing_for_long_once_its_process_is_gone() {
        let mut clocks = Clocks::default();
        clocks.started(1, at(0));
        assert!(!clocks.may_be_wrong(at(1)));
        clocks.set(1, 20_000, at(100));
        clocks.gone(1, at(1_000));
        assert!(clocks.may_be_wrong(at(1_005)), "nobody has read yet what it has written");
        clocks.started(2, at(1_010));
        assert!(clocks.may_be_wrong(at(1_119)) && !clocks.may_be_wrong(at(1_120)));
    }
}
