//! A Rollout that takes its template from a Deployment, and whose pods take over from the Deployment's.

use crate::world::{World, pod_template, spec};
use headgate_api::labels::WORKLOAD_GENERATION;
use headgate_engine::decide;
use headgate_model::{Effect, Observed, SpecProblem};
use serde_json::json;

/// Four pods of a Deployment, and a Rollout that wants four.
fn migrating(scale_down: &str) -> World {
    let mut world = World::new(spec(4, json!({ "steps": [{ "setWeight": 25 }, { "pause": {} }] })));
    world.refer_to_deployment(4, scale_down);
    world
}

/// One decision, and so many pods of version 1 are available afterwards.
fn step_with(world: &mut World, available: i32) {
    world.step();
    for set in world.sets_mut() {
        set.observed_generation = set.generation;
        set.current = set.replicas;
        (set.ready, set.available_reported) = (available, available);
    }
    world.step();
    world.step();
}

#[test]
fn progressively_one_pod_goes_for_each_that_is_available_and_the_last_when_all_is_well() {
    let mut world = migrating("progressively");
    step_with(&mut world, 0);
    step_with(&mut world, 0);
    assert_eq!((world.pods(1), world.deployment()), (4, 4));
    for (available, left) in [(1, 3), (2, 2), (3, 1), (4, 1)] {
        step_with(&mut world, available);
        assert_eq!(world.deployment(), left, "with {available} available pods");
    }
    world.settle();
    assert_eq!((world.phase(), world.deployment()), ("Healthy", 1));
    world.pass(4);
    world.settle();
    assert_eq!(world.deployment(), 1, "proxies are given their time");
    world.settle_over_time();
    assert_eq!((world.phase(), world.deployment()), ("Healthy", 0));
    let hand_over = world.status().headgate.as_ref().and_then(|memory| memory.hand_over.clone());
    assert!(hand_over.is_some_and(|hand_over| hand_over.ended), "{:?}", world.status());
}

#[test]
fn pods_that_are_lost_in_the_middle_come_back_and_never_more_than_there_were() {
    let mut world = migrating("progressively");
    step_with(&mut world, 0);
    step_with(&mut world, 3);
    assert_eq!(world.deployment(), 1);
    step_with(&mut world, 1);
    assert_eq!(world.deployment(), 3);
    world.scale(40);
    step_with(&mut world, 1);
    assert_eq!(world.deployment(), 4);
}

#[test]
fn on_success_all_go_at_once_and_only_when_the_rollout_is_healthy() {
    let mut world = migrating("onsuccess");
    step_with(&mut world, 0);
    step_with(&mut world, 3);
    assert_eq!(world.deployment(), 4);
    world.settle();
    assert_eq!((world.phase(), world.deployment()), ("Healthy", 4));
    world.settle_over_time();
    assert_eq!(world.deployment(), 0);
    let told = "ScalingReplicaSet: Scaled down Deployment shop (spec.workloadRef) from 4 to 0";
    assert!(world.events.iter().any(|event| event == told), "{:?}", world.events);
}

#[test]
fn never_means_never() {
    let mut world = migrating("never");
    world.settle_over_time();
    assert_eq!((world.phase(), world.deployment()), ("Healthy", 4));
}

#[test]
fn a_deployment_without_pods_never_gets_any() {
    let mut world = migrating("progressively");
    world.deployment_mut().replicas = Some(0);
    world.settle_over_time();
    assert_eq!((world.phase(), world.deployment()), ("Healthy", 0));
    world.kill_pods(&world.hash(1), 1);
    world.step();
    assert_eq!(world.deployment(), 0);
}

#[test]
fn who_scales_the_deployment_up_is_not_fought() {
    let mut world = migrating("progressively");
    step_with(&mut world, 0);
    step_with(&mut world, 2);
    assert_eq!(world.deployment(), 2);
    world.deployment_mut().replicas = Some(6);
    step_with(&mut world, 2);
    assert_eq!(world.deployment(), 6, "an autoscaler has its reasons");
    step_with(&mut world, 3);
    assert_eq!(world.deployment(), 1, "one more pod may go");
    world.settle_over_time();
    assert_eq!(world.deployment(), 0);
    world.deployment_mut().replicas = Some(3);
    world.deployment_mut().generation += 1;
    world.settle_over_time();
    assert_eq!((world.phase(), world.deployment()), ("Healthy", 3), "it is over");
    world.release_deployment(2);
    world.settle();
    assert_eq!((world.phase(), world.deployment()), ("Paused", 3));
    world.promote();
    world.settle_over_time();
    assert_eq!(
        (world.phase(), world.deployment()),
        ("Healthy", 0),
        "with the next version it gives way again"
    );
}

