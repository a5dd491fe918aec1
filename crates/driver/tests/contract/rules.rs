//! R2 to R6: guards, own writes, failures, names, and the order of effects.

use crate::script::{calls_since, replica_set, scale, scripted_world, unchanged};
use crate::server::refused;
use crate::world::{VIRTUAL_SERVICES, World, at, released, service, template, web};
use headgate_driver::io::{Call, Observation, Reply};
use headgate_driver::resources::{REPLICA_SETS, ROLLOUTS, SERVICES};
use headgate_model::{Decision, Effect, FailureClass, ReplicaSetPatch, Verb};
use jiff::SignedDuration;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Sends the change of a size from 2 to 3, and the request lands after others have set these sizes: what has come of it.
fn scaled_late(meanwhile: &[i32]) -> (World, i64) {
    let mut world =
        scripted_world(|snapshot| unchanged(snapshot, scale(snapshot, "a", 3).into_iter().collect()));
    let confirm = world.driver.poll(world.now);
    assert!(confirm.is_empty(), "nothing is known yet");
    world.deliver();
    for request in world.driver.poll(world.now) {
        world.carry_out(&request);
    }
    let patch = world.driver.poll(world.now);
    for size in meanwhile {
        world.edit(at(REPLICA_SETS, "a"), json!({ "spec": { "replicas": size } }));
    }
    for request in patch {
        world.carry_out(&request);
    }
    let size = world.get(&at(REPLICA_SETS, "a"))["spec"]["replicas"].as_i64().unwrap();
    (world, size)
}

#[test]
fn r2_a_size_that_somebody_else_has_changed_is_not_overwritten() {
    let (mut world, size) = scaled_late(&[7]);
    assert_eq!(size, 7);
    let look = world.driver.poll(world.now);
    assert_eq!(
        look.iter().map(|request| &request.call).collect::<Vec<_>>(),
        [&Call::Get(at(REPLICA_SETS, "a"))]
    );
    assert_eq!(world.driver.counters().effects.get(&("Scale", "Conflict")), Some(&1));
}

#[test]
fn r2_a_change_of_a_size_that_lands_when_it_was_made_and_taken_back_already_changes_nothing() {
    assert_eq!(scaled_late(&[]).1, 3);
    assert_eq!(scaled_late(&[3, 2]).1, 2);
}

#[test]
fn r2_after_a_conflict_the_rest_of_the_decision_is_dropped() {
    let mut world = scripted_world(|snapshot| {
        let effects = [scale(snapshot, "a", 3), scale(snapshot, "b", 1)];
        unchanged(snapshot, effects.into_iter().flatten().collect())
    });
    world.deliver();
    for request in world.driver.poll(world.now) {
        world.carry_out(&request);
    }
    world.edit(at(REPLICA_SETS, "a"), json!({ "spec": { "replicas": 7 } }));
    for request in world.driver.poll(world.now) {
        world.carry_out(&request);
    }
    for request in world.driver.poll(world.now) {
        world.carry_out(&request);
    }
    assert_eq!(world.written(), Vec::<String>::new(), "the shrink of b rested on the size of a");
}

#[test]
fn r2_a_replica_set_that_is_known_to_have_changed_is_decided_on_again_without_a_call() {
    let mut world = scripted_world(|snapshot| {
        let mut sets = snapshot.replica_sets.present().into_iter().flatten();
        let set = sets.find(|set| set.name == "a" && !set.annotations.contains_key("ours"));
        let annotations = BTreeMap::from([("ours".to_owned(), Some("1".to_owned()))]);
        let patch = set.map(|set| ReplicaSetPatch { annotations, ..ReplicaSetPatch::of(set) });
        unchanged(snapshot, patch.map(Effect::PatchReplicaSet).into_iter().collect())
    });
    world.deliver();
    let confirm = world.driver.poll(world.now);
    world.edit(at(REPLICA_SETS, "a"), json!({ "metadata": { "annotations": { "by": "user" } } }));
    world.deliver();
    for request in confirm {
        world.carry_out(&request);
    }
    let start = world.log.len();
    world.settle();
    let calls = calls_since(&world, start);
    assert_eq!(calls.iter().filter(|call| *call == "patch a").count(), 1, "{calls:?}");
    let annotations = &world.get(&at(REPLICA_SETS, "a"))["metadata"]["annotations"];
    assert_eq!(*annotations, json!({ "by": "user", "ours": "1" }));
}

