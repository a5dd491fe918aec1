//! What Argo Rollouts does not have: a bake, a release that waits or is held where an analysis fails, a pause with a limit, and
//! a first version that is analysed. `abort.policy` is in ways_back.rs.

use crate::{alone, shared};
use anyhow::{Context, ensure};
use headgate_e2e::course::{self, Course, Outcome, conclusive};
use headgate_e2e::door::Door;
use headgate_e2e::meanwhile;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::{Cluster, Shop};
use jiff::Timestamp;
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
    // Not the phase alone: it is Degraded for a moment too if the Rollout is read before its template exists.
    let status = shop.await_status("an abort", |status| status["abort"] == true).await?;
    assert_eq!(status["phase"], "Degraded", "{status}");
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

/// Two pods through Istio, with these steps and without analysis.
fn by_steps(namespace: &str, steps: &Value) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::example(namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        rollout["spec"]["strategy"]["canary"]["steps"] = steps.clone();
    });
    Ok(manifests)
}

/// The canary's weight, as the status tells it.
fn weight_of(status: &Value) -> &Value {
    &status["canary"]["weights"]["canary"]["weight"]
}

fn time(value: &Value) -> anyhow::Result<Timestamp> {
    let text = value.as_str().with_context(|| format!("no time: {value}"))?;
    Ok(text.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_version_is_stable_once_it_has_baked_and_the_old_pods_stand_by_until_then()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut manifests = by_steps("e2e-bake-good", &json!([{ "setWeight": 50 }]))?;
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["strategy"]["canary"]["bake"] =
            json!({ "duration": "20s", "analysis": analysis("late") });
    });
    manifests.0.push(template("late", "vector(1)", &json!({})));
    let shop = Shop::open(&cluster, "e2e-bake-good", &manifests).await?;
    let stable = shop.status().await?["stableRS"].as_str().unwrap_or_default().to_owned();
    shop.release("v2", &[]).await?;
    let status = shop.await_status("a bake", |status| status["waiting"]["kind"] == "Bake").await?;
    assert!(status["stableRS"] == stable && status["phase"] == "Progressing", "{status}");
    assert_eq!(*weight_of(&status), 100, "{status}");
    let until = time(&status["waiting"]["until"])?;
    let told = status["waiting"]["message"].as_str().unwrap_or_default();
    assert!(told.contains(&format!("until {until}")) && told.contains("the old one stands by"), "{told}");

    let is_stable = |status: &Value| status["stableRS"] == status["currentPodHash"];
    let baked = shop.await_status("the new version is stable", is_stable);
    ends_at(&meanwhile::size_stays(&shop, &stable, 2, baked).await?, until)?;
    shop.await_phase("Healthy").await?;
    let run = format!("{NAME}-{}-2-bake", status["currentPodHash"].as_str().unwrap_or_default());
    let run = cluster.get("AnalysisRun", &shop.namespace, &run).await?;
    assert_eq!(run["status"]["phase"], "Successful", "{run}");
    shop.await_weight(0).await?;
    shop.await_pods(2, 2).await?;
    shop.close().await
}

