//! Abort, promote, retry, undo, pause and set image, by hand, with and without a router.

use crate::shared;
use headgate_e2e::Shop;
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::shop::Manifests;
use serde_json::{Value, json};

/// Through Istio, without analysis: a step, a pause that waits for a user, another step.
fn by_steps(namespace: &str) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::example(namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["scaleDownDelaySeconds"] = json!(3);
        canary["abortScaleDownDelaySeconds"] = json!(3);
        canary["steps"] = json!([{ "setWeight": 20 }, { "pause": {} }, { "setWeight": 60 }, { "pause": {} }]);
    });
    Ok(manifests)
}

async fn await_pods(shop: &Shop, hash: &str, pods: i64) -> anyhow::Result<()> {
    let name = format!("shop-{hash}");
    let what = format!("{pods} pods");
    let seen = |set: &Value| set["spec"]["replicas"] == pods && set["status"]["replicas"] == pods;
    shop.cluster.await_object("ReplicaSet", &shop.namespace, &name, PATIENCE, &what, seen).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn promote_goes_on_from_each_pause_to_the_end() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop = Shop::open(&cluster, "e2e-promote", &by_steps("e2e-promote")?).await?;
    shop.release("v2", &[]).await?;
    shop.await_phase("Paused").await?;
    assert_eq!(shop.routed_weight().await?, 20);
    let why = shop.plugin(&["why", "rollout/shop"]).await?.out;
    assert!(why.contains("promote shop"), "{why}");

    shop.plugin(&["promote", "shop"]).await?;
    shop.await_weight(60).await?;
    shop.await_status("paused at step 3", |status| {
        status["phase"] == "Paused" && status["currentStepIndex"] == 3
    })
    .await?;
    shop.plugin(&["promote", "rollout/shop"]).await?;
    let end = shop.await_phase("Healthy").await?;
    assert_eq!(end["stableRS"], end["currentPodHash"]);
    shop.await_weight(0).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn promote_full_skips_what_is_left() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop = Shop::open(&cluster, "e2e-promote-full", &by_steps("e2e-promote-full")?).await?;
    shop.release("v2", &[]).await?;
    shop.await_phase("Paused").await?;
    shop.plugin(&["promote", "shop", "--full"]).await?;
    let end = shop.await_phase("Healthy").await?;
    assert_eq!(end["stableRS"], end["currentPodHash"]);
    assert_ne!(end["promoteFull"], true, "the intent was consumed");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_gives_stable_everything_and_retry_begins_again() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop = Shop::open(&cluster, "e2e-abort", &by_steps("e2e-abort")?).await?;
    shop.release("v2", &[]).await?;
    let paused = shop.await_phase("Paused").await?;
    let canary = paused["currentPodHash"].as_str().unwrap_or_default().to_owned();

    shop.plugin(&["abort", "shop"]).await?;
    let aborted = shop.await_phase("Degraded").await?;
    assert_eq!(aborted["abort"], true);
    shop.await_weight(0).await?;
    await_pods(&shop, &canary, 0).await?;
    let status =
        headgate_e2e::plugin::plugin(&cluster, &shop.namespace, &["status", "shop", "--watch=false"]).await?;
    assert_ne!(status.code, 0, "status of a Degraded rollout ends with an error: {status:?}");
    assert!(status.out.contains("Degraded"), "{status:?}");

    shop.plugin(&["retry", "rollout", "shop"]).await?;
    shop.await_phase("Paused").await?;
    shop.await_weight(20).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_in_the_middle_leads_back_to_stable_without_steps() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop = Shop::open(&cluster, "e2e-undo", &by_steps("e2e-undo")?).await?;
    let first = shop.status().await?;
    shop.release("v2", &[]).await?;
    let paused = shop.await_phase("Paused").await?;
    let canary = paused["currentPodHash"].as_str().unwrap_or_default().to_owned();
    shop.plugin(&["undo", "shop"]).await?;
    let end = shop.await_phase("Healthy").await?;
    assert_eq!(end["currentPodHash"], first["stableRS"], "the very same ReplicaSet, not a new one");
    shop.await_weight(0).await?;
    await_pods(&shop, &canary, 0).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_revision_in_the_middle_takes_over_and_the_second_is_drained() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop = Shop::open(&cluster, "e2e-third", &by_steps("e2e-third")?).await?;
    shop.release("v2", &[]).await?;
    let second = shop.await_phase("Paused").await?;
    let second = second["currentPodHash"].as_str().unwrap_or_default().to_owned();
    shop.release("v3", &[]).await?;
    let third = shop.await_phase("Paused").await?;
    assert_ne!(third["currentPodHash"], second.as_str());
    shop.await_weight(20).await?;
    await_pods(&shop, &second, 0).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_router_the_share_of_pods_follows_the_steps() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }, { "pause": { "duration": "2s" } }]);
    let shop = Shop::open(&cluster, "e2e-plain", &Manifests::plain("e2e-plain", &steps)?).await?;
    let first = shop.status().await?;
    let stable = first["stableRS"].as_str().unwrap_or_default().to_owned();
    shop.plugin(&["set", "image", "shop", "app=headgate/app:0.1.0"]).await?;
    shop.release("v2", &[]).await?;
    let paused = shop.await_phase("Paused").await?;
    let canary = paused["currentPodHash"].as_str().unwrap_or_default().to_owned();
    await_pods(&shop, &canary, 1).await?;
    await_pods(&shop, &stable, 1).await?;

    shop.plugin(&["pause", "shop"]).await?;
    let held =
        shop.await_status("paused by the user", |status| status["message"] == "manually paused").await?;
    assert_eq!(held["phase"], "Paused");
    shop.plugin(&["promote", "shop"]).await?;
    let end = shop.await_phase("Healthy").await?;
    assert_eq!(end["stableRS"], canary.as_str());
    await_pods(&shop, &canary, 2).await?;
    await_pods(&shop, &stable, 0).await?;
    let tree = shop.plugin(&["get", "rollout", "shop"]).await?.out;
    assert!(tree.contains("Healthy") && tree.contains("revision:2") && tree.contains("stable"), "{tree}");
    shop.close().await
}
