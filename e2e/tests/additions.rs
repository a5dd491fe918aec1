//! What Argo Rollouts does not have: a bake, a release that is held by an analysis, and a first version that is analysed.

use crate::{alone, shared};
use anyhow::ensure;
use headgate_e2e::course::{self, Course, Outcome, conclusive};
use headgate_e2e::door::Door;
use headgate_e2e::shop::Manifests;
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};

const RATE: u32 = 200;

/// A template whose metric has this value.
fn template(name: &str, query: &str, more: &Value) -> Value {
    let mut metric = json!({
        "name": name, "interval": "1s", "count": 3, "successCondition": "result >= 0.95",
        "provider": { "prometheus": { "address": "http://prometheus.monitoring.svc:9090", "query": query } },
    });
    if let (Some(metric), Some(more)) = (metric.as_object_mut(), more.as_object()) {
        metric.extend(more.clone());
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": { "name": name }, "spec": { "metrics": [metric] },
    })
}

fn analysis(template: &str) -> Value {
    json!({ "templates": [{ "templateName": template }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_turns_bad_while_it_bakes_goes_back_to_pods_that_stand_and_loses_nothing()
-> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    conclusive("bake", async || baked(&cluster).await).await.map(|_| ())
}

async fn baked(cluster: &Cluster) -> anyhow::Result<Outcome> {
    let mut manifests = Manifests::through(Door::Istio, "e2e-bake")?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = json!([{ "setWeight": 50 }]);
        canary["bake"] = json!({ "duration": "10m", "analysis": analysis("late") });
    });
    manifests.0.push(template("late", "vector(0.5)", &json!({ "initialDelay": "15s", "failureLimit": 1 })));
    let shop = Shop::open(cluster, "e2e-bake", &manifests).await?;
    let course = Course::begin(&shop, RATE, "v1").await?;
    let went = turns_bad(&shop).await;
    let outcome = course.end(0).await;
    course::judge(outcome, went, shop).await
}

async fn turns_bad(shop: &Shop) -> anyhow::Result<()> {
    let stable = shop.status().await?["stableRS"].clone();
    let before = pods_of(shop, &stable).await?;
    shop.release("v2", &[]).await?;
    let status = shop.await_status("a bake", |status| status["waiting"]["kind"] == "Bake").await?;
    ensure!(status["stableRS"] == stable && status["phase"] == "Progressing", "{status}");
    shop.await_weight(100).await?;
    ensure!(pods_of(shop, &stable).await? == before, "the old pods stand by");
    let status = shop.await_status("an abort", |status| status["abort"] == true).await?;
    shop.await_weight(0).await?;
    let message = status["message"].as_str().unwrap_or_default();
    ensure!(message.contains("Analysis of the bake") && message.contains("late"), "{message}");
    ensure!(pods_of(shop, &stable).await? == before, "they are the same pods as before");
    Ok(())
}

/// The names of the pods of a version, in order.
async fn pods_of(shop: &Shop, hash: &Value) -> anyhow::Result<String> {
    let selector = format!("rollouts-pod-template-hash={}", hash.as_str().unwrap_or_default());
    let names =
        ["get", "pods", "-n", &shop.namespace, "-l", &selector, "--sort-by=.metadata.name", "-o", "name"];
    shop.cluster.kubectl(&names).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_held_goes_on_by_itself_once_its_metric_has_recovered() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut manifests = Manifests::example("e2e-hold")?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let mut held = analysis("shaky");
        held["onFailure"] = json!("hold");
        rollout["spec"]["strategy"]["canary"]["steps"] =
            json!([{ "setWeight": 20 }, { "analysis": held }, { "setWeight": 40 }]);
    });
    manifests.0.push(template("shaky", "vector(0.5)", &json!({})));
    let shop = Shop::open(&cluster, "e2e-hold", &manifests).await?;
    shop.release("v2", &[]).await?;
    let status = shop.await_status("a hold", |status| status["waiting"]["kind"] == "AnalysisHold").await?;
    assert_eq!(status["currentStepIndex"], 1, "{status}");
    assert!(status["waiting"]["message"].as_str().is_some_and(|why| why.contains("shaky")), "{status}");
    let failed = status["canary"]["currentStepAnalysisRunStatus"]["name"].clone();
    shop.await_weight(20).await?;
    let recovered = [template("shaky", "vector(1)", &json!({}))];
    cluster.apply(&shop.namespace, &recovered).await?;
    let next = |status: &Value| {
        let name = &status["canary"]["currentStepAnalysisRunStatus"]["name"];
        status["currentStepIndex"] == 1 && *name != failed || status["phase"] == "Healthy"
    };
    shop.await_status("a fresh run", next).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_first_version_is_never_called_healthy_and_the_next_one_is_once_it_is_good()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut manifests = Manifests::example("e2e-initial")?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["initial"] = json!("analyse");
        canary["steps"] = json!([{ "setWeight": 20 }, { "pause": {} }, { "analysis": analysis("first") }]);
    });
    manifests.0.push(template("first", "vector(0.5)", &json!({})));
    let shop = Shop::apply(&cluster, "e2e-initial", &manifests).await?;
    let status = shop.await_phase("Degraded").await?;
    assert_eq!(status["abort"], true, "{status}");
    assert!(status["stableRS"].as_str().unwrap_or_default().is_empty(), "{status}");
    assert_eq!(status["availableReplicas"], 2, "its pods stay: {status}");
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("there is no earlier version to go back to"), "{message}");
    let mut healthy = status["conditions"].as_array().into_iter().flatten();
    assert!(healthy.all(|one| one["type"] != "Healthy"), "it never was: {status}");
    let good = [template("first", "vector(1)", &json!({}))];
    cluster.apply(&shop.namespace, &good).await?;
    shop.release("v2", &[]).await?;
    let status = shop.await_phase("Healthy").await?;
    assert_eq!(status["stableRS"], status["currentPodHash"]);
    shop.close().await
}
