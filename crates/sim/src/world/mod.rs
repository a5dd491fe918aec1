//! The virtual cluster: what is real, whoever knows it already.

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
