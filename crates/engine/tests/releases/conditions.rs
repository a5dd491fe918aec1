//! What the conditions of a Rollout say, and since when, in each phase of its life: `kubectl wait`, Argo CD and alerts go by
//! them. `lastTransitionTime` moves with the status of a condition only (Argo Rollouts: `SetRolloutCondition`).

use crate::routed::two_steps;
use crate::world::{World, routed, spec};
use headgate_api::{RolloutStatus, Time};
use serde_json::json;
use std::fmt::Write;

/// Each condition, with its last transition and its last update in seconds since the beginning.
fn conditions(world: &World, begun: i64) -> String {
    let since = |time: &Option<Time>| time.as_ref().map_or(-1, |time| time.0.as_second() - begun);
    let mut lines = String::new();
    for one in &world.status().conditions {
        let (changed, updated) = (since(&one.last_transition_time), since(&one.last_update_time));
        writeln!(lines, "  {}={} {} {changed} {updated}", one.type_, one.status, one.reason).unwrap();
    }
    lines
}

#[test]
fn conditions_say_what_is_and_since_when_all_through_the_life_of_a_rollout() {
    let steps = json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]);
    let mut world = World::new(spec(4, routed(steps)));
    let begun = world.now.as_second();
    let mut told = String::new();
    let mut then = |world: &mut World, what: &str, act: &dyn Fn(&mut World)| {
        world.pass(100);
        act(world);
        let (seconds, phase) = (world.now.as_second() - begun, world.phase());
        write!(told, "{seconds} {what}: {phase}\n{}", conditions(world, begun)).unwrap();
    };
    let second = world.hash(2);
    then(&mut world, "applied, no pod yet", &|world| {
        world.step();
    });
    then(&mut world, "its pods are available", &World::settle);
    then(&mut world, "another version", &|world| {
        world.release(2);
        world.step();
    });
    then(&mut world, "at its pause", &World::settle);
    then(&mut world, "promoted to the next one", &|world| {
        world.promote();
        world.settle();
    });
    then(&mut world, "aborted", &|world| {
        world.abort();
        world.settle();
    });
    then(&mut world, "tried again", &|world| {
        world.retry();
        world.settle();
    });
    then(&mut world, "promoted in full", &|world| {
        world.promote_full();
        world.settle();
    });
    then(&mut world, "a pod is lost", &|world| {
        world.kill_pods(&second, 3);
        world.step();
    });
    then(&mut world, "it is back", &World::settle);
    then(&mut world, "the spec is wrong", &|world| {
        world.edit(|spec| spec["strategy"]["canary"]["steps"][0] = json!({"setWeight": 101}));
        world.settle();
    });
    then(&mut world, "it is mended", &|world| {
        world.edit(|spec| spec["strategy"]["canary"]["steps"][0] = json!({"setWeight": 10}));
        world.settle();
    });
    insta::assert_snapshot!(told);
}

#[test]
fn a_wait_says_since_when_it_is_and_another_one_begins_anew() {
    let steps = json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "10m"}}]);
    let mut world = World::running(spec(4, routed(steps)));
    let waiting = |world: &World| {
        let waiting = world.status().waiting.clone().expect("it waits");
        (waiting.kind, waiting.since.expect("since").0)
    };
    world.release(2);
    world.settle();
    let begun = world.now;
    assert_eq!(waiting(&world), ("UserPromotion".to_owned(), begun));
    // Many decisions later, some of which store something else, it is the same wait.
    for replicas in [8, 4] {
        world.pass(300);
        world.scale(replicas);
        world.settle();
        assert_eq!(waiting(&world), ("UserPromotion".to_owned(), begun));
    }
    world.pass(300);
    world.promote();
    world.settle();
    assert_eq!(waiting(&world), ("PauseDuration".to_owned(), world.now));
}

