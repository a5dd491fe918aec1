//! `spec.workloadRef`: the template comes from somebody else's object, which is read, and of which one number is written.

use crate::server::refused;
use crate::world::{World, at, template, web};
use headgate_api::labels::WORKLOAD_GENERATION;
use headgate_driver::io::{Call, Patch, Resource};
use headgate_driver::resources::{DEPLOYMENTS, POD_TEMPLATES, REPLICA_SETS, ROLLOUTS, WORKLOAD_REPLICA_SETS};
use serde_json::{Value, json};

pub(crate) fn deployment(replicas: i64) -> Value {
    json!({
        "metadata": { "name": "web", "namespace": "shop", "annotations": { "note": "by its own team" } },
        "spec": {
            "replicas": replicas, "template": template("1"),
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": { "type": "RollingUpdate" },
        },
    })
}

/// The Rollout `web` with what it refers to instead of a template.
fn referring(kind: &str, api_version: &str, scale_down: &str) -> Value {
    let mut rollout = web();
    let spec = rollout["spec"].as_object_mut().unwrap();
    spec.remove("template");
    if kind != "PodTemplate" {
        spec.remove("selector");
    }
    let reference =
        json!({ "apiVersion": api_version, "kind": kind, "name": "web", "scaleDown": scale_down });
    spec.insert("workloadRef".to_owned(), reference);
    rollout
}

/// Beside a Deployment with four pods, a minute after it was applied.
pub(crate) fn migrated(scale_down: &str) -> World {
    let mut world = World::new();
    world.create(DEPLOYMENTS, deployment(4));
    world.create(ROLLOUTS, referring("Deployment", "apps/v1", scale_down));
    world.run(60);
    world
}

fn pods_of(world: &World) -> i64 {
    world.get(&at(DEPLOYMENTS, "web"))["spec"]["replicas"].as_i64().unwrap()
}

fn generations(world: &World) -> [String; 3] {
    let rollout = world.rollout();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    [
        world.get(&at(DEPLOYMENTS, "web"))["metadata"]["generation"].to_string(),
        text(&rollout["metadata"]["annotations"][WORKLOAD_GENERATION]),
        text(&rollout["status"]["workloadObservedGeneration"]),
    ]
}

#[test]
fn of_the_deployment_one_number_is_written_each_time_with_its_guard() {
    for (scale_down, left) in [("never", 4), ("onsuccess", 0), ("progressively", 0)] {
        let world = migrated(scale_down);
        assert_eq!((world.phase(), pods_of(&world)), ("Healthy", left), "{:#}", world.rollout());
        let mut after = world.get(&at(DEPLOYMENTS, "web")).clone();
        let mut sizes = vec![4];
        for call in &world.server.writes {
            let Call::Patch { target, patch, .. } = call else { continue };
            if target.resource != DEPLOYMENTS {
                continue;
            }
            let Patch::Json(operations) = patch else { panic!("{patch:?}") };
            let [uid, _, from, to] = operations.as_array().unwrap().as_slice() else {
                panic!("{operations}")
            };
            assert_eq!(
                [&uid["op"], &uid["value"], &from["op"], &from["path"], &to["path"]],
                [
                    &json!("test"),
                    &after["metadata"]["uid"],
                    &json!("test"),
                    &json!("/spec/replicas"),
                    &json!("/spec/replicas")
                ]
            );
            assert_eq!(from["value"], json!(sizes.last()));
            sizes.push(to["value"].as_i64().unwrap());
        }
        assert_eq!(sizes.last(), Some(&left), "{sizes:?}");
        after["spec"]["replicas"] = json!(4);
        assert_eq!(after["spec"], deployment(4)["spec"], "all else is as it was");
        let [latest, noted, observed] = generations(&world);
        assert_eq!((&noted, &observed), (&latest, &latest));
    }
}

