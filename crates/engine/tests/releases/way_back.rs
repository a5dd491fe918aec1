//! `abort.policy`: how the weight goes back after an abort.

use crate::world::{World, routed, spec};
use serde_json::{Value, json};

fn world(policy: &str, more: &Value) -> World {
    let steps = json!([
        {"setWeight": 10}, {"setWeight": 50}, {"setWeight": 50}, {"setWeight": 30}, {"setWeight": 80}, {"pause": {}},
        {"setWeight": 90}, {"pause": {}},
    ]);
    let mut canary = routed(steps);
    canary["maxUnavailable"] = json!(2);
    canary["abort"] = json!({ "policy": policy });
    canary.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut world = World::running(spec(10, canary));
    world.release(2);
    world.settle_over_time();
    assert_eq!(world.weight(), 80);
    world.pass(10);
    world
}

/// So many stable pods are available, whatever is wanted.
fn set_available(world: &mut World, available: i32) {
    let first = world.hash(1);
    for set in world.sets_mut() {
        set.observed_generation = set.generation;
        if set.hash() == first {
            (set.ready, set.available_reported) = (available, available);
        }
    }
}

fn message(world: &World) -> String {
    world.status().waiting.as_ref().unwrap().message.clone()
}

#[test]
fn in_steps_the_weight_goes_down_through_the_weights_below_it() {
    let mut world = world("stepped", &json!({}));
    world.abort();
    let mut weights = Vec::new();
    for _ in 0..40 {
        world.step();
        world.kubelet();
        weights.push(world.weight());
        world.pass(1);
    }
    weights.dedup();
    assert_eq!(weights, [50, 30, 10, 0]);
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight(), world.pods(2)), ("Degraded", 0, 0));
}

#[test]
fn in_steps_an_abort_in_the_middle_of_a_raise_raises_nothing() {
    let mut world = world("stepped", &json!({}));
    // One of several routes has not got the last weight yet.
    world.drift(50, 80);
    world.abort();
    world.step();
    assert_eq!(world.weight(), 50);
}

#[test]
fn each_step_back_waits_until_proxies_have_the_one_before() {
    let mut world = world("stepped", &json!({}));
    world.confirm(Some(true));
    world.settle();
    world.abort();
    world.step();
    assert_eq!(world.weight(), 50, "the first one waits for nothing");
    world.confirm(Some(false));
    world.settle();
    world.pass(100);
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (50, "RouteConfirmed"));
    assert_eq!(
        message(&world),
        "after the abort the weight goes back in steps: from 50 to 30 once the routes and their proxies have taken over 50"
    );
    world.confirm(Some(true));
    world.step();
    assert_eq!(world.weight(), 30);
}

#[test]
fn each_step_back_waits_for_the_pods_that_it_needs() {
    let mut world = world("stepped", &json!({ "dynamicStableScale": true }));
    assert_eq!((world.pods(1), world.pods(2)), (2, 8));
    world.abort();
    world.step();
    assert_eq!((world.weight(), world.pods(1), world.waits_for()), (80, 10, "PodsAvailable"));
    let name = format!("shop-{}", world.hash(1));
    assert_eq!(
        message(&world),
        format!(
            "after the abort the weight goes back in steps: from 80 to 50 once 5 pods of the stable version ({name}) are available"
        )
    );
    for (available, weight) in [(4, 80), (5, 50), (6, 50), (7, 30), (8, 10)] {
        set_available(&mut world, available);
        for _ in 0..8 {
            world.step();
            world.sets_mut().iter_mut().for_each(|set| set.observed_generation = set.generation);
            world.pass(1);
        }
        if available == 8 {
            assert!(world.weight() < weight + 1, "two may be missing: it goes to the end");
        } else {
            assert_eq!(world.weight(), weight, "{available}");
        }
    }
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (0, 10, 0));
}

#[test]
fn as_capacity_allows_the_weight_goes_with_the_last_pod_only() {
    let mut world = world("asCapacityAllows", &json!({}));
    let first = world.hash(1);
    world.kill_pods(&first, 3);
    world.abort();
    for (available, weight) in [(3, 70), (8, 20), (6, 20), (9, 10), (10, 0)] {
        set_available(&mut world, available);
        world.step();
        assert_eq!(world.weight(), weight, "{available} pods");
    }
}

#[test]
fn instantly_all_but_those_that_may_be_missing_are_enough() {
    let mut world = world("instant", &json!({}));
    set_available(&mut world, 8);
    world.abort();
    world.step();
    assert_eq!(world.weight(), 0);
}

#[test]
fn whatever_the_policy_a_canary_without_pods_loses_everything_at_once() {
    for policy in ["instant", "stepped", "asCapacityAllows"] {
        let mut world = world(policy, &json!({ "dynamicStableScale": true }));
        world.break_pods(2);
        world.abort();
        world.step();
        assert_eq!(world.weight(), 0, "{policy}: two of ten pods are better than none");
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2)), (10, 0), "{policy}");
    }
}

#[test]
fn a_version_that_was_replaced_does_not_wait_for_steps() {
    let mut world = world("stepped", &json!({}));
    world.release(3);
    world.step();
    assert_eq!(world.weight(), 0);
}

#[test]
fn a_retry_on_the_way_back_goes_up_again() {
    let mut world = world("stepped", &json!({}));
    world.abort();
    world.step();
    assert_eq!(world.weight(), 50);
    world.retry();
    world.settle_over_time();
    assert_eq!((world.weight(), world.phase()), (80, "Paused"));
}
