//! R10 and R11, and what one object's trouble must not do to others.

use crate::script::{calls_since, scale, scripted_world, unchanged};
use crate::server::refused;
use crate::world::{VIRTUAL_SERVICES, World, at, released, routed, scripted, service, template, web};
use headgate_api::Waiting;
use headgate_driver::io::{Call, Observation, Patch, Reply, Resource};
use headgate_driver::resources::{EVENTS, REPLICA_SETS, ROLLOUTS, SERVICES};
use headgate_driver::{Deciders, Driver, Options};
use headgate_model::{Decision, EffectKey, Notice, Snapshot, Timestamp};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

const HTTP_ROUTES: Resource = Resource {
    group: "gateway.networking.k8s.io",
    version: "v1",
    kind: "HTTPRoute",
    plural: "httproutes",
    namespaced: true,
};

/// A world whose engine writes this record.
fn recording(edit: impl Fn(&Snapshot, Timestamp, &mut Decision) + Send + Sync + 'static) -> World {
    let edit = Arc::new(edit);
    let mut world = World::deciding(move || {
        let edit = Arc::clone(&edit);
        scripted(move |snapshot, now| {
            let record = snapshot.rollout.status.clone();
            let mut decision = Decision { record, effects: Vec::new(), wake_at: None };
            edit(snapshot, now, &mut decision);
            decision
        })
    });
    world.create(ROLLOUTS, web());
    world
}

fn records(world: &World) -> usize {
    world.log.iter().filter(|call| matches!(call, Call::Patch { status: true, .. })).count()
}

#[test]
fn r10_numbers_of_pods_are_written_at_most_once_a_second() {
    let pods = Arc::new(AtomicI32::new(0));
    let count = Arc::clone(&pods);
    let mut world = recording(move |_, _, decision| {
        decision.record.message = "m".to_owned();
        decision.record.replicas = count.load(Ordering::Relaxed);
    });
    world.settle();
    let before = records(&world);
    for round in 0..40 {
        pods.fetch_add(1, Ordering::Relaxed);
        world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "n": round.to_string() } } }));
        world.settle();
        world.now += SignedDuration::from_millis(100);
    }
    world.run(2);
    assert_eq!(world.rollout()["status"]["replicas"], 40, "the last number is written too");
    let written = records(&world) - before;
    assert!((4..=6).contains(&written), "{written} writes in 4 s");
}

#[test]
fn r10_phase_and_step_are_written_at_once() {
    let mut world = recording(|snapshot, _, decision| {
        decision.record.current_step_index =
            snapshot.rollout.annotations.get("n").map(|n| n.parse().unwrap());
    });
    for step in 0..30 {
        world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "n": step.to_string() } } }));
        world.settle();
        assert_eq!(world.rollout()["status"]["currentStepIndex"], step);
        world.now += SignedDuration::from_millis(10);
    }
    assert_eq!(world.driver.counters().breaker_trips, 0);
}

