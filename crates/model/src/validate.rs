use crate::spec::RolloutSpec;
use serde_json::Value;

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
pub fn validate(_spec: &Value) -> Result<RolloutSpec, SpecProblem> {
    Err(SpecProblem { field: "spec".to_owned(), problem: "Required value: not read yet".to_owned() })
}
