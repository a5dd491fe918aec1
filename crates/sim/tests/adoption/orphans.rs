//! A Rollout that was deleted without its ReplicaSets, and applied again, takes them back with their pods.

use crate::fleet::{STANDS_FOR, changes, count, objects, rollout_mut, take_over};
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::resources::REPLICA_SETS;
use headgate_sim::adoption::World;
use headgate_sim::world::server::reference;
use serde_json::{Value, json};

const NEW_UID: &str = "2b0c5a52-6f5e-4c39-9d0b-0a5f8a3f4f11";

/// The objects after `kubectl delete rollout --cascade=orphan` and `kubectl apply`.
fn orphaned(name: &str) -> Vec<Value> {
    let mut objects = objects(name);
    for object in objects.iter_mut().filter(|object| object["kind"] == "ReplicaSet") {
        object["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    }
    let rollout = rollout_mut(&mut objects);
    rollout.as_object_mut().unwrap().remove("status");
    rollout["metadata"].as_object_mut().unwrap().remove("annotations");
    rollout["metadata"]["uid"] = json!(NEW_UID);
    rollout["metadata"]["generation"] = json!(1);
    objects
}

fn is_healthy(rollout: &Value) -> bool {
    rollout["status"]["phase"] == "Healthy"
}

fn assert_all_are_owned(world: &World) {
    for set in world.all(REPLICA_SETS) {
        let owners = &set["metadata"]["ownerReferences"];
        let owner = owners.as_array().unwrap().last().unwrap();
        assert_eq!((&owner["uid"], &owner["controller"]), (&json!(NEW_UID), &json!(true)), "{owners}");
    }
}

#[test]
fn orphans_become_the_rollouts_own_and_nothing_moves() {
    for name in ["steady", "plain", "promoted", "reverted", "window"] {
        let objects = orphaned(name);
        let mut world = take_over(&objects);
        world.pass(STANDS_FOR);
        assert_eq!(world.broken_rule(), None, "{name}");
        assert!(is_healthy(world.rollout()), "{name}: {}", world.rollout()["status"]);
        assert_eq!(world.rollout()["status"].get("collisionCount"), None, "{name}");
        assert_eq!(
            count(&world, REPLICA_SETS),
            objects.iter().filter(|one| one["kind"] == "ReplicaSet").count()
        );
        assert_all_are_owned(&world);
        for set in objects.iter().filter(|object| object["kind"] == "ReplicaSet") {
            let now = world.get(&reference(REPLICA_SETS, set)).unwrap();
            assert_eq!(now["spec"], set["spec"], "{name}");
        }
    }
}

#[test]
fn in_the_middle_of_a_release_the_version_of_the_template_goes_out() {
    for name in ["midpause", "interrupted", "istio", "nginx", "minready"] {
        let objects = orphaned(name);
        let sets = objects.iter().filter(|one| one["kind"] == "ReplicaSet").count();
        let mut world = take_over(&objects);
        world.pass(STANDS_FOR);
        assert_eq!(world.broken_rule(), None, "{name}");
        assert!(is_healthy(world.rollout()), "{name}: {}", world.rollout()["status"]);
        assert_eq!(count(&world, REPLICA_SETS), sets, "{name}");
        assert_all_are_owned(&world);
    }
}

#[test]
fn what_was_made_for_another_selector_or_belongs_to_somebody_stays_as_it_is() {
    let mut objects = orphaned("steady");
    let made = objects.iter().find(|object| object["kind"] == "ReplicaSet").unwrap().clone();
    let owner = |controls: bool| {
        let name = json!("x");
        json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": "uid of x", "controller": controls }])
    };
    objects.extend([
        another(&made, "narrower", |set| set["spec"]["selector"]["matchLabels"]["tier"] = json!("web")),
        another(&made, "others", |set| set["metadata"]["ownerReferences"] = owner(true)),
        another(&made, "leaving", |set| {
            set["metadata"]["deletionTimestamp"] = json!("2026-11-21T08:59:59Z");
            set["metadata"]["finalizers"] = json!(["example.com/wait"]);
        }),
        another(&made, "kept", |set| set["metadata"]["ownerReferences"] = owner(false)),
    ]);
    let mut world = take_over(&objects);
    world.pass(STANDS_FOR);
    assert_eq!(world.broken_rule(), None);
    let owners = |set: &Value| set["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len);
    for object in objects.iter().filter(|object| object["kind"] == "ReplicaSet") {
        let name = object["metadata"]["name"].as_str().unwrap();
        let now = world.get(&reference(REPLICA_SETS, object)).unwrap();
        if name == "kept" || name.starts_with("steady") {
            assert_eq!(owners(now), owners(object) + 1, "{name}");
        } else {
            assert_eq!(changes(object, now), Vec::<String>::new(), "{name}");
        }
    }
}

/// Another version's ReplicaSet without pods, which nobody owns.
fn another(like: &Value, name: &str, change: impl Fn(&mut Value)) -> Value {
    let mut set = like.clone();
    set["metadata"]["name"] = json!(name);
    set["metadata"]["uid"] = json!(format!("uid of {name}"));
    set["spec"]["replicas"] = json!(0);
    set["status"] = json!({ "replicas": 0, "observedGeneration": set["metadata"]["generation"] });
    set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("another");
    for labels in ["/metadata/labels", "/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        set.pointer_mut(labels).unwrap()[POD_TEMPLATE_HASH] = json!(format!("hash-{name}"));
    }
    change(&mut set);
    set
}
