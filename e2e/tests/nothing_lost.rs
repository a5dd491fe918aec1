//! Nothing is lost: over a promotion, an abort, a rollback and an interruption by a third version, at 200 requests a
//! second, through each router.

use crate::alone;
use anyhow::ensure;
use futures::future::try_join_all;
use headgate_e2e::course::{self, Course, Outcome, conclusive};
use headgate_e2e::door::Door;
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::Manifests;
use headgate_e2e::{Cluster, Shop};
use serde_json::json;
use std::time::Duration;
use tokio::sync::RwLock;

/// Requests per second.
const RATE: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_through_any_router() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let others = RwLock::default();
    try_join_all(Door::ALL.map(|door| nothing_is_lost_through(&cluster, door, &others))).await.map(|_| ())
}

/// At the same time as through the others: each alone would take as long as all of them together. Where the machine is too
/// slow for that, once more, alone.
async fn nothing_is_lost_through(cluster: &Cluster, door: Door, others: &RwLock<()>) -> anyhow::Result<()> {
    let mut beside = Some(others.read().await);
    let attempt = async || match beside.take() {
        Some(_beside) => releases(cluster, door).await,
        None => {
            let _alone = others.write().await;
            releases(cluster, door).await
        }
    };
    let (report, strain) = conclusive(door.name(), attempt).await?;
    ensure!(report.elapsed >= Duration::from_secs(60), "{:?} of traffic say too little", report.elapsed);
    tell(&format!("{}: {} requests, none lost; {strain}", door.name(), report.total.sent));
    Ok(())
}

async fn releases(cluster: &Cluster, door: Door) -> anyhow::Result<Outcome> {
    let namespace = format!("e2e-lost-{}", door.name());
    let mut manifests = Manifests::through(door, &namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = json!([{ "setWeight": 20 }, { "pause": {} }, { "setWeight": 60 }, { "pause": {} }]);
        // Longer than clients take to follow a weight, and short: pods that go are to go under load.
        canary["scaleDownDelaySeconds"] = json!(15);
        canary["abortScaleDownDelaySeconds"] = json!(15);
    });
    let shop = Shop::open(cluster, &namespace, &manifests).await?;
    let course = Course::begin(&shop, RATE, "v1").await?;
    let went = acts(&shop, &course).await;
    let outcome = course.end(0).await;
    course::judge(outcome, went, shop).await
}

async fn acts(shop: &Shop, course: &Course<'_>) -> anyhow::Result<()> {
    // A promotion.
    shop.release("v2", &[]).await?;
    steps(shop, course, "v2").await?;

    // An abort.
    shop.release("v3", &[]).await?;
    course.share_follows("v3", 20).await?;
    shop.plugin(&["abort", "shop"]).await?;
    course.share_follows("v3", 0).await?;
    without_pods_of_other_versions(shop).await?;

    // A rollback of a version that was promoted.
    shop.plugin(&["retry", "rollout", "shop"]).await?;
    course.share_follows("v3", 20).await?;
    shop.plugin(&["promote", "shop", "--full"]).await?;
    shop.await_phase("Healthy").await?;
    course.is_alone("v3").await?;
    shop.plugin(&["undo", "shop"]).await?;
    steps(shop, course, "v2").await?;

    // A third version in the middle.
    shop.release("v4", &[]).await?;
    course.share_follows("v4", 20).await?;
    shop.plugin(&["promote", "shop"]).await?;
    course.share_follows("v4", 60).await?;
    shop.release("v5", &[]).await?;
    course.share_follows("v5", 20).await?;
    shop.plugin(&["promote", "shop", "--full"]).await?;
    shop.await_phase("Healthy").await?;
    course.is_alone("v5").await?;
    without_pods_of_other_versions(shop).await
}

/// Waits until the pods of a version that was aborted, or is not stable any more, are gone.
async fn without_pods_of_other_versions(shop: &Shop) -> anyhow::Result<()> {
    let wanted = shop.cluster.get("Rollout", &shop.namespace, "shop").await?["spec"]["replicas"].clone();
    shop.await_status("only the stable version has pods", |status| status["replicas"] == wanted)
        .await
        .map(|_| ())
}

/// The steps of a release to its end.
async fn steps(shop: &Shop, course: &Course<'_>, version: &str) -> anyhow::Result<()> {
    course.share_follows(version, 20).await?;
    shop.plugin(&["promote", "shop"]).await?;
    course.share_follows(version, 60).await?;
    shop.plugin(&["promote", "shop"]).await?;
    shop.await_phase("Healthy").await?;
    course.is_alone(version).await
}
