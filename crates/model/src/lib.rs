//! The words that the pure crates share: what is observed ([`Snapshot`]), what is wished of the
//! traffic ([`TrafficIntent`]), what is decided ([`Decision`]), and the specs once they are known
//! to be right ([`spec`]).
//!
//! Invariants of this crate and of everything that depends on it below the shells:
//! - no I/O, no clock, no randomness, no async; `now` is always the last argument;
//! - `BTreeMap` and never `HashMap`, so that equal inputs give equal bytes;
//! - foreign objects are JSON, never structs that lose fields.

#[macro_use]
mod words;

pub mod analysis;
mod decision;
mod failure;
mod measurement;
mod notice;
mod observed;
mod pod;
mod replica_set;
mod rollout;
pub mod selector;
mod snapshot;
pub mod spec;
pub mod template;
mod traffic;
mod validate;
mod verb;
mod wait;
mod workload;

pub use decision::{Decision, Direction, Effect, EffectClass, ReplicaSetPatch, RuleBroken};
pub use failure::{Failure, FailureClass};
pub use measurement::{HttpQuery, MeasurementKey, Method, Query, Reply, SecretRef};
pub use notice::{Notice, NoticeKind};
pub use observed::Observed;
pub use pod::{ContainerView, ENDS_MAX, End, PodView, RunningPod, Unpulled, Unready};
pub use replica_set::{OrphanView, ReplicaSetView};
pub use rollout::RolloutView;
pub use snapshot::{AnalysisRunView, LAST_VALUE_CHARS_MAX, RouterView, ServiceView, Snapshot, TemplateKey};
pub use traffic::{
    Capabilities, Destination, Kind, ObjectChange, ObjectKey, Objects, RouterConfig, RouterProblem,
    TrafficIntent, TrafficRouter, TrafficState, WeightRange, total_weight,
};
pub use validate::{SpecProblem, salvage, validate};
pub use verb::{EffectKey, Verb};
pub use wait::{Wait, WaitFor};
pub use workload::{WorkloadKind, WorkloadRef, WorkloadView, filled};

/// The instant type of every pure crate. `now` is cut to whole seconds before it gets here,
/// because Kubernetes stores whole seconds and a decision must equal its own stored record.
pub use k8s_openapi::jiff::Timestamp;
