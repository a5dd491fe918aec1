//! The virtual API server: objects as JSON with resource versions, generations, preconditions, patches, status
//! subresources, label selectors, garbage collection of what has lost its owner, and a history for watches.

use super::patch;
use super::plus;
use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Resource};
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, REPLICA_SETS, ROLLOUTS, SERVICES};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Rules of the API server that a test may break, to see whether anybody notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ServerBug {
    /// None: the server does as the real one.
    #[default]
    None,
    /// `metadata.resourceVersion` and `metadata.uid` of a patch are no preconditions.
    IgnoresVersions,
    /// A failed `test` of a JSON patch does not stop it.
    IgnoresTests,
}

/// What has happened to an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It is there, or has changed.
    Applied(Resource, Value),
    /// It is gone; its last state.
    Deleted(Resource, Value),
}

/// The API server.
#[derive(Clone, Debug, Default)]
pub struct Server {
    objects: BTreeMap<ObjectRef, Value>,
    version: u64,
    /// All changes since the beginning, with their times: what watches deliver.
    history: Vec<(Timestamp, Change)>,
    /// When objects without an owner are removed.
    orphans: BTreeMap<ObjectRef, Timestamp>,
    bug: ServerBug,
    /// Fields of a Rollout's status that the installed CRD does not know: they are dropped.
    pub pruned: &'static [&'static str],
}

/// How long the garbage collector takes, in milliseconds.
const GARBAGE_COLLECTION_MILLISECONDS: i64 = 3_000;

/// A refusal with this code and reason.
pub fn refused(code: u16, reason: &str, message: impl Into<String>) -> Reply {
    Reply::Refused { code, reason: reason.to_owned(), message: message.into() }
}

impl Server {
    /// An empty server that breaks this rule.
    pub fn new(bug: ServerBug) -> Self {
        Self { bug, ..Self::default() }
    }

    /// Carries out a call.
    pub fn call(&mut self, call: &Call, now: Timestamp) -> Reply {
        match call {
            Call::Get(target) => self.object(target),
            Call::List { resource, namespace, labels } => {
                let in_namespace = |target: &ObjectRef| {
                    target.resource == *resource && (namespace.is_empty() || target.namespace == *namespace)
                };
                let listed = self
                    .objects
                    .iter()
                    .filter(|(target, object)| in_namespace(target) && has_labels(object, labels));
                Reply::Objects(listed.map(|(_, object)| object.clone()).collect())
            }
            Call::Create { target, body } => self.create(target, body, now),
            Call::Patch { target, status, patch } => {
                let part = if *status { Part::Status } else { Part::Whole };
                self.patch(target, part, patch, now)
            }
            Call::Delete { target, uid } => self.delete(target, uid, now),
            Call::Measure { .. } => refused(400, "BadRequest", "a measurement is no call to the API server"),
        }
    }

    /// An object as it is.
    pub fn get(&self, target: &ObjectRef) -> Option<&Value> {
        self.objects.get(target)
    }

    /// All objects of a kind.
    pub fn all(&self, resource: Resource) -> impl Iterator<Item = (&ObjectRef, &Value)> {
        self.objects.iter().filter(move |(target, _)| target.resource == resource)
    }

    /// All changes so far.
    pub fn history(&self) -> &[(Timestamp, Change)] {
        &self.history
    }

    /// The objects of a kind as they were after the first `seen` changes.
    pub fn as_of(&self, resource: Resource, seen: usize) -> Vec<Value> {
        let mut objects: BTreeMap<String, Value> = BTreeMap::new();
        for (_, change) in self.history.iter().take(seen) {
            match change {
                Change::Applied(kind, object) if *kind == resource => {
                    objects.insert(text(object, "/metadata/uid").to_owned(), object.clone());
                }
                Change::Deleted(kind, object) if *kind == resource => {
                    objects.remove(text(object, "/metadata/uid"));
                }
                Change::Applied(..) | Change::Deleted(..) => {}
            }
        }
        objects.into_values().collect()
    }

