//! Restarts: pods that are older than `spec.restartAt` are evicted, as far as others can stand in for them.

use crate::world::{World, routed, spec};
use headgate_engine::{PodsWanted, wants_pods};
use headgate_model::template::PodMetadata;
use headgate_model::{
    Decision, Effect, EffectKey, Failure, FailureClass, Observed, ReplicaSetView, RunningPod, Timestamp, Verb,
};
use proptest::prelude::{Strategy, any};
use proptest::{prop_assert, proptest};
use serde_json::{Value, json};

const STEPS: &str = r#"[{"setWeight": 50}, {"pause": {}}]"#;

fn steps() -> Value {
    serde_json::from_str(STEPS).unwrap()
}

fn ago(world: &World, seconds: i64) -> Timestamp {
    Timestamp::from_second(world.now.as_second() - seconds).unwrap()
}

/// A pod of this ReplicaSet, as old as the world, and available.
fn pod(world: &World, set: &ReplicaSetView, index: i32) -> RunningPod {
    let name = format!("{}-{index}", set.name);
    RunningPod {
        uid: format!("uid of {name}"),
        name,
        set_uid: set.uid.clone(),
        created_at: ago(world, 100),
        ready_since: Some(ago(world, 90)),
        is_leaving: false,
        resource_version: String::new(),
        metadata: PodMetadata::default(),
    }
}

/// All pods that are wanted, available.
fn all(world: &World) -> Vec<RunningPod> {
    let of = |set: &ReplicaSetView| -> Vec<RunningPod> {
        (0..set.replicas).map(|index| pod(world, set, index)).collect()
    };
    world.sets().iter().flat_map(of).collect()
}

fn wanted(world: &World) -> PodsWanted {
    wants_pods(&world.snapshot, world.status(), world.now)
}

/// Asks for a restart of all pods that are older than so many seconds.
fn ask(world: &mut World, seconds_ago: i64) {
    let at = ago(world, seconds_ago).to_string();
    world.edit(|spec| spec["restartAt"] = json!(at));
    world.settle();
}

/// The decision that knows these pods.
fn knowing(world: &mut World, pods: Vec<RunningPod>) -> Decision {
    world.snapshot.running = Observed::Present(pods);
    let decision = world.decide();
    world.snapshot.running = Observed::Unknown;
    decision
}

fn evicted(decision: &Decision) -> Vec<String> {
    let name = |effect: &Effect| match effect {
        Effect::EvictPod { name, .. } => Some(name.clone()),
        _ => None,
    };
    decision.effects.iter().filter_map(name).collect()
}

/// Version 1 runs so many pods without a router and is to be restarted.
fn plain(replicas: i32, max_unavailable: i32) -> World {
    let mut world = World::running(spec(replicas, json!({"maxUnavailable": max_unavailable, "maxSurge": 1})));
    ask(&mut world, 50);
    world
}

#[test]
fn pods_of_a_deployment_stay_while_one_of_the_rollout_that_takes_over_is_evicted() {
    let mut world = World::new(spec(3, json!({ "steps": steps(), "maxUnavailable": 0 })));
    world.refer_to_deployment(4, "onsuccess");
    world.settle();
    assert_eq!((world.phase(), world.deployment()), ("Healthy", 4));
    ask(&mut world, 0);
    world.pass(60);
    let pods = all(&world);
    let effects = knowing(&mut world, pods).effects;
    let is_eviction = |effect: &Effect| matches!(effect, Effect::EvictPod { .. });
    let hands_over = |effect: &Effect| matches!(effect, Effect::ScaleWorkload { .. });
    assert!(effects.iter().any(is_eviction) && !effects.iter().any(hands_over), "{effects:#?}");
    world.edit(|spec| spec["restartAt"] = Value::Null);
    world.settle_over_time();
    assert_eq!((world.phase(), world.deployment()), ("Healthy", 0));
}

#[test]
fn a_restart_that_lasts_longer_than_the_deadline_goes_on_while_pods_are_replaced() {
    let mut world = plain(4, 2);
    let (first, old) = (world.hash(1), all(&world));
    for replaced in 0..4 {
        // One is always on its way: the Rollout is never healthy in between.
        world.kill_pods(&first, 3);
        let mut pods = old.clone();
        for pod in &mut pods[..=replaced] {
            pod.created_at = world.now;
        }
        pods[replaced].ready_since = None;
        let decision = knowing(&mut world, pods);
        world.carry_out(&decision, 0);
        assert_eq!(world.phase(), "Progressing", "{}", world.status().message);
        world.pass(400);
    }
}

#[test]
fn as_many_are_evicted_as_max_unavailable_allows_and_at_least_one() {
    for (replicas, max_unavailable, expected) in
        [(4, 1, 1), (4, 0, 1), (4, 2, 2), (4, 4, 4), (1, 0, 1), (20, 20, 10)]
    {
        let mut world = plain(replicas, max_unavailable);
        let pods = all(&world);
        let count = evicted(&knowing(&mut world, pods)).len();
        assert_eq!(count, expected, "{replicas} pods, maxUnavailable {max_unavailable}");
    }
}