#[test]
fn r2_an_edit_of_a_route_at_the_same_time_survives_and_the_weights_follow() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    let mut edited = false;
    for _ in 0..200 {
        if world.pods_start {
            world.server.kubelet(world.now);
        }
        world.deliver();
        for request in world.driver.poll(world.now) {
            let is_route =
                matches!(&request.call, Call::Patch { target, .. } if target.resource == VIRTUAL_SERVICES);
            if is_route && !edited {
                edited = true;
                let mut http = world.get(&at(VIRTUAL_SERVICES, "web"))["spec"]["http"].clone();
                http[0]["timeout"] = json!("7s");
                world.edit(at(VIRTUAL_SERVICES, "web"), json!({ "spec": { "http": http } }));
            }
            world.carry_out(&request);
        }
        world.now += SignedDuration::from_secs(1);
    }
    assert!(edited);
    assert_eq!(world.get(&at(VIRTUAL_SERVICES, "web"))["spec"]["http"][0]["timeout"], "7s");
    assert_eq!(world.phase(), "Healthy");
    assert_eq!(world.driver.counters().effects.get(&("Route", "Conflict")), Some(&1));
}

#[test]
fn r2_what_the_rollout_does_not_own_is_never_touched() {
    let mut world = scripted_world(|snapshot| {
        let delete = Effect::DeleteReplicaSet { name: "theirs".to_owned(), uid: "uid-9".to_owned() };
        unchanged(snapshot, vec![delete])
    });
    while world.server.version_of(&at(SERVICES, "s7")).is_empty() {
        let name = format!("s{}", world.server.objects.len());
        world.create(SERVICES, service(&name));
    }
    world.create(REPLICA_SETS, replica_set("theirs", "uid-of-another", 1));
    assert_eq!(world.get(&at(REPLICA_SETS, "theirs"))["metadata"]["uid"], "uid-9");
    world.run(120);
    assert!(world.server.objects.contains_key(&at(REPLICA_SETS, "theirs")));
    assert!(world.driver.counters().failures(FailureClass::Bug) > 0);
}

#[test]
fn r3_an_own_write_is_seen_before_the_watch_delivers_it() {
    let mut world =
        scripted_world(|snapshot| unchanged(snapshot, scale(snapshot, "a", 3).into_iter().collect()));
    world.settle();
    world.watch_delay = SignedDuration::from_mins(10);
    world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "wake": "" } } }));
    world.run(60);
    assert_eq!(world.written(), ["patch ReplicaSet a"]);
}

#[test]
fn r3_what_was_deleted_stays_away_when_an_older_event_comes_late() {
    let mut world = scripted_world(|snapshot| {
        let sets = snapshot.replica_sets.present().unwrap();
        let delete =
            |set: &&headgate_model::ReplicaSetView| set.name == "b" && !set.labels.contains_key("keep");
        let delete = sets
            .iter()
            .find(delete)
            .map(|set| Effect::DeleteReplicaSet { name: set.name.clone(), uid: set.uid.clone() });
        unchanged(snapshot, delete.into_iter().collect())
    });
    world.deliver();
    world.watch_delay = SignedDuration::from_secs(30);
    // An event of the time before the deletion is under way when it happens.
    world.server.kubelet(world.now);
    world.deliver();
    world.now += SignedDuration::from_secs(5);
    world.run(150);
    assert_eq!(world.written(), ["delete ReplicaSet b"]);
    assert_eq!(world.driver.counters().effects.get(&("DeleteReplicaSet", "Done")), Some(&1));
}

