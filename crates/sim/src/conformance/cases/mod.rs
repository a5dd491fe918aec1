//! The script.

mod calls;
mod controllers;
mod lives;
mod parts;
mod patches;
mod pods;

use super::{Act, Case, Step};
use headgate_api::labels::CONTROLLER_INSTANCE_ID;
use headgate_driver::io::{Call, ObjectRef, Patch, Resource};
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS};
use serde_json::{Value, json};

/// All cases.
pub fn all() -> Vec<Case> {
    [calls::all(), patches::all(), parts::all(), lives::all(), controllers::all(), pods::all()]
        .into_iter()
        .flatten()
        .collect()
}

/// Names an object; the namespace is the case's.
fn at(resource: Resource, name: &str) -> ObjectRef {
    ObjectRef { resource, namespace: String::new(), name: name.to_owned() }
}

fn step(name: &'static str, act: Act) -> Step {
    Step { name, act }
}

fn get(name: &'static str, target: ObjectRef) -> Step {
    step(name, Act::Call(Call::Get(target)))
}

fn list(name: &'static str, resource: Resource, labels: &str) -> Step {
    step(name, Act::Call(Call::List { resource, namespace: String::new(), labels: labels.to_owned() }))
}

fn create(name: &'static str, resource: Resource, body: Value) -> Step {
    let target = at(resource, body["metadata"]["name"].as_str().unwrap_or_default());
    step(name, Act::Call(Call::Create { target, body }))
}

fn delete(name: &'static str, target: ObjectRef, uid: &str) -> Step {
    step(name, Act::Call(Call::Delete { target, uid: uid.to_owned() }))
}

/// A merge patch of the object.
fn merge(name: &'static str, target: ObjectRef, body: Value) -> Step {
    step(name, Act::Call(Call::Patch { target, status: false, patch: Patch::Merge(body) }))
}

/// A merge patch of its status subresource.
fn merge_status(name: &'static str, target: ObjectRef, body: Value) -> Step {
    step(name, Act::Call(Call::Patch { target, status: true, patch: Patch::Merge(body) }))
}

/// A JSON patch of the object.
fn operations(name: &'static str, target: ObjectRef, body: Value) -> Step {
    step(name, Act::Call(Call::Patch { target, status: false, patch: Patch::Json(body) }))
}

/// A Rollout that no controller looks after.
fn rollout(name: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": name, "labels": { CONTROLLER_INSTANCE_ID: "conformance" } },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "app", "image": "shop:1" }] },
            },
            "strategy": { "canary": { "steps": [{ "setWeight": 20 }, { "pause": {} }] } },
        },
    })
}

/// An AnalysisRun that no controller looks after.
fn analysis_run(name: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": { "name": name, "labels": { CONTROLLER_INSTANCE_ID: "conformance" } },
        "spec": { "metrics": [{
            "name": "rate", "successCondition": "result == 1",
            "provider": { "web": { "url": "http://nowhere.example", "jsonPath": "{$.rate}" } },
        }] },
    })
}

/// A ReplicaSet with no pods to begin with.
fn replica_set(name: &str, container: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": name },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [container] },
            },
        },
    })
}

fn a_rollout(name: &str) -> ObjectRef {
    at(ROLLOUTS, name)
}

fn a_run(name: &str) -> ObjectRef {
    at(ANALYSIS_RUNS, name)
}

fn a_set(name: &str) -> ObjectRef {
    at(REPLICA_SETS, name)
}

/// The ReplicaSet controller has seen the newest generation.
fn is_observed(set: &Value) -> bool {
    let generation = set.pointer("/metadata/generation");
    generation.is_some() && generation == set.pointer("/status/observedGeneration")
}
