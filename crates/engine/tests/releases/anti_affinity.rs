//! Pods of a new version keep off the nodes of the stable one.

use crate::world::{World, spec};
use headgate_model::template::{same_template, strip_injected};
use serde_json::{Value, json};

/// The hash that a ReplicaSet's pods keep away from.
fn avoided(world: &World, version: u32) -> Option<&str> {
    let hash = world.hash(version);
    let set = world.sets().iter().find(|set| set.hash() == hash).unwrap();
    let place = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/labelSelector/\
                 matchExpressions/0/values/0";
    set.template.pointer(place).and_then(Value::as_str)
}

#[test]
fn pods_of_a_new_version_avoid_the_stable_version_of_their_release() {
    let canary = json!({"antiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}},
        "steps": [{"setWeight": 50}, {"pause": {}}]});
    let mut world = World::running(spec(2, canary));
    assert_eq!(avoided(&world, 1), None, "there is nothing to avoid");
    let out = |world: &mut World, version: u32| {
        world.release(version);
        world.settle();
        assert_eq!(world.phase(), "Paused");
        world.promote();
        world.settle_over_time();
        assert_eq!((world.phase(), world.status().stable_rs.clone()), ("Healthy", world.hash(version)));
    };
    out(&mut world, 2);
    assert_eq!(avoided(&world, 2), Some(world.hash(1).as_str()));
    out(&mut world, 3);
    assert_eq!(avoided(&world, 3), Some(world.hash(2).as_str()));
    // Back to one that avoids another version than the one that is stable by now; the same ReplicaSet does it.
    world.release(2);
    world.settle();
    assert_eq!(avoided(&world, 2), Some(world.hash(3).as_str()));
    assert_eq!(world.sets().len(), 3);
    let template = &world.snapshot.rollout.spec_raw["template"];
    let hash = world.hash(2);
    let set = world.sets().iter().find(|set| set.hash() == hash).unwrap();
    assert!(same_template(&strip_injected(&set.template, &set.annotations), template));
}
