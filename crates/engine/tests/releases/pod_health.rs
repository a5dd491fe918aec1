//! Releases whose pods are unhealthy.

use crate::basic::release_with_taken_name;
use crate::world::{World, routed, spec};
use headgate_model::spec::PodHealthAction;
use headgate_model::{ContainerView, End, Observed, PodView, Timestamp, Unpulled, Unready};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const APP: &str = "shop-2-a";

/// A release of version 2 at half of the traffic, and what `podHealth` says.
fn half_way(pod_health: Value) -> World {
    let mut canary = routed(json!([{"setWeight": 50}, {"pause": {}}]));
    canary["podHealth"] = pod_health;
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    assert_eq!((world.waits_for(), world.weight()), ("UserPromotion", 50));
    world.events.clear();
    world
}

fn container() -> ContainerView {
    ContainerView {
        name: "app".into(),
        ends: 0,
        last_ends: Vec::new(),
        unready: None,
        unpulled: None,
        memory_limit: None,
    }
}

fn pod(world: &World, container: ContainerView) -> PodView {
    PodView {
        name: APP.into(),
        created_at: world.now,
        started_at: Some(world.now),
        is_excused: false,
        containers: vec![container],
    }
}

fn ago(world: &World, seconds: i64) -> Timestamp {
    Timestamp::from_second(world.now.as_second() - seconds).unwrap()
}

fn end(at: Timestamp, exit_code: i32, oom_killed: bool) -> End {
    End { at, exit_code, oom_killed }
}

/// Version 2 has this pod.
pub(crate) fn show(world: &mut World, pod: PodView) {
    show_of(world, 2, pod);
}

fn show_of(world: &mut World, version: u32, pod: PodView) {
    let hash = world.hash(version);
    let uid = world.sets().iter().find(|set| set.hash() == hash).unwrap().uid.clone();
    world.snapshot.pods = Observed::Present(BTreeMap::from([(uid, vec![pod])]));
}

pub(crate) fn oom_killed(world: &World) -> PodView {
    pod(
        world,
        ContainerView {
            ends: 1,
            last_ends: vec![end(world.now, 137, true)],
            memory_limit: Some("64Mi".into()),
            ..container()
        },
    )
}

/// One pod of version 2 is not ready, as its ReplicaSet says, too.
fn one_is_unready(world: &mut World) {
    let hash = world.hash(2);
    for set in world.sets_mut().iter_mut().filter(|set| set.hash() == hash) {
        (set.ready, set.available_reported) = (1, 1);
    }
}

fn is_aborted(world: &World) -> bool {
    world.status().abort
}

#[test]
fn one_kill_for_want_of_memory_aborts_and_names_pod_container_and_cause() {
    let mut world = half_way(Value::Null);
    let pod = oom_killed(&world);
    show(&mut world, pod);
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (0, 4, 0));
    let why = "pod shop-2-a, container app: OOMKilled (exit 137), memory limit 64Mi";
    let event = format!("RolloutAborted: Rollout aborted update to revision 2 at step 2/2, weight 50: {why}");
    assert!(world.events.contains(&event), "{:?}", world.events);
    assert!(world.status().message.contains(why), "{}", world.status().message);
    assert_eq!(world.status().headgate.as_ref().unwrap().abort_reason.as_deref(), Some(why));
}

#[test]
fn more_kills_for_want_of_memory_may_be_allowed() {
    let mut world = half_way(json!({"maxOomKills": 1}));
    let mut twice = oom_killed(&world);
    show(&mut world, twice.clone());
    world.settle();
    assert!(!is_aborted(&world));
    twice.containers[0].last_ends.push(end(world.now, 137, true));
    twice.containers[0].memory_limit = None;
    show(&mut world, twice);
    world.settle();
    assert!(world.status().message.contains("OOMKilled 2 times (exit 137), no memory limit"));
}

#[test]
fn the_sixth_end_within_five_minutes_aborts_and_the_fifth_does_not() {
    let mut world = half_way(Value::Null);
    let crashed = |ends: i32, world: &World| {
        pod(world, ContainerView { ends, last_ends: vec![end(world.now, 1, false)], ..container() })
    };
    let five = crashed(5, &world);
    show(&mut world, five);
    world.settle();
    assert!(!is_aborted(&world));
    let six = crashed(6, &world);
    show(&mut world, six);
    world.settle();
    assert!(
        world.status().message.contains("container app: ended 6 times within 300 s, last with exit 1"),
        "{}",
        world.status().message
    );
}

