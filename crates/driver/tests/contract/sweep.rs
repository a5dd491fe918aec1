//! R8: Services that no Rollout uses any more lose our selector and annotation, and no others do.

use crate::faults::FAULTS;
use crate::script::calls_since;
use crate::server::refused;
use crate::world::{Fault, VIRTUAL_SERVICES, World, at, released, routed, service, taken_over, template};
use headgate_driver::io::{Call, Observation, Patch, Reply};
use headgate_driver::resources::{ROLLOUTS, SERVICES};
use jiff::SignedDuration;
use serde_json::{Value, json};

const MARK: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";
const HASH: &str = "rollouts-pod-template-hash";

/// A user deletes the Rollout, and garbage collection its children.
fn delete_rollout(world: &mut World) {
    world.server.remove(&at(ROLLOUTS, "web"));
}

/// A Service that an earlier process has marked for this Rollout.
fn marked(name: &str, rollout: &str) -> Value {
    let mut service = service(name);
    service["metadata"]["annotations"] = json!({ MARK: rollout, "team": "carts" });
    service["spec"]["selector"][HASH] = json!("abc");
    service
}

fn is_marked(world: &World, name: &str) -> bool {
    let service = world.get(&at(SERVICES, name));
    let annotation = service["metadata"]["annotations"].get(MARK).is_some();
    assert_eq!(annotation, service["spec"]["selector"].get(HASH).is_some(), "{service:#}");
    annotation
}

/// Everything but our two keys and what the API server itself counts.
fn user_part(world: &World, name: &str) -> Value {
    let mut service = world.get(&at(SERVICES, name)).clone();
    for counted in ["resourceVersion", "generation"] {
        service["metadata"].as_object_mut().unwrap().remove(counted);
    }
    if let Some(annotations) = service["metadata"]["annotations"].as_object_mut() {
        annotations.remove(MARK);
    }
    service["spec"]["selector"].as_object_mut().unwrap().remove(HASH);
    service
}

fn patches_of_services(world: &World) -> Vec<&Call> {
    let is_patch = |call: &&Call| matches!(call, Call::Patch { target, .. } if target.resource == SERVICES);
    world.log.iter().filter(is_patch).collect()
}

#[test]
fn services_of_a_deleted_rollout_lose_our_two_keys_and_nothing_else() {
    let mut world = released();
    let by_user = json!({ "metadata": { "annotations": { "team": "carts" }, "labels": { "tier": "web" } } });
    world.edit(at(SERVICES, "web-stable"), by_user);
    world.settle();
    let names = ["web-stable", "web-canary"];
    assert_eq!(names.map(|name| is_marked(&world, name)), [true, true]);
    let before = names.map(|name| user_part(&world, name));
    let route = world.get(&at(VIRTUAL_SERVICES, "web")).clone();
    delete_rollout(&mut world);
    world.settle();
    assert_eq!(names.map(|name| is_marked(&world, name)), [false, false]);
    assert_eq!(names.map(|name| user_part(&world, name)), before);
    assert_eq!(*world.get(&at(VIRTUAL_SERVICES, "web")), route);
    let start = world.log.len();
    world.run(3600);
    assert_eq!(world.log[start..], [], "what was undone costs nothing");
}

#[test]
fn the_patch_carries_uid_and_resource_version_and_names_only_our_two_keys() {
    let mut world = released();
    let service = world.get(&at(SERVICES, "web-stable")).clone();
    delete_rollout(&mut world);
    let start = world.log.len();
    world.settle();
    let patch = world.log[start..]
        .iter()
        .find(|call| matches!(call, Call::Patch { target, .. } if *target == at(SERVICES, "web-stable")));
    let body = json!({
        "metadata": {
            "uid": service["metadata"]["uid"], "resourceVersion": service["metadata"]["resourceVersion"],
            "annotations": { MARK: null },
        },
        "spec": { "selector": { HASH: null } },
    });
    let target = at(SERVICES, "web-stable");
    assert_eq!(patch, Some(&Call::Patch { target, status: false, patch: Patch::Merge(body) }));
    assert_eq!(world.log[start], Call::Get(at(ROLLOUTS, "web")), "the Rollout is read live first");
}