#[test]
fn r3_after_a_take_over_live_reads_come_before_the_first_write() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.list_lag = 3;
    world.restart();
    let start = world.log.len();
    world.watch_delay = SignedDuration::from_mins(10);
    world.settle();
    let calls = calls_since(&world, start);
    let first_write =
        calls.iter().position(|call| !call.starts_with("get") && !call.starts_with("list")).unwrap();
    let before: Vec<&str> = calls[..first_write].iter().map(String::as_str).collect();
    for read in ["get web", "get web-stable", "get web-canary", "list replicasets", "list analysisruns"] {
        assert!(before.contains(&read), "{read} is missing in {before:?}");
    }
}

#[test]
fn r3_a_list_from_before_the_first_record_proves_nothing() {
    let mut world = released();
    world.list_lag = 1_000_000;
    world.watch_delay = SignedDuration::from_mins(10);
    world.restart();
    // The Rollout arrives as it was created; the ReplicaSets of its release are not known.
    let mut created = world.rollout().clone();
    created["status"] = json!({});
    created["metadata"]["resourceVersion"] = json!("1");
    world.driver.observe(Observation::Applied(ROLLOUTS, created), world.now);
    let start = world.log.len();
    world.settle();
    let calls = calls_since(&world, start);
    assert!(calls.contains(&"list replicasets".to_owned()), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.starts_with("create ReplicaSet")).count(), 0, "{calls:?}");
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn r3_what_may_not_be_read_live_is_unknown_and_read_again() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    let is_service = |call: &Call| matches!(call, Call::Get(target) if target.name == "web-canary");
    world.refuse(is_service, refused(403, "Forbidden"));
    world.restart();
    world.run(60);
    assert_ne!(world.phase(), "Healthy");
    world.server.refusals.clear();
    world.run(200);
    assert_eq!(world.phase(), "Healthy", "{:#}", world.rollout()["status"]);
}

#[test]
fn r3_after_a_take_over_nothing_is_done_while_a_busy_server_keeps_an_object_from_being_read() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    let left = std::cell::Cell::new(2);
    let is_busy = move |call: &Call| {
        let is_service = matches!(call, Call::Get(target) if target.name == "web-stable");
        is_service && left.replace(left.get() - i32::from(left.get() > 0)) > 0
    };
    world.refuse(is_busy, refused(500, "InternalError"));
    let start = world.log.len();
    world.restart();
    world.run(20);
    let calls = calls_since(&world, start);
    let writes =
        calls.iter().position(|call| ["create", "patch", "record"].iter().any(|verb| call.starts_with(verb)));
    let reads = |before: usize| calls.iter().take(before).filter(|call| call.contains("web-stable")).count();
    assert_eq!(writes.map(reads), Some(3), "{calls:?}");
    world.run(120);
    assert_eq!(world.phase(), "Healthy");
}

/// What hangs behind one object, for example the webhook that converts it, is no reason to leave a bad version with its traffic.
#[test]
fn r3_after_a_take_over_an_object_whose_reads_are_never_answered_holds_up_no_abort() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(5);
    let is_service = |call: &Call| matches!(call, Call::Get(target) if target.name == "web-stable");
    world.refuse(is_service, refused(503, "ServiceUnavailable"));
    world.restart();
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
    world.run(60);
    assert_eq!(world.phase(), "Degraded", "{:#}", world.rollout()["status"]);
}

#[test]
fn r3_a_look_that_is_refused_and_not_forbidden_lets_nothing_be_forgotten() {
    for (code, reason) in
        [(409, "Conflict"), (422, "Invalid"), (429, "TooManyRequests"), (500, "InternalError")]
    {
        let mut world = released();
        let is_first = std::cell::Cell::new(true);
        let route = at(VIRTUAL_SERVICES, "web");
        let read = route.clone();
        let loses_a_race = move |call: &Call| {
            matches!(call, Call::Patch { target, .. } if *target == route) && is_first.replace(false)
        };
        world.refuse(loses_a_race, refused(409, "Conflict"));
        world.refuse(move |call| matches!(call, Call::Get(target) if *target == read), refused(code, reason));
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
        world.run(120);
        assert_eq!(world.phase(), "Healthy", "{reason}: {:#}", world.rollout()["status"]);
    }
}

