//! One real cluster: a lab, or a context of the user's kubeconfig.

use anyhow::{Context, anyhow, bail};
use futures::{StreamExt, TryStreamExt};
use headgate_lab::Lab;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config};
use serde_json::Value;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// Whoever awaits what must come waits so long: that a busy machine is slow says nothing about the software.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Which cluster: a lab, or one that exists.
#[derive(Clone, Debug)]
pub enum Where {
    /// The lab of this name. The caller is in its network already.
    Lab(String),
    /// A cluster that exists. Named on purpose: a KUBECONFIG in somebody's environment is no wish to have tests run there.
    Existing(Existing),
}

/// A cluster that exists, with Istio and Traefik, and with the images of the tests in its reach.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Existing {
    /// Use the cluster of this context of your kubeconfig instead of a lab
    #[arg(long, env = "HEADGATE_CONTEXT")]
    pub context: Option<String>,
    /// With --context: where its Istio gateway is reached, such as http://10.0.0.7
    #[arg(long, env = "HEADGATE_GATEWAY", requires = "context")]
    pub gateway: Option<String>,
    /// With --context: where its Traefik is reached, such as http://10.0.0.7:8000
    #[arg(long, env = "HEADGATE_TRAEFIK", requires = "context")]
    pub traefik: Option<String>,
    /// With --context: where its Prometheus is reached, such as http://10.0.0.8:9090
    #[arg(long, env = "HEADGATE_PROMETHEUS", requires = "context")]
    pub prometheus: Option<String>,
}

/// A cluster that can be reached, and the tools to handle it.
#[derive(Clone)]
pub struct Cluster {
    /// The client, with a timeout on each call.
    pub client: Client,
    kubeconfig: PathBuf,
    place: Where,
}

