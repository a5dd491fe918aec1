//! `antiAffinity`: while a release is under way pods of the new version keep off the nodes of the stable one. On fake nodes, so
//! that there are several, and one can be the only one.

use crate::shared;
use anyhow::{Context, ensure};
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::{Cluster, Shop};
use kube::api::ListParams;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const HASH: &str = "rollouts-pod-template-hash";

/// Marks the lab's fake nodes, of which there are four, as their label and taint.
const FAKE: &str = "kwok.x-k8s.io/node";

/// Pods of the stable version: they leave two of the nodes free, or more.
const REPLICAS: i64 = 2;

/// Pods of the new version at its pause: too many not to come to a node of the stable one, were they not kept off.
const MANY: i64 = 6;

/// Puts the pods on fake nodes that have this label too, and keeps those of a new version off.
fn keep_off(manifests: &mut Manifests, node: (&str, &str), rule: &str) {
    let (label, value) = node;
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(REPLICAS);
        let pod = &mut rollout["spec"]["template"]["spec"];
        pod["nodeSelector"] = json!({ FAKE: "fake", label: value });
        pod["tolerations"] = json!([{ "key": FAKE, "operator": "Exists" }]);
        rollout["spec"]["strategy"]["canary"]["antiAffinity"] = json!({ rule: {} });
    });
}

