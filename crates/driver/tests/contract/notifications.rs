//! R11: what happens to a release is told at least once, with one key, and nobody waits for it.

use crate::states::{State, measured};
use crate::world::{Heard, World, at, taken_over, template, web};
use headgate_driver::io::Call;
use headgate_driver::resources::ROLLOUTS;
use headgate_notify::{Subscription, Subscriptions, Trigger};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

pub(crate) fn to(services: &[&str]) -> Option<Subscriptions> {
    let service = |name: &&str| Subscription {
        service: (*name).to_owned(),
        triggers: Trigger::ALL.into(),
        namespaces: Vec::new(),
    };
    Some(Subscriptions { cluster: Some("prod".to_owned()), services: services.iter().map(service).collect() })
}

/// Version 1 is out, and told to these webhooks.
fn released(services: &[&str]) -> World {
    let mut world = World::new();
    world.subscriptions = to(services);
    world.restart();
    world.create(ROLLOUTS, web());
    world.run(60);
    assert_eq!(world.phase(), "Healthy", "{:#}", world.rollout());
    world.told.clear();
    world
}

fn release(world: &mut World) {
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
}

/// A release of version 2 that the user aborts.
fn abort(world: &mut World) {
    release(world);
    world.run(5);
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
}

fn events(world: &World) -> Vec<String> {
    world.told.iter().map(|(_, who, body)| format!("{who} {}", body["event"].as_str().unwrap())).collect()
}

fn keys(world: &World) -> BTreeSet<String> {
    world.told.iter().map(|(_, _, body)| body["key"].as_str().unwrap().to_owned()).collect()
}

fn outbox(world: &World) -> usize {
    world.rollout().pointer("/status/headgate/outbox").and_then(Value::as_array).map_or(0, Vec::len)
}

fn counted(world: &World, outcome: &str) -> u64 {
    let all = world.driver.counters().notifications.iter();
    all.filter(|((_, _, one), _)| *one == outcome).map(|(_, count)| count).sum()
}

#[test]
fn an_abort_and_a_completion_are_told_once_and_leave_nothing_behind() {
    let mut world = released(&["hook"]);
    abort(&mut world);
    world.run(60);
    assert_eq!(events(&world), ["hook aborted"]);
    let (_, _, body) = &world.told[0];
    for (field, value) in [
        ("cluster", json!("prod")),
        ("namespace", json!("shop")),
        ("name", json!("web")),
        ("revision", json!(2)),
        ("phase", json!("Degraded")),
        ("images", json!(["web:2"])),
        ("step", json!({ "index": 1, "count": 4 })),
    ] {
        assert_eq!(body[field], value, "{field} of {body:#}");
    }
    assert_eq!(body.get("weight"), None, "there are no routes");
    assert_eq!(outbox(&world), 0);
    release(&mut world);
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("3") } }));
    world.run(120);
    assert_eq!(events(&world), ["hook aborted", "hook completed"]);
    let before = world.server.writes.len();
    world.run(3_600);
    assert_eq!(world.server.writes.len(), before, "{:?}", &world.server.writes[before..]);
}

/// What is told of an abort of the routed Rollout in this state, at 25 %.
fn told_of_abort(state: State, act: impl FnOnce(&mut World)) -> Value {
    let mut world = state.reached();
    world.subscriptions = to(&["hook"]);
    world.restart();
    world.settle();
    world.told.clear();
    act(&mut world);
    world.run(60);
    assert_eq!(events(&world), ["hook aborted"], "{:#}", world.rollout()["status"]);
    world.told.remove(0).2
}

#[test]
fn an_abort_by_an_analysis_says_how_far_the_release_had_come_and_names_the_run() {
    let body = told_of_abort(State::AnalysisRunning, |world| {
        world.provider = Box::new(|_| Some(measured("0")));
        // The measurement that never ended dies with its process.
        world.restart();
    });
    assert_eq!(
        (&body["step"], &body["weight"]),
        (&json!({ "index": 1, "count": 4 }), &json!(25)),
        "{body:#}"
    );
    let hash = body["podTemplateHash"].as_str().unwrap();
    assert_eq!(body["analysisRun"], json!(format!("web-{hash}-2-1")), "{body:#}");
    let message = body["message"].as_str().unwrap();
    assert!(
        message.starts_with("Rollout aborted update to revision 2 at step 2/4, weight 25: "),
        "{message}"
    );
    assert!(body["key"].as_str().unwrap().contains("/aborted/1/"), "{body:#}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/notifications.md");
    let page = std::fs::read_to_string(page).unwrap();
    let shown = page.split("```json message").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap();
    let fields = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(fields(&body), fields(&shown), "the page shows a real one");
}