#[test]
fn a_service_that_the_spec_no_longer_names_is_given_back_and_the_others_stay() {
    let mut world = released();
    world.create(SERVICES, service("web-next"));
    world.edit(
        at(ROLLOUTS, "web"),
        json!({ "spec": { "strategy": { "canary": { "canaryService": "web-next" } } } }),
    );
    world.run(60);
    assert!(!is_marked(&world, "web-canary"));
    assert!(is_marked(&world, "web-stable"));
}

#[test]
fn a_service_that_a_rollout_without_a_template_of_its_own_does_not_name_is_given_back() {
    let mut world = crate::workload::migrated("never");
    world.create(SERVICES, marked("left", "web"));
    world.settle();
    assert!(!is_marked(&world, "left"), "{:#}", world.rollout());
}

#[test]
fn marks_that_were_left_before_the_start_are_undone_at_take_over() {
    let mut world = World::new();
    world.create(SERVICES, marked("left", "long-gone"));
    world.restart();
    world.settle();
    assert!(!is_marked(&world, "left"));
}

#[test]
fn a_standby_undoes_nothing() {
    let mut world = World::new();
    world.create(SERVICES, marked("left", "long-gone"));
    let mut standby = world.standby();
    assert_eq!(standby.poll(world.now), []);
    assert_eq!(standby.wake_at(), None);
    standby.lead(world.now);
    assert_eq!(standby.wake_at(), Some(world.now));
    let calls: Vec<Call> = standby.poll(world.now).into_iter().map(|request| request.call).collect();
    assert_eq!(calls, [Call::Get(at(ROLLOUTS, "long-gone"))]);
}

#[test]
fn services_of_another_instance_and_of_an_invalid_rollout_are_left_alone() {
    let mut world = World::new();
    let mut other = routed();
    other["metadata"]["name"] = json!("other");
    other["metadata"]["labels"] = json!({ "argo-rollouts.argoproj.io/controller-instance-id": "blue" });
    let mut invalid = routed();
    invalid["metadata"]["name"] = json!("invalid");
    invalid["spec"]["strategy"] = json!({});
    world.create(ROLLOUTS, other);
    world.create(ROLLOUTS, invalid);
    for (service, rollout) in [("a", "other"), ("b", "invalid")] {
        world.create(SERVICES, marked(service, rollout));
    }
    world.run(1300);
    world.restart();
    world.run(1300);
    assert_eq!(["a", "b"].map(|name| is_marked(&world, name)), [true, true]);
    assert_eq!(patches_of_services(&world), Vec::<&Call>::new());
}

#[test]
fn a_service_that_is_named_in_a_place_that_we_do_not_know_is_left_alone() {
    let mut world = released();
    world.create(SERVICES, marked("root", "web"));
    world.edit(
        at(ROLLOUTS, "web"),
        json!({ "spec": { "strategy": { "canary": { "trafficRouting": { "alb": {
            "servicePort": 80, "ingress": "web", "rootService": "root",
        }}}}}}),
    );
    world.run(700);
    assert!(is_marked(&world, "root"));
}

/// Rollouts that are not listed, or not served at the moment, may all be there.
#[test]
fn nothing_is_undone_while_it_is_unknown_which_rollouts_exist() {
    let mut world = World::new();
    world.create(SERVICES, marked("left", "web"));
    for unknown in [None, Some(Observation::NotInstalled(ROLLOUTS))] {
        let mut driver = headgate_driver::Driver::new(headgate_driver::Options::default());
        for watch in driver.watches().into_iter().filter(|watch| watch.resource != ROLLOUTS) {
            driver.observe(Observation::ListStarted(watch.resource), world.now);
            if watch.resource == SERVICES {
                let service = world.get(&at(SERVICES, "left")).clone();
                driver.observe(Observation::Listed(SERVICES, service), world.now);
            }
            driver.observe(Observation::Synced(watch.resource), world.now);
        }
        if let Some(observation) = unknown {
            driver.observe(observation, world.now);
        }
        driver.lead(world.now);
        assert_eq!(driver.poll(world.now), []);
        assert_eq!(driver.wake_at(), None);
        driver.observe(Observation::ListStarted(ROLLOUTS), world.now);
        driver.observe(Observation::Synced(ROLLOUTS), world.now);
        assert_eq!(driver.poll(world.now).len(), 1, "once they are listed, the one is asked for");
    }
}

