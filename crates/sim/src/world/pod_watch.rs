//! The watch of pods of one process: a list of what there is when it starts, then each change in order and late.
//!
//! It is apart from the other watches, and pods are apart from the other objects, so that a world in which pods are well goes
//! on just as it would if nobody looked at them.

use super::kubelet::Record;
use super::plus;
use super::server::text;
use crate::random::Random;
use headgate_driver::io::Observation;
use headgate_driver::resources::PODS;
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// See above.
pub struct PodWatch {
    queue: VecDeque<(Timestamp, Observation)>,
    /// Changes that were taken up; `None` before the list.
    seen: Option<usize>,
    /// Until then each change takes this many milliseconds more.
    slow: Option<(Timestamp, i64)>,
    /// Broken off until then.
    broken_until: Option<Timestamp>,
    delays: Random,
    delay_max: i64,
}

impl PodWatch {
    /// A watch that begins with a list.
    pub fn new(delays: Random, delay_max: i64) -> Self {
        Self { queue: VecDeque::new(), seen: None, slow: None, broken_until: None, delays, delay_max }
    }

    /// From now on changes take longer.
    pub fn slow_down(&mut self, until: Timestamp, milliseconds: i64) {
        self.slow = Some((until, milliseconds));
    }

    /// The watch breaks off; what was on its way is lost, and a list follows.
    pub fn break_off(&mut self, until: Timestamp) {
        self.queue.clear();
        (self.seen, self.broken_until) = (None, Some(until));
    }

    /// What is delivered by now.
    pub fn deliver(&mut self, record: &Record, now: Timestamp) -> Vec<Observation> {
        if self.broken_until.is_some_and(|until| until > now) {
            return Vec::new();
        }
        self.broken_until = None;
        let seen = self.seen.unwrap_or_else(|| self.list(record, now));
        for (published, change) in record.changes().iter().skip(seen) {
            let slow = self.slow.filter(|(until, _)| published < until).map_or(0, |(_, slow)| slow);
            let due = plus(*published, self.delays.between(1, self.delay_max.max(1)) + slow);
            let due = self.queue.back().map_or(due, |(last, _)| due.max(*last));
            self.queue.push_back((due, change.clone()));
        }
        self.seen = Some(record.changes().len());
        let mut delivered = Vec::new();
        while self.queue.front().is_some_and(|(due, _)| *due <= now) {
            delivered.extend(self.queue.pop_front().map(|(_, observation)| observation));
        }
        delivered
    }

    fn list(&mut self, record: &Record, now: Timestamp) -> usize {
        let mut pods = BTreeMap::new();
        for (_, change) in record.changes() {
            match change {
                Observation::Applied(_, pod) => pods.insert(text(pod, "/metadata/name"), pod),
                Observation::Deleted(_, pod) => pods.remove(text(pod, "/metadata/name")),
                _ => None,
            };
        }
        let listed = pods.into_values().map(|pod| Observation::Listed(PODS, pod.clone()));
        let list =
            [Observation::ListStarted(PODS)].into_iter().chain(listed).chain([Observation::Synced(PODS)]);
        self.queue.extend(list.map(|observation| (now, observation)));
        record.changes().len()
    }

    /// When something is delivered next.
    pub fn next(&self) -> Option<Timestamp> {
        self.broken_until.or_else(|| self.queue.front().map(|(due, _)| *due))
    }
}
