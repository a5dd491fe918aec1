//! The very first version, which is analysed before it is stable.

use crate::world::{World, routed, spec};
use headgate_api::AnalysisPhase;
use headgate_model::{Observed, TemplateKey};
use serde_json::{Value, json};

fn canary() -> Value {
    let analysis = json!({"templates": [{"templateName": "errors"}],
        "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Stable"}}]});
    let mut canary =
        routed(json!([{"setWeight": 25}, {"pause": {}}, {"analysis": analysis}, {"setWeight": 50}]));
    canary["initial"] = json!("analyse");
    canary
}

fn template() -> Value {
    json!({"args": [{"name": "hash"}], "metrics": [{"name": "errors", "successCondition": "result < 1",
        "provider": {"prometheus": {"address": "http://p", "query": "errors{hash='{{args.hash}}'}"}}}]})
}

fn started(canary: Value) -> World {
    let mut world = World::new(spec(4, canary));
    world.add_template("errors", template());
    world.settle();
    world
}

fn step_run(world: &World) -> String {
    format!("shop-{}-1-2", world.hash(1))
}

/// A first version whose analysis has failed.
fn found_bad() -> World {
    let mut world = started(canary());
    let name = step_run(&world);
    world.verdict(&name, AnalysisPhase::Failed, "too many errors");
    world.settle_over_time();
    world
}

#[test]
fn a_first_version_gets_all_pods_and_traffic_and_is_stable_after_its_analysis_only() {
    for routing in [true, false] {
        let mut canary = canary();
        if !routing {
            canary.as_object_mut().unwrap().remove("trafficRouting");
        }
        let mut world = started(canary);
        assert_eq!((world.phase(), world.waits_for(), world.pods(1)), ("Progressing", "Analysis", 4));
        assert_eq!((world.status().stable_rs.as_str(), world.status().current_step_index), ("", Some(2)));
        assert_eq!(world.selected("shop-stable"), Some(world.hash(1)), "it is the one that serves");
        let name = step_run(&world);
        world.verdict(&name, AnalysisPhase::Successful, "");
        world.settle_over_time();
        assert_eq!((world.phase(), world.status().stable_rs.clone()), ("Healthy", world.hash(1)));
        assert_eq!(world.status().current_step_index, Some(4));
    }
}

#[test]
fn nothing_is_measured_before_the_pods_are_there_and_a_deadline_counts_until_then() {
    let mut world = World::new(spec(4, canary()));
    world.add_template("errors", template());
    world.broken.insert(world.hash(1));
    world.settle();
    assert_eq!((world.waits_for(), world.status().current_step_index), ("PodsAvailable", Some(0)));
    assert!(world.runs_mut().is_empty());
    world.pass(601);
    world.settle();
    assert_eq!((world.phase(), world.pods(1)), ("Degraded", 4));
    world.broken.clear();
    world.settle();
    assert_eq!(world.waits_for(), "Analysis");
}

#[test]
fn a_bad_first_version_is_degraded_and_keeps_pods_and_traffic() {
    let mut world = found_bad();
    assert_eq!((world.phase(), world.pods(1), world.waits_for()), ("Degraded", 4, "AfterAbort"));
    assert_eq!(world.selected("shop-stable"), Some(world.hash(1)));
    let message = &world.status().message;
    assert!(message.contains("too many errors; there is no earlier version to go back to"), "{message}");
    assert!(world.status().waiting.as_ref().unwrap().message.contains("no earlier version"));
    world.retry();
    world.settle();
    assert_eq!((world.phase(), world.waits_for()), ("Progressing", "Analysis"));
    let last = world.runs_mut().last().map(|run| run.name.clone());
    assert_eq!(last, Some(format!("{}.1", step_run(&world))));
}

#[test]
fn a_user_who_aborts_a_first_version_is_told_the_same() {
    let mut world = started(canary());
    world.abort();
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(1)), ("Degraded", 4));
    assert!(world.status().waiting.as_ref().unwrap().message.contains("no earlier version"));
}

#[test]
fn a_first_version_that_is_aborted_while_its_spec_is_invalid_says_so_in_its_conditions() {
    let mut world = started(canary());
    world.snapshot.templates.insert(TemplateKey::Namespaced("errors".into()), Observed::Absent);
    world.settle();
    assert_eq!(world.waits_for(), "MendSpec");
    world.abort();
    world.settle_over_time();
    assert_eq!(world.condition("Progressing").1, "RolloutAborted");
    assert_eq!((world.waits_for(), world.pods(1)), ("MendSpec", 4));
}

