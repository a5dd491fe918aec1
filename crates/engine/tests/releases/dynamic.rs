//! `dynamicStableScale`: stable's pods go with its weight, and come back before it does.

use crate::rerouted::gone;
use crate::world::{DEADLINE, World, routed, spec};
use headgate_api::RolloutStatus;
use headgate_model::{Observed, TemplateKey};
use serde_json::{Value, json};

fn canary(steps: Value, more: &Value) -> Value {
    let mut canary = routed(steps);
    canary["dynamicStableScale"] = json!(true);
    canary.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    canary
}

/// Ten pods, of which none may be missing.
fn world_with(steps: Value, more: &Value) -> World {
    let mut canary = canary(steps, more);
    canary["maxUnavailable"] = json!(0);
    World::running(spec(10, canary))
}

fn world() -> World {
    world_with(
        json!([{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}, {"setWeight": 100}, {"pause": {}}]),
        &json!({}),
    )
}

/// The release stands at the pause after this weight, and stable has shrunk.
fn at(weight: i32) -> World {
    let mut world = world();
    world.release(2);
    world.settle_over_time();
    while world.weight() < weight {
        world.promote();
        world.settle_over_time();
    }
    assert_eq!((world.weight(), world.phase()), (weight, "Paused"));
    world
}

#[test]
fn stable_pods_go_once_the_weight_has_left_them_and_proxies_know_it() {
    let mut world = world();
    world.release(2);
    world.settle();
    assert_eq!((world.weight(), world.pods(2), world.pods(1)), (20, 2, 10));
    assert_eq!((world.status().current_step_index, world.waits_for()), (Some(0), "ScaleDownDelay"));
    world.pass(4);
    world.settle();
    assert_eq!(world.pods(1), 10, "proxies are given five seconds");
    world.pass(1);
    world.settle();
    assert_eq!((world.pods(2), world.pods(1), world.phase()), (2, 8, "Paused"));
    world.promote();
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(2), world.pods(1)), (60, 6, 4));
}

#[test]
fn a_good_release_ends_with_the_new_version_alone() {
    let mut world = at(100);
    assert_eq!((world.pods(2), world.pods(1)), (10, 1), "one stays for the Service that leads to it");
    world.promote();
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight(), world.pods(2), world.pods(1)), ("Healthy", 0, 10, 0));
    assert_eq!(world.selected("shop-stable"), Some(world.hash(2)));
}

#[test]
fn the_weight_goes_to_the_stable_service_once_proxies_know_where_that_leads() {
    let mut world = at(100);
    world.promote();
    while world.selected("shop-stable") != Some(world.hash(2)) {
        assert!(world.step(), "{:#?}", world.status());
    }
    world.settle();
    assert_eq!(world.weight(), 100, "some may still lead to the one pod of the old version");
    world.pass(5);
    world.settle();
    assert_eq!(world.weight(), 0);
}

#[test]
fn the_sum_of_pods_stays_near_what_is_wanted_without_a_pause_too() {
    let steps: Vec<Value> = (1..=10).map(|tenth| json!({ "setWeight": tenth * 10 })).collect();
    let mut world = world_with(json!(steps), &json!({}));
    world.release(2);
    let mut most = 0;
    for _ in 0..400 {
        world.step();
        world.kubelet();
        most = most.max(world.pods(1) + world.pods(2));
        if world.decide().effects.is_empty() {
            world.pass(1);
        }
    }
    assert_eq!((world.phase(), world.pods(2), world.pods(1)), ("Healthy", 10, 0));
    assert!(most <= 12, "{most} pods");
}

#[test]
fn pods_stay_while_the_data_plane_lags_or_a_route_cannot_be_read() {
    for hide in [false, true] {
        let mut world = world();
        world.release(2);
        world.settle();
        if hide {
            world.hide_route(1, true);
        } else {
            world.confirm(Some(false));
        }
        world.settle();
        world.pass(60);
        world.settle();
        assert_eq!(world.pods(1), 10);
        if hide {
            world.hide_route(1, false);
        } else {
            world.confirm(Some(true));
        }
        world.settle_over_time();
        assert_eq!(world.pods(1), 8);
    }
}

