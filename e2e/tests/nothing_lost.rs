//! Nothing is lost: over a promotion, an abort, a rollback and an interruption by a third version, at 200 requests a
//! second, through each router; and where few versions may wait until their pods go (`scaleDownDelayRevisionLimit`).

use crate::alone;
use anyhow::{Context, ensure};
use futures::future::try_join_all;
use headgate_e2e::chronicle::Chronicle;
use headgate_e2e::course::{self, Course, Outcome, conclusive, nothing_is_lost};
use headgate_e2e::door::Door;
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::{Cluster, Shop};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
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

/// Longer than the test: pods that go before have gone because of the limit.
const DELAY: SignedDuration = SignedDuration::from_secs(600);

/// Proxies are given 5 s to follow; a time by clocks of whole seconds may be a second shorter.
const FOLLOWED_AFTER: SignedDuration = SignedDuration::from_secs(5 - 1);

/// Desired pods where few versions may wait.
const FEW: i64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn no_more_drained_versions_keep_their_pods_than_the_limit_says_and_nothing_is_lost()
-> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    // The first one cannot say what its proxies have taken over, the second one can.
    try_join_all([Door::Istio, Door::Gateway].map(|door| limited(&cluster, door))).await.map(|_| ())
}

async fn limited(cluster: &Cluster, door: Door) -> anyhow::Result<()> {
    let namespace = format!("e2e-limit-{}", door.name());
    let mut manifests = Manifests::through(door, &namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(FEW);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = json!([{ "setWeight": 20 }, { "pause": {} }]);
        canary["scaleDownDelaySeconds"] = json!(DELAY.as_secs());
        canary["scaleDownDelayRevisionLimit"] = json!(1);
    });
    nothing_is_lost(cluster, &namespace, &manifests, RATE, in_quick_succession).await
}

/// Three versions one after the other.
async fn in_quick_succession(shop: &Shop, course: &Course<'_>) -> anyhow::Result<()> {
    let mut waiting: Vec<(String, Chronicle<Retiring>)> = Vec::new();
    for (version, drained) in [("v2", 0), ("v3", 1), ("v4", 1)] {
        let stable = shop.status().await?["stableRS"].as_str().context("no stable version")?.to_owned();
        let set = format!("{NAME}-{stable}");
        let watched = Chronicle::begin(shop, "ReplicaSet", &set, Retiring::of).await?;
        waiting.push((set, watched));
        shop.release(version, &[]).await?;
        is_verified(shop, &shop.await_pause(1).await?).await?;
        // The stable version, those that wait, and the new one.
        shop.await_pods(FEW + drained * FEW + 1, 1).await?;
        shop.plugin(&["promote", NAME]).await?;
        shop.await_phase("Healthy").await?;
    }
    course.is_alone("v4").await?;
    shop.await_pods(FEW + FEW, FEW).await?;

    // The one that was stable last waits, and those before it went when there was another one.
    let (set, mut last) = waiting.pop().context("three versions were stable")?;
    let so_far = last.until("it waits", |set| set.deadline.is_some()).await?;
    let deadline = so_far.last().and_then(|entry| entry.what.deadline).context("no deadline")?;
    let left = deadline.duration_since(Timestamp::now());
    ensure!(left > DELAY / 2 && so_far.iter().all(|entry| entry.what.pods == FEW), "{set}: {so_far:?}");
    for (set, mut retired) in waiting {
        let all = retired.until("its pods are gone", |set| set.pods == 0).await?;
        let began = all.iter().find(|entry| entry.what.deadline.is_some()).context("it never waited")?;
        let gone = all.iter().find(|entry| entry.what.pods == 0).context("it has pods")?;
        let waited = SignedDuration::try_from(gone.at.duration_since(began.at))?;
        ensure!(waited >= FOLLOWED_AFTER, "{set} went {waited:?} after requests had left it: {all:?}");
    }
    Ok(())
}

/// How a version that has lost its share goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Retiring {
    pods: i64,
    deadline: Option<Timestamp>,
}

impl Retiring {
    fn of(set: &Value) -> Self {
        let deadline = set["metadata"]["annotations"]["scale-down-deadline"].as_str();
        Self {
            pods: set["spec"]["replicas"].as_i64().unwrap_or_default(),
            deadline: deadline.and_then(|deadline| deadline.parse().ok()),
        }
    }
}

/// In a pause at weight 20 `verified` says that the Gateway has read the route, and nothing where nobody can say so.
async fn is_verified(shop: &Shop, paused: &Value) -> anyhow::Result<()> {
    let weights = &paused["canary"]["weights"];
    ensure!(weights["canary"]["weight"] == 20 && weights["stable"]["weight"] == 80, "{weights:#}");
    let door = shop.door()?;
    let can_tell = door == Door::Gateway;
    let verified = weights.get("verified");
    ensure!(verified == can_tell.then_some(&json!(true)), "{}: {weights:#}", door.name());
    if can_tell {
        let (kind, name) = door.route();
        let route = shop.cluster.get(kind, &shop.namespace, name).await?;
        let conditions = route["status"]["parents"][0]["conditions"].as_array();
        let accepted = conditions.into_iter().flatten().find(|condition| condition["type"] == "Accepted");
        let read = accepted.map(|condition| &condition["observedGeneration"]);
        ensure!(read == Some(&route["metadata"]["generation"]), "the Gateway has not read it: {route:#}");
    }
    Ok(())
}
