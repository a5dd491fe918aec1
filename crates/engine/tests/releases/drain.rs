//! When pods that get fewer requests may go.

use crate::routed::two_steps;
use crate::world::{DEADLINE, World, routed, spec};
use serde_json::json;

#[test]
fn a_long_abort_delay_is_kept_and_no_delay_keeps_the_canary() {
    for (delay, left) in [(3_600, 1), (0, 1), (20, 0)] {
        let mut canary = routed(json!([{"setWeight": 25}, {"pause": {}}]));
        canary["abortScaleDownDelaySeconds"] = json!(delay);
        let mut world = World::running(spec(4, canary));
        world.release(2);
        world.settle();
        world.abort();
        world.settle();
        world.pass(1_800);
        world.settle();
        assert_eq!(world.pods(2), left, "delay {delay}");
    }
}

#[test]
fn a_deadline_left_from_an_earlier_abort_does_not_shorten_the_drain_after_the_next() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}, {"pause": {}}]))));
    world.release(2);
    world.settle();
    world.abort();
    world.settle();
    let left = world.annotation(2, DEADLINE).unwrap();
    world.pass(20);
    world.retry();
    world.settle();
    assert_eq!(world.weight(), 50);
    let second = world.hash(2);
    let set = world.sets_mut().iter_mut().find(|set| set.hash() == second).unwrap();
    set.annotations.insert(DEADLINE.to_owned(), left);
    world.abort();
    world.settle();
    world.pass(15);
    world.settle();
    assert_eq!(world.pods(2), 2);
    world.settle_over_time();
    assert_eq!(world.pods(2), 0);
}

#[test]
fn an_aborted_canary_that_had_to_serve_again_is_given_its_drain_time_anew() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.abort();
    world.settle();
    assert!(world.annotation(2, DEADLINE).is_some());
    world.break_pods(1);
    world.settle();
    assert_eq!(world.weight(), 100, "nobody else can serve");
    world.pass(60);
    world.settle();
    world.broken.clear();
    world.settle();
    world.pass(5);
    world.settle();
    assert_eq!((world.weight(), world.pods(2)), (0, 1), "its pods have served until a moment ago");
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(2)), (0, 0));
}