#[test]
fn r3_a_standby_sends_nothing() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    let mut standby = world.standby();
    assert!(standby.is_synced());
    assert_eq!(standby.poll(world.now), []);
    assert_eq!(standby.wake_at(), None);
    standby.lead(world.now);
    assert_ne!(standby.poll(world.now), []);
}

#[test]
fn r3_a_standby_keeps_nothing_of_rollouts_that_come_and_go() {
    let mut world = released();
    let mut standby = world.standby();
    let is_named = |call: &Call| matches!(call, Call::Get(target) if target.name.starts_with("passing"));
    for index in 0..3 {
        let mut rollout = world.rollout().clone();
        rollout["metadata"]["name"] = json!(format!("passing-{index}"));
        rollout["metadata"]["uid"] = json!(format!("uid-of-passing-{index}"));
        rollout["spec"]["strategy"]["canary"]["stableService"] = json!(format!("passing-{index}"));
        standby.observe(Observation::Applied(ROLLOUTS, rollout.clone()), world.now);
        if index > 0 {
            standby.observe(Observation::Deleted(ROLLOUTS, rollout), world.now);
        }
    }
    standby.lead(world.now);
    let calls = standby.poll(world.now).into_iter().map(|request| request.call);
    let read: Vec<Call> = calls.filter(is_named).collect();
    let stays = |call: &Call| matches!(call, Call::Get(target) if target.name == "passing-0");
    assert!(!read.is_empty() && read.iter().all(stays), "{read:?}");
}

#[test]
fn r4_a_failure_is_input_of_the_next_decision_and_is_tried_again_ever_more_slowly() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let mut world = scripted_world(move |snapshot| {
        log.lock()
            .unwrap()
            .extend(snapshot.failures.values().map(|failure| (failure.class, failure.attempts)));
        unchanged(snapshot, scale(snapshot, "a", 3).into_iter().collect())
    });
    world.refuse(
        |call| matches!(call, Call::Patch { target, .. } if target.name == "a"),
        refused(403, "Forbidden"),
    );
    world.run(300);
    let tries =
        world.log.iter().filter(|call| matches!(call, Call::Patch { target, .. } if target.name == "a"));
    let tries = tries.count();
    assert!((6..=14).contains(&tries), "{tries} tries in 300 s");
    assert!(seen.lock().unwrap().contains(&(FailureClass::Forbidden, 3)));
    world.server.refusals.clear();
    world.run(90);
    assert_eq!(world.get(&at(REPLICA_SETS, "a"))["spec"]["replicas"], 3);
}

#[test]
fn r4_an_effect_that_fails_does_not_hold_up_the_others() {
    let mut world = scripted_world(|snapshot| {
        let effects = [scale(snapshot, "a", 3), scale(snapshot, "b", 1)];
        unchanged(snapshot, effects.into_iter().flatten().collect())
    });
    world.refuse(
        |call| matches!(call, Call::Patch { target, .. } if target.name == "a"),
        refused(403, "Forbidden"),
    );
    world.settle();
    assert_eq!(world.get(&at(REPLICA_SETS, "b"))["spec"]["replicas"], 1);
}

#[test]
fn r4_a_kind_that_is_not_known_yet_is_unknown_and_one_that_is_not_installed_has_no_objects() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let mut world = scripted_world(move |snapshot| {
        log.lock().unwrap().extend(snapshot.routers.iter().map(|router| router.state.clone()));
        unchanged(snapshot, Vec::new())
    });
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": crate::world::routed()["spec"] }));
    world.driver.observe(Observation::NotInstalled(VIRTUAL_SERVICES), world.now);
    world.settle();
    let last = seen.lock().unwrap().last().cloned().unwrap();
    assert!(matches!(last, Err(headgate_model::RouterProblem::Missing { .. })), "{last:?}");
}

