//! The ready-made analysis templates of the chart against made-up series: promtool evaluates their queries, and what the
//! values mean is decided by the code of the controller. The cases are beside the presets, in `*.test.yaml`.

use crate::process::{output, root, run};
use anyhow::{Context, ensure};
use headgate_analysis::{first_measurement, problems};
use headgate_api::{AnalysisRunSpec, AnalysisTemplateSpec, RolloutAnalysis};
use headgate_model::analysis::{
    ArgumentContext, ValidMetric, Versions, blind_metrics, check_finite, resolve, valid_metrics,
};
use headgate_model::{Observed, Reply, TemplateKey, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each preset has one template for each of these.
const METRICS: [&str; 4] = ["success-rate", "error-rate", "latency-p95", "latency-p99"];
/// What each of them must be able to say.
const PHASES: [&str; 4] = ["Successful", "Failed", "Inconclusive", "Error"];
/// Distance of two samples.
const INTERVAL: &str = "15s";
/// When the queries are asked.
const ASKED_AT: &str = "5m";

/// The cases of one preset.
#[derive(Deserialize)]
struct Fixture {
    /// Values of the arguments that have no default.
    args: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// Series with their samples, one a map.
    series: Vec<BTreeMap<String, String>>,
    /// By metric: the value (or `nothing`: no series), and the phase of the measurement.
    wanted: BTreeMap<String, (Value, String)>,
}

/// Templates by name.
type Templates = BTreeMap<TemplateKey, Observed<AnalysisTemplateSpec>>;

/// Checks all presets.
pub(crate) fn check() -> anyhow::Result<()> {
    let templates = rendered()?;
    let mut presets = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("charts/headgate/analysis"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(preset) = name.strip_suffix(".yaml").filter(|preset| !preset.ends_with(".test")) {
            presets.insert(preset.to_owned());
        }
    }
    ensure!(
        presets.len() * METRICS.len() == templates.len(),
        "the chart renders {} templates for the presets {presets:?}: values.yaml names each of them",
        templates.len()
    );
    for preset in &presets {
        check_preset(preset, &templates).with_context(|| format!("preset {preset}"))?;
    }
    Ok(())
}

/// The templates as the chart renders them.
fn rendered() -> anyhow::Result<Templates> {
    let mut helm = Command::new(headgate_lab::tool("helm")?);
    helm.args([
        "template",
        "headgate",
        "--kube-version",
        "1.36.0",
        "--set",
        "analysisTemplates.enabled=true",
    ]);
    helm.args(["--show-only", "templates/analysis-templates.yaml"]).arg(root().join("charts/headgate"));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&output(&mut helm)?)?;
    let of = |object: Value| {
        let name = object["metadata"]["name"].as_str().context("a template without a name")?.to_owned();
        let spec = serde_json::from_value(object["spec"].clone()).with_context(|| name.clone())?;
        Ok((TemplateKey::Cluster(name), Observed::Present(spec)))
    };
    objects.into_iter().filter(|object| !object.is_null()).map(of).collect()
}

