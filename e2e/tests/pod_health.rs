//! New versions whose pods say themselves that they are bad: no template, no metric, and stable serves on.

use crate::shared;
use headgate_e2e::Shop;
use headgate_e2e::shop::Manifests;
use serde_json::{Value, json};

/// A release that gives the new version a fifth and then waits for a user. `pod_health` is written into its spec.
fn manifests(namespace: &str, pod_health: &Value) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::example(namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        rollout["spec"]["progressDeadlineSeconds"] = json!(600);
        rollout["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] =
            json!({ "memory": "64Mi" });
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["podHealth"] = pod_health.clone();
        canary["steps"] = json!([{ "setWeight": 20 }, { "pause": {} }]);
    });
    Ok(manifests)
}

/// The release is aborted for this cause of a pod of its version, and stable is as it was.
async fn is_aborted(shop: &Shop, stable: &Value, cause: &str) -> anyhow::Result<()> {
    let status = shop.await_status("aborted", |status| status["abort"] == true).await?;
    let message = status["message"].as_str().unwrap_or_default();
    let hash = status["currentPodHash"].as_str().unwrap_or_default();
    assert!(message.contains(&format!(": pod shop-{hash}-")), "{message}");
    assert!(message.contains(", container app: ") && message.contains(cause), "{message}");
    assert_eq!(status["stableRS"], *stable);
    shop.await_weight(0).await?;
    let told = shop.await_events("RolloutAborted", 1).await?;
    assert!(told[0].contains(cause), "{told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_killed_for_want_of_memory_is_aborted() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop = Shop::open(&cluster, "e2e-oom", &manifests("e2e-oom", &Value::Null)?).await?;
    let stable = shop.status().await?["stableRS"].clone();
    shop.release("v2", &[("OOM_AFTER", "5s")]).await?;
    is_aborted(&shop, &stable, "OOMKilled (exit 137), memory limit 64Mi").await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_crashes_again_and_again_is_aborted() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    // Two ends are soon seen; the sixth, which the default waits for, comes after two and a half minutes.
    let shop =
        Shop::open(&cluster, "e2e-crash", &manifests("e2e-crash", &json!({ "maxRestarts": 1 }))?).await?;
    let stable = shop.status().await?["stableRS"].clone();
    shop.release("v2", &[("CRASH_AFTER", "3s")]).await?;
    is_aborted(&shop, &stable, "ended 2 times within 300 s, last with exit 1").await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_becomes_ready_and_then_fails_its_readiness_probe_is_aborted() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut manifests = manifests("e2e-unready", &Value::Null)?;
    manifests.change("Rollout", |rollout| {
        let probe = &mut rollout["spec"]["template"]["spec"]["containers"][0]["readinessProbe"];
        probe["periodSeconds"] = json!(1);
    });
    let shop = Shop::open(&cluster, "e2e-unready", &manifests).await?;
    let stable = shop.status().await?["stableRS"].clone();
    shop.release("v2", &[("UNREADY_AFTER", "10s")]).await?;
    is_aborted(&shop, &stable, ": at least 3 readiness probes failed in a row").await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_image_cannot_be_pulled_is_aborted_and_never_gets_a_request() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let pod_health = json!({ "imagePullSeconds": 15 });
    let shop = Shop::open(&cluster, "e2e-no-image", &manifests("e2e-no-image", &pod_health)?).await?;
    let stable = shop.status().await?["stableRS"].clone();
    let image = "registry.invalid/shop:v2";
    let patch =
        json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image }]);
    shop.patch("json", &patch).await?;
    is_aborted(&shop, &stable, &format!("image {image} cannot be pulled for 15 s")).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_spec_says_so_a_release_pauses_and_a_user_decides() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop =
        Shop::open(&cluster, "e2e-oom-pause", &manifests("e2e-oom-pause", &json!({ "action": "pause" }))?)
            .await?;
    shop.release("v2", &[("OOM_AFTER", "5s")]).await?;
    let status =
        shop.await_status("paused for a pod", |status| status["waiting"]["kind"] == "PodHealth").await?;
    assert!(status["waiting"]["message"].as_str().is_some_and(|why| why.contains("OOMKilled")), "{status}");
    shop.await_events("UnhealthyPod", 1).await?;
    let why = shop.plugin(&["why", "shop"]).await?.out;
    assert!(why.contains("waits for somebody to look at an unhealthy pod"), "{why}");
    shop.plugin(&["abort", "shop"]).await?;
    shop.await_status("aborted", |status| status["abort"] == true).await?;
    shop.close().await
}
