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
mod bake;
mod basic;
mod conditions;
mod disturbed;
mod drain;
mod durations;
mod dynamic;
mod held;
mod initial;
mod invalid;
mod on_failure;
mod pauses;
mod pod_health;
mod pod_metadata;
mod random;
mod reached;
mod recorded;
mod rerouted;
mod restart;
mod routed;
mod succession;
mod way_back;
mod workload;
mod world;