#[test]
fn an_aborted_first_version_keeps_its_pods_although_their_number_cannot_be_read() {
    let mut world = started(canary());
    world.abort();
    world.settle();
    world.edit(|spec| spec["replicas"] = json!(-1));
    world.settle_over_time();
    assert_eq!((world.waits_for(), world.pods(1)), ("MendSpec", 4));
}

#[test]
fn another_template_after_a_bad_first_version_is_a_first_version_again() {
    for routing in [true, false] {
        let mut canary = canary();
        if !routing {
            canary.as_object_mut().unwrap().remove("trafficRouting");
        }
        let mut world = started(canary);
        let name = step_run(&world);
        world.verdict(&name, AnalysisPhase::Failed, "");
        world.settle_over_time();
        world.release(2);
        world.settle_over_time();
        assert_eq!(
            (world.phase(), world.waits_for(), world.pods(1), world.pods(2)),
            ("Progressing", "Analysis", 0, 4)
        );
        assert_eq!(world.selected("shop-stable"), Some(world.hash(2)));
        let name = format!("shop-{}-2-2", world.hash(2));
        world.verdict(&name, AnalysisPhase::Successful, "");
        world.settle_over_time();
        assert_eq!((world.phase(), world.status().stable_rs.clone()), ("Healthy", world.hash(2)));
    }
}

/// It reports three pods, and the answer to the eviction of one of them was lost.
#[test]
fn requests_stay_with_a_bad_first_version_while_it_may_have_more_pods_than_its_successor() {
    let mut canary = canary();
    canary.as_object_mut().unwrap().remove("trafficRouting");
    let mut world = started(canary);
    let name = step_run(&world);
    world.verdict(&name, AnalysisPhase::Failed, "");
    world.settle_over_time();
    let (first, second) = (world.hash(1), world.hash(2));
    world.release(2);
    world.step();
    for (perhaps, selected) in [(1, &first), (0, &second)] {
        for set in world.sets_mut() {
            (set.replicas, set.current, set.available_reported) =
                if set.hash() == first { (3, 3, 2) } else { (2, 2, 2) };
            set.observed_generation = set.generation;
            set.perhaps_evicted = if set.hash() == first { perhaps } else { 0 };
        }
        world.step();
        assert_eq!(world.selected("shop-stable").as_ref(), Some(selected), "{perhaps} may be there");
    }
}

