//! Rule 4 while it matters: once aborted, and once stable bears everything, the canary gets nothing soon from any router,
//! whatever keeps another one.

use super::{View, WayBack};
use headgate_driver::io::Resource;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// So long after the last fault that held controllers up: a refusal is tried again within a minute.
const SOON: SignedDuration = SignedDuration::from_secs(120);
/// No way back in steps takes longer: each step waits until proxies have the one before.
const STEPS: SignedDuration = SignedDuration::from_secs(120);

/// Since when the canary gets what stable could bear.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// From routes of this kind.
    since: BTreeMap<Resource, Timestamp>,
    /// Controllers are kept from seeing or acting until then: on routes of one kind, or at all.
    held_until: BTreeMap<Option<Resource>, Timestamp>,
}

impl Overdue {
    /// Controllers are kept from seeing or acting until then, on routes of this kind or at all.
    pub(super) fn hold_up(&mut self, routes: Option<Resource>, until: Timestamp) {
        let held = self.held_until.entry(routes).or_insert(until);
        *held = (*held).max(until);
    }

    /// Looks at the world as it is from now on.
    pub(super) fn look(&mut self, view: &View, now: Timestamp) -> Result<(), String> {
        let is_owed = is_owed(view);
        let gives = |kind: &Resource| view.canary_weights.get(kind).is_some_and(|weight| *weight > 0);
        self.since.retain(|kind, _| is_owed && gives(kind));
        let soon = if matches!(view.way_back, WayBack::Stepped(_)) { SOON + STEPS } else { SOON };
        for (kind, weight) in view.canary_weights.iter().filter(|(_, weight)| is_owed && **weight > 0) {
            let since = *self.since.entry(*kind).or_insert(now);
            let held = [None, Some(*kind)].into_iter().filter_map(|of| self.held_until.get(&of)).max();
            if now.duration_since(since.max(held.copied().unwrap_or(since))) > soon {
                return Err(format!(
                    "aborted; stable could bear everything since {since}, and the canary still gets {weight} from its {}",
                    kind.kind
                ));
            }
        }
        Ok(())
    }
}

fn is_owed(view: &View) -> bool {
    let bears = view.available(&view.stable) >= view.bears_all();
    let is_apart = view.canary_selects != view.stable_selects && view.stable != view.current;
    view.is_aborted && bears && is_apart
}
