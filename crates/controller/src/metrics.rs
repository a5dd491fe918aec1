//! What this process counts: calls, measurements, watches, the lease. (What the driver knows of each
//! Rollout is in `fleet`.) Labels have few values: kinds, verbs and codes, never names.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use headgate_driver::io::{Call, Reply};
use prometheus_client::{
    collector::Collector,
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use crate::execute;

/// Bounds in seconds, from a cached read to the time limit of a call.
const CALL_SECONDS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
/// Bounds in seconds, from a quick query to a provider's longest time limit.
const MEASUREMENT_SECONDS: [f64; 8] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];
/// Bounds in seconds of one turn of the event loop: above the last it delays other rollouts.
const TURN_SECONDS: [f64; 7] = [0.0001, 0.001, 0.01, 0.05, 0.15, 0.5, 1.0];

/// Counters and the registry that they are in.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<VerbLabels, Histogram>,
    measurement_seconds: Family<ResultLabels, Histogram>,
    watch_errors: Family<KindLabels, Counter>,
    watch_failing: Family<KindLabels, Gauge>,
    turn_seconds: Histogram,
    in_flight: Gauge,
    queued: Gauge,
    leader: Gauge,
    synced: Gauge,
    notifications_config_valid: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    kind: &'static str,
    verb: &'static str,
    status_code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
            measurement_seconds: Family::new_with_constructor(|| Histogram::new(MEASUREMENT_SECONDS)),
            watch_errors: Family::default(),
            watch_failing: Family::default(),
            turn_seconds: Histogram::new(TURN_SECONDS),
            in_flight: Gauge::default(),
            queued: Gauge::default(),
            leader: Gauge::default(),
            synced: Gauge::default(),
            notifications_config_valid: Gauge::default(),
        };
        metrics.notifications_config_valid.set(1);
        metrics.registered()
    }
}

impl Metrics {
    /// Names follow the reference controller where it has the like, so that dashboards go on working;
    /// the others begin with headgate. (`_total` is added to counters.)
    fn registered(mut self) -> Self {
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let registry = &mut self.registry;
        registry.register("argo_rollouts_controller", "Version of the controller", version);
        let started: Gauge = Gauge::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        started.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        registry.register("process_start_time_seconds", "When this process started", started);
        registry.register(
            "controller_clientset_k8s_request",
            "Calls to the API server; code 0: no answer",
            self.requests.clone(),
        );
        registry.register(
            "headgate_request_duration_seconds",
            "Time of calls to the API server, waiting for a place included",
            self.request_seconds.clone(),
        );
        registry.register(
            "headgate_measurement_duration_seconds",
            "Time of queries to metric providers",
            self.measurement_seconds.clone(),
        );
        registry.register("headgate_watch_errors", "Errors of watches", self.watch_errors.clone());
        registry.register(
            "headgate_watch_failing",
            "Whether a watch fails now: what is known of its kind grows old",
            self.watch_failing.clone(),
        );
        registry.register(
            "headgate_turn_duration_seconds",
            "Time that deciding took in one turn of the event loop",
            self.turn_seconds.clone(),
        );
        registry.register(
            "headgate_requests_in_flight",
            "Calls and measurements under way, and calls that wait for a place",
            self.in_flight.clone(),
        );
        registry.register(
            "headgate_observations_queued",
            "Observations that wait to be taken in",
            self.queued.clone(),
        );
        registry.register("headgate_leader", "Whether this process leads", self.leader.clone());
        registry.register("headgate_synced", "Whether every watched kind is known", self.synced.clone());
        registry.register(
            "headgate_notifications_config_valid",
            "Whether the configuration of notifications could be read when it was last looked at",
            self.notifications_config_valid.clone(),
        );
        self
    }

    /// Adds series that are made at each scrape.
    #[must_use]
    pub fn with_collector(mut self, collector: Box<dyn Collector>) -> Self {
        self.registry.register_collector(collector);
        self
    }

    /// All series in the OpenMetrics text format.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts a call to the API server.
    pub fn called(&self, call: &Call, reply: &Reply, took: Duration) {
        let (kind, verb) = reference_words(call);
        let status_code = match (reply, call) {
            (Reply::Refused { code, .. }, _) => *code,
            (Reply::Lost(_), _) => 0,
            (_, Call::Create { .. } | Call::Evict { .. }) => 201,
            _ => 200,
        };
        self.requests.get_or_create(&RequestLabels { kind, verb, status_code }).inc();
        let labels = VerbLabels { verb: execute::verb(call) };
        self.request_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts a measurement.
    pub fn measured(&self, reply: &headgate_model::Reply, took: Duration) {
        let result = match reply {
            headgate_model::Reply::Http { status: 200..=299, .. } => "answered",
            headgate_model::Reply::Http { .. } => "refused",
            headgate_model::Reply::Failed(_) => "failed",
        };
        self.measurement_seconds.get_or_create(&ResultLabels { result }).observe(took.as_secs_f64());
    }

    /// The configuration of notifications was looked at.
    pub fn notifications_configured(&self, is_valid: bool) {
        self.notifications_config_valid.set(is_valid.into());
    }

    /// A watch failed.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabels { kind }).inc();
        self.watch_failing.get_or_create(&KindLabels { kind }).set(1);
    }

    /// A watch that failed works again, or there is nothing to watch and nobody needs it.
    pub fn watch_works(&self, kind: &'static str) {
        self.watch_failing.get_or_create(&KindLabels { kind }).set(0);
    }

    /// The event loop has turned.
    pub fn turned(&self, turn: &Turn) {
        self.turn_seconds.observe(turn.took.as_secs_f64());
        self.in_flight.set(i64::try_from(turn.in_flight).unwrap_or(i64::MAX));
        self.queued.set(i64::try_from(turn.queued).unwrap_or(i64::MAX));
        self.leader.set(turn.is_leading.into());
        self.synced.set(turn.is_synced.into());
    }
}

/// Kind and verb of a call as Argo Rollouts counts them.
fn reference_words(call: &Call) -> (&'static str, &'static str) {
    match call {
        Call::Get(target) => (target.resource.plural, "Get"),
        Call::List { resource, .. } => (resource.plural, "List"),
        Call::Create { target, .. } | Call::Evict { target, .. } => (target.resource.plural, "Create"),
        Call::Patch { target, .. } => (target.resource.plural, "Patch"),
        Call::Delete { target, .. } => (target.resource.plural, "Delete"),
        Call::Measure { .. } | Call::Notify { .. } => ("Unknown", "Unknown"),
    }
}

/// What one turn of the event loop came to.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Time that deciding took.
    pub took: Duration,
    /// Requests without a reply.
    pub in_flight: usize,
    /// Observations not taken in.
    pub queued: usize,
    /// This process leads.
    pub is_leading: bool,
    /// Every watched kind is known.
    pub is_synced: bool,
}

/// Whether the event loop still turns, for the liveness probe.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// It has turned, so many milliseconds after the start.
    pub fn beat(&self, since_start: Duration) {
        self.0.store(u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long it has not turned.
    pub fn silence(&self, since_start: Duration) -> Duration {
        since_start.saturating_sub(Duration::from_millis(self.0.load(Ordering::Relaxed)))
    }
}
