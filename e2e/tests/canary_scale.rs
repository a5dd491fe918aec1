//! `setCanaryScale` in its three forms, through a router: the canary's pods go apart from its weight, which stays where it is,
//! and nobody loses a request.

use crate::restless;
use headgate_e2e::Shop;
use headgate_e2e::course::{Course, nothing_is_lost};
use headgate_e2e::meanwhile;
use headgate_e2e::shop::{Manifests, NAME};
use serde_json::json;

/// Requests per second.
const RATE: u32 = 60;

/// Pods of the stable version all the time: the canary's come on top of them.
const REPLICAS: i64 = 4;

fn manifests(namespace: &str) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::example(namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(REPLICAS);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        // As long as clients may take to follow a weight.
        canary["scaleDownDelaySeconds"] = json!(5);
        canary["abortScaleDownDelaySeconds"] = json!(5);
        let wait = json!({ "pause": {} });
        canary["steps"] = json!([
            { "setCanaryScale": { "replicas": 3 } }, wait,
            { "setWeight": 25 }, wait,
            { "setCanaryScale": { "weight": 50 } }, wait,
            { "setCanaryScale": { "matchTrafficWeight": true } }, wait,
        ]);
    });
    Ok(manifests)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_the_pods_that_its_scale_says_and_the_traffic_that_its_weight_says()
-> anyhow::Result<()> {
    if !crate::is_turn_of("canary scale")? {
        return Ok(());
    }
    let (cluster, _guard) = restless().await?;
    let namespace = "e2e-canary-scale";
    nothing_is_lost(&cluster, namespace, &manifests(namespace)?, RATE, acts).await
}

async fn acts(shop: &Shop, course: &Course<'_>) -> anyhow::Result<()> {
    // So many pods, and nothing for them to do.
    let begun = async {
        begins(shop, "v2").await?;
        course.is_alone("v1").await
    };
    meanwhile::weight_stays(shop, 0, begun).await?;

    // Three pods stay three pods, although one is the share of this weight.
    shop.plugin(&["promote", NAME]).await?;
    waits_with(shop, 3, 3).await?;
    course.share_follows("v2", 25).await?;

    // The share of a weight that is none of the traffic's, and then that of the traffic's again.
    for (step, pods) in [(5, 2), (7, 1)] {
        let resized = async {
            shop.plugin(&["promote", NAME]).await?;
            waits_with(shop, step, pods).await?;
            course.share_follows("v2", 25).await
        };
        meanwhile::weight_stays(shop, 25, resized).await?;
    }

    // After the last step the new version has everything.
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    shop.await_pods(REPLICAS, REPLICAS).await?;
    shop.await_weight(0).await?;
    course.is_alone("v2").await?;

    // An abort takes the pods away that never had any traffic.
    let aborted = async {
        begins(shop, "v3").await?;
        shop.plugin(&["abort", NAME]).await?;
        shop.await_phase("Degraded").await?;
        shop.await_pods(REPLICAS, 0).await
    };
    meanwhile::weight_stays(shop, 0, aborted).await?;
    course.is_alone("v2").await
}

/// Releases a version and waits for its pods at the first pause.
async fn begins(shop: &Shop, version: &str) -> anyhow::Result<()> {
    shop.release(version, &[]).await?;
    waits_with(shop, 1, 3).await
}

/// Waits until the release waits at a step, with so many pods of the new version.
async fn waits_with(shop: &Shop, step: i64, pods: i64) -> anyhow::Result<()> {
    shop.await_pause(step).await?;
    shop.await_pods(REPLICAS + pods, pods).await.map(|_| ())
}
