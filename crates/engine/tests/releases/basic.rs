//! Releases without a router: the share of the pods is the share of the traffic.

use crate::world::{World, pod_template, routed, spec};
use headgate_api::{AnalysisPhase, PauseCondition, Time};
use headgate_model::Effect;
use serde_json::json;

fn half_way() -> World {
    World::running(spec(4, json!({"steps": [{"setWeight": 50}, {"pause": {}}]})))
}

#[test]
fn a_good_release_replaces_the_pods() {
    let mut world = half_way();
    world.release(2);
    world.settle();
    assert_eq!((world.phase(), world.status().message.as_str()), ("Paused", "CanaryPauseStep"));
    assert_eq!((world.pods(1), world.pods(2)), (2, 2));
    world.promote();
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(1), world.pods(2)), ("Healthy", 0, 4));
    assert_eq!(world.condition("Healthy"), ("True".to_owned(), "RolloutHealthy".to_owned()));
    assert_eq!(world.annotation(1, crate::world::DEADLINE), None);
}

#[test]
fn an_abort_brings_the_stable_pods_back() {
    let mut world = half_way();
    world.release(2);
    world.settle();
    world.abort();
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(1), world.pods(2)), ("Degraded", 4, 0));
    assert_eq!(world.waits_for(), "AfterAbort");
    world.retry();
    world.settle();
    assert_eq!((world.phase(), world.pods(1), world.pods(2)), ("Paused", 2, 2));
}

#[test]
fn undo_in_the_middle_goes_back_without_steps() {
    let mut world = half_way();
    world.release(2);
    world.settle();
    world.release(1);
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(1), world.pods(2)), ("Healthy", 4, 0));
}

#[test]
fn a_third_version_replaces_the_second() {
    let mut world = half_way();
    world.release(2);
    world.settle();
    world.release(3);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2), world.pods(3)), (2, 0, 2));
}

#[test]
fn a_step_does_not_end_while_a_pod_of_a_version_in_between_may_still_be_there() {
    let mut world = half_way();
    world.release(2);
    world.settle();
    let second = world.break_pods(2);
    let perhaps = |world: &mut World, pods| {
        world.sets_mut().iter_mut().find(|set| set.hash() == second).unwrap().perhaps_evicted = pods;
    };
    perhaps(&mut world, 1);
    world.release(3);
    world.settle();
    assert_eq!((world.pods(2), world.status().current_step_index), (1, Some(0)));
    perhaps(&mut world, 0);
    world.settle();
    assert_eq!((world.pods(2), world.status().current_step_index), (0, Some(1)));
}

#[test]
fn a_rolling_update_needs_no_steps() {
    let mut world = World::running(spec(4, json!({})));
    world.release(2);
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(1), world.pods(2)), ("Healthy", 0, 4));
    assert_eq!(world.status().current_step_index, None);
}

#[test]
fn pods_that_never_get_ready_are_told_at_the_deadline_and_better_ones_go_on() {
    let mut world = half_way();
    let second = world.hash(2);
    world.broken.insert(second);
    world.release(2);
    world.settle_over_time();
    assert_eq!(world.phase(), "Degraded");
    assert_eq!(
        world.status().message,
        format!("ProgressDeadlineExceeded: ReplicaSet \"shop-{}\" has timed out progressing.", world.hash(2))
    );
    let told =
        format!("ProgressDeadlineExceeded: ReplicaSet \"shop-{}\" has timed out progressing.", world.hash(2));
    assert_eq!(world.events.iter().filter(|event| **event == told).count(), 1, "{:?}", world.events);
    assert_eq!(world.waits_for(), "PodsAvailable");
    let waiting = world.status().waiting.as_ref().unwrap();
    assert!(waiting.message.contains("the deadline has passed"), "{waiting:?}");
    assert!(waiting.ends_with.contains("`kubectl headgate undo shop"), "{waiting:?}");
    assert_eq!(waiting.until, None, "a deadline that has passed is not one to wait for");
    world.broken.clear();
    world.settle();
    assert_eq!(world.phase(), "Paused");
}