#[test]
fn pods_that_leave_or_are_not_ready_for_long_enough_count_as_unavailable() {
    type Change = fn(&mut RunningPod, Timestamp);
    let cases: [(&str, Change); 3] = [
        ("leaves", |pod, _| pod.is_leaving = true),
        ("is young and not ready", |pod, now| (pod.created_at, pod.ready_since) = (now, None)),
        ("is young and has just become ready", |pod, now| {
            (pod.created_at, pod.ready_since) = (now, Some(now));
        }),
    ];
    for (what, change) in cases {
        let mut world = plain(4, 1);
        world.edit(|spec| spec["minReadySeconds"] = json!(10));
        world.settle();
        let mut pods = all(&world);
        change(&mut pods[0], world.now);
        assert_eq!(evicted(&knowing(&mut world, pods)), [""; 0], "one {what}");
    }
}

#[test]
fn an_old_pod_that_is_not_ready_goes_first_and_costs_nothing() {
    let mut world = plain(4, 1);
    let mut pods = all(&world);
    pods[2].ready_since = None;
    let first = pods[2].name.clone();
    assert_eq!(evicted(&knowing(&mut world, pods.clone())), [first.as_str()]);
    pods[3].ready_since = None;
    assert_eq!(evicted(&knowing(&mut world, pods)), [""; 0], "when too few are available none is touched");
}

#[test]
fn stable_pods_come_before_those_of_the_newest_version_and_the_oldest_first() {
    let mut canary = routed(steps());
    canary["maxUnavailable"] = json!(4);
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2)), (4, 2));
    ask(&mut world, 50);
    let mut pods = all(&world);
    pods[3].created_at = ago(&world, 200);
    let names: Vec<String> = pods.iter().map(|pod| pod.name.clone()).collect();
    let chosen = evicted(&knowing(&mut world, pods));
    assert_eq!(chosen, [3, 0, 1, 4].map(|index| names[index].clone()), "of each version one serves on");
}

#[test]
fn it_is_done_when_no_older_pod_is_left() {
    let mut world = plain(2, 1);
    assert_eq!((world.phase(), world.status().message.as_str()), ("Progressing", "rollout is restarting"));
    assert_eq!(world.waits_for(), "Restart");
    let at = ago(&world, 50);
    let mut pods = all(&world);
    pods[0].created_at = world.now;
    pods[1].is_leaving = true;
    let decision = knowing(&mut world, pods.clone());
    assert_eq!(
        (evicted(&decision).len(), decision.record.restarted_at),
        (0, None),
        "an old one still leaves"
    );
    pods[1] = RunningPod { created_at: at, ..pods[0].clone() };
    let decision = knowing(&mut world, pods);
    assert_eq!(decision.record.restarted_at.as_ref().map(|done| done.0), Some(at));
    world.carry_out(&decision, usize::MAX);
    world.settle();
    assert_eq!((world.phase(), world.waits_for()), ("Healthy", ""));
    assert_eq!(wanted(&world), PodsWanted::No);
}

#[test]
fn a_restart_to_come_wakes_at_its_time_and_changes_nothing_before() {
    let mut world = World::running(spec(2, json!({})));
    ask(&mut world, -100);
    assert_eq!((world.phase(), world.waits_for()), ("Healthy", ""));
    let at = ago(&world, -100);
    assert_eq!(world.decide().wake_at, Some(at));
    let pods = all(&world);
    assert_eq!(evicted(&knowing(&mut world, pods.clone())), [""; 0]);
    world.now = at;
    assert_eq!(wanted(&world), PodsWanted::Again);
    assert_eq!(evicted(&knowing(&mut world, pods)).len(), 1);
}

#[test]
fn a_new_version_ends_a_restart_but_not_one_that_is_still_to_come() {
    for (seconds_ago, is_ended) in [(50, true), (-5_000, false)] {
        let mut world = World::running(spec(2, routed(steps())));
        ask(&mut world, seconds_ago);
        world.release(2);
        world.settle();
        assert_eq!(world.status().restarted_at.is_some(), is_ended, "{seconds_ago}");
    }
}

#[test]
fn pauses_and_aborts_do_not_hold_it_up() {
    type Act = fn(&mut World);
    let acts: [(&str, Act); 3] = [
        ("a pause of a step", |_| {}),
        ("a pause of the user", |world| world.pause(true)),
        ("an abort", World::abort),
    ];
    for (what, act) in acts {
        let mut world = World::running(spec(4, routed(steps())));
        world.release(2);
        world.settle();
        act(&mut world);
        world.settle();
        let phase = world.phase();
        ask(&mut world, 50);
        assert_eq!(world.phase(), phase, "{what} is what people are told");
        let pods = all(&world);
        assert_eq!(evicted(&knowing(&mut world, pods)).len(), 1, "{what}");
    }
}

