//! The ready-made analysis templates `http` and `envoy` on real metrics: a good release goes out, a bad one comes back.

use crate::alone;
use anyhow::Context;
use headgate_e2e::load::{Load, LoadOptions, Report};
use headgate_e2e::shop::NAME;
use headgate_e2e::{Cluster, Shop, presets};
use serde_json::Value;
use std::time::Duration;

/// A metric by name, with phase and value of each of its measurements.
type Metric = (String, Vec<(String, f64)>);

/// What the runs of a revision have measured.
async fn measured(cluster: &Cluster, namespace: &str, hash: &str) -> anyhow::Result<Vec<Metric>> {
    let selector = format!("rollouts-pod-template-hash={hash}");
    let list =
        cluster.kubectl(&["get", "analysisruns", "-n", namespace, "-l", &selector, "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&list)?;
    let mut metrics = Vec::new();
    for result in list["items"][0]["status"]["metricResults"].as_array().context("no run has measured")? {
        let mut values = Vec::new();
        for measurement in result["measurements"].as_array().into_iter().flatten() {
            let text = measurement["value"].as_str().unwrap_or_default();
            let value =
                text.trim_matches(['[', ']']).parse().with_context(|| format!("no number: {measurement}"))?;
            values.push((measurement["phase"].as_str().unwrap_or_default().to_owned(), value));
        }
        metrics.push((result["name"].as_str().unwrap_or_default().to_owned(), values));
    }
    Ok(metrics)
}

/// Requests a second: at weight 20, a window of 15 s has 180 of the canary's.
const RATE: u32 = 60;

/// Waits until a release has ended, and gives back the status.
async fn await_end(shop: &Shop) -> anyhow::Result<Value> {
    let ended = |rollout: &Value| {
        let generation = rollout["metadata"]["generation"].to_string();
        let phase = rollout["status"]["phase"].as_str().unwrap_or_default();
        rollout["status"]["observedGeneration"].as_str() == Some(&generation)
            && ["Healthy", "Degraded"].contains(&phase)
    };
    let limit = Duration::from_secs(240);
    let rollout = shop
        .cluster
        .await_object("Rollout", &shop.namespace, NAME, limit, "the end of a release", ended)
        .await?;
    Ok(rollout["status"].clone())
}

/// A good release, then one with these settings, judged by one preset alone. The metrics named in `bad` are to find it out.
async fn judge(preset: &str, settings: &[(&str, &str)], bad: &[&str]) -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let namespace = format!("e2e-preset-{preset}");
    cluster.apply("default", &presets::templates(&cluster, &[preset]).await?).await?;
    let shop = Shop::open(&cluster, &namespace, &presets::judged_by(&namespace, &[preset])?).await?;
    shop.await_route("v1").await?;
    let load = Load::start(shop.target()?, LoadOptions { rate_per_second: RATE, ..LoadOptions::default() })?;

    shop.release("v2", &[]).await?;
    let good = await_end(&shop).await?;
    anyhow::ensure!(good["phase"] == "Healthy", "a good release is promoted: {good}");
    let hash = good["currentPodHash"].as_str().unwrap_or_default();
    let metrics = measured(&cluster, &namespace, hash).await?;
    assert_eq!(metrics.len(), 4, "{metrics:?}");
    for (name, values) in &metrics {
        let is_good = |(phase, value): &(String, f64)| phase == "Successful" && *value >= 0.0;
        assert!(values.len() >= 3 && values.iter().all(is_good), "{name} sees a good canary: {values:?}");
    }

    shop.release("v3", settings).await?;
    let end = await_end(&shop).await?;
    anyhow::ensure!(end["phase"] == "Degraded" && end["abort"] == true, "a bad release is aborted: {end}");
    assert_eq!(end["stableRS"], good["stableRS"]);
    let message = end["message"].as_str().unwrap_or_default();
    assert!(bad.iter().any(|metric| message.contains(&format!("{preset}-{metric}"))), "{message}");
    let hash = end["currentPodHash"].as_str().unwrap_or_default();
    for (name, values) in measured(&cluster, &namespace, hash).await? {
        let is_bad = bad.iter().any(|metric| name == format!("{preset}-{metric}"));
        let failed = values.iter().any(|(phase, _)| phase == "Failed");
        assert_eq!(failed, is_bad, "{name}: {values:?}");
    }
    let report: Report = load.stop().await;
    assert_eq!(report.total.lost, 0, "{:?}", report.first_lost);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preset_http_finds_errors_in_the_applications_own_metrics() -> anyhow::Result<()> {
    judge("http", &[("ERROR_RATE", "0.3")], &["success-rate", "error-rate"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preset_envoy_finds_slowness_in_the_gateways_metrics() -> anyhow::Result<()> {
    judge("envoy", &[("LATENCY", "1500ms")], &["latency-p95", "latency-p99"]).await
}
