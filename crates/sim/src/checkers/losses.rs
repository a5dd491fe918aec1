//! Requests lost: none, unless a fault forces it; then no more than the whole traffic while the fault lasts and for
//! [`REACTION`] after it, and nothing [`NOTICED_WITHIN`] after it.

use jiff::{SignedDuration, Timestamp};
use std::collections::VecDeque;

/// Traffic that a fault may cost beyond its own time, in milliseconds of the whole of it: until the fault is noticed,
/// decided on, written and learnt by every proxy, also when the process that should do so dies first.
pub(super) const REACTION: i64 = 45_000;
/// So long after a fault nothing may be lost because of it any more.
const NOTICED_WITHIN: SignedDuration = SignedDuration::from_secs(90);

/// What faults may cost yet.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    grants: VecDeque<Grant>,
    /// For what follows a time in which no version could serve.
    recovery: Option<Grant>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    until: Timestamp,
    /// In milliseconds of the whole traffic.
    left: i64,
}

impl Grant {
    fn new(since: Timestamp, until: Timestamp) -> Self {
        let lasts = i64::try_from(until.duration_since(since).as_millis()).unwrap_or(i64::MAX);
        Self {
            until: until.saturating_add(NOTICED_WITHIN).unwrap_or(until),
            left: lasts.max(0).saturating_add(REACTION),
        }
    }
}

impl Allowance {
    /// A fault that takes pods or routes away begins and lasts until then.
    pub(super) fn fault(&mut self, now: Timestamp, until: Timestamp) {
        self.grants.push_back(Grant::new(now, until));
    }

    /// No version can serve, whoever decides.
    pub(super) fn nobody_serves(&mut self, now: Timestamp) {
        self.recovery = Some(Grant::new(now, now));
    }

    /// Takes what was lost from what faults may cost; returns what is left over.
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
