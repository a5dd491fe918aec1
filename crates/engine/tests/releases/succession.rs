//! A third version in the place of the second, which stable cannot relieve.

use crate::world::{World, routed, spec};
use serde_json::{Value, json};

/// The second version serves, after so many promotions, and stable's pods die for good. The third one's pods do not start yet.
fn succeeding(steps: Value, promotions: usize) -> World {
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle_over_time();
    for _ in 0..promotions {
        world.promote();
        world.settle_over_time();
    }
    world.break_pods(1);
    world.settle_over_time();
    assert_eq!(world.weight(), 100, "stable has no pods");
    let third = world.hash(3);
    world.broken.insert(third);
    world
}

#[test]
fn a_third_version_takes_over_from_the_second_while_stable_has_no_pods() {
    let mut world =
        succeeding(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 75}, {"pause": {}}]), 1);
    assert_eq!(world.pods(2), 3);
    world.release(3);
    world.settle_over_time();
    assert_eq!(
        (world.selected("shop-canary"), world.pods(3)),
        (Some(world.hash(2)), 3),
        "as many as it is to replace"
    );
    let third = world.hash(3);
    world.broken.remove(&third);
    world.settle_over_time();
    assert_eq!((world.weight(), world.selected("shop-canary")), (100, Some(third)));
    assert_eq!(world.pods(2), 0, "what was replaced goes");
    world.promote_full();
    world.settle_over_time();
    assert_eq!((world.phase(), world.status().stable_rs.clone()), ("Healthy", world.hash(3)));
}

#[test]
fn a_third_version_takes_over_only_once_its_steps_give_it_requests_and_nobody_holds_it() {
    let steps = json!([{"setCanaryScale": {"replicas": 4}}, {"pause": {}}, {"setWeight": 25}, {"pause": {}}]);
    for is_paused in [false, true] {
        let mut world = succeeding(steps.clone(), 1);
        let third = world.hash(3);
        world.release(3);
        world.broken.remove(&third);
        world.settle_over_time();
        assert_eq!(
            (world.selected("shop-canary"), world.pods(3)),
            (Some(world.hash(2)), 4),
            "it is at weight 0"
        );
        world.pause(is_paused);
        world.snapshot.rollout.status.current_step_index = Some(2);
        world.settle_over_time();
        let expected = if is_paused { world.hash(2) } else { third };
        assert_eq!(world.selected("shop-canary"), Some(expected), "held: {is_paused}");
    }
}

#[test]
fn a_full_promotion_ends_although_stable_can_never_bear_what_the_version_before_got() {
    let mut canary = routed(json!([{"setWeight": 50}, {"pause": {}}]));
    canary["maxUnavailable"] = json!(0);
    let mut world = World::running(spec(2, canary));
    world.release(2);
    world.settle_over_time();
    let stable = world.hash(1);
    world.weak.insert(stable, 1);
    world.settle_over_time();
    world.release(3);
    world.settle_over_time();
    assert_eq!((world.weight(), world.selected("shop-canary")), (50, Some(world.hash(2))));
    world.promote_full();
    world.settle_over_time();
    assert_eq!((world.phase(), world.status().stable_rs.clone()), ("Healthy", world.hash(3)));
}

#[test]
fn nothing_is_taken_over_while_stable_has_pods_or_nobody_wants_any() {
    let steps = || json!([{"setWeight": 75}, {"pause": {}}]);
    let mut world = succeeding(steps(), 0);
    let (first, third) = (world.hash(1), world.hash(3));
    world.broken.remove(&first);
    world.settle_over_time();
    world.release(3);
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(3)), (0, 3), "stable serves again");
    assert_ne!(world.selected("shop-canary"), Some(third.clone()));
    let mut world = succeeding(steps(), 0);
    world.scale(0);
    world.settle_over_time();
    world.release(3);
    world.settle_over_time();
    assert_eq!((world.pods(2), world.pods(3)), (0, 0));
}

#[test]
fn the_fix_of_a_version_without_pods_keeps_its_requests_until_proxies_know_where_the_stable_service_leads() {
    let mut world = World::running(spec(4, routed(json!([]))));
    world.break_pods(1);
    world.release(2);
    for _ in 0..50 {
        if world.status().stable_rs != world.hash(2) || world.selected("shop-stable") != Some(world.hash(2)) {
            world.step();
            world.kubelet();
        }
    }
    assert_eq!(world.selected("shop-stable"), Some(world.hash(2)), "{:#?}", world.status());
    world.settle();
    assert_eq!(world.weight(), 100);
    world.pass(5);
    world.settle();
    assert_eq!((world.weight(), world.phase()), (0, "Healthy"));
}
