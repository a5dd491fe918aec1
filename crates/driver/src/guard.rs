//! From effects to calls that cannot do harm when the world has moved on (R2, R9): every call names the uid
//! of its object, and the state that it was decided on where that matters.

use crate::io::{Call, ObjectRef, Patch, Resource};
use crate::object;
use crate::outcome::Refusal;
use crate::references::Name;
use crate::resources::{ANALYSIS_RUNS, DEPLOYMENTS, PODS, REPLICA_SETS, ROLLOUTS, of_key};
use crate::store::Store;
use crate::view::router_objects;
use crate::workload;
use headgate_api::At;
use headgate_model::template::MetadataChange;
use headgate_model::{Effect, FailureClass, ObjectChange, ReplicaSetPatch, RouterProblem};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The object that an effect changes; two effects on one object go out one after the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// An object by kind and name, in the Rollout's namespace.
    Object(ObjectRef),
    /// The objects of a router, or of one part of it ([`headgate_model::RouterConfig::label`]).
    Router(String),
}

/// What an effect changes.
pub(crate) fn subject(effect: &Effect, (namespace, rollout): &Name) -> Subject {
    let of = |resource: Resource, name: &str| {
        Subject::Object(ObjectRef { resource, namespace: namespace.clone(), name: name.to_owned() })
    };
    match effect {
        Effect::PatchRollout { .. } => of(ROLLOUTS, rollout),
        Effect::CreateReplicaSet { manifest } => of(REPLICA_SETS, object::meta(manifest, "name")),
        Effect::CreateAnalysisRun { manifest } => of(ANALYSIS_RUNS, object::meta(manifest, "name")),
        Effect::Scale { name, .. }
        | Effect::PatchReplicaSet(ReplicaSetPatch { name, .. })
        | Effect::AdoptReplicaSet { name, .. }
        | Effect::DeleteReplicaSet { name, .. } => of(REPLICA_SETS, name),
        Effect::ScaleWorkload { name, .. } => of(DEPLOYMENTS, name),
        Effect::TerminateAnalysisRun { name, .. } | Effect::DeleteAnalysisRun { name, .. } => {
            of(ANALYSIS_RUNS, name)
        }
        Effect::EvictPod { name, .. } | Effect::PatchPod { name, .. } => of(PODS, name),
        Effect::Route { config, .. } => Subject::Router(config.label()),
    }
}

/// The calls of one effect; none when everything is as it should be. `fence` is the Rollout's resourceVersion
/// that the decision rests on.
///
/// # Errors
/// When the effect does not fit what is known: the decision is stale, or it touches what is not ours.
pub(crate) fn calls(
    effect: &Effect,
    rollout: &Value,
    fence: &str,
    store: &Store,
) -> Result<Vec<Call>, Refusal> {
    match subject(effect, &crate::view::name_of(rollout)) {
        Subject::Router(_) => route(effect, store),
        Subject::Object(target) => {
            may_be_changed(effect, &target, rollout, store)?;
            Ok(vec![call(effect, target, rollout, fence, store)?])
        }
    }
}

/// What must hold of the object before anything is sent.
fn may_be_changed(
    effect: &Effect,
    target: &ObjectRef,
    rollout: &Value,
    store: &Store,
) -> Result<(), Refusal> {
    match effect {
        Effect::Scale { uid, .. }
        | Effect::TerminateAnalysisRun { uid, .. }
        | Effect::DeleteAnalysisRun { uid, .. }
        | Effect::DeleteReplicaSet { uid, .. } => is_ours(target, uid, rollout, store),
        Effect::ScaleWorkload { uid, .. } => is_named(target, uid, rollout, store),
        Effect::PatchReplicaSet(patch) => {
            is_ours(target, &patch.uid, rollout, store)?;
            is_as_decided_on(target, &patch.resource_version, store)
        }
        Effect::AdoptReplicaSet { resource_version, .. } => {
            // It is nobody's yet.
            is_as_decided_on(target, resource_version, store)
        }
        // The API server alone judges these, by the name or the uid that they carry; a route is judged where it is planned.
        Effect::CreateReplicaSet { .. }
        | Effect::CreateAnalysisRun { .. }
        | Effect::PatchRollout { .. }
        | Effect::PatchPod { .. }
        | Effect::EvictPod { .. }
        | Effect::Route { .. } => Ok(()),
    }
}