fn check_preset(preset: &str, templates: &Templates) -> anyhow::Result<()> {
    let path = root().join(format!("charts/headgate/analysis/{preset}.test.yaml"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let fixture: Fixture = serde_saphyr::from_str(&text)?;
    let spec = resolved(preset, &fixture, templates, &[])?;
    let metrics = valid_metrics(&spec)?;
    ensure!(metrics.len() == METRICS.len(), "{} metrics", metrics.len());
    let wrong: Vec<String> = metrics.iter().flat_map(problems).collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    check_finite(&resolved(preset, &fixture, templates, &[("count", "3")])?)?;
    check_values(preset, &fixture, &metrics)?;
    check_phases(&fixture, &spec)?;
    check_outage(&spec)
}

/// The spec of a run of all of a preset's templates; none of its metrics may be blind.
fn resolved(
    preset: &str,
    fixture: &Fixture,
    templates: &Templates,
    more: &[(&str, &str)],
) -> anyhow::Result<AnalysisRunSpec> {
    let names = METRICS
        .iter()
        .map(|metric| json!({ "templateName": format!("{preset}-{metric}"), "clusterScope": true }));
    // What users write for the hash is a reference.
    let given = fixture.args.iter().map(|(name, value)| match name.as_str() {
        "hash" => json!({ "name": name, "valueFrom": { "podTemplateHashValue": "Latest" } }),
        _ => json!({ "name": name, "value": value }),
    });
    let more = more.iter().map(|(name, value)| json!({ "name": name, "value": value }));
    let analysis: RolloutAnalysis = serde_json::from_value(json!({
        "templates": names.collect::<Vec<_>>(), "args": given.chain(more).collect::<Vec<_>>(),
    }))?;
    let rollout = json!({ "metadata": { "name": "shop" } });
    let versions = Versions {
        canary_service: Some("shop-canary"),
        stable_service: Some("shop-stable"),
        rollout: &rollout,
    };
    let blind = blind_metrics(&analysis, templates, &versions)?;
    ensure!(blind.is_empty(), "does not see the canary: {blind:?}");
    let latest = fixture.args.get("hash").map_or("", String::as_str);
    let context =
        ArgumentContext { stable_hash: "stable", latest_hash: latest, rollout: &|| rollout.clone() };
    Ok(resolve(&analysis, templates, &context)?)
}

/// promtool: what the queries give.
fn check_values(preset: &str, fixture: &Fixture, metrics: &[ValidMetric]) -> anyhow::Result<()> {
    let query = |metric: &str| {
        let name = format!("{preset}-{metric}");
        let found = metrics.iter().find(|one| one.metric.name == name)?;
        found.metric.provider.prometheus.as_ref()?.query.clone()
    };
    let mut tests = Vec::new();
    for case in &fixture.cases {
        let series = case
            .series
            .iter()
            .flatten()
            .map(|(series, values)| json!({ "series": series, "values": values }));
        let mut asked = Vec::new();
        for (metric, (value, _)) in &case.wanted {
            let query =
                query(metric).with_context(|| format!("{}: there is no metric {metric}", case.name))?;
            let samples =
                if value.is_number() { json!([{ "labels": "{}", "value": value }]) } else { json!([]) };
            // What binary fractions add is no matter.
            let query = format!("round(({query}), 0.001)");
            asked.push(json!({ "expr": query, "eval_time": ASKED_AT, "exp_samples": samples }));
        }
        tests.push(json!({
            "name": format!("{preset}: {}", case.name), "interval": INTERVAL,
            "input_series": series.collect::<Vec<_>>(), "promql_expr_test": asked,
        }));
    }
    let folder = root().join("target/presets");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{preset}.json"));
    std::fs::write(&file, json!({ "evaluation_interval": INTERVAL, "tests": tests }).to_string())?;
    run(Command::new(headgate_lab::tool("promtool")?).args(["test", "rules"]).arg(&file))
}

/// The controller: what those values mean. Every metric must have said each of the four.
fn check_phases(fixture: &Fixture, spec: &AnalysisRunSpec) -> anyhow::Result<()> {
    let mut said: BTreeSet<(&str, &str)> = BTreeSet::new();
    for case in &fixture.cases {
        for (metric, (value, wanted)) in &case.wanted {
            let result = match value {
                Value::Number(number) => json!([{ "metric": {}, "value": [0, number.to_string()] }]),
                _ => json!([]),
            };
            let body = json!({ "status": "success", "data": { "resultType": "vector", "result": result } });
            let reply = Reply::Http { status: 200, body: body.to_string(), truncated: false };
            let (phase, message) = measured(spec, metric, reply)?;
            ensure!(
                phase == *wanted,
                "{}: {metric} = {value} is {phase} ({message}), not {wanted}",
                case.name
            );
            said.insert((metric, wanted));
        }
    }
    let missing: Vec<(&str, &str)> = METRICS
        .into_iter()
        .flat_map(|metric| PHASES.into_iter().map(move |phase| (metric, phase)))
        .filter(|pair| !said.contains(pair))
        .collect();
    ensure!(missing.is_empty(), "no case for {missing:?}");
    Ok(())
}

/// An outage is an error too, and reads differently from no data.
fn check_outage(spec: &AnalysisRunSpec) -> anyhow::Result<()> {
    let nothing = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let empty = Reply::Http { status: 200, body: nothing.to_owned(), truncated: false };
    for metric in METRICS {
        let (phase, message) = measured(spec, metric, Reply::Failed("Connection refused".to_owned()))?;
        ensure!(phase == "Error" && message.contains("Connection refused"), "{metric}: {phase}: {message}");
        let (phase, message) = measured(spec, metric, empty.clone())?;
        ensure!(phase == "Error" && message.contains("no data returned"), "{metric}: {phase}: {message}");
    }
    Ok(())
}

/// Phase and message of a first measurement with this reply.
fn measured(spec: &AnalysisRunSpec, metric: &str, reply: Reply) -> anyhow::Result<(String, String)> {
    let suffix = format!("-{metric}");
    let name = spec.metrics.iter().map(|metric| metric.name.clone()).find(|name| name.ends_with(&suffix));
    let name = name.with_context(|| format!("there is no metric {metric}"))?;
    let measurement =
        first_measurement(spec, &name, reply, Timestamp::UNIX_EPOCH).context("nothing was measured")?;
    let phase = measurement.phase.context("a measurement without a phase")?;
    Ok((phase.to_string(), measurement.message.clone()))
}