#[test]
fn a_route_that_lags_behind_another_counts_for_stable() {
    let mut world = world();
    world.release(2);
    world.settle();
    // One http route has the weight, the other one has not.
    world.drift(0, 20);
    world.pass(60);
    let decision = world.decide();
    world.carry_out(&decision, 0);
    assert!(decision.effects.iter().all(|effect| effect.class() != headgate_model::EffectClass::Shrink));
    world.settle();
    assert_eq!(world.pods(1), 10, "drain time counts from when the last route has it");
    world.settle_over_time();
    assert_eq!(world.pods(1), 8);
}

#[test]
fn stable_pods_stay_while_the_canary_lacks_some() {
    let mut world = world();
    world.release(2);
    world.settle();
    let second = world.hash(2);
    world.kill_pods(&second, 1);
    for _ in 0..3 {
        world.pass(10);
        world.step();
    }
    assert_eq!(world.pods(1), 9, "nine and one are all that is wanted");
}

#[test]
fn an_abort_brings_stable_up_before_its_weight_and_the_canary_goes_with_its_own() {
    let mut world = at(60);
    let first = world.hash(1);
    world.abort();
    world.step();
    assert_eq!((world.pods(1), world.pods(2), world.weight()), (10, 6, 60));
    for (available, weight) in [(6, 40), (9, 10)] {
        for set in world.sets_mut() {
            set.observed_generation = set.generation;
        }
        world.sets_mut().iter_mut().filter(|set| set.hash() == first).for_each(|set| {
            (set.ready, set.available_reported) = (available, available);
        });
        world.step();
        world.step();
        assert_eq!(world.weight(), weight, "{available} pods bear so much");
        world.pass(5);
        world.step();
        assert_eq!(world.pods(2), weight / 10);
        world.sets_mut().iter_mut().for_each(|set| set.observed_generation = set.generation);
    }
    world.kubelet();
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (0, 10, 0));
    assert_eq!((world.phase(), world.waits_for()), ("Degraded", "AfterAbort"));
    assert_eq!(world.annotation(2, DEADLINE), None);
}

#[test]
fn an_abort_just_after_stable_has_shrunk_does_not_count_pods_that_are_going() {
    let mut world = world();
    world.release(2);
    world.settle();
    world.pass(5);
    world.step();
    assert_eq!((world.pods(1), world.weight()), (8, 20), "its status still speaks of ten");
    world.abort();
    world.step();
    world.step();
    assert_eq!((world.pods(1), world.weight()), (10, 20), "how many of the ten are left nobody knows");
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.phase()), (0, 10, "Degraded"));
}

#[test]
fn an_abort_delay_of_the_spec_keeps_the_canary_until_it_has_passed() {
    let steps = json!([{"setWeight": 50}, {"pause": {}}]);
    for (delay, left) in [(20, 0), (0, 5)] {
        let mut world = world_with(steps.clone(), &json!({ "abortScaleDownDelaySeconds": delay }));
        world.release(2);
        world.settle_over_time();
        assert_eq!(world.pods(1), 5);
        world.abort();
        world.settle();
        assert_eq!((world.pods(1), world.pods(2), world.weight()), (10, 5, 0));
        world.pass(19);
        world.settle();
        assert_eq!(world.pods(2), 5);
        world.settle_over_time();
        assert_eq!((world.pods(2), world.phase()), (left, "Degraded"));
    }
}

#[test]
fn an_abort_at_all_traffic_starts_from_the_pod_that_stayed() {
    let mut world = at(100);
    world.abort();
    world.step();
    assert_eq!((world.pods(1), world.weight()), (10, 90), "the one pod takes what it bears");
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (0, 10, 0));
}

