//! Pauses that wait for a user no longer than their spec says, and those of `spec.paused`.

use crate::routed::two_steps;
use crate::world::{World, routed, spec};
use serde_json::{Value, json};

/// Version 2 stands at a pause that waits for a user for an hour.
fn waiting(then: Option<&str>) -> World {
    let steps = json!([
        {"setWeight": 25}, {"pause": {"maxDuration": "1h", "onTimeout": then.map_or(Value::Null, Value::from)}},
        {"setWeight": 50}, {"pause": {}},
    ]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.waits_for()), ("Paused", 25, "UserPromotion"));
    world
}

/// An hour passes, but for a second.
fn almost_over(world: &mut World) {
    world.pass(3_599);
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.waits_for()), ("Paused", 25, "UserPromotion"));
    world.pass(1);
    world.settle();
}

fn reminders(world: &World) -> usize {
    world.events.iter().filter(|event| event.starts_with("PauseOverdue")).count()
}

#[test]
fn a_pause_that_nobody_promotes_in_time_aborts_the_release_and_says_so() {
    let mut world = waiting(Some("abort"));
    almost_over(&mut world);
    assert_eq!((world.phase(), world.weight()), ("Degraded", 0));
    let message = &world.status().message;
    assert!(
        message.contains(
            "at step 2/4, weight 25: nobody has promoted the pause of step 2 within its maxDuration"
        ),
        "{message}"
    );
}

#[test]
fn a_pause_that_nobody_promotes_in_time_goes_on_by_itself() {
    let mut world = waiting(Some("promote"));
    almost_over(&mut world);
    assert_eq!((world.phase(), world.weight(), world.status().current_step_index), ("Paused", 50, Some(3)));
}

#[test]
fn a_pause_that_nobody_promotes_in_time_waits_on_and_reminds_once() {
    for word in [Some("stay"), None] {
        let mut world = waiting(word);
        assert_eq!(reminders(&world), 0);
        almost_over(&mut world);
        assert_eq!((world.phase(), world.weight(), world.waits_for()), ("Paused", 25, "PauseOverdue"));
        world.pass(7_200);
        world.settle();
        assert_eq!((world.phase(), reminders(&world)), ("Paused", 1));
        world.promote();
        world.settle();
        assert_eq!(world.weight(), 50);
    }
}

#[test]
fn a_promotion_in_the_last_second_counts_and_the_next_pause_has_a_time_of_its_own() {
    for word in ["abort", "promote", "stay"] {
        let mut world = waiting(Some(word));
        world.pass(3_600);
        world.promote();
        world.settle();
        assert_eq!((world.phase(), world.weight()), ("Paused", 50), "{word}");
        world.pass(100_000);
        world.settle();
        assert_eq!((world.phase(), world.weight(), world.waits_for()), ("Paused", 50, "UserPromotion"));
    }
}

#[test]
fn the_user_who_pauses_the_rollout_stops_the_clock_from_doing_anything() {
    let mut world = waiting(Some("abort"));
    world.edit(|spec| spec["paused"] = json!(true));
    world.pass(7_200);
    world.settle();
    assert_eq!((world.phase(), world.weight()), ("Paused", 25));
}

#[test]
fn the_decision_is_taken_just_when_the_time_is_over() {
    for word in ["abort", "promote", "stay"] {
        let mut world = waiting(Some(word));
        let since = world.status().pause_conditions[0].start_time.clone().unwrap().0;
        let wake = world.decide().wake_at.unwrap();
        assert_eq!(wake.duration_since(since).as_secs(), 3_600, "{word}");
    }
}

#[test]
fn a_pause_that_a_user_has_moved_the_release_to_begins_then() {
    let steps = json!([
        {"setWeight": 25}, {"pause": {"duration": "10m"}},
        {"setWeight": 50}, {"pause": {"duration": "10m"}},
    ]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    world.pass(500);
    world.settle();
    world.snapshot.rollout.status.current_step_index = Some(3);
    world.settle();
    assert_eq!((world.phase(), world.weight()), ("Paused", 50));
    world.pass(599);
    world.settle();
    assert_eq!((world.phase(), world.status().current_step_index), ("Paused", Some(3)));
    world.pass(1);
    world.settle_over_time();
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn a_version_that_is_released_in_full_stays_so_while_the_user_pauses_the_rollout() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}]))));
    let available = ("True".to_owned(), "NewReplicaSetAvailable".to_owned());
    assert_eq!(world.condition("Progressing"), available);
    for (paused, phase, event) in [
        (true, "Paused", "RolloutPaused: Rollout is paused (manually paused)"),
        (false, "Healthy", "RolloutResumed: "),
    ] {
        world.pause(paused);
        world.settle();
        assert_eq!((world.phase(), world.condition("Progressing")), (phase, available.clone()));
        assert_eq!(world.condition("Paused").0, if paused { "True" } else { "False" });
        assert!(world.events.iter().any(|told| told.starts_with(event)), "{:?}", world.events);
    }
}

