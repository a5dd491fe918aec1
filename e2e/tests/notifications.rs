//! A webhook is told of a release, also when it was away in between.

use crate::alone;
use anyhow::Context;
use headgate_e2e::install::{self, NAMESPACE};
use headgate_e2e::shop::Manifests;
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use std::time::Duration;

const SHOP: &str = "e2e-notifications";

/// A receiver that keeps what it is told; without a pod at first.
fn receiver() -> Vec<Value> {
    let labels = json!({ "app": "inbox" });
    vec![
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "inbox" },
            "spec": { "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] },
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "inbox" },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{
                        "name": "inbox", "image": "headgate/app:0.1.0", "imagePullPolicy": "IfNotPresent",
                        "readinessProbe": { "httpGet": { "path": "/readyz", "port": 8080 }, "periodSeconds": 1 },
                    }]},
                },
            },
        }),
    ]
}

/// The event of each message that the receiver has taken.
async fn told(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let inbox = format!("/api/v1/namespaces/{SHOP}/services/http:inbox:80/proxy/inbox");
    let lines = cluster.kubectl(&["get", "--raw", &inbox]).await?;
    let message = |line: &str| {
        let (key, body) = line.split_once(' ').context("no key")?;
        let body: Value = serde_json::from_str(body)?;
        anyhow::ensure!(
            body["key"] == key && body["cluster"] == "lab" && body["namespace"] == SHOP,
            "{line}"
        );
        Ok(body["event"].as_str().context("no event")?.to_owned())
    };
    lines.lines().map(message).collect()
}

/// Waits until nothing waits to be told.
async fn await_told(shop: &Shop) -> anyhow::Result<()> {
    let is_empty = |status: &Value| status.pointer("/headgate/outbox").is_none();
    shop.await_status("an empty outbox", is_empty).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_was_away_is_told_of_each_event_once() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let url = format!("http://inbox.{SHOP}.svc:80/inbox");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "e2e-hook" }, "stringData": { "url": url },
    });
    cluster.apply(NAMESPACE, &[secret]).await?;
    let values = json!({ "cluster": "lab", "webhooks": [{
        "name": "inbox", "urlFrom": { "secret": "e2e-hook", "key": "url" }, "namespaces": [SHOP],
    }]});
    install::headgate_with(&cluster, &["--set-json", &format!("notifications={values}")]).await?;
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }]);
    let mut manifests = Manifests::plain(SHOP, &steps)?;
    manifests.0.extend(receiver());
    let shop = Shop::open(&cluster, SHOP, &manifests).await?;

    // Nobody is there to be told: the release goes on all the same, and what is to be told stays.
    shop.release("v2", &[]).await?;
    shop.await_phase("Paused").await?;
    shop.plugin(&["abort", "shop"]).await?;
    let status = shop.await_phase("Degraded").await?;
    let waiting = status.pointer("/headgate/outbox").and_then(Value::as_array).map_or(0, Vec::len);
    assert_eq!(waiting, 3, "completed, paused and aborted wait: {status:#}");

    let scale = ["scale", "deployment/inbox", "--replicas=1", "-n", SHOP];
    cluster.kubectl(&scale).await?;
    let ready = |deployment: &Value| deployment["status"]["readyReplicas"] == 1;
    cluster.await_object("Deployment", SHOP, "inbox", Duration::from_secs(60), "a ready pod", ready).await?;
    await_told(&shop).await?;

    shop.release("v3", &[]).await?;
    shop.await_phase("Paused").await?;
    shop.plugin(&["promote", "shop", "--full"]).await?;
    shop.await_phase("Healthy").await?;
    await_told(&shop).await?;

    // Only now: on a slow machine the versions before might miss it, too.
    shop.patch("merge", &json!({ "spec": { "progressDeadlineSeconds": 10 } })).await?;
    shop.release("v4", &[("NEVER_READY", "true")]).await?;
    shop.await_phase("Degraded").await?;
    await_told(&shop).await?;
    // Repeats are allowed, but nothing here is a reason for one: no answer was lost, nobody has restarted.
    let mut events = told(&cluster).await?;
    events.sort_unstable();
    assert_eq!(events, ["aborted", "completed", "completed", "degraded", "paused", "paused"]);

    install::headgate(&cluster).await?;
    cluster.kubectl(&["delete", "secret", "e2e-hook", "-n", NAMESPACE]).await?;
    shop.close().await
}