#[test]
fn the_background_must_have_found_something_good() {
    let mut canary = routed(json!([{"setWeight": 25}, {"pause": {}}]));
    canary["initial"] = json!("analyse");
    canary["analysis"] = json!({"templates": [{"templateName": "errors"}],
        "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]});
    let mut world = started(canary.clone());
    let name = format!("shop-{}-1", world.hash(1));
    assert_eq!((world.phase(), world.waits_for()), ("Progressing", "Analysis"));
    world.verdict(&name, AnalysisPhase::Running, "");
    world.settle();
    assert_eq!(world.status().stable_rs, "");
    world.runs_mut()[0].stands_well = true;
    world.settle_over_time();
    assert_eq!(world.phase(), "Healthy");
    let mut world = started(canary);
    world.promote_full();
    world.settle_over_time();
    assert_eq!(world.phase(), "Healthy", "a full promotion asks nobody");
}

#[test]
fn without_the_word_a_first_version_is_stable_at_once_also_in_the_middle() {
    let mut world = started(canary());
    world.edit(|spec| spec["strategy"]["canary"]["initial"] = json!("skip"));
    world.settle_over_time();
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn the_second_version_is_released_as_ever() {
    let mut world = started(canary());
    let name = step_run(&world);
    world.verdict(&name, AnalysisPhase::Successful, "");
    world.settle_over_time();
    world.release(2);
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.waits_for()), ("Paused", 25, "UserPromotion"));
}

#[test]
fn a_pod_that_is_lost_after_a_long_analysis_is_not_held_against_the_first_version_at_once() {
    let mut world = started(canary());
    world.edit(|spec| spec["progressDeadlineAbort"] = json!(true));
    world.settle();
    world.pass(1_200);
    world.settle();
    let first = world.hash(1);
    world.broken.insert(first.clone());
    world.kill_pods(&first, 3);
    world.settle();
    assert_eq!((world.phase(), world.waits_for()), ("Progressing", "PodsAvailable"));
    world.pass(601);
    world.settle();
    assert_eq!(world.phase(), "Degraded", "but it has no longer than any other: {}", world.status().message);
}

#[test]
fn a_first_version_whose_pods_never_get_ready_stays_overdue_at_a_step_that_waits() {
    let mut canary = canary();
    canary["steps"].as_array_mut().unwrap().remove(0);
    canary["steps"].as_array_mut().unwrap().remove(0);
    let mut world = World::new(spec(4, canary));
    world.add_template("errors", template());
    world.broken.insert(world.hash(1));
    world.settle();
    world.pass(601);
    world.settle();
    for _ in 0..5 {
        assert_eq!(world.phase(), "Degraded", "{}", world.status().message);
        world.pass(61);
        world.step();
    }
}

#[test]
fn pods_of_a_bad_first_version_do_not_put_off_the_deadline_of_its_successor() {
    let mut world = found_bad();
    world.broken.insert(world.hash(2));
    world.release(2);
    world.settle();
    for _ in 0..3 {
        world.pass(601);
        world.settle();
        assert_eq!(world.phase(), "Degraded", "{}", world.status().message);
    }
}

#[test]
fn the_successor_of_a_bad_first_version_gets_the_requests_once_it_can_bear_them() {
    let mut world = found_bad();
    world.release(2);
    let second = world.hash(2);
    for _ in 0..10 {
        world.step();
        world.kubelet();
        world.kill_pods(&second, 1);
        assert_eq!(world.selected("shop-stable"), Some(world.hash(1)), "one pod of four is not enough");
    }
    world.settle();
    assert_eq!(world.selected("shop-stable"), Some(second));
}

#[test]
fn a_deployment_keeps_its_pods_and_its_service_until_the_first_version_has_passed() {
    for is_good in [true, false] {
        let mut world = World::new(spec(4, canary()));
        world.add_template("errors", template());
        world.refer_to_deployment(4, "progressively");
        world.settle_over_time();
        assert_eq!((world.waits_for(), world.pods(1), world.deployment()), ("Analysis", 4, 4));
        assert_eq!(world.selected("shop-stable"), None, "it leads to both");
        let name = step_run(&world);
        let verdict = if is_good { AnalysisPhase::Successful } else { AnalysisPhase::Failed };
        world.verdict(&name, verdict, "too many errors");
        world.settle_over_time();
        if is_good {
            assert_eq!((world.phase(), world.deployment()), ("Healthy", 0));
            assert_eq!(world.selected("shop-stable"), Some(world.hash(1)));
        } else {
            assert_eq!((world.phase(), world.deployment(), world.pods(1)), ("Degraded", 4, 4));
            assert_eq!(world.selected("shop-stable"), None);
        }
    }
}

/// Version 2 has just got the stable Service by its first pod, without a router; version 1 has all its pods but those that
/// may be missing.
fn second_first_version_just_serves(surge: i32, unavailable: i32) -> World {
    let mut canary = canary();
    canary.as_object_mut().unwrap().remove("trafficRouting");
    (canary["maxSurge"], canary["maxUnavailable"]) = (json!(surge), json!(unavailable));
    let mut world = started(canary);
    world.release(2);
    while world.selected("shop-stable") != Some(world.hash(2)) {
        world.step();
        world.kubelet();
    }
    assert!(world.pods(1) > 0 && world.pods(2) > 0, "both have pods");
    world
}

#[test]
fn a_version_that_is_kept_for_the_service_does_not_keep_the_others_too() {
    for (surge, unavailable) in [(1, 0), (0, 1)] {
        let mut world = second_first_version_just_serves(surge, unavailable);
        world.release(3);
        world.settle_over_time();
        assert_eq!((world.pods(1), world.pods(2), world.pods(3)), (0, 0, 4), "{surge} {unavailable}");
        assert_eq!((world.waits_for(), world.selected("shop-stable")), ("Analysis", Some(world.hash(3))));
    }
}

#[test]
fn a_dead_pod_that_the_service_leads_to_does_not_take_the_place_of_the_next_versions_first() {
    let mut world = second_first_version_just_serves(1, 0);
    world.break_pods(2);
    world.release(3);
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2), world.pods(3)), (0, 0, 4));
}

#[test]
fn a_first_version_that_has_all_of_a_smaller_number_of_pods_is_overdue_no_longer() {
    let mut canary = canary();
    canary["steps"].as_array_mut().unwrap().drain(..2);
    let mut world = World::new(spec(4, canary));
    world.add_template("errors", template());
    world.broken.insert(world.hash(1));
    world.settle();
    let two_are_ready = |world: &mut World| {
        for set in world.sets_mut() {
            (set.observed_generation, set.current) = (set.generation, set.replicas);
            (set.ready, set.available_reported) = (2, 2);
        }
        world.step();
    };
    two_are_ready(&mut world);
    world.pass(601);
    two_are_ready(&mut world);
    assert_eq!(world.phase(), "Degraded");
    world.scale(2);
    for _ in 0..3 {
        two_are_ready(&mut world);
    }
    assert_eq!((world.phase(), world.waits_for()), ("Progressing", "Analysis"), "{}", world.status().message);
}
