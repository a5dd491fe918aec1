//! Headgate takes over what Argo Rollouts has left: nothing moves, the release goes on, and the way back stays open. By an
//! instance of its own, beside the one that all tests share, so that nobody looks at the objects while they are loaded.

use crate::{alone, shared};
use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;
use headgate_e2e::Cluster;
use headgate_e2e::argo_rollouts;
use headgate_e2e::audit::{AuditLog, Write};
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::controllers::Controller;
use headgate_e2e::fleet::{self, Member, Picture, generator};
use headgate_e2e::install::Instance;
use headgate_e2e::plugin::plugin;
use headgate_e2e::pressure::tell;
use headgate_sim::adoption::unreadable;
use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// After so long without a write nothing is under way any more: counters are written once a second, and what is tried
/// again is tried sooner.
const CALM: SignedDuration = SignedDuration::from_secs(10);

/// All of a fleet is taken over, and calm, within so long.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(120);

/// Where the lab's Prometheus is.
const PROMETHEUS: &str = "http://prometheus.monitoring.svc:9090";

/// None of them takes more acts.
const ACTS_MAX: usize = 3;

/// The seed of the large fleet.
const SEED: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn recorded_rollouts_are_taken_over_unmoved_go_on_and_can_be_handed_back() -> anyhow::Result<()> {
    const NAMESPACE: &str = "e2e-adoption";
    let (cluster, _guard) = shared().await?;
    let members = fleet::recorded()?;
    ensure!(members.len() >= 20, "only {} recordings are carried out", members.len());
    let Some(instance) = take_over(&cluster, NAMESPACE, "adoption", &members).await? else { return Ok(()) };
    can_be_handed_back(&cluster, NAMESPACE).await?;
    replace_metrics(&cluster, NAMESPACE).await?;
    try_join_all(members.iter().map(|member| go_on(&cluster, NAMESPACE, &member.name))).await?;
    instance.end(&cluster).await?;
    can_be_handed_back(&cluster, NAMESPACE).await?;
    cluster.remove_namespace(NAMESPACE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_rollouts_of_different_kinds_are_taken_over_without_a_pod_restarted() -> anyhow::Result<()>
{
    const NAMESPACE: &str = "e2e-adoption-many";
    // Five hundred pods at once, which come and go: the API server has no time for others.
    let (cluster, _guard) = alone().await?;
    let members = generator::fleet(SEED, 200)?;
    let Some(instance) = take_over(&cluster, NAMESPACE, "many", &members).await? else { return Ok(()) };
    instance.end(&cluster).await?;
    can_be_handed_back(&cluster, NAMESPACE).await?;
    cluster.await_end_of_namespace(NAMESPACE).await
}

/// Loads them, starts Headgate, and holds what is there, and what was written, against what was there before. `None`
/// where there are no fake nodes.
async fn take_over(
    cluster: &Cluster,
    namespace: &str,
    id: &str,
    members: &[Member],
) -> anyhow::Result<Option<Instance>> {
    let Some(lab) = cluster.lab()? else {
        tell("left out: fake nodes are in a lab only");
        return Ok(None);
    };
    let log = AuditLog::of(&lab);
    let instance = Instance::new(cluster, id).await?;
    let begun = Instant::now();
    fleet::load(cluster, namespace, id, members).await?;
    fleet::await_pods(cluster, namespace, members).await?;
    let before = Picture::take(cluster, namespace).await?;
    let loaded = begun.elapsed();

    let started = Timestamp::now();
    instance.start(cluster).await?;
    await_observed(cluster, namespace).await?;
    let writes = await_calm(cluster, &log, namespace, &instance.user(), started).await?;
    let after = Picture::take(cluster, namespace).await?;
    let changes = before.changes(&after);
    ensure!(changes.is_empty(), "{} things moved:\n{}", changes.len(), changes.join("\n"));
    let acts: Vec<&Write> = writes.iter().filter(|write| !is_record(write)).collect();
    ensure!(acts.is_empty(), "Headgate acted: {acts:#?}");
    // What it remembers of each, once.
    ensure!(writes.len() == members.len(), "{} writes of {} Rollouts", writes.len(), members.len());

    let took = writes.last().zip(writes.first()).map(|(last, first)| last.at.duration_since(first.at));
    tell(&format!(
        "{} Rollouts with {} pods, loaded in {:.0} s, taken over in {:.1} s with {} writes; the controller used {}",
        members.len(),
        before.all("Pod").count(),
        loaded.as_secs_f64(),
        took.unwrap_or_default().as_secs_f64(),
        writes.len(),
        Controller::only(cluster, &instance.namespace()).await?.usage()?,
    ));
    Ok(Some(instance))
}

/// Waits until every Rollout has what Headgate remembers.
async fn await_observed(cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
    let api = cluster.api("Rollout", namespace);
    let mut unseen = Vec::new();
    let observed = async {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tick.tick().await;
            let rollouts = api.list(&ListParams::default()).await?;
            let new = rollouts.iter().filter(|rollout| rollout.data["status"].get("headgate").is_none());
            unseen = new.filter_map(|rollout| rollout.metadata.name.clone()).collect();
            if unseen.is_empty() {
                return anyhow::Ok(());
            }
        }
    };
    match tokio::time::timeout(TAKES_OVER_WITHIN, observed).await {
        Ok(ended) => ended,
        Err(_) => bail!("not taken over: {unseen:?}"),
    }
}

/// Waits until the last write in the namespace is a while ago, and gives all of them back.
async fn await_calm(
    cluster: &Cluster,
    log: &AuditLog,
    namespace: &str,
    user: &str,
    started: Timestamp,
) -> anyhow::Result<Vec<Write>> {
    let calm = async {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            log.catch_up(cluster, namespace).await?;
            let now = Timestamp::now();
            let mut writes = log.writes(user, &(started..now))?;
            writes.retain(|write| write.object.namespace == namespace);
            let last = writes.last().map_or(started, |write| write.at);
            if now.duration_since(last) > CALM {
                return anyhow::Ok(writes);
            }
        }
    };
    tokio::time::timeout(TAKES_OVER_WITHIN, calm).await.context("the fleet does not settle")?
}

