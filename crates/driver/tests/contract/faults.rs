//! Everything that can go wrong, at every request; what was begun completes all the same.

use crate::notifications::to;
use crate::server::refused;
use crate::world::{Fault, VIRTUAL_SERVICES, World, at, released, taken_over, template};
use headgate_driver::io::{Call, Patch};
use headgate_driver::resources::ROLLOUTS;
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the user does to version 1, healthy.
#[derive(Clone, Copy, Debug)]
enum Act {
    Release,
    /// A release that is aborted while it waits at 25 %.
    Abort,
}

/// Lets the faults happen for a while, then none, and looks at the end.
fn completes(world: &mut World, act: Act) {
    world.subscriptions = to(&["hook"]);
    world.driver.notify(world.subscriptions.clone(), world.now);
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    if let Act::Abort = act {
        until_paused(world);
        world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
    }
    world.run(200);
    world.fault = Box::new(|_| Fault::None);
    world.list_lag = 0;
    world.run(200);
    let status = world.rollout()["status"].clone();
    let (phase, version, event) = match act {
        Act::Release => ("Healthy", "web:2", "completed"),
        Act::Abort => ("Degraded", "web:1", "aborted"),
    };
    let told: BTreeSet<(String, String)> = world.told.iter().map(|(_, _, body)| named(body)).collect();
    assert_eq!(told.iter().map(|(event, _)| event.as_str()).collect::<Vec<_>>(), [event], "{told:?}");
    assert_eq!(status["phase"], phase, "{status:#}");
    assert_eq!(running(world), [version], "{status:#}");
    let route = &world.get(&at(VIRTUAL_SERVICES, "web"))["spec"]["http"][0]["route"];
    assert_eq!(route[1]["weight"], 0, "{route:#}");
    let start = world.log.len();
    world.run(3600);
    assert_eq!(world.log[start..], [], "what is settled costs nothing");
}

/// The event and the key of a message.
fn named(body: &Value) -> (String, String) {
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    (text("event"), text("key"))
}

/// An abort means the version that the user sees on its way: before that there is nothing to abort.
fn until_paused(world: &mut World) {
    let is_paused = |world: &World| world.rollout()["status"]["currentStepIndex"] == 1;
    for _ in 0..200 {
        if is_paused(world) {
            return;
        }
        world.run(1);
    }
    panic!("the release has not begun: {:#}", world.rollout()["status"]);
}

/// Images of the ReplicaSets that want pods.
fn running(world: &World) -> Vec<Value> {
    let sets = world.server.objects.values().filter(|object| object["kind"] == "ReplicaSet");
    let wanted = sets.filter(|set| set["spec"]["replicas"] != 0);
    wanted.map(|set| set["spec"]["template"]["spec"]["containers"][0]["image"].clone()).collect()
}

#[test]
fn a_release_and_an_abort_complete_without_faults() {
    completes(&mut released(), Act::Release);
    completes(&mut released(), Act::Abort);
}

#[test]
fn an_abort_does_not_wait_for_a_weight_that_is_refused_again_and_again() {
    let mut world = released();
    let sets_half = |call: &Call| match call {
        Call::Patch { target, patch: Patch::Merge(body) | Patch::Json(body), .. }
            if target.resource == VIRTUAL_SERVICES =>
        {
            body.to_string().contains(r#""weight":50"#)
        }
        _ => false,
    };
    world.refuse(sets_half, refused(422, "Invalid"));
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(300);
    let shown = |world: &World| {
        world.get(&at(VIRTUAL_SERVICES, "web"))["spec"]["http"][0]["route"][1]["weight"].clone()
    };
    assert_eq!(
        shown(&world),
        25,
        "the weight that is refused is waited for: {:#}",
        world.rollout()["status"]
    );
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
    world.run(3);
    assert_eq!(shown(&world), 0, "{:#}", world.rollout()["status"]);
}

#[test]
fn a_rollout_that_was_not_found_by_mistake_is_taken_up_again_when_the_watch_shows_it() {
    let mut world = released();
    let reads = |call: &Call| matches!(call, Call::Get(target) if target.resource == ROLLOUTS);
    world.refuse(reads, refused(404, "NotFound"));
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(60);
    assert_eq!(running(&world), ["web:1"], "nothing is begun for a Rollout that is not found");
    world.server.refusals.clear();
    world.edit(at(ROLLOUTS, "web"), json!({ "metadata": { "annotations": { "looked": "at" } } }));
    world.run(200);
    assert_eq!((world.phase(), running(&world)), ("Healthy", vec![json!("web:2")]));
}

#[test]
fn a_release_completes_when_any_one_request_goes_wrong() {
    let healthy = released();
    let mut world = taken_over(&healthy);
    completes(&mut world, Act::Release);
    let requests = world.requests;
    assert!(requests > 10);
    for wrong in FAULTS {
        for victim in 1..=requests {
            let mut world = taken_over(&healthy);
            world.fault = Box::new(move |request| if request == victim { wrong } else { Fault::None });
            completes(&mut world, Act::Release);
        }
    }
}

pub(crate) const FAULTS: [Fault; 8] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::AnswerLost,
    Fault::RequestLost,
    Fault::Refused(403, "Forbidden"),
    Fault::Refused(409, "Conflict"),
    Fault::Refused(422, "Invalid"),
    Fault::Refused(500, "InternalError"),
];

#[test]
fn a_release_completes_when_the_clock_is_set_back() {
    let mut world = released();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.fault =
        Box::new(|request| if request % 2 == 0 { Fault::Refused(500, "InternalError") } else { Fault::None });
    world.run(8);
    world.now -= SignedDuration::from_hours(2);
    world.run(30);
    world.fault = Box::new(|_| Fault::None);
    // Pauses and delays are in the stored status as times of the old clock: they end by it.
    world.now += SignedDuration::from_hours(2);
    world.run(300);
    assert_eq!(world.phase(), "Healthy", "{:#}", world.rollout()["status"]);
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![8 => Just(Fault::None), 8 => proptest::sample::select(FAULTS.to_vec())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The world checks at every write that it does not rest on a stale snapshot.
    #[test]
    fn what_was_begun_completes_under_any_faults_and_nothing_is_written_from_a_stale_snapshot(
        faults in proptest::collection::vec(fault(), 1..60),
        delay in 0..8_i64,
        lag in 0..30_usize,
        act in prop_oneof![Just(Act::Release), Just(Act::Abort)],
    ) {
        let mut world = released();
        world.watch_delay = SignedDuration::from_secs(delay);
        world.list_lag = lag;
        let first = world.requests;
        world.fault = Box::new(move |request| {
            let index = usize::try_from(request - first).unwrap();
            faults.get(index).copied().unwrap_or(Fault::None)
        });
        completes(&mut world, act);
    }
}
