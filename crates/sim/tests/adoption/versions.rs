//! Which ReplicaSet belongs to the pod template: a wrong answer would restart a fleet.

use crate::fleet::{
    STANDS_FOR, before_and_after, carried_out, changes, is_ours, names, objects, rollout, rollout_mut,
    take_over, template,
};
use headgate_driver::resources::REPLICA_SETS;
use headgate_model::template::{pod_template_hash, steps_hash};
use serde_json::{Value, json};

#[test]
fn every_recorded_hash_is_the_one_that_headgate_computes() {
    let mut compared = 0;
    for name in names() {
        let objects = objects(&name);
        let rollout = rollout(&objects);
        let (spec, status) = (&rollout["spec"], &rollout["status"]);
        compared += 1;
        assert_eq!(status["currentPodHash"], pod_template_hash(template(&objects), None), "{name}");
        if let Some(canary) = spec["strategy"].get("canary") {
            assert_eq!(status["currentStepHash"], steps_hash(canary.get("steps")), "{name}");
        }
    }
    assert!(compared > 25);
}

/// The objects with another hash of the newest or the stable version, wherever it stands.
fn rehashed(objects: &[Value], version: &str, hash: &str) -> Vec<Value> {
    let known = rollout(objects)["status"][version].as_str().unwrap().to_owned();
    let text = serde_json::to_string(objects).unwrap().replace(&known, hash);
    serde_json::from_str(&text).unwrap()
}

/// Somebody has changed the spec, and not the pod template, while no controller ran.
fn with_unseen_change(mut objects: Vec<Value>) -> Vec<Value> {
    let rollout = rollout_mut(&mut objects);
    let generation = rollout["metadata"]["generation"].as_i64().unwrap() + 1;
    rollout["metadata"]["generation"] = json!(generation);
    rollout["spec"]["revisionHistoryLimit"] = json!(5);
    objects
}

/// Headgate takes over, and nothing but our own fields and the generation that was observed changes.
fn assert_stands_still(name: &str, objects: &[Value]) {
    let mut world = take_over(objects);
    world.pass(STANDS_FOR);
    assert_eq!(world.broken_rule(), None, "{name}");
    let sets = objects.iter().filter(|object| object["kind"] == "ReplicaSet").count();
    assert_eq!(world.all(REPLICA_SETS).count(), sets, "{name}");
    for (before, after) in before_and_after(objects, &world) {
        for change in changes(&before, &after) {
            let is_harmless = is_ours(&change) || is_of_generation(&change);
            assert!(before["kind"] == "Rollout" && is_harmless, "{name}: {change}");
        }
    }
}

/// As in Argo Rollouts a Rollout is not Healthy in the record that observes another generation, and is in the next one.
fn is_of_generation(change: &str) -> bool {
    let times = ["/status/conditions/Healthy/last", "/status/conditions/Progressing/last"];
    change.starts_with("/status/observedGeneration:") || times.iter().any(|time| change.starts_with(time))
}

#[test]
fn a_version_whose_hash_was_computed_in_another_way_is_known_by_its_template() {
    for name in carried_out() {
        let objects = rehashed(&objects(&name), "currentPodHash", "otherwise1");
        assert_stands_still(&name, &objects);
        assert_stands_still(&name, &with_unseen_change(objects));
    }
}

#[test]
fn a_stable_version_whose_hash_was_computed_in_another_way_stays_stable() {
    for name in carried_out() {
        assert_stands_still(&name, &with_unseen_change(rehashed(&objects(&name), "stableRS", "otherwise2")));
    }
}

#[test]
fn a_collision_count_goes_on_counting() {
    for name in carried_out() {
        let objects = objects(&name);
        let hash = pod_template_hash(template(&objects), Some(1));
        let mut objects = rehashed(&objects, "currentPodHash", &hash);
        rollout_mut(&mut objects)["status"]["collisionCount"] = json!(1);
        assert_stands_still(&name, &with_unseen_change(objects));
    }
}

#[test]
fn a_change_of_spec_that_nobody_has_seen_yet_moves_nothing_that_it_does_not_ask_for() {
    for name in carried_out() {
        assert_stands_still(&name, &with_unseen_change(objects(&name)));
    }
}