    fn object(&self, target: &ObjectRef) -> Reply {
        match self.objects.get(target) {
            Some(object) => Reply::Object(object.clone()),
            None => {
                refused(404, "NotFound", format!("{} \"{}\" not found", target.resource.plural, target.name))
            }
        }
    }

    fn create(&mut self, target: &ObjectRef, body: &Value, now: Timestamp) -> Reply {
        if self.objects.contains_key(target) {
            let message = format!("{} \"{}\" already exists", target.resource.plural, target.name);
            return refused(409, "AlreadyExists", message);
        }
        let mut object = body.clone();
        let api_version = match target.resource.group {
            "" => target.resource.version.to_owned(),
            group => format!("{group}/{}", target.resource.version),
        };
        let given = json!({
            "apiVersion": api_version,
            "kind": target.resource.kind,
            "metadata": {
                "uid": format!("uid-{}", self.version + 1),
                "generation": 1,
                "creationTimestamp": seconds(now).to_string(),
            },
        });
        patch::merge(&mut object, &given);
        if has_status_subresource(target.resource)
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        if target.resource == REPLICA_SETS {
            fill_in_defaults(&mut object);
        }
        if let Some(owner) = object.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str)
            && !self.objects.values().any(|object| text(object, "/metadata/uid") == owner)
        {
            self.orphans.insert(target.clone(), plus(now, GARBAGE_COLLECTION_MILLISECONDS));
        }
        self.store(target, object, now)
    }

    fn patch(&mut self, target: &ObjectRef, part: Part, change: &Patch, now: Timestamp) -> Reply {
        let Some(before) = self.objects.get(target).cloned() else { return self.object(target) };
        let mut after = before.clone();
        match change {
            Patch::Merge(body) => patch::merge(&mut after, body),
            Patch::Json(operations) if self.bug == ServerBug::IgnoresTests => {
                let no_tests = without_tests(operations);
                if let Err(patch::Unfit(why)) = patch::apply(&mut after, &no_tests) {
                    return refused(422, "Invalid", why);
                }
            }
            Patch::Json(operations) => {
                if let Err(patch::Unfit(why)) = patch::apply(&mut after, operations) {
                    return refused(422, "Invalid", why);
                }
            }
        }
        for field in ["/metadata/resourceVersion", "/metadata/uid"] {
            if after.pointer(field) == before.pointer(field) {
                continue;
            }
            if self.bug != ServerBug::IgnoresVersions {
                return refused(409, "Conflict", "the object has been modified");
            }
            if let (Some(place), Some(kept)) = (after.pointer_mut(field), before.pointer(field)) {
                *place = kept.clone();
            }
        }
        let mut stored = composed(target.resource, part, &before, after);
        if let (ROLLOUTS, Some(Value::Object(status))) = (target.resource, stored.get_mut("status")) {
            status.retain(|field, _| !self.pruned.contains(&field.as_str()));
        }
        if stored == before { Reply::Object(before) } else { self.replace(target, &before, stored, now) }
    }

    fn replace(&mut self, target: &ObjectRef, before: &Value, mut stored: Value, now: Timestamp) -> Reply {
        let is_desired = |object: &Value| {
            let mut object = object.clone();
            if let Some(fields) = object.as_object_mut() {
                fields.remove("metadata");
                if has_status_subresource(target.resource) {
                    fields.remove("status");
                }
            }
            object
        };
        if is_desired(&stored) != is_desired(before) {
            let generation = before.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            patch::merge(&mut stored, &json!({ "metadata": { "generation": generation + 1 } }));
        }
        self.store(target, stored, now)
    }

    fn store(&mut self, target: &ObjectRef, mut object: Value, now: Timestamp) -> Reply {
        self.version += 1;
        let version = json!({ "metadata": { "resourceVersion": self.version.to_string() } });
        patch::merge(&mut object, &version);
        self.objects.insert(target.clone(), object.clone());
        if target.resource != EVENTS {
            self.history.push((now, Change::Applied(target.resource, object.clone())));
        }
        Reply::Object(object)
    }

    fn delete(&mut self, target: &ObjectRef, uid: &str, now: Timestamp) -> Reply {
        let Some(object) = self.objects.get(target).cloned() else { return self.object(target) };
        if !uid.is_empty() && text(&object, "/metadata/uid") != uid {
            return refused(409, "Conflict", "the precondition on uid failed");
        }
        self.remove(target, now);
        Reply::Object(object)
    }

    /// Removes an object; what it owns follows.
    pub fn remove(&mut self, target: &ObjectRef, now: Timestamp) {
        let Some(mut object) = self.objects.remove(target) else { return };
        self.version += 1;
        let version = json!({ "metadata": { "resourceVersion": self.version.to_string() } });
        patch::merge(&mut object, &version);
        let uid = text(&object, "/metadata/uid").to_owned();
        self.history.push((now, Change::Deleted(target.resource, object)));
        let is_owned = |child: &Value| text(child, "/metadata/ownerReferences/0/uid") == uid;
        let due = plus(now, GARBAGE_COLLECTION_MILLISECONDS);
        let orphans = self.objects.iter().filter(|(_, child)| is_owned(child));
        self.orphans.extend(orphans.map(|(child, _)| (child.clone(), due)));
    }

    /// Removes what has had no owner for long enough.
    pub fn collect_garbage(&mut self, now: Timestamp) {
        let due: Vec<ObjectRef> =
            self.orphans.iter().filter(|(_, time)| **time <= now).map(|(target, _)| target.clone()).collect();
        for target in due {
            self.orphans.remove(&target);
            self.remove(&target, now);
        }
    }

    /// When garbage is to be collected next.
    pub fn next(&self) -> Option<Timestamp> {
        self.orphans.values().min().copied()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Status,
}

