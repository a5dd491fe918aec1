//! Labels and annotations that pods carry by the role of their version.

use crate::world::{World, spec};
use headgate_api::labels;
use headgate_engine::{PodsWanted, wants_pods};
use headgate_model::template::{PodMetadata, same_template, strip_injected};
use headgate_model::{Decision, Effect, Observed, ReplicaSetView, RunningPod};
use serde_json::{Value, json};

fn canary() -> Value {
    json!({
        "canaryMetadata": {"labels": {"role": "canary"}, "annotations": {"note": "new"}},
        "stableMetadata": {"labels": {"role": "stable"}},
        "steps": [{"setWeight": 50}, {"pause": {}}],
    })
}

/// Two versions, the second one half way out, with their pods.
fn half_way() -> World {
    let mut world = World::running(spec(4, canary()));
    world.release(2);
    world.settle();
    world.snapshot.running = Observed::Present(pods(&world));
    world
}

fn set(world: &World, version: u32) -> &ReplicaSetView {
    let hash = world.hash(version);
    world.sets().iter().find(|set| set.hash() == hash).unwrap()
}

/// The pods that ReplicaSets have made of their templates as they are.
fn pods(world: &World) -> Vec<RunningPod> {
    let of = |set: &ReplicaSetView| -> Vec<RunningPod> {
        let pod = |index: i32| RunningPod {
            name: format!("{}-{index}", set.name),
            uid: format!("uid of {}-{index}", set.name),
            set_uid: set.uid.clone(),
            created_at: world.now,
            ready_since: Some(world.now),
            is_leaving: false,
            resource_version: "1".into(),
            metadata: PodMetadata::of(&set.template["metadata"]),
        };
        (0..set.replicas).map(pod).collect()
    };
    world.sets().iter().flat_map(of).collect()
}

/// What the pods of a version carry, each kind once: role and note.
fn carried(world: &World, version: u32) -> Vec<(Option<String>, Option<String>)> {
    let uid = &set(world, version).uid;
    let pods = world.snapshot.running.present().unwrap().iter().filter(|pod| pod.set_uid == *uid);
    let mut all: Vec<_> = pods
        .map(|pod| (pod.metadata.labels.get("role").cloned(), pod.metadata.annotations.get("note").cloned()))
        .collect();
    all.dedup();
    all
}

fn is(role: &str, note: Option<&str>) -> Vec<(Option<String>, Option<String>)> {
    vec![(Some(role.to_owned()), note.map(str::to_owned))]
}

fn role_of_template(world: &World, version: u32) -> Value {
    set(world, version).template["metadata"]["labels"]["role"].clone()
}

fn wanted(world: &World) -> PodsWanted {
    wants_pods(&world.snapshot, world.status(), world.now)
}

/// Decides without the pods, as long as that leads anywhere.
fn settle_blindly(world: &mut World) {
    let known = std::mem::replace(&mut world.snapshot.running, Observed::Unknown);
    world.settle();
    world.snapshot.running = known;
}

fn patches(decision: &Decision) -> usize {
    decision.effects.iter().filter(|effect| matches!(effect, Effect::PatchPod { .. })).count()
}

