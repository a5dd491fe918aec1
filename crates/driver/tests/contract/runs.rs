//! AnalysisRuns: measurements, replies, and the status (R9, R12).

use crate::script::{scripted_world, unchanged};
use crate::server::refused;
use crate::world::{World, at, web};
use headgate_driver::io::{Call, ObjectRef, Observation, Reply, RequestId};
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS};
use headgate_model::{Decision, Effect, Query, Reply as Measured};
use jiff::SignedDuration;
use serde_json::{Value, json};

pub(crate) fn run(name: &str, metrics: usize) -> Value {
    run_in("shop", name, name, metrics)
}

fn run_in(namespace: &str, name: &str, host: &str, metrics: usize) -> Value {
    let metric = |number: usize| {
        json!({
            "name": format!("m{number}"), "count": 3, "interval": "5s", "successCondition": "result[0] > 0.9",
            "provider": { "prometheus": { "address": format!("http://{host}"), "query": "up" } },
        })
    };
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "metrics": (0..metrics).map(metric).collect::<Vec<_>>() },
    })
}

pub(crate) fn good() -> Measured {
    let body = json!({ "status": "success",
        "data": { "resultType": "vector", "result": [{ "metric": {}, "value": [0, "0.99"] }] } });
    Measured::Http { status: 200, body: body.to_string(), truncated: false }
}

fn world_with(runs: &[Value]) -> World {
    let mut world = World::new();
    for run in runs {
        world.create(ANALYSIS_RUNS, run.clone());
    }
    world
}

fn phase<'a>(world: &'a World, name: &str) -> &'a str {
    phase_in(world, "shop", name)
}

fn phase_in<'a>(world: &'a World, namespace: &str, name: &str) -> &'a str {
    let run = ObjectRef { namespace: namespace.to_owned(), ..at(ANALYSIS_RUNS, name) };
    world.get(&run)["status"]["phase"].as_str().unwrap_or_default()
}

fn measured(world: &World, address: &str) -> usize {
    let of_address = |call: &&Call| match call {
        Call::Measure { query: Query::Http(query), .. } => query.url.contains(address),
        _ => false,
    };
    world.log.iter().filter(of_address).count()
}

#[test]
fn r9_each_measurement_is_taken_once_and_the_run_comes_to_its_verdict() {
    let mut world = world_with(&[run("a", 2)]);
    world.provider = Box::new(|_| Some(good()));
    world.run(60);
    assert_eq!(phase(&world, "a"), "Successful", "{:#}", world.get(&at(ANALYSIS_RUNS, "a")));
    assert_eq!(measured(&world, "//a"), 6);
}

#[test]
fn r9_a_provider_that_never_answers_does_not_delay_another_run() {
    let mut world = world_with(&[run("slow", 8), run("b", 1)]);
    world.provider = Box::new(|query| (!query.url.contains("//slow")).then(good));
    world.run(60);
    assert_eq!(phase(&world, "b"), "Successful");
    assert_eq!(phase(&world, "slow"), "Running");
    assert_eq!(measured(&world, "//slow"), 8, "asked once each, not again and again");
}

/// So many runs with 8 metrics each; each has a name of its own, in front of those of others.
fn many(count: usize, place: impl Fn(usize) -> (String, String)) -> Vec<Value> {
    let run = |number: usize| {
        let (namespace, host) = place(number);
        run_in(&namespace, &format!("a{number:02}"), &host, 8)
    };
    (0..count).map(run).collect()
}

/// The run "victim" of namespace "zoo" beside `others`, whose providers never answer.
fn beside(others: &[Value], host: &str) -> World {
    let mut world = world_with(others);
    world.provider = Box::new(|query| query.url.contains("//well").then(good));
    world.settle();
    world.create(ANALYSIS_RUNS, run_in("zoo", "victim", host, 1));
    world.run(60);
    world
}

#[test]
fn r9_a_host_that_hangs_leaves_places_for_every_other() {
    let world = beside(&many(12, |number| (format!("n{number}"), "hangs".to_owned())), "well");
    assert_eq!(phase_in(&world, "zoo", "victim"), "Successful");
    assert_eq!(measured(&world, "//hangs"), 20);
}

#[test]
fn r9_many_hosts_that_hang_leave_places_for_every_other() {
    let world = beside(&many(60, |number| (format!("n{number}"), format!("hangs{number}"))), "well");
    assert_eq!(phase_in(&world, "zoo", "victim"), "Successful");
}

#[test]
fn r9_a_namespace_with_many_hosts_that_hang_leaves_places_for_every_other() {
    let world = beside(&many(60, |number| ("shop".to_owned(), format!("hangs{number}"))), "well");
    assert_eq!(phase_in(&world, "zoo", "victim"), "Successful");
    assert_eq!(measured(&world, "//hangs"), 32);
}