/// The subresource takes the status alone; the object itself takes everything else.
fn composed(resource: Resource, part: Part, before: &Value, after: Value) -> Value {
    if !has_status_subresource(resource) {
        return after;
    }
    let (mut stored, status) = match part {
        Part::Status => (before.clone(), after.get("status").cloned()),
        Part::Whole => (after, before.get("status").cloned()),
    };
    if let Some(fields) = stored.as_object_mut() {
        match status {
            Some(status) => fields.insert("status".to_owned(), status),
            None => fields.remove("status"),
        };
    }
    stored
}

/// AnalysisRuns have none in the CRDs of Argo Rollouts, so none in ours.
fn has_status_subresource(resource: Resource) -> bool {
    resource == ROLLOUTS || resource == REPLICA_SETS || resource == SERVICES || !is_argo(resource)
}

fn is_argo(resource: Resource) -> bool {
    resource.group == ANALYSIS_RUNS.group
}

fn without_tests(operations: &Value) -> Value {
    let operations = operations.as_array().into_iter().flatten();
    operations.filter(|operation| operation.get("op") != Some(&json!("test"))).cloned().collect()
}

fn has_labels(object: &Value, selector: &str) -> bool {
    let labels = object.pointer("/metadata/labels");
    selector.split(',').filter(|term| !term.is_empty()).all(|term| match term.split_once('=') {
        Some((key, value)) => labels.and_then(|labels| labels.get(key)?.as_str()) == Some(value),
        None => labels.is_some_and(|labels| labels.get(term).is_some()),
    })
}

/// What the API server writes into a pod template that leaves it out.
fn fill_in_defaults(set: &mut Value) {
    let Some(spec) = set.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) else { return };
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
    ] {
        spec.entry(field).or_insert(value);
    }
    let containers = spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten();
    for container in containers.filter_map(Value::as_object_mut) {
        for (field, value) in [
            ("resources", json!({})),
            ("terminationMessagePath", json!("/dev/termination-log")),
            ("terminationMessagePolicy", json!("File")),
            ("imagePullPolicy", json!("IfNotPresent")),
        ] {
            container.entry(field).or_insert(value);
        }
    }
}

fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A text in an object; empty when it is not there.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number in an object; 0 when it is not there.
pub fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Names an object.
pub fn reference(resource: Resource, object: &Value) -> ObjectRef {
    ObjectRef {
        resource,
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
    }
}