#[test]
fn a_new_version_is_the_canary_in_its_template_and_in_no_hash() {
    let world = half_way();
    assert_eq!(role_of_template(&world, 1), "stable");
    assert_eq!(role_of_template(&world, 2), "canary");
    assert_eq!(set(&world, 2).template["metadata"]["annotations"], json!({"note": "new"}));
    assert_eq!(
        world.annotation(2, labels::EPHEMERAL_METADATA).as_deref(),
        Some(r#"{"labels":{"role":"canary"},"annotations":{"note":"new"}}"#)
    );
    assert!(!set(&world, 2).labels.contains_key("role"), "the ReplicaSet itself has no role");
    assert_eq!(wanted(&world), PodsWanted::No, "pods are made right: nobody needs to look at them");
    assert_eq!((carried(&world, 1), carried(&world, 2)), (is("stable", None), is("canary", Some("new"))));
}

#[test]
fn pods_follow_when_the_canary_becomes_stable_and_then_nothing_is_read_any_more() {
    let mut world = half_way();
    world.promote();
    settle_blindly(&mut world);
    assert_eq!((world.phase(), role_of_template(&world, 2)), ("Healthy", json!("stable")));
    assert_eq!(set(&world, 2).template["metadata"].get("annotations"), Some(&json!({})));
    assert_eq!(carried(&world, 2), is("canary", Some("new")), "the pods themselves come next");
    assert_eq!(wanted(&world), PodsWanted::Once);
    world.settle();
    assert_eq!(carried(&world, 2), is("stable", None));
    assert_eq!(world.annotation(2, labels::FORMER_POD_METADATA), None);
    assert_eq!(wanted(&world), PodsWanted::No);
    assert_eq!(role_of_template(&world, 1), Value::Null, "the old version has no role any more");
    world.check_settled();
}

#[test]
fn after_an_abort_roles_are_those_of_before_and_a_new_version_takes_the_role() {
    let mut world = half_way();
    world.abort();
    settle_blindly(&mut world);
    assert_eq!(
        (role_of_template(&world, 1), role_of_template(&world, 2)),
        (json!("stable"), json!("canary"))
    );
    world.release(3);
    settle_blindly(&mut world);
    assert_eq!(
        (role_of_template(&world, 2), role_of_template(&world, 3)),
        (Value::Null, json!("canary")),
        "neither stable nor newest"
    );
    // Back to the stable version: it is the newest one, too.
    world.release(1);
    settle_blindly(&mut world);
    assert_eq!((world.phase(), role_of_template(&world, 1)), ("Healthy", json!("stable")));
    assert_eq!(world.sets().len(), 3, "injected metadata makes no other version");
}

#[test]
fn pods_are_looked_at_only_once_their_controller_has_seen_the_template() {
    let mut world = half_way();
    world.promote();
    settle_blindly(&mut world);
    let name = set(&world, 2).name.clone();
    let lag = |world: &mut World, by: i64| {
        let set = world.sets_mut().iter_mut().find(|set| set.name == name).unwrap();
        set.observed_generation = set.generation - by;
    };
    lag(&mut world, 1);
    assert_eq!(wanted(&world), PodsWanted::No);
    assert_eq!(patches(&world.decide()), 0);
    lag(&mut world, 0);
    assert_eq!(wanted(&world), PodsWanted::Once);
    assert_eq!(patches(&world.decide()), 2);
}

#[test]
fn one_decision_patches_ten_pods_at_most() {
    let mut world = World::running(spec(25, json!({})));
    world.edit(|spec| spec["strategy"]["canary"]["stableMetadata"] = json!({"labels": {"role": "stable"}}));
    let before = pods(&world);
    settle_blindly(&mut world);
    assert_eq!(world.annotation(1, labels::FORMER_POD_METADATA).as_deref(), Some("{}"));
    world.snapshot.running = Observed::Present(before);
    assert_eq!(patches(&world.decide()), 10);
    world.settle();
    assert_eq!(carried(&world, 1), is("stable", None));
}

#[test]
fn what_the_spec_no_longer_asks_for_goes() {
    let mut world = half_way();
    world.edit(|spec| {
        let canary = spec["strategy"]["canary"].as_object_mut().unwrap();
        canary.remove("canaryMetadata");
        canary.remove("stableMetadata");
    });
    world.settle();
    assert_eq!((carried(&world, 1), carried(&world, 2)), (vec![(None, None)], vec![(None, None)]));
    for set in world.sets() {
        assert!(!set.annotations.keys().any(|key| key.contains("metadata")), "{:?}", set.annotations);
    }
}

#[test]
fn a_label_of_the_template_gives_way_and_comes_back() {
    let mut canary = canary();
    canary["canaryMetadata"] = json!({"labels": {"app": "shop", "tier": "canary"}});
    canary.as_object_mut().unwrap().remove("stableMetadata");
    let mut world = World::running(spec(2, canary));
    let own = |spec: &mut Value, version: u32| {
        spec["template"] = crate::world::pod_template(version);
        spec["template"]["metadata"]["labels"]["tier"] = json!("front");
    };
    world.edit(|spec| own(spec, 2));
    world.settle();
    let newest = |world: &World| world.sets().iter().max_by_key(|set| set.revision()).unwrap().clone();
    assert_eq!(newest(&world).template["metadata"]["labels"]["tier"], "canary");
    let template = world.snapshot.rollout.spec_raw["template"].clone();
    let stripped = strip_injected(&newest(&world).template, &newest(&world).annotations);
    assert!(same_template(&stripped, &template), "undo brings back what the user wrote: {stripped}");
    world.snapshot.running = Observed::Present(pods(&world));
    world.promote();
    world.settle();
    assert_eq!(world.phase(), "Healthy");
    assert_eq!(newest(&world).template["metadata"]["labels"]["tier"], "front");
    assert_eq!(newest(&world).template["metadata"]["labels"]["app"], "shop");
    let pods = world.snapshot.running.present().unwrap();
    let tiers: Vec<_> = pods
        .iter()
        .filter(|pod| pod.set_uid == newest(&world).uid)
        .map(|pod| pod.metadata.labels.get("tier").map(String::as_str))
        .collect();
    assert!(!tiers.is_empty() && tiers.iter().all(|tier| *tier == Some("front")), "{tiers:?}");
}

#[test]
fn a_label_by_which_a_service_finds_its_pods_is_refused() {
    let mut canary = crate::world::routed(json!([{"setWeight": 25}, {"pause": {}}]));
    canary["stableMetadata"] = json!({"labels": {"role": "stable"}});
    let mut world = World::new(spec(2, canary));
    world.edit(|spec| spec["template"]["metadata"]["labels"]["role"] = json!("web"));
    let Some(Observed::Present(service)) = world.snapshot.services.get_mut("shop-stable") else {
        panic!("it is there")
    };
    service.selector.insert("role".into(), "web".into());
    world.settle();
    assert!(
        world.status().message.contains(
            "spec.strategy.canary.stableMetadata.labels[role]: Invalid value: \"stable\": Service \"shop-stable\" selects \
             pods by this label"
        ),
        "{}",
        world.status().message
    );
    assert!(world.sets().is_empty(), "nothing moves");
}
