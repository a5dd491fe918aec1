//! What Argo CD would show for an object: its own health checks, run by a small Go program (`e2e/argocd`).

use crate::install::root;
use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

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
    let mut command = Command::new(built_program().await?);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(&serde_json::to_vec(objects)?).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Health> = serde_json::from_slice(&output.stdout)?;
    ensure!(answers.len() == objects.len(), "{} answers for {} objects", answers.len(), objects.len());
    Ok(answers)
}

/// Builds the Go program into the cache. Go itself skips the work when nothing has changed.
async fn built_program() -> anyhow::Result<PathBuf> {
    let program = headgate_lab::cache_dir()?.join("bin/argocd-health");
    let mut go = Command::new("go");
    go.args(["build", "-buildvcs=false", "-trimpath", "-o"]).arg(&program).arg(".");
    go.current_dir(root().join("e2e/argocd")).env("CGO_ENABLED", "0").env("GOWORK", "off");
    let built = go.output().await.context("start go: Argo CD's health checks need Go 1.26.3 or newer")?;
    ensure!(built.status.success(), "go build: {}", String::from_utf8_lossy(&built.stderr));
    Ok(program)
}
