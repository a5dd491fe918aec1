//! `setCanaryScale` in its three forms, through a router: the canary's pods go apart from its weight, which stays where it is,
//! and nobody loses a request. And the least number of pods that a version has (`minPodsPerReplicaSet`).

use crate::{restless, shared};
use anyhow::ensure;
use headgate_e2e::course::{Course, nothing_is_lost};
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::{Cluster, Shop, meanwhile};
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

/// Desired pods, on the lab's fake nodes, where they cost nothing.
const MANY: i64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_a_small_share_has_the_least_number_of_pods_and_one_with_none_has_none()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    if cluster.lab()?.is_none() {
        tell("left out: fake nodes are in a lab only");
        return Ok(());
    }
    // Pods of the stable and of the new version at 10, 30 and 90 of 100.
    let held = least_pods(&cluster, false, [(MANY, 2), (MANY, 3), (MANY, 9)]);
    let dynamic = least_pods(&cluster, true, [(9, 2), (7, 3), (2, 9)]);
    tokio::try_join!(held, dynamic).map(|_| ())
}

async fn least_pods(cluster: &Cluster, is_dynamic: bool, pods: [(i64, i64); 3]) -> anyhow::Result<()> {
    let namespace = if is_dynamic { "e2e-least-dynamic" } else { "e2e-least" };
    let mut manifests = Manifests::example(namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(MANY);
        let pod = &mut rollout["spec"]["template"]["spec"];
        pod["nodeSelector"] = json!({ "kwok.x-k8s.io/node": "fake" });
        pod["tolerations"] = json!([{ "key": "kwok.x-k8s.io/node", "operator": "Exists" }]);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["minPodsPerReplicaSet"] = json!(2);
        canary["dynamicStableScale"] = json!(is_dynamic);
        canary["scaleDownDelaySeconds"] = if is_dynamic { json!(null) } else { json!(5) };
        canary["abortScaleDownDelaySeconds"] = json!(5);
        let wait = json!({ "pause": {} });
        canary["steps"] =
            json!([{ "setWeight": 10 }, wait, { "setWeight": 30 }, wait, { "setWeight": 90 }, wait]);
    });
    let shop = Shop::open(cluster, namespace, &manifests).await?;
    shop.release("v2", &[]).await?;
    for (step, (stable, newest)) in (1..).step_by(2).zip(pods) {
        shop.await_pause(step).await?;
        shop.await_pods(stable + newest, newest).await?;
        shop.plugin(&["promote", NAME]).await?;
    }
    shop.await_phase("Healthy").await?;
    shop.await_pods(MANY, MANY).await?;
    // It never had fewer in between.
    let scaled = shop.await_events("ScalingReplicaSet", 4).await?;
    ensure!(scaled.iter().any(|told| told.ends_with("(revision 2) from 0 to 2")), "{scaled:?}");

    // What is given up has none.
    shop.release("v3", &[]).await?;
    shop.await_pause(1).await?;
    shop.plugin(&["abort", NAME]).await?;
    shop.await_phase("Degraded").await?;
    shop.await_pods(MANY, 0).await?;
    shop.close().await
}
