//! What measurements mean for their metric, and metrics for the run (Argo Rollouts' rules and messages).

use crate::history;
use crate::provider;
use headgate_api::{AnalysisPhase, AnalysisRunStatus, MetricResult, RunSummary};
use headgate_model::analysis::ValidMetric;

/// Whether the run goes on to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It does.
    Measuring,
    /// It ends with what it has: by request, or because a metric has decided it.
    Ending,
}

/// The phase of a metric that was measured. A completed one stays.
pub(crate) fn metric_phase(metric: &ValidMetric, result: &MetricResult, course: Course) -> AnalysisPhase {
    if let Some(phase) = result.phase.filter(|phase| phase.is_completed()) {
        return phase;
    }
    match result.measurements.last() {
        None if course == Course::Ending => return AnalysisPhase::Successful,
        None => return AnalysisPhase::Pending,
        Some(last) if history::is_unfinished(last) => return AnalysisPhase::Running,
        Some(_) => {}
    }
    if let Some((phase, _)) = exceeded(metric, result) {
        return phase;
    }
    if metric.consecutive_success_limit.is_some_and(|limit| result.consecutive_success >= limit) {
        return AnalysisPhase::Successful;
    }
    if metric.count.is_some_and(|count| result.count >= count) {
        return match (metric.consecutive_success_limit, metric.failure_limit) {
            (None, _) => AnalysisPhase::Successful,
            (Some(_), Some(_)) => AnalysisPhase::Inconclusive,
            (Some(_), None) => AnalysisPhase::Failed,
        };
    }
    match course {
        Course::Ending => AnalysisPhase::Successful,
        Course::Measuring => AnalysisPhase::Running,
    }
}

/// The limit that a metric has exceeded, if any: of several the last one here counts.
fn exceeded(metric: &ValidMetric, result: &MetricResult) -> Option<(AnalysisPhase, String)> {
    let mut found = None;
    if let Some(limit) = metric.failure_limit.filter(|limit| result.failed > *limit) {
        found = Some((AnalysisPhase::Failed, format!("failed ({}) > failureLimit ({limit})", result.failed)));
    }
    let limit = metric.inconclusive_limit;
    if result.inconclusive > limit {
        let text = format!("inconclusive ({}) > inconclusiveLimit ({limit})", result.inconclusive);
        found = Some((AnalysisPhase::Inconclusive, text));
    }
    let limit = metric.consecutive_error_limit;
    if result.consecutive_error > limit {
        let text =
            format!("consecutiveErrors ({}) > consecutiveErrorLimit ({limit})", result.consecutive_error);
        found = Some((AnalysisPhase::Error, text));
    }
    found
}

/// Why a completed metric isn't successful.
fn reason(metric: &ValidMetric, result: &MetricResult) -> Option<String> {
    if result.phase == Some(AnalysisPhase::Successful) {
        return None;
    }
    if let Some((_, text)) = exceeded(metric, result).filter(|(phase, _)| result.phase == Some(*phase)) {
        return Some(text);
    }
    if result.phase == Some(AnalysisPhase::Error) && provider::of(metric).is_err() {
        return Some("an unsupported provider".to_owned());
    }
    let limit = metric.consecutive_success_limit?;
    Some(format!(
        "consecutiveSuccesses ({}) < consecutiveSuccessLimit ({limit}) after count ({})",
        result.consecutive_success, result.count
    ))
}

/// Sets the phase of a metric and, when it changes, why.
pub(crate) fn set_phase(metric: &ValidMetric, result: &mut MetricResult, course: Course) {
    let phase = metric_phase(metric, result, course);
    if result.phase == Some(phase) {
        return;
    }
    result.phase = Some(phase);
    result.message = result.measurements.last().map(|last| last.message.clone()).unwrap_or_default();
    if metric.dry_run
        && phase.is_completed()
        && let Some(reason) = reason(metric, result)
    {
        result.message = format!("Metric assessed {phase} due to {reason}");
    }
}

/// Whether a metric has decided the run: any that counts and is completed, but not successful.
pub(crate) fn is_decided(record: &AnalysisRunStatus, metrics: &[ValidMetric]) -> bool {
    let counting = metrics.iter().filter(|metric| !metric.dry_run);
    let mut phases = counting.filter_map(|metric| history::result(record, metric)?.phase);
    phases.any(|phase| phase.is_completed() && phase != AnalysisPhase::Successful)
}

/// Phase and message of the run, once the phases of its metrics are set. `opening` is the message unless a metric
/// says more.
pub(crate) fn run(
    record: &AnalysisRunStatus,
    metrics: &[ValidMetric],
    course: Course,
    opening: &str,
) -> (AnalysisPhase, String) {
    let all_completed = metrics.iter().all(|metric| history::is_completed(record, metric));
    if course == Course::Measuring && !all_completed {
        return (AnalysisPhase::Running, String::new());
    }
    let mut worst = (AnalysisPhase::Successful, opening.to_owned());
    for metric in metrics.iter().filter(|metric| !metric.dry_run) {
        let Some(result) = history::result(record, metric) else { continue };
        let Some(phase) = result.phase.filter(|phase| phase.is_completed()) else { continue };
        if badness(phase) > badness(worst.0) {
            worst = (phase, message(metric, result, phase).unwrap_or(worst.1));
        }
    }
    worst
}

fn message(metric: &ValidMetric, result: &MetricResult, phase: AnalysisPhase) -> Option<String> {
    let reason = reason(metric, result)?;
    let mut message = format!("Metric \"{}\" assessed {phase} due to {reason}", metric.metric.name);
    if !result.message.is_empty() {
        message.push_str(&format!(": \"Error Message: {}\"", result.message));
    }
    Some(message)
}

/// Which of two phases decides: the worse one.
fn badness(phase: AnalysisPhase) -> u8 {
    match phase {
        AnalysisPhase::Successful => 0,
        AnalysisPhase::Running => 1,
        AnalysisPhase::Pending => 2,
        AnalysisPhase::Inconclusive => 3,
        AnalysisPhase::Error => 4,
        AnalysisPhase::Failed => 5,
    }
}

/// How many metrics ended how: those that count, and those that run dry.
pub(crate) fn summaries(record: &AnalysisRunStatus, metrics: &[ValidMetric]) -> (RunSummary, RunSummary) {
    let mut counting = RunSummary::default();
    let mut dry = RunSummary::default();
    for metric in metrics {
        let summary = if metric.dry_run { &mut dry } else { &mut counting };
        summary.count += 1;
        match history::result(record, metric).and_then(|result| result.phase) {
            Some(AnalysisPhase::Successful) => summary.successful += 1,
            Some(AnalysisPhase::Failed) => summary.failed += 1,
            Some(AnalysisPhase::Inconclusive) => summary.inconclusive += 1,
            Some(AnalysisPhase::Error) => summary.error += 1,
            Some(AnalysisPhase::Pending | AnalysisPhase::Running) | None => {}
        }
    }
    (counting, dry)
}