/// By the controller's own clock the release was over at that time, and not before.
fn ends_at(status: &Value, until: Timestamp) -> anyhow::Result<()> {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let completed = conditions.find(|one| one["type"] == "Completed").context("no condition Completed")?;
    ensure!(completed["status"] == "True", "{completed}");
    ensure!(time(&completed["lastTransitionTime"])? >= until, "not before {until}: {completed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_nobody_has_ended_in_time_leads_back_and_the_message_names_it() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let pause = json!({ "pause": { "maxDuration": "10s", "onTimeout": "abort" } });
    let steps = json!([{ "setWeight": 40 }, pause, { "setWeight": 80 }]);
    let shop = Shop::open(&cluster, "e2e-overdue", &by_steps("e2e-overdue", &steps)?).await?;
    let stable = shop.status().await?["stableRS"].clone();
    shop.release("v2", &[]).await?;
    let status = shop.await_pause(1).await?;
    assert_eq!(*weight_of(&status), 40, "{status}");
    let until = foretold(&status, "the release is aborted")?;

    let status = shop.await_phase("Degraded").await?;
    let place = "Rollout aborted update to revision 2 at step 2/3, weight 40";
    let why =
        format!("{place}: nobody has promoted the pause of step 2 within its maxDuration, until {until}");
    assert_eq!(status["message"], format!("RolloutAborted: {why}"));
    assert_eq!(status["stableRS"], stable, "{status}");
    let shown = shop.plugin(&["get", "rollout", NAME]).await?.out;
    assert!(shown.contains(&why), "{why:?} is not in {shown}");
    assert_eq!(shop.await_events("RolloutAborted", 1).await?, [why]);
    shop.await_weight(0).await?;
    shop.close().await
}

/// What happens to a pause with a limit is said beforehand, and until when it lasts.
fn foretold(status: &Value, then: &str) -> anyhow::Result<Timestamp> {
    let waiting = &status["waiting"];
    let until = time(&waiting["until"])?;
    let message = waiting["message"].as_str().unwrap_or_default();
    let told = format!("ends when a user promotes; if nobody has by {until}, {then}");
    ensure!(waiting["kind"] == "UserPromotion" && message.ends_with(&told), "{waiting}");
    Ok(until)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_pause_goes_on_by_itself_or_stays_and_reminds_as_the_spec_says() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let goes_on = json!({ "pause": { "maxDuration": "10s", "onTimeout": "promote" } });
    let stays = json!({ "pause": { "maxDuration": "5s" } });
    let steps = json!([{ "setWeight": 40 }, goes_on, { "setWeight": 80 }, stays]);
    let shop = Shop::open(&cluster, "e2e-overdue-on", &by_steps("e2e-overdue-on", &steps)?).await?;
    shop.release("v2", &[]).await?;
    let until = foretold(&shop.await_pause(1).await?, "the release goes on by itself")?;
    let status = shop.await_pause(3).await?;
    let began = time(&status["pauseConditions"][0]["startTime"])?;
    assert!(began >= until, "not before {until}: {status}");

    let is_overdue = |status: &Value| status["waiting"]["kind"] == "PauseOverdue";
    let status = shop.await_status("a pause that is overdue", is_overdue).await?;
    assert!(status["phase"] == "Paused" && status["currentStepIndex"] == 3, "{status}");
    assert_eq!(*weight_of(&status), 80, "{status}");
    let reminder = shop.await_events("PauseOverdue", 1).await?;
    assert!(reminder[0].starts_with("nobody has promoted the pause of step 4 within"), "{reminder:?}");
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}

/// An analysis that fails at its first measurement, and makes the release wait for a user.
fn failing() -> (Value, Value) {
    let mut analysis = analysis("broken");
    analysis["onFailure"] = json!("pause");
    (analysis, template("broken", "vector(0.5)", &json!({})))
}

const FAILED: &str = r#"Metric "broken" assessed Failed due to failed (1) > failureLimit (0)"#;

async fn await_failed_analysis(shop: &Shop, fresh: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let is_failed = |status: &Value| status["waiting"]["kind"] == "AnalysisFailed" && fresh(status);
    let status = shop.await_status("a pause for a failed analysis", is_failed).await?;
    let told = status["waiting"]["message"].as_str().unwrap_or_default();
    ensure!(status["phase"] == "Paused" && told.ends_with(FAILED), "{status}");
    Ok(status)
}

/// The event, by now one of so many, says what the status says, and `why` both ways out.
async fn is_told(shop: &Shop, status: &Value, events: usize) -> anyhow::Result<()> {
    let told = format!("Rollout is paused: {}", status["waiting"]["message"].as_str().unwrap_or_default());
    let events = shop.await_events("AnalysisFailed", events).await?;
    ensure!(events.contains(&told), "{told:?} is none of {events:?}");
    let why = shop.plugin(&["why", NAME]).await?.out;
    ensure!(why.contains("waits for somebody to look at an analysis that has failed"), "{why}");
    ensure!(why.contains("promote shop") && why.contains("abort shop"), "{why}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_analysis_fails_waits_with_its_weight_and_a_user_goes_on() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let (analysis, template) = failing();
    let steps = json!([{ "setWeight": 20 }, { "analysis": analysis }, { "setWeight": 40 }, { "pause": {} }]);
    let mut manifests = by_steps("e2e-failed-step", &steps)?;
    manifests.0.push(template);
    let shop = Shop::open(&cluster, "e2e-failed-step", &manifests).await?;
    shop.release("v2", &[]).await?;
    let status = await_failed_analysis(&shop, |_| true).await?;
    assert_eq!(status["currentStepIndex"], 1, "{status}");
    assert_eq!(status["message"], format!("AnalysisFailed: {FAILED}"));
    meanwhile::weight_stays(&shop, 20, is_told(&shop, &status, 1)).await?;

    shop.plugin(&["promote", NAME]).await?;
    let status = shop.await_pause(3).await?;
    assert_eq!(*weight_of(&status), 40, "{status}");
    shop.plugin(&["promote", NAME]).await?;
    let status = shop.await_phase("Healthy").await?;
    assert_eq!(status["stableRS"], status["currentPodHash"]);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_analysis_that_fails_makes_a_release_wait_until_a_user_goes_on_or_back()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let (mut analysis, template) = failing();
    analysis["startingStep"] = json!(1);
    let steps = json!([{ "setWeight": 20 }, { "pause": {} }, { "setWeight": 40 }, { "pause": {} }]);
    let mut manifests = by_steps("e2e-failed-background", &steps)?;
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["strategy"]["canary"]["analysis"] = analysis.clone();
    });
    manifests.0.push(template);
    let shop = Shop::open(&cluster, "e2e-failed-background", &manifests).await?;
    let stable = shop.status().await?["stableRS"].clone();
    shop.release("v2", &[]).await?;
    let status = await_failed_analysis(&shop, |_| true).await?;
    assert_eq!(status["currentStepIndex"], 1, "{status}");
    meanwhile::weight_stays(&shop, 20, is_told(&shop, &status, 1)).await?;

    let run = |status: &Value| status["canary"]["currentBackgroundAnalysisRunStatus"]["name"].clone();
    let first = run(&status);
    shop.plugin(&["promote", NAME]).await?;
    let status = await_failed_analysis(&shop, |status| run(status) != first).await?;
    assert!(status["currentStepIndex"].as_i64() > Some(1), "it went on, and a fresh run failed: {status}");
    is_told(&shop, &status, 2).await?;

    shop.plugin(&["abort", NAME]).await?;
    let status = shop.await_phase("Degraded").await?;
    assert!(status["abort"] == true && status["stableRS"] == stable, "{status}");
    shop.await_weight(0).await?;
    shop.close().await
}
