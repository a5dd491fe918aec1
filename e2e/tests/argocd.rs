//! Argo CD's own health checks give the right answer for what Headgate writes, at every phase. Only with `--long`: the
//! checks are built from Argo CD's Go module.

use crate::restart::budget;
use crate::shared;
use anyhow::{Context, ensure};
use headgate_e2e::argo_rollouts;
use headgate_e2e::argocd::health;
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::door::Door;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::{Cluster, Shop};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// An object at a moment, and what Argo CD is to show then.
struct Moment {
    what: &'static str,
    expected: &'static str,
    object: Value,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_checks_of_argo_cd_understand_every_phase() -> anyhow::Result<()> {
    if std::env::var_os("HEADGATE_E2E_LONG").is_none() {
        return Ok(());
    }
    let (cluster, _guard) = shared().await?;
    let mut moments = rollouts(&cluster).await?;
    moments.extend(referring(&cluster).await?);
    moments.extend(additions(&cluster).await?);
    moments.extend(first_version(&cluster).await?);
    moments.extend(runs(&cluster).await?);
    let objects: Vec<&Value> = moments.iter().map(|moment| &moment.object).collect();
    let answers = health(&objects).await?;
    let wrong = moments.iter().zip(&answers).filter(|(moment, answer)| answer.status != moment.expected);
    let wrong: Vec<String> = wrong
        .map(|(moment, answer)| {
            format!("{}: {answer:?}, not {}: {}", moment.what, moment.expected, moment.object["status"])
        })
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Whoever goes back to Argo Rollouts may do so at any of these moments.
    argo_rollouts::reads(&objects).await
}

/// A Rollout from its creation through everything that can become of a release.
async fn rollouts(cluster: &Cluster) -> anyhow::Result<Vec<Moment>> {
    let namespace = "e2e-argocd";
    let mut manifests = Manifests::plain(namespace, &json!([{ "setWeight": 50 }, { "pause": {} }]))?;
    manifests.change("Rollout", |rollout| rollout["spec"]["progressDeadlineSeconds"] = json!(10));
    let shop = Shop::open(cluster, namespace, &manifests).await?;
    let mut moments = Vec::new();
    let mut note = |what, expected, object| moments.push(Moment { what, expected, object });

    let mut another = manifests.take("Rollout").pop().context("no Rollout")?;
    another["metadata"]["name"] = json!("another");
    note("just created, no status", "Progressing", created(cluster, "Rollout", namespace, &another).await?);
    note("the first version", "Healthy", rollout_of(&shop).await?);

    let never_ready =
        json!([{ "name": "VERSION", "value": "v2" }, { "name": "NEVER_READY", "value": "true" }]);
    let patch = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "app", "image": "headgate/app:0.1.0", "env": never_ready,
          "readinessProbe": { "httpGet": { "path": "/readyz", "port": "http" }, "periodSeconds": 1 },
          "ports": [{ "name": "http", "containerPort": 8080 }] },
    ] } } } });
    let api = cluster.api("Rollout", namespace);
    let changed = api.patch(NAME, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    let changed = serde_json::to_value(changed)?;
    ensure!(changed["status"]["phase"] == "Healthy", "what the API server answers is the status of before");
    note("changed, and not looked at yet", "Progressing", changed);
    shop.await_phase("Progressing").await?;
    note("at a step whose pods are not there", "Progressing", rollout_of(&shop).await?);
    shop.await_phase("Degraded").await?;
    note("past its deadline", "Degraded", rollout_of(&shop).await?);

    shop.release("v3", &[]).await?;
    shop.await_phase("Paused").await?;
    note("at a pause", "Suspended", rollout_of(&shop).await?);
    shop.plugin(&["abort", "shop"]).await?;
    shop.await_phase("Degraded").await?;
    note("aborted", "Degraded", rollout_of(&shop).await?);
    shop.plugin(&["retry", "rollout", "shop"]).await?;
    shop.await_phase("Paused").await?;
    shop.plugin(&["pause", "shop"]).await?;
    shop.await_status("paused by the user", |status| status["message"] == "manually paused").await?;
    note("paused by a user", "Suspended", rollout_of(&shop).await?);
    shop.plugin(&["promote", "shop"]).await?;
    shop.await_phase("Healthy").await?;
    note("promoted", "Healthy", rollout_of(&shop).await?);

    // It goes on for as long as no pod may go.
    cluster.apply(namespace, &[budget()]).await?;
    shop.plugin(&["restart", "shop"]).await?;
    shop.await_status("restarting", |status| status["message"] == "rollout is restarting").await?;
    note("restarting", "Progressing", rollout_of(&shop).await?);

    let wrong = json!([{ "op": "add", "path": "/spec/strategy/canary/stableService", "value": "nowhere" }]);
    shop.patch("json", &wrong).await?;
    shop.await_phase("Degraded").await?;
    note("with an invalid spec", "Degraded", rollout_of(&shop).await?);
    shop.close().await?;
    Ok(moments)
}

