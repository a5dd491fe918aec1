//! The measurements of a metric: adding one, counting, and when the next is due.

use crate::condition;
use crate::provider;
use crate::snapshot::Outcome;
use headgate_api::{AnalysisPhase, AnalysisRunStatus, Measurement, MetricResult, Time};
use headgate_model::Timestamp;
use headgate_model::analysis::ValidMetric;
use jiff::SignedDuration;

/// A measurement that ended in an error is repeated after this time, whatever the interval (Argo Rollouts).
const ERROR_RETRY: SignedDuration = SignedDuration::from_secs(10);
/// The least time between two measurements: an interval of 0 would measure without pause.
const INTERVAL_MIN: SignedDuration = SignedDuration::from_secs(1);
/// Two clocks differ by no more: the one who leads next waits so much longer. To measure at once, as after a step, would judge
/// a version before its `initialDelay` is over.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(1);
/// More of a value isn't stored, in characters.
const VALUE_CHARACTERS_MAX: usize = 4096;

/// An instant as Kubernetes stores it: whole seconds.
pub(crate) fn stored(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// The result of a metric, if it was ever measured.
pub(crate) fn result<'r>(record: &'r AnalysisRunStatus, metric: &ValidMetric) -> Option<&'r MetricResult> {
    record.metric_results.iter().find(|result| result.name == metric.metric.name)
}

/// Whether the metric has its verdict.
pub(crate) fn is_completed(record: &AnalysisRunStatus, metric: &ValidMetric) -> bool {
    result(record, metric).and_then(|result| result.phase).is_some_and(AnalysisPhase::is_completed)
}

/// More measurements are not counted; the sum of two such numbers is still a number.
const COUNT_MAX: i32 = 1_000_000_000;

/// Makes the counts of a stored result such as counting alone would have made them. A status is anybody's to edit, and a
/// measurement must never be numbered as the one before it.
pub(crate) fn mend_counts(result: &mut MetricResult) {
    for count in [
        &mut result.count,
        &mut result.successful,
        &mut result.failed,
        &mut result.inconclusive,
        &mut result.error,
        &mut result.consecutive_error,
        &mut result.consecutive_success,
    ] {
        *count = (*count).clamp(0, COUNT_MAX);
    }
}

/// The number of the next measurement: those that were ever finished, trimmed ones too.
pub(crate) fn next_ordinal(record: &AnalysisRunStatus, metric: &ValidMetric) -> u32 {
    let taken = result(record, metric).map_or(0, |result| result.count.saturating_add(result.error));
    u32::try_from(taken).unwrap_or_default()
}

/// The measurement that an outcome is.
pub(crate) fn measurement(metric: &ValidMetric, outcome: &Outcome) -> Measurement {
    let measured = provider::of(metric).and_then(|provider| provider.interpret(metric, &outcome.reply));
    let times = Measurement {
        started_at: Some(stored(outcome.started_at)),
        finished_at: Some(stored(outcome.finished_at)),
        ..Measurement::default()
    };
    let measured = match measured {
        Ok(measured) => measured,
        Err(message) => return Measurement { phase: Some(AnalysisPhase::Error), message, ..times },
    };
    let (phase, message) = match condition::judge(metric, &measured.value, outcome.finished_at) {
        Ok(phase) => (phase, String::new()),
        Err(message) => (AnalysisPhase::Error, message),
    };
    Measurement {
        phase: Some(phase),
        message,
        value: cut(measured.text),
        metadata: measured.metadata,
        ..times
    }
}

/// A measurement that couldn't even be asked for.
pub(crate) fn not_asked(message: String, now: Timestamp) -> Measurement {
    Measurement {
        phase: Some(AnalysisPhase::Error),
        message,
        started_at: Some(stored(now)),
        finished_at: Some(stored(now)),
        ..Measurement::default()
    }
}

pub(crate) fn cut(text: String) -> String {
    match text.char_indices().nth(VALUE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Adds a finished measurement and counts it. One that was left unfinished is replaced by it.
pub(crate) fn add(result: &mut MetricResult, measurement: Measurement) {
    match measurement.phase {
        Some(AnalysisPhase::Successful) => result.successful += 1,
        Some(AnalysisPhase::Failed) => result.failed += 1,
        Some(AnalysisPhase::Inconclusive) => result.inconclusive += 1,
        _ => result.error += 1,
    }
    if matches!(measurement.phase, Some(AnalysisPhase::Error)) {
        result.consecutive_error += 1;
    } else {
        result.count += 1;
        result.consecutive_error = 0;
    }
    if matches!(measurement.phase, Some(AnalysisPhase::Successful)) {
        result.consecutive_success += 1;
    } else {
        result.consecutive_success = 0;
    }
    if result.measurements.last().is_some_and(is_unfinished) {
        let left = result.measurements.pop().unwrap_or_default();
        result.measurements.push(Measurement { started_at: left.started_at, ..measurement });
    } else {
        result.measurements.push(measurement);
    }
}

/// Whether a measurement was begun and not ended: by a provider that takes a while.
pub(crate) fn is_unfinished(measurement: &Measurement) -> bool {
    !measurement.phase.is_some_and(AnalysisPhase::is_completed)
}

/// When the next measurement is due; `started_at` is when the run began.
pub(crate) fn due_at(
    record: &AnalysisRunStatus,
    metric: &ValidMetric,
    started_at: Timestamp,
    now: Timestamp,
) -> Timestamp {
    let (since, wait) = waiting(record, metric, started_at);
    // What it is counted from lies far ahead, so the clock was set back since. At once, as a wait from now on would begin anew
    // each time that somebody looks.
    if since.duration_since(now) > SKEW_MAX { now } else { after(since, wait) }
}

/// Since when the next measurement waits, and for how long.
fn waiting(
    record: &AnalysisRunStatus,
    metric: &ValidMetric,
    started_at: Timestamp,
) -> (Timestamp, SignedDuration) {
    let Some(last) = result(record, metric).and_then(|result| result.measurements.last()) else {
        return (started_at, metric.initial_delay);
    };
    let Some(finished_at) = last.finished_at.as_ref().filter(|_| !is_unfinished(last)) else {
        return (started_at, SignedDuration::ZERO);
    };
    let wait = match (last.phase, metric.interval) {
        (Some(AnalysisPhase::Error), _) | (_, None) => ERROR_RETRY,
        (_, Some(interval)) => interval.max(INTERVAL_MIN),
    };
    (finished_at.0, wait)
}

/// Cut up to a whole second, as `now` is one.
fn after(at: Timestamp, wait: SignedDuration) -> Timestamp {
    let due = at.checked_add(wait).unwrap_or(Timestamp::MAX);
    let whole = Timestamp::from_second(due.as_second()).unwrap_or(due);
    if whole < due { whole.checked_add(INTERVAL_MIN).unwrap_or(due) } else { whole }
}

/// Keeps the last measurements that the metric may keep.
pub(crate) fn trim(result: &mut MetricResult, retained: usize) {
    let surplus = result.measurements.len().saturating_sub(retained);
    result.measurements.drain(..surplus);
}
