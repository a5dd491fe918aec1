//! Releases through a router.

use crate::world::{DEADLINE, World, pod_template, routed, spec};
use headgate_api::AnalysisPhase;
use serde_json::json;

fn two_steps() -> World {
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
    let message = world.status().waiting.clone().unwrap_or_default().message;
    assert!(message.contains("the proxies of istio have not taken over the newest weights yet"), "{message}");
    world.confirm(Some(true));
    world.settle();
    world.pass(5);
    world.settle();
    assert_eq!(world.status().current_step_index, Some(1));
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
    assert_eq!(world.status().message, "RolloutAborted: Rollout aborted update to revision 2");
    assert_eq!(world.selected("shop-canary"), Some(world.hash(2)), "proxies get time to follow the route");
    world.pass(5);
    world.settle();
    assert_eq!(world.selected("shop-canary"), Some(world.hash(1)));
    world.pass(25);
    world.settle_over_time();
    assert_eq!((world.pods(2), world.pods(1), world.waits_for()), (0, 4, "AfterAbort"));
}

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
    let second = world.hash(2);
    world.broken.insert(second.clone());
    world.kill_pods(&second, 0);
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
    let first = world.hash(1);
    world.broken.insert(first.clone());
    world.kill_pods(&first, 0);
    world.settle();
    assert_eq!(world.weight(), 100);
}

#[test]
fn an_aborted_canary_that_had_to_serve_again_is_given_its_drain_time_anew() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.abort();
    world.settle();
    assert!(world.annotation(2, DEADLINE).is_some());
    let first = world.hash(1);
    world.broken.insert(first.clone());
    world.kill_pods(&first, 0);
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
fn spec_paused_stops_steps_and_pods_but_not_an_abort() {
    let mut world = two_steps();
    world.pause(true);
    world.release(2);
    world.settle_over_time();
    assert_eq!(
        (world.phase(), world.status().message.as_str(), world.pods(2)),
        ("Paused", "manually paused", 0)
    );
    assert_eq!(world.waits_for(), "UserUnpause");
    world.pause(false);
    world.settle();
    assert_eq!(world.weight(), 25);
    world.pause(true);
    world.abort();
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight(), world.pods(2)), ("Degraded", 0, 0));
}

#[test]
fn a_resumption_that_comes_before_the_unpausing_is_not_lost() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.pause(true);
    world.settle();
    // The plugin promotes in two calls: status first, then spec.
    world.snapshot.rollout.status.pause_conditions.clear();
    world.settle();
    assert!(world.status().controller_pause && world.status().pause_conditions.is_empty());
    world.pause(false);
    world.settle();
    assert_eq!(world.weight(), 50);
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