#[test]
fn of_a_pod_older_than_the_window_only_the_ends_that_were_seen_in_it_count() {
    let mut world = half_way(Value::Null);
    let mut old = pod(&world, ContainerView { ends: 100, ..container() });
    world.pass(1_000);
    old.containers[0].last_ends =
        (0..7).map(|number| end(ago(&world, 330 - number * 15), 1, false)).collect();
    show(&mut world, old.clone());
    world.settle();
    assert!(!is_aborted(&world), "five of these seven ends are in the window");
    old.containers[0].last_ends.push(end(world.now, 1, false));
    show(&mut world, old);
    world.settle();
    assert!(is_aborted(&world));
}

/// A pod of version 2 that has been unready since then, by a probe that asks every 10 s.
fn unready(world: &World, since: Timestamp, failure_threshold: i32) -> PodView {
    let unready = Some(Unready { since, period_seconds: 10, failure_threshold });
    pod(world, ContainerView { unready, ..container() })
}

/// Version 2 has this unready pod, and its ReplicaSet knows.
fn show_unready(world: &mut World, pod: PodView) {
    show(world, pod);
    one_is_unready(world);
    world.step();
}

/// Nothing happens up to the second before, and then the release is aborted.
fn is_aborted_after(world: &mut World, seconds: i64) {
    world.pass(seconds - 1);
    world.step();
    assert!(!is_aborted(world), "{}", world.status().message);
    world.pass(1);
    world.step();
    assert!(is_aborted(world), "not after {seconds} s");
}

#[test]
fn three_probes_that_fail_in_a_row_abort_once_the_next_one_has_not_brought_readiness_back() {
    let mut world = half_way(Value::Null);
    let since = world.now;
    let unready = unready(&world, since, 3);
    show(&mut world, unready);
    world.step();
    assert!(!is_aborted(&world), "the ReplicaSet says that all are ready: the pod may be old news");
    one_is_unready(&mut world);
    is_aborted_after(&mut world, 10);
    let why = format!(
        "pod shop-2-a, container app: was ready and has not been since {since}: at least 3 readiness probes failed in a row"
    );
    assert!(world.status().message.contains(&why), "{}", world.status().message);
}

#[test]
fn the_probes_that_the_kubelet_has_not_waited_for_are_waited_for_and_it_is_looked_at_just_then() {
    let mut world = half_way(Value::Null);
    world.pass(100);
    let since = world.now;
    let unready = unready(&world, since, 1);
    show_unready(&mut world, unready);
    let due = Timestamp::from_second(since.as_second() + 30).unwrap();
    assert_eq!(world.decide().wake_at, Some(due));
    is_aborted_after(&mut world, 30);
    assert!(
        world.status().message.contains("at least 3 readiness probes failed in a row"),
        "{}",
        world.status().message
    );
}

#[test]
fn more_failed_probes_than_the_kubelet_needs_may_be_allowed() {
    let mut world = half_way(json!({"failedProbes": 5}));
    let unready = unready(&world, world.now, 3);
    show_unready(&mut world, unready);
    is_aborted_after(&mut world, 30);
}

#[test]
fn of_fewer_failed_probes_than_the_kubelet_needs_nothing_is_known() {
    let mut world = half_way(json!({"failedProbes": 1}));
    let unready = unready(&world, world.now, 4);
    show_unready(&mut world, unready);
    is_aborted_after(&mut world, 10);
    assert!(
        world.status().message.contains("at least 4 readiness probes failed in a row"),
        "{}",
        world.status().message
    );
}

#[test]
fn pods_of_a_version_whose_name_was_taken_are_watched() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}, {"pause": {}}]))));
    release_with_taken_name(&mut world);
    world.settle_over_time();
    assert_eq!((world.status().collision_count, world.phase()), (Some(1), "Paused"), "{:#?}", world.status());
    let hash = world.status().current_pod_hash.clone();
    let pods = vec![oom_killed(&world)];
    let uid = world.sets().iter().find(|set| set.hash() == hash).unwrap().uid.clone();
    world.snapshot.pods = Observed::Present(BTreeMap::from([(uid, pods)]));
    world.settle();
    assert_eq!(world.phase(), "Degraded", "{:#?}", world.status());
}

