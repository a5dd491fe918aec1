//! Whole releases in a very small world.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "what the world can't do is a failed test, and json!(…) reads better as an argument than &json!(…)"
)]

mod analyses;
mod anti_affinity;
mod basic;
mod disturbed;
mod drain;
mod invalid;
mod pauses;
mod pod_health;
mod random;
mod recorded;
mod rerouted;
mod restart;
mod routed;
mod world;
