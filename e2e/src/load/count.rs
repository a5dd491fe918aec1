//! What is counted, in all and over the last seconds.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::binomial::within_binomial;
use super::latency::Latency;

/// The key of answers without the header `x-version`, which no release gave.
pub const UNVERSIONED: &str = "(none)";

/// The key of versions beyond the first [`MOST_VERSIONS`].
const OTHER_VERSIONS: &str = "(other)";
const MOST_VERSIONS: usize = 64;
const MOST_LOST_KEPT: usize = 20;
const SLICE: Duration = Duration::from_millis(100);
/// Five minutes.
const MOST_SLICES: usize = 3000;

/// What became of the requests: `sent` = `answered` + `lost` + those in flight.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Requests begun, each once, retried or not.
    pub sent: u64,
    /// Requests that the app answered, its own errors included, and anything else below 500.
    pub answered: u64,
    /// Connection errors, timeouts, and 5xx that the app did not send.
    pub lost: u64,
    /// Answers 5xx with the header `x-app-error`.
    pub app_errors: u64,
    /// Requests sent a second time because a kept connection was closed before it gave any answer.
    pub retried: u64,
    /// The answered ones by `x-version`; see [`UNVERSIONED`].
    pub by_version: BTreeMap<String, VersionCounts>,
    /// All responses by status, those that count as lost included.
    pub by_status: BTreeMap<u16, u64>,
    /// The worst delay between when a request was due and when this process got round to sending it.
    /// If large, the machine was short of CPU, and the run says little about the app.
    #[serde(rename = "maxLatenessMilliseconds", serialize_with = "as_milliseconds")]
    pub max_lateness: Duration,
}

/// What one version answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionCounts {
    /// Its answers, errors included.
    pub answered: u64,
    /// Its answers that were errors of the app.
    pub app_errors: u64,
    /// From when a request was due to the last byte of its answer.
    pub latency: Latency,
}

/// A request that was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// When that was known.
    pub at: Timestamp,
    /// How.
    pub cause: LostCause,
}

/// How a request was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LostCause {
    /// No connection, or one that ended before the whole answer came.
    Connection(String),
    /// No whole answer in time.
    Timeout,
    /// A 5xx without `x-app-error`: somebody else's.
    Status(u16),
}

impl fmt::Display for LostCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LostCause::Connection(error) => write!(f, "connection: {error}"),
            LostCause::Timeout => write!(f, "timeout"),
            LostCause::Status(status) => write!(f, "{status} that the app did not send"),
        }
    }
}

/// A whole response, whoever sent it.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) version: Option<String>,
    pub(super) app_error: bool,
}

/// What happens to a request.
pub(super) enum Event {
    Sent,
    Started { lateness: Duration },
    Retried,
    Responded { response: Response, latency: Duration },
    Failed(LostCause),
}

impl Counts {
    /// How many requests this version answered.
    pub fn answered_by(&self, version: &str) -> u64 {
        self.by_version.get(version).map_or(0, |counts| counts.answered)
    }

    /// The share of the answered requests that this version answered, 0 to 1; 0 when there were none.
    pub fn share(&self, version: &str) -> f64 {
        self.answered_by(version) as f64 / self.answered.max(1) as f64
    }

    /// Whether the version's share is compatible with `expected`; see [`within_binomial`].
    pub fn share_fits(&self, version: &str, expected: f64, false_alarm: f64) -> bool {
        within_binomial(self.answered_by(version), self.answered, expected, false_alarm)
    }

    fn add(&mut self, event: &Event) {
        match event {
            Event::Sent => self.sent += 1,
            Event::Started { lateness } => self.max_lateness = self.max_lateness.max(*lateness),
            Event::Retried => self.retried += 1,
            Event::Responded { response, latency } => self.add_response(response, *latency),
            Event::Failed(_) => self.lost += 1,
        }
    }

    fn add_response(&mut self, response: &Response, latency: Duration) {
        *self.by_status.entry(response.status).or_default() += 1;
        if response.lost().is_some() {
            self.lost += 1;
            return;
        }
        let app_errors = u64::from(response.app_error);
        self.answered += 1;
        self.app_errors += app_errors;
        let version = self.version(response.version.as_deref().unwrap_or(UNVERSIONED));
        version.answered += 1;
        version.app_errors += app_errors;
        version.latency.record(latency);
    }

    fn version(&mut self, name: &str) -> &mut VersionCounts {
        let full = self.by_version.len() >= MOST_VERSIONS && !self.by_version.contains_key(name);
        self.by_version.entry(if full { OTHER_VERSIONS } else { name }.to_owned()).or_default()
    }

    fn merge(&mut self, other: &Counts) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.lost += other.lost;
        self.app_errors += other.app_errors;
        self.retried += other.retried;
        self.max_lateness = self.max_lateness.max(other.max_lateness);
        for (status, count) in &other.by_status {
            *self.by_status.entry(*status).or_default() += count;
        }
        for (name, counts) in &other.by_version {
            let version = self.version(name);
            version.answered += counts.answered;
            version.app_errors += counts.app_errors;
            version.latency.merge(&counts.latency);
        }
    }
}

