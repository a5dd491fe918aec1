//! The virtual cluster: what is real, whoever knows it already.

pub mod autoscaler;
mod defaults;
pub mod gateway;
pub mod given;
pub mod jobs;
pub mod kubelet;
pub mod metrics;
pub mod patch;
pub mod pod_watch;
pub mod pods;
pub mod proxies;
pub mod prune;
pub mod routes;
pub mod server;
pub mod watch;
pub mod webhooks;
pub mod workload;

use jiff::{SignedDuration, Timestamp};

/// `time` plus milliseconds.
pub(crate) fn plus(time: Timestamp, milliseconds: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_millis(milliseconds)).unwrap_or(time)
}

/// From then until then; none backwards.
pub(crate) fn milliseconds(since: Timestamp, until: Timestamp) -> i64 {
    i64::try_from(until.duration_since(since).as_millis()).unwrap_or(i64::MAX).max(0)
}
