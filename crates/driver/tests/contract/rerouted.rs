//! Another router, or none, in the middle of a release: the objects of the one before are led back to stable.

use crate::made::{INGRESSES, ingress, weight};
use crate::server::refused;
use crate::world::{VIRTUAL_SERVICES, World, at, released, template, virtual_service};
use headgate_driver::io::Call;
use headgate_driver::resources::ROLLOUTS;
use serde_json::{Value, json};

/// Version 2 has a quarter of the requests through Istio.
fn under_way() -> World {
    let mut world = released();
    world.create(INGRESSES, ingress());
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(5);
    assert_eq!(weight_of_istio(&world), 25);
    world
}

pub(crate) fn weight_of_istio(world: &World) -> &Value {
    weight_on(world, "web")
}

fn weight_on<'a>(world: &'a World, virtual_service: &str) -> &'a Value {
    &world.get(&at(VIRTUAL_SERVICES, virtual_service))["spec"]["http"][0]["route"][1]["weight"]
}

/// Version 2 has a quarter of the requests through two VirtualServices.
fn under_way_through_two() -> World {
    let mut world = released();
    let mut other = virtual_service();
    other["metadata"]["name"] = json!("api");
    world.create(VIRTUAL_SERVICES, other);
    let both = json!([{ "name": "web" }, { "name": "api" }]);
    route_through(&mut world, &json!({ "istio": { "virtualService": null, "virtualServices": both } }));
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(5);
    assert_eq!((weight_on(&world, "web"), weight_on(&world, "api")), (&json!(25), &json!(25)));
    world
}

