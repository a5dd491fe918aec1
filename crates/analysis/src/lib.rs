//! Decides AnalysisRuns: which measurements to take, what they mean, and when the run has its verdict.
//!
//! [`decide()`] is a function of what is observed ([`RunSnapshot`]) and of now. It takes no measurement itself: a
//! provider turns a metric into a [`headgate_model::Query`], which is data, and what came back into a value. Retry,
//! limits, history and the end of a run exist once, here.
//!
//! Invariants:
//! - no I/O, no clock, no randomness; equal snapshots give equal decisions;
//! - a measurement has a key (metric, ordinal): to ask twice for a key is one act, to learn its outcome twice too;
//! - a decision whose record is stored and observed decides nothing new until `wake_at` or the next outcome;
//! - a completed phase, of a metric or of the run, never changes;
//! - the value of a Secret is never in here: placeholders stand for it.
//!
//! What it deliberately lacks: sending, time limits, reading Secrets (the shell), names and numbers of AnalysisRuns
//! (the engine).

mod assess;
mod condition;
mod decide;
mod expression;
mod history;
mod notices;
mod prometheus;
mod provider;
mod snapshot;
mod trial;

pub use condition::problems;
pub use decide::decide;
pub use notices::notices;
pub use provider::{Defaults, Measured, MetricProvider, MetricValue, PROVIDERS};
pub use snapshot::{Measure, Outcome, RunDecision, RunSnapshot};
pub use trial::first_measurement;
