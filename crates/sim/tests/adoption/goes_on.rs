//! After the take-over a release goes on as it would have.

use crate::fleet::{STANDS_FOR, carried_out, objects, rollout_mut, take_over};
use headgate_api::labels::SCALE_DOWN_DEADLINE;
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::{ANALYSIS_TEMPLATES, REPLICA_SETS};
use headgate_sim::adoption::World;
use headgate_sim::user::Act;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::fmt::Write;

/// More than any step of theirs takes.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// None of them takes more acts of a user.
const ACTS_MAX: usize = 3;
/// The new version.
const NEXT: i64 = 2;

/// What a user does next, by what the Rollout says.
fn next_act(rollout: &Value) -> Act {
    match (rollout["status"]["phase"].as_str().unwrap(), rollout["status"]["abort"].as_bool()) {
        (_, Some(true)) => Act::Retry,
        ("Paused", _) if rollout["spec"]["paused"] == json!(true) => Act::Unpause,
        ("Paused", _) => Act::Promote,
        ("Healthy" | "Degraded", _) => Act::Release(NEXT),
        (phase, _) => panic!("nothing to do while {phase}: {}", rollout["status"]),
    }
}

fn is_healthy(rollout: &Value) -> bool {
    rollout["status"]["phase"] == "Healthy"
        && rollout["status"]["observedGeneration"] == json!(rollout["metadata"]["generation"].to_string())
}

fn is_settled(rollout: &Value) -> bool {
    is_healthy(rollout) || rollout["status"]["phase"] == "Paused"
}

/// Step and phase as they follow each other, from the take-over on.
fn course(world: &World) -> String {
    let mut told: Vec<String> = world
        .course()
        .map(|rollout| {
            let status = &rollout["status"];
            format!("{} {}", status["currentStepIndex"], status["phase"].as_str().unwrap())
        })
        .collect();
    told.dedup();
    told.join(", ")
}

/// Headgate takes over, and a user acts until the release is out.
pub(crate) fn to_the_end(name: &str) -> (World, Vec<Act>) {
    let mut world = take_over(&objects(name));
    world.pass(STANDS_FOR);
    replace_metrics(&mut world);
    let mut acts = Vec::new();
    while !is_healthy(world.rollout()) || acts.is_empty() {
        let act = next_act(world.rollout());
        acts.push(act);
        assert!(acts.len() <= ACTS_MAX, "{name} after {acts:?}: {}", world.rollout()["status"]);
        world.act(act);
        // By then it is taken up.
        world.pass(SignedDuration::from_secs(2));
        world.pass_until(PATIENCE, is_settled);
        assert_eq!(world.broken_rule(), None, "{name} after {acts:?}");
    }
    (world, acts)
}

#[test]
fn a_release_that_was_taken_over_goes_on_to_its_end() {
    let mut told = String::new();
    for name in carried_out() {
        let (world, acts) = to_the_end(&name);
        let acts: Vec<String> = acts.iter().map(|act| format!("{act:?}")).collect();
        writeln!(told, "{name}: {}: {}", acts.join(" "), course(&world)).unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_pause_that_was_begun_before_ends_when_it_would_have() {
    let mut world = take_over(&objects("timedpause"));
    let ends_at: jiff::Timestamp = "2026-11-21T14:14:09Z".parse().unwrap();
    let until = |time: jiff::Timestamp, world: &World| time.duration_since(world.now());
    let has_ended = |rollout: &Value| rollout["status"]["currentStepIndex"] == json!(2);
    let is_early = world.pass_until(until(ends_at, &world), has_ended);
    assert!(!is_early, "{}", world.now());
    assert!(world.pass_until(SignedDuration::from_secs(2), has_ended));
    assert!(world.pass_until(PATIENCE, is_healthy));
    assert_eq!(world.broken_rule(), None);
}

#[test]
fn a_delay_that_was_begun_before_ends_when_it_would_have() {
    let deadline: jiff::Timestamp = "2026-11-21T09:05:00Z".parse().unwrap();
    let objects = draining(objects("istioaborted"), deadline);
    let mut world = take_over(&objects);
    let wanted = |world: &World| {
        let sets = world.all(REPLICA_SETS).map(|set| set["spec"]["replicas"].as_i64().unwrap());
        sets.collect::<Vec<_>>()
    };
    let before = wanted(&world);
    assert!(before.contains(&1), "{before:?}");
    world.pass(deadline.duration_since(world.now()) - SignedDuration::from_secs(1));
    assert_eq!(wanted(&world), before);
    world.pass(SignedDuration::from_secs(5));
    assert!(wanted(&world).contains(&0), "{:?}", wanted(&world));
    assert_eq!(world.broken_rule(), None);
    assert_eq!(world.rollout()["status"]["phase"], "Degraded");
}

/// The aborted version still has a pod, until then.
fn draining(mut objects: Vec<Value>, deadline: jiff::Timestamp) -> Vec<Value> {
    let is_aborted = |object: &&mut Value| object["kind"] == "ReplicaSet" && object["spec"]["replicas"] == 0;
    let set = objects.iter_mut().find(is_aborted).unwrap();
    set["metadata"]["annotations"][SCALE_DOWN_DEADLINE] = json!(deadline.to_string());
    set["spec"]["replicas"] = json!(1);
    for counter in ["replicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas"] {
        set["status"][counter] = json!(1);
    }
    let (name, uid) = (set["metadata"]["name"].clone(), set["metadata"]["uid"].clone());
    let mut pod = objects.iter().find(|object| object["kind"] == "Pod").unwrap().clone();
    pod["metadata"]["name"] = json!("drains");
    pod["metadata"]["uid"] = json!("uid of drains");
    pod["metadata"]["ownerReferences"][0]["name"] = name;
    pod["metadata"]["ownerReferences"][0]["uid"] = uid;
    objects.push(pod);
    let status = &mut rollout_mut(&mut objects)["status"];
    for (counter, count) in
        [("replicas", 3), ("HPAReplicas", 3), ("readyReplicas", 3), ("availableReplicas", 3)]
    {
        status[counter] = json!(count);
    }
    status["updatedReplicas"] = json!(1);
    objects
}

/// As docs/differences.md says of providers that this version does not have.
fn replace_metrics(world: &mut World) {
    for name in ["ok", "bad"] {
        let target =
            ObjectRef { resource: ANALYSIS_TEMPLATES, namespace: "fleet".to_owned(), name: name.to_owned() };
        let metric = json!({ "name": name, "count": 1, "successCondition": "result[0] == 1",
            "provider": { "prometheus": { "address": "http://prometheus:9090", "query": "up" } } });
        world.edit(&target, json!({ "spec": { "metrics": [metric] } }));
    }
}