#[test]
fn r5_an_object_of_that_name_is_adopted_awaited_or_avoided() {
    for (owner, expected) in [
        ("ours", None),
        ("uid-of-a-rollout-that-is-gone", Some(FailureClass::Transient)),
        ("of-another-kind", Some(FailureClass::AlreadyExists)),
    ] {
        let seen = Arc::new(Mutex::new(None));
        let log = Arc::clone(&seen);
        let mut world = scripted_world(move |snapshot| {
            *log.lock().unwrap() = snapshot.failures.values().next().map(|failure| failure.class);
            let there = snapshot.replica_sets.present().unwrap().iter().any(|set| set.name == "c");
            let create = Effect::CreateReplicaSet { manifest: replica_set("c", &snapshot.rollout.uid, 0) };
            unchanged(snapshot, if there { Vec::new() } else { vec![create] })
        });
        world.watch_delay = SignedDuration::from_mins(10);
        world.deliver();
        let uid = world.rollout()["metadata"]["uid"].as_str().unwrap().to_owned();
        let mut existing = replica_set("c", if owner == "ours" { &uid } else { owner }, 0);
        if owner == "of-another-kind" {
            existing["metadata"]["ownerReferences"][0]["kind"] = json!("Deployment");
        }
        world.create(REPLICA_SETS, existing);
        world.watch_delay = SignedDuration::ZERO;
        world.restart();
        world.driver.observe(
            Observation::Deleted(REPLICA_SETS, world.get(&at(REPLICA_SETS, "c")).clone()),
            world.now,
        );
        world.watch_delay = SignedDuration::from_mins(10);
        world.run(20);
        assert_eq!(*seen.lock().unwrap(), expected, "{owner}");
    }
}

