//! When pods count: `minReadySeconds`, and `replicaProgressThreshold` while not all of them are ready.

use crate::shared;
use anyhow::{Context, ensure};
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_e2e::Shop;
use headgate_e2e::shop::Manifests;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const MIN_READY: i64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_waits_until_its_pods_have_been_ready_for_as_long_as_the_spec_wants() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-min-ready";
    let mut manifests = Manifests::plain(namespace, &json!([{ "setWeight": 50 }, { "pause": {} }]))?;
    manifests.change("Rollout", |rollout| rollout["spec"]["minReadySeconds"] = json!(MIN_READY));
    let shop = Shop::open(&cluster, namespace, &manifests).await?;
    shop.release("v2", &[]).await?;
    let status = shop.await_pause(1).await?;
    let paused: Timestamp = time(&status["pauseConditions"][0]["startTime"])?;
    let newest = newest_pods(&shop).await?;
    ensure!(!newest.is_empty(), "the step has no pod: {status:#}");
    for pod in newest {
        let conditions = pod["status"]["conditions"].as_array().context("a pod without conditions")?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("not ready")?;
        let since = paused.duration_since(time(&ready["lastTransitionTime"])?);
        // Both times are cut to whole seconds.
        ensure!(since >= SignedDuration::from_secs(MIN_READY - 1), "the step was over after {since}");
    }
    shop.close().await
}

/// A condition that pods of the new version need, and that only this test sets.
const GATE: &str = "headgate.example/let-in";

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_reached_with_as_many_ready_pods_as_its_threshold_wants() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-threshold";
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }, { "setWeight": 100 }, { "pause": {} }]);
    let mut manifests = Manifests::plain(namespace, &steps)?;
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(4);
        // Pods of both versions come before any goes, so that only readiness is waited for.
        rollout["spec"]["strategy"]["canary"]["maxSurge"] = json!("100%");
        rollout["spec"]["strategy"]["canary"]["replicaProgressThreshold"] =
            json!({ "type": "Percent", "value": 50 });
    });
    let shop = Shop::open(&cluster, namespace, &manifests).await?;
    let gates =
        json!({ "spec": { "template": { "spec": { "readinessGates": [{ "conditionType": GATE }] } } } });
    shop.patch("merge", &gates).await?;

    // Two pods, none of them ready: of a step of 50 % half is one.
    let are_there = |status: &Value| status["updatedReplicas"] == 2 && status["currentStepIndex"] == 0;
    shop.await_status("two pods that are not ready", are_there).await?;
    let newest = newest_pods(&shop).await?;
    let [one, _other] = newest.as_slice() else { anyhow::bail!("{} pods, not two", newest.len()) };
    let waits =
        |status: &Value| status["waiting"]["kind"] == "PodsAvailable" && status["currentStepIndex"] == 0;
    shop.await_status("a wait for ready pods", waits).await?;
    let_in(&shop, one).await?;
    let status = shop.await_pause(1).await?;
    let pods = |count: &str| status[count].as_i64().unwrap_or_default();
    ensure!(pods("updatedReplicas") == 2 && pods("availableReplicas") < pods("replicas"), "{status:#}");
    shop.close().await
}

/// The pods of the version that is being released.
async fn newest_pods(shop: &Shop) -> anyhow::Result<Vec<Value>> {
    let status = shop.status().await?;
    let hash = status["currentPodHash"].as_str().context("no hash")?;
    let selector = format!("{POD_TEMPLATE_HASH}={hash}");
    let list =
        shop.cluster.kubectl(&["get", "pods", "-n", &shop.namespace, "-l", &selector, "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&list)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Opens the gate of a pod.
async fn let_in(shop: &Shop, pod: &Value) -> anyhow::Result<()> {
    let name = pod["metadata"]["name"].as_str().context("a pod without a name")?;
    let open = json!({ "status": { "conditions": [{ "type": GATE, "status": "True" }] } }).to_string();
    let patch = ["patch", "pod", name, "-n", &shop.namespace, "--subresource=status", "--patch", &open];
    shop.cluster.kubectl(&patch).await.map(|_| ())
}

fn time(value: &Value) -> anyhow::Result<Timestamp> {
    Ok(value.as_str().with_context(|| format!("{value} is no time"))?.parse()?)
}
