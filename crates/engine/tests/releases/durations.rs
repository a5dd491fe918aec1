//! `status.duration`: when a release began and ended, how, and how long of it a person was waited for.

use crate::world::{World, spec};
use headgate_api::{CompletionStatus, RolloutDuration};
use headgate_engine::{EndedRelease, ended_release};
use serde_json::{Value, json};

const PAUSES: &str = r#"[{"setWeight": 50}, {"pause": {}}]"#;

fn running(steps: &str) -> World {
    let steps: Value = serde_json::from_str(steps).unwrap();
    World::running(spec(2, json!({ "steps": steps })))
}

fn duration(world: &World) -> &RolloutDuration {
    world.status().duration.as_ref().unwrap()
}

/// Status, seconds until the end where there is one, and seconds of manual pauses.
fn told(world: &World) -> (Option<&str>, Option<i64>, Option<i64>) {
    let duration = duration(world);
    let began = duration.rollout_started_at.as_ref().unwrap().0;
    let end = duration.finished_at.as_ref().map(|end| end.0.duration_since(began).as_secs());
    let status = duration.completion_status.as_ref().map(CompletionStatus::as_str);
    (status, end, duration.total_manual_pause_duration_seconds)
}

/// A release of this version, whose pause a user sees after a while.
fn release(world: &mut World, version: u32) {
    world.pass(60);
    world.release(version);
    world.settle();
    assert_eq!(world.phase(), "Paused");
    assert!(duration(world).manual_pause_started_at.is_some());
    world.pass(30);
}

#[test]
fn the_first_version_counts_as_promoted() {
    let world = running(PAUSES);
    assert_eq!(told(&world), (Some("Promoted"), Some(0), None));
}

#[test]
fn a_pause_for_a_user_counts_apart_and_one_with_an_end_does_not() {
    let mut world = running(r#"[{"setWeight": 50}, {"pause": {}}, {"pause": {"duration": 20}}]"#);
    release(&mut world, 2);
    world.promote();
    world.settle();
    assert_eq!(told(&world), (None, None, Some(30)));
    assert_eq!(duration(&world).manual_pause_started_at, None);
    world.settle_over_time();
    assert_eq!((world.phase(), told(&world)), ("Healthy", (Some("Promoted"), Some(50), Some(30))));
    // Nothing of it moves while only the size changes.
    let before = duration(&world).clone();
    world.pass(60);
    world.scale(4);
    world.settle();
    assert_eq!(*duration(&world), before);
}

#[test]
fn a_release_that_a_user_holds_counts_as_a_manual_pause_from_its_beginning() {
    let mut world = running(r#"[{"setWeight": 50}]"#);
    world.pass(60);
    world.pause(true);
    world.release(2);
    world.settle();
    assert_eq!(duration(&world).manual_pause_started_at, duration(&world).rollout_started_at);
    world.pass(10);
    world.pause(false);
    world.settle();
    assert_eq!(told(&world), (Some("Promoted"), Some(10), Some(10)));
}

#[test]
fn a_full_promotion_and_an_abort_are_told_and_a_retry_starts_anew() {
    let mut world = running(PAUSES);
    release(&mut world, 2);
    world.abort();
    world.settle();
    assert_eq!(told(&world), (Some("Aborted"), Some(30), Some(30)));
    world.pass(10);
    world.retry();
    world.settle();
    assert_eq!(told(&world), (None, None, None));
    world.pass(5);
    world.promote_full();
    world.settle();
    assert_eq!(told(&world), (Some("FastPromoted"), Some(5), Some(5)));
}

#[test]
fn a_way_back_in_the_middle_keeps_the_start() {
    let mut world = running(PAUSES);
    release(&mut world, 2);
    let began = duration(&world).rollout_started_at.clone();
    world.release(1);
    world.settle();
    assert_eq!(told(&world), (Some("FastRolledBack"), Some(30), Some(30)));
    assert_eq!(duration(&world).rollout_started_at, began);
    // And back to a version that is older than the stable one.
    for version in [2, 3] {
        release(&mut world, version);
        world.promote();
        world.settle();
        assert_eq!(told(&world).0, Some("Promoted"));
    }
    release(&mut world, 4);
    world.release(2);
    world.settle();
    assert_eq!(told(&world), (Some("RolledBack"), None, Some(30)));
    world.promote();
    world.settle();
    assert_eq!(told(&world), (Some("RolledBack"), Some(30), Some(30)));
}

#[test]
fn back_to_stable_after_an_abort_is_no_release_and_a_third_version_is_another_one() {
    let mut world = running(PAUSES);
    release(&mut world, 2);
    let second = world.status().clone();
    world.release(3);
    world.settle();
    assert_eq!(told(&world), (None, None, None));
    let superseded =
        EndedRelease { status: CompletionStatus::Superseded, seconds: 30, manual_pause_seconds: 30 };
    assert_eq!(ended_release(&second, world.status()), Some(superseded));
    world.pass(10);
    let third = world.status().clone();
    world.abort();
    world.settle();
    let aborted = EndedRelease { status: CompletionStatus::Aborted, seconds: 10, manual_pause_seconds: 10 };
    assert_eq!(ended_release(&third, world.status()), Some(aborted));
    let before = duration(&world).clone();
    world.pass(10);
    world.release(1);
    world.settle();
    assert_eq!((world.phase(), duration(&world)), ("Healthy", &before));
    assert_eq!(ended_release(world.status(), world.status()), None);
}

#[test]
fn without_a_known_beginning_nothing_is_counted() {
    let mut world = running(PAUSES);
    release(&mut world, 2);
    world.snapshot.rollout.status.duration = None;
    world.promote();
    world.settle();
    assert_eq!((world.phase(), world.status().duration.is_none()), ("Healthy", true));
}
