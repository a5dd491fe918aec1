//! A Prometheus that scrapes what the proxies have sent to each version, and sometimes does not answer.

use super::given::Given;
use super::pods::Health;
use super::server::{Server, text};
use super::{milliseconds, plus};
use crate::faults::Outage;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::resources::REPLICA_SETS;
use headgate_model::{HttpQuery, Reply};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Where answers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the requests that were sent.
    Traffic {
        /// Pods are scraped so often, in milliseconds.
        interval: i64,
        /// Rates are over so long, in milliseconds.
        window: i64,
    },
    /// From what somebody has said that the metrics are.
    Given(Box<Given>),
}

/// Requests of a version, in thousandths, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    all: i64,
    failed: i64,
}

type Sample = BTreeMap<String, Counts>;

/// The metric provider.
#[derive(Debug)]
pub struct Metrics {
    interval: i64,
    window: i64,
    counts: Sample,
    samples: VecDeque<(Timestamp, Sample)>,
    next: Timestamp,
    outage: Option<(Timestamp, Timestamp, Outage)>,
}

/// How often pods are scraped when nobody looks, in milliseconds.
const NOTHING_TO_SCRAPE: i64 = 3_600_000;
/// Requests in a second.
const RATE: i64 = 200;

impl Metrics {
    /// A provider that has seen nothing.
    pub fn new(source: &Source, now: Timestamp) -> Self {
        let (interval, window) = match source {
            Source::Traffic { interval, window } => (*interval, *window),
            Source::Given(_) => (NOTHING_TO_SCRAPE, NOTHING_TO_SCRAPE),
        };
        let (counts, samples) = Default::default();
        Self { interval, window, counts, samples, next: now, outage: None }
    }

    /// From now until then the provider fails.
    pub fn fail(&mut self, outage: Outage, until: Timestamp, now: Timestamp) {
        self.outage = Some((now, until, outage));
    }

    /// How it fails now.
    pub fn outage(&self, now: Timestamp) -> Option<Outage> {
        self.outage.filter(|(_, until, _)| *until > now).map(|(_, _, outage)| outage)
    }

    /// Requests flow from then until then: of a thousand so many to each version, by hash, of which so many in a hundred
    /// fail. Pods are scraped by the clock, also while nothing else happens.
    pub fn count(&mut self, shares: &[(&str, i64, i64)], since: Timestamp, until: Timestamp) {
        // Nobody asks for what is older than a window.
        self.next = self.next.max(plus(until, -2 * self.window));
        let mut from = since;
        while self.next < until {
            let at = self.next.max(from);
            self.add(shares, from, at);
            self.advance(at);
            from = at;
        }
        self.add(shares, from, until);
    }

    fn add(&mut self, shares: &[(&str, i64, i64)], since: Timestamp, until: Timestamp) {
        let milliseconds = milliseconds(since, until);
        for (hash, share, errors) in shares {
            let requests = share * milliseconds * RATE / 1_000;
            let counts = self.counts.entry((*hash).to_owned()).or_default();
            counts.all += requests;
            counts.failed += requests * errors / 100;
        }
    }

    /// Scrapes when it is time to.
    pub fn advance(&mut self, now: Timestamp) {
        if self.next > now {
            return;
        }
        self.next = plus(now, self.interval);
        self.samples.push_back((now, self.counts.clone()));
        while self.samples.front().is_some_and(|(time, _)| plus(*time, self.window * 8) < now) {
            self.samples.pop_front();
        }
    }

    /// The answer to a query that names the hash of a version.
    pub fn answer(
        &self,
        query: &HttpQuery,
        server: &Server,
        health: &BTreeMap<String, Health>,
        now: Timestamp,
    ) -> Reply {
        let true_at = |time| vector(self.value(query, server, health, time));
        match self.outage.filter(|(_, until, _)| *until > now) {
            None | Some((_, _, Outage::Slow)) => true_at(now),
            Some((since, _, Outage::Stale)) => true_at(since),
            Some((_, _, Outage::Empty)) => vector(None),
            Some((_, _, Outage::NotANumber)) => vector(Some("NaN".to_owned())),
            Some((_, _, Outage::WrongType)) => vector(Some("plenty".to_owned())),
            Some((_, _, Outage::Down)) => Reply::Failed("connection refused".to_owned()),
            Some((_, _, Outage::Unavailable)) => {
                Reply::Http { status: 503, body: "upstream is away".to_owned(), truncated: false }
            }
        }
    }

    fn value(
        &self,
        query: &HttpQuery,
        server: &Server,
        health: &BTreeMap<String, Health>,
        time: Timestamp,
    ) -> Option<String> {
        let label = format!("/metadata/labels/{POD_TEMPLATE_HASH}");
        let asked = |set: &Value| {
            let hash = text(set, &label);
            !hash.is_empty() && query.url.contains(hash)
        };
        let (_, set) = server.all(REPLICA_SETS).find(|(_, set)| asked(set))?;
        let counts = self.increase(text(set, &label), time)?;
        if counts.all == 0 {
            return Some("NaN".to_owned());
        }
        if query.url.contains("latency") {
            let mean = health.get(text(set, "/spec/template/spec/containers/0/image"))?.latency;
            return Some(decimal(p95_of_exponential(mean)));
        }
        Some(decimal((counts.all - counts.failed) * 1_000 / counts.all))
    }

    /// What has come within the window before `time`; `None` when the version was never scraped with a request.
    fn increase(&self, hash: &str, time: Timestamp) -> Option<Counts> {
        let scraped = self.samples.iter().rev().find(|(at, _)| *at <= time)?;
        let last = *scraped.1.get(hash)?;
        let begin = plus(time, -self.window);
        let first = self.samples.iter().find(|(at, _)| *at >= begin);
        let first = first.and_then(|(_, sample)| sample.get(hash)).copied().unwrap_or_default();
        Some(Counts { all: last.all - first.all, failed: last.failed - first.failed })
    }
}

/// The 95th percentile of an exponential distribution: its mean times ln 20.
fn p95_of_exponential(mean: i64) -> i64 {
    mean * 2_996 / 1_000
}

/// Thousandths as a decimal number.
fn decimal(thousandths: i64) -> String {
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

pub(super) fn vector(value: Option<String>) -> Reply {
    let series: Vec<_> =
        value.into_iter().map(|value| json!({ "metric": {}, "value": [0, value] })).collect();
    let body = json!({ "status": "success", "data": { "resultType": "vector", "result": series } });
    Reply::Http { status: 200, body: body.to_string(), truncated: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_scrapes_by_its_clock_while_nobody_looks() {
        let start = Timestamp::UNIX_EPOCH;
        let mut metrics = Metrics::new(&Source::Traffic { interval: 15_000, window: 30_000 }, start);
        metrics.advance(start);
        let end = plus(start, 600_000);
        metrics.count(&[("a", 1_000, 0)], start, end);
        metrics.advance(end);
        assert!(metrics.increase("a", end).is_some_and(|counts| counts.all > 0));
    }
}
