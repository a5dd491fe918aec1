//! Two processes that lead at once: one gives requests to pods that the other has just taken, and cannot know yet. No fence
//! holds a route against a ReplicaSet, so what is lost by that is forced.

use super::{Names, Write};
use crate::world::routes::is_route;
use crate::world::server::number;
use headgate_driver::resources::REPLICA_SETS;
use jiff::{SignedDuration, Timestamp};
use std::collections::VecDeque;

/// Nothing is known so late.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_secs(300);

/// When pods were taken, and by which process.
#[derive(Debug, Default)]
pub(super) struct Shrunk(VecDeque<(Timestamp, u32)>);

impl Shrunk {
    /// A write, decided on what was known since then. True when it gives a version more although another process has taken
    /// pods of which this one had not been told.
    pub(super) fn written(
        &mut self,
        write: &Write<'_>,
        names: Option<&Names>,
        since: Timestamp,
        now: Timestamp,
    ) -> bool {
        self.0.retain(|(at, _)| now.duration_since(*at) <= FORGOTTEN_AFTER);
        let Some(process) = write.process else { return false };
        if write.target.resource == REPLICA_SETS {
            let replicas =
                |set: Option<&serde_json::Value>| set.map_or(0, |set| number(set, "/spec/replicas"));
            if replicas(write.after) < replicas(write.before) {
                self.0.push_back((now, process));
            }
            return false;
        }
        let shares = |object| Some(names?.canary_shares(write.target, object)?.1);
        is_route(write.target.resource)
            && shares(write.after) > shares(write.before)
            && self.0.iter().any(|(at, other)| *other != process && *at > since)
    }
}