fn delete_virtual_service(world: &mut World, name: &str) {
    let uid =
        world.get(&at(VIRTUAL_SERVICES, name))["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    world.delete(at(VIRTUAL_SERVICES, name), &uid);
}

pub(crate) fn route_through(world: &mut World, routing: &Value) {
    world.edit(
        at(ROLLOUTS, "web"),
        json!({ "spec": { "strategy": { "canary": { "trafficRouting": routing } } } }),
    );
}

/// How many routers may give the canary something. Those that are only watched have been led back.
fn in_use(world: &World) -> usize {
    let remembered = world.rollout().pointer("/status/headgate/routersInUse").and_then(Value::as_array);
    remembered.map_or(0, |all| all.iter().filter(|entry| entry.get("ledBackAt").is_none()).count())
}

#[test]
fn the_other_router_takes_over_and_the_one_before_gets_back_to_stable() {
    let mut world = under_way();
    route_through(&mut world, &json!({ "istio": null, "nginx": { "stableIngress": "web" } }));
    world.run(2);
    assert_eq!((weight_of_istio(&world), weight(&world)), (&json!(0), "25"));
    let first = world.written().iter().rposition(|write| write == "patch VirtualService web");
    world.run(120);
    assert_eq!((world.phase(), weight(&world)), ("Healthy", "0"));
    assert_eq!(in_use(&world), 1, "the one that the spec names, and no other");
    let last = world.written().iter().rposition(|write| write == "patch VirtualService web");
    assert_eq!(first, last, "it is left alone from then on");
}

#[test]
fn a_route_that_is_missing_or_wrong_keeps_no_abort_from_the_others() {
    for name in ["web", "api"] {
        let mut world = under_way_through_two();
        let other = if name == "web" { "api" } else { "web" };
        delete_virtual_service(&mut world, name);
        world.run(5);
        assert!(world.rollout()["status"]["message"].as_str().unwrap_or_default().contains(name));
        world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
        world.run(5);
        assert_eq!(weight_on(&world, other), 0, "{name} is missing");
    }
    let mut world = under_way_through_two();
    world.edit(at(VIRTUAL_SERVICES, "web"), json!({ "spec": { "http": [] } }));
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
    world.run(5);
    assert_eq!(weight_on(&world, "api"), 0, "web has no route");
}

#[test]
fn an_abort_leads_back_a_route_that_cannot_be_weighted_as_the_spec_means() {
    for policy in ["instant", "asCapacityAllows", "stepped"] {
        let mut world = under_way_through_two();
        world.edit(
            at(ROLLOUTS, "web"),
            json!({ "spec": { "strategy": { "canary": { "abort": { "policy": policy } } } } }),
        );
        let http = world.get(&at(VIRTUAL_SERVICES, "web"))["spec"]["http"][0].clone();
        world.edit(at(VIRTUAL_SERVICES, "web"), json!({ "spec": { "http": [http, http] } }));
        world.run(60);
        let message = world.rollout()["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("has 2 http routes"), "{message}");
        assert_eq!(weight_on(&world, "web"), 25, "it waits to be mended");
        world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
        world.run(5);
        let both = world.get(&at(VIRTUAL_SERVICES, "web"))["spec"]["http"].to_string();
        assert!(!both.contains("25"), "an abort does not wait for that: {both}");
        assert_eq!(weight_on(&world, "api"), 0);
    }
}

#[test]
fn a_route_that_leaves_the_list_is_led_back_while_the_others_keep_their_weight() {
    let mut world = under_way_through_two();
    route_through(&mut world, &json!({ "istio": { "virtualServices": [{ "name": "api" }] } }));
    world.run(5);
    assert_eq!(weight_on(&world, "web"), 0);
    assert_ne!(weight_on(&world, "api"), 0);
    world.run(120);
    assert_eq!((world.phase(), in_use(&world)), ("Healthy", 1));
}

#[test]
fn of_routes_that_leave_the_spec_together_one_that_is_gone_keeps_nothing_from_the_others() {
    for name in ["web", "api"] {
        let mut world = under_way_through_two();
        let other = if name == "web" { "api" } else { "web" };
        delete_virtual_service(&mut world, name);
        route_through(&mut world, &Value::Null);
        world.run(5);
        assert_eq!(weight_on(&world, other), 0, "{name} is gone");
    }
}

#[test]
fn routes_that_may_not_be_patched_any_more_are_tried_again_each_in_its_own_time() {
    let mut world = under_way_through_two();
    let is_route =
        |call: &Call| matches!(call, Call::Patch { target, .. } if target.resource == VIRTUAL_SERVICES);
    world.refuse(is_route, refused(403, "Forbidden"));
    route_through(&mut world, &Value::Null);
    let before = world.log.len();
    world.run(60);
    let tries = |name: &str| {
        let of_name = |call: &&Call| matches!(call, Call::Patch { target, .. } if target.name == name);
        world.log[before..].iter().filter(|call| is_route(call)).filter(of_name).count()
    };
    for name in ["web", "api"] {
        assert!((2..=10).contains(&tries(name)), "{name} is tried {} times in a minute", tries(name));
    }
}

#[test]
fn a_new_process_leads_back_what_the_one_before_has_left() {
    let mut world = under_way();
    route_through(&mut world, &Value::Null);
    world.restart();
    world.run(5);
    assert_eq!((weight_of_istio(&world), in_use(&world)), (&json!(0), 0));
}

#[test]
fn a_canary_ingress_goes_back_to_weight_0_when_another_router_follows() {
    let mut world = under_way();
    route_through(&mut world, &json!({ "istio": null, "nginx": { "stableIngress": "web" } }));
    world.run(2);
    assert_eq!(weight(&world), "25");
    route_through(&mut world, &json!({ "nginx": null, "istio": { "virtualService": { "name": "web" } } }));
    world.run(2);
    assert_eq!((weight_of_istio(&world), weight(&world)), (&json!(25), "0"));
}

#[test]
fn what_the_server_drops_of_the_record_is_remembered_by_the_process() {
    let mut world = with_a_server_that_drops_what_is_remembered();
    route_through(&mut world, &Value::Null);
    world.run(5);
    assert_eq!(weight_of_istio(&world), 0);
}

/// A user who aborts, or skips a step, writes into the status, too.
#[test]
fn what_the_server_drops_of_the_record_is_remembered_beside_the_wish_of_a_user() {
    for wish in [json!({ "abort": true }), json!({ "pauseConditions": null, "currentStepIndex": 2 })] {
        let mut world = with_a_server_that_drops_what_is_remembered();
        route_through(&mut world, &Value::Null);
        world.edit(at(ROLLOUTS, "web"), json!({ "status": wish }));
        world.run(5);
        assert_eq!(weight_of_istio(&world), 0, "{wish}");
    }
}

/// Version 2 stands at a quarter, and nothing of that is in the stored status.
pub(crate) fn with_a_server_that_drops_what_is_remembered() -> World {
    let mut world = under_way();
    let canary = json!({ "steps": [{ "setWeight": 25 }, { "pause": {} }] });
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "strategy": { "canary": canary } } }));
    world.run(30);
    assert_eq!(weight_of_istio(&world), 25);
    world.server.pruned = vec!["headgate", "waiting"];
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "headgate": null, "waiting": null } }));
    world.run(30);
    assert_eq!(in_use(&world), 0, "the server drops it");
    world
}
