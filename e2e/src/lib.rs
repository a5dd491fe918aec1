//! The harness of everything that runs on a real cluster: tests, demo, benchmarks.
//!
//! A cluster is the lab (`HEADGATE_LAB=name`), or a context of your kubeconfig (`HEADGATE_CONTEXT=name`, with
//! `HEADGATE_GATEWAY`, `HEADGATE_TRAEFIK` and `HEADGATE_PROMETHEUS`). Conditions are awaited by watching, never by sleeping.

pub mod argo_rollouts;
pub mod argocd;
pub mod audit;
pub mod autoscaler;
pub mod by_hand;
pub mod chronicle;
pub mod cluster;
pub mod conformance;
pub mod controllers;
pub mod course;
pub mod demo;
pub mod door;
pub mod fleet;
mod go_program;
pub mod install;
pub mod load;
pub mod meanwhile;
pub mod metrics_source;
pub mod plugin;
pub mod presets;
pub mod pressure;
pub mod prometheus;
pub mod scrape;
pub mod shop;
pub mod witness;

pub use cluster::Cluster;
pub use shop::Shop;
