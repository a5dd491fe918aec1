//! Promotion and abort by analysis, asked of a real Prometheus by the name of its Service.

use crate::shared;
use headgate_e2e::Shop;
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::shop::Manifests;
use serde_json::{Value, json};

/// A shop whose releases are judged at their first step by `query`, and by a background analysis of it.
fn judged_by(namespace: &str, query: &str) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::example(namespace)?;
    manifests.0.retain(|object| object["metadata"]["name"] != "latency-p95");
    manifests.change("AnalysisTemplate", |template| {
        template["spec"]["args"] = json!([{ "name": "hash" }]);
        let metric = &mut template["spec"]["metrics"][0];
        *metric = json!({
            "name": "success-rate", "interval": "1s", "count": 3, "failureLimit": 1,
            "successCondition": "result >= 0.95",
            "provider": { "prometheus": { "address": "http://prometheus.monitoring.svc:9090", "query": query } },
        });
    });
    let args = json!([{ "name": "hash", "valueFrom": { "podTemplateHashValue": "Latest" } }]);
    let analysis = json!({ "templates": [{ "templateName": "success-rate" }], "args": args });
    manifests.change("Rollout", move |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["analysis"] = analysis.clone();
        canary["analysis"]["startingStep"] = json!(1);
        canary["steps"] = json!([{ "setWeight": 50 }, { "analysis": analysis }, { "setWeight": 80 }]);
    });
    Ok(manifests)
}

fn runs(list: &str) -> anyhow::Result<Vec<Value>> {
    let list: Value = serde_json::from_str(list)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_analysis_succeeds_is_promoted() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop =
        Shop::open(&cluster, "e2e-analysis-good", &judged_by("e2e-analysis-good", "vector(1)")?).await?;
    let first = shop.status().await?;
    shop.release("v2", &[]).await?;
    let status = shop.await_phase("Healthy").await?;
    assert_ne!(status["stableRS"], first["stableRS"]);
    assert_eq!(status["stableRS"], status["currentPodHash"]);
    shop.await_weight(0).await?;

    let list = cluster.kubectl(&["get", "analysisruns", "-n", &shop.namespace, "-o", "json"]).await?;
    let runs = runs(&list)?;
    assert_eq!(runs.len(), 2, "one of the step and one in the background: {list}");
    for run in &runs {
        assert_eq!(run["status"]["phase"], "Successful", "{run}");
        let measured = &run["status"]["metricResults"][0]["measurements"][0];
        assert_eq!(measured["value"], "[1]", "the value as the reference writes it: {run}");
    }
    // The initial deploy and the release.
    assert_eq!(shop.await_events("RolloutCompleted", 2).await?.len(), 2);
    // The query asks for no version: that is told once for each run.
    let blind = shop.await_events("BlindAnalysis", 2).await?;
    assert_eq!(blind.len(), 2, "{blind:?}");
    for kind in ["Step", "Background"] {
        let told = |message: &String| {
            message.starts_with(&format!("{kind} Analysis Run 'shop-"))
                && message.contains(r#"metric "success-rate" does not tell canary and stable apart"#)
        };
        assert!(blind.iter().any(told), "{kind}: {blind:?}");
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_analysis_fails_is_aborted_and_stable_has_everything() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop =
        Shop::open(&cluster, "e2e-analysis-bad", &judged_by("e2e-analysis-bad", "vector(0.5)")?).await?;
    let first = shop.status().await?;
    shop.release("v2", &[]).await?;
    let status = shop.await_phase("Degraded").await?;
    assert_eq!(status["abort"], true);
    assert_eq!(status["stableRS"], first["stableRS"]);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("RolloutAborted: Rollout aborted update to revision 2"), "{message}");
    assert!(
        message.contains("success-rate") && message.contains("failed (2) > failureLimit (1)"),
        "{message}"
    );
    assert!(message.contains("at step 2/3, weight 50: "), "{message}");
    shop.await_weight(0).await?;
    shop.await_events("RolloutAborted", 1).await?;
    // That of the step or that in the background: whichever was first has ended both.
    let failed = shop.await_events("AnalysisRunFailed", 1).await?;
    assert!(failed.iter().all(|told| told.contains("Analysis Run 'shop-")), "{failed:?}");
    let why = shop.plugin(&["why", "shop"]).await?;
    assert!(why.out.contains("retry") || why.out.contains("undo"), "why names a way out: {}", why.out);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_series_are_an_error_that_says_what_to_write() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let query = r#"label_replace(vector(1), "a", "1", "", "") or label_replace(vector(1), "a", "2", "", "")"#;
    let shop = Shop::open(&cluster, "e2e-analysis-list", &judged_by("e2e-analysis-list", query)?).await?;
    shop.release("v2", &[]).await?;
    let wanted = "result is a list of 2 series: write result[0] or aggregate";
    let limit = PATIENCE;
    shop.await_step(1).await?;
    let name = shop
        .await_status("a step analysis", |status| {
            !status["canary"]["currentStepAnalysisRunStatus"]["name"].is_null()
        })
        .await?["canary"]["currentStepAnalysisRunStatus"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    cluster
        .await_object("AnalysisRun", &shop.namespace, &name, limit, wanted, |run| {
            let measured = &run["status"]["metricResults"][0]["measurements"][0];
            measured["phase"] == "Error"
                && measured["message"].as_str().is_some_and(|text| text.contains(wanted))
        })
        .await?;
    shop.close().await
}
