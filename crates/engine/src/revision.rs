//! ReplicaSets as objects: their names, manifests, revisions and annotations.

use crate::scene::{Scene, Versions};
use crate::{pod_metadata, replicas, workload};
use headgate_api::{RolloutStatus, labels};
use headgate_model::{
    Effect, EffectKey, Failure, FailureClass, ReplicaSetPatch, ReplicaSetView, RolloutView, Verb, selector,
    template,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The owner reference of everything that a Rollout creates.
pub(crate) fn owner(rollout: &RolloutView) -> Value {
    json!({
        "apiVersion": labels::API_VERSION,
        "kind": "Rollout",
        "name": rollout.name,
        "uid": rollout.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Name of the ReplicaSet of the newest version.
pub(crate) fn name(scene: &Scene<'_>) -> String {
    scene.current.map_or_else(
        || format!("{}-{}", scene.rollout.name, scene.current_hash),
        |current| current.name.clone(),
    )
}

fn creation<'a>(scene: &Scene<'a>) -> Option<&'a Failure> {
    let key = EffectKey { verb: Verb::CreateReplicaSet, object: name(scene) };
    scene.snapshot.failures.get(&key).filter(|_| scene.current.is_none())
}

/// How creating the ReplicaSet of the newest version fails, when it does not come right by itself.
pub(crate) fn create_failure<'a>(scene: &Scene<'a>) -> Option<&'a Failure> {
    creation(scene).filter(|failure| {
        matches!(failure.class, FailureClass::Invalid | FailureClass::Forbidden) || failure.attempts >= 3
    })
}

/// True when the name of the newest version's ReplicaSet is taken by something else, so that the hash must change.
pub(crate) fn name_is_taken(scene: &Scene<'_>) -> bool {
    creation(scene).is_some_and(|failure| failure.class == FailureClass::AlreadyExists)
}

/// Creates the ReplicaSet of the newest version, and keeps the bookkeeping of Rollout and ReplicaSet right.
pub(crate) fn plan(scene: &Scene<'_>, record: &RolloutStatus, effects: &mut Vec<Effect>) {
    let revision = scene.revision.to_string();
    let replicas = scene.spec.replicas_unset.then_some(scene.spec.replicas);
    let generation = workload::seen(scene.rollout).map(|workload| workload.generation.to_string());
    let generation = generation.map(|generation| (labels::WORKLOAD_GENERATION.to_owned(), generation));
    let annotations: BTreeMap<String, String> =
        generation.into_iter().chain([(labels::REVISION.to_owned(), revision)]).collect();
    let is_noted = annotations.iter().all(|(key, value)| scene.rollout.annotations.get(key) == Some(value));
    if replicas.is_some() || !is_noted {
        effects.push(Effect::PatchRollout { annotations, replicas });
    }
    match scene.current {
        None => effects.push(Effect::CreateReplicaSet { manifest: manifest(scene, record) }),
        Some(current) => effects.extend(refresh(scene, record, current)),
    }
}

fn manifest(scene: &Scene<'_>, record: &RolloutStatus) -> Value {
    let mut template = scene.spec.template.clone();
    if let (Some(rule), Some(stable)) = (scene.spec.canary.anti_affinity, other_stable(scene, record)) {
        template::avoid(&mut template, rule, stable, &scene.rollout.namespace);
    }
    let mut pod_labels = selector::string_map(template.pointer("/metadata/labels"));
    pod_labels.insert(labels::POD_TEMPLATE_HASH.to_owned(), scene.current_hash.clone());
    set_labels(&mut template, &pod_labels);
    let mut annotations = copied_annotations(scene);
    if let Some(workload) = workload::seen(scene.rollout) {
        annotations.insert(labels::WORKLOAD_GENERATION.to_owned(), workload.generation.to_string());
    }
    pod_metadata::equip(scene, record, &mut template, &mut annotations);
    annotations.insert(labels::REVISION.to_owned(), scene.revision.to_string());
    annotations.insert(labels::DESIRED_REPLICAS.to_owned(), scene.spec.replicas.to_string());
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name(scene),
            "namespace": scene.rollout.namespace,
            "labels": pod_labels,
            "annotations": annotations,
            "ownerReferences": [owner(scene.rollout)],
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": scene.spec.min_ready_seconds,
            "selector": selector_with_hash(scene),
            "template": template,
        },
    })
}

/// The hash of the stable version while another one is released.
fn other_stable<'a>(scene: &Scene<'_>, record: &'a RolloutStatus) -> Option<&'a str> {
    Some(record.stable_rs.as_str()).filter(|stable| !stable.is_empty() && *stable != scene.current_hash)
}