#[test]
fn nothing_is_evicted_while_traffic_moves_or_a_route_cannot_be_read_or_the_spec_is_refused() {
    let half_way = || {
        let mut world = World::running(spec(4, routed(steps())));
        world.release(2);
        world.settle();
        ask(&mut world, 50);
        world
    };
    let pods = |world: &World| all(world);
    let mut world = half_way();
    world.drift(10, 10);
    let known = pods(&world);
    let decision = knowing(&mut world, known);
    assert!(decision.effects.iter().any(|effect| matches!(effect, Effect::Route { .. })));
    assert_eq!(evicted(&decision), [""; 0]);

    let mut world = half_way();
    world.hide_route(1, true);
    let known = pods(&world);
    assert_eq!(evicted(&knowing(&mut world, known)), [""; 0]);

    let mut world = half_way();
    world.edit(|spec| spec["strategy"]["canary"]["steps"][0]["setWeight"] = json!(150));
    world.settle();
    let known = pods(&world);
    assert_eq!(evicted(&knowing(&mut world, known)), [""; 0]);
    assert_eq!(wanted(&world), PodsWanted::No);
}

#[test]
fn the_only_pod_of_a_version_that_serves_stays_until_the_version_has_another_one() {
    let steps = json!([{"setWeight": 25}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    ask(&mut world, 50);
    let mut pods = all(&world);
    let stable = world.hash(1);
    let uid = world.sets().iter().find(|set| set.hash() == stable).unwrap().uid.clone();
    let now = world.now;
    pods.iter_mut().filter(|pod| pod.set_uid == uid).for_each(|pod| pod.created_at = now);
    assert_eq!((world.pods(2), evicted(&knowing(&mut world, pods.clone()))), (1, vec![]));
    world.promote_full();
    world.settle();
    world.settle_over_time();
    assert_eq!(world.pods(2), 4);
    let old = pods.into_iter().find(|pod| pod.set_uid != uid).unwrap();
    let name = old.name.clone();
    let mut pods: Vec<RunningPod> = all(&world);
    pods.iter_mut().for_each(|pod| pod.created_at = now);
    let same = pods.iter_mut().find(|pod| pod.name == name).unwrap();
    *same = old;
    assert_eq!(evicted(&knowing(&mut world, pods)), [name], "the release has given it others");
}

#[test]
fn a_budget_that_refuses_is_named_without_its_numbers() {
    let mut world = plain(4, 1);
    let refused = |message: &str, attempts| {
        let key = EffectKey::new(Verb::EvictPod, "shop");
        let class = FailureClass::Transient;
        let since = Timestamp::UNIX_EPOCH;
        [(key, Failure { class, message: message.into(), since, attempts, told: false, held: Vec::new() })]
            .into()
    };
    let said = "Cannot evict pod as it would violate the pod's disruption budget.";
    for (message, attempts, expected) in [
        (
            format!("{said} The disruption budget web needs 4 healthy pods and has 4 currently"),
            1,
            "PodDisruptionBudget web keeps pods that were created before",
        ),
        (said.to_owned(), 50, "a PodDisruptionBudget keeps pods that were created before"),
        ("too many requests".to_owned(), 1, "pods that were created before"),
        ("too many requests".to_owned(), 3, "EvictPod of shop is refused: too many requests"),
    ] {
        world.snapshot.failures = refused(&message, attempts);
        let waiting = world.decide().record.waiting.unwrap();
        assert!(waiting.message.starts_with(expected), "{}", waiting.message);
        assert!(!waiting.message.contains("healthy"), "{}", waiting.message);
    }
}

/// Any pods of a version of four: age, readiness, leaving.
fn some_pods() -> impl Strategy<Value = Vec<(bool, bool, bool)>> {
    proptest::collection::vec(any::<(bool, bool, bool)>(), 0..8)
}

proptest! {
    /// Invariant 3: whatever the pods are like, no eviction leaves fewer than N − max(maxUnavailable, 1) available, none is
    /// young, and none leaves already.
    #[test]
    fn no_eviction_takes_a_pod_that_cannot_be_missed(
        pods in some_pods(), replicas in 1..6i32, max_unavailable in 0..6i32,
    ) {
        let mut world = plain(replicas, max_unavailable);
        let (set, now) = (world.sets()[0].clone(), world.now);
        let pods: Vec<RunningPod> = pods.into_iter().zip(0..).map(|((is_old, is_ready, is_leaving), index)| {
            let mut pod = pod(&world, &set, index);
            pod.created_at = if is_old { pod.created_at } else { now };
            pod.ready_since = pod.ready_since.filter(|_| is_ready);
            pod.is_leaving = is_leaving;
            pod
        }).collect();
        let names = evicted(&knowing(&mut world, pods.clone()));
        let available = |pods: &mut dyn Iterator<Item = &RunningPod>| {
            i32::try_from(pods.filter(|pod| pod.is_available(0, now)).count()).unwrap()
        };
        let before = available(&mut pods.iter());
        let left = available(&mut pods.iter().filter(|pod| !names.contains(&pod.name)));
        let least = replicas - max_unavailable.min(replicas).max(1);
        prop_assert!(left == before || left.min(replicas) >= least, "{names:?} of {pods:?}");
        let is_wrong = |pod: &&RunningPod| names.contains(&pod.name) && (pod.is_leaving || pod.created_at >= now);
        prop_assert!(!pods.iter().any(|pod| is_wrong(&pod)));
    }
}
