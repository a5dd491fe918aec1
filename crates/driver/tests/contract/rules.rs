//! R1 to R6: who may write what, and when.

use crate::server::{Author, refused};
use crate::world::{VIRTUAL_SERVICES, World, at, released, scripted, service, template, web};
use headgate_driver::io::{Call, Observation, Patch, Reply};
use headgate_driver::resources::{REPLICA_SETS, ROLLOUTS, SERVICES};
use headgate_model::{
    Decision, Destination, Direction, Effect, FailureClass, RouterConfig, Snapshot, TrafficIntent,
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// The stored record, and these effects.
fn unchanged(snapshot: &Snapshot, effects: Vec<Effect>) -> Decision {
    Decision { record: snapshot.rollout.status.clone(), effects, wake_at: None }
}

fn scale(snapshot: &Snapshot, name: &str, to: i32) -> Option<Effect> {
    let set = snapshot.replica_sets.present()?.iter().find(|set| set.name == name && set.replicas != to)?;
    Some(Effect::Scale { name: set.name.clone(), uid: set.uid.clone(), from: set.replicas, to })
}

fn replica_set(name: &str, owner: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": "shop",
            "labels": { "app": "web", "rollouts-pod-template-hash": name },
            "ownerReferences": [{ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web",
                "uid": owner, "controller": true }],
        },
        "spec": { "replicas": replicas, "template": template("1") },
    })
}

/// A world with a scripted engine, one Rollout that has a status, and ReplicaSets a and b of two pods each.
fn scripted_world(decide: impl Fn(&Snapshot) -> Decision + Send + Sync + 'static) -> World {
    let decide = Arc::new(decide);
    let mut world = World::deciding(move || {
        let decide = Arc::clone(&decide);
        scripted(move |snapshot, _| decide(snapshot))
    });
    world.create(ROLLOUTS, web());
    let uid = world.rollout()["metadata"]["uid"].as_str().unwrap().to_owned();
    world.create(REPLICA_SETS, replica_set("a", &uid, 2));
    world.create(REPLICA_SETS, replica_set("b", &uid, 2));
    world
}

fn calls_since(world: &World, start: usize) -> Vec<String> {
    world.log[start..]
        .iter()
        .map(|call| match call {
            Call::Get(target) => format!("get {}", target.name),
            Call::List { resource, .. } => format!("list {}", resource.plural),
            Call::Create { target, .. } => format!("create {}", target.resource.kind),
            Call::Patch { target, status: true, .. } => format!("record {}", target.name),
            Call::Patch { target, .. } => format!("patch {}", target.name),
            Call::Delete { target, .. } => format!("delete {}", target.name),
            Call::Measure { .. } => "measure".to_owned(),
        })
        .collect()
}

#[test]
fn r1_the_record_is_stored_with_uid_and_version_before_any_effect_goes_out() {
    let mut world = released();
    let start = world.log.len();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    let version = world.server.version_of(&at(ROLLOUTS, "web"));
    let uid = world.rollout()["metadata"]["uid"].clone();
    world.settle();
    let first =
        world.log[start..].iter().find(|call| matches!(call, Call::Patch { .. } | Call::Create { .. }));
    let Some(Call::Patch { target, status: true, patch: Patch::Merge(body) }) = first else {
        panic!("{first:?}");
    };
    assert_eq!(target.name, "web");
    assert_eq!(body["metadata"], json!({ "uid": uid, "resourceVersion": version }));
}

#[test]
fn r1_after_a_conflict_nothing_else_happens_but_a_live_look() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.deliver();
    let requests = world.driver.poll(world.now);
    assert_eq!(requests.len(), 1);
    world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "by": "user" } } }));
    let start = world.log.len();
    for request in requests {
        world.carry_out(&request);
    }
    let requests = world.driver.poll(world.now);
    assert_eq!(calls_since(&world, start), ["record web"]);
    assert_eq!(
        requests.iter().map(|request| &request.call).collect::<Vec<_>>(),
        [&Call::Get(at(ROLLOUTS, "web"))]
    );
    assert_eq!(world.driver.counters().conflicts, 1);
}

