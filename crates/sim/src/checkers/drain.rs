//! Rule 2, its time: pods go only when their version has had no more than its present share for the drain time.

use super::clocks::Clocks;
use super::view::Set;
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
    /// By version: its share and those before it was lowered, the present one last.
    of: BTreeMap<String, Vec<Held>>,
    /// Versions whose release was aborted: another delay holds for them.
    aborted: BTreeSet<String>,
    /// When somebody else has written weights last.
    edited_at: Option<Timestamp>,
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

    /// A write; `views` are those that the process may have decided on. When the longest drain has passed by two clocks, nothing
    /// is left that they could differ about.
    pub(super) fn check(
        &self,
        write: &Write<'_>,
        views: &[&View],
        clocks: &Clocks,
        now: Timestamp,
    ) -> Result<(), String> {
        let may_differ = clocks.may_differ(write.sent_at, SignedDuration::from_secs(self.longest));
        let Some((view, set, to)) = shrunk(write, views).filter(|_| !may_differ) else { return Ok(()) };
        let held = self.of.get(&set.hash).map_or(&[][..], Vec::as_slice);
        let Some(last) = held.last() else { return Ok(()) };
        // What was decided before somebody else lowered the share is under way.
        if self.edited_at == Some(last.since) && now.duration_since(last.since) < ROUNDED {
            return Ok(());
        }
        let is_aborted = self.aborted.contains(&set.hash);
        let abort_drain = if is_aborted { view.abort_drain } else { i64::MAX };
        let least = views.iter().map(|view| view.drain_at_least(&set.hash)).fold(abort_drain, i64::min);
        let delay = |held: &Held| held.drain.min(least);
        let is_over = |held: &Held, until: Timestamp| {
            until.duration_since(held.since).saturating_add(ROUNDED) >= SignedDuration::from_secs(delay(held))
        };
        // What was lowered only after the request was sent, or unknown to its process, does not count: it was right until then.
        let seen = write.known_until.min(write.sent_at);
        let was_over =
            held.array_windows().any(|[held, next]| next.since > seen && is_over(held, next.since));
        // Those that are left may bear each share that it had within that time.
        let bears = |since: usize| {
            let most = held.iter().skip(since).map(|held| held.share).max().unwrap_or(0);
            to >= view.needed(most)
        };
        let is_borne = held.iter().enumerate().any(|(index, held)| is_over(held, now) && bears(index));
        if was_over || is_over(last, now) || is_borne {
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

/// The ReplicaSet from which a write takes pods that serve, as its process may have known it last, and how many it leaves.
fn shrunk<'a>(write: &Write<'_>, views: &[&'a View]) -> Option<(&'a View, &'a Set, i64)> {
    let (REPLICA_SETS, Some(before)) = (write.target.resource, write.before) else { return None };
    let to = write.after.map_or(0, |after| number(after, "/spec/replicas"));
    let view = views.first()?;
    let set = view.set(&write.target.name).filter(|set| set.available > 0)?;
    // Somebody else's surplus may go at once.
    let takes_nothing = to >= set.available || to >= view.desired || to >= number(before, "/spec/replicas");
    let is_free = takes_nothing || views.iter().any(|view| view.lets_pods_go());
    (!is_free).then_some((view, set, to))
}
