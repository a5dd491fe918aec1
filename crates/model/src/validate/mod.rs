//! From what users wrote to a [`RolloutSpec`] in which wrong states don't exist.
//!
//! Rules and their order are those of Argo Rollouts, so that the same mistake gets the same first answer; the texts
//! begin with the words of Kubernetes' field errors and then say how to mend it.

mod bake;
mod canary;
mod pod_health;
mod pod_metadata;
mod read;
mod routers;
mod salvage;
mod steps;
mod template;

use crate::Timestamp;
use crate::spec::{RolloutSpec, WorkloadScaleDown};
use headgate_api::{AnalysisRunStrategy, RollbackWindowSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use read::{forbidden, invalid, optional, required};
use serde_json::Value;

pub use salvage::salvage;

/// Why a spec cannot be carried out: the first problem found, with its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SpecProblem {
    /// Path of the field, such as `spec.strategy.canary.steps[2].setWeight`.
    pub field: String,
    /// What is wrong and how to mend it, beginning with the words that Kubernetes uses
    /// (`Required value: …`, `Invalid value: 150: …`, `Not found: …`, `Forbidden: …`).
    pub problem: String,
}

/// Checks a Rollout's `spec` and fills in the defaults.
///
/// # Errors
/// The first [`SpecProblem`].
pub fn validate(spec: &Value) -> Result<RolloutSpec, SpecProblem> {
    let replicas = optional::<i32>(spec, "spec", "replicas")?;
    not_negative("spec.replicas", replicas)?;
    let workload_scale_down = workload_scale_down(spec)?;
    let (selector, template) = template::selector_and_template(spec)?;
    let min_ready_seconds = optional(spec, "spec", "minReadySeconds")?.unwrap_or(0);
    not_negative("spec.minReadySeconds", Some(min_ready_seconds))?;
    let revision_history_limit = optional(spec, "spec", "revisionHistoryLimit")?;
    not_negative("spec.revisionHistoryLimit", revision_history_limit)?;
    let progress_deadline_seconds = optional(spec, "spec", "progressDeadlineSeconds")?.unwrap_or(600);
    if progress_deadline_seconds <= min_ready_seconds {
        return Err(invalid(
            "spec.progressDeadlineSeconds",
            progress_deadline_seconds,
            format!("must be greater than minReadySeconds ({min_ready_seconds})"),
        ));
    }
    let window: RollbackWindowSpec = optional(spec, "spec", "rollbackWindow")?.unwrap_or_default();
    not_negative("spec.rollbackWindow.revisions", window.revisions)?;
    let kept: AnalysisRunStrategy = optional(spec, "spec", "analysis")?.unwrap_or_default();
    let canary = strategy(spec)?;
    pod_metadata::check_fits(&canary, &selector, &template)?;
    Ok(RolloutSpec {
        replicas: replicas.unwrap_or(1),
        replicas_unset: replicas.is_none(),
        selector,
        template,
        min_ready_seconds,
        revision_history_limit: revision_history_limit.unwrap_or(10),
        paused: optional(spec, "spec", "paused")?.unwrap_or(false),
        progress_deadline_seconds,
        progress_deadline_abort: optional(spec, "spec", "progressDeadlineAbort")?.unwrap_or(false),
        rollback_window: window.revisions.unwrap_or(0),
        restart_at: optional::<Time>(spec, "spec", "restartAt")?.map(|time| whole_seconds(time.0)),
        successful_runs_kept: kept.successful_run_history_limit.unwrap_or(5),
        unsuccessful_runs_kept: kept.unsuccessful_run_history_limit.unwrap_or(5),
        workload_scale_down,
        canary,
    })
}

/// As Kubernetes stores times.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn strategy(spec: &Value) -> Result<crate::spec::Canary, SpecProblem> {
    let present =
        |key| spec.get("strategy").and_then(|strategy| strategy.get(key)).filter(|value| !value.is_null());
    match (present("canary"), present("blueGreen")) {
        (Some(canary), None) => canary::canary(canary),
        (Some(_), Some(_)) => Err(invalid(
            "spec.strategy.strategy",
            "canary and blueGreen",
            "Multiple Strategies can not be listed",
        )),
        (None, Some(_)) => Err(forbidden(
            "spec.strategy.blueGreen",
            "use spec.strategy.canary, or leave this Rollout to Argo Rollouts",
        )),
        (None, None) => Err(required(
            "spec.strategy.strategy",
            "Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen': add\nstrategy:\n  canary: {}",
        )),
    }
}

/// The template and the selector of the workload are filled in by then: see [`crate::WorkloadRef`].
fn workload_scale_down(spec: &Value) -> Result<WorkloadScaleDown, SpecProblem> {
    let written = spec.pointer("/workloadRef/scaleDown").filter(|written| !written.is_null());
    match written.map(|written| written.as_str().unwrap_or_default()) {
        None | Some("" | "never") => Ok(WorkloadScaleDown::Never),
        Some("onsuccess") => Ok(WorkloadScaleDown::OnSuccess),
        Some("progressively") => Ok(WorkloadScaleDown::Progressively),
        Some(other) => Err(SpecProblem {
            field: "spec.workloadRef.scaleDown".to_owned(),
            problem: format!(
                "Unsupported value: \"{other}\": supported values: \"never\", \"onsuccess\", \"progressively\""
            ),
        }),
    }
}

fn not_negative(field: &str, value: Option<i32>) -> Result<(), SpecProblem> {
    match value {
        Some(value) if value < 0 => Err(invalid(field, value, "must be greater than or equal to 0")),
        _ => Ok(()),
    }
}