/// What Headgate may write while it only looks.
fn is_record(write: &Write) -> bool {
    let object = &write.object;
    (object.resource.as_str(), object.subresource.as_str()) == ("rollouts", "status")
        || object.resource == "events"
}

/// The recorded templates measure with Jobs, which Headgate does not carry out yet.
async fn replace_metrics(cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
    for name in ["ok", "bad"] {
        let metric = json!({
            "name": name,
            "count": 1,
            "successCondition": "result[0] == 1",
            "provider": { "prometheus": { "address": PROMETHEUS, "query": "vector(1)" } },
        });
        let patch = json!({ "spec": { "metrics": [metric] } }).to_string();
        let arguments =
            ["patch", "analysistemplate", name, "-n", namespace, "--type=merge", "--patch", &patch];
        cluster.kubectl(&arguments).await?;
    }
    Ok(())
}

/// A user acts until the release is out.
async fn go_on(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<()> {
    let mut rollout = cluster.get("Rollout", namespace, name).await?;
    for _ in 0..ACTS_MAX {
        let before = place(&rollout);
        act(cluster, namespace, &rollout, name).await?;
        let is_settled = |rollout: &Value| {
            let (status, generation) = (&rollout["status"], rollout["metadata"]["generation"].to_string());
            status["observedGeneration"].as_str() == Some(generation.as_str())
                && (status["phase"] == "Healthy" || status["phase"] == "Paused")
                && place(rollout) != before
        };
        let limit = PATIENCE;
        rollout = cluster.await_object("Rollout", namespace, name, limit, "goes on", is_settled).await?;
        if rollout["status"]["phase"] == "Healthy" {
            return Ok(());
        }
    }
    bail!("{name} is not Healthy after {ACTS_MAX} acts: {:#}", rollout["status"])
}

/// Where a release stands.
fn place(rollout: &Value) -> [Value; 4] {
    ["currentPodHash", "currentStepIndex", "phase", "abort"].map(|field| rollout["status"][field].clone())
}

/// What a user does next, by what the Rollout says.
async fn act(cluster: &Cluster, namespace: &str, rollout: &Value, name: &str) -> anyhow::Result<()> {
    let status = &rollout["status"];
    let arguments: &[&str] = match (status["phase"].as_str(), status["abort"] == true) {
        (_, true) => &["retry", "rollout", name],
        (Some("Healthy" | "Degraded"), _) => return release(cluster, namespace, name).await,
        _ => &["promote", name],
    };
    let run = plugin(cluster, namespace, arguments).await?;
    ensure!(run.code == 0, "{arguments:?}: {run:?}");
    Ok(())
}

/// A new version, of an image that exists.
async fn release(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<()> {
    let container = "/spec/template/spec/containers/0";
    let patch = json!([
        { "op": "replace", "path": format!("{container}/image"), "value": "nginx:1.19-alpine" },
        { "op": "replace", "path": format!("{container}/env/0/value"), "value": "next" },
    ]);
    let patch = patch.to_string();
    let arguments = ["patch", "rollout", name, "-n", namespace, "--type=json", "--patch", &patch];
    cluster.kubectl(&arguments).await.map(|_| ())
}

/// Every status can be read by Argo Rollouts, and no other object has anything that it does not know.
async fn can_be_handed_back(cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
    let left = Picture::take(cluster, namespace).await?;
    for (name, rollout) in left.all("Rollout") {
        let wrong = unreadable(&rollout["status"]);
        ensure!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
    for kind in ["Rollout", "ReplicaSet", "Service", "Ingress", "VirtualService", "HTTPRoute"] {
        for (name, object) in left.all(kind) {
            let metadata = object["metadata"].to_string();
            ensure!(!metadata.contains("headgate"), "{kind} {name} has a mark of Headgate: {metadata}");
        }
    }
    if std::env::var_os("HEADGATE_E2E_LONG").is_none() {
        return Ok(());
    }
    let typed = |(_, rollout): (&str, &Value)| {
        let mut rollout = rollout.clone();
        // The items of a list come without their type.
        rollout["kind"] = json!("Rollout");
        rollout
    };
    let rollouts: Vec<Value> = left.all("Rollout").map(typed).collect();
    argo_rollouts::reads(&rollouts.iter().collect::<Vec<_>>()).await
}
