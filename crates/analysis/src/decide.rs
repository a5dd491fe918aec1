//! One decision about an AnalysisRun.

use crate::assess::{self, Course};
use crate::history::{self, stored};
use crate::provider::{self, Defaults};
use crate::snapshot::{Measure, RunDecision, RunSnapshot};
use headgate_api::{AnalysisPhase, AnalysisRunSpec, AnalysisRunStatus, Measurement, MetricResult, Time};
use headgate_model::analysis::{RunProblem, ValidMetric, valid_metrics};
use headgate_model::{MeasurementKey, Timestamp};
use jiff::SignedDuration;

/// Decides over one AnalysisRun: the status to store, then the measurements to take.
pub fn decide(run: &RunSnapshot, now: Timestamp) -> RunDecision {
    let record = run.status.clone();
    if record.phase.is_some_and(AnalysisPhase::is_completed) {
        return ended(run, record, now);
    }
    match valid(run) {
        Ok((spec, metrics)) if let Some(why) = left_to_others(&record, spec, &metrics) => {
            let record = AnalysisRunStatus { message: why, ..record };
            RunDecision { record, measure: Vec::new(), delete: false, wake_at: None }
        }
        Ok((spec, metrics)) => Progress::new(run, spec, &metrics, record, now).decide(),
        Err(message) => ended(run, finished(record, AnalysisPhase::Error, message, now), now),
    }
}

fn valid(run: &RunSnapshot) -> Result<(&AnalysisRunSpec, Vec<ValidMetric>), String> {
    let spec = run.spec.as_ref().map_err(|why| RunProblem::Spec(why.clone()).to_string())?;
    let metrics = valid_metrics(spec).map_err(|problem| problem.to_string())?;
    Ok((spec, metrics))
}

/// Why a run stays as it is: Argo Rollouts has begun it, and this version can't measure all that counts. A verdict on that
/// account would abort the release of whoever tries Headgate.
fn left_to_others(
    record: &AnalysisRunStatus,
    spec: &AnalysisRunSpec,
    metrics: &[ValidMetric],
) -> Option<String> {
    // A metric that ended before has said what it had to say.
    let is_open = |metric: &&ValidMetric| !metric.dry_run && !history::is_completed(record, metric);
    let is_theirs = record.started_at.is_some() && !spec.terminate.unwrap_or_default();
    let why = metrics.iter().filter(|_| is_theirs).filter(is_open).find_map(ValidMetric::unsupported)?;
    Some(format!("{why}: the run stays as it is until its end is asked for, or Argo Rollouts is back"))
}

/// A run whose spec is right and which has no verdict yet.
struct Progress<'a> {
    run: &'a RunSnapshot,
    metrics: &'a [ValidMetric],
    /// `spec.terminate`.
    terminated: bool,
    started_at: Timestamp,
    now: Timestamp,
    record: AnalysisRunStatus,
    measure: Vec<Measure>,
    wake_at: Option<Timestamp>,
}

impl<'a> Progress<'a> {
    fn new(
        run: &'a RunSnapshot,
        spec: &AnalysisRunSpec,
        metrics: &'a [ValidMetric],
        mut record: AnalysisRunStatus,
        now: Timestamp,
    ) -> Self {
        let terminated = spec.terminate.unwrap_or_default();
        let started_at = record.started_at.get_or_insert_with(|| stored(now)).0;
        record.metric_results.iter_mut().for_each(history::mend_counts);
        Self { run, metrics, terminated, started_at, now, record, measure: Vec::new(), wake_at: None }
    }

    fn decide(mut self) -> RunDecision {
        for metric in self.metrics {
            self.take_in_outcomes(metric);
        }
        if !self.terminated && !assess::is_decided(&self.record, self.metrics) {
            for metric in self.metrics {
                self.take_next(metric);
            }
        }
        let course = self.course();
        for metric in self.metrics {
            if let Some(result) = result_mut(&mut self.record, metric) {
                assess::set_phase(metric, result, course);
                history::trim(result, metric.retained);
            }
        }
        let (summary, dry_run_summary) = assess::summaries(&self.record, self.metrics);
        self.record.run_summary = Some(summary);
        self.record.dry_run_summary = Some(dry_run_summary);
        let opening = if self.terminated { "Run Terminated" } else { "" };
        let (phase, message) = assess::run(&self.record, self.metrics, course, opening);
        if phase.is_completed() {
            return ended(self.run, finished(self.record, phase, message, self.now), self.now);
        }
        let record = AnalysisRunStatus { phase: Some(phase), message, ..self.record };
        RunDecision { record, measure: self.measure, delete: false, wake_at: self.wake_at }
    }

    /// A run ends by request, or as soon as a metric has decided it and none that was asked at the same time may say worse.
    fn course(&self) -> Course {
        let is_decided = || assess::is_decided(&self.record, self.metrics) && !self.may_get_worse();
        if self.terminated || is_decided() { Course::Ending } else { Course::Measuring }
    }

    /// True while an answer is on its way that may fail the run, and nothing has yet: Argo Rollouts takes the answers of a
    /// round together, so that it is the worst that decides, and not the fastest. Measurements have a time limit.
    fn may_get_worse(&self) -> bool {
        let counting = || self.metrics.iter().filter(|metric| !metric.dry_run);
        let has_failed = counting().any(|metric| {
            let phase = history::result(&self.record, metric).and_then(|result| result.phase);
            phase == Some(AnalysisPhase::Failed)
        });
        let is_awaited = |metric: &ValidMetric| {
            !history::is_completed(&self.record, metric)
                && self.run.in_flight.contains_key(&self.next_key(metric))
        };
        !has_failed && counting().any(is_awaited)
    }