/// Argo Rollouts never writes such a change, for it compares the weights with themselves.
#[test]
fn r10_what_a_gateway_says_of_the_weights_is_written_at_once_although_nothing_else_changes() {
    let mut world = World::new();
    world.create(SERVICES, service("web-stable"));
    world.create(SERVICES, service("web-canary"));
    let backend = |name: &str| json!({ "name": name, "port": 80, "weight": i32::from(name == "web-stable") });
    let split = json!({ "backendRefs": [backend("web-stable"), backend("web-canary")] });
    let route = json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": { "parentRefs": [{ "name": "gateway" }], "rules": [split] },
    });
    world.create(HTTP_ROUTES, route);
    let mut rollout = routed();
    let canary = &mut rollout["spec"]["strategy"]["canary"];
    canary["trafficRouting"] =
        json!({ "plugins": { "argoproj-labs/gatewayAPI": { "httpRoute": "web", "namespace": "shop" } } });
    canary["steps"] = json!([{ "setWeight": 25 }, { "pause": {} }]);
    world.create(ROLLOUTS, rollout);
    world.run(60);
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(60);
    assert_eq!(world.phase(), "Paused", "{:#}", world.rollout());
    assert_eq!(verified(&world), None, "no Gateway says anything");
    // The Gateway's controller has read the route; then it starts again with an old copy of it, and has read it again.
    let generation = world.get(&at(HTTP_ROUTES, "web"))["metadata"]["generation"].as_i64().unwrap();
    for (seen, word) in [(generation, true), (generation - 1, false), (generation, true)] {
        world.run(60);
        let before = records(&world);
        let condition = json!({ "type": "Accepted", "status": "True", "observedGeneration": seen });
        let parents = json!([{ "parentRef": { "name": "gateway" }, "conditions": [condition] }]);
        world.edit(at(HTTP_ROUTES, "web"), json!({ "status": { "parents": parents } }));
        world.settle();
        assert_eq!((verified(&world), records(&world) - before), (Some(&json!(word)), 1));
        let Some(Call::Patch { patch: Patch::Merge(body), .. }) =
            world.log.iter().rfind(|call| matches!(call, Call::Patch { status: true, .. }))
        else {
            panic!("a record is a merge patch")
        };
        assert_eq!(body["status"]["canary"], json!({ "weights": { "verified": word } }));
    }
}

fn verified(world: &World) -> Option<&Value> {
    world.rollout().pointer("/status/canary/weights/verified")
}

#[test]
fn r10_a_field_that_the_crd_drops_is_told_once_and_left_out() {
    let mut world = recording(|_, now, decision| {
        decision.record.message = "m".to_owned();
        decision.record.waiting = Some(headgate_api::Waiting {
            kind: "OldPodsGone".to_owned(),
            message: "waits".to_owned(),
            since: Some(headgate_api::Time(now)),
            until: None,
            ends_with: "time".to_owned(),
        });
    });
    world.server.pruned = vec!["waiting"];
    world.run(60);
    assert_eq!(records(&world), 1);
    assert_eq!(world.events("FieldPruned"), 1);
    world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "n": "1" } } }));
    world.run(60);
    assert_eq!(records(&world), 1);
    assert_eq!(world.rollout()["status"]["message"], "m");
}

#[test]
fn r10_pods_drain_although_the_crd_drops_when_the_weight_was_lowered() {
    let mut world = released();
    world.server.pruned = vec!["headgate", "waiting"];
    let steps = json!([{ "setWeight": 100 }, { "setWeight": 50 }, { "pause": {} }]);
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "strategy": { "canary": { "steps": steps } } } }));
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(15);
    assert_eq!(world.phase(), "Paused", "{:#}", world.rollout()["status"]);
    let name = format!("web-{}", world.rollout()["status"]["currentPodHash"].as_str().unwrap());
    let replicas = |world: &World| world.get(&at(REPLICA_SETS, &name))["spec"]["replicas"].as_i64().unwrap();
    let desired = world.rollout()["spec"]["replicas"].as_i64().unwrap();
    assert_eq!(replicas(&world), desired, "requests under way are to end");
    world.run(40);
    assert!(replicas(&world) < desired);
}

/// What is noted with the second number of pods is known with the third, although none of the two has been written yet: what
/// the decision on the second one has done is no less done for that.
#[test]
fn r10_what_the_crd_drops_is_remembered_while_new_numbers_of_pods_wait_to_be_written() {
    let mut world = recording(|snapshot, now, decision| {
        let number = snapshot.rollout.annotations.get("n").and_then(|n| n.parse().ok()).unwrap_or(0);
        decision.record.available_replicas = number;
        let memory = decision.record.headgate.get_or_insert_default();
        memory.abort_reason = Some("the first record shows what the CRD drops".to_owned());
        if number == 2 {
            memory.weight_lowered_at = Some(headgate_api::Time(now));
        }
        let is_known = number == 3 && memory.weight_lowered_at.is_some();
        decision.record.current_step_index = is_known.then_some(3);
    });
    world.server.pruned = vec!["headgate"];
    world.run(60);
    for number in ["1", "2"] {
        world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "n": number } } }));
        world.settle();
    }
    assert_eq!(world.rollout()["status"]["availableReplicas"], 1, "the second number waits");
    world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "n": "3" } } }));
    world.settle();
    assert_eq!(world.rollout()["status"]["currentStepIndex"], 3);
}

