//! What users write and read: the five kinds of `argoproj.io/v1alpha1`, 1:1 with the YAML.
//!
//! Invariants:
//! - Every field of a manifest written for Argo Rollouts survives JSON → type → JSON, explicit zeros and empty
//!   objects too. Pod templates and specs of Jobs are raw JSON: a typed one would lose fields.
//! - Reading a status never fails: see `lenient`. Reading a spec fails only where the schema would have.
//! - No logic: what a field means is decided elsewhere. Absent and `""` mean the same for names, as in Go.

pub mod analysis_run;
pub mod analysis_template;
mod at;
pub mod blue_green;
pub mod canary;
pub mod conditions;
mod crd;
pub mod duration;
pub mod events;
pub mod experiment;
mod free_form;
pub mod headgate_status;
pub mod labels;
mod lenient;
mod open_enum;
pub mod outbox;
pub mod pod_health;
mod pod_template;
pub mod providers;
pub mod rollout;
pub mod rollout_status;
mod rules;
pub mod traffic_routing;

pub use analysis_run::*;
pub use analysis_template::*;
pub use at::At;
pub use blue_green::*;
pub use canary::*;
pub use crd::crds;
pub use duration::*;
pub use experiment::*;
pub use headgate_status::*;
pub use outbox::*;
pub use pod_health::*;
pub use providers::*;
pub use rollout::*;
pub use rollout_status::*;
pub use traffic_routing::*;

/// Label selector, time and number-or-text as Kubernetes defines them.
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, Time};
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
