//! The chart's ready-made analysis templates, as users get them.

use crate::cluster::{Cluster, output};
use crate::install::root;
use crate::shop::Manifests;
use anyhow::Context;
use serde_json::{Value, json};

/// The templates that the chart renders for some presets, with the lab's Prometheus.
///
/// # Errors
/// When the chart does not render.
pub async fn templates(cluster: &Cluster, presets: &[&str]) -> anyhow::Result<Vec<Value>> {
    let mut helm = cluster.command("helm")?;
    // Helm asks no cluster here; a build of it without a version of its own takes the oldest for granted.
    helm.args(["template", "headgate", "--kube-version", "1.36.0"]).arg(root().join("charts/headgate"));
    helm.args([
        "--show-only",
        "templates/analysis-templates.yaml",
        "--set",
        "analysisTemplates.enabled=true",
    ]);
    helm.args(["--set", "analysisTemplates.prometheusAddress=http://prometheus.monitoring.svc:9090"]);
    helm.args(["--set", &format!("analysisTemplates.presets={{{}}}", presets.join(","))]);
    let text = output(&mut helm).await?;
    serde_saphyr::from_multiple(&text).context("the chart renders no YAML")
}

/// The example, judged by all templates of some presets, in the background from the second step on. Windows are short: the
/// lab's Prometheus looks every two seconds.
///
/// # Errors
/// When a file cannot be read.
pub fn judged_by(namespace: &str, presets: &[&str]) -> anyhow::Result<Manifests> {
    const METRICS: [&str; 4] = ["success-rate", "error-rate", "latency-p95", "latency-p99"];
    let mut manifests = Manifests::example(namespace)?;
    manifests.take("AnalysisTemplate");
    let templates: Vec<Value> = presets
        .iter()
        .flat_map(|preset| METRICS.map(|metric| format!("{preset}-{metric}")))
        .map(|name| json!({ "templateName": name, "clusterScope": true }))
        .collect();
    let args = json!([
        { "name": "hash", "valueFrom": { "podTemplateHashValue": "Latest" } },
        { "name": "canary-service", "value": "shop-canary" },
        { "name": "namespace", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
        { "name": "window", "value": "15s" },
        { "name": "initial-delay", "value": "15s" },
        { "name": "interval", "value": "5s" },
        // A busy machine is no bad release.
        { "name": "latency-p95-max-seconds", "value": "1" },
    ]);
    manifests.change("Rollout", move |rollout| {
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["analysis"] = json!({ "startingStep": 1, "templates": templates, "args": args });
        canary["steps"] = json!([
            { "setWeight": 20 }, { "pause": { "duration": "30s" } },
            { "setWeight": 50 }, { "pause": { "duration": "20s" } },
        ]);
    });
    Ok(manifests)
}
