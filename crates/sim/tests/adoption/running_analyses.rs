//! An analysis that runs when Headgate takes over goes on with what it has measured, and its verdict counts.
//!
//! The recorded runs wait for a Job, which this version does not carry out. Here they measure with Prometheus, as Argo
//! Rollouts would have left them after two measurements.

use crate::fleet::{objects, rollout};
use headgate_driver::resources::ANALYSIS_RUNS;
use headgate_sim::adoption::{Crds, World, unreadable};
use headgate_sim::user::Act;
use headgate_sim::world::given::{Answer, GivenMetric};
use headgate_sim::world::server::reference;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A run of a step, and one beside all steps.
const RECORDED: [&str; 2] = ["stepanalysis", "background"];
/// Of their metric.
const NAME: &str = "slow";
const INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// More than the measurements that are left take.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// One of a step ends by itself after five measurements. One of the two that it may fail is behind it.
fn metric(role: &Value) -> Value {
    let mut metric = json!({
        "name": NAME, "interval": "60s", "failureLimit": 1, "successCondition": "result[0] >= 0.95",
        "provider": { "prometheus": { "address": "http://prometheus:9090", "query": "up" } },
    });
    if role == "Step" {
        metric["count"] = json!(5);
    }
    metric
}

/// As Argo Rollouts writes it.
fn measured_so_far() -> Value {
    let measurement =
        |phase, value, at| json!({ "phase": phase, "value": value, "startedAt": at, "finishedAt": at });
    json!({
        "phase": "Running",
        "startedAt": "2026-11-21T08:58:30Z",
        "runSummary": { "count": 1 },
        "dryRunSummary": {},
        "metricResults": [{
            "name": NAME, "phase": "Running",
            "count": 2, "successful": 1, "failed": 1, "consecutiveSuccess": 1,
            "metadata": { "ResolvedPrometheusQuery": "up" },
            "measurements": [
                measurement("Failed", "[0.5]", "2026-11-21T08:58:30Z"),
                measurement("Successful", "[1]", "2026-11-21T08:59:30Z"),
            ],
        }],
    })
}

/// The recorded objects with a run and a template that measure with Prometheus, and without the Job.
fn measuring(name: &str) -> Vec<Value> {
    let mut objects = objects(name);
    objects.retain(|object| object["kind"] != "Job");
    let role = run_of(&objects)["metadata"]["labels"]["rollout-type"].clone();
    for object in &mut objects {
        let is_run = object["kind"] == "AnalysisRun";
        if is_run || (object["kind"] == "AnalysisTemplate" && object["metadata"]["name"] == NAME) {
            object["spec"]["metrics"] = json!([metric(&role)]);
        }
        if is_run {
            object["status"] = measured_so_far();
        }
    }
    objects
}

fn run_of(objects: &[Value]) -> &Value {
    objects.iter().find(|object| object["kind"] == "AnalysisRun").unwrap()
}

/// Headgate takes over, and from then on each measurement gives this.
fn take_over(objects: &[Value], answer: &str) -> World {
    let given = GivenMetric {
        template: None,
        name: NAME.to_owned(),
        answer: Answer::Number(answer.to_owned()),
        from: SignedDuration::ZERO,
    };
    World::take_over(objects, vec![given], Crds::Ours).unwrap()
}

fn run<'a>(objects: &[Value], world: &'a World) -> &'a Value {
    let runs: Vec<&Value> = world.all(ANALYSIS_RUNS).collect();
    assert_eq!(runs.len(), 1, "a second run was begun: {runs:?}");
    world.get(&reference(ANALYSIS_RUNS, run_of(objects))).unwrap()
}

fn result(run: &Value) -> &Value {
    &run["status"]["metricResults"][0]
}

fn time(at: &Value) -> Timestamp {
    at.as_str().unwrap().parse().unwrap()
}

/// What was measured before is still there, and the next measurement came when it was due.
#[track_caller]
fn assert_goes_on(before: &Value, after: &Value) {
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(before["status"]["startedAt"], after["status"]["startedAt"]);
    let (old, new) = (&result(before)["measurements"], &result(after)["measurements"]);
    assert_eq!((&old[0], &old[1]), (&new[0], &new[1]));
    let waited = time(&new[2]["startedAt"]).duration_since(time(&old[1]["finishedAt"]));
    assert!(waited >= INTERVAL && waited < INTERVAL + SignedDuration::from_secs(5), "{waited}");
    assert_eq!(unreadable(after), Vec::<String>::new());
}

fn phase(rollout: &Value) -> &str {
    rollout["status"]["phase"].as_str().unwrap_or_default()
}

#[test]
fn a_run_that_was_begun_before_goes_on_and_leads_to_the_end_of_the_release() {
    for (name, measured) in RECORDED.into_iter().zip([5, 9]) {
        let objects = measuring(name);
        let mut world = take_over(&objects, "1");
        if phase(rollout(&objects)) == "Paused" {
            world.pass(PATIENCE - INTERVAL * 3);
            assert_eq!(phase(world.rollout()), "Paused", "{name}: {}", world.rollout()["status"]);
            world.act(Act::Promote);
        }
        assert!(
            world.pass_until(PATIENCE, |rollout| phase(rollout) == "Healthy"),
            "{name}: {}",
            world.rollout()["status"]
        );
        world.pass(INTERVAL * 2);
        let run = run(&objects, &world);
        assert_goes_on(run_of(&objects), run);
        assert_eq!(run["status"]["phase"], "Successful", "{name}: {run}");
        assert_eq!(
            [&result(run)["count"], &result(run)["failed"]],
            [&json!(measured), &json!(1)],
            "{name}: {run}"
        );
        assert_eq!(world.broken_rule(), None, "{name}");
    }
}

#[test]
fn a_failure_that_was_measured_before_counts_with_the_next_one() {
    for name in RECORDED {
        let objects = measuring(name);
        let mut world = take_over(&objects, "0.5");
        assert!(
            world.pass_until(INTERVAL * 2, |rollout| phase(rollout) == "Degraded"),
            "{name}: {}",
            world.rollout()["status"]
        );
        world.pass(PATIENCE);
        let run = run(&objects, &world);
        assert_goes_on(run_of(&objects), run);
        assert_eq!([&result(run)["count"], &result(run)["failed"]], [&json!(3), &json!(2)], "{name}: {run}");
        let status = &world.rollout()["status"];
        assert_eq!(status["abort"], json!(true), "{name}: {status}");
        assert!(
            status["message"].as_str().unwrap().contains("failed (2) > failureLimit (1)"),
            "{name}: {status}"
        );
        assert_eq!(world.broken_rule(), None, "{name}");
    }
}
