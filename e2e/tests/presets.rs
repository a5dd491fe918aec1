//! The ready-made analysis templates `http` and `envoy` on real metrics: a good release goes out,
//! bad ones come back.

use crate::alone;
use anyhow::{Context, ensure};
use headgate_e2e::course::{self, Course, Outcome, conclusive};
use headgate_e2e::shop::NAME;
use headgate_e2e::{Cluster, Shop, presets};
use serde_json::Value;
use std::time::Duration;

/// A metric by name, with phase and value of each of its measurements.
type Metric = (String, Vec<(String, f64)>);

/// What the run of the release that has ended so has measured.
async fn measured(shop: &Shop, status: &Value) -> anyhow::Result<Vec<Metric>> {
    let hash = status["currentPodHash"].as_str().unwrap_or_default();
    let selector = format!("rollouts-pod-template-hash={hash}");
    let list = ["get", "analysisruns", "-n", &shop.namespace, "-l", &selector, "-o", "json"];
    let list = shop.cluster.kubectl(&list).await?;
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

/// Which metrics of each preset find a fault out; the app's settings make it.
const FAULTS: [((&str, &str), [&str; 2]); 2] = [
    (("ERROR_RATE", "0.3"), ["success-rate", "error-rate"]),
    // It comes last: its late answers would count for the release after it.
    (("LATENCY", "1500ms"), ["latency-p95", "latency-p99"]),
];

/// The presets whose metrics the lab has, all of them in one analysis.
const LIVE: [&str; 2] = ["http", "envoy"];

async fn judged_live(cluster: &Cluster) -> anyhow::Result<Outcome> {
    let namespace = "e2e-presets";
    cluster.apply("default", &presets::templates(cluster, &LIVE).await?).await?;
    let shop = Shop::open(cluster, namespace, &presets::judged_by(namespace, &LIVE)?).await?;
    let course = Course::begin(&shop, RATE, "v1").await?;
    let went = releases(&shop).await;
    let outcome = course.end(0).await;
    course::judge(outcome, went, shop).await
}

/// A good release, then one with each fault. Every metric is to find out its own fault, and no other one.
async fn releases(shop: &Shop) -> anyhow::Result<()> {
    shop.release("v2", &[]).await?;
    let good = await_end(shop).await?;
    ensure!(good["phase"] == "Healthy", "a good release is promoted: {good}");
    let metrics = measured(shop, &good).await?;
    ensure!(metrics.len() == 4 * LIVE.len(), "{metrics:?}");
    for (name, values) in &metrics {
        let is_good = |(phase, value): &(String, f64)| phase == "Successful" && *value >= 0.0;
        ensure!(values.len() >= 3 && values.iter().all(is_good), "{name} sees a good canary: {values:?}");
    }
    for (number, (setting, finders)) in FAULTS.into_iter().enumerate() {
        shop.release(&format!("bad-{number}"), &[setting]).await?;
        let end = await_end(shop).await?;
        let is_aborted = end["phase"] == "Degraded" && end["abort"] == true;
        ensure!(is_aborted && end["stableRS"] == good["stableRS"], "{setting:?} is aborted: {end}");
        let message = end["message"].as_str().unwrap_or_default();
        ensure!(finders.iter().any(|metric| message.contains(metric)), "{setting:?}: {message}");
        for (name, values) in measured(shop, &end).await? {
            let is_finder = finders.iter().any(|metric| name.ends_with(metric));
            let has_failed = values.iter().any(|(phase, _)| phase == "Failed");
            ensure!(has_failed == is_finder, "{setting:?}: {name}: {values:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_metric_of_the_presets_http_and_envoy_finds_its_fault_and_lets_a_good_release_pass()
-> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    conclusive("presets", async || judged_live(&cluster).await).await.map(|_| ())
}