#[test]
fn a_paused_rollout_without_a_release_comes_back_from_zero() {
    for canary in [routed(json!([{"setWeight": 25}, {"pause": {}}])), json!({"steps": [{"pause": {}}]})] {
        let mut world = World::running(spec(4, canary));
        world.pause(true);
        for replicas in [0, 4] {
            world.scale(replicas);
            world.settle_over_time();
            assert_eq!(world.pods(1), replicas);
        }
    }
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

/// Releases with no step left whose new version has not got everything yet: without steps, after the last one, promoted in
/// full with and without `dynamicStableScale`, and on the way back within the window.
fn with_no_step_left() -> Vec<World> {
    let one_step = || json!([{"setWeight": 25}]);
    let started = |canary: Value, begin: fn(&mut World)| {
        let mut world = World::running(spec(4, canary));
        begin(&mut world);
        world
    };
    let in_full = |world: &mut World| {
        world.release(2);
        world.step();
        world.promote_full();
    };
    let mut dynamic = routed(one_step());
    dynamic["dynamicStableScale"] = json!(true);
    vec![
        started(routed(json!([])), |world| world.release(2)),
        started(routed(one_step()), |world| world.release(2)),
        started(routed(one_step()), in_full),
        started(dynamic, in_full),
        started(routed(one_step()), |world| {
            world.edit(|spec| spec["rollbackWindow"] = json!({"revisions": 3}));
            world.release(2);
            world.settle_over_time();
            world.pass(3_600);
            world.release(1);
        }),
    ]
}

#[test]
fn spec_paused_holds_the_weight_also_when_no_step_is_left() {
    for (case, mut world) in with_no_step_left().into_iter().enumerate() {
        let steps = if case == 0 { None } else { Some(1) };
        let is_there = |world: &World| {
            let status = world.status();
            status.current_step_index == steps && status.stable_rs != status.current_pod_hash
        };
        for _ in 0..20 {
            if is_there(&world) {
                break;
            }
            world.step();
            world.kubelet();
        }
        assert!(is_there(&world), "case {case}");
        world.pause(true);
        world.settle();
        let weight = world.weight();
        world.settle_over_time();
        let told = (world.phase(), world.weight(), world.waits_for());
        assert_eq!(told, ("Paused", weight, "UserUnpause"), "case {case}");
        assert!(weight < 100, "case {case}: {weight}");
        let target = world.status().current_pod_hash.clone();
        world.pause(false);
        world.settle_over_time();
        assert_eq!((world.phase(), &world.status().stable_rs), ("Healthy", &target), "case {case}");
    }
}

#[test]
fn a_bake_that_is_paused_keeps_everything_although_somebody_takes_it_away() {
    let mut canary = routed(json!([{"setWeight": 25}]));
    canary["bake"] = json!({"duration": "1h"});
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (100, "Bake"));
    world.pause(true);
    world.settle();
    world.drift(0, 0);
    world.settle();
    assert_eq!((world.phase(), world.weight()), ("Paused", 100));
}

#[test]
fn what_is_waited_for_began_when_its_pause_did_whoever_made_that() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 25}, {"pause": {}}]))));
    let since = |world: &World| world.status().waiting.as_ref().unwrap().since.clone();
    world.release(2);
    world.settle();
    let began = since(&world);
    world.pass(3_600);
    // Argo Rollouts remembers nothing of what is waited for.
    world.snapshot.rollout.status.waiting = None;
    world.settle();
    assert_eq!((world.waits_for(), since(&world)), ("UserPromotion", began));
    world.abort();
    world.settle();
    assert_eq!(world.waits_for(), "AfterAbort");
    let aborted_at = world.status().aborted_at.clone();
    assert_eq!(since(&world), aborted_at);
    world.pass(60);
    world.settle();
    assert_eq!(
        (world.pods(2), since(&world)),
        (0, aborted_at),
        "its pods are gone, and the wait is the same"
    );
}