    /// Adds what came back and isn't recorded yet, one after the other as they were asked.
    fn take_in_outcomes(&mut self, metric: &ValidMetric) {
        while !history::is_completed(&self.record, metric)
            && let Some(outcome) = self.run.outcomes.get(&self.next_key(metric))
        {
            self.add(metric, history::measurement(metric, outcome));
        }
    }

    /// Takes the next measurement of a metric if it is due, or says when it will be.
    fn take_next(&mut self, metric: &ValidMetric) {
        let key = self.next_key(metric);
        if history::is_completed(&self.record, metric) || self.run.in_flight.contains_key(&key) {
            return;
        }
        // At once, also where it is to begin later: a run that has begun, and that another controller would have to go on with,
        // is left to that.
        let provider = match provider::of(metric) {
            Ok(provider) => provider,
            Err(message) => return self.give_up(metric, message),
        };
        let due = history::due_at(&self.record, metric, self.started_at, self.now);
        if due > self.now {
            self.wake_by(due);
            return;
        }
        let defaults = Defaults { prometheus_address: self.run.prometheus_address.as_deref() };
        match provider.prepare(metric, &defaults, self.now) {
            Ok(query) => self.measure.push(Measure { key, query }),
            Err(message) => {
                self.add(metric, history::not_asked(message, self.now));
                if !history::is_completed(&self.record, metric) {
                    self.wake_by(history::due_at(&self.record, metric, self.started_at, self.now));
                }
            }
        }
    }

    /// A metric that this version can't measure has its verdict at once: asking again wouldn't help.
    fn give_up(&mut self, metric: &ValidMetric, message: String) {
        self.add(metric, history::not_asked(message.clone(), self.now));
        if let Some(result) = result_mut(&mut self.record, metric) {
            result.phase = Some(AnalysisPhase::Error);
            result.message = message;
        }
    }

    fn add(&mut self, metric: &ValidMetric, measurement: Measurement) {
        if history::result(&self.record, metric).is_none() {
            self.begin(metric);
        }
        if let Some(result) = result_mut(&mut self.record, metric) {
            history::add(result, measurement);
            assess::set_phase(metric, result, Course::Measuring);
        }
    }

    /// Results stand in the order of the metrics, whichever was measured first.
    fn begin(&mut self, metric: &ValidMetric) {
        let result = MetricResult {
            name: metric.metric.name.clone(),
            phase: Some(AnalysisPhase::Running),
            dry_run: metric.dry_run,
            metadata: provider::of(metric).map(|provider| provider.metadata(metric)).unwrap_or_default(),
            ..MetricResult::default()
        };
        let metrics = self.metrics;
        let place = |name: &str| metrics.iter().position(|metric| metric.metric.name == name);
        self.record.metric_results.push(result);
        self.record.metric_results.sort_by_key(|result| place(&result.name).unwrap_or(usize::MAX));
    }

    fn next_key(&self, metric: &ValidMetric) -> MeasurementKey {
        let ordinal = history::next_ordinal(&self.record, metric);
        MeasurementKey { metric: metric.metric.name.clone(), ordinal }
    }

    fn wake_by(&mut self, due: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(due, |earlier| earlier.min(due)));
    }
}

fn result_mut<'r>(record: &'r mut AnalysisRunStatus, metric: &ValidMetric) -> Option<&'r mut MetricResult> {
    record.metric_results.iter_mut().find(|result| result.name == metric.metric.name)
}

/// The record of a run that ends now.
fn finished(
    record: AnalysisRunStatus,
    phase: AnalysisPhase,
    message: String,
    now: Timestamp,
) -> AnalysisRunStatus {
    AnalysisRunStatus {
        phase: Some(phase),
        message,
        started_at: record.started_at.or_else(|| Some(stored(now))),
        completed_at: record.completed_at.or_else(|| Some(stored(now))),
        ..record
    }
}

/// A run that has its verdict: nothing happens but, when its time to live is over, its deletion.
fn ended(run: &RunSnapshot, mut record: AnalysisRunStatus, now: Timestamp) -> RunDecision {
    let Some(seconds) = time_to_live(run, record.phase) else {
        return RunDecision { record, measure: Vec::new(), delete: false, wake_at: None };
    };
    // Argo Rollouts leaves runs without an end when their spec is wrong; their time to live begins when that is seen.
    let Time(completed_at) = record.completed_at.get_or_insert_with(|| stored(now));
    let end = completed_at.checked_add(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX);
    let delete = end <= now;
    RunDecision { record, measure: Vec::new(), delete, wake_at: (!delete).then_some(end) }
}

/// Seconds that a run stays after its end; `None`: for good.
fn time_to_live(run: &RunSnapshot, phase: Option<AnalysisPhase>) -> Option<i32> {
    let strategy = run.spec.as_ref().ok()?.ttl_strategy.as_ref()?;
    let special = match phase {
        Some(AnalysisPhase::Successful) => strategy.seconds_after_success,
        Some(AnalysisPhase::Failed) => strategy.seconds_after_failure,
        _ => None,
    };
    special.or(strategy.seconds_after_completion)
}