/// One that takes its template from a Deployment: Argo CD compares two generations of that, too.
async fn referring(cluster: &Cluster) -> anyhow::Result<Vec<Moment>> {
    let namespace = "e2e-argocd-ref";
    let mut manifests = Manifests::plain(namespace, &json!([{ "setWeight": 50 }, { "pause": {} }]))?;
    let mut rollout = manifests.take("Rollout").pop().context("no Rollout")?;
    let spec = rollout["spec"].as_object_mut().context("no spec")?;
    let (template, selector) = (spec.remove("template"), spec.remove("selector"));
    spec.insert(
        "workloadRef".to_owned(),
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": NAME }),
    );
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": NAME },
        "spec": { "replicas": 0, "selector": selector, "template": template },
    });
    let shop = Shop::open(cluster, namespace, &Manifests(vec![deployment, rollout])).await?;
    let mut moments = Vec::new();
    let mut note = |what, expected, object| moments.push(Moment { what, expected, object });
    note("with a Deployment's template", "Healthy", rollout_of(&shop).await?);
    let path = "/spec/template/spec/containers/0/env/0/value";
    let patch = json!([{ "op": "replace", "path": path, "value": "v2" }]).to_string();
    let patch = ["patch", "deployment", NAME, "-n", namespace, "--type=json", "--patch", &patch];
    cluster.kubectl(&patch).await?;
    shop.await_phase("Paused").await?;
    note("at a pause, with a Deployment's template", "Suspended", rollout_of(&shop).await?);
    shop.plugin(&["abort", NAME]).await?;
    shop.await_phase("Degraded").await?;
    note("aborted, with a Deployment's template", "Degraded", rollout_of(&shop).await?);
    shop.close().await?;
    Ok(moments)
}

/// A release that stays, one after the other, at what Argo Rollouts does not have: it waits for a user and is held because an
/// analysis has failed, and it bakes.
async fn additions(cluster: &Cluster) -> anyhow::Result<Vec<Moment>> {
    let namespace = "e2e-argocd-additions";
    let mut manifests = Manifests::through(Door::Istio, namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = json!([{ "setWeight": 50 }, failing("pause"), failing("hold")]);
        canary["bake"] = json!({ "duration": "10m" });
    });
    manifests.0.insert(0, template("broken", "vector(0)", &Value::Null));
    let shop = Shop::open(cluster, namespace, &manifests).await?;
    let mut moments = Vec::new();
    let mut note = |what, expected, object| moments.push(Moment { what, expected, object });
    shop.release("v2", &[]).await?;
    await_waiting(&shop, "AnalysisFailed").await?;
    note("paused, because an analysis has failed", "Suspended", rollout_of(&shop).await?);
    shop.plugin(&["promote", NAME]).await?;
    // A fresh run begins only a minute after this one.
    await_waiting(&shop, "AnalysisHold").await?;
    note("held, because an analysis has failed", "Progressing", rollout_of(&shop).await?);
    shop.plugin(&["promote", NAME]).await?;
    await_waiting(&shop, "Bake").await?;
    note("baking", "Progressing", rollout_of(&shop).await?);
    shop.close().await?;
    Ok(moments)
}

/// A step with an analysis that fails, and what becomes of the release then.
fn failing(on_failure: &str) -> Value {
    json!({ "analysis": { "templates": [{ "templateName": "broken" }], "onFailure": on_failure } })
}

