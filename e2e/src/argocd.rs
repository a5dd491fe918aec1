//! What Argo CD would show for an object: its own health checks, run by a small Go program (`e2e/argocd`).

use crate::go_program;
use serde::Deserialize;
use serde_json::Value;

/// What a check answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Health {
    /// `Healthy`, `Progressing`, `Suspended`, `Degraded` or `Unknown`.
    pub status: String,
    /// For people; often empty.
    pub message: String,
}

/// Argo CD's health of each object, in the same order.
///
/// # Errors
/// When the program cannot be built or run, or Argo CD has no check for one of the kinds.
pub async fn health(objects: &[&Value]) -> anyhow::Result<Vec<Health>> {
    go_program::answers("argocd", objects).await
}