#[test]
fn an_abort_by_hand_says_how_far_the_release_had_come_and_names_no_run() {
    for state in [State::Paused, State::AnalysisRunning] {
        let body = told_of_abort(state, |world| {
            world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
        });
        let place = json!({ "index": 1, "count": 4 });
        assert_eq!((&body["step"], &body["weight"]), (&place, &json!(25)), "{body:#}");
        assert_eq!(body.get("analysisRun"), None, "{body:#}");
    }
}

#[test]
fn the_first_release_is_told_too() {
    let mut world = World::new();
    world.subscriptions = to(&["hook"]);
    world.restart();
    world.create(ROLLOUTS, web());
    world.run(60);
    assert_eq!(events(&world), ["hook completed"]);
}

#[test]
fn nothing_is_sent_before_the_record_that_makes_it_true_is_stored() {
    let mut world = released(&["hook"]);
    abort(&mut world);
    world.refuse(
        |call| matches!(call, Call::Patch { status: true, .. }),
        crate::server::refused(403, "Forbidden"),
    );
    world.run(120);
    assert_eq!(events(&world), Vec::<String>::new());
    world.server.refusals.clear();
    world.run(120);
    assert_eq!(events(&world), ["hook aborted"]);
}

#[test]
fn after_a_crash_between_the_record_and_the_request_it_is_told_all_the_same() {
    let mut world = released(&["hook"]);
    world.hook = Box::new(|_| Heard::Hangs);
    abort(&mut world);
    world.run(5);
    let mut world = taken_over(&world);
    assert_eq!(outbox(&world), 1);
    world.subscriptions = to(&["hook"]);
    world.restart();
    world.run(60);
    assert_eq!(events(&world), ["hook aborted"]);
    assert_eq!(outbox(&world), 0);
}

#[test]
fn a_message_that_was_taken_before_a_crash_is_repeated_with_the_same_key() {
    let mut world = released(&["hook"]);
    let crashes = Cell::new(1);
    world.hook = Box::new(move |_| match crashes.replace(0) {
        0 => Heard::Answers(200),
        _ => Heard::Crash,
    });
    abort(&mut world);
    world.run(60);
    assert_eq!(events(&world), ["hook aborted", "hook aborted"]);
    assert_eq!(keys(&world).len(), 1);
    assert_eq!(outbox(&world), 0);
}

#[test]
fn a_lost_answer_is_followed_by_the_same_message_again() {
    let mut world = released(&["hook"]);
    let silences = Cell::new(3);
    world.hook = Box::new(move |_| {
        silences.set(silences.get() - 1);
        if silences.get() >= 0 { Heard::Silence } else { Heard::Answers(204) }
    });
    abort(&mut world);
    world.run(60);
    assert_eq!(world.told.len(), 4);
    assert_eq!(keys(&world).len(), 1);
    let first = world.told[0].2.clone();
    assert!(world.told.iter().all(|(_, _, body)| *body == first));
    assert_eq!((counted(&world, "failed"), counted(&world, "delivered")), (3, 2));
}

#[test]
fn a_webhook_that_is_down_for_a_day_costs_no_write_and_is_given_up_with_an_event() {
    let mut world = released(&["hook"]);
    world.hook = Box::new(|_| Heard::Answers(500));
    abort(&mut world);
    world.run(60);
    let (writes, asked) = (world.written().len(), world.told.len());
    world.run(23 * 3_600);
    assert_eq!(world.written().len(), writes);
    let attempts = world.told.len() - asked;
    assert!((200..400).contains(&attempts), "{attempts} attempts in 23 hours");
    assert_eq!(outbox(&world), 1);
    world.run(2 * 3_600);
    assert_eq!(world.written().len(), writes + 1);
    assert_eq!((outbox(&world), world.events("NotificationFailed"), counted(&world, "given_up")), (0, 1, 1));
    assert_eq!(keys(&world).len(), 1);
    let silent = world.told.len();
    world.run(3_600);
    assert_eq!(world.told.len(), silent);
}

#[test]
fn a_webhook_that_is_down_does_not_keep_another_from_being_told_once() {
    let mut world = released(&["good", "down"]);
    world.hook = Box::new(|service| Heard::Answers(if service == "good" { 200 } else { 503 }));
    abort(&mut world);
    world.run(600);
    let good = events(&world).into_iter().filter(|event| event.starts_with("good")).count();
    assert_eq!(good, 1);
    assert_eq!(outbox(&world), 1);
    world.hook = Box::new(|_| Heard::Answers(200));
    world.run(600);
    assert_eq!(outbox(&world), 0);
}

