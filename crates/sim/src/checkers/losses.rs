//! Requests lost: none, unless a fault forces it. Then no more than the whole traffic while the fault lasts and for
//! [`REACTION`] after it, and nothing at all once [`NOTICED_WITHIN`] has passed after it. Meanwhile the time does not count
//! in which another fault keeps controllers from seeing or acting: an API server that is away, a right that was taken away,
//! a watch that is late or broken, a process that has died or stands still.

use crate::world::proxies::ALL;
use crate::world::{milliseconds, plus};
use jiff::{SignedDuration, Timestamp};
use std::collections::VecDeque;
use std::ops::AddAssign;

/// Traffic that a fault may cost beyond its own time, in milliseconds of the whole of it: until the fault is noticed,
/// decided on, written and learnt by every proxy, also when the process that should do so dies first.
pub(super) const REACTION: i64 = 45_000;
/// So long after a fault nothing may be lost because of it any more.
const NOTICED_WITHIN: SignedDuration = SignedDuration::from_secs(90);

/// What clients have lost: in [`ALL`]ths of a millisecond of the whole traffic, or in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// All of it.
    pub all: i64,
    /// What a fault has forced.
    pub forced: i64,
}

impl Lost {
    /// The same in whole requests, of so many in a minute.
    pub fn in_requests(self, per_minute: i64) -> Self {
        let whole = |lost: i64| lost.saturating_mul(per_minute) / (ALL * 60_000);
        Self { all: whole(self.all), forced: whole(self.forced) }
    }
}

impl AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.forced += other.forced;
    }
}

/// What faults may cost yet.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    grants: VecDeque<Grant>,
    /// For what follows a time in which no version could serve.
    recovery: Option<Grant>,
    /// Controllers are kept from seeing or acting until then.
    held_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    until: Timestamp,
    /// In [`ALL`]ths of a millisecond of the whole traffic.
    left: i64,
}

impl Grant {
    fn new(since: Timestamp, until: Timestamp) -> Self {
        Self {
            until: until.saturating_add(NOTICED_WITHIN).unwrap_or(until),
            left: milliseconds(since, until).saturating_add(REACTION).saturating_mul(ALL),
        }
    }

    /// That time does not count.
    fn stretch(&mut self, time: i64) {
        self.until = plus(self.until, time);
        self.left = self.left.saturating_add(time.saturating_mul(ALL));
    }
}

impl Allowance {
    /// A fault that takes pods or routes away begins and lasts until then.
    pub(super) fn fault(&mut self, now: Timestamp, until: Timestamp) {
        self.grants.push_back(self.grant(now, until));
    }

    /// A fault keeps controllers from seeing or acting until then.
    pub(super) fn hold_up(&mut self, now: Timestamp, until: Timestamp) {
        let held_until = self.held_until.map_or(now, |held| held.max(now));
        let longer = milliseconds(held_until, until);
        self.held_until = Some(held_until.max(until));
        for grant in self.recovery.iter_mut().chain(&mut self.grants) {
            grant.stretch(longer);
        }
    }

    /// Until then a fault keeps controllers from seeing or acting.
    pub(super) fn held_until(&self) -> Option<Timestamp> {
        self.held_until
    }

    fn grant(&self, since: Timestamp, until: Timestamp) -> Grant {
        let mut grant = Grant::new(since, until);
        grant.stretch(self.held_until.map_or(0, |held| milliseconds(since, held)));
        grant
    }

    /// No version can serve, whoever decides.
    pub(super) fn nobody_serves(&mut self, now: Timestamp) {
        self.recovery = Some(self.grant(now, now));
    }

    /// Takes what was lost, in [`ALL`]ths of a millisecond of the whole traffic, from what faults may cost; returns what is left
    /// over.
    pub(super) fn charge(&mut self, lost: i64, since: Timestamp) -> i64 {
        self.grants.retain(|grant| grant.until >= since && grant.left > 0);
        let grants = self.recovery.iter_mut().chain(&mut self.grants).filter(|grant| grant.until >= since);
        grants.fold(lost, |lost, grant| {
            let taken = lost.min(grant.left);
            grant.left -= taken;
            lost - taken
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_in_whole_requests() {
        let mut lost = Lost { all: ALL / 2 * 60_000, forced: 0 };
        lost += Lost { all: ALL / 4 * 1_000, forced: ALL / 4 * 1_000 };
        assert_eq!(lost.in_requests(300), Lost { all: 151, forced: 1 });
        assert_eq!(lost.in_requests(0), Lost::default());
    }
}
