//! A version that comes back: without its steps within `rollbackWindow`, with them beyond it. And a Rollout that has none.

use crate::shared;
use anyhow::{bail, ensure};
use futures::StreamExt;
use headgate_e2e::Shop;
use headgate_e2e::chronicle::{Chronicle, values};
use headgate_e2e::shop::{Manifests, NAME};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread")]
async fn a_version_within_the_window_comes_back_without_its_steps_and_one_beyond_it_with_them()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-rollback";
    let mut manifests = Manifests::plain(namespace, &json!([{ "setWeight": 50 }, { "pause": {} }]))?;
    manifests.change("Rollout", |rollout| rollout["spec"]["rollbackWindow"] = json!({ "revisions": 1 }));
    let shop = Shop::open(&cluster, namespace, &manifests).await?;
    let first = shop.status().await?["stableRS"].clone();
    goes_out(&shop, "v2").await?;
    comes_back_by_itself(&shop, &first).await?;

    // The third version is newer than the second, which now lies between it and the first.
    goes_out(&shop, "v3").await?;
    shop.plugin(&["undo", NAME]).await?;
    let status = shop.await_pause(1).await?;
    ensure!(status["currentPodHash"] == first && status["stableRS"] != first, "{status}");
    shop.close().await
}

/// Releases a version and takes it past its pause to its end.
async fn goes_out(shop: &Shop, version: &str) -> anyhow::Result<()> {
    shop.release(version, &[]).await?;
    shop.await_pause(1).await?;
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await.map(|_| ())
}

/// The first version becomes stable again although nobody promotes it, and was at no step on its way.
async fn comes_back_by_itself(shop: &Shop, first: &Value) -> anyhow::Result<()> {
    let mut way = Chronicle::begin(shop, "Rollout", NAME, place).await?;
    shop.release("v1", &[]).await?;
    let is_back = |[stable, _, phase]: &[Value; 3]| *stable == *first && *phase == "Healthy";
    let way = values(&way.until("the first version is stable again", is_back).await?);
    for [_, step, phase] in &way {
        // Both steps count as done from the moment on in which the version is taken up.
        ensure!(*step == 2 && *phase != "Paused", "it takes its steps: {way:?}");
    }
    // It is the third release, of the pods of the first.
    let hash = first.as_str().unwrap_or_default();
    let told = format!("Rollout completed update to revision 3 ({hash}): Rollback within window");
    let events = shop.await_events("RolloutCompleted", 3).await?;
    ensure!(events.contains(&told), "{told:?} is none of {events:?}");
    Ok(())
}

/// Where a Rollout stands: its stable version, its step, and its phase.
fn place(rollout: &Value) -> [Value; 3] {
    ["stableRS", "currentStepIndex", "phase"].map(|field| rollout["status"][field].clone())
}

/// Desired pods.
const REPLICAS: i64 = 4;

/// A quarter of them may be added, and a quarter may be missing, where the spec says nothing (`maxSurge`, `maxUnavailable`).
const QUARTER: i64 = REPLICAS / 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_without_steps_goes_to_its_end_by_itself_within_surge_and_unavailable() -> anyhow::Result<()>
{
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-no-steps";
    let mut manifests = Manifests::plain(namespace, &Value::Null)?;
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(REPLICAS);
        rollout["spec"]["strategy"]["canary"] = json!({});
    });
    let shop = Shop::open(&cluster, namespace, &manifests).await?;
    let before = shop.status().await?["stableRS"].clone();
    let goes = async {
        shop.release("v2", &[]).await?;
        shop.await_phase("Healthy").await
    };
    let status = stays_within_bounds(&shop, goes).await?;
    ensure!(status["stableRS"] == status["currentPodHash"] && status["stableRS"] != before, "{status}");
    let hash = status["stableRS"].as_str().unwrap_or_default();
    let told = format!("Rollout completed update to revision 2 ({hash}): Completed all 0 canary steps");
    let events = shop.await_events("RolloutCompleted", 2).await?;
    ensure!(events.contains(&told), "{told:?} is none of {events:?}");
    // They would have been told before.
    let pauses = shop.await_events("RolloutPaused", 0).await?;
    ensure!(pauses.is_empty(), "{pauses:?}");
    shop.close().await
}

/// Pods of one version.
#[derive(Debug, Default)]
struct Pods {
    wanted: i64,
    /// The most that were available until now: that one fails its probe for a moment on a busy machine is no fault of the
    /// release.
    available: i64,
}

/// Acts, and ends with an error as soon as all versions together have too many pods, or too few that are available.
async fn stays_within_bounds<T>(
    shop: &Shop,
    acts: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let mut seen = BTreeMap::new();
    let acted = tokio::select! {
        biased;
        ended = await_beyond_bounds(shop, &mut seen) => ended.map(|()| None),
        acted = acts => acted.map(Some),
    };
    let Some(acted) = acted? else { bail!("too many pods, or too few available ones: {seen:?}") };
    ensure!(seen.len() == 2, "two versions were to be seen: {seen:?}");
    Ok(acted)
}

/// Ends when the pods of all ReplicaSets are too many, or too few.
async fn await_beyond_bounds(shop: &Shop, seen: &mut BTreeMap<String, Pods>) -> anyhow::Result<()> {
    let sets = shop.cluster.api("ReplicaSet", &shop.namespace);
    // One watch of all of them: what it shows comes in the order in which it was written.
    let mut changes = watcher(sets, watcher::Config::default()).default_backoff().boxed();
    while let Some(change) = changes.next().await {
        // A watch that breaks off begins anew, with a list.
        let Ok(change) = change else { continue };
        // In the middle of a list some are older than others.
        let is_list = matches!(change, watcher::Event::Init | watcher::Event::InitApply(_));
        if let watcher::Event::Apply(set) | watcher::Event::InitApply(set) = change {
            let number = |part: &str, field: &str| set.data[part][field].as_i64().unwrap_or_default();
            let (wanted, available) = (number("spec", "replicas"), number("status", "availableReplicas"));
            let pods = seen.entry(set.metadata.name.unwrap_or_default()).or_default();
            *pods = Pods { wanted, available: available.max(pods.available) };
        }
        let wanted: i64 = seen.values().map(|pods| pods.wanted).sum();
        let available: i64 = seen.values().map(|pods| pods.wanted.min(pods.available)).sum();
        if !is_list && (wanted > REPLICAS + QUARTER || available < REPLICAS - QUARTER) {
            return Ok(());
        }
    }
    bail!("the watch ended")
}
