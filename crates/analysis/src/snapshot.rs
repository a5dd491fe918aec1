//! What is known of an AnalysisRun, and what is decided about it.

use headgate_api::{AnalysisRunSpec, AnalysisRunStatus};
use headgate_model::{MeasurementKey, Query, Reply, Timestamp};
use std::collections::BTreeMap;

/// All that is known about one AnalysisRun at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSnapshot {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// The spec, or why it can't be read.
    pub spec: Result<AnalysisRunSpec, String>,
    /// The status as stored.
    pub status: AnalysisRunStatus,
    /// What came back and isn't in the status yet. Outcomes that are in it already are passed over.
    pub outcomes: BTreeMap<MeasurementKey, Outcome>,
    /// What was asked and hasn't come back, and when it was asked.
    pub in_flight: BTreeMap<MeasurementKey, Timestamp>,
    /// Address of the Prometheus for metrics that name none (`ARGO_ROLLOUTS_PROMETHEUS_ADDRESS` of the controller).
    pub prometheus_address: Option<String>,
}

/// What came back from one measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When it was asked.
    pub started_at: Timestamp,
    /// When the reply was there, or was given up.
    pub finished_at: Timestamp,
    /// The reply.
    pub reply: Reply,
}

/// What is decided about one AnalysisRun.
#[derive(Clone, Debug, PartialEq)]
pub struct RunDecision {
    /// The status to store, if it differs from the stored one.
    pub record: AnalysisRunStatus,
    /// Measurements to take once the record is stored, in the order of the metrics.
    pub measure: Vec<Measure>,
    /// True when the time to live of the finished run is over: it is to be deleted.
    pub delete: bool,
    /// When to decide again if nothing is observed before.
    pub wake_at: Option<Timestamp>,
}

/// One measurement to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Which.
    pub key: MeasurementKey,
    /// What to ask.
    pub query: Query,
}
