//! What a reply would mean, for tools that try a template without a run.

use crate::{Outcome, RunSnapshot, decide};
use headgate_api::{AnalysisRunSpec, AnalysisRunStatus, Measurement};
use headgate_model::{MeasurementKey, Reply, Timestamp};
use std::collections::BTreeMap;

/// Queries are not sent, so any address will do.
const PROMETHEUS: &str = "http://prometheus";

/// The first measurement of this metric, if it gave this reply now, in a run of nothing but this spec; `None` where the spec
/// has no such metric.
pub fn first_measurement(
    spec: &AnalysisRunSpec,
    metric: &str,
    reply: Reply,
    now: Timestamp,
) -> Option<Measurement> {
    let key = MeasurementKey { metric: metric.to_owned(), ordinal: 0 };
    let outcome = Outcome { started_at: now, finished_at: now, reply };
    let (namespace, name, uid, in_flight) = Default::default();
    let run = RunSnapshot {
        namespace,
        name,
        uid,
        created_at: now,
        spec: Ok(spec.clone()),
        status: AnalysisRunStatus::default(),
        outcomes: BTreeMap::from([(key, outcome)]),
        in_flight,
        prometheus_address: Some(PROMETHEUS.to_owned()),
    };
    let results = decide(&run, now).record.metric_results;
    results.into_iter().find(|result| result.name == metric)?.measurements.into_iter().next()
}
