//! Which events a release tells, in which words and in which order: people alert on them, and triggers of notifications
//! are named after them (the reference: reasons and messages of Argo Rollouts).

use crate::server::refused;
use crate::states::{TEMPLATES, analysis, measured};
use crate::world::{VIRTUAL_SERVICES, World, at, released, template};
use headgate_driver::io::{Call, Resource};
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, REPLICA_SETS, ROLLOUTS};
use serde_json::json;

/// `Type Reason: message` of each event about the Rollout since a place in the log, with the versions' hashes by name.
fn told_since(world: &World, start: usize, hashes: &[(&str, &str)]) -> Vec<String> {
    told_about(ROLLOUTS, world, start, hashes)
}

/// The same of events about objects of another kind.
fn told_about(kind: Resource, world: &World, start: usize, hashes: &[(&str, &str)]) -> Vec<String> {
    let told = world.log[start..].iter().filter_map(|call| match call {
        Call::Create { target, body } if target.resource == EVENTS => Some(body),
        _ => None,
    });
    let told = told.filter(|event| event["involvedObject"]["kind"] == kind.kind);
    let line = |event: &serde_json::Value| {
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        let line = format!("{} {}: {}", text("type"), text("reason"), text("message"));
        hashes.iter().fold(line, |line, (hash, name)| line.replace(hash, name))
    };
    told.map(line).collect()
}

fn hash(world: &World, field: &str) -> String {
    world.rollout()["status"][field].as_str().unwrap().to_owned()
}

#[test]
fn r11_a_release_tells_of_its_beginning_its_steps_and_its_end_in_order() {
    let mut world = released();
    let old = hash(&world, "stableRS");
    let start = world.log.len();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(120);
    assert_eq!(world.phase(), "Healthy");
    let new = hash(&world, "stableRS");
    let told = told_since(&world, start, &[(&old, "OLD"), (&new, "NEW")]);
    assert_eq!(told, RELEASED, "{told:#?}");
}

const RELEASED: &[&str] = &[
    "Normal RolloutNotCompleted: Rollout not completed, started update to revision 2 (NEW)",
    "Normal RolloutUpdated: Rollout updated to revision 2",
    "Normal NewReplicaSetCreated: Created ReplicaSet web-NEW (revision 2)",
    "Normal ScalingReplicaSet: Scaled up ReplicaSet web-NEW (revision 2) from 0 to 1",
    "Normal SwitchService: Switched selector for service 'web-canary' from 'OLD' to 'NEW'",
    "Normal TrafficWeightUpdated: Traffic weight updated from 0 to 25",
    "Normal RolloutStepCompleted: Rollout step 1/4 completed (setWeight: 25)",
    "Normal RolloutPaused: Rollout is paused (CanaryPauseStep)",
    "Normal RolloutStepCompleted: Rollout step 2/4 completed (pause: 10s)",
    "Normal RolloutResumed: Rollout is resumed",
    "Normal ScalingReplicaSet: Scaled up ReplicaSet web-NEW (revision 2) from 1 to 2",
    "Normal TrafficWeightUpdated: Traffic weight updated from 25 to 50",
    "Normal RolloutStepCompleted: Rollout step 3/4 completed (setWeight: 50)",
    "Normal RolloutPaused: Rollout is paused (CanaryPauseStep)",
    "Normal RolloutStepCompleted: Rollout step 4/4 completed (pause: 10s)",
    "Normal RolloutResumed: Rollout is resumed",
    "Normal ScalingReplicaSet: Scaled up ReplicaSet web-NEW (revision 2) from 2 to 4",
    "Normal TrafficWeightUpdated: Traffic weight updated from 50 to 100",
    "Normal RolloutCompleted: Rollout completed update to revision 2 (NEW): Completed all 4 canary steps",
    "Normal SwitchService: Switched selector for service 'web-stable' from 'OLD' to 'NEW'",
    "Normal TrafficWeightUpdated: Traffic weight updated from 100 to 0",
    "Normal ScalingReplicaSet: Scaled down ReplicaSet web-OLD (revision 1) from 4 to 0",
];