#[test]
fn r1_unknown_fields_of_the_status_survive() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "theirs": { "a": 1 } } }));
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(120);
    assert_eq!(world.phase(), "Healthy");
    assert_eq!(world.rollout()["status"]["theirs"], json!({ "a": 1 }));
}

#[test]
fn r1_effects_without_a_new_record_go_out_behind_a_live_read_of_the_rollout() {
    let mut world =
        scripted_world(|snapshot| unchanged(snapshot, scale(snapshot, "a", 3).into_iter().collect()));
    let start = world.log.len();
    world.settle();
    assert_eq!(calls_since(&world, start), ["get web", "patch a"]);
    assert_eq!(world.get(&at(REPLICA_SETS, "a"))["spec"]["replicas"], 3);
}

#[test]
fn r1_a_decision_on_a_rollout_that_has_changed_is_dropped() {
    let mut world = scripted_world(|snapshot| {
        let wish = if snapshot.rollout.annotations.contains_key("stay") { 2 } else { 3 };
        unchanged(snapshot, scale(snapshot, "a", wish).into_iter().collect())
    });
    world.watch_delay = SignedDuration::from_secs(5);
    world.restart();
    let requests = world.driver.poll(world.now);
    world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "stay": "" } } }));
    for request in requests {
        world.carry_out(&request);
    }
    world.settle();
    assert_eq!(world.driver.counters().stale_decisions, 1);
    assert_eq!(world.get(&at(REPLICA_SETS, "a"))["spec"]["replicas"], 2);
}

#[test]
fn r1_a_refused_record_lets_only_growth_and_the_way_back_to_stable_out() {
    let intent = |weight| TrafficIntent {
        stable: Destination { service: Some("web-stable".to_owned()), hash: None },
        canary: Destination { service: Some("web-canary".to_owned()), hash: None },
        canary_weight: weight,
        total: 100,
    };
    for (direction, weight, expected) in
        [(Direction::TowardsStable, 0, 0), (Direction::TowardsCanary, 60, 30)]
    {
        let mut world = scripted_world(move |snapshot| {
            let mut record = snapshot.rollout.status.clone();
            record.message = "new".to_owned();
            let grow = scale(snapshot, "a", 3);
            let config = RouterConfig {
                router: "istio",
                namespace: "shop".to_owned(),
                rollout: "web".to_owned(),
                canary_service: Some("web-canary".to_owned()),
                stable_service: Some("web-stable".to_owned()),
                config: json!({ "virtualService": { "name": "web" } }),
            };
            let satisfied = snapshot.routers.iter().any(|router| {
                router.config.router == "istio"
                    && router.state.as_ref().is_ok_and(|state| state.satisfies(&intent(weight)))
            });
            let route = (!satisfied).then(|| Effect::Route { config, intent: intent(weight), direction });
            Decision { record, effects: grow.into_iter().chain(route).collect(), wake_at: None }
        });
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": crate::world::routed()["spec"] }));
        let mut virtual_service = crate::world::virtual_service();
        virtual_service["spec"]["http"][0]["route"][0]["weight"] = json!(70);
        virtual_service["spec"]["http"][0]["route"][1]["weight"] = json!(30);
        world.create(VIRTUAL_SERVICES, virtual_service);
        world.refuse(|call| matches!(call, Call::Patch { status: true, .. }), refused(403, "Forbidden"));
        world.settle();
        assert_eq!(world.get(&at(REPLICA_SETS, "a"))["spec"]["replicas"], 3, "growth");
        let virtual_service = world.get(&at(VIRTUAL_SERVICES, "web"));
        assert_eq!(virtual_service["spec"]["http"][0]["route"][1]["weight"], expected, "{direction:?}");
    }
}

