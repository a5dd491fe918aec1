//! Releases through a router.

use crate::world::{DEADLINE, World, pod_template, routed, spec};
use headgate_api::{RolloutStatus, Time};
use serde_json::json;

pub(crate) fn two_steps() -> World {
    World::running(spec(
        4,
        routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": 60}}])),
    ))
}

#[test]
fn a_good_release_goes_out_step_by_step_and_the_old_pods_go_last() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.pods(2), world.pods(1)), ("Paused", 25, 1, 4));
    assert_eq!(world.waits_for(), "UserPromotion");
    world.promote();
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.pods(2)), ("Paused", 50, 2));
    assert_eq!(world.waits_for(), "PauseDuration");
    world.pass(60);
    world.settle();
    assert_eq!((world.weight(), world.pods(2), world.pods(1)), (0, 4, 4));
    assert_eq!(world.status().stable_rs, world.hash(2));
    assert_eq!(world.selected("shop-stable"), Some(world.hash(2)));
    assert_eq!(world.waits_for(), "ScaleDownDelay");
    assert!(world.annotation(1, DEADLINE).is_some());
    world.pass(29);
    world.settle();
    assert_eq!(world.pods(1), 4, "the delay has not passed");
    world.pass(1);
    world.settle();
    assert_eq!((world.pods(1), world.phase(), world.waits_for()), (0, "Healthy", ""));
    insta::assert_snapshot!(world.events.join("\n"));
}

#[test]
fn a_data_plane_that_lags_behind_is_waited_for_and_named() {
    let mut world = two_steps();
    world.release(2);
    world.confirm(Some(false));
    world.settle();
    world.pass(60);
    world.settle();
    assert_eq!((world.status().current_step_index, world.waits_for()), (Some(0), "RouteConfirmed"));
    assert_eq!(verified(&world), Some(false));
    let message = world.status().waiting.clone().unwrap_or_default().message;
    assert!(message.contains("the proxies of istio have not taken over the newest weights yet"), "{message}");
    world.confirm(Some(true));
    world.settle();
    world.pass(5);
    world.settle();
    assert_eq!((world.status().current_step_index, verified(&world)), (Some(1), Some(true)));
}

/// Argo Rollouts loses such a change, for it compares the weights with themselves.
#[test]
fn what_a_data_plane_says_of_the_weights_is_stored_although_nothing_else_changes() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    assert_eq!(verified(&world), None, "this router can't tell");
    for word in [Some(true), Some(false), None, Some(false), Some(true), None] {
        let before = world.status().clone();
        world.pass(1);
        world.confirm(word);
        assert!(world.step(), "{word:?} is to be written");
        assert_eq!(verified(&world), word);
        let mut otherwise = before.clone();
        otherwise.canary.as_mut().unwrap().weights.as_mut().unwrap().verified = word;
        // Proxies that have followed late, or of which nothing is known any more, may have had the old weights until now.
        let has_followed = verified_in(&before) == Some(false);
        let lowered_at = |status: &RolloutStatus| status.headgate.clone().unwrap().weight_lowered_at;
        let expected = if has_followed { Some(Time(world.now)) } else { lowered_at(&before) };
        otherwise.headgate.as_mut().unwrap().weight_lowered_at = expected;
        assert_eq!(world.status(), &otherwise, "{word:?} changes nothing else");
    }
}

fn verified(world: &World) -> Option<bool> {
    verified_in(world.status())
}

fn verified_in(status: &RolloutStatus) -> Option<bool> {
    status.canary.as_ref().unwrap().weights.as_ref().unwrap().verified
}

