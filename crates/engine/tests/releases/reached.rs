//! When a step through a router is reached: with which pods, and what is said of those that are missing.

use crate::routed::two_steps;
use crate::world::{World, routed, spec};
use headgate_api::RolloutStatus;
use headgate_model::ReplicaSetView;
use serde_json::json;

#[test]
fn a_canary_that_is_to_get_requests_has_a_pod_whatever_its_scale() {
    for scale in [json!({"replicas": 0}), json!({"weight": 0})] {
        let steps = json!([{"setCanaryScale": scale}, {"pause": {}}, {"setWeight": 25}, {"pause": {}}]);
        let mut world = World::running(spec(4, routed(steps)));
        world.release(2);
        world.settle();
        assert_eq!((world.weight(), world.pods(2)), (0, 0));
        world.promote();
        world.settle();
        assert_eq!((world.phase(), world.weight(), world.pods(2)), ("Paused", 25, 1));
    }
}

#[test]
fn a_step_is_reached_with_as_many_pods_as_its_threshold_wants_and_not_with_one_fewer() {
    for (threshold, enough) in [("75%", 3), ("3", 3), ("50%", 2)] {
        let (kind, value) = match threshold.strip_suffix('%') {
            Some(value) => ("Percent", value),
            None => ("Pods", threshold),
        };
        for (available, step) in [(enough - 1, 0), (enough, 1)] {
            let mut canary = routed(json!([{"setWeight": 50}, {"pause": {}}]));
            canary["replicaProgressThreshold"] =
                json!({"type": kind, "value": value.parse::<i32>().unwrap()});
            let mut world = World::running(spec(8, canary));
            let second = world.hash(2);
            world.broken.insert(second.clone());
            world.release(2);
            world.settle();
            assert_eq!((world.pods(2), world.status().current_step_index), (4, Some(0)));
            let set = world.sets_mut().iter_mut().find(|set| set.hash() == second).unwrap();
            (set.ready, set.available_reported) = (available, available);
            for _ in 0..5 {
                let decision = world.decide();
                world.carry_out(&decision, usize::MAX);
            }
            let status = world.status();
            assert_eq!(status.current_step_index, Some(step), "{threshold} with {available} of 4");
        }
    }
}

#[test]
fn a_weight_that_stable_cannot_bear_waits_for_its_pods_and_says_so() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.break_pods(1);
    world.settle();
    assert_eq!(world.weight(), 100, "nobody else can serve");
    world.promote();
    world.settle();
    let said = world.status().waiting.clone().unwrap_or_default();
    assert_eq!((world.weight(), said.kind.as_str()), (100, "PodsAvailable"));
    assert!(said.message.starts_with("2 pods of the stable version (shop-"), "{}", said.message);
}

/// The threshold says that a version has enough pods: its Services are taken over then, also for the first time.
#[test]
fn services_that_were_never_managed_are_taken_over_with_as_many_pods_as_the_threshold_wants() {
    let mut canary = routed(json!([{"setWeight": 50}, {"pause": {}}]));
    canary["replicaProgressThreshold"] = json!({"type": "Percent", "value": 80});
    let mut world = World::new(spec(10, canary));
    world.weak = [(world.hash(1), 9), (world.hash(2), 4)].into();
    world.settle();
    assert_eq!(world.selected("shop-stable"), Some(world.hash(1)));
    world.release(2);
    world.settle();
    assert_eq!((world.phase(), world.weight()), ("Paused", 50));
    assert_eq!(world.selected("shop-canary"), Some(world.hash(2)));
}

/// The Rollout was deleted in the middle of a release, with its ReplicaSets left alone, and is applied again.
#[test]
fn a_rollout_that_is_made_anew_gives_everything_to_no_version_that_cannot_bear_it() {
    let mut world = World::running(spec(10, routed(json!([{"setWeight": 20}, {"pause": {}}]))));
    world.release(2);
    world.settle();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (20, 10, 2));
    world.snapshot.rollout.status = RolloutStatus::default();
    for router in &mut world.snapshot.routers {
        let state = router.state.as_mut().unwrap();
        state.selectors.values_mut().for_each(|selected| *selected = None);
    }
    for _ in 0..60 {
        let second = world.sets().iter().find(|set| set.hash() == world.hash(2));
        let available = second.map_or(0, ReplicaSetView::available);
        world.step();
        if world.selected("shop-stable") == Some(world.hash(2)) {
            assert!(available >= 8, "{available} pods get everything");
            return;
        }
        world.kubelet();
        world.pass(1);
    }
    panic!("the stable Service leads to nobody");
}

/// A forced server-side apply of the user's manifest takes the hash out of a selector and leaves our mark.
#[test]
fn a_service_that_has_lost_its_hash_gets_it_back_although_a_pod_is_missing() {
    let mut world = World::running(spec(10, routed(json!([{"setWeight": 20}, {"pause": {}}]))));
    world.release(2);
    world.settle();
    world.weak = [(world.hash(1), 9), (world.hash(2), 1)].into();
    world.kubelet();
    for name in ["shop-stable", "shop-canary"] {
        world.strip(name);
    }
    world.step();
    assert_eq!(world.selected("shop-stable"), Some(world.hash(1)));
    assert_eq!(world.selected("shop-canary"), Some(world.hash(2)));
}

#[test]
fn a_step_that_has_come_to_its_end_is_not_overdue_although_nobody_looked_in_time() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}, {"pause": {}}]))));
    world.edit(|spec| spec["progressDeadlineAbort"] = json!(true));
    world.release(2);
    for _ in 0..50 {
        if world.weight() < 50 {
            world.step();
            world.kubelet();
        }
    }
    world.confirm(Some(false));
    world.settle();
    assert_eq!(world.waits_for(), "RouteConfirmed");
    world.pass(601);
    world.confirm(Some(true));
    world.settle();
    assert_eq!((world.phase(), world.status().current_step_index), ("Paused", Some(1)));
}
