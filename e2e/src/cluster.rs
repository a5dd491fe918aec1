//! One real cluster: the lab, or the one that KUBECONFIG names.

use anyhow::{Context, anyhow, bail};
use futures::{StreamExt, TryStreamExt};
use headgate_lab::Lab;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config, config::KubeConfigOptions};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;

/// A cluster that can be reached, and the tools to handle it.
#[derive(Clone)]
pub struct Cluster {
    /// The client, with a timeout on each call.
    pub client: Client,
    kubeconfig: Option<PathBuf>,
    lab: Option<String>,
}

impl Cluster {
    /// Connects to the lab that `HEADGATE_LAB` names, or else to the cluster of `KUBECONFIG`.
    ///
    /// # Errors
    /// When there is no such lab, or no such configuration.
    pub async fn connect() -> anyhow::Result<Self> {
        Self::connect_to(std::env::var("HEADGATE_LAB").ok()).await
    }

    /// Connects to that lab, or to the cluster of `KUBECONFIG`. The caller is in the lab's network already.
    ///
    /// # Errors
    /// As [`Cluster::connect`].
    pub async fn connect_to(lab: Option<String>) -> anyhow::Result<Self> {
        // A second call finds it installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig =
            lab.as_deref().map(|name| Lab::attach(name).map(|lab| lab.kubeconfig())).transpose()?;
        let mut config = match &kubeconfig {
            Some(path) => {
                let file = kube::config::Kubeconfig::read_from(path)?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
            }
            None => Config::infer().await.context("set HEADGATE_LAB to the name of a lab, or KUBECONFIG")?,
        };
        config.read_timeout = Some(Duration::from_secs(300));
        let client = Client::try_from(config)?;
        Ok(Self { client, kubeconfig, lab })
    }

    /// The lab, when this cluster is one.
    ///
    /// # Errors
    /// When the lab is gone.
    pub fn lab(&self) -> anyhow::Result<Option<Lab>> {
        self.lab.as_deref().map(Lab::attach).transpose()
    }

    /// A command with this cluster's kubeconfig in its environment. `name` is a tool of the lab's, where it has one.
    ///
    /// # Errors
    /// When the lab has no such tool.
    pub fn command(&self, name: &str) -> anyhow::Result<Command> {
        let program = if self.lab.is_some() { headgate_lab::tool(name)? } else { PathBuf::from(name) };
        Ok(self.with_kubeconfig(Command::new(program)))
    }

    /// `command` with this cluster's kubeconfig in its environment.
    pub fn with_kubeconfig(&self, mut command: Command) -> Command {
        if let Some(path) = &self.kubeconfig {
            command.env("KUBECONFIG", path);
        }
        command.kill_on_drop(true);
        command
    }

    /// `kubectl ARGS…`, and what it prints.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        output(self.command("kubectl")?.args(arguments)).await
    }

    /// Applies objects as a user does, with `kubectl apply`.
    ///
    /// # Errors
    /// When kubectl refuses, with what it said.
    pub async fn apply(&self, namespace: &str, objects: &[Value]) -> anyhow::Result<()> {
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let mut command = self.command("kubectl")?;
        command.args(["apply", "--namespace", namespace, "--filename", "-"]);
        feed(&mut command, &list.to_string()).await.map(|_| ())
    }

    /// The API of one kind in a namespace.
    pub fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }

    /// Reads one object, live.
    ///
    /// # Errors
    /// When it does not exist or cannot be read.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> anyhow::Result<Value> {
        let object = self.api(kind, namespace).get(name).await;
        let object = object.with_context(|| format!("cannot read {kind} {namespace}/{name}"))?;
        Ok(serde_json::to_value(object)?)
    }

    /// Waits until `wanted` says yes to the object, and gives it back.
    ///
    /// # Errors
    /// After `limit`, with the state that was seen last.
    pub async fn await_object(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        limit: Duration,
        what: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let selector = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut objects =
            watcher(self.api(kind, namespace), selector).default_backoff().applied_objects().boxed();
        let found = tokio::time::timeout(limit, async {
            while let Some(object) = objects.try_next().await? {
                last = serde_json::to_value(object)?;
                if wanted(&last) {
                    return Ok(());
                }
            }
            Err(anyhow!("the watch ended"))
        })
        .await;
        match found {
            Ok(Ok(())) => Ok(last),
            Ok(Err(error)) => Err(error),
            Err(_) => bail!(
                "{kind} {namespace}/{name}: {what}: not within {} s. Its status: {}",
                limit.as_secs(),
                serde_json::to_string_pretty(&last["status"])?
            ),
        }
    }

    /// Makes an empty namespace. One that an earlier run left is removed first.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn fresh_namespace(&self, name: &str) -> anyhow::Result<()> {
        self.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait=true", "--timeout=120s"])
            .await?;
        self.kubectl(&["create", "namespace", name]).await.map(|_| ())
    }

    /// Removes a namespace without waiting for its end.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn remove_namespace(&self, name: &str) -> anyhow::Result<()> {
        self.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait=false"]).await.map(|_| ())
    }
}

/// The kinds that tests touch.
fn resource(kind: &str) -> ApiResource {
    let (group, version) = match kind {
        "Rollout" | "AnalysisRun" | "AnalysisTemplate" | "ClusterAnalysisTemplate" | "Experiment" => {
            ("argoproj.io", "v1alpha1")
        }
        "ReplicaSet" | "Deployment" => ("apps", "v1"),
        "VirtualService" | "Gateway" => ("networking.istio.io", "v1"),
        "Lease" => ("coordination.k8s.io", "v1"),
        "Job" => ("batch", "v1"),
        _ => ("", "v1"),
    };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Runs to the end and gives back standard output.
///
/// # Errors
/// When it does not end with 0, with what it said.
pub async fn output(command: &mut Command) -> anyhow::Result<String> {
    let shown = format!("{:?}", command.as_std());
    let output = command.output().await.with_context(|| format!("cannot start {shown}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{shown} ended with {}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

async fn feed(command: &mut Command, input: &str) -> anyhow::Result<String> {
    use std::process::Stdio;
    use tokio::io::AsyncWriteExt;
    let shown = format!("{:?}", command.as_std());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("{shown} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
