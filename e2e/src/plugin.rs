//! Running the kubectl plugin as a user does.

use crate::cluster::Cluster;
use crate::install::root;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What a run of the plugin gave.
#[derive(Debug)]
pub struct Run {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// The binary that `cargo xtask image` built.
pub fn binary() -> PathBuf {
    root().join("target/x86_64-unknown-linux-gnu/release/kubectl-headgate")
}

/// `kubectl headgate ARGS… --namespace NS`, without colours.
///
/// # Errors
/// When it cannot be started.
pub async fn plugin(cluster: &Cluster, namespace: &str, arguments: &[&str]) -> anyhow::Result<Run> {
    plugin_fed(cluster, namespace, arguments, "").await
}

/// The same with something on standard input.
///
/// # Errors
/// When it cannot be started, or ends before it has read its input.
pub async fn plugin_fed(
    cluster: &Cluster,
    namespace: &str,
    arguments: &[&str],
    input: &str,
) -> anyhow::Result<Run> {
    let mut command = cluster.with_kubeconfig(Command::new(binary()));
    command.args(arguments).args(["--namespace", namespace]).env("NO_COLOR", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take()
        && !input.is_empty()
    {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    Ok(Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