#[test]
fn a_timed_pause_never_asks_for_a_user() {
    let steps = json!([{"setWeight": 25}, {"pause": {"duration": 60}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    let mut kinds = std::collections::BTreeSet::new();
    for _ in 0..30 {
        world.step();
        kinds.insert(world.waits_for().to_owned());
        world.kubelet();
    }
    assert!(kinds.contains("PauseDuration") && !kinds.contains("UserPromotion"), "{kinds:?}");
}

#[test]
fn aborted_canary_keeps_stable_serving_and_goes_after_the_delay() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.abort();
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.pods(2)), ("Degraded", 0, 1));
    assert_eq!(
        world.status().message,
        "RolloutAborted: Rollout aborted update to revision 2 at step 2/4, weight 25"
    );
    assert_eq!(world.selected("shop-canary"), Some(world.hash(2)), "proxies get time to follow the route");
    world.pass(5);
    world.settle();
    assert_eq!(world.selected("shop-canary"), Some(world.hash(1)));
    world.pass(25);
    world.settle_over_time();
    assert_eq!((world.pods(2), world.pods(1), world.waits_for()), (0, 4, "AfterAbort"));
}

#[test]
fn an_abort_from_every_step_leads_back_to_stable() {
    for promotions in 0..4 {
        let mut world = two_steps();
        world.release(2);
        for _ in 0..promotions {
            world.settle();
            world.promote();
        }
        world.step();
        world.abort();
        world.settle_over_time();
        let promoted = world.status().stable_rs == world.hash(2);
        assert_eq!(
            world.phase(),
            if promoted { "Healthy" } else { "Degraded" },
            "after {promotions} promotions"
        );
        assert_eq!(world.weight(), 0);
    }
}

#[test]
fn an_abort_after_the_last_step_says_so_and_a_retry_forgets_where_it_was() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 25}]))));
    world.release(2);
    let second = world.hash(2);
    world.step();
    world.broken.insert(second.clone());
    world.promote_full();
    world.step();
    world.abort();
    world.settle();
    assert_eq!(
        world.status().message,
        "RolloutAborted: Rollout aborted update to revision 2 after step 1/1, weight 0"
    );
    world.broken.clear();
    world.retry();
    world.settle_over_time();
    assert_eq!((world.phase(), &world.status().headgate.as_ref().unwrap().abort_place), ("Healthy", &None));
}

#[test]
fn an_abort_without_steps_or_without_a_router_tells_the_weight_all_the_same() {
    let mut baking = routed(json!([]));
    baking["bake"] = json!({"duration": "1h"});
    let basic = json!({"steps": [{"setWeight": 50}]});
    for (canary, place) in [(baking, " at weight 100"), (basic, " after step 1/1, weight 100")] {
        let mut world = World::running(spec(4, canary));
        if world.status().current_step_index.is_some() {
            let second = world.hash(2);
            world.weak.insert(second, 3);
        }
        world.release(2);
        world.settle();
        world.abort();
        world.step();
        let message = &world.status().message;
        assert!(message.ends_with(&format!("revision 2{place}")), "{message}");
    }
}

#[test]
fn retry_starts_again_at_the_first_step() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.abort();
    world.settle_over_time();
    world.retry();
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.pods(2)), ("Paused", 25, 1));
    assert_eq!(
        world.annotation(2, DEADLINE),
        None,
        "a deadline of the abort must not take the pods away again"
    );
}

#[test]
fn undo_in_the_middle_goes_back_at_once() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.release(1);
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight(), world.pods(1), world.pods(2)), ("Healthy", 0, 4, 0));
    assert!(world.events.iter().any(|event| event.starts_with("SkipSteps")), "{:?}", world.events);
    assert_eq!(world.snapshot.rollout.annotations["rollout.argoproj.io/revision"], "3");
}

#[test]
fn a_third_version_waits_until_the_second_gets_no_traffic_and_the_second_drains() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.release(3);
    world.settle();
    assert_eq!(world.weight(), 0, "the canary Service still leads to version 2");
    assert_eq!(
        (world.pods(2), world.pods(3)),
        (1, 1),
        "nothing is killed while proxies may still send to it"
    );
    assert_eq!(world.selected("shop-canary"), Some(world.hash(2)));
    world.pass(5);
    world.settle();
    assert_eq!((world.selected("shop-canary"), world.weight()), (Some(world.hash(3)), 25));
    assert!(world.annotation(2, DEADLINE).is_some());
    world.settle_over_time();
    assert_eq!((world.pods(2), world.pods(3), world.phase()), (0, 1, "Paused"));
}

