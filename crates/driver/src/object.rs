//! What every object has: metadata, read from its JSON, and the part of an object that is kept.

use crate::io::{ObjectRef, Resource};
use crate::resources::{is_foreign, is_workload};
use crate::workload;
use headgate_api::At;
use headgate_api::labels::{CONTROLLER_INSTANCE_ID, LAST_APPLIED_CONFIGURATION, POD_TEMPLATE_HASH};
use headgate_model::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A text field of `metadata`; empty when it is absent.
pub(crate) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|metadata| metadata.get(field)?.as_str()).unwrap_or_default()
}

pub(crate) fn uid(object: &Value) -> &str {
    meta(object, "uid")
}

pub(crate) fn resource_version(object: &Value) -> &str {
    meta(object, "resourceVersion")
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// Whether an object is for the instance of the controller that has this id; empty: for the one without an id.
pub(crate) fn is_of_instance(object: &Value, instance_id: &str) -> bool {
    let labels = object.at("/metadata/labels");
    let label = labels.and_then(|labels| labels.get(CONTROLLER_INSTANCE_ID)?.as_str()).unwrap_or_default();
    label == instance_id
}

/// Merges a patch into an object as RFC 7386 says.
pub(crate) fn merge(object: &mut Value, patch: &Map<String, Value>) {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(fields) = object else { return };
    for (field, value) in patch {
        match value {
            Value::Null => {
                fields.remove(field);
            }
            Value::Object(inner) => merge(fields.entry(field.clone()).or_insert(Value::Null), inner),
            _ => {
                fields.insert(field.clone(), value.clone());
            }
        }
    }
}

/// When it was created; the epoch when that is absent or unreadable, as for objects not created yet.
pub(crate) fn created_at(object: &Value) -> Timestamp {
    meta(object, "creationTimestamp").parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The uid of the owner that has `controller: true`.
pub(crate) fn controller_uid(object: &Value) -> Option<&str> {
    controller(object)?.get("uid")?.as_str()
}

/// The owner reference that has `controller: true`.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    let owners = object.at("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// The value of label `rollouts-pod-template-hash`; empty without it.
pub(crate) fn hash(object: &Value) -> &str {
    let labels = object.at("/metadata/labels");
    labels.and_then(|labels| labels.get(POD_TEMPLATE_HASH)?.as_str()).unwrap_or_default()
}

/// A map of texts at a JSON pointer: labels, annotations, a selector. Values that are no texts are left out.
pub(crate) fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let Some(Value::Object(entries)) = object.at(pointer) else { return BTreeMap::new() };
    entries.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// A whole number at a JSON pointer; 0 when absent, as Go reads it.
pub(crate) fn number(object: &Value, pointer: &str) -> i64 {
    object.at(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// A count of pods or seconds at a JSON pointer; 0 when absent.
pub(crate) fn count(object: &Value, pointer: &str) -> i32 {
    i32::try_from(number(object, pointer)).unwrap_or(i32::MAX)
}

/// How the API server names this object.
pub(crate) fn reference(resource: Resource, object: &Value) -> ObjectRef {
    let namespace = if resource.namespaced { meta(object, "namespace") } else { "" };
    ObjectRef { resource, namespace: namespace.to_owned(), name: meta(object, "name").to_owned() }
}

/// The part of an object that is kept. `managedFields` are by far the largest part of many objects; of a
/// router's objects they stay as the shell delivers them, because they tell who else writes our paths.
pub(crate) fn projection(resource: Resource, mut object: Value) -> Value {
    if is_workload(resource) {
        return workload::projection(&object);
    }
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        if !is_foreign(resource) {
            metadata.remove("managedFields");
        }
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(LAST_APPLIED_CONFIGURATION);
        }
    }
    object
}

/// Which of two resource versions of one kind is newer. Kubernetes documents them as comparable integers
/// since 1.35; where they are not, nothing is known.
pub(crate) fn age(incoming: &str, stored: &str) -> Age {
    if incoming == stored {
        return Age::Same;
    }
    match (incoming.parse::<u64>(), stored.parse::<u64>()) {
        (Ok(incoming), Ok(stored)) if incoming > stored => Age::Newer,
        (Ok(_), Ok(_)) => Age::Older,
        _ => Age::Unknown,
    }
}

/// How an incoming object relates to the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Same,
    Newer,
    Older,
    Unknown,
}
