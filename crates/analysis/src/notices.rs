//! Kubernetes events of an AnalysisRun.

use crate::snapshot::RunSnapshot;
use headgate_api::{AnalysisPhase, AnalysisRunStatus, MetricResult};
use headgate_model::{Notice, NoticeKind};

/// The events that come with a new record: one for each metric and for the run whose phase is completed now and
/// wasn't before (Argo Rollouts: reasons `Metric<Phase>` and `AnalysisRun<Phase>`).
pub fn notices(run: &RunSnapshot, record: &AnalysisRunStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    for result in &record.metric_results {
        let before = run.status.metric_results.iter().find(|before| before.name == result.name);
        if let Some(phase) = completed(before.and_then(|before| before.phase), result.phase) {
            notices.push(metric_notice(result, phase));
        }
    }
    if let Some(phase) = completed(run.status.phase, record.phase) {
        let why = if record.message.is_empty() { String::new() } else { format!(" ({})", record.message) };
        let reason = match phase {
            AnalysisPhase::Failed => "AnalysisRunFailed",
            AnalysisPhase::Error => "AnalysisRunError",
            AnalysisPhase::Inconclusive => "AnalysisRunInconclusive",
            _ => "AnalysisRunSuccessful",
        };
        let message = format!("Analysis Completed. Result: {phase}{why}");
        notices.push(Notice { kind: kind(phase), ..Notice::normal(reason, message) });
    }
    notices
}

fn metric_notice(result: &MetricResult, phase: AnalysisPhase) -> Notice {
    let why = if result.message.is_empty() { String::new() } else { format!(" ({})", result.message) };
    let reason = match phase {
        AnalysisPhase::Failed => "MetricFailed",
        AnalysisPhase::Error => "MetricError",
        AnalysisPhase::Inconclusive => "MetricInconclusive",
        _ => "MetricSuccessful",
    };
    let message = format!("Metric '{}' Completed. Result: {phase}{why}", result.name);
    Notice { kind: kind(phase), ..Notice::normal(reason, message) }
}

fn completed(before: Option<AnalysisPhase>, after: Option<AnalysisPhase>) -> Option<AnalysisPhase> {
    after.filter(|phase| phase.is_completed() && before != after)
}

fn kind(phase: AnalysisPhase) -> NoticeKind {
    if phase.has_failed() { NoticeKind::Warning } else { NoticeKind::Normal }
}
