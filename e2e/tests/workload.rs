//! A Deployment that serves gives way to a Rollout that takes its template from it, under load; then a new image in the
//! Deployment is a release of the Rollout.

use crate::alone;
use anyhow::{Context, ensure};
use headgate_api::labels::WORKLOAD_GENERATION;
use headgate_e2e::course::{self, Course, Outcome, conclusive};
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use std::time::Duration;

/// Requests per second.
const RATE: u32 = 100;

/// Pods of the Deployment, and then of the Rollout.
const REPLICAS: i64 = 3;

/// Each mode, and how many pods it leaves the Deployment.
const MODES: [(&str, i64); 3] = [("progressively", 0), ("onsuccess", 0), ("never", REPLICAS)];

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_gives_way_to_its_rollout_and_nobody_loses_a_request() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    for (mode, left) in MODES {
        let (report, strain) = conclusive(mode, async || under_load(&cluster, mode, left).await).await?;
        tell(&format!("scaleDown {mode}: {} requests, none lost; {strain}", report.total.sent));
    }
    Ok(())
}

async fn under_load(cluster: &Cluster, mode: &str, left: i64) -> anyhow::Result<Outcome> {
    let namespace = format!("e2e-workload-{mode}");
    let mut manifests = Manifests::example(&namespace)?;
    manifests.without_analysis();
    let mut rollout = manifests.take("Rollout").pop().context("the example has a Rollout")?;
    manifests.0.push(deployment(&mut rollout, mode)?);
    let shop = Shop::apply(cluster, &namespace, &manifests).await?;
    let is_up = |deployment: &Value| deployment["status"]["availableReplicas"] == json!(REPLICAS);
    await_deployment(&shop, "serves", is_up).await?;
    let course = Course::begin(&shop, RATE, "v1").await?;
    let went = takes_over(&shop, &rollout, left).await;
    let outcome = course.end(0).await;
    course::judge(outcome, went, shop).await
}

/// The Deployment that the Rollout refers to from now on.
fn deployment(rollout: &mut Value, mode: &str) -> anyhow::Result<Value> {
    let spec = rollout["spec"].as_object_mut().context("the Rollout has a spec")?;
    let (template, selector) = (spec.remove("template"), spec.remove("selector"));
    spec.insert("replicas".to_owned(), json!(REPLICAS));
    spec.insert(
        "workloadRef".to_owned(),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "name": NAME, "scaleDown": mode,
        }),
    );
    rollout["spec"]["strategy"]["canary"]["steps"] = json!([{ "setWeight": 50 }, { "pause": {} }]);
    rollout["spec"]["strategy"]["canary"]["scaleDownDelaySeconds"] = json!(5);
    Ok(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": NAME },
        "spec": { "replicas": REPLICAS, "selector": selector, "template": template },
    }))
}

async fn takes_over(shop: &Shop, rollout: &Value, left: i64) -> anyhow::Result<()> {
    shop.cluster.apply(&shop.namespace, std::slice::from_ref(rollout)).await?;
    shop.await_phase("Healthy").await?;
    let has_given_way = |deployment: &Value| deployment["spec"]["replicas"] == json!(left);
    await_deployment(shop, &format!("has {left} pods"), has_given_way).await?;
    generations_agree(shop).await?;

    shop.plugin(&["set", "image", NAME, &other_image(shop).await?]).await?;
    shop.await_phase("Paused").await?;
    generations_agree(shop).await?;
    let shown = shop.plugin(&["get", "rollout", NAME]).await?.out;
    ensure!(shown.contains("Paused"), "{shown}");
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    let said = shop.plugin(&["undo", NAME]).await?.out;
    ensure!(said.contains("revision 1"), "{said}");
    shop.await_phase("Paused").await?;
    shop.plugin(&["promote", NAME, "--full"]).await?;
    shop.await_phase("Healthy").await?;
    await_deployment(shop, &format!("has {left} pods"), has_given_way).await.map(|_| ())
}

/// The same image under another name, so that there is a new version.
async fn other_image(shop: &Shop) -> anyhow::Result<String> {
    let deployment = shop.cluster.get("Deployment", &shop.namespace, NAME).await?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let (name, image) = (container["name"].as_str(), container["image"].as_str());
    let (name, image) = name.zip(image).context("a container has a name and an image")?;
    Ok(format!("{name}=docker.io/{}", image.trim_start_matches("docker.io/")))
}

/// Argo CD compares these two.
async fn generations_agree(shop: &Shop) -> anyhow::Result<()> {
    let deployment = shop.cluster.get("Deployment", &shop.namespace, NAME).await?;
    let latest = deployment["metadata"]["generation"].to_string();
    let agree = |rollout: &Value| {
        let noted = rollout["metadata"]["annotations"][WORKLOAD_GENERATION].as_str();
        let observed = rollout["status"]["workloadObservedGeneration"].as_str();
        noted == Some(&latest) && observed == Some(&latest)
    };
    let what = format!("speaks of generation {latest} of the Deployment");
    let limit = Duration::from_secs(30);
    shop.cluster.await_object("Rollout", &shop.namespace, NAME, limit, &what, agree).await.map(|_| ())
}

async fn await_deployment(shop: &Shop, what: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let limit = Duration::from_secs(120);
    shop.cluster.await_object("Deployment", &shop.namespace, NAME, limit, what, is).await
}
