//! Whether Argo Rollouts can read an object: its own Go types, asked by a small Go program (`e2e/argorollouts`).

use crate::go_program;
use anyhow::ensure;
use serde_json::Value;

/// Has Argo Rollouts read each of these objects.
///
/// # Errors
/// When it cannot read one, with what it says and the object; when the program cannot be built or run.
pub async fn reads(objects: &[&Value]) -> anyhow::Result<()> {
    let answers: Vec<String> = go_program::answers("argorollouts", objects).await?;
    let wrong = answers.iter().zip(objects).filter(|(answer, _)| !answer.is_empty());
    let wrong: Vec<String> = wrong.map(|(answer, object)| format!("{answer}: {object}")).collect();
    ensure!(wrong.is_empty(), "Argo Rollouts cannot read:\n{}", wrong.join("\n"));
    Ok(())
}
