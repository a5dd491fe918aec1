//! Scaled to nothing and back, by hand: at rest, in the middle of a release, and while a user holds the Rollout. It comes back
//! as it was, and serves again.

use crate::shared;
use anyhow::ensure;
use headgate_e2e::Shop;
use headgate_e2e::course;
use headgate_e2e::load::{Load, LoadOptions};
use headgate_e2e::meanwhile;
use headgate_e2e::shop::{Manifests, NAME};
use serde_json::{Value, json};
use std::time::Duration;

/// Pods before, and after.
const REPLICAS: i64 = 4;

/// Pods of the new version at the step that waits.
const HALF: i64 = REPLICAS / 2;

fn half_and_wait() -> Value {
    json!([{ "setWeight": 50 }, { "pause": {} }])
}

/// Through Istio.
fn routed(namespace: &str) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::example(namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(REPLICAS);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = half_and_wait();
        canary["scaleDownDelaySeconds"] = json!(5);
    });
    Ok(manifests)
}

fn plain(namespace: &str) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::plain(namespace, &half_and_wait())?;
    manifests.change("Rollout", |rollout| rollout["spec"]["replicas"] = json!(REPLICAS));
    Ok(manifests)
}

/// As a user does it.
async fn scale(shop: &Shop, pods: i64) -> anyhow::Result<()> {
    let replicas = format!("--replicas={pods}");
    shop.cluster.kubectl(&["scale", "rollout", NAME, "-n", &shop.namespace, &replicas]).await.map(|_| ())
}

/// To no pod at all, and back until there are so many, so many of them of the newest version.
async fn to_zero_and_back(shop: &Shop, all: i64, newest: i64) -> anyhow::Result<()> {
    scale(shop, 0).await?;
    shop.await_pods(0, 0).await?;
    scale(shop, REPLICAS).await?;
    shop.await_pods(all, newest).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_at_rest_that_was_scaled_to_zero_comes_back_as_the_version_that_it_was()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-zero";
    let shop = Shop::open(&cluster, namespace, &routed(namespace)?).await?;
    let before = shop.status().await?;
    let acts = async {
        scale(&shop, 0).await?;
        shop.await_pods(0, 0).await?;
        // It has all that is wanted of it.
        shop.await_phase("Healthy").await?;
        scale(&shop, REPLICAS).await?;
        shop.await_pods(REPLICAS, REPLICAS).await?;
        shop.await_phase("Healthy").await
    };
    let after = meanwhile::weight_stays(&shop, 0, acts).await?;
    for hash in ["stableRS", "currentPodHash"] {
        ensure!(after[hash] == before[hash], "{before:#} and then {after:#}");
    }
    let sets = shop.names("replicasets").await?;
    ensure!(sets.len() == 1, "no other version was made: {sets:?}");
    shop.await_route("v1").await?;
    shop.close().await
}

/// Waits until clients get either version as often as the weight says. What they lose before has no pods to go to.
async fn both_serve(shop: &Shop) -> anyhow::Result<()> {
    let load = Load::start(shop.target()?, LoadOptions::default())?;
    let served = course::await_share(&load, "v2", 0.5, Duration::from_secs(2)).await;
    load.stop().await;
    served.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_waits_is_what_it_was_after_its_rollout_was_scaled_to_zero_and_back() -> anyhow::Result<()>
{
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-zero-paused";
    let shop = Shop::open(&cluster, namespace, &routed(namespace)?).await?;
    shop.release("v2", &[]).await?;
    comes_back_at_its_step(&shop).await?;
    // The same once more, while a user holds the Rollout as well.
    shop.plugin(&["pause", NAME]).await?;
    shop.await_status("held by a user", |status| status["message"] == "manually paused").await?;
    comes_back_at_its_step(&shop).await?;

    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    shop.await_pods(REPLICAS, REPLICAS).await?;
    shop.await_weight(0).await?;
    shop.await_route("v2").await?;
    shop.close().await
}

async fn comes_back_at_its_step(shop: &Shop) -> anyhow::Result<()> {
    shop.await_pause(1).await?;
    shop.await_pods(REPLICAS + HALF, HALF).await?;
    shop.await_weight(50).await?;
    let emptied = async {
        scale(shop, 0).await?;
        shop.await_pods(0, 0).await?;
        shop.await_pause(1).await
    };
    // The weights are the release's, whatever there is to serve.
    meanwhile::weight_stays(shop, 50, emptied).await?;
    scale(shop, REPLICAS).await?;
    shop.await_pods(REPLICAS + HALF, HALF).await?;
    shop.await_pause(1).await?;
    shop.await_weight(50).await?;
    both_serve(shop).await
}

/// A user holds the Rollout: at rest it comes back from nothing, and with a release that has not begun stable alone does.
async fn comes_back_while_held(shop: &Shop) -> anyhow::Result<()> {
    shop.plugin(&["pause", NAME]).await?;
    shop.await_status("held by a user", |status| status["message"] == "manually paused").await?;
    to_zero_and_back(shop, REPLICAS, REPLICAS).await?;
    let held = shop.release_held("v2").await?;
    meanwhile::size_stays(shop, &held, 0, to_zero_and_back(shop, REPLICAS, 0)).await?;
    let status = shop.status().await?;
    ensure!(status["message"] == "manually paused", "{status:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stable_alone_comes_back_from_zero_through_a_router_while_a_user_holds_a_release()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-zero-held-routed";
    let shop = Shop::open(&cluster, namespace, &routed(namespace)?).await?;
    meanwhile::weight_stays(&shop, 0, comes_back_while_held(&shop)).await?;
    shop.await_route("v1").await?;

    shop.plugin(&["promote", NAME]).await?;
    shop.await_pause(1).await?;
    shop.await_pods(REPLICAS + HALF, HALF).await?;
    shop.await_weight(50).await?;
    both_serve(&shop).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stable_alone_comes_back_from_zero_without_a_router_while_a_user_holds_a_release()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-zero-held-plain";
    let shop = Shop::open(&cluster, namespace, &plain(namespace)?).await?;
    comes_back_while_held(&shop).await?;

    shop.plugin(&["promote", NAME]).await?;
    shop.await_pause(1).await?;
    shop.await_pods(REPLICAS, HALF).await?;
    shop.close().await
}