fn set_labels(template: &mut Value, labels: &BTreeMap<String, String>) {
    let Value::Object(template) = template else { return };
    let metadata = template.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    if let Value::Object(metadata) = metadata {
        metadata.insert("labels".to_owned(), json!(labels));
    }
}

fn selector_with_hash(scene: &Scene<'_>) -> Value {
    let mut labels = selector::match_labels(&scene.spec.selector);
    labels.insert(labels::POD_TEMPLATE_HASH.to_owned(), scene.current_hash.clone());
    let mut selector = Map::from_iter([("matchLabels".to_owned(), json!(labels))]);
    if let Some(expressions) = scene.spec.selector.get("matchExpressions").filter(|value| !value.is_null()) {
        selector.insert("matchExpressions".to_owned(), expressions.clone());
    }
    Value::Object(selector)
}

/// Argo Rollouts copies all annotations of a Rollout to its newest ReplicaSet but those that speak of one object.
fn copied_annotations(scene: &Scene<'_>) -> BTreeMap<String, String> {
    const OWN: &[&str] = &[
        labels::LAST_APPLIED_CONFIGURATION,
        labels::REVISION,
        labels::REVISION_HISTORY,
        labels::DESIRED_REPLICAS,
        labels::NOTIFICATIONS_NOTIFIED,
        labels::SCALE_DOWN_DEADLINE,
        labels::EPHEMERAL_METADATA,
        labels::OWN_POD_METADATA,
        labels::FORMER_POD_METADATA,
    ];
    let copied = scene.rollout.annotations.iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
    copied.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Brings annotations, `minReadySeconds` and the rule against stable pods of the newest ReplicaSet up to date.
fn refresh(scene: &Scene<'_>, record: &RolloutStatus, current: &ReplicaSetView) -> Option<Effect> {
    let mut annotations: BTreeMap<String, Option<String>> = copied_annotations(scene)
        .into_iter()
        .filter(|(key, value)| current.annotations.get(key) != Some(value))
        // It changes with the size of a Deployment: that is no reason to write.
        .filter(|(key, _)| key != labels::WORKLOAD_GENERATION)
        .map(|(key, value)| (key, Some(value)))
        .collect();
    let stored = current.revision();
    if stored < scene.revision {
        annotations.insert(labels::REVISION.to_owned(), Some(scene.revision.to_string()));
        if stored > 0 {
            let earlier = current.annotations.get(labels::REVISION_HISTORY).filter(|text| !text.is_empty());
            let history = earlier.map_or_else(|| stored.to_string(), |earlier| format!("{earlier},{stored}"));
            annotations.insert(labels::REVISION_HISTORY.to_owned(), Some(history));
        }
    }
    let wanted = scene.spec.min_ready_seconds;
    let min_ready_seconds = (current.min_ready_seconds != wanted).then_some(wanted);
    let stable = other_stable(scene, record).filter(|_| scene.spec.canary.anti_affinity.is_some());
    let affinity = stable.and_then(|stable| template::avoid_instead(&current.template, stable));
    let patch = ReplicaSetPatch { annotations, min_ready_seconds, affinity, ..ReplicaSetPatch::of(current) };
    (!patch.is_empty()).then_some(Effect::PatchReplicaSet(patch))
}

/// Enters the numbers of pods, and the generation that this is about.
pub(crate) fn count(scene: &Scene<'_>, record: &mut RolloutStatus) {
    count_pods(&scene.replica_sets, &scene.current_hash, record);
    record.selector = selector::to_text(&scene.spec.selector);
    record.observed_generation = scene.rollout.generation.to_string();
    workload::observe(scene.rollout, record);
}

/// Enters the numbers of pods.
pub(crate) fn count_pods(sets: &[&ReplicaSetView], current_hash: &str, record: &mut RolloutStatus) {
    let sum = |number: fn(&ReplicaSetView) -> i32| replicas::sum(sets.iter().map(|set| number(set)));
    record.replicas = sum(|set| set.current);
    record.hpa_replicas = record.replicas;
    record.ready_replicas = sum(|set| set.ready);
    record.available_replicas = sum(|set| set.available_reported);
    let updated = sets.iter().filter(|set| !current_hash.is_empty() && set.hash() == current_hash);
    record.updated_replicas = replicas::sum(updated.map(|set| set.current));
}

/// The failure that a ReplicaSet reports, that of the newest first, as (reason, message).
pub(crate) fn reported_failure<'a>(versions: &Versions<'a>) -> Option<&'a (String, String)> {
    let sets =
        [versions.current, versions.stable].into_iter().flatten().chain(versions.others.iter().copied());
    sets.filter_map(|set| set.failure.as_ref()).next()
}
