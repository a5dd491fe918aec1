//! Two processes that lead at once: one gives requests to pods that the other has just taken, and cannot know yet. No fence
//! holds a route against a ReplicaSet, so what is lost by that is forced.

use super::view::hash_of;
use super::{View, Write};
use crate::world::routes::is_route;
use crate::world::server::number;
use headgate_driver::resources::REPLICA_SETS;
use jiff::{SignedDuration, Timestamp};
use std::collections::VecDeque;

/// Nothing is known so late.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_secs(300);
/// Between a decision and its last effect lie so many seconds at most, unless an answer is late.
const CARRIED_OUT_WITHIN: SignedDuration = SignedDuration::from_secs(1);

/// Pods that a process has taken.
#[derive(Debug, Default)]
pub(super) struct Shrunk(VecDeque<Taken>);

#[derive(Debug)]
struct Taken {
    at: Timestamp,
    by: u32,
    /// The version.
    of: String,
}

impl Shrunk {
    /// A write. True when it gives a version more although another process has taken pods of it of which this one had not
    /// been told.
    pub(super) fn written(&mut self, write: &Write<'_>, view: Option<&View>, now: Timestamp) -> bool {
        self.0.retain(|taken| now.duration_since(taken.at) <= FORGOTTEN_AFTER);
        let Some(process) = write.process else { return false };
        if let (REPLICA_SETS, Some(before)) = (write.target.resource, write.before) {
            let left = write.after.map_or(0, |after| number(after, "/spec/replicas"));
            if left < number(before, "/spec/replicas") {
                self.0.push_back(Taken { at: now, by: process, of: hash_of(before).to_owned() });
            }
            return false;
        }
        let Some(view) = view.filter(|_| is_route(write.target.resource)) else { return false };
        let shares = |object| view.names.canary_shares(write.target, object);
        let gets_more = match (shares(write.before), shares(write.after)) {
            (Some((_, before)), Some((_, after))) if after > before => &view.canary_selects,
            (Some((before, _)), Some((after, _))) if after < before => &view.stable_selects,
            _ => return false,
        };
        let decided_at = write.known_until.saturating_sub(CARRIED_OUT_WITHIN).unwrap_or(now);
        self.0.iter().any(|taken| {
            taken.by != process && taken.at > decided_at && Some(&taken.of) == gets_more.as_ref()
        })
    }
}