#[test]
fn replicas_left_out_are_written_back_as_one() {
    let mut left_out = spec(1, json!({}));
    left_out.as_object_mut().unwrap().remove("replicas");
    let world = World::running(left_out);
    assert_eq!(world.snapshot.rollout.spec_raw["replicas"], 1);
}

#[test]
fn the_stable_service_is_never_left_without_pods() {
    for (surge, unavailable) in [(json!("25%"), json!("25%")), (json!(0), json!(1)), (json!(0), json!(2))] {
        for steps in [json!([{"setWeight": 50}]), json!([{"setWeight": 100}]), json!([])] {
            let canary = json!({
                "steps": steps, "maxSurge": surge, "maxUnavailable": unavailable,
                "canaryService": "shop-canary", "stableService": "shop-stable",
            });
            let mut world = World::running(spec(3, canary.clone()));
            world.release(2);
            for _ in 0..60 {
                world.step();
                world.kubelet();
                let selected = world.selected("shop-stable").unwrap();
                let set = world.sets().iter().find(|set| set.hash() == selected).unwrap();
                assert!(set.replicas > 0, "{canary}");
            }
            assert_eq!((world.phase(), world.pods(1), world.pods(2)), ("Healthy", 0, 3), "{canary}");
        }
    }
}

/// Ten pods, and a stable Service that version 2 has taken over with all of them.
fn second_has_everything() -> World {
    let canary = json!({
        "steps": [{"setWeight": 100}, {"pause": {}}],
        "canaryService": "shop-canary", "stableService": "shop-stable",
    });
    let mut world = World::running(spec(10, canary));
    world.release(2);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2)), (0, 10));
    assert_eq!(world.selected("shop-stable"), Some(world.hash(2)));
    world
}

#[test]
fn the_stable_service_leaves_a_version_only_for_one_that_can_bear_as_much() {
    /// All but the quarter of them that may be missing.
    const ENOUGH: i32 = 8;
    for (act, last) in [(World::abort as fn(&mut World), 1), (|world: &mut World| world.release(3), 3)] {
        let mut world = second_has_everything();
        act(&mut world);
        for _ in 0..100 {
            let before = world.selected("shop-stable").unwrap();
            let available: Vec<(String, i32)> =
                world.sets().iter().map(|set| (set.hash().to_owned(), set.available())).collect();
            let of = |hash: &String| available.iter().find(|(of, _)| of == hash).map_or(0, |(_, pods)| *pods);
            world.step();
            world.kubelet();
            let after = world.selected("shop-stable").unwrap();
            assert!(
                after == before || of(&after) >= ENOUGH.min(of(&before)),
                "from {} pods to {}",
                of(&before),
                of(&after)
            );
        }
        assert_eq!(world.selected("shop-stable"), Some(world.hash(last)));
        assert_eq!((world.pods(2), world.pods(last)), (0, 10));
    }
}

#[test]
fn an_abort_takes_the_pods_away_although_a_service_may_not_be_patched() {
    let mut world = World::half_way_with_services();
    assert_eq!((world.pods(1), world.pods(2)), (2, 2));
    world.refused = Some(|effect| matches!(effect, Effect::Route { .. }));
    world.abort();
    for _ in 0..40 {
        world.step();
        world.kubelet();
        world.pass(5);
    }
    assert_eq!((world.pods(1), world.pods(2)), (4, 0));
}

#[test]
fn without_a_router_the_stable_service_leads_to_the_canary_while_stable_has_no_pods() {
    let mut world = World::half_way_with_services();
    let (first, second) = (world.hash(1), world.hash(2));
    world.broken.insert(first.clone());
    world.kubelet();
    world.settle();
    assert_eq!(world.selected("shop-stable"), Some(second));
    world.broken.clear();
    world.settle_over_time();
    assert_eq!(world.selected("shop-stable"), Some(first));
}