#[test]
fn setting_a_lower_weight_keeps_the_pods_until_they_have_drained() {
    let steps = json!([{"setWeight": 75}, {"setWeight": 25}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    assert_eq!((world.weight(), world.pods(2), world.phase()), (25, 3, "Paused"));
    world.pass(30);
    world.settle();
    assert_eq!(world.pods(2), 1);
}

#[test]
fn drain_time_counts_anew_when_a_weight_may_have_moved_while_nothing_could_be_recorded() {
    let steps = json!([{"setWeight": 75}, {"setWeight": 25}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    world.pass(20);
    world.snapshot.unrecorded_shift_at = Some(world.now);
    world.step();
    world.snapshot.unrecorded_shift_at = None;
    world.pass(29);
    world.settle();
    assert_eq!((world.weight(), world.pods(2)), (25, 3));
    world.pass(1);
    world.settle();
    assert_eq!(world.pods(2), 1);
}

#[test]
fn drain_time_counts_from_when_the_data_plane_has_followed() {
    let steps = json!([{"setWeight": 75}, {"pause": {}}, {"setWeight": 25}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    world.confirm(Some(false));
    world.promote();
    world.settle();
    world.pass(100);
    world.settle();
    assert_eq!((world.weight(), world.pods(2)), (25, 3), "proxies may still send three quarters there");
    world.confirm(Some(true));
    world.settle();
    world.pass(29);
    world.settle();
    assert_eq!(world.pods(2), 3);
    world.pass(1);
    world.settle();
    assert_eq!(world.pods(2), 1);
}

#[test]
fn the_canary_service_stays_while_the_data_plane_may_still_send_to_it() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.confirm(Some(false));
    world.release(3);
    world.settle();
    world.pass(60);
    world.settle();
    assert_eq!((world.weight(), world.selected("shop-canary")), (0, Some(world.hash(2))));
    world.confirm(Some(true));
    world.settle();
    world.pass(5);
    world.settle();
    assert_eq!((world.weight(), world.selected("shop-canary")), (25, Some(world.hash(3))));
}

/// A weight was lowered, and 20 s later another process goes on; the installed CRD has dropped what the first one remembered.
fn lowered_and_forgotten() -> World {
    let steps = json!([{"setWeight": 75}, {"setWeight": 25}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    world.pass(20);
    world.snapshot.rollout.status.headgate = None;
    world
}

#[test]
fn pods_of_a_lowered_weight_stay_for_the_whole_drain_time_when_nobody_remembers_when_it_was_lowered() {
    let mut world = lowered_and_forgotten();
    world.settle();
    assert_eq!(world.pods(2), 3, "the weight may have been lowered just now");
    world.pass(29);
    world.settle();
    assert_eq!(world.pods(2), 3);
    world.pass(1);
    world.settle();
    assert_eq!(world.pods(2), 1);
}

#[test]
fn who_remembers_nothing_and_cannot_read_the_route_at_first_counts_the_drain_time_all_the_same() {
    let mut world = lowered_and_forgotten();
    world.hide_route(1, true);
    world.settle();
    world.pass(1);
    world.hide_route(1, false);
    world.settle();
    world.pass(28);
    world.settle();
    assert_eq!(world.pods(2), 3, "the weight may have been lowered just before");
    world.pass(1);
    world.settle();
    assert_eq!(world.pods(2), 1);
}

#[test]
fn who_remembers_nothing_and_may_not_go_on_at_first_counts_the_drain_time_all_the_same() {
    let mut world = lowered_and_forgotten();
    world.edit(|spec| spec["minReadySeconds"] = json!(-1));
    world.settle();
    assert_eq!(world.waits_for(), "MendSpec");
    world.pass(1);
    world.edit(|spec| spec["minReadySeconds"] = json!(0));
    world.settle();
    world.pass(28);
    world.settle();
    assert_eq!(world.pods(2), 3, "the weight may have been lowered just before");
    world.pass(1);
    world.settle();
    assert_eq!(world.pods(2), 1);
}

#[test]
fn a_canary_keeps_the_pods_for_the_share_that_stable_cannot_take_back_yet() {
    let steps = json!([{"setWeight": 75}, {"pause": {}}, {"setWeight": 25}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    let first = world.hash(1);
    world.kill_pods(&first, 2);
    world.promote();
    world.pass(60);
    for _ in 0..5 {
        world.step();
    }
    assert_eq!((world.weight(), world.pods(2)), (75, 3), "two stable pods can't bear three quarters");
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(2)), (25, 1));
}

/// Stable loses all pods but one, and time passes that would take other pods away.
fn lose_pods_and_wait(world: &mut World, version: u32) {
    let hash = world.hash(version);
    world.kill_pods(&hash, 1);
    world.pass(60);
    for _ in 0..5 {
        world.step();
    }
}

#[test]
fn old_pods_stay_while_the_new_ones_die_although_their_delay_has_passed() {
    let mut world = World::running(spec(4, routed(json!([]))));
    world.release(2);
    world.settle();
    assert_eq!(world.waits_for(), "ScaleDownDelay");
    lose_pods_and_wait(&mut world, 2);
    assert_eq!(world.pods(1), 4);
    world.settle_over_time();
    assert_eq!(world.pods(1), 0);
}

#[test]
fn a_smaller_canary_keeps_its_pods_while_stable_lacks_some() {
    let steps = json!([{"setWeight": 75}, {"setWeight": 25}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    lose_pods_and_wait(&mut world, 1);
    assert_eq!(world.pods(2), 3);
}

#[test]
fn an_aborted_canary_stays_while_stable_lacks_pods_although_its_delay_has_passed() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.abort();
    world.settle();
    lose_pods_and_wait(&mut world, 1);
    assert_eq!((world.weight(), world.pods(2)), (0, 1));
    world.settle_over_time();
    assert_eq!(world.pods(2), 0);
}

#[test]
fn a_smaller_number_of_pods_does_not_cut_a_drain_short() {
    let steps = json!([{"setWeight": 50}, {"setWeight": 10}, {"pause": {}}]);
    let mut world = World::running(spec(10, routed(steps)));
    world.release(2);
    world.settle();
    assert_eq!((world.weight(), world.pods(2)), (10, 5), "five pods drain");
    world.scale(8);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2)), (8, 4), "half of the pods for what was half of the requests");
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2)), (8, 1));
}

#[test]
fn a_smaller_number_of_pods_does_not_wait_for_a_drain() {
    let mut world = World::running(spec(10, routed(json!([{"setWeight": 50}, {"pause": {}}]))));
    world.release(2);
    world.settle();
    world.scale(4);
    world.settle();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (50, 4, 2));
    world.scale(0);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2)), (0, 0));
}