#[test]
fn a_pod_that_flaps_begins_its_row_of_failed_probes_anew() {
    let mut world = half_way(Value::Null);
    let flapping = unready(&world, world.now, 1);
    show_unready(&mut world, flapping);
    world.pass(29);
    let ready = pod(&world, container());
    show(&mut world, ready);
    world.settle();
    world.pass(1);
    let flapping = unready(&world, world.now, 1);
    show_unready(&mut world, flapping);
    is_aborted_after(&mut world, 30);
}

#[test]
fn probes_that_failed_before_a_retry_do_not_count() {
    let mut world = half_way(Value::Null);
    let unready = unready(&world, world.now, 3);
    show_unready(&mut world, unready);
    is_aborted_after(&mut world, 10);
    world.pass(100);
    world.retry();
    world.settle();
    one_is_unready(&mut world);
    world.step();
    is_aborted_after(&mut world, 30);
}

#[test]
fn an_image_that_cannot_be_pulled_for_two_minutes_aborts() {
    let mut world = half_way(Value::Null);
    let unpulled =
        Unpulled { since: world.now, reason: "ErrImagePull".into(), image: "registry/shop:2".into() };
    let without = pod(&world, ContainerView { unpulled: Some(unpulled), ..container() });
    show(&mut world, without);
    one_is_unready(&mut world);
    world.step();
    world.pass(119);
    world.step();
    assert!(!is_aborted(&world));
    world.pass(1);
    world.step();
    let why = "pod shop-2-a, container app: image registry/shop:2 cannot be pulled for 120 s (ErrImagePull)";
    assert!(world.status().message.contains(why), "{}", world.status().message);
}

#[test]
fn pods_that_leave_condemn_nothing() {
    let mut world = half_way(Value::Null);
    let leaving = PodView { is_excused: true, ..oom_killed(&world) };
    show(&mut world, leaving);
    world.settle();
    assert_eq!((is_aborted(&world), world.weight()), (false, 50));
}

#[test]
fn the_spec_comes_before_the_flag_and_off_does_nothing() {
    for (flag, word, aborted) in [
        (PodHealthAction::Off, Value::Null, false),
        (PodHealthAction::Off, json!("abort"), true),
        (PodHealthAction::Abort, json!("off"), false),
    ] {
        let mut world = half_way(json!({ "action": word }));
        world.snapshot.pod_health = flag;
        let pod = oom_killed(&world);
        show(&mut world, pod);
        world.settle();
        assert_eq!(is_aborted(&world), aborted, "{flag:?} {word}");
    }
}

#[test]
fn with_pause_a_user_decides_and_what_was_seen_then_does_not_count_again() {
    let mut world = half_way(json!({"action": "pause"}));
    let steps = json!([{"setWeight": 50}, {"pause": {}}, {"pause": {}}]);
    world.edit(|spec| spec["strategy"]["canary"]["steps"] = steps);
    world.settle();
    let mut pod = oom_killed(&world);
    show(&mut world, pod.clone());
    world.settle();
    assert_eq!((world.phase(), world.waits_for(), world.weight()), ("Paused", "PodHealth", 50));
    let waiting = world.status().waiting.clone().unwrap();
    assert!(waiting.message.contains("pod shop-2-a, container app: OOMKilled"), "{waiting:?}");
    let said = |event: &&String| event.starts_with("UnhealthyPod: Rollout is paused: pod shop-2-a");
    assert_eq!(world.events.iter().filter(said).count(), 1, "{:?}", world.events);
    world.pass(60);
    world.promote();
    world.settle();
    assert_eq!((world.waits_for(), world.status().current_step_index), ("UserPromotion", Some(2)));
    pod.containers[0].last_ends.push(end(world.now, 137, true));
    show(&mut world, pod);
    world.settle();
    assert_eq!(world.waits_for(), "PodHealth", "another kill counts");
    world.pass(60);
    world.promote();
    world.settle_over_time();
    assert_eq!(world.phase(), "Healthy", "{}", world.status().message);
}

