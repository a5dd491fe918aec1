//! When which task is due. Events make tasks due at once, in the order of the events; deadlines later.

use crate::outbox::TaskKey;
use headgate_model::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One slot a task and kind of wake-up: a wake-up is an upper bound on silence, recomputed every time.
#[derive(Debug, Default)]
pub(crate) struct WakeQueue {
    due: VecDeque<TaskKey>,
    is_due: BTreeSet<TaskKey>,
    by_time: BTreeSet<(Timestamp, TaskKey)>,
    at: BTreeMap<TaskKey, Timestamp>,
}

impl WakeQueue {
    /// The task is due now.
    pub(crate) fn now(&mut self, key: &TaskKey) {
        if self.is_due.insert(key.clone()) {
            self.due.push_back(key.clone());
        }
    }

    /// The task is due at this time, whatever was said before; `None`: only when something happens.
    pub(crate) fn at(&mut self, key: &TaskKey, time: Option<Timestamp>) {
        if let Some(before) = self.at.remove(key) {
            self.by_time.remove(&(before, key.clone()));
        }
        if let Some(time) = time {
            self.at.insert(key.clone(), time);
            self.by_time.insert((time, key.clone()));
        }
    }

    /// The task is gone.
    pub(crate) fn forget(&mut self, key: &TaskKey) {
        self.at(key, None);
        if self.is_due.remove(key) {
            // Who does not lead takes nothing from it.
            self.due.retain(|due| due != key);
        }
    }

    /// The next task that is due, if any.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<TaskKey> {
        while let Some((_, key)) = self.by_time.first().filter(|(time, _)| *time <= now).cloned() {
            self.at(&key, None);
            self.now(&key);
        }
        loop {
            let key = self.due.pop_front()?;
            if self.is_due.remove(&key) {
                return Some(key);
            }
        }
    }

    /// Whether a task is due at once.
    pub(crate) fn is_any_due(&self) -> bool {
        !self.is_due.is_empty()
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(time, _)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_leaves_nothing_behind_although_nobody_takes_anything() {
        let mut queue = WakeQueue::default();
        for index in 0..100 {
            let key = TaskKey::Run((String::new(), format!("run-{index}")));
            queue.now(&key);
            queue.at(&key, Some(Timestamp::UNIX_EPOCH));
            queue.forget(&key);
        }
        assert!(
            queue.due.is_empty()
                && queue.is_due.is_empty()
                && queue.by_time.is_empty()
                && queue.at.is_empty()
        );
    }
}