#[test]
fn a_webhook_that_never_answers_holds_up_no_release() {
    let mut world = released(&["hook"]);
    world.hook = Box::new(|_| Heard::Hangs);
    abort(&mut world);
    world.run(5);
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("3") } }));
    world.run(120);
    assert_eq!(world.phase(), "Healthy");
    assert_eq!(events(&world), ["hook aborted", "hook completed"]);
    assert_eq!(outbox(&world), 2);
}

#[test]
fn no_more_than_the_limit_is_on_its_way_to_one_webhook() {
    let mut world = released(&["hook"]);
    world.hook = Box::new(|_| Heard::Hangs);
    for version in 10..20 {
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template(&version.to_string()) } }));
        world.run(5);
        world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
        world.run(5);
    }
    assert_eq!(world.told.len(), 4);
    assert_eq!(outbox(&world), 8);
    assert!(world.events("NotificationFailed") > 0);
    assert_eq!(counted(&world, "dropped"), 2);
}

#[test]
fn a_webhook_that_is_taken_from_the_configuration_is_waited_for_no_longer() {
    let mut world = released(&["gone", "stays"]);
    world.hook = Box::new(|service| Heard::Answers(if service == "stays" { 200 } else { 500 }));
    abort(&mut world);
    world.run(60);
    assert_eq!(outbox(&world), 1);
    world.driver.notify(to(&["stays"]), world.now);
    world.settle();
    assert_eq!(outbox(&world), 0);
}

#[test]
fn a_webhook_that_is_added_is_told_what_still_waits() {
    let mut world = released(&["down"]);
    world.hook = Box::new(|service| Heard::Answers(if service == "down" { 500 } else { 200 }));
    abort(&mut world);
    world.run(60);
    world.driver.notify(to(&["down", "new"]), world.now);
    world.settle();
    assert!(events(&world).contains(&"new aborted".to_owned()));
}

#[test]
fn while_the_configuration_is_not_known_what_waits_stays() {
    let mut world = released(&["hook"]);
    world.hook = Box::new(|_| Heard::Answers(500));
    abort(&mut world);
    world.run(5);
    world.subscriptions = None;
    world.restart();
    let asked = world.told.len();
    world.run(600);
    assert_eq!((outbox(&world), world.told.len()), (1, asked));
    world.hook = Box::new(|_| Heard::Answers(200));
    world.driver.notify(to(&["hook"]), world.now);
    world.run(600);
    assert_eq!(outbox(&world), 0);
}

#[test]
fn without_a_webhook_nothing_is_kept() {
    let mut world = released(&[]);
    abort(&mut world);
    world.run(60);
    assert_eq!((world.told.len(), outbox(&world)), (0, 0));
    let kept = world.rollout().pointer("/status/headgate/completing");
    assert_eq!(kept, None);
}

#[test]
fn a_server_that_drops_the_outbox_does_not_keep_the_news_from_being_told_once() {
    let mut world = World::new();
    world.server.pruned = vec!["headgate", "waiting"];
    world.subscriptions = to(&["hook"]);
    world.restart();
    world.create(ROLLOUTS, web());
    world.run(60);
    abort(&mut world);
    world.run(600);
    assert_eq!(events(&world), ["hook completed", "hook aborted"]);
    assert_eq!(world.driver.facts().notifications_waiting, 0);
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_a_message_for_hours() {
    let mut world = released(&["hook"]);
    world.hook = Box::new(|_| Heard::Answers(500));
    abort(&mut world);
    world.run(600);
    let told = Rc::new(Cell::new(0));
    let count = Rc::clone(&told);
    world.hook = Box::new(move |_| {
        count.set(count.get() + 1);
        Heard::Answers(200)
    });
    world.now -= SignedDuration::from_hours(3);
    world.run(10);
    assert_eq!(told.get(), 1);
}

#[test]
fn a_rollout_that_is_deleted_has_nothing_to_tell_any_more() {
    let mut world = released(&["hook"]);
    world.hook = Box::new(|_| Heard::Answers(500));
    abort(&mut world);
    world.run(60);
    let asked = world.told.len();
    world.server.remove(&at(ROLLOUTS, "web"));
    world.run(3_600);
    assert_eq!(world.told.len(), asked);
    assert_eq!(world.driver.facts().notifications_waiting, 0);
}

#[test]
fn news_that_cannot_be_found_out_hold_up_no_release() {
    let mut world = World::deciding(|| headgate_driver::Deciders {
        news: Box::new(|_, _, _, _| panic!("by the test")),
        ..headgate_driver::Deciders::default()
    });
    world.subscriptions = to(&["hook"]);
    world.restart();
    world.create(ROLLOUTS, web());
    world.run(60);
    assert_eq!(world.phase(), "Healthy");
}
