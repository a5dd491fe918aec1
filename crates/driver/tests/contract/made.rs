//! Objects that a router makes: ingress-nginx' canary Ingress. Made once, adopted when it is ours, never anybody else's.

use crate::world::{World, at, routed, service, template};
use headgate_driver::io::{Call, Patch, Resource};
use headgate_driver::resources::{PODS, REPLICA_SETS, ROLLOUTS, SERVICES};
use jiff::SignedDuration;
use serde_json::{Value, json};

pub(crate) const INGRESSES: Resource = Resource {
    group: "networking.k8s.io",
    version: "v1",
    kind: "Ingress",
    plural: "ingresses",
    namespaced: true,
};

const WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";

pub(crate) fn ingress() -> Value {
    let backend = json!({ "service": { "name": "web-stable", "port": { "number": 80 } } });
    json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": { "rules": [
            { "host": "web", "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } },
        ]},
    })
}

/// The Rollout and what it names, nothing of it begun.
fn begun() -> World {
    let mut world = World::new();
    let mut rollout = routed();
    rollout["spec"]["strategy"]["canary"]["trafficRouting"] = json!({ "nginx": { "stableIngress": "web" } });
    world.create(SERVICES, service("web-stable"));
    world.create(SERVICES, service("web-canary"));
    world.create(INGRESSES, ingress());
    world.create(ROLLOUTS, rollout);
    world
}

/// An Ingress with the name of the canary Ingress, of this owner.
fn taken(world: &World, kind: &str, name: &str, uid: Option<&str>) -> Value {
    let own = world.rollout()["metadata"]["uid"].as_str().unwrap();
    let mut existing = ingress();
    existing["metadata"]["name"] = json!("web-web-canary");
    existing["metadata"]["ownerReferences"] =
        json!([{ "kind": kind, "name": name, "uid": uid.unwrap_or(own), "controller": true }]);
    existing
}

pub(crate) fn weight(world: &World) -> &str {
    let canary = world.get(&at(INGRESSES, "web-web-canary"));
    canary["metadata"]["annotations"][WEIGHT].as_str().unwrap_or("none")
}

/// How often the driver has tried to make it.
fn tries(world: &World) -> usize {
    let is_creation =
        |call: &&Call| matches!(call, Call::Create { target, .. } if target.resource == INGRESSES);
    world.log.iter().filter(is_creation).count()
}

fn creations(world: &World) -> usize {
    world.written().iter().filter(|write| *write == "create Ingress").count()
}

#[test]
fn a_canary_ingress_is_made_once_and_then_only_patched() {
    let mut world = begun();
    world.run(60);
    assert_eq!((world.phase(), weight(&world), creations(&world)), ("Healthy", "0", 1));
    let stable = world.get(&at(INGRESSES, "web")).clone();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(8);
    assert_eq!(weight(&world), "25");
    world.run(120);
    assert_eq!((world.phase(), weight(&world), creations(&world)), ("Healthy", "0", 1));
    assert_eq!(world.get(&at(INGRESSES, "web")), &stable, "the stable Ingress is read only");
    let is_narrow = |call: &Call| match call {
        Call::Patch { target, patch: Patch::Merge(body), .. } if target.resource == INGRESSES => {
            body.get("spec").is_none()
        }
        _ => true,
    };
    assert!(world.server.writes.iter().all(is_narrow), "only annotations change with the weight");
}

#[test]
fn the_canary_ingress_follows_the_rules_of_the_stable_one() {
    let mut world = begun();
    world.run(60);
    let mut rules = world.get(&at(INGRESSES, "web"))["spec"]["rules"].clone();
    rules[0]["host"] = json!("shop");
    world.edit(at(INGRESSES, "web"), json!({ "spec": { "rules": rules } }));
    world.run(5);
    let canary = world.get(&at(INGRESSES, "web-web-canary"));
    assert_eq!(canary["spec"]["rules"][0]["host"], "shop");
    assert_eq!(canary["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"], "web-canary");
}

#[test]
fn r3_what_was_made_is_known_before_the_watch_delivers_it() {
    let mut world = begun();
    world.deliver();
    world.watch_delay = SignedDuration::from_mins(10);
    world.run(60);
    assert_eq!((weight(&world), tries(&world)), ("0", 1));
}

#[test]
fn r5_a_canary_ingress_of_ours_that_is_there_already_is_adopted() {
    let mut world = begun();
    // It was made by a process that has died since, after this one had looked, and the watch lags behind.
    world.round();
    world.create(INGRESSES, taken(&world, "Rollout", "web", None));
    world.watch_delay = SignedDuration::from_mins(10);
    world.run(60);
    assert_eq!((weight(&world), creations(&world), tries(&world)), ("0", 0, 1));
    assert_eq!(world.driver.counters().effects.get(&("Route", "AlreadyExists")), None, "no failure");
}

#[test]
fn r5_a_canary_ingress_of_a_rollout_that_is_gone_is_awaited() {
    let mut world = begun();
    world.create(INGRESSES, taken(&world, "Rollout", "web", Some("uid-of-the-one-before")));
    world.run(30);
    assert_eq!((weight(&world), creations(&world)), ("none", 0));
    assert_ne!(world.phase(), "Degraded", "{:#}", world.rollout()["status"]);
    let uid = world.get(&at(INGRESSES, "web-web-canary"))["metadata"]["uid"].as_str().unwrap().to_owned();
    world.delete(at(INGRESSES, "web-web-canary"), &uid);
    world.run(30);
    assert_eq!((world.phase(), weight(&world), creations(&world)), ("Healthy", "0", 1));
}

#[test]
fn r5_an_ingress_of_somebody_else_is_left_alone_and_the_spec_says_why() {
    let mut world = begun();
    world.round();
    let theirs = taken(&world, "Rollout", "another", Some("uid-of-another"));
    world.create(INGRESSES, theirs);
    let before = world.get(&at(INGRESSES, "web-web-canary")).clone();
    world.watch_delay = SignedDuration::from_mins(10);
    world.run(60);
    assert_eq!((world.get(&at(INGRESSES, "web-web-canary")), creations(&world)), (&before, 0));
    assert_eq!((world.phase(), tries(&world)), ("Degraded", 1));
    let message = world.rollout()["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("Ingress \"web-web-canary\"") && message.contains("delete that Ingress"),
        "{message}"
    );
}

/// Two pods of a Rollout that is Healthy, a minute old, with an annotation of somebody else.
pub(crate) fn two_pods() -> World {
    let mut world = World::new();
    let mut web = crate::world::web();
    web["spec"]["replicas"] = json!(2);
    world.create(ROLLOUTS, web);
    world.run(10);
    assert_eq!(world.phase(), "Healthy");
    let set =
        world.server.objects.iter().find(|(target, _)| target.resource == REPLICA_SETS).unwrap().1.clone();
    for index in 0..2 {
        world.create(
            PODS,
            json!({
                "metadata": {
                    "name": format!("pod-{index}"), "labels": set["metadata"]["labels"], "annotations": { "by": "others" },
                    "ownerReferences": [{ "kind": "ReplicaSet", "name": set["metadata"]["name"],
                        "uid": set["metadata"]["uid"], "controller": true }],
                },
                "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
            }),
        );
    }
    world.run(60);
    world
}
