//! Small Go programs beside this crate that ask other projects' own modules about objects.

use crate::install::root;
use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What the program in `e2e/<directory>` answers for each object, in the same order.
///
/// # Errors
/// When the program cannot be built or run, refuses an object, or answers something else.
pub(crate) async fn answers<T: DeserializeOwned>(
    directory: &str,
    objects: &[&Value],
) -> anyhow::Result<Vec<T>> {
    let mut command = Command::new(built(directory).await?);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(&serde_json::to_vec(objects)?).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<T> = serde_json::from_slice(&output.stdout)?;
    ensure!(answers.len() == objects.len(), "{} answers for {} objects", answers.len(), objects.len());
    Ok(answers)
}

/// Builds the program into the cache. Go itself skips the work when nothing has changed.
async fn built(directory: &str) -> anyhow::Result<PathBuf> {
    let program = headgate_lab::cache_dir()?.join(format!("bin/{directory}"));
    let mut go = Command::new("go");
    go.args(["build", "-buildvcs=false", "-trimpath", "-o"]).arg(&program).arg(".");
    go.current_dir(root().join("e2e").join(directory)).env("CGO_ENABLED", "0").env("GOWORK", "off");
    let built =
        go.output().await.with_context(|| format!("start go: e2e/{directory} needs Go 1.26.3 or newer"))?;
    ensure!(built.status.success(), "go build: {}", String::from_utf8_lossy(&built.stderr));
    Ok(program)
}
