//! Two processes that lead at once: one gives requests to pods that the other has just taken, or takes pods to which the other
//! has just given requests, and cannot know yet. No fence holds a route against a ReplicaSet, so what is lost by that is forced.

use super::view::hash_of;
use super::{View, Write};
use crate::world::routes::is_route;
use crate::world::server::number;
use headgate_driver::resources::REPLICA_SETS;
use jiff::{SignedDuration, Timestamp};

/// Nothing is known so late.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_secs(300);
/// Between a decision and its last effect lie so many seconds at most, unless an answer is late.
const CARRIED_OUT_WITHIN: SignedDuration = SignedDuration::from_secs(1);

/// What processes have done to versions lately.
#[derive(Debug, Default)]
pub(super) struct Crossing {
    /// Pods were taken.
    taken: Vec<Act>,
    /// Requests were given.
    given: Vec<Act>,
}

#[derive(Debug)]
struct Act {
    at: Timestamp,
    by: u32,
    /// To pods of this version.
    version: String,
}

impl Crossing {
    /// A write. True when it gives a version more, or takes pods of it, although another process has done the other of which this
    /// one had not been told.
    pub(super) fn written(&mut self, write: &Write<'_>, view: Option<&View>, now: Timestamp) -> bool {
        for acts in [&mut self.taken, &mut self.given] {
            acts.retain(|act| now.duration_since(act.at) <= FORGOTTEN_AFTER);
        }
        let Some(by) = write.process else { return false };
        let decided_at = write.known_until.saturating_sub(CARRIED_OUT_WITHIN).unwrap_or(now);
        let (version, own, others) = match (shrinks(write), view.and_then(|view| gives_more(write, view))) {
            (Some(version), _) => (version, &mut self.taken, &self.given),
            (None, Some(version)) => (version, &mut self.given, &self.taken),
            (None, None) => return false,
        };
        let crosses = |act: &Act| act.by != by && act.at > decided_at && act.version == version;
        let has_crossed = others.iter().any(crosses);
        own.push(Act { at: now, by, version });
        has_crossed
    }
}

/// The version whose ReplicaSet is to have fewer pods.
fn shrinks(write: &Write<'_>) -> Option<String> {
    let before = write.before.filter(|_| write.target.resource == REPLICA_SETS)?;
    let left = write.after.map_or(0, |after| number(after, "/spec/replicas"));
    (left < number(before, "/spec/replicas")).then(|| hash_of(before).to_owned())
}

/// The version that a route gives more to.
fn gives_more(write: &Write<'_>, view: &View) -> Option<String> {
    if !is_route(write.target.resource) {
        return None;
    }
    let shares = |object| view.names.canary_shares(write.target, object);
    let (before, after) = shares(write.before).zip(shares(write.after))?;
    if after.1 > before.1 {
        view.canary_selects.clone()
    } else if after.0 < before.0 {
        view.stable_selects.clone()
    } else {
        None
    }
}