#[test]
fn r11_an_abort_tells_how_far_the_release_had_come_and_leads_back() {
    let mut world = released();
    let old = hash(&world, "stableRS");
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(5);
    let new = hash(&world, "currentPodHash");
    let start = world.log.len();
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
    world.run(120);
    assert_eq!(world.phase(), "Degraded");
    let told = told_since(&world, start, &[(&old, "OLD"), (&new, "NEW")]);
    assert_eq!(told, ABORTED, "{told:#?}");
}

const ABORTED: &[&str] = &[
    "Warning RolloutAborted: Rollout aborted update to revision 2 at step 2/4, weight 25",
    "Normal TrafficWeightUpdated: Traffic weight updated from 25 to 0",
    "Normal SwitchService: Switched selector for service 'web-canary' from 'NEW' to 'OLD'",
    "Normal ScalingReplicaSet: Scaled down ReplicaSet web-NEW (revision 2) from 1 to 0",
];

#[test]
fn r11_a_first_deployment_tells_of_its_beginning_and_its_end_in_order() {
    let world = released();
    let told = told_since(&world, 0, &[(&hash(&world, "stableRS"), "NEW")]);
    assert_eq!(told, DEPLOYED, "{told:#?}");
}

const DEPLOYED: &[&str] = &[
    "Normal RolloutNotCompleted: Rollout not completed, started update to revision 1 (NEW)",
    "Normal RolloutUpdated: Rollout updated to revision 1",
    "Normal NewReplicaSetCreated: Created ReplicaSet web-NEW (revision 1)",
    "Normal RolloutCompleted: Rollout completed update to revision 1 (NEW): Initial deploy",
    "Normal ScalingReplicaSet: Scaled up ReplicaSet web-NEW (revision 1) from 0 to 4",
    "Normal SwitchService: Switched selector for service 'web-stable' from '' to 'NEW'",
    "Normal SwitchService: Switched selector for service 'web-canary' from '' to 'NEW'",
];

/// Version 1 is out, and there is the template of an analysis that looks at the canary alone.
fn released_with_template() -> World {
    let mut world = released();
    let mut watch = analysis();
    watch["spec"]["metrics"][0]["provider"]["prometheus"]["query"] = json!(r#"up{service="web-canary"}"#);
    world.create(TEMPLATES, watch);
    world
}

/// What a release of version 2 with an analysis at 25 % tells about the Rollout, and about the run.
fn told_of_analysed(world: &mut World) -> (Vec<String>, Vec<String>) {
    let (old, start) = (hash(world, "stableRS"), world.log.len());
    let steps = json!([{ "setWeight": 25 }, { "analysis": { "templates": [{ "templateName": "watch" }] } }]);
    let canary = json!({ "canary": { "steps": steps } });
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "strategy": canary, "template": template("2") } }));
    world.run(120);
    let new = hash(world, "currentPodHash");
    let hashes = [(old.as_str(), "OLD"), (new.as_str(), "NEW")];
    let told = |kind| told_about(kind, world, start, &hashes);
    (told(ROLLOUTS), told(ANALYSIS_RUNS))
}

#[test]
fn r11_an_analysis_that_succeeds_is_told_before_the_step_that_it_completes() {
    let mut world = released_with_template();
    world.provider = Box::new(|_| Some(measured("0.99")));
    let (of_rollout, of_run) = told_of_analysed(&mut world);
    assert_eq!(world.phase(), "Healthy");
    assert_eq!(of_rollout, [BEFORE_THE_VERDICT, SUCCESSFUL].concat(), "{of_rollout:#?}");
    assert_eq!(of_run, RUN_SUCCESSFUL, "{of_run:#?}");
}

