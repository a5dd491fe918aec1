//! `abort.policy`: an abort that leads the weight back in steps, and one that gives stable what its pods bear, under load.
//! Every weight on the way is seen, and nothing is lost.

use crate::alone;
use anyhow::ensure;
use futures::future::try_join_all;
use headgate_e2e::chronicle::{Chronicle, Entry, values};
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::course::{Course, nothing_is_lost};
use headgate_e2e::door::Door;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use std::time::Duration;

/// Requests per second.
const RATE: u32 = 100;

/// Proxies that nobody can ask are given 5 s, by clocks of whole seconds.
const SETTLES: Duration = Duration::from_secs(5);

/// `abortScaleDownDelaySeconds`.
const DELAY: Duration = Duration::from_secs(10);

/// A time by clocks of whole seconds may be a second shorter, and of two changes the first may be seen later than the second,
/// by as much as this machine is slow.
const SLACK: Duration = Duration::from_millis(1_500);

/// Three weights, and a pause at the last of them.
fn manifests(door: Door, namespace: &str, change: impl Fn(&mut Value)) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::through(door, namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["abortScaleDownDelaySeconds"] = json!(DELAY.as_secs());
        canary["steps"] =
            json!([{ "setWeight": 25 }, { "setWeight": 50 }, { "setWeight": 75 }, { "pause": {} }]);
        change(rollout);
    });
    Ok(manifests)
}

/// Releases v2 up to the pause at 75, and gives back the status there.
async fn up_to_the_pause(shop: &Shop, course: &Course<'_>) -> anyhow::Result<Value> {
    shop.release("v2", &[]).await?;
    course.share_follows("v2", 75).await?;
    shop.await_pause(3).await
}

/// The weights that the route shows from now on.
async fn weights_of(shop: &Shop) -> anyhow::Result<Chronicle<i64>> {
    let door = shop.door()?;
    let (kind, name) = door.weighted();
    Chronicle::begin(shop, kind, name, move |route| door.weight(route).unwrap_or_default()).await
}

