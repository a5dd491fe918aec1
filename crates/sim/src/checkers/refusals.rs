//! When records could not be written: then what only adds goes out without one (R5), and nothing says its name.

use super::Write;
use headgate_driver::io::{Call, Reply};
use headgate_driver::resources::ROLLOUTS;
use headgate_model::Timestamp;
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// For so long after a refusal the next attempt is awaited, and what was done meanwhile may be told.
const LATELY: SignedDuration = SignedDuration::from_secs(180);

/// So many conflicts in a row are a refusal: after the first one the process looks and writes again at once.
const CONFLICTS: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Refusals {
    last: Option<Timestamp>,
    /// How often the last records of a process have been overtaken.
    conflicts: BTreeMap<u32, u32>,
    /// Processes whose last record is not stored, as far as they know, from these times on.
    unrecorded: BTreeMap<u32, Timestamp>,
}

impl Refusals {
    /// The answer to a request reaches the process at this time.
    pub(super) fn answered(&mut self, process: u32, call: &Call, reply: &Reply, arrives: Timestamp) {
        let Call::Patch { target, status: true, .. } = call else { return };
        if target.resource != ROLLOUTS {
            return;
        }
        match reply {
            Reply::Refused { code: 409, .. } => {
                let conflicts = self.conflicts.entry(process).or_default();
                *conflicts += 1;
                if *conflicts < CONFLICTS {
                    return;
                }
            }
            Reply::Refused { .. } | Reply::Lost(_) => {}
            _ => {
                self.conflicts.remove(&process);
                self.unrecorded.remove(&process);
                return;
            }
        }
        self.last = Some(arrives);
        self.unrecorded.insert(process, arrives);
    }

    /// True when the process of a write knew that its last record is not stored.
    pub(super) fn is_unrecorded(&self, write: &Write<'_>) -> bool {
        let since = write.process.and_then(|process| self.unrecorded.get(&process));
        since.is_some_and(|since| *since <= write.sent_at)
    }

    pub(super) fn are_recent(&self, now: Timestamp) -> bool {
        self.last.is_some_and(|at| now.duration_since(at) < LATELY)
    }
}