#[test]
fn pods_that_flap_put_no_deadline_off_although_fewer_are_wanted_in_the_end() {
    let steps = json!([{"setCanaryScale": {"replicas": 2}}, {"setWeight": 50}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.scale(0);
    let second = world.hash(2);
    world.broken.insert(second.clone());
    world.release(2);
    world.settle();
    let updated = |world: &World| {
        let conditions = &world.status().conditions;
        conditions.iter().find(|condition| condition.type_ == "Progressing").unwrap().last_update_time.clone()
    };
    let flap = |world: &mut World| {
        for ready in [1, 0] {
            world.pass(20);
            let set = world.sets_mut().iter_mut().find(|set| set.hash() == second).unwrap();
            set.ready = ready;
            let decision = world.decide();
            world.carry_out(&decision, usize::MAX);
        }
    };
    flap(&mut world);
    let first = updated(&world);
    flap(&mut world);
    assert_eq!(updated(&world), first);
}

/// Status, reason and message of a condition.
fn said<'a>(world: &'a World, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let condition = world.status().conditions.iter().find(|one| one.type_ == type_)?;
    Some((&condition.status, &condition.reason, &condition.message))
}

/// For how many seconds a condition has had its status, and its reason.
fn ages(world: &World, type_: &str) -> Option<(i64, i64)> {
    let condition = world.status().conditions.iter().find(|one| one.type_ == type_)?;
    let age = |time: &Option<Time>| Some(world.now.as_second() - time.as_ref()?.0.as_second());
    Some((age(&condition.last_transition_time)?, age(&condition.last_update_time)?))
}

/// The API server gives back what the ReplicaSet of this version reports.
fn report(world: &mut World, version: u32, failure: Option<(&str, &str)>) {
    let hash = world.hash(version);
    let set = world.sets_mut().iter_mut().find(|set| set.hash() == hash).expect("it has a ReplicaSet");
    set.failure = failure.map(|(reason, message)| (reason.to_owned(), message.to_owned()));
}

/// The 600 s of `progressDeadlineSeconds` begin now, and end.
fn assert_deadline_begins(world: &mut World) {
    assert_eq!(world.phase(), "Progressing", "{}", world.status().message);
    world.settle();
    world.pass(599);
    world.settle();
    assert_eq!(world.phase(), "Progressing", "{}", world.status().message);
    world.pass(1);
    world.settle();
    assert_eq!(world.condition("Progressing"), ("False".to_owned(), "ProgressDeadlineExceeded".to_owned()));
}

#[test]
fn a_replica_set_that_was_there_before_its_rollout_is_found() {
    let mut world = two_steps();
    world.pass(100);
    // The Rollout was deleted without its ReplicaSets, and made again.
    world.snapshot.rollout.status = RolloutStatus::default();
    world.step();
    let found = format!("Found new replica set \"shop-{}\"", world.hash(1));
    assert_eq!(said(&world, "Progressing"), Some(("True", "FoundNewReplicaSet", found.as_str())));
    assert_eq!(ages(&world, "Progressing"), Some((0, 0)));
    world.settle();
    let arrived = format!("ReplicaSet \"shop-{}\" has successfully progressed.", world.hash(1));
    assert_eq!(said(&world, "Progressing"), Some(("True", "NewReplicaSetAvailable", arrived.as_str())));
}

#[test]
fn a_retry_is_said_and_begins_the_deadline_anew() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.abort();
    world.settle();
    // Longer than `progressDeadlineSeconds`.
    world.pass(1_000);
    world.settle();
    world.break_pods(2);
    world.retry();
    world.step();
    let retried = Some(("Unknown", "RolloutRetry", "Retrying Rollout after abort"));
    assert_eq!((said(&world, "Progressing"), ages(&world, "Progressing")), (retried, Some((0, 0))));
    assert_deadline_begins(&mut world);
}

#[test]
fn a_resumption_is_said_and_begins_the_deadline_anew() {
    let mut world = two_steps();
    let second = world.hash(2);
    world.broken.insert(second);
    world.release(2);
    world.settle();
    world.pause(true);
    world.settle();
    let paused = "Rollout is paused";
    assert_eq!(said(&world, "Progressing"), Some(("Unknown", "RolloutPaused", paused)));
    assert_eq!(said(&world, "Paused"), Some(("True", "RolloutPaused", paused)));
    // Longer than `progressDeadlineSeconds`.
    world.pass(1_000);
    world.settle();
    world.pause(false);
    world.step();
    let resumed = Some(("Unknown", "RolloutResumed", "Rollout is resumed"));
    assert_eq!((said(&world, "Progressing"), ages(&world, "Progressing")), (resumed, Some((1_000, 0))));
    assert_eq!(said(&world, "Paused"), Some(("False", "RolloutPaused", paused)));
    assert_deadline_begins(&mut world);
}

