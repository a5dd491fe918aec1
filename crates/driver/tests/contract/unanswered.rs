//! A record that was stored although its answer was lost: nothing of what it remembers, tells or counts is lost with it.

use crate::notifications::to;
use crate::rerouted::{route_through, weight_of_istio, with_a_server_that_drops_what_is_remembered};
use crate::runs::{good, run};
use crate::server::refused;
use crate::world::{Fault, World, at, released, template};
use headgate_driver::io::Call;
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, ROLLOUTS};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::cell::Cell;

/// Each of the next requests in turn loses its answer: one of them is the record.
const NEXT: std::ops::RangeInclusive<u64> = 1..=6;

fn lose_answer(world: &mut World, which: u64) {
    let lost = world.requests + which;
    world.fault = Box::new(move |request| if request == lost { Fault::AnswerLost } else { Fault::None });
}

#[test]
fn a_router_that_was_in_use_is_not_forgotten_with_an_answer() {
    for which in NEXT {
        let mut world = with_a_server_that_drops_what_is_remembered();
        lose_answer(&mut world, which);
        route_through(&mut world, &Value::Null);
        world.run(30);
        assert_eq!(weight_of_istio(&world), 0, "request {which}");
    }
}

#[test]
fn an_abort_is_told_once_although_an_answer_was_lost() {
    for (pruned, which) in
        [vec![], vec!["headgate", "waiting"]].iter().flat_map(|pruned| NEXT.map(move |which| (pruned, which)))
    {
        let mut world = World::new();
        world.server.pruned.clone_from(pruned);
        world.subscriptions = to(&["hook"]);
        world.restart();
        world.create(ROLLOUTS, crate::world::web());
        world.run(60);
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
        world.run(5);
        world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
        lose_answer(&mut world, which);
        world.run(600);
        let aborted = world.told.iter().filter(|(_, _, body)| body["event"] == "aborted").count();
        assert_eq!((world.events("RolloutAborted"), aborted), (1, 1), "{pruned:?}, request {which}");
    }
}

#[test]
fn what_a_user_takes_out_after_a_lost_answer_does_not_count_as_dropped_by_the_server() {
    for which in 1..=20 {
        let mut world = released();
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
        lose_answer(&mut world, which);
        world.settle();
        world.edit(at(ROLLOUTS, "web"), json!({ "status": { "pauseConditions": null } }));
        world.run(120);
        assert_eq!((world.phase(), world.events("FieldPruned")), ("Healthy", 0), "request {which}");
    }
}

#[test]
fn what_a_run_has_come_to_is_told_once_although_an_answer_was_lost() {
    for which in 1..=8 {
        let mut world = World::new();
        world.provider = Box::new(|_| Some(good()));
        world.create(ANALYSIS_RUNS, run("a", 1));
        lose_answer(&mut world, which);
        world.run(120);
        assert_eq!(world.get(&at(ANALYSIS_RUNS, "a"))["status"]["phase"], "Successful");
        let told = (world.events("MetricSuccessful"), world.events("AnalysisRunSuccessful"));
        assert_eq!(told, (1, 1), "request {which}");
    }
}

/// A record that says only that a step is over looks, but for the step, like the one before.
#[test]
fn a_step_that_was_never_stored_as_over_is_not_told_beside_the_abort_of_a_user() {
    for which in 1..=40 {
        let mut world = released();
        let steps = json!([
            { "setWeight": 25 }, { "setCanaryScale": { "matchTrafficWeight": true } }, { "setWeight": 25 }, { "pause": {} },
        ]);
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "strategy": { "canary": { "steps": steps } } } }));
        world.settle();
        let lost = world.requests + which;
        world.fault = Box::new(move |request| if request == lost { Fault::RequestLost } else { Fault::None });
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
        world.run(8);
        world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
        world.run(120);
        let over = |step: u64| {
            let is_told = |event: &&Value| {
                let message = event["message"].as_str().unwrap_or_default();
                message.starts_with(&format!("Rollout step {step}/4 completed"))
            };
            let events = world.server.objects.iter().filter(|(key, _)| key.resource == EVENTS);
            events.map(|(_, event)| event).filter(is_told).count()
        };
        let place = world.rollout()["status"]["headgate"]["abortPlace"]["stepIndex"].as_u64().unwrap_or(0);
        for step in place + 1..=4 {
            assert_eq!(over(step), 0, "request {which}: step {step}, aborted at {place}");
        }
    }
}

/// An API server or a load balancer that writes a Service between two patches of ours.
#[test]
fn each_service_that_was_switched_is_told_although_the_other_patch_was_refused() {
    for refused_one in ["web-stable", "web-canary"] {
        let mut world = released();
        let before = world.events("SwitchService");
        let is_first = Cell::new(true);
        let of_service =
            move |call: &Call| matches!(call, Call::Patch { target, .. } if target.name == refused_one);
        world.refuse(move |call| of_service(call) && is_first.replace(false), refused(409, "Conflict"));
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
        world.run(120);
        assert_eq!((world.phase(), world.events("SwitchService") - before), ("Healthy", 2), "{refused_one}");
    }
}

fn promoted(world: &World) -> u64 {
    let times = world.driver.counters().releases.total.get("Promoted");
    times.map_or(0, |times| times.counts.iter().sum())
}

#[test]
fn a_release_is_counted_once_whatever_the_server_drops_and_whichever_comes_first() {
    for pruned in [vec![], vec!["headgate", "waiting", "duration"]] {
        let mut world = released();
        world.server.pruned = pruned.clone();
        let before = promoted(&world);
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
        world.run(120);
        assert_eq!(world.phase(), "Healthy");
        for replicas in [5, 3, 4] {
            world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "replicas": replicas } }));
            world.run(60);
        }
        assert_eq!(promoted(&world) - before, 1, "{pruned:?}");
    }
}

#[test]
fn a_release_is_counted_although_the_watch_is_faster_than_the_answer() {
    let mut world = released();
    let before = promoted(&world);
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    for _ in 0..600 {
        world.server.kubelet(world.now);
        world.deliver();
        let requests = world.driver.poll(world.now);
        if requests.is_empty() {
            world.now += SignedDuration::from_secs(1);
        }
        for request in requests {
            let reply = world.execute(&request.call);
            world.deliver();
            world.driver.reply(request.id, reply, world.now);
        }
    }
    assert_eq!((world.phase(), promoted(&world) - before), ("Healthy", 1));
}
