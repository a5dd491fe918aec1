//! Runs to decide about.

use headgate_analysis::{Outcome, RunDecision, RunSnapshot, decide};
use headgate_api::{AnalysisPhase, AnalysisRunStatus};
use headgate_model::{MeasurementKey, Reply, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An instant so many seconds after the run was created.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_251_600 + seconds).unwrap()
}

/// A metric over Prometheus with further fields.
pub(crate) fn metric(name: &str, fields: Value) -> Value {
    let mut metric = json!({
        "name": name,
        "successCondition": "result >= 0.9",
        "provider": {"prometheus": {"address": "http://prometheus:9090", "query": "rate"}},
    });
    for (key, value) in fields.as_object().unwrap() {
        metric[key] = value.clone();
    }
    metric
}

/// A run that was just created.
pub(crate) fn run(spec: Value) -> RunSnapshot {
    RunSnapshot {
        namespace: "shop".to_owned(),
        name: "cart-1".to_owned(),
        uid: "u1".to_owned(),
        created_at: at(0),
        spec: serde_json::from_value(spec).map_err(|error| error.to_string()),
        status: AnalysisRunStatus::default(),
        outcomes: BTreeMap::new(),
        in_flight: BTreeMap::new(),
        prometheus_address: None,
    }
}

/// A run of these metrics.
pub(crate) fn run_of(metrics: impl IntoIterator<Item = Value>) -> RunSnapshot {
    run(json!({"metrics": metrics.into_iter().collect::<Vec<_>>()}))
}

/// What Prometheus answers when the query gives these numbers as a vector.
pub(crate) fn vector(numbers: &[f64]) -> Reply {
    let series = |number: &f64| json!({"metric": {}, "value": [1_795_251_600, number.to_string()]});
    let result: Vec<Value> = numbers.iter().map(series).collect();
    answer(200, json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
}

pub(crate) fn answer(status: u16, body: Value) -> Reply {
    Reply::Http { status, body: body.to_string(), truncated: false }
}

pub(crate) fn key(metric: &str, ordinal: u32) -> MeasurementKey {
    MeasurementKey { metric: metric.to_owned(), ordinal }
}

/// What one measurement brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brings {
    Success,
    Failure,
    /// Neither condition holds, where a metric has both.
    Neither,
    Outage,
}

pub(crate) fn reply(brings: Brings) -> Reply {
    match brings {
        Brings::Success => vector(&[1.0]),
        Brings::Failure => vector(&[0.1]),
        Brings::Neither => vector(&[0.7]),
        Brings::Outage => Reply::Failed("http://prometheus:9090/: connection refused".to_owned()),
    }
}

/// Gives a run the outcome of the next measurement of `metric`, asked and answered at `second`.
pub(crate) fn bring(run: &mut RunSnapshot, metric: &str, brings: Brings, second: i64) {
    let taken = run.status.metric_results.iter().find(|result| result.name == metric);
    let ordinal = u32::try_from(taken.map_or(0, |result| result.count + result.error)).unwrap();
    let outcome = Outcome { started_at: at(second), finished_at: at(second), reply: reply(brings) };
    run.outcomes.insert(key(metric, ordinal), outcome);
}

/// Decides, and stores the record as the API server would.
pub(crate) fn step(run: &mut RunSnapshot, now: Timestamp) -> RunDecision {
    let decision = decide(run, now);
    let stored = serde_json::to_value(&decision.record).unwrap();
    run.status = serde_json::from_value(stored).unwrap();
    assert_eq!(run.status, decision.record, "the record must survive being stored");
    run.outcomes.clear();
    decision
}

/// Takes one measurement after the other of the only metric, each when it is due.
pub(crate) fn measured(run: &mut RunSnapshot, metric: &str, brings: &[Brings]) -> RunDecision {
    let mut decision = step(run, at(0));
    let mut now = at(0);
    for one in brings {
        if let Some(wake_at) = decision.wake_at {
            now = wake_at;
            decision = step(run, now);
        }
        assert_eq!(decision.measure.len(), 1, "{one:?} was to be measured: {:?}", decision.record);
        bring(run, metric, *one, now.as_second() - at(0).as_second());
        decision = step(run, now);
    }
    decision
}

pub(crate) fn phase_of(decision: &RunDecision, metric: &str) -> Option<AnalysisPhase> {
    decision.record.metric_results.iter().find(|result| result.name == metric).and_then(|result| result.phase)
}