const BEFORE_THE_VERDICT: &[&str] = &[
    "Normal RolloutNotCompleted: Rollout not completed, started update to revision 2 (NEW)",
    "Normal RolloutUpdated: Rollout updated to revision 2",
    "Normal NewReplicaSetCreated: Created ReplicaSet web-NEW (revision 2)",
    "Normal ScalingReplicaSet: Scaled up ReplicaSet web-NEW (revision 2) from 0 to 1",
    "Normal SwitchService: Switched selector for service 'web-canary' from 'OLD' to 'NEW'",
    "Normal TrafficWeightUpdated: Traffic weight updated from 0 to 25",
    "Normal RolloutStepCompleted: Rollout step 1/2 completed (setWeight: 25)",
    "Normal AnalysisRunPending: Step Analysis Run 'web-NEW-2-1' Status New: 'Pending' Previous: 'NoPreviousStatus'",
    "Normal AnalysisRunRunning: Step Analysis Run 'web-NEW-2-1' Status New: 'Running' Previous: 'Pending'",
];

const SUCCESSFUL: &[&str] = &[
    "Normal AnalysisRunSuccessful: Step Analysis Run 'web-NEW-2-1' Status New: 'Successful' Previous: 'Running'",
    "Normal RolloutStepCompleted: Rollout step 2/2 completed (analysis)",
    "Normal ScalingReplicaSet: Scaled up ReplicaSet web-NEW (revision 2) from 1 to 4",
    "Normal TrafficWeightUpdated: Traffic weight updated from 25 to 100",
    "Normal RolloutCompleted: Rollout completed update to revision 2 (NEW): Completed all 2 canary steps",
    "Normal SwitchService: Switched selector for service 'web-stable' from 'OLD' to 'NEW'",
    "Normal TrafficWeightUpdated: Traffic weight updated from 100 to 0",
    "Normal ScalingReplicaSet: Scaled down ReplicaSet web-OLD (revision 1) from 4 to 0",
];

const RUN_SUCCESSFUL: &[&str] = &[
    "Normal MetricSuccessful: Metric 'success' Completed. Result: Successful",
    "Normal AnalysisRunSuccessful: Analysis Completed. Result: Successful",
];

#[test]
fn r11_an_analysis_that_fails_is_told_before_the_abort_that_comes_of_it() {
    let mut world = released_with_template();
    world.provider = Box::new(|_| Some(measured("0")));
    let (of_rollout, of_run) = told_of_analysed(&mut world);
    assert_eq!(world.phase(), "Degraded");
    assert_eq!(of_rollout, [BEFORE_THE_VERDICT, FAILED].concat(), "{of_rollout:#?}");
    assert_eq!(of_run, RUN_FAILED, "{of_run:#?}");
}

const FAILED: &[&str] = &[
    "Warning AnalysisRunFailed: Step Analysis Run 'web-NEW-2-1' Status New: 'Failed' Previous: 'Running'",
    "Warning RolloutAborted: Rollout aborted update to revision 2 at step 2/2, weight 25: Step-based analysis phase \
     error/failed: Metric \"success\" assessed Failed due to failed (1) > failureLimit (0); its last value was [0]",
    "Normal TrafficWeightUpdated: Traffic weight updated from 25 to 0",
    "Normal SwitchService: Switched selector for service 'web-canary' from 'NEW' to 'OLD'",
    "Normal ScalingReplicaSet: Scaled down ReplicaSet web-NEW (revision 2) from 1 to 0",
];

const RUN_FAILED: &[&str] = &[
    "Warning MetricFailed: Metric 'success' Completed. Result: Failed",
    "Warning AnalysisRunFailed: Analysis Completed. Result: Failed (Metric \"success\" assessed Failed due to failed (1) > \
     failureLimit (0))",
];

type Calls = Box<dyn Fn(&Call) -> bool>;

fn creates(kind: Resource) -> Calls {
    Box::new(move |call| matches!(call, Call::Create { target, .. } if target.resource == kind))
}

fn patches(kind: Resource) -> Calls {
    Box::new(move |call| matches!(call, Call::Patch { target, .. } if target.resource == kind))
}

/// A release with an analysis whose calls of this kind are answered so, and what it warns of in two minutes.
fn held_up(calls: Calls, code: u16, reason: &str) -> (World, Vec<String>) {
    held_up_with(&[], calls, code, reason)
}