#[test]
fn pods_that_a_healthy_rollout_loses_are_said_and_begin_a_deadline() {
    let mut world = two_steps();
    let first = world.hash(1);
    // Longer than `progressDeadlineSeconds`.
    world.pass(1_000);
    world.settle();
    world.weak.insert(first.clone(), 2);
    world.kill_pods(&first, 2);
    world.step();
    let lost = Some(("True", "ReplicaSetNotAvailable", "Rollout does not have minimum availability"));
    assert_eq!((said(&world, "Progressing"), ages(&world, "Progressing")), (lost, Some((1_000, 0))));
    assert_eq!(said(&world, "Healthy"), Some(("False", "RolloutHealthy", "Rollout is not healthy")));
    let few = Some(("False", "AvailableReason", "Rollout does not have minimum availability"));
    assert_eq!(said(&world, "Available"), few);
    world.settle();
    world.pass(599);
    // One of the two is back: all four were there before, and it is progress all the same.
    world.weak.insert(first.clone(), 3);
    world.settle();
    let moves = format!("ReplicaSet \"shop-{first}\" is progressing.");
    assert_eq!(said(&world, "Progressing"), Some(("True", "ReplicaSetUpdated", moves.as_str())));
    assert_deadline_begins(&mut world);
    world.weak.clear();
    world.settle();
    let arrived = format!("ReplicaSet \"shop-{first}\" has successfully progressed.");
    assert_eq!(said(&world, "Progressing"), Some(("True", "NewReplicaSetAvailable", arrived.as_str())));
    assert_eq!(said(&world, "Healthy"), Some(("True", "RolloutHealthy", "Rollout is healthy")));
}

#[test]
fn pods_that_cannot_be_made_are_told_as_the_newest_replica_set_reports_it() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    world.promote_full();
    world.settle_over_time();
    world.release(3);
    world.settle();
    assert_eq!((world.phase(), world.sets().len()), ("Paused", 3));
    let quota = |version: u32| format!("pods \"shop-{version}\" is forbidden: exceeded quota");
    for newest in 1..=3 {
        assert_eq!(said(&world, "ReplicaFailure"), None);
        for version in 1..=newest {
            report(&mut world, version, Some(("FailedCreate", &quota(version))));
        }
        world.settle();
        assert_eq!(said(&world, "ReplicaFailure"), Some(("True", "FailedCreate", quota(newest).as_str())));
        (1..=newest).for_each(|version| report(&mut world, version, None));
        world.settle();
    }
    assert_eq!(said(&world, "ReplicaFailure"), None, "it comes right and is told no more");
}

#[test]
fn another_reason_of_a_replica_failure_is_told_and_other_words_for_the_same_one_are_not() {
    let mut world = two_steps();
    world.release(2);
    world.settle();
    report(&mut world, 1, Some(("FailedDelete", "the first one's")));
    world.settle();
    world.pass(100);
    let failed = "the second one's";
    report(&mut world, 2, Some(("FailedCreate", failed)));
    world.settle();
    let told = Some(("True", "FailedCreate", failed));
    assert_eq!((said(&world, "ReplicaFailure"), ages(&world, "ReplicaFailure")), (told, Some((100, 0))));
    // The name of a pod, or a number of a quota, is another one at each try.
    report(&mut world, 2, Some(("FailedCreate", "of another pod")));
    world.pass(100);
    assert!(!world.step(), "that is nothing to write");
    assert_eq!(said(&world, "ReplicaFailure"), told);
}

#[test]
fn a_stable_replica_set_that_somebody_deletes_is_told_as_what_ends_the_release() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 5}, {"pause": {}}]))));
    world.release(2);
    world.settle();
    let first = world.hash(1);
    world.sets_mut().retain(|set| set.hash() != first);
    world.settle_over_time();
    let told = format!(
        "RolloutCompleted: Rollout completed update to revision 2 ({}): the ReplicaSet of the stable version is gone",
        world.hash(2)
    );
    assert!(world.events.contains(&told), "{:?}", world.events);
}

#[test]
fn a_condition_that_reads_as_before_has_not_changed() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 25}, {"pause": {}}]))));
    let progressing = |world: &World| {
        let conditions = &world.status().conditions;
        conditions.iter().find(|condition| condition.type_ == "Progressing").unwrap().clone()
    };
    world.pause(true);
    world.release(2);
    world.settle();
    let before = progressing(&world);
    world.pass(60);
    world.release(3);
    world.settle();
    let after = progressing(&world);
    assert_eq!((before.status.as_str(), &after.status), ("Unknown", &before.status));
    assert_eq!(after.last_transition_time, before.last_transition_time);
}
