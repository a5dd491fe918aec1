//! Pods: who is woken by them, and by what.

use crate::script::{scripted_world, unchanged};
use crate::world::{World, at};
use headgate_driver::io::{Call, Observation};
use headgate_driver::resources::{PODS, REPLICA_SETS, ROLLOUTS};
use serde_json::{Value, json};

/// A settled world in which ReplicaSet a is the stable one.
fn world() -> World {
    let mut world = scripted_world(|snapshot| unchanged(snapshot, Vec::new()));
    world.settle();
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "stableRS": "a" } }));
    world.settle();
    world
}

fn pod(world: &World, set: &str, restarts: i32, note: &str) -> Value {
    let uid = &world.get(&at(REPLICA_SETS, set))["metadata"]["uid"];
    json!({
        "metadata": {
            "name": format!("{set}-pod"), "namespace": "shop", "creationTimestamp": "2026-11-21T08:59:00Z",
            "annotations": { "note": note },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": set, "uid": uid, "controller": true }],
        },
        "status": { "phase": "Running", "containerStatuses": [
            { "name": "app", "restartCount": restarts, "ready": true, "state": { "running": {} } },
        ]},
    })
}

/// How many decisions an event about a pod leads to.
fn decisions(world: &mut World, observation: Observation) -> u64 {
    let before = world.driver.counters().decisions;
    world.driver.observe(observation, world.now);
    world.settle();
    world.driver.counters().decisions - before
}

#[test]
fn a_pod_wakes_its_rollout_only_when_what_its_health_needs_has_changed() {
    let mut world = world();
    let mut applied = |set: &str, restarts: i32, note: &str| {
        let pod = pod(&world, set, restarts, note);
        decisions(&mut world, Observation::Applied(PODS, pod))
    };
    assert_eq!(applied("b", 0, "new"), 1);
    assert_eq!(applied("b", 0, "changed"), 0);
    assert_eq!(applied("b", 1, "restarted"), 1);
    assert_eq!(applied("a", 0, "new"), 0, "pods of the stable version wake nobody");
    assert_eq!(applied("a", 1, "restarted"), 0);
}

#[test]
fn a_pod_of_a_replica_set_that_nobody_knows_wakes_nobody() {
    let mut world = world();
    let mut stranger = pod(&world, "b", 0, "");
    stranger["metadata"]["ownerReferences"][0]["uid"] = json!("of another one");
    assert_eq!(decisions(&mut world, Observation::Applied(PODS, stranger)), 0);
}

#[test]
fn without_a_restart_pods_are_never_asked_for_and_never_written() {
    let mut world = World::new();
    world.create(ROLLOUTS, crate::world::web());
    world.run(60);
    let is_about_pods = |call: &Call| match call {
        Call::List { resource, .. } => *resource == PODS,
        Call::Get(target)
        | Call::Create { target, .. }
        | Call::Patch { target, .. }
        | Call::Delete { target, .. }
        | Call::Evict { target, .. } => target.resource == PODS,
        Call::Measure { .. } | Call::Notify { .. } => false,
    };
    assert!(!world.log.iter().any(is_about_pods));
}

#[test]
fn without_the_right_to_see_pods_the_driver_works() {
    let watch = World::new().driver.watches().into_iter().find(|watch| watch.resource == PODS).unwrap();
    assert_eq!((watch.required, watch.labels), (false, "rollouts-pod-template-hash"));
}