/// The same where the server drops these fields of the status.
fn held_up_with(pruned: &[&'static str], calls: Calls, code: u16, reason: &str) -> (World, Vec<String>) {
    let mut world = released_with_template();
    world.server.pruned = pruned.to_vec();
    world.refuse(calls, refused(code, reason));
    let (told, _) = told_of_analysed(&mut world);
    (world, told.into_iter().filter(|line| line.starts_with("Warning ")).collect())
}

/// Calls of effects, the reason of the event when one fails, and the effect by its verb and its object.
fn effects() -> [(Calls, &'static str, &'static str, &'static str); 4] {
    [
        (creates(REPLICA_SETS), "ReplicaSetCreateError", "CreateReplicaSet", "web-NEW"),
        (patches(REPLICA_SETS), "ReplicaSetUpdateError", "Scale", "web-NEW"),
        (patches(VIRTUAL_SERVICES), "TrafficRoutingError", "Route", "istio web"),
        (creates(ANALYSIS_RUNS), "ReconciliationError", "CreateAnalysisRun", "web-NEW-2-1"),
    ]
}

#[test]
fn r11_what_the_api_server_refuses_is_told_once_in_its_words_and_by_what_it_was_for() {
    for (calls, of, verb, object) in effects() {
        let (_, told) = held_up(calls, 403, "Forbidden");
        let words = format!("Warning {of}: {verb} of {object} is refused: Forbidden by the test's server");
        assert_eq!(told, [words]);
    }
}

#[test]
fn r11_what_the_api_server_refuses_is_told_although_it_drops_what_is_waited_for() {
    for (calls, of, verb, object) in effects() {
        let (_, told) = held_up_with(&["headgate", "waiting"], calls, 403, "Forbidden");
        let told: Vec<String> = told.into_iter().filter(|line| !line.contains("FieldPruned")).collect();
        let words = format!("Warning {of}: {verb} of {object} is refused: Forbidden by the test's server");
        assert_eq!(told, [words]);
    }
}

#[test]
fn r11_what_the_api_server_does_not_find_again_and_again_is_told_once_in_its_words_and_by_what_it_was_for() {
    for (calls, of, verb, object) in effects() {
        let (_, told) = held_up(calls, 404, "NotFound");
        let words = format!("Warning {of}: {verb} of \"{object}\" failed: NotFound by the test's server");
        assert_eq!(told, [words]);
    }
}

#[test]
fn r11_an_answer_500_that_lasts_is_told_once() {
    for (calls, of, verb, object) in effects() {
        let (world, told) = held_up(calls, 500, "InternalError");
        let waiting = &world.rollout()["status"]["waiting"];
        assert_eq!(waiting["kind"], "ApiServer", "{waiting:#}");
        let words =
            format!("Warning {of}: {verb} of \"{object}\" failed: InternalError by the test's server");
        assert_eq!(told, [words]);
    }
}

#[test]
fn r11_a_record_that_is_refused_is_told_although_nothing_can_be_stored() {
    let records = Box::new(|call: &Call| matches!(call, Call::Patch { status: true, .. }));
    let (_, told) = held_up(records, 403, "Forbidden");
    assert_eq!(told, ["Warning ReconciliationError: Record failed: Forbidden by the test's server"]);
}

#[test]
fn r11_a_replica_set_that_is_refused_stands_in_the_condition_in_the_words_of_argo_rollouts() {
    let (world, _) = held_up(creates(REPLICA_SETS), 403, "Forbidden");
    let conditions = world.rollout()["status"]["conditions"].as_array().unwrap();
    let progressing = conditions.iter().find(|condition| condition["type"] == "Progressing").unwrap();
    let name = format!("web-{}", hash(&world, "currentPodHash"));
    let words = format!("Failed to create new replica set \"{name}\": Forbidden by the test's server");
    assert_eq!(
        (&progressing["reason"], &progressing["message"]),
        (&json!("ReplicaSetCreateError"), &json!(words))
    );
}