#[test]
fn no_pod_stays_after_an_abort_when_none_are_wanted() {
    for delay in [0, 20] {
        let mut canary = routed(json!([{"setWeight": 50}, {"pause": {}}]));
        canary["abortScaleDownDelaySeconds"] = json!(delay);
        let mut world = World::running(spec(4, canary));
        world.release(2);
        world.settle();
        world.abort();
        world.settle();
        world.scale(0);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2)), (0, 0), "delay {delay}");
    }
}

#[test]
fn pods_that_are_gone_have_no_deadline_any_more() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.promote_full();
    world.settle_over_time();
    assert_eq!((world.pods(1), world.annotation(1, DEADLINE)), (0, None));
}

#[test]
fn old_pods_that_stay_because_proxies_lag_behind_are_said_to_wait_for_them() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.promote_full();
    world.settle();
    world.confirm(Some(false));
    for _ in 0..10 {
        world.step();
        world.kubelet();
        world.pass(60);
    }
    assert!(world.pods(1) > 0);
    assert_eq!(world.waits_for(), "RouteConfirmed");
}

/// Who gave it a share and led it back, and died before anything of that was stored, has left no trace.
#[test]
fn a_version_without_a_share_that_is_aborted_or_replaced_keeps_its_pods_until_proxies_must_have_followed() {
    for act in [World::abort, |world: &mut World| world.release(3)] {
        let mut canary = routed(json!([{"setCanaryScale": {"replicas": 2}}, {"pause": {}}]));
        canary["abortScaleDownDelaySeconds"] = json!(1);
        canary["scaleDownDelaySeconds"] = json!(1);
        let mut world = World::running(spec(4, canary));
        world.release(2);
        world.settle();
        assert_eq!((world.weight(), world.pods(2)), (0, 2));
        act(&mut world);
        world.settle();
        world.pass(4);
        world.settle();
        assert_eq!(world.pods(2), 2);
        world.settle_over_time();
        assert_eq!(world.pods(2), 0);
    }
}

/// It was aborted and its deadline has passed when the next version takes its Service.
#[test]
fn a_version_that_is_replaced_stays_while_proxies_leave_a_weight_that_somebody_else_gave_to_its_service() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 25}, {"pause": {}}]))));
    world.release(2);
    world.settle();
    world.abort();
    world.settle();
    world.pass(600);
    world.release(3);
    while world.selected("shop-canary") == Some(world.hash(2)) {
        world.step();
    }
    world.drift(37, 37);
    world.settle();
    assert_eq!((world.weight(), world.pods(2)), (0, 1));
    world.settle_over_time();
    assert_eq!(world.pods(2), 0);
}

/// Another process has promoted version 2, and the installed CRD has dropped when version 1 lost its share.
#[test]
fn a_version_that_comes_back_stays_for_its_drain_time_when_nobody_remembers_when_it_lost_its_share() {
    let mut canary = routed(json!([{"pause": {"duration": "31s"}}]));
    canary["scaleDownDelaySeconds"] = json!(30);
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    world.pass(31);
    world.settle();
    assert_eq!((world.weight(), world.pods(1)), (0, 4));
    world.snapshot.rollout.status.headgate = None;
    world.settle();
    world.release(1);
    world.settle();
    world.pass(29);
    world.settle();
    assert_eq!(world.pods(1), 4);
    world.pass(1);
    world.settle();
    assert_eq!(world.pods(1), 0);
}
