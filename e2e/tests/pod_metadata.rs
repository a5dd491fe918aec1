//! Labels and annotations follow the roles of versions on pods that run on: through a release and an abort none is restarted.

use crate::shared;
use anyhow::Context;
use headgate_e2e::Shop;
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::shop::Manifests;
use kube::api::ListParams;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

fn manifests(namespace: &str) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::plain(namespace, &json!([{ "setWeight": 50 }, { "pause": {} }]))?;
    manifests.change("Rollout", |rollout| {
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["canaryMetadata"] =
            json!({ "labels": { "role": "canary" }, "annotations": { "note": "new" } });
        canary["stableMetadata"] = json!({ "labels": { "role": "stable" } });
    });
    Ok(manifests)
}

/// What a pod carries: role and note.
type Carried = (Option<String>, Option<String>);

fn carried(role: &str, note: Option<&str>) -> Carried {
    (Some(role.to_owned()), note.map(str::to_owned))
}

/// The pods of a version that are not leaving, by uid.
async fn pods(shop: &Shop, hash: &str) -> anyhow::Result<BTreeMap<String, Carried>> {
    let labels = ListParams::default().labels(&format!("rollouts-pod-template-hash={hash}"));
    let listed = shop.cluster.api("Pod", &shop.namespace).list(&labels).await?;
    let alive = listed.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let of = |map: Option<BTreeMap<String, String>>, key: &str| map.and_then(|mut map| map.remove(key));
    alive
        .map(|pod| {
            let uid = pod.metadata.uid.context("a pod without uid")?;
            Ok((uid, (of(pod.metadata.labels, "role"), of(pod.metadata.annotations, "note"))))
        })
        .collect()
}

/// Waits until all pods of a version, and there are some, carry this.
async fn await_carried(
    shop: &Shop,
    hash: &str,
    wanted: &Carried,
) -> anyhow::Result<BTreeMap<String, Carried>> {
    let mut last = BTreeMap::new();
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let looking = async {
        loop {
            tick.tick().await;
            last = pods(shop, hash).await?;
            if !last.is_empty() && last.values().all(|carried| carried == wanted) {
                return Ok::<(), anyhow::Error>(());
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, looking).await;
    ended.map_err(|_| anyhow::anyhow!("{hash} should carry {wanted:?}: {last:?}"))??;
    Ok(last)
}

fn hash(status: &Value, field: &str) -> String {
    status[field].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_running_pods_follow_their_roles_and_no_pod_is_restarted() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop = Shop::open(&cluster, "e2e-roles", &manifests("e2e-roles")?).await?;
    let first = hash(&shop.status().await?, "stableRS");
    await_carried(&shop, &first, &carried("stable", None)).await?;

    // An abort: the canary stays a canary as long as it is there, stable stays stable.
    shop.release("v2", &[]).await?;
    let status = shop.await_phase("Paused").await?;
    let second = hash(&status, "currentPodHash");
    await_carried(&shop, &second, &carried("canary", Some("new"))).await?;
    shop.plugin(&["abort", "shop"]).await?;
    shop.await_phase("Degraded").await?;
    await_carried(&shop, &first, &carried("stable", None)).await?;

    // A release to its end: the same pods have another role.
    shop.plugin(&["retry", "rollout", "shop"]).await?;
    shop.await_phase("Paused").await?;
    let canaries = await_carried(&shop, &second, &carried("canary", Some("new"))).await?;
    shop.plugin(&["promote", "shop"]).await?;
    shop.await_phase("Healthy").await?;
    let stable = await_carried(&shop, &second, &carried("stable", None)).await?;
    assert!(canaries.keys().all(|uid| stable.contains_key(uid)), "{canaries:?} and then {stable:?}");

    // Back: what was injected is no part of the template.
    shop.plugin(&["undo", "shop"]).await?;
    let status = shop.await_phase("Paused").await?;
    assert_eq!(hash(&status, "currentPodHash"), first, "the first version's ReplicaSet is used again");
    let rollout = cluster.get("Rollout", &shop.namespace, "shop").await?;
    assert_eq!(rollout["spec"]["template"]["metadata"]["labels"].get("role"), None);
    await_carried(&shop, &first, &carried("canary", Some("new"))).await?;
    shop.close().await
}
