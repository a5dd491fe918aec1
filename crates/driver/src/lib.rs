//! The contract with the API server (R1-R12 of docs/architecture.md) without I/O: observations in, requests out,
//! replies in. The controller and the simulator run this same driver.
//!
//! ```text
//! observe(event) ─┐                        ┌─> requests ─> a shell carries them out
//!                 ├─> Driver ── poll(now) ─┤
//! reply(answer) ──┘                        └─> wake_at: when to poll again
//! ```
//!
//! Invariants, each with a test:
//! - a decision's record is stored before its effects go out, fenced by uid and resourceVersion (R1);
//! - every effect names the uid of its object and the state that it was decided on (R2);
//! - an answer is never replaced by an older event (R3); after a take-over, live reads come first;
//! - one object's trouble, slowness or malformed content never holds up another;
//! - a metric provider that hangs holds up nobody who asks another;
//! - nothing is kept for objects that are gone;
//! - nothing waits for a webhook.
//!
//! What it deliberately lacks: I/O, a clock (`now` is an argument), randomness, async, decisions about releases
//! (the engine) and verdicts (the analysis). This crate alone makes snapshots.

mod acting;
mod backoff;
mod courier;
mod driver;
mod facts;
mod filing;
mod guard;
pub mod io;
mod looking;
mod notices;
mod object;
mod options;
mod orphans;
mod outbox;
mod outcome;
mod places;
mod pods;
mod quiet;
mod record;
mod recording;
mod references;
mod release_times;
pub mod resources;
mod restart;
mod rollout_task;
mod run_task;
mod store;
mod sweep;
mod view;
mod wake;
mod workload;

pub use driver::Driver;
pub use facts::{Counters, Facts, METRICS_PHASES, MetricFacts, RolloutFacts, RunFacts, TemplateFacts};
pub use options::{Deciders, Limits, Options};
pub use pods::{cut, cut_listed};
pub use release_times::{BOUNDS, ReleaseTimes, Times};
