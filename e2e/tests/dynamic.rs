//! `dynamicStableScale`: a good release to its end and a bad one into its abort, through one router at 200 requests a second.
//! Nothing is lost, and there are never many more pods than are wanted.

use crate::alone;
use anyhow::ensure;
use headgate_e2e::course::{self, Course, Outcome, conclusive};
use headgate_e2e::door::Door;
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use std::time::Duration;

/// Requests per second.
const RATE: u32 = 200;
/// Desired pods.
const REPLICAS: i64 = 4;
/// Each step moves one pod, which is there twice while its weight moves.
const MOVED: i64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn stable_goes_with_its_weight_and_nothing_is_lost() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let door = Door::Istio;
    let (report, strain) = conclusive(door.name(), async || releases(&cluster, door).await).await?;
    ensure!(report.elapsed >= Duration::from_secs(30), "{:?} of traffic say too little", report.elapsed);
    tell(&format!(
        "{}, dynamicStableScale: {} requests, none lost; {strain}",
        door.name(),
        report.total.sent
    ));
    Ok(())
}

async fn releases(cluster: &Cluster, door: Door) -> anyhow::Result<Outcome> {
    let namespace = format!("e2e-dynamic-{}", door.name());
    let mut manifests = Manifests::through(door, &namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(REPLICAS);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = json!([
            { "setWeight": 25 }, { "pause": {} }, { "setWeight": 50 }, { "setWeight": 75 }, { "pause": {} },
        ]);
        canary["dynamicStableScale"] = json!(true);
        canary["maxUnavailable"] = json!(0);
        if let Some(fields) = canary.as_object_mut() {
            fields.retain(|key, _| {
                !["scaleDownDelaySeconds", "abortScaleDownDelaySeconds"].contains(&key.as_str())
            });
        }
    });
    let shop = Shop::open(cluster, &namespace, &manifests).await?;
    let course = Course::begin(&shop, RATE, "v1").await?;
    let went = tokio::select! {
        went = acts(&shop, &course) => went,
        crowded = never_many_pods(&shop) => crowded,
    };
    let outcome = course.end(0).await;
    course::judge(outcome, went, shop).await
}

async fn acts(shop: &Shop, course: &Course<'_>) -> anyhow::Result<()> {
    shop.release("v2", &[]).await?;
    course.share_follows("v2", 25).await?;
    pods(shop, 3, 1).await?;
    shop.plugin(&["promote", NAME]).await?;
    course.share_follows("v2", 75).await?;
    pods(shop, 1, 3).await?;
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    course.is_alone("v2").await?;
    pods(shop, 0, REPLICAS).await?;

    shop.release("v3", &[]).await?;
    course.share_follows("v3", 25).await?;
    pods(shop, 3, 1).await?;
    shop.plugin(&["promote", NAME]).await?;
    course.share_follows("v3", 75).await?;
    pods(shop, 1, 3).await?;
    shop.plugin(&["abort", NAME]).await?;
    course.share_follows("v3", 0).await?;
    pods(shop, REPLICAS, 0).await?;
    course.is_alone("v2").await
}

/// Waits until so many pods of the stable and of the new version are all there are.
async fn pods(shop: &Shop, stable: i64, updated: i64) -> anyhow::Result<()> {
    shop.await_pods(stable + updated, updated).await.map(|_| ())
}

/// Ends when there are more pods than a step explains.
async fn never_many_pods(shop: &Shop) -> anyhow::Result<()> {
    let is_crowded = |sets: &Value| {
        let wanted = |set: &Value| set["spec"]["replicas"].as_i64().unwrap_or(0);
        let sum: i64 = sets["items"].as_array().into_iter().flatten().map(wanted).sum();
        (sum > REPLICAS + MOVED).then_some(sum)
    };
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tick.tick().await;
        let sets = shop.cluster.kubectl(&["get", "replicasets", "-n", &shop.namespace, "-o", "json"]).await?;
        let crowd = is_crowded(&serde_json::from_str(&sets)?);
        // After an abort stable comes back beside the new version: that is the way back, and no doubling of a release.
        // Asked for after the pods, it is known of all that it explains.
        let rollout = shop.cluster.get("Rollout", &shop.namespace, NAME).await?;
        if rollout["status"]["abort"] == json!(true) {
            return std::future::pending().await;
        }
        if let Some(sum) = crowd {
            anyhow::bail!(
                "{sum} pods are wanted, {REPLICAS} and {MOVED} more are explained by a step: {sets}"
            );
        }
    }
}