#[test]
fn a_rollout_that_was_deleted_and_created_again_keeps_its_services() {
    let mut world = released();
    let before = world.rollout().clone();
    world.watch_delay = SignedDuration::from_mins(10);
    let writes = patches_of_services(&world).len();
    // The deletion is delivered while the new one, which the live read finds, is still on its way.
    delete_rollout(&mut world);
    world.create(ROLLOUTS, routed());
    world.driver.observe(Observation::Deleted(ROLLOUTS, before), world.now);
    let asked = world.driver.poll(world.now);
    assert!(asked.iter().any(|request| request.call == Call::Get(at(ROLLOUTS, "web"))), "{asked:?}");
    for request in asked {
        world.carry_out(&request);
    }
    world.run(300);
    assert_eq!(["web-stable", "web-canary"].map(|name| is_marked(&world, name)), [true, true]);
    let undone = |call: &&&Call| {
        matches!(call, Call::Patch { patch: Patch::Merge(body), .. }
        if body.pointer("/spec/selector/rollouts-pod-template-hash") == Some(&Value::Null))
    };
    assert_eq!(patches_of_services(&world)[writes..].iter().filter(undone).count(), 0);
}

#[test]
fn an_answer_that_is_not_a_plain_no_is_no_proof() {
    for reply in [
        Reply::Refused {
            code: 404,
            reason: "Failed to parse error data".to_owned(),
            message: "404 page not found".to_owned(),
        },
        refused(403, "Forbidden"),
        refused(503, "ServiceUnavailable"),
        Reply::Lost("no answer".to_owned()),
    ] {
        let mut world = World::new();
        world.create(SERVICES, marked("left", "gone"));
        world.refuse(|call| matches!(call, Call::Get(target) if target.resource == ROLLOUTS), reply.clone());
        world.run(300);
        assert!(is_marked(&world, "left"), "{reply:?}");
        let asked = world.log.len();
        assert!((6..=14).contains(&asked), "asked {asked} times in 300 s");
        world.server.refusals.clear();
        world.run(90);
        assert!(!is_marked(&world, "left"), "{reply:?}");
    }
}

#[test]
fn a_service_that_changes_meanwhile_is_looked_at_again() {
    let mut world = World::new();
    world.create(SERVICES, marked("left", "gone"));
    world.deliver();
    for request in world.driver.poll(world.now) {
        world.carry_out(&request);
    }
    let patch = world.driver.poll(world.now);
    world.edit(at(SERVICES, "left"), json!({ "spec": { "selector": { "zone": "a" } } }));
    for request in patch {
        world.carry_out(&request);
    }
    assert!(is_marked(&world, "left"));
    world.run(10);
    assert!(!is_marked(&world, "left"));
    assert_eq!(world.get(&at(SERVICES, "left"))["spec"]["selector"]["zone"], "a");
    assert_eq!(world.driver.counters().effects.get(&("Sweep", "Conflict")), Some(&1));
}

/// The answer about the Rollout was given before the Service was marked anew.
#[test]
fn a_mark_that_is_set_while_the_rollout_is_read_is_not_undone_by_that_answer() {
    let mut world = World::new();
    world.create(SERVICES, marked("web-stable", "web"));
    world.deliver();
    let asked = world.driver.poll(world.now);
    let answers: Vec<_> = asked.iter().map(|request| (request.id, world.execute(&request.call))).collect();
    world.create(ROLLOUTS, routed());
    world.edit(at(SERVICES, "web-stable"), json!({ "spec": { "selector": { HASH: "def" } } }));
    let service = world.get(&at(SERVICES, "web-stable")).clone();
    world.driver.observe(Observation::Applied(SERVICES, service), world.now);
    for (id, answer) in answers {
        world.driver.reply(id, answer, world.now);
    }
    for request in world.driver.poll(world.now) {
        assert!(!matches!(request.call, Call::Patch { .. }), "{:?}", request.call);
        world.carry_out(&request);
    }
    assert!(is_marked(&world, "web-stable"));
}

