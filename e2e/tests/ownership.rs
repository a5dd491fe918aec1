//! Whose a ReplicaSet is: somebody else's that has our name, and our own that a deleted Rollout has left behind.

use crate::{restless, shared};
use anyhow::{Context, bail, ensure};
use headgate_e2e::Shop;
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::course::{Course, nothing_is_lost};
use headgate_e2e::shop::{Manifests, NAME};
use serde_json::{Value, json};

fn half() -> Value {
    json!([{ "setWeight": 50 }, { "pause": {} }])
}

/// A ReplicaSet that nobody told Headgate of.
fn foreign(name: &str) -> Value {
    let labels = json!({ "app": "other" });
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": name, "labels": labels },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "app", "image": "headgate/app:0.1.0" }] },
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_somebody_elses_replica_set_has_is_left_to_it_and_the_release_takes_another()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-collision";
    let shop = Shop::open(&cluster, namespace, &Manifests::plain(namespace, &half())?).await?;
    let hash = shop.release_held("v2").await?;
    let taken = format!("{NAME}-{hash}");
    shop.release("v1", &[]).await?;
    let is_back = |status: &Value| status["currentPodHash"] == status["stableRS"];
    shop.await_status("back at the first version", is_back).await?;
    cluster.kubectl(&["delete", "replicaset", &taken, "-n", namespace]).await?;
    cluster.apply(namespace, &[foreign(&taken)]).await?;
    let is_at_rest = |set: &Value| set["status"]["observedGeneration"] == 1;
    let others =
        cluster.await_object("ReplicaSet", namespace, &taken, PATIENCE, "is at rest", is_at_rest).await?;

    shop.release("v2", &[]).await?;
    // A promotion is about the version that its sender has seen.
    let is_renamed = |status: &Value| {
        let current = &status["currentPodHash"];
        status["collisionCount"] == 1 && *current != hash && *current != status["stableRS"]
    };
    shop.await_status("has another name", is_renamed).await?;
    shop.plugin(&["promote", NAME]).await?;
    let status = shop.await_pause(1).await?;
    shop.await_pods(2, 1).await?;
    let another = status["currentPodHash"].as_str().context("no hash")?;
    ensure!(another != hash, "{status:#}");
    let sets = shop.names("replicasets").await?;
    ensure!(sets.contains(&format!("{NAME}-{another}")), "{sets:?}");
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    let after = cluster.get("ReplicaSet", namespace, &taken).await?;
    ensure!(after["metadata"]["resourceVersion"] == others["metadata"]["resourceVersion"], "{after:#}");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_a_deleted_rollout_has_left_behind_serve_on_and_are_those_of_the_one_made_anew()
-> anyhow::Result<()> {
    if !crate::is_turn_of("orphans")? {
        return Ok(());
    }
    let (cluster, _guard) = restless().await?;
    let namespace = "e2e-orphans";
    let mut manifests = Manifests::example(namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["scaleDownDelaySeconds"] = json!(5);
        canary["steps"] = half();
    });
    let rollouts = Manifests(manifests.0.clone()).take("Rollout");
    let acts = async |shop: &Shop, course: &Course<'_>| {
        let before = shop.names("pods").await?;
        orphan(shop).await?;
        cluster.apply(namespace, &rollouts).await?;
        shop.await_phase("Healthy").await?;
        let after = shop.names("pods").await?;
        ensure!(after == before, "{before:?}, and then {after:?}");
        course.is_alone("v1").await?;

        shop.release("v2", &[]).await?;
        shop.await_pause(1).await?;
        course.share_follows("v2", 50).await?;
        shop.plugin(&["promote", NAME]).await?;
        shop.await_phase("Healthy").await?;
        course.is_alone("v2").await
    };
    nothing_is_lost(&cluster, namespace, &manifests, 60, acts).await
}

/// Deletes the Rollout alone, and waits until nothing belongs to it any more.
async fn orphan(shop: &Shop) -> anyhow::Result<()> {
    let (cluster, namespace) = (&shop.cluster, &shop.namespace);
    let sets = shop.names("replicasets").await?;
    let [set] = sets.as_slice() else { bail!("one ReplicaSet was to be there: {sets:?}") };
    cluster.kubectl(&["delete", "rollout", NAME, "-n", namespace, "--cascade=orphan"]).await?;
    let is_free = |set: &Value| set["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty);
    cluster.await_object("ReplicaSet", namespace, set, PATIENCE, "is nobody's", is_free).await?;
    // The sweep gives the Services back, to all versions.
    let is_given_back = |service: &Value| service["spec"]["selector"] == json!({ "app": NAME });
    cluster.await_object("Service", namespace, "shop-stable", PATIENCE, "given back", is_given_back).await?;
    Ok(())
}
