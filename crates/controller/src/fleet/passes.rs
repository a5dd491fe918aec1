//! Passes, which Argo Rollouts calls reconciliations: one of an object lasts from its first request until none of its
//! requests is under way. Deciding itself takes no time worth counting (`headgate_turn_duration_seconds`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use headgate_driver::{
    io::{Call, ObjectRef, Patch, Reply, Resource},
    resources::{ANALYSIS_RUNS, ROLLOUTS},
};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge, histogram::Histogram},
};
use tokio::time::Instant;

/// Bounds in seconds, those of Argo Rollouts.
const BOUNDS: [f64; 5] = [0.01, 0.15, 0.25, 0.5, 1.0];

/// The series of a kind, with the names and the help of Argo Rollouts.
const KINDS: [(Resource, &str, &str); 2] =
    [(ROLLOUTS, "rollout", "a Rollout"), (ANALYSIS_RUNS, "analysis_run", "an AnalysisRun")];

/// The passes of each Rollout and AnalysisRun.
#[derive(Debug, Default)]
pub(crate) struct Passes(Mutex<BTreeMap<ObjectRef, Work>>);

/// What is counted of one object.
#[derive(Debug)]
struct Work {
    under_way: usize,
    since: Option<Instant>,
    seconds: Histogram,
    errors: i64,
}

/// Namespaces and names.
type Names<'a> = BTreeSet<(&'a String, &'a String)>;

impl Passes {
    /// A request goes out on behalf of this object.
    pub(crate) fn begin<'a>(&'a self, owner: &'a ObjectRef, call: &'a Call) -> UnderWay<'a> {
        if is_counted(owner, call) {
            let mut all = self.all();
            let work = all.entry(owner.clone()).or_insert_with(Work::new);
            work.under_way += 1;
            work.since.get_or_insert_with(Instant::now);
        }
        UnderWay { passes: self, owner, call, is_error: true }
    }

    /// Forgets objects that are gone.
    pub(crate) fn keep(&self, rollouts: &Names<'_>, runs: &Names<'_>) {
        self.all().retain(|object, work| {
            let alive = if object.resource == ROLLOUTS { rollouts } else { runs };
            work.under_way > 0 || alive.contains(&(&object.namespace, &object.name))
        });
    }

    /// Puts the series into a scrape.
    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.all();
        for (kind, name, help) in KINDS {
            let works = || all.iter().filter(|(object, _)| object.resource == kind);
            let (series, about) =
                (format!("{name}_reconcile"), format!("Seconds that a pass of {help} took"));
            let mut metric = encoder.encode_descriptor(&series, &about, None, MetricType::Histogram)?;
            for (object, work) in works() {
                work.seconds.encode(metric.encode_family(&named(object))?)?;
            }
            // Its name lacks the ending that OpenMetrics asks of counters.
            let (series, about) =
                (format!("{name}_reconcile_error"), format!("Calls on behalf of {help} that failed"));
            let mut metric = encoder.encode_descriptor(&series, &about, None, MetricType::Unknown)?;
            for (object, work) in works() {
                ConstGauge::new(work.errors).encode(metric.encode_family(&named(object))?)?;
            }
        }
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ObjectRef, Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way. Dropped without an answer, because whoever carried it out has panicked, it counts as an error.
#[must_use]
pub(crate) struct UnderWay<'a> {
    passes: &'a Passes,
    owner: &'a ObjectRef,
    call: &'a Call,
    is_error: bool,
}

impl UnderWay<'_> {
    /// The answer has come.
    pub(crate) fn end(mut self, reply: &Reply) {
        self.is_error = is_error(self.call, reply);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !is_counted(self.owner, self.call) {
            return;
        }
        let mut all = self.passes.all();
        // What is under way is not forgotten.
        let Some(work) = all.get_mut(self.owner) else { return };
        work.errors += i64::from(self.is_error);
        work.under_way = work.under_way.saturating_sub(1);
        if work.under_way == 0
            && let Some(since) = work.since.take()
        {
            work.seconds.observe(since.elapsed().as_secs_f64());
        }
    }
}

impl Work {
    fn new() -> Self {
        Self { under_way: 0, since: None, seconds: Histogram::new(BOUNDS), errors: 0 }
    }
}

fn named(object: &ObjectRef) -> [(&'static str, &str); 2] {
    [("namespace", &object.namespace), ("name", &object.name)]
}

/// Notifications go their own way, as long as it may be.
fn is_counted(owner: &ObjectRef, call: &Call) -> bool {
    KINDS.iter().any(|(kind, ..)| *kind == owner.resource) && !matches!(call, Call::Notify { .. })
}

/// True for what should not happen. That somebody else was ahead, that an object is not there, or that a budget keeps a pod,
/// belongs to the work; what a provider has answered is in the run.
fn is_error(call: &Call, reply: &Reply) -> bool {
    match (reply, call) {
        (Reply::Lost(_), _) => true,
        (Reply::Refused { code: 409, .. }, _)
        | (Reply::Refused { code: 404, .. }, Call::Get(_) | Call::Patch { .. } | Call::Delete { .. })
        | (Reply::Refused { code: 422, .. }, Call::Patch { patch: Patch::Json(_), .. })
        | (Reply::Refused { code: 404 | 429, .. }, Call::Evict { .. }) => false,
        (Reply::Refused { .. }, _) => true,
        (Reply::Object(_) | Reply::Objects(_) | Reply::Measured(_) | Reply::Notified(_), _) => false,
    }
}

#[cfg(test)]
mod tests;