#[test]
fn a_version_beyond_the_limit_of_those_that_wait_goes_as_soon_as_proxies_have_followed() {
    for (limit, pods) in [(0, 0), (1, 1)] {
        let mut world = two_steps();
        world.edit(|spec| {
            spec["strategy"]["canary"]["scaleDownDelaySeconds"] = json!(600);
            spec["strategy"]["canary"]["scaleDownDelayRevisionLimit"] = json!(limit);
        });
        world.release(2);
        world.settle();
        world.release(3);
        world.settle();
        world.pass(5);
        world.settle();
        assert_eq!((world.pods(2), world.weight()), (1, 25), "proxies may still send to it");
        world.pass(5);
        world.settle();
        assert_eq!(world.pods(2), pods, "limit {limit}");
    }
}

#[test]
fn a_version_that_was_replaced_serves_everybody_while_it_alone_has_pods() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    let (first, third) = (world.hash(1), world.hash(3));
    world.broken.extend([first.clone(), third]);
    world.release(3);
    world.kill_pods(&first, 0);
    world.settle();
    assert_eq!((world.selected("shop-canary"), world.weight()), (Some(world.hash(2)), 100));
}

#[test]
fn a_third_version_that_never_gets_ready_does_not_keep_the_second_for_ever() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    let third = world.hash(3);
    world.broken.insert(third);
    world.release(3);
    world.settle_over_time();
    assert_eq!(world.pods(2), 0);
    assert_eq!(world.selected("shop-canary"), Some(world.hash(1)));
    assert_eq!(world.condition("Progressing").1, "ProgressDeadlineExceeded");
    assert_eq!(world.phase(), "Degraded");
}

#[test]
fn full_promotion_goes_to_all_pods_before_all_traffic() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.promote_full();
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(2), world.pods(1)), ("Healthy", 4, 0));
    assert!(!world.status().promote_full);
    assert!(
        world.events.iter().any(|event| event.ends_with("Full promotion requested")),
        "{:?}",
        world.events
    );
}

#[test]
fn a_new_template_drops_what_was_meant_for_the_old_one() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.promote_full();
    world.release(3);
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight()), ("Paused", 25));
    assert!(world.events.iter().any(|event| event.starts_with("IntentDropped")), "{:?}", world.events);
}

#[test]
fn a_canary_whose_pods_all_die_loses_its_traffic_at_once() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.break_pods(2);
    world.settle();
    assert_eq!(world.weight(), 0);
    world.broken.clear();
    world.settle();
    assert_eq!(world.weight(), 25);
}

#[test]
fn stable_pods_that_all_die_leave_the_traffic_to_the_canary() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.break_pods(1);
    world.settle();
    assert_eq!(world.weight(), 100);
}

#[test]
fn a_share_comes_back_to_stable_without_the_pods_that_may_be_missing() {
    let mut world = World::running(spec(10, routed(json!([{"setWeight": 10}, {"pause": {}}]))));
    world.release(2);
    world.settle();
    let first = world.break_pods(1);
    world.settle();
    assert_eq!(world.weight(), 100);
    world.broken.clear();
    for (back, weight) in [(7, 100), (8, 10)] {
        world.weak.insert(first.clone(), back);
        world.kubelet();
        world.settle();
        assert_eq!(world.weight(), weight, "{back} of 10 are back");
    }
}

/// The answer to the eviction of its only pod was lost.
#[test]
fn a_version_whose_pod_may_be_evicted_keeps_its_share_until_more_is_known() {
    for (gone, weight) in [(false, 25), (true, 100)] {
        let mut world = two_steps();
        world.release(2);
        world.settle();
        let first = world.break_pods(1);
        let set = world.sets_mut().iter_mut().find(|set| set.hash() == first).unwrap();
        set.perhaps_evicted = i32::from(!gone);
        world.step();
        assert_eq!(world.weight(), weight, "surely gone: {gone}");
    }
}

