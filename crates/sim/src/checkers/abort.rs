//! Rule 4 while it matters: once aborted, and once stable bears everything, the canary gets nothing soon.

use super::{View, WayBack};
use jiff::{SignedDuration, Timestamp};

/// So long after the last fault that held controllers up: a refusal is tried again within a minute.
const SOON: SignedDuration = SignedDuration::from_secs(120);
/// No way back in steps takes longer: each step waits until proxies have the one before.
const STEPS: SignedDuration = SignedDuration::from_secs(120);

/// Since when the canary gets what stable could bear.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    since: Option<Timestamp>,
}

impl Overdue {
    /// Looks at the world as it is from now on. `held_until`: controllers are kept from seeing or acting until then.
    pub(super) fn look(
        &mut self,
        view: &View,
        held_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), String> {
        if !is_owed(view) {
            self.since = None;
            return Ok(());
        }
        let since = *self.since.get_or_insert(now);
        let soon = if matches!(view.way_back, WayBack::Stepped(_)) { SOON + STEPS } else { SOON };
        if now.duration_since(since.max(held_until.unwrap_or(since))) <= soon {
            return Ok(());
        }
        let canary = view.canary_weight.unwrap_or(0);
        Err(format!(
            "aborted; stable could bear everything since {since}, and the canary still gets {canary}"
        ))
    }
}

fn is_owed(view: &View) -> bool {
    let bears = view.available(&view.stable) >= view.bears_all();
    let is_apart = view.canary_selects != view.stable_selects && view.stable != view.current;
    view.is_aborted && bears && is_apart && view.canary_weight.is_some_and(|weight| weight > 0)
}
