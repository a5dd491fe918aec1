//! A controller of Argo Rollouts that no Lease keeps from acting beside this one.

use crate::alone;
use anyhow::ensure;
use headgate_e2e::install::NAMESPACE;
use headgate_e2e::shop::Manifests;
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use std::time::Duration;

const SHOP: &str = "e2e-rival";

/// A controller ends when it sees the other one, at most a minute after that began, and its successor must be seen waiting.
const IS_SEEN_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_controller_without_leader_election_nothing_is_done_until_it_is_gone() -> anyhow::Result<()>
{
    let (cluster, _guard) = alone().await?;
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }]);
    let shop = Shop::open(&cluster, SHOP, &Manifests::plain(SHOP, &steps)?).await?;
    cluster.apply(SHOP, &[rival()]).await?;
    let waits = waits(&shop).await;
    cluster.kubectl(&["delete", "deployment", "argo-rollouts", "-n", SHOP]).await?;
    waits?;
    is_ready(&cluster, 2).await?;
    shop.await_phase("Paused").await?;
    shop.close().await
}

/// No controller is ready, the log says why, and a new version is not taken up.
async fn waits(shop: &Shop) -> anyhow::Result<()> {
    is_ready(&shop.cluster, 0).await?;
    let before = shop.status().await?;
    shop.release("v2", &[]).await?;
    let log = shop.cluster.kubectl(&["logs", "deployment/headgate", "-n", NAMESPACE]).await?;
    let said = format!(
        "Deployment {SHOP}/argo-rollouts runs the controller of Argo Rollouts, without leader election"
    );
    ensure!(log.contains(&said), "{log}");
    ensure!(shop.status().await? == before, "{:#}", shop.status().await?);
    Ok(())
}

async fn is_ready(cluster: &Cluster, replicas: i64) -> anyhow::Result<()> {
    let ready = |deployment: &Value| deployment["status"]["readyReplicas"].as_i64().unwrap_or(0) == replicas;
    let what = format!("{replicas} ready controllers");
    cluster.await_object("Deployment", NAMESPACE, "headgate", IS_SEEN_WITHIN, &what, ready).await.map(|_| ())
}

/// Its Deployment as the manifests of Argo Rollouts make it, as far as one looks at it. No node takes its pod: what it would
/// do is not tried here.
fn rival() -> Value {
    let labels = json!({
        "app.kubernetes.io/name": "argo-rollouts", "app.kubernetes.io/component": "rollouts-controller",
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "argo-rollouts", "labels": labels },
        "spec": {
            "selector": { "matchLabels": { "app.kubernetes.io/name": "argo-rollouts" } },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "nodeSelector": { "there-is-none": "such" },
                    "containers": [{
                        "name": "argo-rollouts", "image": "argo-rollouts:test", "args": ["--leader-elect=false"],
                    }],
                },
            },
        },
    })
}