impl VersionCounts {
    /// The share of its answers that were no errors, 0 to 1; 1 when there were none.
    pub fn success_rate(&self) -> f64 {
        1.0 - self.app_errors as f64 / self.answered.max(1) as f64
    }
}

impl Response {
    /// Why it counts as a lost request, if it does.
    fn lost(&self) -> Option<LostCause> {
        (self.status >= 500 && !self.app_error).then_some(LostCause::Status(self.status))
    }
}

/// All counts of a run; its memory does not grow with time.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) total: Counts,
    pub(super) first_lost: Vec<Lost>,
    /// By number of the slice of time since the start; only those in which something happened.
    slices: VecDeque<(u128, Counts)>,
}

impl Tally {
    /// Counts what happened `at` after the start; `now` is the same moment as a time of day.
    pub(super) fn record(&mut self, event: &Event, at: Duration, now: Timestamp) {
        self.total.add(event);
        self.add_to_slice(event, at);
        let cause = match event {
            Event::Failed(cause) => Some(cause.clone()),
            Event::Responded { response, .. } => response.lost(),
            Event::Sent | Event::Started { .. } | Event::Retried => None,
        };
        if let Some(cause) = cause
            && self.first_lost.len() < MOST_LOST_KEPT
        {
            self.first_lost.push(Lost { at: now, cause });
        }
    }

    /// What happened in the last `length` before `at`; the slice in which that begins is left out.
    pub(super) fn window(&self, length: Duration, at: Duration) -> Counts {
        let first = at.saturating_sub(length).as_nanos().div_ceil(SLICE.as_nanos());
        let mut window = Counts::default();
        for (_, counts) in self.slices.iter().rev().take_while(|(number, _)| *number >= first) {
            window.merge(counts);
        }
        window
    }

    fn add_to_slice(&mut self, event: &Event, at: Duration) {
        let number = at.as_nanos() / SLICE.as_nanos();
        if let Some((newest, counts)) = self.slices.back_mut()
            && *newest >= number
        {
            return counts.add(event);
        }
        if self.slices.len() == MOST_SLICES {
            self.slices.pop_front();
        }
        let mut counts = Counts::default();
        counts.add(event);
        self.slices.push_back((number, counts));
    }
}

pub(super) fn as_milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_micros() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responded(version: &str, status: u16, app_error: bool) -> Event {
        let response = Response { status, version: Some(version.to_owned()), app_error };
        Event::Responded { response, latency: Duration::from_millis(3) }
    }

    #[test]
    fn a_window_holds_what_came_after_its_begin_only() {
        let mut tally = Tally::default();
        for tenth in 0..600 {
            let version = if tenth < 500 { "v1" } else { "v2" };
            tally.record(&responded(version, 200, false), SLICE * tenth, Timestamp::UNIX_EPOCH);
        }
        let now = SLICE * 600;
        assert_eq!(tally.window(Duration::from_secs(10), now).share("v2"), 1.0);
        let longer = tally.window(Duration::from_secs(20), now);
        assert_eq!((longer.answered_by("v1"), longer.answered_by("v2")), (100, 100));
        assert_eq!(tally.window(Duration::from_secs(3600), now), tally.total);
        assert_eq!(tally.window(Duration::from_secs(1), now * 2), Counts::default());
    }

    #[test]
    fn memory_is_bounded_in_time_in_versions_and_in_lost_requests() {
        let mut tally = Tally::default();
        for number in 0..10_000 {
            tally.record(
                &responded(&format!("v{number}"), 200, false),
                SLICE * number,
                Timestamp::UNIX_EPOCH,
            );
            tally.record(&Event::Failed(LostCause::Timeout), SLICE * number, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(tally.slices.len(), MOST_SLICES);
        assert_eq!(tally.total.by_version.len(), MOST_VERSIONS + 1);
        assert_eq!(tally.total.answered_by(OTHER_VERSIONS), 10_000 - MOST_VERSIONS as u64);
        assert_eq!((tally.first_lost.len(), tally.total.lost), (MOST_LOST_KEPT, 10_000));
    }

    #[test]
    fn only_a_5xx_that_the_app_did_not_send_is_lost() {
        let mut tally = Tally::default();
        for event in [responded("v1", 500, true), responded("v1", 404, false), responded("v1", 503, false)] {
            tally.record(&event, Duration::ZERO, Timestamp::UNIX_EPOCH);
        }
        assert_eq!((tally.total.answered, tally.total.app_errors, tally.total.lost), (2, 1, 1));
        assert_eq!(tally.first_lost, [Lost { at: Timestamp::UNIX_EPOCH, cause: LostCause::Status(503) }]);
        assert_eq!(tally.total.by_version["v1"].success_rate(), 0.5);
    }
}