/// The call of an effect on one object.
fn call(
    effect: &Effect,
    target: ObjectRef,
    rollout: &Value,
    fence: &str,
    store: &Store,
) -> Result<Call, Refusal> {
    let call = match effect {
        Effect::Route { .. } => return Err(mistaken()),
        Effect::CreateReplicaSet { manifest } | Effect::CreateAnalysisRun { manifest } => {
            Call::Create { target, body: manifest.clone() }
        }
        Effect::PatchRollout { annotations, replicas } => {
            merge(target, rollout_patch(rollout, fence, annotations, *replicas))
        }
        Effect::Scale { uid, from, to, .. } | Effect::ScaleWorkload { uid, from, to, .. } => {
            resize(target, store, uid, *from, *to)
        }
        Effect::PatchReplicaSet(patch) => {
            let metadata = json!({
                "uid": patch.uid,
                "resourceVersion": patch.resource_version,
                "annotations": patch.annotations,
            });
            let spec =
                replica_set_spec(patch.min_ready_seconds, patch.affinity.as_ref(), &patch.pod_metadata);
            merge(target, replica_set_patch(metadata, spec))
        }
        Effect::AdoptReplicaSet { uid, resource_version, owners, .. } => {
            let metadata =
                json!({ "uid": uid, "resourceVersion": resource_version, "ownerReferences": owners });
            merge(target, json!({ "metadata": metadata }))
        }
        Effect::TerminateAnalysisRun { uid, .. } => {
            merge(target, json!({ "metadata": { "uid": uid }, "spec": { "terminate": true } }))
        }
        Effect::DeleteAnalysisRun { uid, .. } | Effect::DeleteReplicaSet { uid, .. } => {
            Call::Delete { target, uid: uid.clone() }
        }
        Effect::PatchPod { uid, resource_version, metadata, .. } => {
            merge(target, pod_patch(uid, resource_version, metadata))
        }
        Effect::EvictPod { uid, .. } => Call::Evict { target, uid: uid.clone() },
    };
    Ok(call)
}

/// A router has calls of its own, and nothing else has.
fn mistaken() -> Refusal {
    Refusal::new(FailureClass::Bug, "an effect on a router was taken for one on an object, or the reverse")
}

fn rollout_patch(
    rollout: &Value,
    fence: &str,
    annotations: &BTreeMap<String, String>,
    replicas: Option<i32>,
) -> Value {
    let mut body = json!({ "metadata": {
        "uid": object::uid(rollout),
        "resourceVersion": fence,
        "annotations": annotations,
    }});
    if let (Some(replicas), Value::Object(fields)) = (replicas, &mut body) {
        fields.insert("spec".to_owned(), json!({ "replicas": replicas }));
    }
    body
}

/// What is not given is not in it: a merge patch leaves that alone.
fn replica_set_spec(
    min_ready_seconds: Option<i32>,
    affinity: Option<&Value>,
    pod_metadata: &MetadataChange,
) -> Map<String, Value> {
    let mut spec = Map::new();
    if let Some(seconds) = min_ready_seconds {
        spec.insert("minReadySeconds".to_owned(), json!(seconds));
    }
    let mut template = Map::new();
    if let Some(affinity) = affinity {
        template.insert("spec".to_owned(), json!({ "affinity": affinity }));
    }
    if let Some(metadata) = pod_metadata.merge_patch() {
        template.insert("metadata".to_owned(), Value::Object(metadata));
    }
    if !template.is_empty() {
        spec.insert("template".to_owned(), Value::Object(template));
    }
    spec
}

fn replica_set_patch(metadata: Value, spec: Map<String, Value>) -> Value {
    let mut body = Map::new();
    body.insert("metadata".to_owned(), metadata);
    if !spec.is_empty() {
        body.insert("spec".to_owned(), Value::Object(spec));
    }
    Value::Object(body)
}

fn pod_patch(uid: &str, resource_version: &str, metadata: &MetadataChange) -> Value {
    let mut body = metadata.merge_patch().unwrap_or_default();
    body.insert("uid".to_owned(), json!(uid));
    body.insert("resourceVersion".to_owned(), json!(resource_version));
    json!({ "metadata": body })
}

/// The generation counts every change of a spec: a request that lands late, after the size went up and down again, is
/// refused; a new status or annotation, which do not matter here, are not in its way.
fn resize(target: ObjectRef, store: &Store, uid: &str, from: i32, to: i32) -> Call {
    let generation = store.get(&target).and_then(|stored| stored.at("/metadata/generation"));
    let operations = json!([
        { "op": "test", "path": "/metadata/uid", "value": uid },
        { "op": "test", "path": "/metadata/generation", "value": generation },
        { "op": "test", "path": "/spec/replicas", "value": from },
        { "op": "replace", "path": "/spec/replicas", "value": to },
    ]);
    Call::Patch { target, status: false, patch: Patch::Json(operations) }
}

fn merge(target: ObjectRef, body: Value) -> Call {
    Call::Patch { target, status: false, patch: Patch::Merge(body) }
}

/// Children are changed only when they are the object that was decided on, and the Rollout owns them.
fn is_ours(target: &ObjectRef, uid: &str, rollout: &Value, store: &Store) -> Result<(), Refusal> {
    let kind = target.resource.kind;
    let name = &target.name;
    let Some(stored) = store.get(target).filter(|stored| object::uid(stored) == uid) else {
        return Err(Refusal::new(
            FailureClass::Conflict,
            &format!("{kind} {name:?} is not the one that was looked at any more"),
        ));
    };
    if object::controller_uid(stored) == Some(object::uid(rollout)) {
        return Ok(());
    }
    Err(Refusal::new(
        FailureClass::Bug,
        &format!("{kind} {name:?} is not owned by this Rollout and must not be touched: please report this"),
    ))
}

