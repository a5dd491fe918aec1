//! The leader dies in the middle of a release; a controller of Argo Rollouts holds the Lease.

use crate::{alone, shared};
use anyhow::ensure;
use headgate_e2e::controllers::{Controller, LEASE};
use headgate_e2e::install::{Instance, NAMESPACE};
use headgate_e2e::shop::Manifests;
use headgate_e2e::{Cluster, Shop};
use jiff::Timestamp;
use kube::api::ListParams;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_on_under_the_next_leader() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let steps = json!([{ "setWeight": 50 }, { "pause": { "duration": "5s" } }, { "pause": {} }]);
    let shop = Shop::open(&cluster, "e2e-leader", &Manifests::plain("e2e-leader", &steps)?).await?;
    shop.release("v2", &[]).await?;
    shop.await_step(1).await?;

    let leader = Controller::leader(&cluster).await?;
    leader.remove(&cluster).await?;
    leader.await_successor(&cluster).await?;

    shop.await_step(2).await?;
    shop.plugin(&["promote", "shop"]).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promote_and_an_abort_that_come_while_nobody_leads_are_not_lost() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }]);
    let shop = Shop::open(&cluster, "e2e-leaderless", &Manifests::plain("e2e-leaderless", &steps)?).await?;
    shop.release("v2", &[]).await?;
    shop.await_pause(1).await?;
    while_nobody_leads(&shop, "promote").await?;
    let promoted = shop.await_phase("Healthy").await?;
    ensure!(promoted["stableRS"] == promoted["currentPodHash"], "{promoted:#}");

    shop.release("v3", &[]).await?;
    shop.await_pause(1).await?;
    while_nobody_leads(&shop, "abort").await?;
    let aborted = shop.await_phase("Degraded").await?;
    ensure!(aborted["abort"] == true && aborted["stableRS"] == promoted["stableRS"], "{aborted:#}");
    shop.await_pods(2, 0).await?;
    both_are_ready(&cluster).await?;
    shop.close().await
}

/// Sends a word after the leader has died and before another one leads, and waits for that one.
async fn while_nobody_leads(shop: &Shop, word: &str) -> anyhow::Result<()> {
    let cluster = &shop.cluster;
    both_are_ready(cluster).await?;
    let leader = Controller::leader(cluster).await?;
    // Without a word: it does not give the Lease back, and the other one waits until that has run out.
    leader.signal(Signal::SIGKILL)?;
    leader.remove(cluster).await?;
    let before = cluster.get("Lease", NAMESPACE, LEASE).await?;
    shop.plugin(&[word, "shop"]).await?;
    let status = shop.status().await?;
    let lease = cluster.get("Lease", NAMESPACE, LEASE).await?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    ensure!(holder.contains(&leader.pod) && lease == before, "somebody leads already: {lease:#}");
    ensure!(
        status["currentStepIndex"] == 1 && status["phase"] == "Paused",
        "nobody was there to do it: {status:#}"
    );
    leader.await_successor(cluster).await
}

/// Waits until one can lead and another one can follow.
async fn both_are_ready(cluster: &Cluster) -> anyhow::Result<()> {
    let wait = ["rollout", "status", "deployment/headgate", "-n", NAMESPACE, "--timeout=120s"];
    cluster.kubectl(&wait).await.map(|_| ())
}

/// What a controller of Argo Rollouts calls itself: its host's name and a UUID.
const OTHER: &str = "argo-rollouts-7c9f6d5b8-x2v4q_3f0d3c4e-2a5f-4c58-9a55-6c8b8d4f6e1a";

/// How often client-go renews a Lease, and how long it lasts without.
const RENEWED_EVERY: Duration = Duration::from_secs(2);
const LASTS_SECONDS: i32 = 15;

/// So many renewals may pass until a controller that has lost the Lease runs again.
const NOTICED_WITHIN: u32 = 60;

/// For so many renewals nobody may do anything: longer than a Lease that is not renewed lasts.
const RENEWALS: u32 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn while_a_controller_of_argo_rollouts_holds_the_lease_nothing_is_done_until_it_lets_go()
-> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let namespace = "e2e-lease";
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }]);
    let shop = Shop::open(&cluster, namespace, &Manifests::plain(namespace, &steps)?).await?;
    let (renewed, renewals) = watch::channel(0);
    tokio::select! {
        ended = holds(&cluster, &renewed) => ended?,
        waited = waits(&shop, renewals) => waited?,
    }
    // It is gone without a word, as one that was killed.
    shop.await_long("Paused").await?;
    shop.plugin(&["promote", "shop"]).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}

/// Holds the Lease for as long as it is asked to.
async fn holds(cluster: &Cluster, renewed: &watch::Sender<u32>) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(RENEWED_EVERY);
    loop {
        tick.tick().await;
        let spec = json!({
            "holderIdentity": OTHER, "leaseDurationSeconds": LASTS_SECONDS,
            "renewTime": format!("{:.6}", Timestamp::now()),
        });
        let patch = json!({ "spec": spec }).to_string();
        let patch = ["patch", "lease", LEASE, "-n", NAMESPACE, "--type=merge", "--patch", &patch];
        cluster.kubectl(&patch).await?;
        renewed.send_modify(|times| *times += 1);
    }
}

/// A new version is not taken up by those who wait for the Lease.
async fn waits(shop: &Shop, mut renewals: watch::Receiver<u32>) -> anyhow::Result<()> {
    // Who led until now learns of it with its own next renewal, ends, and begins again.
    while !all_wait(&shop.cluster).await? {
        renewals.changed().await?;
        ensure!(*renewals.borrow() < NOTICED_WITHIN, "not all controllers wait for the Lease");
    }
    let before = shop.status().await?;
    shop.release("v2", &[]).await?;
    let until = *renewals.borrow() + RENEWALS;
    renewals.wait_for(|times| *times >= until).await?;
    ensure!(shop.status().await? == before, "{:#}", shop.status().await?);
    Ok(())
}

/// True when each controller has said that it waits for that holder.
async fn all_wait(cluster: &Cluster) -> anyhow::Result<bool> {
    let pods = cluster.api("Pod", NAMESPACE).list(&ListParams::default()).await?;
    for pod in pods.items {
        let name = pod.metadata.name.unwrap_or_default();
        // The log of a container that is just being started cannot be read.
        let log = cluster.kubectl(&["logs", &name, "-n", NAMESPACE]).await.unwrap_or_default();
        if !log.lines().any(|line| line.contains("waiting for the lease") && line.contains(OTHER)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// As beside an Argo Rollouts that runs in another namespace, whose Lease it waits for.
#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_taken_in_the_namespace_that_a_flag_names() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let (id, namespace) = ("elsewhere", "e2e-lease-elsewhere");
    let instance = Instance::new(&cluster, id).await?;
    cluster.fresh_namespace(namespace).await?;
    instance.start_with(&cluster, &[&format!("leaderElection.namespace={namespace}")]).await?;
    let is_held =
        |lease: &Value| lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| !holder.is_empty());
    let lease = format!("{LEASE}-{id}");
    cluster.await_object("Lease", namespace, &lease, Duration::from_secs(60), "a holder", is_held).await?;
    let own = cluster.kubectl(&["get", "leases", "-n", &instance.namespace(), "-o", "name"]).await?;
    ensure!(!own.contains(LEASE), "and none in its own: {own}");
    instance.end(&cluster).await?;
    cluster.remove_namespace(namespace).await
}