/// Where none needs to be available, too.
#[test]
fn an_abort_gives_nothing_to_a_stable_version_whose_only_pod_may_be_evicted() {
    let mut canary = routed(json!([{"setWeight": 50}, {"pause": {}}]));
    canary["maxUnavailable"] = json!(1);
    let mut world = World::running(spec(1, canary));
    world.release(2);
    world.settle();
    let first = world.break_pods(1);
    world.sets_mut().iter_mut().find(|set| set.hash() == first).unwrap().perhaps_evicted = 1;
    world.abort();
    world.step();
    assert_eq!(world.weight(), 50);
}

#[test]
fn abort_moves_traffic_in_proportion_while_stable_grows() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.promote();
    world.settle();
    assert_eq!(world.weight(), 50);
    let first = world.hash(1);
    world.broken.insert(first.clone());
    world.kill_pods(&first, 2);
    world.abort();
    world.step();
    assert_eq!(world.weight(), 50, "two of four stable pods bear half");
    world.broken.clear();
    world.kubelet();
    world.kill_pods(&first, 3);
    world.step();
    assert_eq!(world.weight(), 0, "stable has all but the one that may be missing");
}

#[test]
fn scaling_in_the_middle_of_a_release_does_not_stop_it() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.scale(8);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2), world.weight()), (8, 2, 25));
    world.promote();
    world.step();
    world.scale(6);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2), world.weight()), (6, 3, 50));
    world.pass(60);
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(2), world.pods(1)), ("Healthy", 6, 0));
}

#[test]
fn a_number_that_changes_does_not_begin_a_release_that_is_held() {
    let mut world = two_steps();
    world.pause(true);
    world.release(2);
    world.settle_over_time();
    for replicas in [8, 6] {
        world.scale(replicas);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2), world.weight()), (replicas, 0, 0));
    }
    for replicas in [0, 6] {
        world.scale(replicas);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2), world.weight()), (replicas, 0, 0));
        assert_eq!(world.selected("shop-canary"), Some(world.hash(1)));
    }
    world.pause(false);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2), world.weight()), (6, 2, 25));
}

#[test]
fn a_release_that_is_held_comes_back_from_zero_as_it_was() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.pause(true);
    world.settle();
    for (replicas, canary) in [(0, 0), (8, 2), (0, 0), (4, 1)] {
        world.scale(replicas);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2)), (replicas, canary), "{replicas}");
    }
    assert_eq!(world.weight(), 25);
}

#[test]
fn a_number_that_comes_back_before_anybody_has_seen_it_at_zero_is_followed() {
    for paused in [false, true] {
        let mut world = two_steps();
        world.release(2);
        world.settle();
        world.pause(paused);
        world.settle();
        world.scale(0);
        world.step();
        world.scale(4);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2), world.weight()), (4, 1, 25));
    }
}

#[test]
fn a_canary_scale_sizes_the_canary_apart_from_its_weight() {
    let steps = json!([{"setCanaryScale": {"replicas": 3}}, {"setWeight": 25}, {"pause": {}},
        {"setCanaryScale": {"matchTrafficWeight": true}}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    assert_eq!((world.weight(), world.pods(2)), (25, 3));
    world.promote();
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(2)), (25, 1));
}

#[test]
fn a_number_that_changes_does_not_put_off_the_deadline_of_pods_that_never_get_ready() {
    let mut world = two_steps();
    world.edit(|spec| spec["progressDeadlineSeconds"] = json!(600));
    let second = world.hash(2);
    world.broken.insert(second);
    world.release(2);
    world.settle();
    for minute in 0..13 {
        world.pass(60);
        world.scale(4 + minute % 2);
        world.settle();
    }
    assert_eq!(world.phase(), "Degraded");
    assert!(world.status().message.contains("has timed out progressing"), "{}", world.status().message);
}