/// A Deployment is scaled only when it is the one that was decided on, and the spec names it.
fn is_named(target: &ObjectRef, uid: &str, rollout: &Value, store: &Store) -> Result<(), Refusal> {
    let is_named = workload::reference(rollout).as_ref() == Some(target);
    let is_it = store.get(target).is_some_and(|stored| object::uid(stored) == uid);
    if is_named && is_it {
        return Ok(());
    }
    let message =
        format!("{} {:?} is not the one that was looked at any more", target.resource.kind, target.name);
    Err(Refusal::new(FailureClass::Conflict, &message))
}

/// What is known to have changed since the decision would be refused anyway: no call is needed to learn that.
fn is_as_decided_on(target: &ObjectRef, resource_version: &str, store: &Store) -> Result<(), Refusal> {
    if store.get(target).is_some_and(|stored| object::resource_version(stored) == resource_version) {
        return Ok(());
    }
    let message = format!("{} {:?} has changed since it was decided on", target.resource.kind, target.name);
    Err(Refusal::new(FailureClass::Conflict, &message))
}

fn route(effect: &Effect, store: &Store) -> Result<Vec<Call>, Refusal> {
    let Effect::Route { config, intent, .. } = effect else { return Err(mistaken()) };
    let Some(router) = headgate_traffic::router(config.router) else {
        return Err(Refusal::new(FailureClass::Bug, &format!("there is no router {:?}", config.router)));
    };
    let plan = || router_objects(config, store).and_then(|objects| router.plan(config, intent, &objects));
    let planned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(plan)).map_err(|_| {
        let message =
            format!("router {:?} panicked: this is a defect of Headgate, please report it", config.router);
        Refusal::new(FailureClass::Bug, &message)
    })?;
    let changes = planned.map_err(|problem| refusal(&problem))?;
    let call = |change| match change {
        ObjectChange::Patch { target, merge: body } => merge(of_key(&target), body),
        ObjectChange::Create { target, manifest } => Call::Create { target: of_key(&target), body: manifest },
    };
    Ok(changes.into_iter().map(call).collect())
}

fn refusal(problem: &RouterProblem) -> Refusal {
    let class = match problem {
        RouterProblem::Unknown(_) | RouterProblem::Leaving(_) => FailureClass::Transient,
        RouterProblem::Missing { .. } => FailureClass::NotFound,
        RouterProblem::Invalid { .. } => FailureClass::Invalid,
    };
    Refusal::new(class, &problem.to_string())
}

/// What an object that stands in the way of a create means (R5).
pub(crate) enum InTheWay {
    /// It is ours: somebody, perhaps we before a crash, has created it.
    Ours,
    /// It is nobody's, and was made for a Rollout like ours: it is to be adopted.
    Orphan(Refusal),
    /// It goes away by itself: being deleted, or its owner is gone.
    Leaving(Refusal),
    /// It belongs to somebody else, for good.
    Foreign(Refusal),
}

/// Why nothing is created where a ReplicaSet stands that is to be adopted.
pub(crate) fn orphan_in_the_way(existing: &Value, rollout: &Value) -> Option<Refusal> {
    let message = || format!("ReplicaSet {:?} is there and is adopted first", object::meta(existing, "name"));
    crate::orphans::is_of(existing, rollout).then(|| Refusal::new(FailureClass::Conflict, &message()))
}

/// Judges the object that already has the name that we want.
pub(crate) fn in_the_way(existing: &Value, rollout: &Value, store: &Store) -> InTheWay {
    let kind = existing.get("kind").and_then(Value::as_str).unwrap_or("object");
    let name = object::meta(existing, "name");
    let leaving = |why: &str| {
        InTheWay::Leaving(Refusal::new(
            FailureClass::Transient,
            &format!("{kind} {name:?} is in the way: {why}; it is created again once that one is gone"),
        ))
    };
    if object::is_deleting(existing) {
        return leaving("it is being deleted");
    }
    match object::controller(existing) {
        Some(owner) if owner.get("uid").and_then(Value::as_str) == Some(object::uid(rollout)) => {
            InTheWay::Ours
        }
        Some(owner) if owner_is_gone(owner, rollout, store) => {
            leaving("the Rollout that owned it is gone and it awaits garbage collection")
        }
        _ => InTheWay::Foreign(Refusal::new(
            FailureClass::AlreadyExists,
            &format!("{kind} {name:?} exists and does not belong to this Rollout"),
        )),
    }
}

/// An owner of our kind that no longer exists under its uid.
fn owner_is_gone(owner: &Value, rollout: &Value, store: &Store) -> bool {
    let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
    let reference = ObjectRef {
        resource: ROLLOUTS,
        namespace: object::meta(rollout, "namespace").to_owned(),
        name: text("name").to_owned(),
    };
    text("kind") == ROLLOUTS.kind
        && store.is_synced(ROLLOUTS)
        && store.get(&reference).is_none_or(|other| object::uid(other) != text("uid"))
}