#[test]
fn without_a_router_the_canary_service_leads_to_stable_while_the_canary_has_no_pods() {
    let mut world = World::half_way_with_services();
    let (first, second) = (world.hash(1), world.hash(2));
    assert_eq!(world.selected("shop-canary").as_ref(), Some(&second));
    world.broken.insert(second.clone());
    world.kubelet();
    world.settle();
    assert_eq!(world.selected("shop-canary"), Some(first));
    world.broken.clear();
    world.settle_over_time();
    assert_eq!(world.selected("shop-canary"), Some(second));
}

#[test]
fn changed_steps_start_the_release_over() {
    let mut world = half_way();
    world.release(2);
    world.settle();
    world.edit(|spec| {
        spec["strategy"]["canary"]["steps"] = json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 75}]);
    });
    world.settle();
    assert_eq!((world.status().current_step_index, world.pods(1), world.pods(2)), (Some(1), 3, 1));
}

#[test]
fn a_release_that_was_blue_green_begins_anew_with_the_steps_of_its_canary() {
    for is_aborted in [false, true] {
        let mut world = half_way();
        world.release(2);
        world.settle();
        // As Argo Rollouts stores it: no steps, and a pause, or an abort, of its own.
        let now = world.now;
        let status = &mut world.snapshot.rollout.status;
        status.current_step_hash.clear();
        (status.current_step_index, status.headgate) = (None, None);
        if is_aborted {
            status.pause_conditions.clear();
            (status.abort, status.aborted_at) = (true, Some(Time(now)));
        } else {
            status.pause_conditions[0].reason = PauseCondition::BLUE_GREEN_PAUSE.to_owned();
        }
        world.settle();
        assert_eq!((world.phase(), world.status().message.as_str()), ("Paused", "CanaryPauseStep"));
        assert_eq!(
            (world.status().current_step_index, world.pods(1), world.pods(2), world.status().abort),
            (Some(1), 2, 2, false)
        );
    }
}

/// Version 2 is released, and something else has the name of its ReplicaSet.
pub(crate) fn release_with_taken_name(world: &mut World) {
    use headgate_model::{EffectKey, Failure, FailureClass, Verb};
    world.release(2);
    let key = EffectKey { verb: Verb::CreateReplicaSet, object: format!("shop-{}", world.hash(2)) };
    let failure = Failure {
        class: FailureClass::AlreadyExists,
        message: "exists".into(),
        since: world.now,
        attempts: 1,
        told: false,
        held: Vec::new(),
    };
    let decision = world.decide();
    world.carry_out(&decision, 0);
    world.snapshot.failures.insert(key, failure);
}

fn name_taken() -> World {
    let mut world = half_way();
    release_with_taken_name(&mut world);
    world
}

#[test]
fn an_abort_of_a_version_that_gets_another_name_is_not_lost() {
    let mut world = name_taken();
    world.abort();
    world.settle();
    assert_eq!(world.status().collision_count, Some(1));
    assert_eq!((world.phase(), world.status().abort), ("Degraded", true), "{}", world.status().message);
    let duration = world.status().duration.clone().unwrap_or_default();
    assert!(duration.finished_at.is_some(), "{duration:?}");
    assert_eq!(duration.completion_status, Some(headgate_api::CompletionStatus::Aborted));
}

#[test]
fn a_name_that_is_taken_leads_to_the_next_hash() {
    let mut world = name_taken();
    world.settle();
    assert_eq!(world.status().collision_count, Some(1));
    assert_eq!((world.phase(), world.sets().len()), ("Paused", 2));
    let hash = headgate_model::template::pod_template_hash(&pod_template(2), Some(1));
    assert_eq!(world.status().current_pod_hash, hash);
}

#[test]
fn a_version_that_gets_another_name_is_told_once_and_its_release_counts_on() {
    let mut world = name_taken();
    let told =
        |world: &World| world.events.iter().filter(|event| event.starts_with("RolloutUpdated: ")).count();
    let begun = |world: &World| world.status().duration.clone().unwrap_or_default().rollout_started_at;
    let before = (told(&world), begun(&world));
    assert!(before.0 > 0 && before.1.is_some());
    world.pass(5);
    world.settle();
    assert_eq!((world.status().collision_count, (told(&world), begun(&world))), (Some(1), before));
}

