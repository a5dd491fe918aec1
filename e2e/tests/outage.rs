//! Prometheus gone in the middle of a release: told apart from a failing canary.

use crate::alone;
use headgate_e2e::Shop;
use headgate_e2e::shop::Manifests;
use serde_json::json;

fn watched(namespace: &str, errors: i32) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::example(namespace)?;
    manifests.0.retain(|object| object["metadata"]["name"] != "latency-p95");
    manifests.change("AnalysisTemplate", |template| {
        template["spec"]["args"] = json!([]);
        template["spec"]["metrics"] = json!([{
            "name": "up", "interval": "1s", "count": 5, "consecutiveErrorLimit": errors, "successCondition": "result >= 1",
            "provider": { "prometheus": { "address": "http://prometheus.monitoring.svc:9090", "query": "vector(1)" } },
        }]);
    });
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["analysis"] = serde_json::Value::Null;
        canary["steps"] = json!([
            { "setWeight": 50 }, { "pause": {} }, { "analysis": { "templates": [{ "templateName": "success-rate" }] } },
        ]);
    });
    Ok(manifests)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_outage_of_prometheus_is_waited_out_and_a_long_one_is_called_an_error() -> anyhow::Result<()>
{
    let (cluster, _guard) = alone().await?;
    let Some(lab) = cluster.lab()? else { return Ok(()) };
    let patient = Shop::open(&cluster, "e2e-outage-short", &watched("e2e-outage-short", 20)?).await?;
    let strict = Shop::open(&cluster, "e2e-outage-long", &watched("e2e-outage-long", 0)?).await?;
    for shop in [&patient, &strict] {
        shop.release("v2", &[]).await?;
        shop.await_phase("Paused").await?;
    }
    lab.component("prometheus")?.stop()?;
    for shop in [&patient, &strict] {
        shop.plugin(&["promote", "shop"]).await?;
    }
    let status = strict.await_phase("Degraded").await?;
    let message = status["message"].as_str().unwrap_or_default().to_owned();
    let seen = patient.status().await?;
    lab.component("prometheus")?.start()?;

    assert!(
        message.contains("consecutiveErrors (1) > consecutiveErrorLimit (0)"),
        "an error, not a failure: {message}"
    );
    assert!(!message.contains("failureLimit"), "{message}");
    assert_eq!(seen["phase"], "Progressing", "still waiting for an answer: {seen}");
    let end = patient.await_phase("Healthy").await?;
    assert_eq!(end["stableRS"], end["currentPodHash"]);
    patient.close().await?;
    strict.close().await
}
