//! `successCondition` and `failureCondition`: what a value means.

use crate::expression;
use crate::provider::{self, Defaults, MetricValue};
use headgate_api::AnalysisPhase;
use headgate_model::Timestamp;
use headgate_model::analysis::ValidMetric;

/// What to say when a condition can't be evaluated because there is nothing to evaluate (Argo Rollouts' words).
const NO_DATA: &str = "metric result is nil or empty: no data returned from the metric provider";

/// The phase of a measurement with this value: Successful, Failed or Inconclusive.
///
/// Without conditions every value is good; with one of them, it decides alone; with both, failure comes first and
/// neither is inconclusive.
///
/// # Errors
/// A condition that can't be evaluated: which, and why. No data is told apart from everything else.
pub(crate) fn judge(
    metric: &ValidMetric,
    value: &MetricValue,
    now: Timestamp,
) -> Result<AnalysisPhase, String> {
    let success = holds("successCondition", metric.metric.success_condition.as_deref(), value, now)?;
    let failure = holds("failureCondition", metric.metric.failure_condition.as_deref(), value, now)?;
    Ok(match (success, failure) {
        (_, Some(true)) | (Some(false), None) => AnalysisPhase::Failed,
        (None, None | Some(false)) | (Some(true), _) => AnalysisPhase::Successful,
        (Some(false), Some(false)) => AnalysisPhase::Inconclusive,
    })
}

/// What would make every measurement of a metric an error: a provider that this version does not have, a query that can't
/// be asked, a condition that no value can be held against. Empty for a metric that is fine as far as can be told
/// without measuring it.
pub fn problems(metric: &ValidMetric) -> Vec<String> {
    let now = Timestamp::UNIX_EPOCH;
    let given = Defaults { prometheus_address: Some("http://prometheus") };
    let asked =
        provider::of(metric).and_then(|provider| provider.prepare(metric, &given, now).map(|_| provider));
    let conditions = [
        ("successCondition", metric.metric.success_condition.as_deref()),
        ("failureCondition", metric.metric.failure_condition.as_deref()),
    ];
    let wrong = conditions.into_iter().filter_map(|(field, condition)| {
        // A condition may refuse one kind of value; one that refuses all of them is wrong.
        let values = [
            MetricValue::List(vec![0.5]),
            MetricValue::Number(0.5),
            MetricValue::List(vec![0.5, 0.5]),
            MetricValue::List(Vec::new()),
        ];
        let mut answers = values.iter().map(|value| holds(field, condition, value, now));
        let first = answers.next()?.err()?;
        answers.all(|answer| answer.is_err()).then_some(first)
    });
    asked.err().into_iter().chain(wrong).collect()
}

/// Whether a condition holds; `None` without one (`""` is none, as in Go).
fn holds(
    field: &str,
    condition: Option<&str>,
    value: &MetricValue,
    now: Timestamp,
) -> Result<Option<bool>, String> {
    let Some(condition) = condition.filter(|condition| !condition.is_empty()) else { return Ok(None) };
    expression::condition(condition, value, now).map(Some).map_err(|why| {
        let why = if is_empty(value) { NO_DATA.to_owned() } else { why };
        format!("could not evaluate {field} \"{condition}\": {why}")
    })
}

fn is_empty(value: &MetricValue) -> bool {
    matches!(value, MetricValue::List(items) if items.is_empty())
}
