//! Rule 2, its time: pods go only when their version has had no more than its present share for the drain time.

use super::{View, Write};
use crate::world::server::number;
use headgate_driver::resources::REPLICA_SETS;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Times are stored in whole seconds.
const ROUNDED: SignedDuration = SignedDuration::from_secs(2);

/// The share of each version, and since when it has had no more.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// By version: its share, since when it has had no more, and the shortest drain time that was asked for since: a user
    /// who asks for more does not put off what has its time already.
    of: BTreeMap<String, (i64, Timestamp, i64)>,
    /// By version: what ended when its share was lowered again: since when, until when, and the drain time.
    before: BTreeMap<String, Vec<(Timestamp, Timestamp, i64)>>,
    /// Versions whose release was aborted: another delay holds for them.
    aborted: BTreeSet<String>,
    /// When somebody else has written weights last.
    edited_at: Option<Timestamp>,
    /// A clock was set: what processes call so long ago is not known any more.
    clocks_differ: bool,
}

impl Shares {
    /// Looks at the world as it is from now on.
    pub(super) fn look(&mut self, view: &View, now: Timestamp) {
        if view.canary_weight.is_none() {
            return;
        }
        if view.is_aborted {
            self.aborted.insert(view.current.clone());
        }
        // A ReplicaSet that is made again has pods that never had the share of those before.
        self.of.retain(|hash, _| view.sets.iter().any(|set| set.hash == *hash));
        self.before.retain(|hash, _| view.sets.iter().any(|set| set.hash == *hash));
        for set in &view.sets {
            let given = view.given(&set.hash);
            let known = self.of.entry(set.hash.clone()).or_insert((given, Timestamp::MIN, view.drain));
            let is_lower = given < known.0;
            if is_lower {
                self.before.entry(set.hash.clone()).or_default().push((known.1, now, known.2));
            }
            let (since, drain) =
                if is_lower { (now, view.drain) } else { (known.1, known.2.min(view.drain)) };
            *known = (given, since, drain);
        }
    }

    /// Somebody else writes weights now.
    pub(super) fn edited(&mut self, now: Timestamp) {
        self.edited_at = Some(now);
    }

    /// A clock was set.
    pub(super) fn clock_set(&mut self) {
        self.clocks_differ = true;
    }

    /// A write; `views` are those that the process may have decided on.
    pub(super) fn check(&self, write: &Write<'_>, views: &[&View], now: Timestamp) -> Result<(), String> {
        let (REPLICA_SETS, Some(before), false) = (write.target.resource, write.before, self.clocks_differ)
        else {
            return Ok(());
        };
        let to = write.after.map_or(0, |after| number(after, "/spec/replicas"));
        let is_exempt =
            |view: &&View| view.canary_weight.is_none() || view.desired == 0 || view.is_scaled_by_user();
        let Some(view) = views.first() else { return Ok(()) };
        let Some(set) = view.set(&write.target.name).filter(|set| set.available > 0) else { return Ok(()) };
        // Somebody else's surplus may go at once.
        let takes_nothing = to >= set.available || to >= view.desired;
        if takes_nothing || to >= number(before, "/spec/replicas") || views.iter().any(is_exempt) {
            return Ok(());
        }
        let Some((_, since, drain)) = self.of.get(&set.hash) else { return Ok(()) };
        // What was decided before somebody else lowered the share is under way.
        if self.edited_at == Some(*since) && now.duration_since(*since) < ROUNDED {
            return Ok(());
        }
        let is_aborted = self.aborted.contains(&set.hash);
        let delay_of = |drain: i64| {
            let delay = if is_aborted { drain.min(view.abort_drain) } else { drain };
            views.iter().map(|view| view.drain_at_least(&set.hash)).fold(delay, i64::min)
        };
        let is_over = |drained: SignedDuration, delay: i64| {
            drained.saturating_add(ROUNDED) >= SignedDuration::from_secs(delay)
        };
        let (drained, delay) = (now.duration_since(*since), delay_of(*drain));
        // What was lowered only after the request was sent does not count: it was right until then.
        let mut earlier = self.before.get(&set.hash).into_iter().flatten();
        let was_over = earlier.any(|(since, until, drain)| {
            *until > write.sent_at && is_over(until.duration_since(*since), delay_of(*drain))
        });
        if was_over || is_over(drained, delay) {
            return Ok(());
        }
        Err(format!(
            "{} goes to {to} pods {} s after its share was lowered; {delay} s are to pass",
            set.name,
            drained.as_secs()
        ))
    }
}