#[test]
fn r6_a_decision_that_breaks_the_order_is_not_carried_out_and_holds_that_rollout_alone() {
    let mut world = scripted_world(|snapshot| {
        if snapshot.rollout.name == "web" {
            let effects = [scale(snapshot, "a", 0), scale(snapshot, "b", 9)];
            return unchanged(snapshot, effects.into_iter().flatten().collect());
        }
        let mut record = snapshot.rollout.status.clone();
        record.message = "decided".to_owned();
        Decision { record, effects: Vec::new(), wake_at: None }
    });
    let mut other = web();
    other["metadata"]["name"] = json!("other");
    world.create(ROLLOUTS, other);
    world.run(10);
    assert_eq!(world.get(&at(REPLICA_SETS, "a"))["spec"]["replicas"], 2);
    assert_eq!(world.get(&at(REPLICA_SETS, "b"))["spec"]["replicas"], 2);
    assert_eq!(world.phase(), "Degraded");
    let message = world.rollout()["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("InternalError: "), "{message}");
    assert_eq!(world.get(&at(ROLLOUTS, "other"))["status"]["message"], "decided");
    assert_eq!(world.events("InternalError"), 1);
}

#[test]
fn r6_a_panic_of_the_engine_holds_that_rollout_alone() {
    let mut world = scripted_world(|snapshot| {
        assert!(snapshot.rollout.name != "web", "the test's engine panics");
        let mut record = snapshot.rollout.status.clone();
        record.message = "decided".to_owned();
        Decision { record, effects: Vec::new(), wake_at: None }
    });
    let mut other = web();
    other["metadata"]["name"] = json!("other");
    world.create(ROLLOUTS, other);
    world.run(10);
    assert_eq!(world.phase(), "Degraded");
    assert_eq!(world.get(&at(ROLLOUTS, "other"))["status"]["message"], "decided");
}

/// Version 2 is aborted, and each change of a Service takes this long then: for how many seconds version 2 keeps its pods
/// after the last one.
fn drain_time_of_version_2(way: SignedDuration) -> i64 {
    let mut world = released();
    let canary = json!({ "abortScaleDownDelaySeconds": 5 });
    world.edit(
        at(ROLLOUTS, "web"),
        json!({ "spec": { "template": template("2"), "strategy": { "canary": canary } } }),
    );
    world.run(5);
    let hash = world.rollout()["status"]["currentPodHash"].as_str().unwrap();
    let second = at(REPLICA_SETS, &format!("web-{hash}"));
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
    let is_of_a_service =
        |call: &Call| matches!(call, Call::Patch { target, .. } if target.resource == SERVICES);
    let mut on_their_way = Vec::new();
    let mut switched_at = world.now;
    for _ in 0..2_000 {
        if world.get(&second)["spec"]["replicas"] == 0 {
            break;
        }
        world.deliver();
        let requests = world.driver.poll(world.now);
        if requests.is_empty() {
            world.now += SignedDuration::from_secs(1);
            world.server.kubelet(world.now);
        }
        let (of_services, others): (Vec<_>, Vec<_>) =
            requests.into_iter().partition(|request| is_of_a_service(&request.call));
        on_their_way.extend(of_services.into_iter().map(|request| (world.now + way, request)));
        let due = on_their_way.extract_if(.., |(at, _)| *at <= world.now).map(|(_, request)| request);
        for request in due.collect::<Vec<_>>() {
            switched_at = world.now;
            world.carry_out(&request);
        }
        for request in others {
            world.carry_out(&request);
        }
    }
    assert_eq!((world.phase(), on_their_way.len()), ("Degraded", 0));
    world.now.duration_since(switched_at).as_secs()
}

#[test]
fn r6_drain_time_counts_from_when_a_service_was_led_elsewhere() {
    for seconds in [4, 9, 60] {
        let drained = drain_time_of_version_2(SignedDuration::from_secs(seconds));
        assert!(drained >= 5, "a change of a Service takes {seconds} s: pods go {drained} s after it");
    }
}

#[test]
fn a_lost_answer_is_looked_at_before_anything_else_is_decided() {
    let mut world =
        scripted_world(|snapshot| unchanged(snapshot, scale(snapshot, "a", 3).into_iter().collect()));
    world.deliver();
    for request in world.driver.poll(world.now) {
        world.carry_out(&request);
    }
    for request in world.driver.poll(world.now) {
        world.execute(&request.call);
        world.driver.reply(request.id, Reply::Lost("connection reset".to_owned()), world.now);
    }
    let next = world.driver.poll(world.now);
    assert_eq!(
        next.iter().map(|request| &request.call).collect::<Vec<_>>(),
        [&Call::Get(at(REPLICA_SETS, "a"))]
    );
    for request in next {
        world.carry_out(&request);
    }
    world.run(60);
    assert_eq!(world.written(), ["patch ReplicaSet a"]);
}

#[test]
fn r4_a_failure_of_what_is_no_longer_wanted_is_forgotten_without_another_event() {
    let mut world = scripted_world(|snapshot| {
        let is_wanted = !snapshot.rollout.annotations.contains_key("stay");
        let mut decision =
            unchanged(snapshot, scale(snapshot, "a", 3).filter(|_| is_wanted).into_iter().collect());
        let scaling = snapshot.failures.keys().any(|key| key.verb == Verb::Scale);
        decision.record.message = if scaling { "refused" } else { "fine" }.to_owned();
        decision
    });
    world.refuse(
        |call| matches!(call, Call::Patch { target, .. } if target.resource == REPLICA_SETS),
        refused(403, "Forbidden"),
    );
    world.run(10);
    assert_eq!(world.rollout()["status"]["message"], "refused");
    world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "stay": "" } } }));
    world.run(300);
    assert_eq!(world.rollout()["status"]["message"], "fine");
    let start = world.log.len();
    world.run(3_600);
    assert_eq!(calls_since(&world, start), Vec::<String>::new());
}