#[test]
fn pods_of_a_lowered_weight_stay_for_the_whole_drain_time_when_nobody_remembers_when_it_was_lowered() {
    let steps = json!([{"setWeight": 75}, {"setWeight": 25}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    world.pass(20);
    // Another process goes on, and the installed CRD has dropped what the first one remembered.
    world.snapshot.rollout.status.headgate = None;
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
    let steps = json!([{"setWeight": 75}, {"setWeight": 25}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    world.pass(20);
    world.snapshot.rollout.status.headgate = None;
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
fn a_step_analysis_is_named_before_it_is_created_and_judged_after() {
    let steps =
        json!([{"setWeight": 25}, {"analysis": {"templates": [{"templateName": "errors"}]}}, {"pause": {}}]);
    let start = |verdict, message: &str| {
        let mut world = World::new(spec(4, routed(steps.clone())));
        world.add_template("errors", template());
        world.settle();
        world.release(2);
        world.settle();
        let name = format!("shop-{}-2-1", world.hash(2));
        assert_eq!(world.waits_for(), "Analysis");
        assert!(world.runs_mut().iter().map(|run| &run.name).eq([&name]));
        world.verdict(&name, verdict, message);
        world.settle();
        (world, name)
    };
    let (world, _) = start(AnalysisPhase::Successful, "");
    assert_eq!((world.phase(), world.status().current_step_index), ("Paused", Some(2)));
    let (world, _) = start(AnalysisPhase::Failed, "too many errors");
    assert_eq!(
        world.status().message,
        "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase error/failed: too many errors"
    );
    let why = &world.status().waiting.as_ref().unwrap().message;
    assert!(why.contains("was aborted: Step-based analysis phase error/failed: too many errors; "), "{why}");
    let (mut world, name) = start(AnalysisPhase::Inconclusive, "");
    assert_eq!((world.phase(), world.status().message.as_str()), ("Paused", "InconclusiveAnalysisRun"));
    assert_eq!(world.waits_for(), "InconclusiveAnalysis");
    // Clearing the condition by hand asks again; the plugin's promotion goes on.
    world.snapshot.rollout.status.pause_conditions.clear();
    world.settle();
    assert_eq!(world.runs_mut().last().map(|run| run.name.clone()), Some(format!("{name}.1")));
    let (mut world, _) = start(AnalysisPhase::Inconclusive, "");
    world.promote();
    world.settle();
    assert_eq!((world.status().current_step_index, world.waits_for()), (Some(2), "UserPromotion"));
}

#[test]
fn a_background_analysis_that_fails_aborts_and_one_that_is_not_needed_ends() {
    let mut canary = routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]));
    canary["analysis"] = json!({"templates": [{"templateName": "errors"}], "startingStep": 2});
    let mut world = World::new(spec(4, canary));
    world.add_template("errors", template());
    world.settle();
    world.release(2);
    world.settle();
    assert!(world.runs_mut().is_empty());
    world.promote();
    world.settle();
    let name = format!("shop-{}-2", world.hash(2));
    assert_eq!(world.runs_mut().len(), 1);
    world.verdict(&name, AnalysisPhase::Error, "no answer");
    world.settle_over_time();
    assert!(world.status().message.ends_with("Background analysis phase error/failed: no answer"));
    world.retry();
    world.settle();
    world.promote();
    world.settle();
    assert_eq!(world.runs_mut().last().map(|run| run.name.clone()), Some(format!("{name}.1")));
    world.promote_full();
    world.settle_over_time();
    assert!(world.runs_mut().iter().all(|run| run.phase.is_completed()));
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn a_run_whose_query_does_not_see_the_canary_is_told_of_once_with_what_it_takes_to_trip_it() {
    let analysis = json!({"templates": [{"templateName": "rate"}],
        "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]});
    let start = |query: &str| {
        let mut canary =
            routed(json!([{"setWeight": 5}, {"pause": {}}, {"setWeight": 25}, {"analysis": analysis}]));
        canary["analysis"] = analysis.clone();
        let mut world = World::new(spec(4, canary));
        let metric = json!({"name": "rate", "successCondition": "result >= 0.9",
            "provider": {"prometheus": {"address": "http://p", "query": query}}});
        world.add_template("rate", json!({"args": [{"name": "hash", "value": "?"}], "metrics": [metric]}));
        world.settle();
        world.release(2);
        world.settle();
        world.promote();
        world.settle_over_time();
        world.events.retain(|event| event.starts_with("BlindAnalysis: "));
        world.events
    };
    assert_eq!(start("sum(good{hash='{{args.hash}}'}) / sum(all{hash='{{args.hash}}'})"), [] as [String; 0]);
    let told = start("sum(good) / sum(all)");
    assert_eq!(told.len(), 2, "once for each run: {told:?}");
    assert!(told[0].starts_with("BlindAnalysis: Background Analysis Run 'shop-"), "{told:?}");
    assert!(told[0].contains("failing: 40 % at weight 25, not at all at weight 5"), "{told:?}");
    assert!(told[1].starts_with("BlindAnalysis: Step Analysis Run 'shop-"), "{told:?}");
    assert!(told[1].contains("failing: 40 % at weight 25; use"), "{told:?}");
}

fn template() -> serde_json::Value {
    json!({"metrics": [{"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "errors"}},
        "successCondition": "result < 1"}]})
}

#[test]
fn old_versions_and_their_runs_are_kept_up_to_the_limit() {
    let mut world = World::running({
        let mut spec = spec(1, routed(json!([])));
        spec["revisionHistoryLimit"] = json!(2);
        spec
    });
    for version in 2..7 {
        world.release(version);
        world.settle_over_time();
    }
    let mut kept: Vec<i64> = world.sets().iter().map(headgate_model::ReplicaSetView::revision).collect();
    kept.sort_unstable();
    assert_eq!(kept, [4, 5, 6]);
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
