//! Scripted decisions, and ReplicaSets to make them about.

use crate::world::{World, scripted, template, web};
use headgate_driver::io::Call;
use headgate_driver::resources::{REPLICA_SETS, ROLLOUTS};
use headgate_model::{Decision, Effect, Snapshot};
use serde_json::{Value, json};
use std::sync::Arc;

/// The stored record, and these effects.
pub(crate) fn unchanged(snapshot: &Snapshot, effects: Vec<Effect>) -> Decision {
    Decision { record: snapshot.rollout.status.clone(), effects, wake_at: None }
}

pub(crate) fn scale(snapshot: &Snapshot, name: &str, to: i32) -> Option<Effect> {
    let set = snapshot.replica_sets.present()?.iter().find(|set| set.name == name && set.replicas != to)?;
    Some(Effect::Scale { name: set.name.clone(), uid: set.uid.clone(), from: set.replicas, to })
}

pub(crate) fn replica_set(name: &str, owner: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": "shop",
            "labels": { "app": "web", "rollouts-pod-template-hash": name },
            "ownerReferences": [{ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web",
                "uid": owner, "controller": true }],
        },
        "spec": { "replicas": replicas, "template": template("1") },
    })
}

/// A world with a scripted engine, one Rollout that has a status, and ReplicaSets a and b of two pods each.
pub(crate) fn scripted_world(decide: impl Fn(&Snapshot) -> Decision + Send + Sync + 'static) -> World {
    let decide = Arc::new(decide);
    let mut world = World::deciding(move || {
        let decide = Arc::clone(&decide);
        scripted(move |snapshot, _| decide(snapshot))
    });
    world.create(ROLLOUTS, web());
    let uid = world.rollout()["metadata"]["uid"].as_str().unwrap().to_owned();
    world.create(REPLICA_SETS, replica_set("a", &uid, 2));
    world.create(REPLICA_SETS, replica_set("b", &uid, 2));
    world
}

pub(crate) fn calls_since(world: &World, start: usize) -> Vec<String> {
    world.log[start..]
        .iter()
        .map(|call| match call {
            Call::Get(target) => format!("get {}", target.name),
            Call::List { resource, .. } => format!("list {}", resource.plural),
            Call::Create { target, .. } => format!("create {}", target.resource.kind),
            Call::Patch { target, status: true, .. } => format!("record {}", target.name),
            Call::Patch { target, .. } => format!("patch {}", target.name),
            Call::Delete { target, .. } => format!("delete {}", target.name),
            Call::Evict { target, .. } => format!("evict {}", target.name),
            Call::Measure { .. } => "measure".to_owned(),
            Call::Notify { .. } => "notify".to_owned(),
        })
        .collect()
}