async fn await_waiting(shop: &Shop, kind: &str) -> anyhow::Result<()> {
    let waits = |status: &Value| status["waiting"]["kind"] == kind;
    shop.await_status(&format!("waits, as {kind}"), waits).await.map(|_| ())
}

/// A very first version whose analysis takes longer than this test.
async fn first_version(cluster: &Cluster) -> anyhow::Result<Vec<Moment>> {
    let namespace = "e2e-argocd-first";
    let step = json!({ "analysis": { "templates": [{ "templateName": "late" }] } });
    let mut manifests = Manifests::plain(namespace, &json!([step]))?;
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["strategy"]["canary"]["initial"] = json!("analyse");
    });
    manifests.0.insert(0, template("late", "vector(1)", &json!({ "initialDelay": "10m" })));
    let shop = Shop::apply(cluster, namespace, &manifests).await?;
    await_waiting(&shop, "Analysis").await?;
    let object = rollout_of(&shop).await?;
    let moment = Moment { what: "a first version that is analysed", expected: "Progressing", object };
    shop.close().await?;
    Ok(vec![moment])
}

/// A template with the metric of such a run.
fn template(name: &str, query: &str, more: &Value) -> Value {
    let mut template = run(name, query, more);
    template["kind"] = json!("AnalysisTemplate");
    template
}

/// One AnalysisRun for each way to end, one that never ends, one that does not measure yet, and one that nobody has looked at.
async fn runs(cluster: &Cluster) -> anyhow::Result<Vec<Moment>> {
    let namespace = "e2e-argocd-runs";
    cluster.fresh_namespace(namespace).await?;
    let several =
        r#"label_replace(vector(1), "a", "1", "", "") or label_replace(vector(1), "a", "2", "", "")"#;
    let endless = json!({ "interval": "10m" });
    let undecided = json!({ "failureCondition": "result[0] < 0" });
    // A list of two is no number.
    let impatient = json!({ "consecutiveErrorLimit": 0, "successCondition": "result >= 1" });
    // Before its first measurement a run is Running, too. No run is ever Pending, nor is one of Argo Rollouts.
    let late = json!({ "initialDelay": "10m" });
    let mut moments = Vec::new();
    for (name, phase, expected, query, more) in [
        ("successful", "Successful", "Healthy", "vector(1)", &Value::Null),
        ("failed", "Failed", "Degraded", "vector(0)", &Value::Null),
        ("error", "Error", "Degraded", several, &impatient),
        ("inconclusive", "Inconclusive", "Unknown", "vector(0)", &undecided),
        ("running", "Running", "Progressing", "vector(1)", &endless),
        ("late", "Running", "Progressing", "vector(1)", &late),
    ] {
        let run = run(name, query, more);
        let fresh = created(cluster, "AnalysisRun", namespace, &run).await?;
        moments.push(Moment { what: "a run just created", expected: "Progressing", object: fresh });
        cluster.apply(namespace, &[run]).await?;
        let limit = PATIENCE;
        let reached = |run: &Value| run["status"]["phase"] == phase;
        let object = cluster.await_object("AnalysisRun", namespace, name, limit, phase, reached).await?;
        moments.push(Moment { what: name, expected, object });
    }
    cluster.remove_namespace(namespace).await?;
    Ok(moments)
}

fn run(name: &str, query: &str, more: &Value) -> Value {
    let mut metric = json!({
        "name": "one", "successCondition": "result[0] >= 1",
        "provider": { "prometheus": { "address": "http://prometheus.monitoring.svc:9090", "query": query } },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        metric[field] = value.clone();
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": { "name": name }, "spec": { "metrics": [metric] },
    })
}

/// What the API server answers to a creation, tried only: nobody else has seen the object yet.
async fn created(cluster: &Cluster, kind: &str, namespace: &str, object: &Value) -> anyhow::Result<Value> {
    let object = serde_json::from_value(object.clone())?;
    let only_try = PostParams { dry_run: true, ..PostParams::default() };
    let created = cluster.api(kind, namespace).create(&only_try, &object).await?;
    Ok(serde_json::to_value(created)?)
}

async fn rollout_of(shop: &Shop) -> anyhow::Result<Value> {
    shop.cluster.get("Rollout", &shop.namespace, NAME).await
}
