//! The contract with the API server, rule by rule, against a small API server with scripted faults.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy.toml excuses functions marked as tests only"
)]

mod commands;
mod events;
mod faults;
mod fence;
mod house;
mod kubelet;
mod made;
mod notifications;
mod orphans;
mod pod_metadata;
mod pods;
mod quiet;
mod rerouted;
mod restart;
mod rules;
mod runs;
mod script;
mod server;
mod states;
mod sweep;
mod unanswered;
mod workload;
mod world;
