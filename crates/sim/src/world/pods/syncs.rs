//! Which ReplicaSets their controller looks at next, and when: its work queue.

use headgate_driver::io::ObjectRef;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Each ReplicaSet waits at most once.
#[derive(Default)]
pub(super) struct Syncs(BTreeMap<ObjectRef, Timestamp>);

impl Syncs {
    /// It is looked at by then. A look that is far off, for pods that are not available yet, holds up no earlier one.
    pub(super) fn by(&mut self, set: &ObjectRef, due: Timestamp) {
        match self.0.get_mut(set) {
            Some(time) => *time = due.min(*time),
            None => {
                self.0.insert(set.clone(), due);
            }
        }
    }

    /// One that is due, which no longer waits then.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<ObjectRef> {
        let set = self.0.iter().find(|(_, due)| **due <= now).map(|(set, _)| set.clone())?;
        self.0.remove(&set);
        Some(set)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.values().min().copied()
    }
}
