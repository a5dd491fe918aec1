//! Rule 4 while it matters: once aborted, and once stable bears everything, the canary gets nothing soon.

use super::View;
use jiff::{SignedDuration, Timestamp};

/// The longest sum of faults that may hold a controller up: a frozen one, a broken watch, an API server that is away.
const SOON: SignedDuration = SignedDuration::from_secs(240);

/// Since when the canary gets what stable could bear.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    since: Option<Timestamp>,
}

impl Overdue {
    /// Looks at the world as it is from now on.
    pub(super) fn look(&mut self, view: &View, now: Timestamp) -> Result<(), String> {
        if !is_owed(view) {
            self.since = None;
            return Ok(());
        }
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) <= SOON {
            return Ok(());
        }
        let canary = view.canary_weight.unwrap_or(0);
        Err(format!(
            "aborted; stable could bear everything since {since}, and the canary still gets {canary}"
        ))
    }
}

fn is_owed(view: &View) -> bool {
    let bears = view.available(&view.stable) >= (view.desired - view.max_unavailable).max(1);
    let is_apart = view.canary_selects != view.stable_selects && view.stable != view.current;
    view.is_aborted && bears && is_apart && view.canary_weight.is_some_and(|weight| weight > 0)
}
