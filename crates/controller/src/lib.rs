//! Binds the driver to tokio and Kubernetes, and nothing else: watches become observations, requests
//! become HTTP calls, their outcomes become replies, and a timer wakes the driver when it asked for it.
//!
//! What this crate deliberately lacks: decisions. Which object to change, when and how, when to try
//! again, what a refusal means: all of that is the driver's. Invariants:
//! - one task owns the driver; nothing in that task waits for the network;
//! - every call has a time limit, and those to the API server a place in a bounded queue, so that no webhook or
//!   namespace can hold up another rollout; of measurements and notifications the driver bounds how many there are;
//! - nothing is retried here: a call without an answer is reported as lost;
//! - only the holder of the lease lets the driver lead, and losing the lease ends the process.

pub mod args;
pub mod elect;
pub mod event_loop;
pub mod execute;
pub mod fleet;
pub mod health;
pub mod lease;
pub mod logs;
pub mod measure;
pub mod metrics;
pub mod notifier;
pub mod object;
pub mod places;
pub mod rival;
pub mod run;
pub mod secrets;
pub mod watch;
