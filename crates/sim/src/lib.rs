//! A virtual cluster that breaks on purpose, around the same driver that the controller runs.
//!
//! From one seed follow a Rollout, its surroundings, how pods, proxies and metrics behave, what users and others do,
//! and what happens to requests, watches and processes. Time jumps from one thing that happens to the next. While
//! faults happen, every write of a controller is held against the rules of docs/architecture.md and every lost request
//! is counted; after the last fault the world must settle within a bound and then stay as it is without writes.
//!
//! docs/simulator.md says what happens in it, what is checked, and how to read a trace.
//!
//! [`forecast`] puts what users have in Git into the same world and tells what a release would do there.
//!
//! [`adoption`] lets Headgate take over objects that another controller has left.
//!
//! What it deliberately lacks: threads, clocks, randomness that a seed does not determine, and any decision about
//! releases: there is one driver.

pub mod adoption;
pub mod campaign;
pub mod checkers;
pub mod conformance;
pub mod coverage;
pub mod defects;
pub mod edits;
pub mod effect;
pub mod faults;
pub mod forecast;
pub mod kinds;
pub mod process;
pub mod random;
pub mod scenario;
pub mod shrink;
pub mod simulation;
pub mod trace;
pub mod user;
pub mod world;

pub use defects::Defect;
pub use scenario::Scenario;
pub use shrink::shrink;
pub use simulation::{Outcome, run, run_heeding, trace};