#[test]
fn a_new_template_of_the_deployment_is_released() {
    let mut world = migrated("onsuccess");
    let generation = world.rollout()["metadata"]["generation"].clone();
    let first = world.rollout()["status"]["currentPodHash"].clone();
    world.edit(at(DEPLOYMENTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(5);
    assert_eq!(world.phase(), "Paused");
    assert_ne!(world.rollout()["status"]["currentPodHash"], first);
    assert_eq!(world.rollout()["metadata"]["generation"], generation);
    let [latest, noted, observed] = generations(&world);
    assert_eq!((&noted, &observed), (&latest, &latest));
    world.run(60);
    assert_eq!((world.phase(), pods_of(&world)), ("Healthy", 0));
}

#[test]
fn who_scales_the_deployment_up_again_is_left_alone() {
    let mut world = migrated("onsuccess");
    let before = world.written().len();
    world.edit(at(DEPLOYMENTS, "web"), json!({ "spec": { "replicas": 3 } }));
    world.run(600);
    assert_eq!(pods_of(&world), 3);
    let written = world.written().split_off(before);
    assert_eq!(written, ["record web", "patch Rollout web"], "the generation");
}

#[test]
fn a_change_of_the_deployments_status_wakes_nobody() {
    let mut world = migrated("onsuccess");
    let (requests, decisions) = (world.requests, world.driver.counters().decisions);
    world.edit(at(DEPLOYMENTS, "web"), json!({ "metadata": { "annotations": { "note": "other" } } }));
    world.run(60);
    assert_eq!((world.requests, world.driver.counters().decisions), (requests, decisions));
}

#[test]
fn r2_a_deployment_that_was_scaled_meanwhile_is_looked_at_again() {
    let mut world = World::new();
    world.create(DEPLOYMENTS, deployment(4));
    world.create(ROLLOUTS, referring("Deployment", "apps/v1", "onsuccess"));
    let is_scale = |call: &Call| matches!(call, Call::Patch { target, .. } if target.resource == DEPLOYMENTS);
    let mut raced = false;
    for _ in 0..200 {
        world.server.kubelet(world.now);
        world.deliver();
        for request in world.driver.poll(world.now) {
            if is_scale(&request.call) && !raced {
                raced = true;
                world.edit(at(DEPLOYMENTS, "web"), json!({ "spec": { "replicas": 2 } }));
            }
            world.carry_out(&request);
        }
        world.now += jiff::SignedDuration::from_secs(1);
    }
    assert!(raced);
    assert_eq!((world.phase(), pods_of(&world)), ("Healthy", 0));
    assert_eq!(world.driver.counters().effects.get(&("ScaleWorkload", "Conflict")), Some(&1));
}

#[test]
fn a_template_may_come_from_a_pod_template_or_a_replica_set_too() {
    let pods = json!({ "metadata": { "name": "web", "namespace": "shop" }, "template": template("1") });
    let mut set = deployment(0);
    set["spec"].as_object_mut().unwrap().remove("strategy");
    for (kind, api_version, resource, object) in
        [("PodTemplate", "v1", POD_TEMPLATES, pods), ("ReplicaSet", "apps/v1", WORKLOAD_REPLICA_SETS, set)]
    {
        let mut world = World::new();
        world.create(resource, object);
        world.create(ROLLOUTS, referring(kind, api_version, "onsuccess"));
        world.run(60);
        assert_eq!(world.phase(), "Healthy", "{kind}: {:#}", world.rollout()["status"]);
        assert!(world.written().iter().all(|write| !write.contains(resource.kind)), "{:?}", world.written());
    }
}

#[test]
fn a_missing_workload_is_told_and_waited_for() {
    let mut world = World::new();
    world.create(ROLLOUTS, referring("Deployment", "apps/v1", "onsuccess"));
    world.run(30);
    let message = world.rollout()["status"]["message"].as_str().unwrap().to_owned();
    assert_eq!(world.phase(), "Degraded");
    assert!(message.contains("Deployment \"web\" not found: create it in namespace shop"), "{message}");
    world.create(DEPLOYMENTS, deployment(4));
    world.run(60);
    assert_eq!((world.phase(), pods_of(&world)), ("Healthy", 0));
    let pods = |world: &World| {
        let sets = world.server.objects.iter().filter(|(key, _)| key.resource == REPLICA_SETS);
        sets.map(|(_, set)| set["spec"]["replicas"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    world.edit(at(DEPLOYMENTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(5);
    assert_eq!(world.phase(), "Paused");
    let uid = world.get(&at(DEPLOYMENTS, "web"))["metadata"]["uid"].as_str().unwrap().to_owned();
    let before = pods(&world);
    world.delete(at(DEPLOYMENTS, "web"), &uid);
    world.run(60);
    assert_eq!((world.phase(), pods(&world)), ("Degraded", before), "nothing moves");
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
    world.run(60);
    let mut after = pods(&world);
    after.sort_unstable();
    assert_eq!(after, [0, 4], "an abort leads back all the same");
}

#[test]
fn a_workload_that_may_not_be_read_is_told_with_the_reason() {
    let mut world = World::new();
    let is_read = |call: &Call| matches!(call, Call::Get(target) if target.resource == DEPLOYMENTS);
    world.refuse(is_read, refused(403, "Forbidden"));
    world.create(ROLLOUTS, referring("Deployment", "apps/v1", "onsuccess"));
    world.run(30);
    let message = world.rollout()["status"]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(world.phase(), "Degraded", "{:#}", world.rollout());
    assert!(message.contains("Deployment \"web\" cannot be read: Forbidden"), "{message}");
    world.server.refusals.clear();
    world.create(DEPLOYMENTS, deployment(4));
    world.run(120);
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn a_template_of_its_own_beside_a_reference_is_refused_and_touches_nothing() {
    let mut world = World::new();
    world.create(DEPLOYMENTS, deployment(4));
    let mut rollout = referring("Deployment", "apps/v1", "progressively");
    rollout["spec"]["template"] = template("1");
    world.create(ROLLOUTS, rollout);
    world.run(60);
    let message = world.rollout()["status"]["message"].as_str().unwrap();
    assert!(message.contains("template must be empty for workload reference rollout"), "{message}");
    assert_eq!(pods_of(&world), 4);
}

#[test]
fn a_rollout_that_does_not_say_how_many_pods_it_wants_wants_as_many_as_the_deployment_has() {
    let mut world = World::new();
    world.create(DEPLOYMENTS, deployment(7));
    let mut rollout = referring("Deployment", "apps/v1", "progressively");
    rollout["spec"].as_object_mut().unwrap().remove("replicas");
    world.create(ROLLOUTS, rollout);
    world.run(60);
    assert_eq!(
        (world.phase(), &world.rollout()["spec"]["replicas"], pods_of(&world)),
        ("Healthy", &json!(7), 0)
    );
}

#[test]
fn workloads_are_watched_only_once_a_rollout_refers_to_one() {
    let mut world = World::new();
    let demanded = |world: &World| world.driver.demanded().into_iter().collect::<Vec<Resource>>();
    assert_eq!(demanded(&world), []);
    world.create(DEPLOYMENTS, deployment(4));
    world.create(ROLLOUTS, referring("Deployment", "apps/v1", "never"));
    world.run(60);
    assert_eq!(demanded(&world), [DEPLOYMENTS]);
    let on_demand = world.driver.watches().into_iter().filter(|watch| watch.on_demand);
    let kinds: Vec<&str> = on_demand.map(|watch| watch.resource.plural).collect();
    assert_eq!(kinds, ["deployments", "podtemplates", "replicasets"]);
}