#[test]
fn stable_grows_when_a_dead_canary_leaves_it_everything() {
    let mut world = at(60);
    let second = world.hash(2);
    world.broken.insert(second.clone());
    world.pause(true);
    world.kill_pods(&second, 0);
    world.settle();
    assert_eq!((world.weight(), world.pods(1)), (0, 10), "also while the user holds the release");
    world.broken.clear();
    world.pause(false);
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (60, 4, 6));
}

#[test]
fn stable_grows_when_a_dead_canary_leaves_it_everything_also_while_the_spec_waits_to_be_mended() {
    let mut world = at(60);
    world.edit(|spec| {
        spec["strategy"]["canary"]["analysis"] = json!({"templates": [{"templateName": "errors"}]});
    });
    world.snapshot.templates.insert(TemplateKey::Namespaced("errors".into()), Observed::Absent);
    world.settle();
    assert_eq!((world.waits_for(), world.pods(1)), ("MendSpec", 4));
    world.break_pods(2);
    world.settle();
    assert_eq!((world.waits_for(), world.weight(), world.pods(1)), ("MendSpec", 0, 10));
}

#[test]
fn a_full_promotion_moves_the_weight_with_the_pods_of_the_canary() {
    let mut world = at(20);
    let second = world.hash(2);
    world.promote_full();
    world.step();
    assert_eq!((world.pods(2), world.weight()), (10, 20));
    for set in world.sets_mut().iter_mut().filter(|set| set.hash() == second) {
        // Of a size that it had before: these pods may be about to go.
        set.available_reported = 7;
    }
    world.step();
    assert_eq!(world.weight(), 20, "the new size has not been seen yet");
    let set_available = |world: &mut World, available: i32| {
        for set in world.sets_mut().iter_mut().filter(|set| set.hash() == second) {
            set.observed_generation = set.generation;
            (set.ready, set.available_reported) = (available, available);
        }
    };
    set_available(&mut world, 7);
    world.step();
    assert_eq!((world.weight(), world.pods(1)), (70, 8));
    world.step();
    world.pass(5);
    world.step();
    assert_eq!(world.pods(1), 3);
    set_available(&mut world, 5);
    world.step();
    assert_eq!(world.weight(), 70, "it does not go back");
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(2), world.pods(1)), ("Healthy", 10, 0));
}

#[test]
fn a_user_who_scales_in_the_middle_scales_both() {
    let mut world = at(60);
    for (replicas, stable, canary) in [(20, 8, 12), (5, 2, 3), (0, 0, 0), (10, 4, 6)] {
        world.scale(replicas);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2), world.weight()), (stable, canary, 60), "{replicas}");
    }
    world.promote();
    world.settle_over_time();
    world.promote();
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(2)), ("Healthy", 10));
}

#[test]
fn a_user_who_scales_down_before_the_drain_time_has_passed_loses_no_pod_that_is_needed() {
    let mut world = world();
    world.release(2);
    world.settle();
    world.promote();
    world.settle();
    assert_eq!((world.weight(), world.pods(1)), (20, 10));
    world.scale(9);
    world.settle();
    assert_eq!(world.pods(1), 9, "a proxy may still send everything to it");
    world.settle_over_time();
    assert_eq!(world.pods(1), 8);
}

#[test]
fn steps_may_lower_the_weight_again() {
    let steps = json!([{"setWeight": 60}, {"pause": {}}, {"setWeight": 20}, {"pause": {}}]);
    let mut world = world_with(steps, &json!({}));
    world.release(2);
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2)), (4, 6));
    world.promote();
    world.step();
    world.step();
    assert_eq!((world.weight(), world.pods(1)), (60, 8), "its pods come first");
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (20, 8, 2));
}

#[test]
fn a_canary_scale_leaves_stable_what_it_needs() {
    let steps = json!([
        {"setCanaryScale": {"replicas": 3}}, {"setWeight": 50}, {"pause": {}},
        {"setCanaryScale": {"weight": 20}}, {"pause": {}}, {"setCanaryScale": {"matchTrafficWeight": true}}, {"pause": {}},
    ]);
    let mut world = world_with(steps, &json!({}));
    world.release(2);
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (50, 10, 3));
    world.promote();
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2)), (8, 2));
    world.promote();
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2)), (5, 5));
}

