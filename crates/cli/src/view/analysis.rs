//! An AnalysisRun as a line, and its Jobs.

use super::paint::{Icon, State, Text, Tone};
use headgate_api::{AnalysisPhase, AnalysisRun, MetricResult};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Key under which a measurement remembers its Job.
const JOB_NAME: &str = "job-name";

/// How an analysis, a measurement or an Experiment stands; without a phase nobody has looked at it yet.
pub(crate) fn state(phase: Option<AnalysisPhase>) -> State {
    let icon = match phase {
        Some(AnalysisPhase::Successful) => Icon::Ok,
        Some(AnalysisPhase::Failed) => Icon::Bad,
        Some(AnalysisPhase::Error) => Icon::Warning,
        Some(AnalysisPhase::Inconclusive) => Icon::Unknown,
        Some(AnalysisPhase::Pending) => Icon::Waiting,
        Some(AnalysisPhase::Running) => Icon::Progressing,
        None => Icon::None,
    };
    State::new(icon, phase.map_or("", AnalysisPhase::as_str))
}

/// The tone of its name.
pub(crate) fn tone(phase: Option<AnalysisPhase>) -> Tone {
    match phase {
        Some(AnalysisPhase::Pending | AnalysisPhase::Running) => Tone::Moving,
        _ => Tone::Plain,
    }
}

/// How many measurements ended how.
pub(crate) fn info(run: &AnalysisRun) -> Text {
    let sum = |count: fn(&MetricResult) -> i32| results(run).iter().map(count).sum::<i32>();
    let counts = [
        (Icon::Ok, sum(|result| result.successful)),
        (Icon::Bad, sum(|result| result.failed)),
        (Icon::Unknown, sum(|result| result.inconclusive)),
        (Icon::Warning, sum(|result| result.error)),
    ];
    let shown = counts.into_iter().filter(|(_, count)| *count > 0);
    Text::joined(shown.map(|(icon, count)| icon.text().then(format!(" {count}"))).collect(), ",")
}

/// The Job of a measurement.
pub(crate) struct JobLine {
    pub(crate) name: String,
    pub(crate) phase: Option<AnalysisPhase>,
    pub(crate) started_at: Option<Time>,
}

/// The Job of each metric's last measurement.
pub(crate) fn jobs(run: &AnalysisRun) -> Vec<JobLine> {
    let last = results(run).iter().filter_map(|result| result.measurements.last());
    last.filter_map(|measurement| {
        let name = measurement.metadata.get(JOB_NAME)?.clone();
        Some(JobLine { name, phase: measurement.phase, started_at: measurement.started_at.clone() })
    })
    .collect()
}

fn results(run: &AnalysisRun) -> &[MetricResult] {
    run.status.as_ref().map_or(&[], |status| status.metric_results.as_slice())
}