#[test]
fn r10_writing_without_progress_trips_a_breaker_and_progress_passes_it() {
    let mut world = recording(|snapshot, now, decision| {
        // Somebody reverts what is written, or it never settles: a new text every second.
        decision.record.message = now.to_string();
        decision.record.current_step_index =
            snapshot.rollout.annotations.get("n").map(|n| n.parse().unwrap());
        decision.wake_at = Some(now + SignedDuration::from_secs(1));
    });
    world.run(600);
    let written = records(&world);
    assert!(world.driver.counters().breaker_trips > 0);
    assert!(written < 150, "{written} writes in 600 s");
    assert!(world.events("TooManyWrites") > 0);
    world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "n": "3" } } }));
    world.settle();
    assert_eq!(world.rollout()["status"]["currentStepIndex"], 3);
}

#[test]
fn r10_what_the_breaker_has_held_back_is_done_when_it_lets_go() {
    let mut world =
        scripted_world(|snapshot| unchanged(snapshot, scale(snapshot, "a", 3).into_iter().collect()));
    world.pods_start = false;
    let pods = |world: &World| world.get(&at(REPLICA_SETS, "a"))["spec"]["replicas"].clone();
    let mut rounds = 0;
    while pods(&world) != 2 || world.driver.counters().breaker_trips == 0 {
        world.edit(at(REPLICA_SETS, "a"), json!({ "spec": { "replicas": 2 } }));
        world.settle();
        rounds += 1;
        assert!(rounds < 60, "the breaker does not trip");
    }
    world.run(120);
    assert_eq!(pods(&world), 3);
}

#[test]
fn r10_even_progress_that_never_settles_is_held_back() {
    let mut world = recording(|_, _, decision| {
        decision.record.current_step_index = Some(decision.record.current_step_index.unwrap_or(0) + 1);
    });
    world.run(300);
    let written = records(&world);
    assert!((500..=720).contains(&written), "{written} writes in 300 s");
}

#[test]
fn r10_a_number_of_pods_that_changes_every_second_is_followed_and_stalls_no_release() {
    let mut world = released();
    let before = world.rollout()["status"]["stableRS"].clone();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    for pods in [3, 6, 4, 8, 2, 5].into_iter().cycle().take(120) {
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "replicas": pods } }));
        world.run(1);
    }
    assert_eq!((world.driver.counters().breaker_trips, world.events("TooManyWrites")), (0, 0));
    let status = &world.rollout()["status"];
    assert_eq!(status["stableRS"], status["currentPodHash"], "it is promoted: {status:#}");
    assert_ne!(status["stableRS"], before);
    world.run(60);
    assert_eq!((world.phase(), &world.rollout()["status"]["replicas"]), ("Healthy", &json!(5)));
}

#[test]
fn r10_somebody_who_takes_the_number_of_pods_away_again_and_again_trips_the_breaker() {
    let mut world = released();
    for _ in 0..60 {
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "replicas": null } }));
        world.run(1);
    }
    assert!(world.driver.counters().breaker_trips > 0, "the default is written, and taken away");
}

#[test]
fn r10_a_settled_rollout_costs_nothing() {
    let mut world = released();
    let start = world.log.len();
    world.run(3 * 3600);
    assert_eq!(world.log[start..], []);
}

