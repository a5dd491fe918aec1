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
    "Normal RolloutUpdated: Rollout updated to revision 2",
    "Normal NewReplicaSetCreated: Created ReplicaSet web-NEW (revision 2)",
    "Normal RolloutNotCompleted: Rollout not completed, started update to revision 2 (NEW)",
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
fn r11_a_first_deployment_is_told_as_one_that_begins_and_completes() {
    let world = released();
    let told = told_since(&world, 0, &[(&hash(&world, "stableRS"), "NEW")]);
    assert_eq!(told, DEPLOYED, "{told:#?}");
}

const DEPLOYED: &[&str] = &[];

/// A release of version 2 with an analysis at 25 % that measures this, from its beginning on.
fn analysed(value: &'static str) -> (World, Vec<String>, Vec<String>) {
    let mut world = released();
    let old = hash(&world, "stableRS");
    world.create(TEMPLATES, analysis());
    world.provider = Box::new(|_| Some(measured(value)));
    let start = world.log.len();
    let steps = json!([{ "setWeight": 25 }, { "analysis": { "templates": [{ "templateName": "watch" }] } }]);
    let canary = json!({ "canary": { "steps": steps } });
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "strategy": canary, "template": template("2") } }));
    world.run(120);
    let new = hash(&world, "currentPodHash");
    let hashes: &[(&str, &str)] = &[(&old, "OLD"), (&new, "NEW")];
    let of_rollout = told_since(&world, start, hashes);
    let of_run = told_about(ANALYSIS_RUNS, &world, start, hashes);
    (world, of_rollout, of_run)
}

#[test]
fn r11_a_release_with_an_analysis_that_succeeds_tells_of_it_before_the_step_that_waited_for_it() {
    let (world, of_rollout, of_run) = analysed("0.99");
    assert_eq!(world.phase(), "Healthy");
    assert_eq!(of_rollout, ANALYSED, "{of_rollout:#?}");
    assert_eq!(of_run, SUCCESSFUL, "{of_run:#?}");
}

const ANALYSED: &[&str] = &[];
const SUCCESSFUL: &[&str] = &[];

#[test]
fn r11_a_release_with_an_analysis_that_fails_tells_of_it_before_the_abort_that_comes_of_it() {
    let (world, of_rollout, of_run) = analysed("0");
    assert_eq!(world.phase(), "Degraded");
    assert_eq!(of_rollout, ANALYSED_AND_ABORTED, "{of_rollout:#?}");
    assert_eq!(of_run, FAILED, "{of_run:#?}");
}

const ANALYSED_AND_ABORTED: &[&str] = &[];
const FAILED: &[&str] = &[];

fn creates(kind: Resource) -> impl Fn(&Call) -> bool {
    move |call| matches!(call, Call::Create { target, .. } if target.resource == kind)
}

fn patches(kind: Resource) -> impl Fn(&Call) -> bool {
    move |call| matches!(call, Call::Patch { target, .. } if target.resource == kind)
}

/// What is warned of while these calls of a release with an analysis are answered so, for ten minutes.
fn warned(when: impl Fn(&Call) -> bool + 'static, code: u16, reason: &str) -> (World, Vec<String>) {
    let mut world = released();
    let old = hash(&world, "stableRS");
    world.create(TEMPLATES, analysis());
    world.refuse(when, refused(code, reason));
    let start = world.log.len();
    let steps = json!([{ "setWeight": 25 }, { "analysis": { "templates": [{ "templateName": "watch" }] } }]);
    let canary = json!({ "canary": { "steps": steps } });
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "strategy": canary, "template": template("2") } }));
    world.run(500);
    let new = hash(&world, "currentPodHash");
    let told = told_since(&world, start, &[(&old, "OLD"), (&new, "NEW")]);
    (world, told.into_iter().filter(|line| line.starts_with("Warning")).collect())
}

#[test]
fn explore() {
    for (code, reason) in [(403, "Forbidden"), (422, "Invalid"), (409, "Conflict"), (500, "InternalError"), (404, "NotFound")] {
        for (name, when) in [
            ("create rs", Box::new(creates(REPLICA_SETS)) as Box<dyn Fn(&Call) -> bool>),
            ("patch rs", Box::new(patches(REPLICA_SETS))),
            ("patch vs", Box::new(patches(VIRTUAL_SERVICES))),
            ("create run", Box::new(creates(ANALYSIS_RUNS))),
            ("record", Box::new(patches(ROLLOUTS))),
        ] {
            let (world, told) = warned(when, code, reason);
            println!("== {name} {code}: {told:#?} {:#} {}", world.rollout()["status"]["waiting"], world.phase());
        }
    }
}
