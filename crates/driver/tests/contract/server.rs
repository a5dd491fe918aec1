//! A small API server: objects as JSON, resource versions, preconditions, patches, label selectors, garbage
//! collection, and a log of everything that changed.

use crate::kubelet::make_pods;
use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Resource};
use headgate_driver::resources::{EVENTS, REPLICA_SETS, ROLLOUTS};
use headgate_model::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a watch would deliver.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Applied(Resource, Value),
    Deleted(Resource, Value),
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    Driver,
    /// A user, or another controller.
    Other,
}

#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) objects: BTreeMap<ObjectRef, Value>,
    version: u64,
    pub(crate) events: Vec<Event>,
    /// All events ever: what a list from a lagging cache is made of.
    history: Vec<Event>,
    /// The driver's writes that were carried out.
    pub(crate) writes: Vec<Call>,
    /// Top-level status fields that the "installed CRD" drops.
    pub(crate) pruned: Vec<&'static str>,
    /// Refusals, by test: the first whose predicate holds answers.
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) author_of_last_change: BTreeMap<ObjectRef, Author>,
    /// Whether there are pods, or only numbers of them.
    pub(crate) makes_pods: bool,
}

pub(crate) struct Refusal {
    pub(crate) when: Box<dyn Fn(&Call) -> bool>,
    pub(crate) reply: Reply,
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.reply)
    }
}

pub(crate) fn refused(code: u16, reason: &str) -> Reply {
    Reply::Refused { code, reason: reason.to_owned(), message: format!("{reason} by the test's server") }
}

impl Server {
    pub(crate) fn call(&mut self, call: &Call, author: Author, now: Timestamp) -> Reply {
        if author == Author::Driver
            && let Some(refusal) = self.refusals.iter().find(|refusal| (refusal.when)(call))
        {
            return refusal.reply.clone();
        }
        match call {
            Call::Get(target) => self.get(target),
            Call::List { resource, namespace, labels } => self.list(*resource, namespace, labels),
            Call::Create { target, body } => self.create(call, target, body, author, now),
            Call::Patch { target, status, patch } => self.patch(call, target, *status, patch, author),
            Call::Delete { target, uid } => self.delete(call, target, uid),
            Call::Evict { target, uid } => self.evict(call, target, uid, now),
            Call::Measure { .. } | Call::Notify { .. } => {
                Reply::Lost("the world answers these itself".to_owned())
            }
        }
    }

    fn get(&self, target: &ObjectRef) -> Reply {
        self.objects
            .get(target)
            .map_or_else(|| refused(404, "NotFound"), |object| Reply::Object(object.clone()))
    }

    fn list(&self, resource: Resource, namespace: &str, labels: &str) -> Reply {
        let matches = |object: &Value| {
            labels.split(',').filter(|term| !term.is_empty()).all(|term| {
                let has = &object["metadata"]["labels"];
                match term.split_once('=') {
                    Some((key, value)) => has[key] == json!(value),
                    None => has.get(term).is_some(),
                }
            })
        };
        let listed = self.objects.iter().filter(|(reference, object)| {
            reference.resource == resource && reference.namespace == namespace && matches(object)
        });
        Reply::Objects(listed.map(|(_, object)| object.clone()).collect())
    }

    fn create(
        &mut self,
        call: &Call,
        target: &ObjectRef,
        body: &Value,
        author: Author,
        now: Timestamp,
    ) -> Reply {
        if self.objects.contains_key(target) {
            return refused(409, "AlreadyExists");
        }
        let mut object = body.clone();
        let uid = format!("uid-{}", self.version + 1);
        let created = Timestamp::from_second(now.as_second()).unwrap().to_string();
        merge(
            &mut object,
            &json!({"metadata": {"uid": uid, "generation": 1, "creationTimestamp": created, "namespace": target.namespace}}),
        );
        if has_status_subresource(target.resource) {
            object.as_object_mut().unwrap().remove("status");
        }
        self.store(call, target, object, author)
    }