#[test]
fn a_retry_is_not_aborted_for_what_was_before_it() {
    let mut world = half_way(Value::Null);
    let mut pod = oom_killed(&world);
    show(&mut world, pod.clone());
    world.settle();
    assert!(is_aborted(&world));
    world.pass(10);
    world.retry();
    world.settle();
    assert_eq!((is_aborted(&world), world.weight()), (false, 50));
    pod.containers[0].last_ends.push(end(world.now, 137, true));
    show(&mut world, pod);
    world.settle();
    assert!(is_aborted(&world), "another kill counts");
}

#[test]
fn a_release_that_was_under_way_when_headgate_took_over_begins_with_the_next_revision() {
    let mut world = half_way(Value::Null);
    world.snapshot.rollout.status.headgate = None;
    let pod = oom_killed(&world);
    show(&mut world, pod);
    world.settle();
    assert_eq!((is_aborted(&world), world.weight()), (false, 50));
    world.release(3);
    world.settle();
    let memory = world.status().headgate.clone().unwrap();
    assert_eq!(memory.pod_health.unwrap().hash, world.hash(3));
}

#[test]
fn a_full_promotion_and_a_settled_version_are_not_judged() {
    let mut world = half_way(Value::Null);
    let pod = oom_killed(&world);
    show(&mut world, pod);
    world.promote_full();
    world.settle_over_time();
    assert_eq!((world.phase(), is_aborted(&world)), ("Healthy", false), "{}", world.status().message);
    assert_eq!(world.status().headgate.as_ref().unwrap().pod_health, None);
}

#[test]
fn an_unhealthy_pod_aborts_also_while_the_spec_waits_to_be_mended() {
    let mut world = half_way(Value::Null);
    world.snapshot.services.insert("shop-canary".into(), Observed::Absent);
    world.settle();
    assert_eq!(world.waits_for(), "MendSpec");
    let pod = oom_killed(&world);
    show(&mut world, pod);
    world.settle_over_time();
    assert_eq!((is_aborted(&world), world.weight()), (true, 0));
}

#[test]
fn a_rollback_within_the_window_is_aborted_by_no_pod_also_while_the_spec_is_wrong() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}, {"pause": {}}]))));
    world.edit(|spec| spec["rollbackWindow"] = json!({"revisions": 3}));
    world.pass(60);
    world.release(2);
    world.settle();
    world.promote_full();
    world.settle_over_time();
    world.pass(60);
    world.release(1);
    while world.pods(1) == 0 {
        world.step();
    }
    let (old, new) = (world.hash(2), world.hash(1));
    assert_eq!((&world.status().stable_rs, &world.status().current_pod_hash), (&old, &new));
    world.edit(|spec| spec["minReadySeconds"] = json!(-1));
    world.settle();
    assert_eq!(world.waits_for(), "MendSpec");
    let pod = oom_killed(&world);
    show_of(&mut world, 1, pod);
    world.settle();
    assert!(!is_aborted(&world), "{}", world.status().message);
}

#[test]
fn a_retry_that_waits_for_the_spec_to_be_mended_is_not_overwritten() {
    let mut world = half_way(Value::Null);
    let pod = oom_killed(&world);
    show(&mut world, pod);
    world.settle_over_time();
    assert!(is_aborted(&world));
    world.snapshot.services.insert("shop-canary".into(), Observed::Absent);
    world.settle();
    world.pass(10);
    world.retry();
    world.settle();
    assert_eq!((is_aborted(&world), world.waits_for()), (false, "MendSpec"));
    world.add_service("shop-canary");
    world.settle();
    assert_eq!((is_aborted(&world), world.weight()), (false, 50));
}

#[test]
fn what_is_not_known_of_pods_condemns_nothing() {
    let mut world = half_way(Value::Null);
    world.snapshot.pods = Observed::Unknown;
    world.settle();
    assert_eq!((is_aborted(&world), world.weight()), (false, 50));
}

#[test]
fn a_retry_that_is_aborted_at_once_says_why_it_was_this_time() {
    let mut world = half_way(json!({}));
    world.abort();
    world.settle();
    world.pass(10);
    world.events.clear();
    world.retry();
    let pod = oom_killed(&world);
    show(&mut world, pod);
    world.step();
    let message = world.status().message.clone();
    assert!(message.contains("OOMKilled"), "{message}");
    let told: Vec<&String> =
        world.events.iter().filter(|event| event.starts_with("RolloutAborted: ")).collect();
    assert!(matches!(told[..], [one] if one.contains("OOMKilled")), "{:#?}", world.events);
}
