//! A Prometheus that scrapes what the proxies have sent to each version, and sometimes does not answer.

use super::given::Given;
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
        /// Requests of all clients in a minute.
        per_minute: i64,
    },
    /// From what somebody has said that the metrics are.
    Given(Box<Given>),
}

impl Source {
    /// Requests of all clients in a minute; none where nobody counts them.
    pub fn per_minute(&self) -> i64 {
        match self {
            Self::Traffic { per_minute, .. } => *per_minute,
            Self::Given(_) => 0,
        }
    }
}

/// What clients see of a version.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// Its hash.
    pub hash: &'a str,
    /// Of a thousand requests it gets so many.
    pub share: i64,
    /// Of a hundred it fails so many.
    pub errors_percent: i64,
    /// How long one takes on average, in milliseconds; times are distributed exponentially.
    pub latency: i64,
}

/// Buckets of the histogram of latencies, by their upper bounds in milliseconds. What takes longer than the last is in none.
const BUCKETS: [i64; 8] = [25, 50, 100, 250, 500, 1_000, 2_500, 5_000];

/// A request, in the parts that are counted: thousandths of all requests, times milliseconds, times requests in a minute.
const REQUEST: i64 = 60_000_000;

/// Requests of a version since the beginning, in parts of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    all: i64,
    failed: i64,
    /// Those that took no longer than each bucket's bound.
    within: [i64; BUCKETS.len()],
}

impl Counts {
    fn add(&mut self, parts: i64, service: &Service<'_>) {
        self.all += parts;
        self.failed += parts / 100 * service.errors_percent;
        for (within, bound) in self.within.iter_mut().zip(BUCKETS) {
            *within += parts / 1_000 * thousandths_within(bound, service.latency);
        }
    }

    /// Whole requests that have come since.
    fn since(&self, first: &Self) -> Self {
        let whole = |last: i64, first: i64| last / REQUEST - first / REQUEST;
        let mut within = self.within;
        within.iter_mut().zip(first.within).for_each(|(last, first)| *last = whole(*last, first));
        Self { all: whole(self.all, first.all), failed: whole(self.failed, first.failed), within }
    }

    /// The 95th percentile in milliseconds, as `histogram_quantile` of Prometheus estimates it: within a bucket requests
    /// are taken to be spread evenly, and those above the last bound to take just as long as that.
    fn p95(&self) -> i64 {
        let (rank, mut below, mut bound_below) = (self.all * 95, 0, 0);
        for (within, bound) in self.within.into_iter().zip(BUCKETS) {
            if within * 100 >= rank && within > below {
                let of_bucket = (rank - below * 100) * (bound - bound_below) / ((within - below) * 100);
                return bound_below + of_bucket.max(0);
            }
            (below, bound_below) = (within, bound);
        }
        bound_below
    }
}

/// Of a thousand requests that take so long on average, exponentially distributed, those that take no longer than this.
fn thousandths_within(bound: i64, mean: i64) -> i64 {
    // 1000 · (1 − e^(−bound/mean)); e^(−x) as (1 − x/256)^256, which is near enough, and the same on every machine.
    let (mean, scale) = (mean.max(1), 1_000_000);
    let mut left = (scale - bound * scale / (mean * 256)).max(0);
    for _ in 0..8 {
        left = left * left / scale;
    }
    (scale - left) / 1_000
}

type Sample = BTreeMap<String, Counts>;

/// The metric provider.
#[derive(Debug)]
pub struct Metrics {
    interval: i64,
    window: i64,
    per_minute: i64,
    counts: Sample,
    samples: VecDeque<(Timestamp, Sample)>,
    next: Timestamp,
    outage: Option<(Timestamp, Timestamp, Outage)>,
}

/// How often pods are scraped when nobody looks, in milliseconds.
const NOTHING_TO_SCRAPE: i64 = 3_600_000;

impl Metrics {
    /// A provider that has seen nothing.
    pub fn new(source: &Source, now: Timestamp) -> Self {
        let (interval, window, per_minute) = match source {
            Source::Traffic { interval, window, per_minute } => (*interval, *window, *per_minute),
            Source::Given(_) => (NOTHING_TO_SCRAPE, NOTHING_TO_SCRAPE, 0),
        };
        let (counts, samples) = Default::default();
        Self { interval, window, per_minute, counts, samples, next: now, outage: None }
    }

    /// From now until then the provider fails.
    pub fn fail(&mut self, outage: Outage, until: Timestamp, now: Timestamp) {
        self.outage = Some((now, until, outage));
    }

    /// How it fails now.
    pub fn outage(&self, now: Timestamp) -> Option<Outage> {
        self.outage.filter(|(_, until, _)| *until > now).map(|(_, _, outage)| outage)
    }

    /// Requests flow from then until then. Pods are scraped by the clock, also while nothing else happens.
    pub fn count(&mut self, services: &[Service<'_>], since: Timestamp, until: Timestamp) {
        // Nobody asks for what is older than a window.
        self.next = self.next.max(plus(until, -2 * self.window));
        let mut from = since;
        while self.next < until {
            let at = self.next.max(from);
            self.add(services, from, at);
            self.advance(at);
            from = at;
        }
        self.add(services, from, until);
    }

    fn add(&mut self, services: &[Service<'_>], since: Timestamp, until: Timestamp) {
        let milliseconds = milliseconds(since, until);
        for service in services {
            let parts = service.share * milliseconds * self.per_minute;
            self.counts.entry(service.hash.to_owned()).or_default().add(parts, service);
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
    pub fn answer(&self, query: &HttpQuery, server: &Server, now: Timestamp) -> Reply {
        let true_at = |time| vector(self.value(query, server, time));
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

    fn value(&self, query: &HttpQuery, server: &Server, time: Timestamp) -> Option<String> {
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
            return Some(decimal(counts.p95()));
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
        Some(last.since(&first))
    }
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

    /// After ten minutes of one version that gets everything.
    fn after_ten_minutes(per_minute: i64, errors_percent: i64, latency: i64) -> Counts {
        let start = Timestamp::UNIX_EPOCH;
        let source = Source::Traffic { interval: 15_000, window: 30_000, per_minute };
        let mut metrics = Metrics::new(&source, start);
        metrics.advance(start);
        let end = plus(start, 600_000);
        metrics.count(&[Service { hash: "a", share: 1_000, errors_percent, latency }], start, end);
        metrics.advance(end);
        metrics.increase("a", end).unwrap_or_default()
    }

    #[test]
    fn it_scrapes_by_its_clock_while_nobody_looks() {
        assert_eq!(after_ten_minutes(12_000, 0, 80).all, 6_000);
    }

    #[test]
    fn of_few_requests_it_counts_whole_ones() {
        let counts = after_ten_minutes(6, 20, 80);
        // Of 60 requests 12 have failed, and of the first 57 eleven: whole ones.
        assert_eq!((counts.all, counts.failed), (3, 1));
    }

    #[test]
    fn a_percentile_is_near_that_of_the_distribution() {
        for mean in [20, 80, 300, 900, 1_500] {
            let (p95, exact) = (after_ten_minutes(12_000, 0, mean).p95(), mean * 2_996 / 1_000);
            assert!((p95 - exact).abs() * 100 <= exact * 25, "mean {mean}: {p95}, and it is {exact}");
        }
        assert_eq!(after_ten_minutes(12_000, 0, 9_000).p95(), 5_000, "above all bounds");
    }
}
