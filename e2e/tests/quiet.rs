//! Settled Rollouts cost the API server nothing: counted from its audit log, beside the other tests.

use crate::shared;
use anyhow::{Context, ensure};
use headgate_e2e::Cluster;
use headgate_e2e::audit::{AuditLog, Write};
use headgate_e2e::install::NAMESPACE as CONTROLLER_NAMESPACE;
use headgate_e2e::plugin::plugin;
use headgate_e2e::shop::Manifests;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

const NAMESPACE: &str = "e2e-quiet";
const USER: &str = "system:serviceaccount:headgate-system:headgate";
/// Each way to be settled, and how many Rollouts are settled so.
const FLEET: [(Settled, usize); 5] = [
    (Settled::Empty, 10),
    (Settled::Healthy, 4),
    (Settled::Routed, 2),
    (Settled::Paused, 2),
    (Settled::Aborted, 2),
];
/// Nothing was written for so long: the last words about what was done before are written.
const CALM: SignedDuration = SignedDuration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// Healthy without a pod.
    Empty,
    /// Healthy with one.
    Healthy,
    /// Healthy, with Services and a VirtualService.
    Routed,
    /// In the middle of a release, until somebody promotes it.
    Paused,
    /// Back at the old version.
    Aborted,
}

impl Settled {
    fn phase(self) -> &'static str {
        match self {
            Self::Empty | Self::Healthy | Self::Routed => "Healthy",
            Self::Paused => "Paused",
            Self::Aborted => "Degraded",
        }
    }

    fn is_released(self) -> bool {
        matches!(self, Self::Paused | Self::Aborted)
    }

    /// The example with names of its own.
    fn manifests(self, name: &str) -> anyhow::Result<Vec<Value>> {
        let steps = json!([{ "setWeight": 50 }, { "pause": {} }]);
        let mut manifests = match self {
            Self::Routed => Manifests::example(name)?,
            _ => Manifests::plain(name, &steps)?,
        };
        manifests.take("AnalysisTemplate");
        manifests.change("Rollout", |rollout| {
            let spec = &mut rollout["spec"];
            spec["replicas"] = json!(i32::from(self != Self::Empty));
            spec["strategy"]["canary"]["analysis"] = Value::Null;
            spec["strategy"]["canary"]["steps"] = steps.clone();
        });
        // Everything in the example is called shop, or something with it.
        let text = serde_json::to_string(&manifests.0)?.replace("\"shop", &format!("\"{name}"));
        Ok(serde_json::from_str(&text)?)
    }
}

/// The Rollouts by name.
fn fleet() -> impl Iterator<Item = (String, Settled)> {
    let kinds = FLEET.into_iter().flat_map(|(settled, count)| std::iter::repeat_n(settled, count));
    kinds.enumerate().map(|(number, settled)| (format!("quiet-{number:02}"), settled))
}

/// One minute; five when `cargo xtask e2e --long` asks for it.
fn watched() -> Duration {
    let long = std::env::var_os("HEADGATE_E2E_LONG").is_some();
    Duration::from_secs(if long { 300 } else { 60 })
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_settled_rollouts_cause_no_write_but_the_leaders_own_lease() -> anyhow::Result<()> {
    let (cluster, guard) = shared().await?;
    let Some(lab) = cluster.lab()? else { return Ok(()) };
    let log = AuditLog::of(&lab);
    settle(&cluster).await?;
    await_calm(&log).await?;
    // From here on we only look: tests that want the cluster for themselves, and change the leader, may go on meanwhile.
    drop(guard);

    let begin = Timestamp::now();
    // No condition to wait for: this time is the claim.
    tokio::time::sleep(watched()).await;
    let span = begin..Timestamp::now();
    log.catch_up(&cluster, NAMESPACE).await?;
    let writes = log.writes(USER, &span)?;
    let leases = writes.iter().filter(|write| is_own_lease(write)).count();
    ensure!(
        leases as u64 > watched().as_secs() / 10,
        "{leases} renewals of the Lease: no leader, or not its name"
    );
    let ours: Vec<&Write> = writes.iter().filter(|write| concerns_us(write)).collect();
    ensure!(ours.is_empty(), "{} writes of settled rollouts: {ours:#?}", ours.len());
    cluster.remove_namespace(NAMESPACE).await
}

/// Brings every Rollout of the fleet to where it stays.
async fn settle(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.fresh_namespace(NAMESPACE).await?;
    let mut objects = Vec::new();
    for (name, settled) in fleet() {
        objects.extend(settled.manifests(&name)?);
    }
    ensure!(fleet().count() == 20);
    cluster.apply(NAMESPACE, &objects).await?;
    for (name, _) in fleet() {
        await_phase(cluster, &name, "Healthy").await?;
    }
    for (name, _) in fleet().filter(|(_, settled)| settled.is_released()) {
        let patch = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "v2" }]);
        let patch = patch.to_string();
        let arguments = ["patch", "rollout", &name, "-n", NAMESPACE, "--type=json", "--patch", &patch];
        cluster.kubectl(&arguments).await?;
    }
    for (name, settled) in fleet().filter(|(_, settled)| settled.is_released()) {
        await_phase(cluster, &name, "Paused").await?;
        if settled == Settled::Aborted {
            let run = plugin(cluster, NAMESPACE, &["abort", &name]).await?;
            ensure!(run.code == 0, "{run:?}");
        }
    }
    for (name, settled) in fleet() {
        await_phase(cluster, &name, settled.phase()).await?;
    }
    Ok(())
}

async fn await_phase(cluster: &Cluster, name: &str, phase: &str) -> anyhow::Result<()> {
    let reached = |rollout: &Value| {
        let generation = rollout["metadata"]["generation"].to_string();
        rollout["status"]["observedGeneration"].as_str() == Some(&generation)
            && rollout["status"]["phase"] == phase
    };
    let limit = Duration::from_secs(120);
    cluster.await_object("Rollout", NAMESPACE, name, limit, &format!("phase {phase}"), reached).await?;
    Ok(())
}

/// Waits until the last write about the fleet is a while ago.
async fn await_calm(log: &AuditLog) -> anyhow::Result<()> {
    let calm = async {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            let now = Timestamp::now();
            let writes = log.writes(USER, &(now.checked_sub(CALM)?..now))?;
            if !writes.iter().any(concerns_us) {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), calm).await.context("the fleet does not settle")?
}

/// What the leader renews every few seconds.
fn is_own_lease(write: &Write) -> bool {
    write.object.resource == "leases" && write.object.namespace == CONTROLLER_NAMESPACE
}

/// Other tests have Rollouts of their own, in namespaces of their own. Everything else counts.
fn concerns_us(write: &Write) -> bool {
    let namespace = write.object.namespace.as_str();
    !is_own_lease(write) && [NAMESPACE, CONTROLLER_NAMESPACE, ""].contains(&namespace)
}