#[test]
fn a_process_that_was_frozen_after_the_answer_asks_again() {
    let mut world = World::new();
    world.create(SERVICES, marked("left", "gone"));
    world.deliver();
    let asked = world.driver.poll(world.now);
    world.now += SignedDuration::from_secs(30);
    for request in asked {
        world.carry_out(&request);
    }
    let calls: Vec<Call> = world.driver.poll(world.now).into_iter().map(|request| request.call).collect();
    assert_eq!(calls, [Call::Get(at(ROLLOUTS, "gone"))]);
}

#[test]
fn a_mark_that_somebody_puts_back_is_undone_ever_more_slowly() {
    let mut world = World::new();
    world.create(SERVICES, marked("left", "gone"));
    for _ in 0..300 {
        world.run(1);
        let marked = marked("left", "gone");
        let back = json!({ "metadata": { "annotations": marked["metadata"]["annotations"] },
            "spec": { "selector": marked["spec"]["selector"] } });
        world.edit(at(SERVICES, "left"), back);
    }
    let undone = patches_of_services(&world).len();
    assert!((6..=14).contains(&undone), "{undone} times in 300 s");
}

#[test]
fn a_service_without_our_annotation_is_never_touched() {
    let mut world = World::new();
    let mut theirs = service("theirs");
    theirs["spec"]["selector"][HASH] = json!("abc");
    world.create(SERVICES, theirs.clone());
    theirs["metadata"]["name"] = json!("nobodys");
    theirs["metadata"]["annotations"] = json!({ MARK: "" });
    world.create(SERVICES, theirs);
    world.restart();
    world.run(700);
    assert_eq!(world.log, []);
}

#[test]
fn only_so_many_services_are_swept_at_a_time_and_all_of_them_in_the_end() {
    let mut world = World::new();
    let names: Vec<String> = (0..30).map(|index| format!("left-{index}")).collect();
    for name in &names {
        world.create(SERVICES, marked(name, "gone"));
    }
    world.deliver();
    let first = world.driver.poll(world.now);
    assert_eq!(first.len(), 8);
    assert_eq!(world.driver.wake_at(), Some(world.now + SignedDuration::from_mins(10)), "no spinning");
    for request in first {
        world.carry_out(&request);
    }
    world.settle();
    assert!(names.iter().all(|name| !is_marked(&world, name)));
    assert_eq!(patches_of_services(&world).len(), 30);
}

#[test]
fn a_clock_that_is_set_back_holds_no_sweep_up() {
    let mut world = World::new();
    world.create(SERVICES, marked("left", "gone"));
    world.refuse(|call| matches!(call, Call::Patch { .. }), refused(403, "Forbidden"));
    world.run(120);
    world.now -= SignedDuration::from_hours(2);
    world.server.refusals.clear();
    world.run(5);
    assert!(!is_marked(&world, "left"));
}

#[test]
fn another_rollout_may_take_the_services_of_one_that_is_gone() {
    let mut world = released();
    let mut next = routed();
    next["metadata"]["name"] = json!("next");
    next["spec"]["strategy"]["canary"]["trafficRouting"] = Value::Null;
    next["spec"]["template"] = template("7");
    world.create(ROLLOUTS, next);
    world.run(60);
    let owner =
        |world: &World| world.get(&at(SERVICES, "web-stable"))["metadata"]["annotations"][MARK].clone();
    assert_eq!(owner(&world), "web");
    world.watch_delay = SignedDuration::from_secs(10);
    delete_rollout(&mut world);
    let start = world.log.len();
    world.run(15);
    let calls = calls_since(&world, start);
    assert!(calls.contains(&"create ReplicaSet".to_owned()), "the answer counts before the watch: {calls:?}");
    world.run(120);
    assert_eq!(world.get(&at(ROLLOUTS, "next"))["status"]["phase"], "Healthy");
}

#[test]
fn marks_are_undone_when_any_one_request_goes_wrong() {
    let healthy = released();
    for wrong in FAULTS {
        for victim in 1..=6 {
            let mut world = taken_over(&healthy);
            world.settle();
            let first = world.requests;
            world.fault =
                Box::new(move |request| if request == first + victim { wrong } else { Fault::None });
            delete_rollout(&mut world);
            world.run(90);
            assert_eq!(["web-stable", "web-canary"].map(|name| is_marked(&world, name)), [false, false]);
        }
    }
}