#[test]
fn pods_that_come_back_after_a_smaller_number_are_progress() {
    let mut world = World::running(spec(10, routed(json!([{"setWeight": 50}, {"pause": {}}]))));
    let second = world.hash(2);
    world.broken.insert(second.clone());
    world.release(2);
    world.settle();
    let three_get_ready = |world: &mut World| {
        let sets = world.sets_mut().iter_mut().filter(|set| set.hash() == second);
        sets.for_each(|set| (set.ready, set.available_reported) = (3, 3));
        world.step();
    };
    three_get_ready(&mut world);
    for replicas in [2, 10] {
        world.scale(replicas);
        world.settle();
    }
    world.pass(550);
    three_get_ready(&mut world);
    world.pass(100);
    world.step();
    assert_eq!(world.phase(), "Progressing", "{}", world.status().message);
}

#[test]
fn a_deadline_that_passes_aborts_where_the_spec_says_so() {
    let mut world = two_steps();
    world.edit(|spec| {
        spec["progressDeadlineSeconds"] = json!(100);
        spec["progressDeadlineAbort"] = json!(true);
    });
    let second = world.hash(2);
    world.broken.insert(second.clone());
    world.release(2);
    world.settle();
    assert_eq!(world.waits_for(), "PodsAvailable");
    for _ in 0..20 {
        // Readiness that comes and goes is no progress.
        world.pass(10);
        let sets = world.sets_mut();
        sets.iter_mut().filter(|set| set.hash() == second).for_each(|set| set.ready = 1 - set.ready);
        world.step();
    }
    world.settle_over_time();
    assert_eq!(world.phase(), "Degraded");
    assert!(world.status().message.contains("has timed out progressing"), "{}", world.status().message);
    assert!(world.status().abort);
}

#[test]
fn deleted_replica_sets_come_back() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    let second = world.hash(2);
    world.sets_mut().retain(|set| set.hash() != second);
    world.settle();
    assert_eq!((world.weight(), world.pods(2)), (25, 1));
}

#[test]
fn a_rollout_without_steps_goes_over_when_all_new_pods_are_there() {
    let mut world = World::running(spec(3, routed(json!([]))));
    world.release(2);
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(1), world.pods(2), world.weight()), ("Healthy", 0, 3, 0));
}

#[test]
fn old_versions_and_their_runs_are_kept_up_to_the_limit() {
    let mut world = World::running({
        let mut spec = spec(1, routed(json!([])));
        spec["revisionHistoryLimit"] = json!(2);
        spec
    });
    let runs =
        |world: &mut World| -> Vec<String> { world.runs_mut().iter().map(|run| run.name.clone()).collect() };
    for version in 2..7 {
        let hash = world.hash(version);
        world.add_past_run(&format!("of-{version}"), Some(&hash));
        world.release(version);
        world.settle_over_time();
    }
    let mut kept: Vec<i64> = world.sets().iter().map(headgate_model::ReplicaSetView::revision).collect();
    kept.sort_unstable();
    assert_eq!(kept, [4, 5, 6]);
    assert_eq!(runs(&mut world), ["of-4", "of-5", "of-6"]);
    // One that says nothing of its version belongs to none that is kept.
    world.add_past_run("of-none", None);
    world.settle_over_time();
    assert_eq!(runs(&mut world), ["of-4", "of-5", "of-6"]);
}

#[test]
fn a_version_that_comes_back_takes_its_replica_set_and_a_new_revision() {
    let mut world = World::running(spec(1, routed(json!([]))));
    world.release(2);
    world.settle_over_time();
    world.edit(|spec| spec["template"] = pod_template(1));
    world.settle_over_time();
    assert_eq!(world.sets().len(), 2);
    assert_eq!(world.annotation(1, "rollout.argoproj.io/revision").as_deref(), Some("3"));
    assert_eq!(world.annotation(1, "rollout.argoproj.io/revision-history").as_deref(), Some("1"));
}

#[test]
fn a_rollout_that_never_had_pods_is_released_all_the_same() {
    let mut world = World::new(spec(0, routed(json!([{"setWeight": 25}]))));
    world.settle();
    world.release(2);
    world.settle_over_time();
    assert_eq!((world.phase(), &world.status().stable_rs), ("Healthy", &world.hash(2)));
}