fn fake_nodes_are_there(cluster: &Cluster) -> anyhow::Result<bool> {
    let are_there = cluster.lab()?.is_some();
    if !are_there {
        tell("left out: fake nodes are in a lab only");
    }
    Ok(are_there)
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_new_version_share_no_node_with_those_of_the_stable_one() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    if !fake_nodes_are_there(&cluster)? {
        return Ok(());
    }
    let namespace = "e2e-keep-off";
    // Through a router, where a release may have more pods than are wanted in the end.
    let mut manifests = Manifests::example(namespace)?;
    keep_off(manifests.without_analysis(), (FAKE, "fake"), REQUIRED);
    manifests.change("Rollout", |rollout| {
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["scaleDownDelaySeconds"] = json!(5);
        canary["steps"] = json!([{ "setCanaryScale": { "replicas": MANY } }, { "pause": {} }]);
    });
    let shop = Shop::open(&cluster, namespace, &manifests).await?;
    let first = hash(&shop.status().await?, "stableRS");
    ensure!(avoided(&shop, &first, REQUIRED).await?.is_null(), "there is nothing yet that it could avoid");

    // Each new version keeps off the one that is stable then.
    for version in ["v2", "v3"] {
        shop.release(version, &[]).await?;
        shop.await_pause(1).await?;
        let status = shop.await_pods(REPLICAS + MANY, MANY).await?;
        let (stable, newest) = (hash(&status, "stableRS"), hash(&status, "currentPodHash"));
        let rule = avoided(&shop, &newest, REQUIRED).await?;
        ensure!(rule == json!([term(namespace, &stable)]), "{version}: {rule:#}");
        let (theirs, ours) = (nodes(&shop, &stable).await?, nodes(&shop, &newest).await?);
        ensure!(!theirs.is_empty() && !ours.is_empty() && theirs.is_disjoint(&ours), "{theirs:?}, {ours:?}");

        shop.plugin(&["promote", NAME]).await?;
        shop.await_phase("Healthy").await?;
        shop.await_pods(REPLICAS, REPLICAS).await?;
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_without_a_free_node_waits_where_one_is_required_and_not_where_it_is_preferred()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    if !fake_nodes_are_there(&cluster)? {
        return Ok(());
    }
    let namespace = "e2e-keep-off-one";
    let mut manifests = Manifests::plain(namespace, &json!([{ "setWeight": 50 }, { "pause": {} }]))?;
    keep_off(&mut manifests, ("kubernetes.io/hostname", "fake-0"), REQUIRED);
    let shop = Shop::open(&cluster, namespace, &manifests).await?;
    waits_for_a_node(&shop).await?;

    // Who sees it prefers rather than requires. A version that is under way keeps what it was made with.
    let preferred = json!({ REQUIRED: null, PREFERRED: { "weight": 100 } });
    shop.patch("merge", &json!({ "spec": { "strategy": { "canary": { "antiAffinity": preferred } } } }))
        .await?;
    shop.release("v3", &[]).await?;
    shop.await_pause(1).await?;
    let status = shop.await_pods(REPLICAS, 1).await?;
    let (stable, newest) = (hash(&status, "stableRS"), hash(&status, "currentPodHash"));
    let rule = avoided(&shop, &newest, PREFERRED).await?;
    let expected = json!([{ "weight": 100, "podAffinityTerm": term(namespace, &stable) }]);
    ensure!(rule == expected, "{rule:#}");
    let (theirs, ours) = (nodes(&shop, &stable).await?, nodes(&shop, &newest).await?);
    ensure!(theirs == ours, "there is one node only: {theirs:?}, {ours:?}");
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    shop.await_pods(REPLICAS, REPLICAS).await?;
    shop.close().await
}

/// Releases v2, whose pod no node can take: the scheduler says why, the release that it waits, and stable has all its pods.
async fn waits_for_a_node(shop: &Shop) -> anyhow::Result<()> {
    shop.release("v2", &[]).await?;
    let waits = |status: &Value| {
        let waiting = &status["waiting"];
        let said = waiting["message"].as_str().unwrap_or_default();
        waiting["kind"] == "PodsAvailable" && said.starts_with("1 pod of revision 2 ")
    };
    let status = shop.await_status("waits for its pod", waits).await?;
    let (stable, newest) = (hash(&status, "stableRS"), hash(&status, "currentPodHash"));
    let rule = avoided(shop, &newest, REQUIRED).await?;
    ensure!(rule == json!([term(&shop.namespace, &stable)]), "{rule:#}");
    await_unschedulable(shop, &newest).await?;

    let why = shop.plugin(&["why", NAME]).await?.out;
    ensure!(why.contains("1 pod of revision 2 ") && why.contains("is to be available"), "{why}");
    let status = shop.status().await?;
    ensure!(status["phase"] == "Progressing" && status["currentStepIndex"] == 0, "{status:#}");
    ensure!(status["availableReplicas"] == REPLICAS, "stable has all its pods: {status:#}");
    Ok(())
}

/// Waits until the scheduler says that no node takes a pod of this version, because of the rule.
async fn await_unschedulable(shop: &Shop, hash: &str) -> anyhow::Result<()> {
    let is_kept_off = |pod: &Value| {
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions.any(|condition| {
            let said = condition["message"].as_str().unwrap_or_default();
            condition["type"] == "PodScheduled"
                && condition["status"] == "False"
                && condition["reason"] == "Unschedulable"
                && said.contains("anti-affinity")
        })
    };
    let mut last = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let looking = async {
        while last.is_empty() || !last.iter().all(is_kept_off) {
            tick.tick().await;
            last = pods(shop, hash).await?;
        }
        anyhow::Ok(())
    };
    let ended = tokio::time::timeout(PATIENCE, looking).await;
    ended.with_context(|| format!("no node is to take a pod of {hash}: {last:?}"))?
}

/// The rule against pods with this hash, as Argo Rollouts writes it.
fn term(namespace: &str, hash: &str) -> Value {
    json!({
        "labelSelector": { "matchExpressions": [{ "key": HASH, "operator": "In", "values": [hash] }] },
        "namespaces": [namespace],
        "topologyKey": "kubernetes.io/hostname",
    })
}

/// The rules of that kind that pods of this version are made with; null without any. The status tells of a version before
/// its ReplicaSet is made, so it is waited for.
async fn avoided(shop: &Shop, hash: &str, rule: &str) -> anyhow::Result<Value> {
    let (name, namespace) = (format!("{NAME}-{hash}"), &shop.namespace);
    let set = shop.cluster.await_object("ReplicaSet", namespace, &name, PATIENCE, "made", |_| true).await?;
    Ok(set["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"][rule].clone())
}

/// The pods of a version that are not leaving.
async fn pods(shop: &Shop, hash: &str) -> anyhow::Result<Vec<Value>> {
    let labels = ListParams::default().labels(&format!("{HASH}={hash}"));
    let listed = shop.cluster.api("Pod", &shop.namespace).list(&labels).await?;
    let staying = listed.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    staying.map(|pod| Ok(serde_json::to_value(pod)?)).collect()
}

/// The nodes of these pods.
async fn nodes(shop: &Shop, hash: &str) -> anyhow::Result<BTreeSet<String>> {
    let node =
        |pod: &Value| pod["spec"]["nodeName"].as_str().map(str::to_owned).context("a pod without a node");
    pods(shop, hash).await?.iter().map(node).collect()
}

fn hash(status: &Value, field: &str) -> String {
    status[field].as_str().unwrap_or_default().to_owned()
}