#[test]
fn r9_a_host_that_hangs_leaves_places_for_others_of_its_namespace() {
    let world = beside(&many(12, |_| ("zoo".to_owned(), "hangs".to_owned())), "well");
    assert_eq!(phase_in(&world, "zoo", "victim"), "Successful");
    assert_eq!(measured(&world, "//hangs"), 16);
}

#[test]
fn r9_a_namespace_whose_queries_hang_leaves_places_at_their_host() {
    let world = beside(&many(12, |_| ("shop".to_owned(), "hangs".to_owned())), "hangs");
    let asked = |call: &&Call| matches!(call, Call::Measure { namespace, .. } if namespace == "zoo");
    assert_eq!(world.log.iter().filter(asked).count(), 1);
}

#[test]
fn r9_whoever_waits_for_a_place_is_asked_when_one_is_free_also_beside_a_queue_of_others() {
    let mut world = world_with(&many(12, |number| (format!("n{}", number % 2), "slow".to_owned())));
    let mut asked = Vec::new();
    turn(&mut world, &mut asked);
    assert_eq!((asked.len(), world.driver.facts().measurements_waiting), (20, 10));
    world.create(ANALYSIS_RUNS, run_in("zoo", "victim", "slow", 1));
    turn(&mut world, &mut asked);
    let free: Vec<_> = asked.drain(..3).collect();
    for (_, id) in free {
        world.driver.reply(id, Reply::Measured(good()), world.now);
    }
    turn(&mut world, &mut asked);
    assert_eq!(asked.len(), 20, "no more than the limit");
    assert!(asked.iter().any(|(namespace, _)| namespace == "zoo"), "each namespace has its turn");
}

/// One turn without time, in which measurements begin and do not end.
fn turn(world: &mut World, asked: &mut Vec<(String, RequestId)>) {
    world.deliver();
    while world.driver.wake_at().is_some_and(|time| time <= world.now) {
        for request in world.driver.poll(world.now) {
            match &request.call {
                Call::Measure { namespace, .. } => asked.push((namespace.clone(), request.id)),
                _ => assert!(world.carry_out(&request)),
            }
        }
        world.deliver();
    }
}

#[test]
fn r9_measurements_on_their_way_have_a_limit_and_the_rest_follows() {
    let namespace = |number: usize| format!("n{number}");
    let runs = many(40, |number| (namespace(number), format!("well{number}")));
    let mut world = world_with(&runs);
    world.settle();
    assert_eq!(world.driver.facts().measurements_in_flight, 128 + 24, "one for each that came too late");
    let mut world = world_with(&runs);
    world.provider = Box::new(|_| Some(good()));
    world.run(60);
    for number in 0..40 {
        assert_eq!(phase_in(&world, &namespace(number), &format!("a{number:02}")), "Successful");
    }
    assert_eq!(world.driver.facts().measurements_waiting, 0);
}

#[test]
fn r9_a_reply_is_kept_until_the_status_has_it() {
    let mut world = world_with(&[run("a", 1)]);
    world.provider = Box::new(|_| Some(good()));
    world.run(3);
    world.refuse(|call| matches!(call, Call::Patch { .. }), refused(500, "InternalError"));
    world.run(7);
    assert_eq!(measured(&world, "//a"), 2);
    world.server.refusals.clear();
    world.run(120);
    assert_eq!(phase(&world, "a"), "Successful");
    assert_eq!(measured(&world, "//a"), 3, "no measurement is taken again");
}

#[test]
fn r9_a_restart_takes_up_where_the_status_stands() {
    let mut world = world_with(&[run("a", 1)]);
    world.provider = Box::new(|_| Some(good()));
    world.run(6);
    world.restart();
    world.run(60);
    assert_eq!(phase(&world, "a"), "Successful");
    assert_eq!(measured(&world, "//a"), 3);
}

#[test]
fn r12_the_status_of_a_run_is_written_on_the_object_itself_with_its_version() {
    let mut world = world_with(&[run("a", 1)]);
    let version = world.server.version_of(&at(ANALYSIS_RUNS, "a"));
    world.settle();
    let Some(Call::Patch { status, patch: headgate_driver::io::Patch::Merge(body), .. }) =
        world.log.iter().find(|call| matches!(call, Call::Patch { .. }))
    else {
        panic!("{:?}", world.log);
    };
    assert!(!status, "AnalysisRuns have no status subresource");
    assert_eq!(body["metadata"]["resourceVersion"], json!(version));
    assert!(body.get("spec").is_none());
}

#[test]
fn a_conflict_on_a_run_is_followed_by_a_live_look() {
    let mut world = world_with(&[run("a", 1)]);
    world.deliver();
    let requests = world.driver.poll(world.now);
    world.edit(at(ANALYSIS_RUNS, "a"), json!({ "spec": { "terminate": true } }));
    for request in requests {
        world.carry_out(&request);
    }
    let next = world.driver.poll(world.now);
    assert_eq!(
        next.iter().map(|request| &request.call).collect::<Vec<_>>(),
        [&Call::Get(at(ANALYSIS_RUNS, "a"))]
    );
    for request in next {
        world.carry_out(&request);
    }
    world.run(10);
    assert_eq!(phase(&world, "a"), "Successful");
    assert_eq!(measured(&world, "//a"), 0);
}