#[test]
fn a_hand_over_that_another_controller_has_begun_is_ended_in_the_first_revision() {
    for scale_down in ["progressively", "onsuccess"] {
        let mut world = migrating(scale_down);
        world.settle_over_time();
        assert_eq!((world.phase(), world.deployment()), ("Healthy", 0));
        world.snapshot.rollout.status.headgate = None;
        world.deployment_mut().replicas = Some(2);
        world.settle_over_time();
        assert_eq!((world.phase(), world.deployment()), ("Healthy", 0), "{scale_down}");

        world.release_deployment(2);
        world.settle();
        world.promote();
        world.settle_over_time();
        world.snapshot.rollout.status.headgate = None;
        world.deployment_mut().replicas = Some(2);
        world.settle_over_time();
        assert_eq!((world.phase(), world.deployment()), ("Healthy", 2), "later ones have ended long ago");
    }
}

#[test]
fn nothing_goes_before_it_is_written_how_many_pods_there_shall_be_or_while_none_are_wanted() {
    let mut world = migrating("onsuccess");
    world.edit(|spec| spec["replicas"] = json!(0));
    world.settle_over_time();
    assert_eq!((world.phase(), world.deployment()), ("Healthy", 4));
    let mut world = migrating("progressively");
    world.edit(|spec| {
        spec.as_object_mut().unwrap().remove("replicas");
    });
    let decision = world.decide();
    assert!(
        decision
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::PatchRollout { replicas: Some(1), .. }))
    );
    world.settle_over_time();
    assert_eq!(world.deployment(), 0);
}

#[test]
fn a_new_template_of_the_deployment_is_a_release_and_both_generations_say_so() {
    let mut world = migrating("onsuccess");
    world.settle_over_time();
    let generation = |world: &World| {
        let noted = world.snapshot.rollout.annotations[WORKLOAD_GENERATION].clone();
        (noted, world.status().workload_observed_generation.clone())
    };
    assert_eq!(generation(&world), ("2".to_owned(), "2".to_owned()), "it was scaled");
    assert_eq!(world.annotation(1, WORKLOAD_GENERATION).as_deref(), Some("1"), "that is no reason to write");
    world.release_deployment(2);
    world.settle();
    assert_eq!((world.phase(), world.pods(1), world.pods(2)), ("Paused", 3, 1));
    assert_eq!(generation(&world), ("3".to_owned(), "3".to_owned()));
    assert_eq!(world.annotation(2, WORKLOAD_GENERATION).as_deref(), Some("3"));
    assert_eq!(world.status().observed_generation, "1");
    world.edit(|spec| {
        spec.as_object_mut().unwrap().remove("workloadRef");
    });
    world.snapshot.rollout.workload = None;
    world.settle();
    assert_eq!((world.phase(), world.status().workload_observed_generation.as_str()), ("Paused", ""));
}

#[test]
fn a_workload_that_nobody_has_read_yet_is_waited_for() {
    let mut world = migrating("onsuccess");
    world.settle_over_time();
    world.abort();
    world.snapshot.rollout.workload = Some(Observed::Unknown);
    let decision = decide(&world.snapshot, world.now);
    assert_eq!((&decision.record, decision.effects.len(), decision.wake_at), (world.status(), 0, None));
}

#[test]
fn a_workload_that_is_missing_is_told_and_an_abort_leads_back_all_the_same() {
    let mut world = migrating("onsuccess");
    world.settle_over_time();
    world.release_deployment(2);
    world.settle();
    let before = (world.pods(1), world.pods(2));
    let deployment = world.snapshot.rollout.workload.replace(Observed::Absent);
    let missing = || {
        let problem = "Invalid value: \"shop\": Deployment \"shop\" not found".to_owned();
        Err(SpecProblem { field: "spec.workloadRef.name".to_owned(), problem })
    };
    world.snapshot.rollout.spec = missing();
    let decide_with = |world: &mut World| {
        for _ in 0..20 {
            let decision = world.decide();
            world.carry_out(&decision, usize::MAX);
            world.snapshot.rollout.spec = missing();
            world.kubelet();
        }
    };
    decide_with(&mut world);
    assert_eq!((world.phase(), (world.pods(1), world.pods(2))), ("Degraded", before));
    assert!(world.status().message.contains("Deployment \"shop\" not found"), "{}", world.status().message);
    assert_eq!(world.status().workload_observed_generation, "3", "as it was seen last");
    world.abort();
    decide_with(&mut world);
    assert_eq!((world.pods(1), world.pods(2)), (4, 0));
    world.retry();
    world.snapshot.rollout.workload = deployment;
    world.snapshot.rollout.spec_raw["template"] = pod_template(3);
    world.edit(|spec| spec["replicas"] = json!(4));
    world.settle();
    assert_eq!((world.phase(), world.pods(3)), ("Paused", 1));
}
