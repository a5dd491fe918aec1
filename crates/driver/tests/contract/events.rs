//! Which events a release tells, in which words and in which order: people alert on them, and triggers of notifications
//! are named after them (the reference: reasons and messages of Argo Rollouts).

use crate::world::{World, at, released, template};
use headgate_driver::io::Call;
use headgate_driver::resources::{EVENTS, ROLLOUTS};
use serde_json::json;

/// `Type Reason: message` of each event since a place in the log, with the versions' hashes by name.
fn told_since(world: &World, start: usize, hashes: &[(&str, &str)]) -> Vec<String> {
    let told = world.log[start..].iter().filter_map(|call| match call {
        Call::Create { target, body } if target.resource == EVENTS => Some(body),
        _ => None,
    });
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