#[test]
fn a_rollback_within_the_window_takes_no_steps_and_one_beyond_does() {
    for (window, phase) in [(1, "Healthy"), (0, "Paused")] {
        let mut world = half_way();
        world.edit(|spec| spec["rollbackWindow"] = json!({"revisions": window}));
        world.pass(10);
        world.release(2);
        world.settle();
        world.promote();
        world.settle_over_time();
        assert_eq!(world.phase(), "Healthy");
        world.release(1);
        world.settle_over_time();
        assert_eq!(world.phase(), phase, "window {window}");
        let is_told = world.events.iter().any(|event| event.ends_with(": Rollback within window"));
        assert_eq!(is_told, window == 1, "{:#?}", world.events);
    }
}

#[test]
fn the_rollback_window_counts_the_versions_in_between() {
    for (window, phase) in [(1, "Paused"), (2, "Healthy")] {
        let mut world = half_way();
        world.edit(|spec| spec["rollbackWindow"] = json!({"revisions": window}));
        for version in [2, 3] {
            world.pass(10);
            world.release(version);
            world.settle();
            world.promote();
            world.settle_over_time();
        }
        world.release(1);
        world.settle_over_time();
        assert_eq!(world.phase(), phase, "window {window}");
    }
}

#[test]
fn steps_that_are_taken_away_in_the_middle_leave_a_rolling_update() {
    let mut world = half_way();
    world.release(2);
    world.settle();
    assert_eq!((world.phase(), world.status().current_step_index), ("Paused", Some(1)));
    world.edit(|spec| {
        spec["strategy"]["canary"].as_object_mut().unwrap().remove("steps");
    });
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(1), world.pods(2)), ("Healthy", 0, 4));
    assert_eq!(world.status().current_step_index, None);
}

#[test]
fn each_phase_of_a_release_says_in_the_words_of_argo_rollouts_what_it_waits_for() {
    let analysis = json!({"analysis": {"templates": [{"templateName": "errors"}]}});
    let mut world = World::new(spec(4, json!({"steps": [{"setWeight": 50}, {"setWeight": 100}, analysis]})));
    let metric = json!({"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "q"}}});
    world.add_template("errors", json!({"metrics": [metric]}));
    world.settle();
    let mut said = vec![world.status().message.clone()];
    let mut step = |world: &mut World, kubelet: &dyn Fn(&mut World)| {
        world.step();
        let message = world.status().message.clone();
        if said.last() != Some(&message) {
            said.push(message);
        }
        kubelet(world);
    };
    world.release(2);
    while world.waits_for() != "Analysis" {
        step(&mut world, &World::kubelet);
    }
    // A pod of the new version dies, and comes back.
    world.kill_pods(&world.hash(2), 3);
    step(&mut world, &|_| ());
    step(&mut world, &World::kubelet);
    step(&mut world, &World::kubelet);
    let run = world.runs_mut()[0].name.clone();
    world.verdict(&run, AnalysisPhase::Successful, "");
    // The last pod of the old version takes its time.
    let first = world.hash(1);
    step(&mut world, &|world| {
        world.kubelet();
        world.sets_mut().iter_mut().filter(|set| set.hash() == first).for_each(|set| set.current = 1);
    });
    step(&mut world, &World::kubelet);
    step(&mut world, &World::kubelet);
    let expected = [
        "",
        "more replicas need to be updated",
        "waiting for all steps to complete",
        "updated replicas are still becoming available",
        "waiting for all steps to complete",
        "old replicas are pending termination",
        "",
    ];
    assert_eq!(said, expected);
}

#[test]
fn going_back_is_told_as_what_it_is_and_not_as_a_release_that_is_completed() {
    let mut world = World::new(spec(4, json!({"steps": [{"setWeight": 50}, {"pause": {}}]})));
    world.settle_over_time();
    let told =
        |world: &World, what: &str| world.events.iter().filter(|event| event.starts_with(what)).count();
    assert_eq!(
        (told(&world, "RolloutNotCompleted: "), told(&world, "RolloutCompleted: ")),
        (1, 1),
        "the first"
    );
    world.release(2);
    world.settle();
    world.events.clear();
    world.release(1);
    world.settle_over_time();
    assert_eq!(world.phase(), "Healthy");
    assert_eq!(told(&world, "SkipSteps: Rollback to stable ReplicaSets"), 1, "{:#?}", world.events);
    assert_eq!(told(&world, "RolloutCompleted: "), 0, "{:#?}", world.events);
}

#[test]
fn a_rollback_within_the_window_to_a_version_with_pods_is_told() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}, {"pause": {}}]))));
    world.edit(|spec| spec["rollbackWindow"] = json!({"revisions": 1}));
    world.pass(10);
    world.release(2);
    world.settle();
    world.promote();
    world.settle();
    assert!(world.pods(1) > 0 && world.phase() == "Healthy");
    world.release(1);
    world.settle();
    let told = "SkipSteps: Rollback to active ReplicaSets within RollbackWindow";
    assert_eq!(world.events.iter().filter(|event| *event == told).count(), 1, "{:#?}", world.events);
}