#[test]
fn r1_a_refused_record_lets_nothing_shrink() {
    let mut world = scripted_world(|snapshot| {
        let mut record = snapshot.rollout.status.clone();
        record.message = "new".to_owned();
        Decision { record, effects: scale(snapshot, "b", 0).into_iter().collect(), wake_at: None }
    });
    world.refuse(|call| matches!(call, Call::Patch { status: true, .. }), refused(500, "InternalError"));
    world.run(30);
    assert_eq!(world.get(&at(REPLICA_SETS, "b"))["spec"]["replicas"], 2);
    world.server.refusals.clear();
    world.run(90);
    assert_eq!(world.get(&at(REPLICA_SETS, "b"))["spec"]["replicas"], 0);
}

#[test]
fn r1_a_leader_that_was_frozen_after_its_record_reads_the_rollout_again_before_it_acts() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.deliver();
    let record = world.driver.poll(world.now).remove(0);
    let reply = world.execute(&record.call);
    world.now += SignedDuration::from_secs(60);
    world.driver.reply(record.id, reply, world.now);
    let requests: Vec<Call> = world.driver.poll(world.now).into_iter().map(|request| request.call).collect();
    let writes = |call: &&Call| match call {
        Call::Create { target, .. } => target.resource.kind != "Event",
        Call::Patch { .. } | Call::Delete { .. } => true,
        _ => false,
    };
    assert_eq!(requests.iter().filter(writes).count(), 0, "{requests:#?}");
    assert!(requests.contains(&Call::Get(at(ROLLOUTS, "web"))));
}

#[test]
fn r1_effects_wait_when_the_watch_shows_a_newer_rollout_than_the_record() {
    let mut world = scripted_world(|snapshot| {
        let mut record = snapshot.rollout.status.clone();
        record.message = "m".to_owned();
        Decision { record, effects: scale(snapshot, "a", 3).into_iter().collect(), wake_at: None }
    });
    world.deliver();
    let record = world.driver.poll(world.now).remove(0);
    let reply = world.execute(&record.call);
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
    world.deliver();
    world.driver.reply(record.id, reply, world.now);
    let next: Vec<Call> = world.driver.poll(world.now).into_iter().map(|request| request.call).collect();
    assert_eq!(next, [Call::Get(at(ROLLOUTS, "web"))], "it is decided again, with the abort");
}

#[test]
fn r1_an_ex_leader_that_thaws_moves_nothing_once_another_has_written() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.deliver();
    let frozen = world.driver.poll(world.now);
    let next = world.standby();
    let mut ex_leader = std::mem::replace(&mut world.driver, next);
    world.driver.lead(world.now);
    world.run(5);
    let writes = world.server.writes.len();
    for request in frozen {
        let reply = world.server.call(&request.call, Author::Driver, world.now);
        ex_leader.reply(request.id, reply, world.now);
    }
    let requests = ex_leader.poll(world.now);
    assert!(requests.iter().all(|request| matches!(request.call, Call::Get(_))), "{requests:#?}");
    assert_eq!(world.server.writes.len(), writes);
}

#[test]
fn r2_a_size_that_somebody_else_has_changed_is_not_overwritten() {
    let mut world =
        scripted_world(|snapshot| unchanged(snapshot, scale(snapshot, "a", 3).into_iter().collect()));
    let confirm = world.driver.poll(world.now);
    assert!(confirm.is_empty(), "nothing is known yet");
    world.deliver();
    for request in world.driver.poll(world.now) {
        world.carry_out(&request);
    }
    let patch = world.driver.poll(world.now);
    world.edit(at(REPLICA_SETS, "a"), json!({ "spec": { "replicas": 7 } }));
    for request in patch {
        world.carry_out(&request);
    }
    assert_eq!(world.get(&at(REPLICA_SETS, "a"))["spec"]["replicas"], 7);
    let look = world.driver.poll(world.now);
    assert_eq!(
        look.iter().map(|request| &request.call).collect::<Vec<_>>(),
        [&Call::Get(at(REPLICA_SETS, "a"))]
    );
    assert_eq!(world.driver.counters().effects.get(&("Scale", "Conflict")), Some(&1));
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
