//! R1: the record first, fenced; nothing from a stale snapshot.

use crate::runs::run;
use crate::script::{calls_since, scale, scripted_world, unchanged};
use crate::server::{Author, refused};
use crate::world::{VIRTUAL_SERVICES, World, at, released, template};
use headgate_driver::io::{Call, Observation, Patch};
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS};
use headgate_model::{Decision, Destination, Direction, Effect, RouterConfig, TrafficIntent};
use jiff::SignedDuration;
use serde_json::json;
use std::sync::{Arc, Mutex};

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
        let shift = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&shift);
        let mut world = scripted_world(move |snapshot| {
            *seen.lock().unwrap() = snapshot.unrecorded_shift_at;
            let mut record = snapshot.rollout.status.clone();
            record.message = "new".to_owned();
            let grow = scale(snapshot, "a", 3);
            let config = RouterConfig {
                router: "istio",
                namespace: "shop".to_owned(),
                rollout: "web".to_owned(),
                uid: snapshot.rollout.uid.clone(),
                total: 100,
                canary_service: Some("web-canary".to_owned()),
                stable_service: Some("web-stable".to_owned()),
                config: json!({ "virtualService": { "name": "web" } }),
                item: None,
                object: None,
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
        let is_known = || shift.lock().unwrap().is_some();
        assert_eq!(is_known(), expected == 0, "the next decision knows of what moved without a record");
        world.server.refusals.clear();
        world.run(120);
        assert!(!is_known(), "until there is one");
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

fn is_record(call: &Call) -> bool {
    matches!(call, Call::Patch { status: true, target, .. } if target.resource == ROLLOUTS)
}

#[test]
fn r1_a_refused_record_lets_no_run_end_or_go_whose_verdict_it_would_have_told() {
    let mut world = scripted_world(|snapshot| {
        let mut record = snapshot.rollout.status.clone();
        record.message = "new".to_owned();
        let runs = snapshot.analysis_runs.present().into_iter().flatten();
        let effects = runs.filter(|run| !run.terminate).map(|run| {
            let (name, uid) = (run.name.clone(), run.uid.clone());
            match name.as_str() {
                "ended" => Effect::DeleteAnalysisRun { name, uid },
                _ => Effect::TerminateAnalysisRun { name, uid },
            }
        });
        Decision { record, effects: effects.collect(), wake_at: None }
    });
    for name in ["ended", "running"] {
        let mut run = run(name, 1);
        run["metadata"]["ownerReferences"] =
            world.get(&at(REPLICA_SETS, "a"))["metadata"]["ownerReferences"].clone();
        world.create(ANALYSIS_RUNS, run);
    }
    world.refuse(is_record, refused(500, "InternalError"));
    world.run(30);
    let terminate = |world: &World| world.get(&at(ANALYSIS_RUNS, "running"))["spec"]["terminate"].clone();
    assert!(world.server.objects.contains_key(&at(ANALYSIS_RUNS, "ended")));
    assert_eq!(terminate(&world), json!(null));
    world.server.refusals.clear();
    world.run(90);
    assert!(!world.server.objects.contains_key(&at(ANALYSIS_RUNS, "ended")));
    assert_eq!(terminate(&world), json!(true));
}

#[test]
fn r1_a_refused_record_lets_no_run_be_made_that_it_would_have_named() {
    let mut world = scripted_world(|snapshot| {
        let mut record = snapshot.rollout.status.clone();
        record.message = "new".to_owned();
        let is_there = snapshot.analysis_runs.present().is_some_and(|runs| !runs.is_empty());
        let mut manifest = run("named", 1);
        manifest["metadata"]["namespace"] = json!("shop");
        let effects = if is_there { Vec::new() } else { vec![Effect::CreateAnalysisRun { manifest }] };
        Decision { record, effects, wake_at: None }
    });
    world.refuse(is_record, refused(500, "InternalError"));
    world.run(30);
    assert!(!world.server.objects.contains_key(&at(ANALYSIS_RUNS, "named")));
    world.server.refusals.clear();
    world.run(90);
    assert!(world.server.objects.contains_key(&at(ANALYSIS_RUNS, "named")));
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

/// The record of another process names a version whose ReplicaSet the own watch has not delivered.
#[test]
fn r3_a_process_that_learns_of_a_version_from_anothers_record_reads_live_before_it_acts() {
    let mut world = released();
    let next = world.standby();
    let mut ex_leader = std::mem::replace(&mut world.driver, next);
    world.driver.lead(world.now);
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(5);
    ex_leader.observe(Observation::Applied(ROLLOUTS, world.rollout().clone()), world.now);
    let requests = ex_leader.poll(world.now);
    let is_read = |call: &Call| matches!(call, Call::Get(_) | Call::List { .. });
    assert!(requests.iter().all(|request| is_read(&request.call)), "{requests:#?}");
    let lists = requests.iter().filter(|request| matches!(request.call, Call::List { .. })).count();
    assert!(lists > 0, "its ReplicaSets are looked for: {requests:#?}");
}

/// A process that stands still between asking and being answered learns from its watches what the answer does not
/// know yet.
#[test]
fn a_list_that_is_older_than_what_the_watch_has_shown_takes_nothing_away() {
    let mut world = released();
    let mut other = world.standby();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    other.observe(Observation::Applied(ROLLOUTS, world.rollout().clone()), world.now);
    other.lead(world.now);
    let requests = other.poll(world.now);
    let answers: Vec<_> = requests
        .iter()
        .map(|request| (request.id, world.server.call(&request.call, Author::Driver, world.now)))
        .collect();
    assert!(requests.iter().any(|request| matches!(request.call, Call::List { .. })), "{requests:#?}");
    world.run(5);
    let sets = |world: &crate::world::World| {
        world.server.objects.keys().filter(|target| target.resource == REPLICA_SETS).count()
    };
    assert_eq!(sets(&world), 2, "the leader has created the new one meanwhile");
    for (target, object) in &world.server.objects {
        other.observe(Observation::Applied(target.resource, object.clone()), world.now);
    }
    for (id, answer) in answers {
        other.reply(id, answer, world.now);
    }
    for _ in 0..8 {
        for request in other.poll(world.now) {
            let creates =
                matches!(&request.call, Call::Create { target, .. } if target.resource == REPLICA_SETS);
            assert!(!creates, "it is there: {request:#?}");
            let answer = world.server.call(&request.call, Author::Driver, world.now);
            other.reply(request.id, answer, world.now);
        }
    }
}

#[test]
fn r3_what_another_process_has_told_the_routes_is_read_before_the_next_record() {
    let mut world = released();
    let start = world.log.len();
    let weights = json!({ "canary": { "weight": 25 }, "stable": { "weight": 75 } });
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "canary": { "weights": weights } } }));
    world.settle();
    let reads_route = Call::Get(at(VIRTUAL_SERVICES, "web"));
    let read = world.log[start..].iter().position(|call| *call == reads_route).expect("the route is read");
    let record = world.log[start..].iter().position(|call| matches!(call, Call::Patch { status: true, .. }));
    assert!(record.is_some_and(|record| read < record), "{:?}", calls_since(&world, start));
}