impl Cluster {
    /// Connects to the lab that `HEADGATE_LAB` names, or else to the cluster of the context `HEADGATE_CONTEXT`.
    ///
    /// # Errors
    /// When neither is set, or what is named does not exist.
    pub async fn connect() -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let place = match variable("HEADGATE_LAB") {
            Some(lab) => Where::Lab(lab),
            None => Where::Existing(Existing {
                context: Some(variable("HEADGATE_CONTEXT").context("set HEADGATE_LAB or HEADGATE_CONTEXT")?),
                gateway: variable("HEADGATE_GATEWAY"),
                traefik: variable("HEADGATE_TRAEFIK"),
                prometheus: variable("HEADGATE_PROMETHEUS"),
            }),
        };
        Self::connect_to(place).await
    }

    /// Connects to that cluster.
    ///
    /// # Errors
    /// When there is no such lab or context.
    pub async fn connect_to(place: Where) -> anyhow::Result<Self> {
        // A second call finds it installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = match &place {
            Where::Lab(name) => Lab::attach(name)?.kubeconfig(),
            Where::Existing(existing) => kubeconfig_of(existing.context.as_deref().unwrap_or_default())?,
        };
        let client = Client::try_from(config_from(&kubeconfig).await?)?;
        Ok(Self { client, kubeconfig, place })
    }

    /// A client that hands on every refusal, as the controller's does: that of tests tries some of them again by itself.
    ///
    /// # Errors
    /// When the kubeconfig is gone.
    pub async fn client_without_retries(&self) -> anyhow::Result<Client> {
        let mut config = config_from(&self.kubeconfig).await?;
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }

    /// The lab, when this cluster is one.
    ///
    /// # Errors
    /// When the lab is gone.
    pub fn lab(&self) -> anyhow::Result<Option<Lab>> {
        match &self.place {
            Where::Lab(name) => Lab::attach(name).map(Some),
            Where::Existing(_) => Ok(None),
        }
    }

    /// Where the Istio gateway is reached.
    ///
    /// # Errors
    /// When nobody said so.
    pub fn gateway_url(&self) -> anyhow::Result<String> {
        match &self.place {
            Where::Lab(name) => Ok(Lab::attach(name)?.gateway_url()),
            Where::Existing(existing) => {
                existing.gateway.clone().context("say where the gateway is: HEADGATE_GATEWAY")
            }
        }
    }

    /// Where Traefik is reached: it serves Ingresses of the class `nginx`, and routes of the Gateway `traefik` in the
    /// namespace `traefik`.
    ///
    /// # Errors
    /// When nobody said so.
    pub fn traefik_url(&self) -> anyhow::Result<String> {
        match &self.place {
            Where::Lab(name) => Ok(Lab::attach(name)?.traefik_url()),
            Where::Existing(existing) => {
                existing.traefik.clone().context("say where Traefik is: HEADGATE_TRAEFIK")
            }
        }
    }

    /// Where Prometheus is reached.
    ///
    /// # Errors
    /// When nobody said so.
    pub fn prometheus_url(&self) -> anyhow::Result<String> {
        match &self.place {
            Where::Lab(name) => Ok(Lab::attach(name)?.prometheus_url()),
            Where::Existing(existing) => {
                existing.prometheus.clone().context("say where Prometheus is: HEADGATE_PROMETHEUS")
            }
        }
    }

    /// A command with this cluster's kubeconfig in its environment. `name` is a tool of the lab's, where it has one.
    ///
    /// # Errors
    /// When the lab has no such tool.
    pub fn command(&self, name: &str) -> anyhow::Result<Command> {
        let program = match &self.place {
            Where::Lab(_) => headgate_lab::tool(name)?,
            Where::Existing(_) => PathBuf::from(name),
        };
        Ok(self.with_kubeconfig(Command::new(program)))
    }

    /// `command` with this cluster's kubeconfig in its environment.
    pub fn with_kubeconfig(&self, mut command: Command) -> Command {
        command.env("KUBECONFIG", &self.kubeconfig).kill_on_drop(true);
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

    /// `kubectl ARGS… --filename -` with one object.
    ///
    /// # Errors
    /// When kubectl refuses, with what it said.
    pub async fn feed(&self, arguments: &[&str], object: &Value) -> anyhow::Result<()> {
        let mut command = self.command("kubectl")?;
        command.args(arguments).args(["--filename", "-"]);
        feed(&mut command, &object.to_string()).await.map(|_| ())
    }

    /// Asks the API server whether it would take the objects, without unknown fields, and changes nothing.
    ///
    /// # Errors
    /// When it would not, with what it said.
    pub async fn would_take(&self, objects: &[Value]) -> anyhow::Result<()> {
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let mut command = self.command("kubectl")?;
        command.args(["apply", "--dry-run=server", "--validate=strict", "--namespace", "default", "-f", "-"]);
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
                // The items of a list come without their type.
                last["apiVersion"] = Value::from(resource(kind).api_version);
                last["kind"] = Value::from(kind);
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
        self.await_end_of_namespace(name).await?;
        self.kubectl(&["create", "namespace", name]).await.map(|_| ())
    }

    /// Removes a namespace and waits until nothing of it is left: whoever comes next has the cluster for himself.
    ///
    /// # Errors
    /// When the API server refuses, or it is not gone within five minutes.
    pub async fn await_end_of_namespace(&self, name: &str) -> anyhow::Result<()> {
        self.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait=true", "--timeout=300s"])
            .await
            .map(|_| ())
    }

    /// Removes a namespace without waiting for its end.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn remove_namespace(&self, name: &str) -> anyhow::Result<()> {
        self.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait=false"]).await.map(|_| ())
    }
}

async fn config_from(kubeconfig: &Path) -> anyhow::Result<Config> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.read_timeout = Some(Duration::from_secs(300));
    Ok(config)
}

/// The user's kubeconfig with this context as its current one, in a file of its own for all tools.
fn kubeconfig_of(context: &str) -> anyhow::Result<PathBuf> {
    let mut config =
        Kubeconfig::read().context("cannot read the kubeconfig (KUBECONFIG, or ~/.kube/config)")?;
    anyhow::ensure!(
        config.contexts.iter().any(|known| known.name == context),
        "the kubeconfig has no context {context:?}"
    );
    config.current_context = Some(context.to_owned());
    let path = std::env::temp_dir().join(format!("headgate-kubeconfig-{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    serde_json::to_writer(file, &config).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The kinds that tests touch.
fn resource(kind: &str) -> ApiResource {
    let (group, version) = match kind {
        "Rollout" | "AnalysisRun" | "AnalysisTemplate" | "ClusterAnalysisTemplate" | "Experiment" => {
            ("argoproj.io", "v1alpha1")
        }
        "ReplicaSet" | "Deployment" => ("apps", "v1"),
        "VirtualService" | "Gateway" => ("networking.istio.io", "v1"),
        "HTTPRoute" => ("gateway.networking.k8s.io", "v1"),
        "Ingress" => ("networking.k8s.io", "v1"),
        "Lease" => ("coordination.k8s.io", "v1"),
        "Job" => ("batch", "v1"),
        "PodDisruptionBudget" => ("policy", "v1"),
        "HorizontalPodAutoscaler" => ("autoscaling", "v2"),
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