#[test]
fn r10_routes_that_are_reverted_again_and_again_are_left_alone_for_a_while() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(5);
    let start = world.log.len();
    for _ in 0..60 {
        let mut http = crate::world::virtual_service()["spec"]["http"].clone();
        http[0]["timeout"] = json!("3s");
        world.edit(at(VIRTUAL_SERVICES, "web"), json!({ "spec": { "http": http } }));
        world.run(1);
    }
    let is_route =
        |call: &&Call| matches!(call, Call::Patch { target, .. } if target.resource == VIRTUAL_SERVICES);
    let written = world.log[start..].iter().filter(is_route).count();
    // Three tries, the first of them before the other writer began, and three more a minute later.
    assert!((2..=5).contains(&written), "{written} times in a minute");
    assert_eq!(world.rollout()["status"]["currentStepIndex"], 2, "the next weight is not given");
    world.run(900);
    assert_eq!(world.phase(), "Healthy", "{:#}", world.rollout()["status"]);
}

#[test]
fn r10_a_service_that_may_not_be_switched_is_no_reason_to_write_the_record_again_and_again() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(5);
    let is_routing = |call: &Call| matches!(call, Call::Patch { target, .. } if [SERVICES, VIRTUAL_SERVICES].contains(&target.resource));
    world.refuse(is_routing, refused(403, "Forbidden"));
    let elsewhere = json!({ "spec": { "selector": { "rollouts-pod-template-hash": "elsewhere" } } });
    world.edit(at(SERVICES, "web-canary"), elsewhere);
    world.run(1);
    let before = records(&world);
    for round in 0..60 {
        let noise = json!({ "metadata": { "annotations": { "n": round.to_string() } } });
        world.edit(at(SERVICES, "web-stable"), noise);
        world.run(1);
    }
    let written = records(&world) - before;
    assert!(
        (1..=12).contains(&written),
        "{written} records in a minute: one for each attempt on each of two routes"
    );
    assert_eq!(world.driver.counters().breaker_trips, 0);
}

#[test]
fn a_record_that_was_refused_and_is_not_wanted_any_more_is_not_waited_for_for_ever() {
    let mut world = recording(|snapshot, _, decision| {
        decision.record.message = "m".to_owned();
        decision.record.waiting = snapshot.failures.get(&EffectKey::record()).map(|failure| Waiting {
            kind: "ApiServer".to_owned(),
            message: format!("Record of web is refused: {}", failure.message),
            ..Waiting::default()
        });
    });
    let says_so = |call: &Call| match call {
        Call::Patch { status: true, patch: Patch::Merge(body), .. } => body.to_string().contains("ApiServer"),
        _ => true,
    };
    world.refuse(move |call| !says_so(call), refused(422, "Invalid"));
    world.run(10);
    assert_eq!(world.rollout()["status"]["waiting"]["kind"], "ApiServer");
    world.server.refusals.clear();
    world.run(300);
    assert_eq!(world.rollout()["status"]["waiting"], Value::Null);
}

#[test]
fn r11_events_are_sent_after_the_record_and_their_failure_holds_nothing_up() {
    let mut world = released();
    world.refuse(
        |call| matches!(call, Call::Create { target, .. } if target.resource == EVENTS),
        refused(403, "Forbidden"),
    );
    let start = world.log.len();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(120);
    assert_eq!(world.phase(), "Healthy");
    let first = |wanted: &dyn Fn(&Call) -> bool| world.log[start..].iter().position(wanted).unwrap();
    let event = first(&|call| matches!(call, Call::Create { target, .. } if target.resource == EVENTS));
    let record = first(&|call| matches!(call, Call::Patch { status: true, .. }));
    assert!(record < event);
}

#[test]
fn r11_an_event_says_about_what_it_is_and_comes_once() {
    let deciders = || Deciders {
        notices: Box::new(|_, _| vec![Notice::normal("RolloutPaused", "Rollout is paused (Test)")]),
        ..scripted(|snapshot, _| {
            let mut record = snapshot.rollout.status.clone();
            record.message = "m".to_owned();
            Decision { record, effects: Vec::new(), wake_at: None }
        })
    };
    let mut world = World::deciding(deciders);
    world.create(ROLLOUTS, web());
    world.run(30);
    let events: Vec<&Value> = world
        .server
        .objects
        .iter()
        .filter(|(reference, _)| reference.resource == EVENTS)
        .map(|(_, event)| event)
        .collect();
    let [event] = events.as_slice() else { panic!("{events:#?}") };
    assert_eq!(event["involvedObject"]["kind"], "Rollout");
    assert_eq!(event["involvedObject"]["uid"], world.rollout()["metadata"]["uid"]);
    assert_eq!(event["source"]["component"], "rollouts-controller");
    assert_eq!(event["message"], "Rollout is paused (Test)");
    assert!(event["metadata"]["name"].as_str().unwrap().starts_with("web."));
}