fn set_of(hash: &Value) -> String {
    format!("{NAME}-{}", hash.as_str().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_in_steps_goes_back_through_every_weight_and_loses_nothing() -> anyhow::Result<()> {
    if !crate::is_turn_of("abort in steps")? {
        return Ok(());
    }
    let (cluster, _guard) = alone().await?;
    // The first one cannot say what its proxies have taken over, the second one can.
    try_join_all([Door::Istio, Door::Gateway].map(|door| back_in_steps(&cluster, door))).await.map(|_| ())
}

async fn back_in_steps(cluster: &Cluster, door: Door) -> anyhow::Result<()> {
    let namespace = format!("e2e-stepped-{}", door.name());
    let manifests = manifests(door, &namespace, |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        rollout["spec"]["strategy"]["canary"]["abort"] = json!({ "policy": "stepped" });
    })?;
    nothing_is_lost(cluster, &namespace, &manifests, RATE, aborted_in_steps).await
}

async fn aborted_in_steps(shop: &Shop, course: &Course<'_>) -> anyhow::Result<()> {
    let paused = up_to_the_pause(shop, course).await?;
    let mut weights = weights_of(shop).await?;
    let waiting = |rollout: &Value| rollout["status"]["waiting"]["message"].clone();
    let mut waits = Chronicle::begin(shop, "Rollout", NAME, waiting).await?;
    let wanted = |set: &Value| set["spec"]["replicas"].as_i64().unwrap_or_default();
    let mut pods = Chronicle::begin(shop, "ReplicaSet", &set_of(&paused["currentPodHash"]), wanted).await?;
    shop.plugin(&["abort", NAME]).await?;

    let weights = weights.until("stable has everything", |weight| *weight == 0).await?;
    ensure!(values(&weights) == [75, 50, 25, 0], "each weight has its turn: {weights:?}");
    course.share_follows("v2", 0).await?;
    let pods = pods.until("the new version has no pods", |pods| *pods == 0).await?;
    ensure!(values(&pods) == [2, 0], "its pods stay until the end, and go together: {pods:?}");
    lies_between(&weights[3], &pods[1], DELAY)?;
    if shop.door()? == Door::Istio {
        lies_between(&weights[1], &weights[2], SETTLES)?;
        lies_between(&weights[2], &weights[3], SETTLES)?;
        let serves =
            |message: &Value| message.as_str().is_some_and(|text| text.contains("the stable version serves"));
        tells_each_step(&values(&waits.until("the way back is over", serves).await?))?;
    }
    let status = shop.await_pods(2, 0).await?;
    let message = status["message"].as_str().unwrap_or_default();
    ensure!(status["phase"] == "Degraded" && message.ends_with("at step 4/4, weight 75"), "{status}");
    course.is_alone("v1").await
}

/// At least so much time has passed from one to the other.
fn lies_between<A, B>(one: &Entry<A>, other: &Entry<B>, least: Duration) -> anyhow::Result<()> {
    let between = other.at.duration_since(one.at);
    ensure!(between + SLACK >= least, "{between:?} lie between two changes, and {least:?} should");
    Ok(())
}

fn tells_each_step(waits: &[Value]) -> anyhow::Result<()> {
    for (from, to) in [(50, 25), (25, 0)] {
        let step = format!(
            "after the abort the weight goes back in steps: from {from} to {to} once the routes and their proxies have taken \
             over {from}"
        );
        ensure!(waits.iter().any(|told| *told == json!(step)), "it says {step:?}: {waits:?}");
    }
    Ok(())
}

/// Desired pods.
const REPLICAS: i64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_as_capacity_allows_gives_stable_what_its_pods_bear_and_loses_nothing() -> anyhow::Result<()>
{
    if !crate::is_turn_of("abort as capacity allows")? {
        return Ok(());
    }
    let (cluster, _guard) = alone().await?;
    let namespace = "e2e-capacity";
    let manifests = manifests(Door::Istio, namespace, |rollout| {
        rollout["spec"]["replicas"] = json!(REPLICAS);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["abort"] = json!({ "policy": "asCapacityAllows" });
        canary["dynamicStableScale"] = json!(true);
        // Without the policy three pods would get everything.
        canary["maxUnavailable"] = json!(1);
        if let Some(fields) = canary.as_object_mut() {
            fields.remove("scaleDownDelaySeconds");
        }
    })?;
    nothing_is_lost(&cluster, namespace, &manifests, RATE, aborted_where_pods_come_late).await
}

async fn aborted_where_pods_come_late(shop: &Shop, course: &Course<'_>) -> anyhow::Result<()> {
    let paused = up_to_the_pause(shop, course).await?;
    shop.await_pods(1 + 3, 3).await?;
    // Two of the three that are to come back find room.
    leave_room_for(shop, 3 + 3, 1 + 3).await?;
    let mut weights = weights_of(shop).await?;
    let mut pods = Chronicle::begin(shop, "ReplicaSet", &set_of(&paused["stableRS"]), available).await?;
    shop.plugin(&["abort", NAME]).await?;

    course.share_follows("v2", 25).await?;
    let lacks_room = |status: &Value| {
        let message = status["waiting"]["message"].as_str().unwrap_or_default();
        status["waiting"]["kind"] == "PodsAvailable" && message.contains("exceeded quota")
    };
    let status = shop.await_status("a pod of stable has no room", lacks_room).await?;
    let message = status["waiting"]["message"].as_str().unwrap_or_default();
    ensure!(message.starts_with(&format!("{REPLICAS} pods of the stable version (")), "{message}");
    ensure!(status["phase"] == "Degraded" && status["availableReplicas"] == 3 + 3, "{status}");

    shop.cluster.kubectl(&["delete", "resourcequota", QUOTA, "-n", &shop.namespace]).await?;
    course.share_follows("v2", 0).await?;
    let weights = weights.until("stable has everything", |weight| *weight == 0).await?;
    let pods = pods.until("all pods of stable are back", |pods| *pods == REPLICAS).await?;
    bears_its_share(&weights, &pods)?;
    shop.await_pods(REPLICAS, 0).await?;
    course.is_alone("v1").await
}

const QUOTA: &str = "room";

/// Keeps pods beyond this number from being made, once those are gone that are on their way: then there are `now`.
async fn leave_room_for(shop: &Shop, pods: i64, now: i64) -> anyhow::Result<()> {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": QUOTA },
        "spec": { "hard": { "pods": pods.to_string() } },
    });
    shop.cluster.apply(&shop.namespace, &[quota]).await?;
    let counts = |quota: &Value| {
        let count = |what: &str| quota["status"][what]["pods"].as_str().and_then(|text| text.parse().ok());
        count("hard") == Some(pods) && count("used") == Some(now)
    };
    let what = format!("{now} pods, and room for {pods}");
    let cluster = &shop.cluster;
    cluster.await_object("ResourceQuota", &shop.namespace, QUOTA, PATIENCE, &what, counts).await.map(|_| ())
}

/// Pods of a ReplicaSet that are available and are to stay.
fn available(set: &Value) -> i64 {
    let reported = set["status"]["availableReplicas"].as_i64().unwrap_or_default();
    reported.min(set["spec"]["replicas"].as_i64().unwrap_or_default())
}

/// The weight goes down only, waits for the last pod, and never leaves stable more than the pods bear that it had by then.
fn bears_its_share(weights: &[Entry<i64>], pods: &[Entry<i64>]) -> anyhow::Result<()> {
    let went = values(weights);
    ensure!(went.windows(2).all(|two| two[1] < two[0]) && went.ends_with(&[25, 0]), "{went:?}");
    // What it was before the abort is older than what is known of the pods.
    for weight in &weights[1..] {
        let before = pods.iter().rfind(|pods| pods.version < weight.version);
        let before = before.map_or(0, |pods| pods.what);
        ensure!(
            (100 - weight.what) * REPLICAS <= 100 * before,
            "weight {} while {before} of {REPLICAS} pods were available: {weights:?}, {pods:?}",
            weight.what
        );
    }
    Ok(())
}
