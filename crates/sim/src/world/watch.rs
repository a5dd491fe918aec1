//! Watch streams of one process: each kind has its own, in order, late, and sometimes broken off.

use super::plus;
use super::server::{Change, Server};
use crate::random::Random;
use headgate_driver::io::{Observation, Resource};
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};

struct Delivery {
    due: Timestamp,
    published: Timestamp,
    observation: Observation,
}

struct Stream {
    queue: VecDeque<Delivery>,
    /// Until then each event takes this many milliseconds more.
    slow: Option<(Timestamp, i64)>,
    /// Broken off; a new list comes then. The time at which it broke, the time of the list, and how many changes
    /// the list lags behind.
    broken: Option<Broken>,
    /// The kind does not exist.
    is_absent: bool,
}

struct Broken {
    since: Timestamp,
    until: Timestamp,
    lag: usize,
}

/// The streams of one process.
pub struct Watches {
    streams: BTreeMap<Resource, Stream>,
    /// Changes of the history that were taken up.
    seen: usize,
    delays: Random,
    /// The longest usual delay of an event, in milliseconds.
    delay_max: i64,
}

impl Watches {
    /// Streams that begin with lists as of `lag` changes ago.
    pub fn new(resources: &[Resource], lag: usize, delays: Random, delay_max: i64, now: Timestamp) -> Self {
        let stream = || Stream {
            queue: VecDeque::new(),
            slow: None,
            broken: Some(Broken { since: now, until: now, lag }),
            is_absent: false,
        };
        Self {
            streams: resources.iter().map(|resource| (*resource, stream())).collect(),
            seen: 0,
            delays,
            delay_max,
        }
    }

    /// From now on events of this kind take longer.
    pub fn slow_down(&mut self, resource: Resource, until: Timestamp, milliseconds: i64) {
        if let Some(stream) = self.streams.get_mut(&resource) {
            stream.slow = Some((until, milliseconds));
        }
    }

    /// The stream of this kind breaks off; what was on its way is lost, and a list follows.
    pub fn break_off(&mut self, resource: Resource, until: Timestamp, lag: usize, now: Timestamp) {
        if let Some(stream) = self.streams.get_mut(&resource).filter(|stream| !stream.is_absent) {
            let since = stream.queue.front().map_or(now, |first| first.published);
            stream.queue.clear();
            stream.broken = Some(Broken { since, until, lag });
        }
    }

    /// The kind is no more: the stream says so, and is silent until its CRD is there again.
    pub fn uninstall(&mut self, resource: Resource, server: &Server, now: Timestamp) {
        self.take_up(server);
        if let Some(stream) = self.streams.get_mut(&resource) {
            let due = stream.queue.back().map_or(now, |last| last.due.max(now));
            let observation = Observation::NotInstalled(resource);
            stream.queue.push_back(Delivery { due, published: now, observation });
            stream.is_absent = true;
        }
    }

    /// The kind is there again: a list follows.
    pub fn install(&mut self, resource: Resource, until: Timestamp, now: Timestamp) {
        if let Some(stream) = self.streams.get_mut(&resource) {
            stream.is_absent = false;
            stream.broken = Some(Broken { since: now, until, lag: 0 });
        }
    }

    /// What is delivered by now.
    pub fn deliver(&mut self, server: &Server, now: Timestamp) -> Vec<Observation> {
        self.take_up(server);
        let mut delivered = Vec::new();
        for (resource, stream) in &mut self.streams {
            if !stream.is_absent && stream.broken.as_ref().is_some_and(|broken| broken.until <= now) {
                stream.list(*resource, server, now);
            }
            while stream.queue.front().is_some_and(|first| first.due <= now) {
                delivered.extend(stream.queue.pop_front().map(|delivery| delivery.observation));
            }
        }
        delivered
    }

    fn take_up(&mut self, server: &Server) {
        for (published, change) in server.history().iter().skip(self.seen) {
            let (Change::Applied(resource, _) | Change::Deleted(resource, _)) = change;
            let delay = self.delays.between(1, self.delay_max.max(1));
            if let Some(stream) = self.streams.get_mut(resource)
                && stream.broken.is_none()
                && !stream.is_absent
            {
                stream.push(*published, change, delay);
            }
        }
        self.seen = server.history().len();
    }

    /// Everything that was published before this time has been delivered.
    pub fn knows_until(&self, now: Timestamp) -> Timestamp {
        let times = self.streams.values().map(|stream| match (&stream.broken, stream.queue.front()) {
            (Some(broken), _) if !stream.is_absent => broken.since,
            (_, Some(first)) => first.published,
            (_, None) => now,
        });
        times.min().unwrap_or(now)
    }

    /// When something is delivered next.
    pub fn next(&self) -> Option<Timestamp> {
        let times = self.streams.values().filter_map(|stream| match (&stream.broken, stream.queue.front()) {
            (Some(broken), _) if !stream.is_absent => Some(broken.until),
            (_, first) => first.map(|first| first.due),
        });
        times.min()
    }
}

impl Stream {
    fn push(&mut self, published: Timestamp, change: &Change, delay: i64) {
        let slow =
            self.slow.filter(|(until, _)| published < *until).map_or(0, |(_, milliseconds)| milliseconds);
        let due = plus(published, delay + slow);
        let due = self.queue.back().map_or(due, |last| last.due.max(due));
        let observation = match change.clone() {
            Change::Applied(resource, object) => Observation::Applied(resource, object),
            Change::Deleted(resource, object) => Observation::Deleted(resource, object),
        };
        self.queue.push_back(Delivery { due, published, observation });
    }

    fn list(&mut self, resource: Resource, server: &Server, now: Timestamp) {
        let lag = self.broken.take().map_or(0, |broken| broken.lag);
        let listed = server.history().len().saturating_sub(lag);
        let as_of = server.history().get(listed).map_or(now, |(published, _)| *published);
        let mut push = |observation| {
            self.queue.push_back(Delivery { due: now, published: as_of, observation });
        };
        push(Observation::ListStarted(resource));
        for object in server.as_of(resource, listed) {
            push(Observation::Listed(resource, object));
        }
        push(Observation::Synced(resource));
        for (published, change) in server.history().iter().skip(listed) {
            let (Change::Applied(kind, _) | Change::Deleted(kind, _)) = change;
            if *kind == resource {
                self.push(*published, change, 500 + now.duration_since(*published).as_millis() as i64);
            }
        }
    }
}