#[test]
fn the_least_number_of_pods_holds_for_both() {
    let steps = json!([{"setWeight": 10}, {"pause": {}}, {"setWeight": 90}, {"pause": {}}]);
    let mut world = world_with(steps, &json!({ "minPodsPerReplicaSet": 3 }));
    world.release(2);
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2)), (9, 3));
    world.promote();
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2)), (3, 9));
}

#[test]
fn a_third_version_waits_until_stable_has_taken_over_from_the_second() {
    let mut world = at(60);
    world.release(3);
    world.step();
    world.step();
    assert_eq!((world.pods(1), world.pods(2), world.weight()), (10, 6, 60), "stable comes back first");
    world.settle();
    assert_eq!((world.pods(1), world.pods(2), world.weight()), (10, 6, 0));
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2), world.pods(3), world.weight()), (8, 0, 2, 20));
    assert_eq!(world.phase(), "Paused");
}

#[test]
fn an_undo_in_the_middle_brings_stable_back_first() {
    let mut world = at(60);
    world.release(1);
    world.step();
    world.step();
    assert_eq!((world.pods(1), world.pods(2), world.weight()), (10, 6, 60));
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(1), world.pods(2), world.weight()), ("Healthy", 10, 0, 0));
}

#[test]
fn when_the_router_is_taken_out_or_changed_stable_comes_back_before_the_old_one_is_led_back() {
    for to in [None, Some("nginx")] {
        let mut world = at(60);
        if to.is_none() {
            world.edit(|spec| spec["strategy"]["canary"]["dynamicStableScale"] = Value::Null);
        }
        world.change_router(to);
        let decision = world.decide();
        world.carry_out(&decision, usize::MAX);
        assert_eq!((world.pods(1), world.pods(2)), (10, 6), "{to:?}");
        let weights = world.former()[0].as_ref().unwrap().weights.unwrap();
        assert_eq!(weights.canary_max, 60, "{to:?}: four pods don't bear everything");
        world.settle_over_time();
        assert!(world.former().is_empty(), "{to:?}");
        assert_eq!((world.pods(1), world.pods(2)), (4, 6), "{to:?}");
    }
}

#[test]
fn stable_keeps_all_its_pods_while_the_router_before_is_away_and_may_come_back() {
    let mut world = at(60);
    world.change_router(Some("nginx"));
    let before = std::mem::replace(world.former().remove(0), Err(gone()));
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2), world.weight()), (10, 6, 60));
    *world.former().remove(0) = before;
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2)), (4, 6), "it has been led back");
}

#[test]
fn drain_time_counts_anew_when_a_service_that_gets_requests_leaves_pods_that_have_died() {
    let mut world = at(60);
    let lowered_at = |status: &RolloutStatus| status.headgate.as_ref().unwrap().weight_lowered_at.clone();
    world.pass(60);
    let hash = world.hash(2);
    world.kill_pods(&hash, 0);
    world.abort();
    let before = lowered_at(world.status());
    let decision = world.decide();
    assert!(lowered_at(&decision.record) > before, "{:?}", decision.effects);
}

#[test]
fn it_can_be_switched_on_and_off_in_the_middle() {
    let mut world = at(60);
    world.edit(|spec| spec["strategy"]["canary"]["dynamicStableScale"] = json!(false));
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (60, 10, 6));
    world.edit(|spec| spec["strategy"]["canary"]["dynamicStableScale"] = json!(true));
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (60, 4, 6));
}

#[test]
fn a_decision_of_which_only_a_part_is_carried_out_does_no_harm() {
    for abort_at in [20, 60, 100] {
        let mut world = at(abort_at);
        world.abort();
        for turn in 0..60 {
            let decision = world.decide();
            world.carry_out(&decision, turn % 3);
            if turn % 2 == 0 {
                world.kubelet();
            }
            world.pass(1);
        }
        world.settle_over_time();
        assert_eq!((world.weight(), world.pods(1), world.pods(2)), (0, 10, 0));
    }
}