/// A world in which every record is another one, and each tells of these reasons.
fn in_a_loop_telling_of(reasons: &'static [&'static str]) -> World {
    let deciders = || Deciders {
        notices: Box::new(|_, record| {
            reasons.iter().map(|reason| Notice::normal(reason, record.message.clone())).collect()
        }),
        ..scripted(|snapshot, _| {
            let mut record = snapshot.rollout.status.clone();
            record.current_step_index = Some(record.current_step_index.unwrap_or(0) + 1);
            record.message = format!("step {:?}", record.current_step_index);
            Decision { record, effects: Vec::new(), wake_at: None }
        })
    };
    let mut world = World::deciding(deciders);
    world.create(ROLLOUTS, web());
    for _ in 0..100 {
        world.round();
    }
    world
}

#[test]
fn r11_a_loop_of_events_ends_at_the_limit_of_a_minute() {
    let world = in_a_loop_telling_of(&["RolloutPaused"]);
    assert_eq!(world.events("RolloutPaused"), Options::default().limits.events_per_minute);
    assert!(world.driver.counters().notices_dropped > 0);
}

#[test]
fn r11_a_user_whose_wish_is_dropped_is_told_whatever_was_told_before() {
    let world = in_a_loop_telling_of(&["RolloutPaused", "IntentDropped"]);
    let limit = Options::default().limits.events_per_minute;
    assert_eq!(world.events("RolloutPaused"), limit);
    assert!(world.events("IntentDropped") > limit);
}

#[test]
fn a_malformed_rollout_stops_no_other() {
    let mut world = released();
    let mut broken = web();
    broken["metadata"]["name"] = json!("broken");
    broken["spec"] = json!({ "strategy": { "canary": { "steps": "none" } }, "template": [] });
    world.create(ROLLOUTS, broken);
    let mut empty = web();
    empty["metadata"]["name"] = json!("empty");
    empty.as_object_mut().unwrap().remove("spec");
    world.create(ROLLOUTS, empty);
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(120);
    assert_eq!(world.phase(), "Healthy");
    for name in ["broken", "empty"] {
        let status = &world.get(&at(ROLLOUTS, name))["status"];
        assert_eq!(status["phase"], "Degraded", "{status:#}");
    }
}

#[test]
fn a_rollout_that_is_being_deleted_is_left_to_garbage_collection() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "deletionTimestamp": "2026-11-21T09:30:00Z" } }));
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    let start = world.log.len();
    world.run(60);
    assert_eq!(world.log[start..], []);
    world.server.remove(&at(ROLLOUTS, "web"));
    world.run(60);
    let sweep = ["get web", "get web", "patch web-canary", "patch web-stable"];
    assert_eq!(calls_since(&world, start), sweep, "its Services are given back, and nothing else is done");
    let facts = world.driver.facts();
    assert_eq!(facts.rollouts, []);
    assert_eq!(facts.objects.get(&REPLICA_SETS), None);
    assert_eq!(facts.objects.get(&SERVICES), None, "nobody names the Services any more");
}

#[test]
fn a_rollout_made_anew_under_the_same_name_is_another_one() {
    let mut world = released();
    world.server.remove(&at(ROLLOUTS, "web"));
    world.create(ROLLOUTS, crate::world::routed());
    world.run(60);
    assert_eq!(world.phase(), "Healthy");
    let owner = &world.server.objects.values().find(|object| object["kind"] == "ReplicaSet").unwrap()["metadata"]
        ["ownerReferences"][0]["uid"];
    assert_eq!(*owner, world.rollout()["metadata"]["uid"]);
}