#[test]
fn a_rollback_within_the_window_that_was_aborted_takes_no_steps_when_it_is_tried_again() {
    let mut world = half_way();
    world.edit(|spec| spec["rollbackWindow"] = json!({"revisions": 1}));
    world.pass(10);
    world.release(2);
    world.settle();
    world.promote();
    world.settle_over_time();
    world.release(1);
    world.step();
    world.abort();
    world.settle();
    assert_eq!(world.phase(), "Degraded");
    world.retry();
    world.settle_over_time();
    assert_eq!((world.phase(), world.status().stable_rs.clone()), ("Healthy", world.hash(1)));
}

#[test]
fn a_third_version_that_is_held_takes_no_pod_of_the_second() {
    let mut world = World::running(spec(10, json!({"steps": [{"setWeight": 50}, {"pause": {}}]})));
    world.release(2);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2)), (5, 5));
    world.pause(true);
    world.release(3);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2), world.pods(3)), (5, 5, 0));
    world.pause(false);
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2), world.pods(3)), (5, 0, 5));
}

#[test]
fn a_service_is_not_led_to_pods_that_are_about_to_go() {
    let canary = json!({
        "steps": [{"setWeight": 50}, {"pause": {}}], "maxSurge": 0, "maxUnavailable": 2,
        "stableService": "shop-stable", "canaryService": "shop-canary",
    });
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    world.promote_full();
    let decide = |world: &mut World| {
        let decision = world.decide();
        world.carry_out(&decision, usize::MAX);
    };
    decide(&mut world);
    while world.pods(1) > 0 {
        world.kubelet();
        decide(&mut world);
    }
    assert_eq!(world.selected("shop-stable"), Some(world.hash(2)));
    world.abort();
    // Nobody has seen yet that the last pods of the stable version were to go.
    for _ in 0..5 {
        decide(&mut world);
        assert_eq!(world.selected("shop-stable"), Some(world.hash(2)));
    }
    assert!(world.pods(1) > 0);
    world.settle();
    assert_eq!(world.selected("shop-stable"), Some(world.hash(1)));
}

#[test]
fn a_dead_stable_pod_does_not_take_the_place_of_a_third_versions_first() {
    let canary = json!({
        "maxSurge": 1, "maxUnavailable": 0, "canaryService": "shop-canary", "stableService": "shop-stable",
    });
    let mut world = World::running(spec(1, canary));
    world.break_pods(1);
    world.release(2);
    for _ in 0..2 {
        world.step();
        world.kubelet();
    }
    world.release(3);
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(3)), ("Healthy", 1));
}
