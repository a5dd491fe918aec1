//! The controller's own processes, to be killed, frozen and thawed.

use crate::cluster::Cluster;
use crate::install::NAMESPACE;
use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The Lease by which the controllers choose their leader.
pub const LEASE: &str = "argo-rollouts-controller-lock";

/// The kernel keeps 15 characters of a program's name.
const PROGRAM: &str = "headgate-contro";

/// What a process has used since it began.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time on a processor.
    pub cpu: Duration,
    /// The most memory that it had, in MiB.
    pub memory_max: u64,
}

impl Usage {
    fn of(process: &Path) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(process.join("stat"))?;
        // proc(5): the name in parentheses may contain anything; user and system time are the 12th and 13th field after it,
        // in hundredths of a second.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        let status = std::fs::read_to_string(process.join("status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        Ok(Self { cpu: Duration::from_millis(ticks * 10), memory_max: kib / 1024 })
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s of a processor, {} MiB at most", self.cpu.as_secs_f64(), self.memory_max)
    }
}

/// A pod of the controller.
#[derive(Clone, Debug)]
pub struct Controller {
    /// The pod's name.
    pub pod: String,
    uid: String,
}

impl Controller {
    /// The one that leads now.
    ///
    /// # Errors
    /// When nobody leads, or the leader's pod is gone already.
    pub async fn leader(cluster: &Cluster) -> anyhow::Result<Self> {
        let holder = holder(&cluster.get("Lease", NAMESPACE, LEASE).await?).to_owned();
        let pods: Value =
            serde_json::from_str(&cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-o", "json"]).await?)?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let text = |pod: &Value, field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
        let leader = pods.iter().find(|pod| !holder.is_empty() && holder.contains(&text(pod, "name")));
        let leader = leader.with_context(|| format!("the lease names {holder:?}, which has no pod"))?;
        Ok(Self { pod: text(leader, "name"), uid: text(leader, "uid") })
    }

    /// The only one in that namespace.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn only(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let pods = cluster.api("Pod", namespace).list(&kube::api::ListParams::default()).await?;
        let [pod] = pods.items.as_slice() else { bail!("{namespace} has {} pods", pods.items.len()) };
        let (name, uid) = (pod.metadata.name.clone(), pod.metadata.uid.clone());
        Ok(Self { pod: name.unwrap_or_default(), uid: uid.unwrap_or_default() })
    }

    /// What its process has used until now.
    ///
    /// # Errors
    /// When it has no process here.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let mut processes = std::fs::read_dir("/proc")?.filter_map(|entry| Some(entry.ok()?.path()));
        let process = processes.find(|path| self.owns(path));
        let process =
            process.with_context(|| format!("no process of pod {} runs on this machine", self.pod))?;
        Usage::of(&process)
    }

    /// Waits until somebody other than this one leads.
    ///
    /// # Errors
    /// When nobody does within a minute.
    pub async fn await_successor(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let leads = |lease: &Value| !holder(lease).is_empty() && !holder(lease).contains(&self.pod);
        let limit = Duration::from_secs(60);
        cluster.await_object("Lease", NAMESPACE, LEASE, limit, "another holder", leads).await.map(|_| ())
    }

    /// Sends its process a signal, as the machine's administrator. The lab's pods run on this machine.
    ///
    /// # Errors
    /// When it has no process here.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let mut found = false;
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path();
            let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<i32>().ok()) else {
                continue;
            };
            if self.owns(&path) {
                found = true;
                kill(Pid::from_raw(pid), signal)
                    .with_context(|| format!("process {pid} takes no {signal}"))?;
            }
        }
        if !found {
            bail!("no process of pod {} runs on this machine", self.pod);
        }
        Ok(())
    }

    fn owns(&self, process: &Path) -> bool {
        let read = |file: &str| std::fs::read_to_string(process.join(file)).unwrap_or_default();
        read("comm").trim() == PROGRAM && read("cgroup").contains(&self.uid)
    }

    /// Removes its pod at once, so that the next one need not wait for the kubelet's patience with one that crashes.
    ///
    /// # Errors
    /// When kubectl refuses.
    pub async fn remove(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let arguments = ["delete", "pod", &self.pod, "-n", NAMESPACE, "--grace-period=0", "--force"];
        cluster.kubectl(&arguments).await.map(|_| ())
    }
}

fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}
