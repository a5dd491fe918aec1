//! A number of pods that changes, as by an autoscaler, while a release without a router is held.

use crate::world::{World, spec};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn a_number_that_changes_does_not_begin_a_release_that_is_held() {
    let steps = json!([{"setWeight": 50}, {"pause": {}}]);
    for canary in [json!({ "steps": steps }), json!({})] {
        let mut world = World::running(spec(4, canary));
        world.pause(true);
        world.release(2);
        world.settle_over_time();
        for replicas in [8, 3] {
            world.scale(replicas);
            world.settle_over_time();
            assert_eq!((world.pods(1), world.pods(2)), (replicas, 0));
        }
        world.pause(false);
        world.settle_over_time();
        assert!(world.pods(2) > 0);
    }
}

#[test]
fn a_number_that_changes_does_not_carry_on_a_release_that_is_held() {
    let steps = json!([{"setWeight": 20}, {"pause": {}}, {"setWeight": 80}, {"pause": {}}]);
    for (replicas, (stable, canary)) in [(20, (16, 4)), (5, (4, 1)), (11, (9, 2))] {
        let mut world = World::running(spec(10, json!({ "steps": steps })));
        world.release(2);
        world.settle_over_time();
        world.pause(true);
        world.snapshot.rollout.status.current_step_index = Some(2);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2)), (8, 2), "the next step has not begun");
        world.scale(replicas);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2)), (stable, canary), "each has its share of {replicas}");
        world.scale(10);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2)), (8, 2), "and of ten again");
        world.pause(false);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2)), (2, 8));
    }
}

#[test]
fn a_release_that_is_held_has_as_many_pods_of_each_version_as_if_the_number_had_always_been_that() {
    let at_pause = |replicas: i32, weight: i32| {
        let steps = json!([{"setWeight": weight}, {"pause": {}}]);
        let mut world = World::running(spec(replicas, json!({ "steps": steps })));
        world.release(2);
        world.settle_over_time();
        world
    };
    for (from, to, weight) in [(10, 8, 50), (96, 73, 20), (8, 10, 50), (7, 3, 90), (3, 40, 34), (5, 4, 1)] {
        let mut world = at_pause(from, weight);
        world.pause(true);
        world.scale(to);
        world.settle_over_time();
        let always = at_pause(to, weight);
        assert_eq!((world.pods(1), world.pods(2)), (always.pods(1), always.pods(2)), "{from} to {to}");
    }
}

#[test]
fn a_full_promotion_that_is_held_keeps_the_share_of_the_step_at_which_it_was_made() {
    let steps = json!([{"setWeight": 20}, {"pause": {}}, {"setWeight": 80}, {"pause": {}}]);
    let mut world = World::running(spec(10, json!({ "steps": steps })));
    world.release(2);
    world.settle_over_time();
    world.pause(true);
    world.promote_full();
    world.scale(20);
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2)), (16, 4));
}

#[test]
fn a_number_is_reached_although_a_decision_was_carried_out_in_part() {
    for (weight, from, to, left) in
        [(100, 12, 4, (0, 4)), (67, 3, 2, (1, 2)), (50, 10, 8, (4, 4)), (50, 8, 10, (5, 5))]
    {
        for effects in 1..3 {
            let steps = json!([{"setWeight": weight}, {"pause": {}}]);
            let mut world = World::running(spec(from, json!({ "steps": steps })));
            world.release(2);
            world.settle_over_time();
            world.pause(true);
            world.settle();
            world.scale(to);
            let decision = world.decide();
            world.carry_out(&decision, effects);
            world.settle_over_time();
            assert_eq!((world.pods(1), world.pods(2)), left, "{from} to {to}, {effects} effects");
        }
    }
}

#[test]
fn a_number_that_goes_and_comes_back_leaves_a_held_release_at_the_weight_of_its_step() {
    let mut world = World::running(spec(10, json!({ "steps": [{"setWeight": 25}, {"pause": {}}] })));
    world.release(2);
    world.settle_over_time();
    world.pause(true);
    let split = (world.pods(1), world.pods(2));
    for replicas in [3, 17, 5, 1, 6, 40, 10] {
        world.scale(replicas);
        world.settle_over_time();
    }
    assert_eq!((world.pods(1), world.pods(2)), split);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_number_was_meanwhile_a_held_release_has_its_pods_when_it_is_back(
        replicas in 1..30i32, weights in (1..=100i32, 0..=100i32), (surge, unavailable) in (0..4i32, 0..4i32),
        (has_next, is_promoted) in (any::<bool>(), any::<bool>()),
        numbers in prop::collection::vec((0..40i32, 0..5usize), 0..6),
    ) {
        let steps = json!([{"setWeight": weights.0}, {"pause": {}}, {"setWeight": weights.1}, {"pause": {}}]);
        let surge = if unavailable == 0 { surge.max(1) } else { surge };
        let canary = json!({ "steps": steps, "maxSurge": surge, "maxUnavailable": unavailable });
        let mut world = World::running(spec(replicas, canary));
        world.release(2);
        world.settle_over_time();
        world.pause(true);
        if is_promoted {
            world.promote_full();
        } else if has_next {
            world.snapshot.rollout.status.current_step_index = Some(2);
        }
        world.settle_over_time();
        let split = (world.pods(1), world.pods(2));
        for (number, effects) in numbers.into_iter().chain([(replicas, 5)]) {
            world.scale(number);
            let decision = world.decide();
            world.carry_out(&decision, effects);
            world.settle_over_time();
            let pods = world.pods(1) + world.pods(2);
            prop_assert!((number..=number + surge.min(1)).contains(&pods) || number == 0 && pods == 0, "{pods} of {number}");
        }
        prop_assert_eq!((world.pods(1), world.pods(2)), split);
    }
}