#[test]
fn r3_what_a_rollout_wrote_to_its_run_is_seen_although_the_rollout_is_gone_when_the_answer_comes() {
    let mut world = scripted_world(|snapshot| {
        let running = snapshot.analysis_runs.present().unwrap().iter().find(|run| !run.terminate);
        let terminate =
            running.map(|run| Effect::TerminateAnalysisRun { name: run.name.clone(), uid: run.uid.clone() });
        unchanged(snapshot, terminate.into_iter().collect())
    });
    let mut child = run("a", 1);
    child["metadata"]["ownerReferences"] =
        world.get(&at(REPLICA_SETS, "a"))["metadata"]["ownerReferences"].clone();
    world.create(ANALYSIS_RUNS, child);
    world.deliver();
    world.watch_delay = SignedDuration::from_mins(10);
    let is_terminate = |call: &Call| format!("{call:?}").contains("terminate");
    let terminate = loop {
        let (found, others): (Vec<_>, Vec<_>) =
            world.driver.poll(world.now).into_iter().partition(|request| is_terminate(&request.call));
        others.iter().for_each(|request| assert!(world.carry_out(request)));
        if let Some(terminate) = found.into_iter().next() {
            break terminate;
        }
    };
    let rollout = world.rollout().clone();
    world.driver.observe(Observation::Deleted(ROLLOUTS, rollout), world.now);
    world.carry_out(&terminate);
    world.run(5);
    assert_eq!(phase(&world, "a"), "Successful");
    assert_eq!(world.driver.counters().conflicts, 0);
}

#[test]
fn r3_what_a_list_of_a_rollout_made_anew_shows_of_a_run_of_the_former_one_is_known_to_the_run() {
    let mut world = scripted_world(|snapshot| {
        // Something to write: nobody looks before that.
        let mut record = snapshot.rollout.status.clone();
        record.message = "new".to_owned();
        Decision { record, effects: Vec::new(), wake_at: None }
    });
    let mut child = run("a", 1);
    let of_set = &world.get(&at(REPLICA_SETS, "a"))["metadata"];
    child["metadata"]["ownerReferences"] = of_set["ownerReferences"].clone();
    child["metadata"]["labels"] = of_set["labels"].clone();
    world.create(ANALYSIS_RUNS, child);
    world.provider = Box::new(|_| Some(good()));
    world.run(1);
    world.watch_delay = SignedDuration::from_mins(10);
    world.edit(at(ANALYSIS_RUNS, "a"), json!({ "metadata": { "annotations": { "by": "user" } } }));
    world.deliver();
    world.watch_delay = SignedDuration::ZERO;
    // Garbage collection has not come yet, and another process has acted for the new Rollout: all of it is read.
    world.server.objects.remove(&at(ROLLOUTS, "web"));
    world.create(ROLLOUTS, web());
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "stableRS": "b" } }));
    world.run(20);
    let is_list = |call: &Call| matches!(call, Call::List { resource, .. } if *resource == ANALYSIS_RUNS);
    assert!(world.log.iter().any(is_list));
    assert_eq!((phase(&world, "a"), world.driver.counters().conflicts), ("Successful", 0));
}

#[test]
fn a_run_is_deleted_when_its_time_to_live_is_over() {
    let mut ended = run("a", 1);
    ended["spec"]["ttlStrategy"] = json!({ "secondsAfterCompletion": 30 });
    let mut world = world_with(&[ended]);
    world.provider = Box::new(|_| Some(good()));
    world.run(20);
    assert_eq!(phase(&world, "a"), "Successful");
    world.run(60);
    assert!(!world.server.objects.contains_key(&at(ANALYSIS_RUNS, "a")));
    assert_eq!(world.driver.facts().analysis_runs.len(), 0);
}

#[test]
fn a_measurement_that_ends_after_its_run_is_gone_frees_its_place() {
    let mut world = world_with(&[run("a", 1)]);
    world.settle();
    world.deliver();
    let mut asked = Vec::new();
    world.server.remove(&at(ANALYSIS_RUNS, "a"));
    world.create(ANALYSIS_RUNS, run("a", 1));
    world.deliver();
    for _ in 0..4 {
        for request in world.driver.poll(world.now) {
            if matches!(request.call, Call::Measure { .. }) {
                asked.push(request.id);
            } else {
                world.carry_out(&request);
            }
        }
        world.now += SignedDuration::from_secs(1);
    }
    assert_eq!(asked.len(), 1);
    assert_eq!(world.driver.facts().measurements_in_flight, 2);
    for id in asked {
        world.driver.reply(id, Reply::Measured(good()), world.now);
    }
    assert_eq!(world.driver.facts().measurements_in_flight, 1);
}