    fn patch(
        &mut self,
        call: &Call,
        target: &ObjectRef,
        status: bool,
        patch: &Patch,
        author: Author,
    ) -> Reply {
        let Some(before) = self.objects.get(target).cloned() else { return refused(404, "NotFound") };
        let mut after = before.clone();
        match patch {
            Patch::Merge(body) => merge(&mut after, body),
            Patch::Json(operations) => {
                if !apply(&mut after, operations) {
                    return refused(422, "Invalid");
                }
            }
        }
        for field in ["uid", "resourceVersion"] {
            if after["metadata"][field] != before["metadata"][field] {
                return refused(409, "Conflict");
            }
        }
        // The subresource takes the status alone; the object itself takes everything else.
        let whole = if status { &before } else { &after };
        let mut stored = whole.clone();
        if has_status_subresource(target.resource) {
            let from = if status { &after } else { &before };
            stored["status"] = from.get("status").cloned().unwrap_or(json!({}));
        }
        for field in &self.pruned {
            if let Some(fields) = stored["status"].as_object_mut() {
                fields.remove(*field);
            }
        }
        if stored == before {
            return Reply::Object(before);
        }
        if stored["spec"] != before["spec"] {
            stored["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap() + 1);
        }
        self.store(call, target, stored, author)
    }

    fn store(&mut self, call: &Call, target: &ObjectRef, mut after: Value, author: Author) -> Reply {
        self.version += 1;
        after["metadata"]["resourceVersion"] = json!(self.version.to_string());
        after["kind"] = json!(target.resource.kind);
        self.objects.insert(target.clone(), after.clone());
        self.author_of_last_change.insert(target.clone(), author);
        if target.resource != EVENTS {
            self.publish(Event::Applied(target.resource, after.clone()));
        }
        if author == Author::Driver {
            self.writes.push(call.clone());
        }
        Reply::Object(after)
    }

    fn delete(&mut self, call: &Call, target: &ObjectRef, uid: &str) -> Reply {
        let Some(before) = self.objects.get(target).cloned() else { return refused(404, "NotFound") };
        if before["metadata"]["uid"] != json!(uid) {
            return refused(409, "Conflict");
        }
        self.remove(target);
        self.writes.push(call.clone());
        Reply::Object(before)
    }

    /// The pod goes at once, and its ReplicaSet makes another one, which is ready at once, too.
    fn evict(&mut self, call: &Call, target: &ObjectRef, uid: &str, now: Timestamp) -> Reply {
        let Some(mut pod) = self.objects.get(target).cloned() else { return refused(404, "NotFound") };
        if pod["metadata"]["uid"] != json!(uid) {
            return refused(409, "Conflict");
        }
        self.remove(target);
        self.writes.push(call.clone());
        let name = format!("{}-again", target.name);
        pod["metadata"]["name"] = json!(name);
        let author = Author::Other;
        self.create(call, &ObjectRef { name, ..target.clone() }, &pod, author, now);
        Reply::Object(json!({"kind": "Status", "metadata": {}, "status": "Success"}))
    }

    fn publish(&mut self, event: Event) {
        self.history.push(event.clone());
        self.events.push(event);
    }

    /// The objects as they were `lag` events ago, and the events since then.
    pub(crate) fn lagging(&self, lag: usize) -> (Vec<(Resource, Value)>, Vec<Event>) {
        let (past, since) = self.history.split_at(self.history.len().saturating_sub(lag));
        let mut objects: BTreeMap<String, (Resource, Value)> = BTreeMap::new();
        for event in past {
            match event {
                Event::Applied(resource, object) => {
                    objects.insert(object["metadata"]["uid"].to_string(), (*resource, object.clone()))
                }
                Event::Deleted(_, object) => objects.remove(&object["metadata"]["uid"].to_string()),
            };
        }
        (objects.into_values().collect(), since.to_vec())
    }

    /// Removes an object, and everything that it owns.
    pub(crate) fn remove(&mut self, target: &ObjectRef) {
        let Some(mut object) = self.objects.remove(target) else { return };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.author_of_last_change.insert(target.clone(), Author::Other);
        let uid = object["metadata"]["uid"].clone();
        self.publish(Event::Deleted(target.resource, object));
        let owned: Vec<ObjectRef> = self
            .objects
            .iter()
            .filter(|(_, child)| child["metadata"]["ownerReferences"][0]["uid"] == uid)
            .map(|(reference, _)| reference.clone())
            .collect();
        for child in owned {
            self.remove(&child);
        }
    }

    /// Another server in the same state.
    pub(crate) fn copy(&self) -> Self {
        Self {
            objects: self.objects.clone(),
            version: self.version,
            history: self.history.clone(),
            author_of_last_change: self.author_of_last_change.clone(),
            ..Self::default()
        }
    }

    /// Pods come up at once: every ReplicaSet has as many available pods as it wants.
    pub(crate) fn kubelet(&mut self, now: Timestamp) {
        let sets: Vec<ObjectRef> =
            self.objects.keys().filter(|reference| reference.resource == REPLICA_SETS).cloned().collect();
        for target in sets {
            let set = &self.objects[&target];
            let replicas = set["spec"]["replicas"].clone();
            let status = json!({
                "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
                "observedGeneration": set["metadata"]["generation"],
            });
            let patch = Patch::Merge(json!({ "status": status }));
            self.call(&Call::Patch { target, status: true, patch }, Author::Other, now);
        }
        if self.makes_pods {
            make_pods(self, now);
        }
    }

    pub(crate) fn version_of(&self, target: &ObjectRef) -> String {
        self.objects.get(target).map_or(String::new(), |object| {
            object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
        })
    }
}

fn has_status_subresource(resource: Resource) -> bool {
    resource == ROLLOUTS || resource == REPLICA_SETS || matches!(resource.kind, "Service" | "HTTPRoute")
}

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = as_stored(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let object = target.as_object_mut().unwrap();
    for (field, value) in fields {
        if value.is_null() {
            object.remove(field);
        } else {
            merge(object.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

/// A new value as the API server stores it: a merge drops members that are null, also within a list.
fn as_stored(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            there.map(|(field, value)| (field.clone(), as_stored(value))).collect()
        }
        Value::Array(items) => items.iter().map(as_stored).collect(),
        other => other.clone(),
    }
}

/// RFC 6902: `test` and `replace`, all that is used. False when a test fails.
fn apply(target: &mut Value, operations: &Value) -> bool {
    operations.as_array().unwrap().iter().all(|operation| {
        let Some(place) = target.pointer_mut(operation["path"].as_str().unwrap()) else { return false };
        match operation["op"].as_str().unwrap() {
            "test" => *place == operation["value"],
            "replace" => {
                *place = operation["value"].clone();
                true
            }
            other => panic!("{other} is not used by the driver"),
        }
    })
}