#[test]
fn what_happens_while_the_rollout_is_read_again_is_decided_on_at_once() {
    let mut world = scripted_world(|snapshot| {
        let sets = snapshot.replica_sets.present().into_iter().flatten();
        let is_time = sets.into_iter().any(|set| set.name == "b" && set.replicas == 5);
        // Nobody has listed the pods: nothing comes of it.
        let moot = Effect::EvictPod {
            name: "a-1".to_owned(),
            uid: "uid".to_owned(),
            replica_set: "a".to_owned(),
            is_available: true,
        };
        let effects = if is_time { scale(snapshot, "a", 3).into_iter().collect() } else { vec![moot] };
        unchanged(snapshot, effects)
    });
    world.settle();
    // Nothing else happens afterwards that would be decided on.
    world.pods_start = false;
    world.edit(at(REPLICA_SETS, "a"), json!({ "metadata": { "annotations": { "by": "user" } } }));
    world.deliver();
    let requests = world.driver.poll(world.now);
    assert!(matches!(&requests[..], [one] if one.call == Call::Get(at(ROLLOUTS, "web"))), "{requests:?}");
    world.edit(at(REPLICA_SETS, "b"), json!({ "spec": { "replicas": 5 } }));
    world.deliver();
    assert!(world.driver.poll(world.now).is_empty(), "an answer is awaited");
    for request in requests {
        world.carry_out(&request);
    }
    world.settle();
    assert_eq!(world.get(&at(REPLICA_SETS, "a"))["spec"]["replicas"], 3);
}