#[test]
fn only_objects_of_this_instance_are_looked_after() {
    let mut driver = Driver::new(Options { instance_id: "blue".to_owned(), ..Options::default() });
    let now = Timestamp::UNIX_EPOCH;
    for watch in driver.watches() {
        driver.observe(Observation::Synced(watch.resource), now);
    }
    driver.lead(now);
    let mut rollout = web();
    rollout["metadata"]["uid"] = json!("u");
    rollout["metadata"]["resourceVersion"] = json!("1");
    driver.observe(Observation::Applied(ROLLOUTS, rollout.clone()), now);
    assert_eq!(driver.poll(now), []);
    assert_eq!(driver.facts().rollouts.len(), 0);
    rollout["metadata"]["labels"] = json!({ "argo-rollouts.argoproj.io/controller-instance-id": "blue" });
    rollout["metadata"]["resourceVersion"] = json!("2");
    driver.observe(Observation::Applied(ROLLOUTS, rollout), now);
    assert_eq!(driver.poll(now).len(), 1);
    assert_eq!(driver.facts().rollouts.len(), 1);
}

#[test]
fn services_that_nobody_names_are_not_kept_and_a_name_fetches_them() {
    let mut world = released();
    for number in 0..50 {
        world.create(SERVICES, service(&format!("other-{number}")));
    }
    world.settle();
    assert_eq!(world.driver.facts().objects[&SERVICES], 2);
    let canary = json!({ "canary": { "canaryService": "other-7" } });
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "strategy": canary } }));
    let start = world.log.len();
    world.settle();
    assert!(world.log[start..].contains(&Call::Get(at(SERVICES, "other-7"))));
    assert_eq!(world.driver.facts().objects[&SERVICES], 2);
}

#[test]
fn a_relist_that_lacks_what_we_have_just_created_does_not_make_us_forget_it() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.watch_delay = SignedDuration::from_secs(30);
    let lists_before: Vec<Value> = world
        .server
        .objects
        .iter()
        .filter(|(reference, _)| reference.resource == REPLICA_SETS)
        .map(|(_, set)| set.clone())
        .collect();
    world.watch_delay = SignedDuration::ZERO;
    world.deliver();
    world.watch_delay = SignedDuration::from_secs(30);
    world.settle();
    let created = |world: &World| world.written().iter().filter(|name| *name == "create ReplicaSet").count();
    assert_eq!(created(&world), 2);
    world.driver.observe(Observation::ListStarted(REPLICA_SETS), world.now);
    for set in lists_before {
        world.driver.observe(Observation::Listed(REPLICA_SETS, set), world.now);
    }
    world.driver.observe(Observation::Synced(REPLICA_SETS), world.now);
    world.run(120);
    assert_eq!(created(&world), 2);
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn a_reply_that_comes_late_or_twice_is_harmless() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.deliver();
    let request = world.driver.poll(world.now).remove(0);
    let reply = world.execute(&request.call);
    world.server.remove(&at(ROLLOUTS, "web"));
    world.deliver();
    world.driver.reply(request.id, reply.clone(), world.now);
    world.driver.reply(request.id, reply, world.now);
    world.driver.reply(headgate_driver::io::RequestId(u64::MAX), Reply::Lost("?".to_owned()), world.now);
    world.run(60);
    assert_eq!(world.driver.facts().rollouts, []);
}

#[test]
fn facts_say_where_a_release_stands() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(5);
    let facts = world.driver.facts();
    let [rollout] = facts.rollouts.as_slice() else { panic!("{facts:?}") };
    assert_eq!((rollout.phase.as_str(), rollout.strategy, rollout.router), ("Paused", "canary", "istio"));
    assert_eq!((rollout.weight, rollout.step, rollout.desired), (Some(25), Some(1), 4));
}
