//! How much of the past is kept: ReplicaSets of old versions, and their AnalysisRuns.

use crate::shared;
use headgate_e2e::Shop;
use headgate_e2e::shop::{Manifests, NAME};
use serde_json::{Value, json};

/// A step that asks Prometheus once, and few traces of it that are kept.
fn manifests(namespace: &str) -> anyhow::Result<Manifests> {
    let analysis = json!({ "analysis": { "templates": [{ "templateName": "once" }] } });
    let mut manifests = Manifests::plain(namespace, &json!([{ "setWeight": 50 }, analysis]))?;
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["revisionHistoryLimit"] = json!(2);
        rollout["spec"]["analysis"] =
            json!({ "successfulRunHistoryLimit": 1, "unsuccessfulRunHistoryLimit": 1 });
    });
    manifests.0.insert(0, template("vector(1)"));
    Ok(manifests)
}

fn template(query: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": { "name": "once" },
        "spec": { "metrics": [{
            "name": "one", "successCondition": "result[0] >= 1",
            "provider": { "prometheus": { "address": "http://prometheus.monitoring.svc:9090", "query": query } },
        }] },
    })
}

/// The AnalysisRuns with this phase.
async fn runs(shop: &Shop, phase: &str) -> anyhow::Result<Vec<String>> {
    let path = format!("jsonpath={{.items[?(@.status.phase=='{phase}')].metadata.name}}");
    let names = shop.cluster.kubectl(&["get", "analysisruns", "-n", &shop.namespace, "-o", &path]).await?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_and_analysis_runs_are_kept_as_many_as_the_limits_say() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-history";
    let shop = Shop::open(&cluster, namespace, &manifests(namespace)?).await?;
    for version in ["v2", "v3", "v4"] {
        shop.release(version, &[]).await?;
        shop.await_phase("Healthy").await?;
    }
    cluster.apply(namespace, &[template("vector(0)")]).await?;
    for version in ["v5", "v6"] {
        shop.release(version, &[]).await?;
        shop.await_phase("Degraded").await?;
    }
    let current = shop.status().await?;
    let [stable, newest] = ["stableRS", "currentPodHash"].map(|hash| current[hash].as_str().unwrap_or(""));
    // Two more than the two that the status names.
    let sets = shop.await_count("replicasets", 4).await?;
    for hash in [stable, newest] {
        assert!(sets.contains(&format!("{NAME}-{hash}")), "{sets:?} without {hash}");
    }
    shop.await_count("analysisruns", 2).await?;
    let (good, bad) = (runs(&shop, "Successful").await?, runs(&shop, "Failed").await?);
    assert!(good.len() == 1 && good[0].contains(stable), "{good:?}");
    assert!(bad.len() == 1 && bad[0].contains(newest), "{bad:?}");
    shop.close().await
}
