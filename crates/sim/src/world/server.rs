//! The virtual API server: objects as JSON with resource versions, generations, preconditions, patches, status
//! subresources, finalizers, label selectors, garbage collection of what has lost its owners, and a history for watches.
//! `crate::conformance` holds it against a real one.

use super::jobs::JOBS;
use super::prune::prune;
use super::{defaults, patch, plus};
use headgate_api::At;
use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Resource};
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, REPLICA_SETS, ROLLOUTS, SERVICES};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The uids of all objects.
    uids: BTreeSet<String>,
    /// When the garbage collector looks at objects that have lost an owner.
    orphans: BTreeMap<ObjectRef, Timestamp>,
    bug: ServerBug,
    /// Kinds that are not installed.
    pub absent: Vec<Resource>,
    /// Fields of a Rollout that the installed CRD does not know, by their paths: they are dropped.
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
        if kind(call).is_some_and(|resource| self.absent.contains(&resource)) {
            return not_installed();
        }
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
            Call::Patch { target, status: true, .. } if !has_status_subresource(target.resource) => {
                refused(404, "NotFound", "the server could not find the requested resource")
            }
            Call::Patch { target, status, patch } => {
                let part = if *status { Part::Status } else { Part::Whole };
                self.patch(target, part, patch, now)
            }
            Call::Delete { target, uid } => self.delete(target, uid, now),
            // Pods are kept elsewhere: see `pods`.
            Call::Evict { .. } | Call::Measure { .. } | Call::Notify { .. } => {
                refused(400, "BadRequest", "this is no call to this server")
            }
        }
    }

    /// An object as it is.
    pub fn get(&self, target: &ObjectRef) -> Option<&Value> {
        self.objects.get(target)
    }

    /// All objects of a kind.
    pub fn all(&self, resource: Resource) -> impl Iterator<Item = (&ObjectRef, &Value)> {
        // References sort by their kind first.
        let first = ObjectRef { resource, namespace: String::new(), name: String::new() };
        self.objects.range(first..).take_while(move |(target, _)| target.resource == resource)
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
        let uid = format!("uid-{}", self.version + 1);
        patch::merge(&mut object, &given(target, &uid, now));
        initialise_status(target.resource, &mut object);
        self.prune(target.resource, &mut object);
        tidy(&mut object);
        defaults::fill_in(target.resource, &mut object);
        self.uids.insert(uid);
        self.suspect(target, &object, now);
        self.store(target, object, now)
    }

    /// Objects are as they were recorded elsewhere: uids, generations, times and status are theirs, and so are owners of
    /// kinds that are not kept here.
    pub fn restore(&mut self, objects: &[(ObjectRef, Value)], now: Timestamp) {
        for (target, object) in objects {
            self.uids.insert(text(object, "/metadata/uid").to_owned());
            self.uids.extend(owners(object).map(str::to_owned));
            self.store(target, object.clone(), now);
        }
    }

    /// The garbage collector is to look at an object that names an owner who does not exist.
    fn suspect(&mut self, target: &ObjectRef, object: &Value, now: Timestamp) {
        if owners(object).any(|owner| !self.uids.contains(owner)) {
            self.orphans.entry(target.clone()).or_insert(plus(now, GARBAGE_COLLECTION_MILLISECONDS));
        }
    }

    fn patch(&mut self, target: &ObjectRef, part: Part, change: &Patch, now: Timestamp) -> Reply {
        let Some(before) = self.objects.get(target) else { return self.object(target) };
        let mut after = before.clone();
        if let Err(refusal) = self.changed(&mut after, change) {
            return refusal;
        }
        if let Err(refusal) = self.hold_preconditions(target.resource, part, before, &mut after) {
            return refusal;
        }
        keep_other_part(target.resource, part, before, &mut after);
        keep_given(before, &mut after);
        tidy(&mut after);
        defaults::leave_out_zeros(target.resource, &mut after);
        self.prune(target.resource, &mut after);
        if after == *before {
            return Reply::Object(after);
        }
        if is_deleting(before) && finalizers(&after).any(|one| finalizers(before).all(|other| one != other)) {
            return refused(422, "Invalid", "no new finalizers can be added if the object is being deleted");
        }
        if differs_in_what_is_desired(target.resource, before, &after) {
            count_generation(&mut after);
        }
        let owners_have_changed = !owners(before).eq(owners(&after));
        if is_deleting(&after) && finalizers(&after).next().is_none() {
            // Watches are told the state of before.
            let last = before.clone();
            self.end(target, last, now);
            return Reply::Object(after);
        }
        if owners_have_changed {
            self.suspect(target, &after, now);
        }
        self.store(target, after, now)
    }

    fn prune(&self, resource: Resource, object: &mut Value) {
        if resource == ROLLOUTS {
            prune(object, self.pruned);
        }
    }

    fn changed(&self, object: &mut Value, change: &Patch) -> Result<(), Reply> {
        let done = match change {
            Patch::Merge(body) => {
                patch::merge(object, body);
                return Ok(());
            }
            Patch::Json(operations) if self.bug == ServerBug::IgnoresTests => {
                patch::apply(object, &without_tests(operations))
            }
            Patch::Json(operations) => patch::apply(object, operations),
        };
        done.map_err(|problem| match problem {
            patch::Problem::Unfit(why) => refused(422, "Invalid", why),
            patch::Problem::Malformed(why) => refused(400, "BadRequest", why),
        })
    }

    /// What a patch says of the resource version must be so. The uid cannot be changed; the status of a custom resource
    /// takes no metadata at all, so there it means nothing.
    fn hold_preconditions(
        &self,
        resource: Resource,
        part: Part,
        before: &Value,
        after: &mut Value,
    ) -> Result<(), Reply> {
        let takes_uid = part == Part::Whole || is_built_in(resource);
        for (field, refusal) in [
            ("/metadata/resourceVersion", (409, "Conflict", "the object has been modified")),
            ("/metadata/uid", (422, "Invalid", "metadata.uid: field is immutable")),
        ] {
            if after.at(field) == before.at(field) {
                continue;
            }
            let (code, reason, message) = refusal;
            if self.bug != ServerBug::IgnoresVersions && (code == 409 || takes_uid) {
                return Err(refused(code, reason, message));
            }
            if let (Some(place), Some(kept)) = (after.pointer_mut(field), before.at(field)) {
                *place = kept.clone();
            }
        }
        Ok(())
    }

    fn store(&mut self, target: &ObjectRef, mut object: Value, now: Timestamp) -> Reply {
        self.count_version(&mut object);
        self.objects.insert(target.clone(), object.clone());
        if target.resource != EVENTS {
            self.history.push((now, Change::Applied(target.resource, object.clone())));
        }
        Reply::Object(object)
    }

    fn count_version(&mut self, object: &mut Value) {
        self.version += 1;
        if let Some(metadata) = metadata(object) {
            metadata.insert("resourceVersion".to_owned(), self.version.to_string().into());
        }
    }

    fn delete(&mut self, target: &ObjectRef, uid: &str, now: Timestamp) -> Reply {
        let Some(object) = self.objects.get(target) else { return self.object(target) };
        if !uid.is_empty() && text(object, "/metadata/uid") != uid {
            return refused(409, "Conflict", "the precondition on uid failed");
        }
        let deleted = deleted(target, object);
        self.remove(target, now);
        self.objects.get(target).map_or(deleted, |object| Reply::Object(object.clone()))
    }

    /// Removes an object, at once or when its last finalizer goes; what it owns follows.
    pub fn remove(&mut self, target: &ObjectRef, now: Timestamp) {
        let Some(object) = self.objects.get(target) else { return };
        let mut object = object.clone();
        if finalizers(&object).next().is_none() {
            return self.end(target, object, now);
        }
        if is_deleting(&object) {
            return;
        }
        count_generation(&mut object);
        if let Some(metadata) = metadata(&mut object) {
            metadata.insert("deletionTimestamp".to_owned(), seconds(now).to_string().into());
            metadata.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
        }
        self.store(target, object, now);
    }

    /// The end of an object in this state.
    fn end(&mut self, target: &ObjectRef, mut object: Value, now: Timestamp) {
        self.objects.remove(target);
        self.orphans.remove(target);
        self.count_version(&mut object);
        let uid = text(&object, "/metadata/uid").to_owned();
        self.uids.remove(&uid);
        self.history.push((now, Change::Deleted(target.resource, object)));
        let due = plus(now, GARBAGE_COLLECTION_MILLISECONDS);
        let is_owned = |child: &Value| owners(child).any(|owner| owner == uid);
        for (child, _) in self.objects.iter().filter(|(_, child)| is_owned(child)) {
            self.orphans.entry(child.clone()).or_insert(due);
        }
    }

    /// Removes what has had no owner for long enough. What has others left only loses the references to those that are
    /// gone.
    pub fn collect_garbage(&mut self, now: Timestamp) {
        let due: Vec<ObjectRef> =
            self.orphans.iter().filter(|(_, time)| **time <= now).map(|(target, _)| target.clone()).collect();
        for target in due {
            self.orphans.remove(&target);
            let Some(object) = self.objects.get(&target) else { continue };
            if owners(object).any(|owner| self.uids.contains(owner)) {
                self.forget_owners(&target, now);
            } else if owners(object).next().is_some() {
                self.remove(&target, now);
            }
        }
    }

    fn forget_owners(&mut self, target: &ObjectRef, now: Timestamp) {
        let Some(mut object) = self.objects.get(target).cloned() else { return };
        let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
        let Some(owners) = owners else { return };
        let before = owners.len();
        owners.retain(|owner| self.uids.contains(text(owner, "/uid")));
        if owners.len() != before {
            self.store(target, object, now);
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

/// As kube's client reads it: the server's answer is no JSON.
fn not_installed() -> Reply {
    refused(404, "Failed to parse error data", "404 page not found")
}

fn kind(call: &Call) -> Option<Resource> {
    match call {
        Call::Get(target)
        | Call::Create { target, .. }
        | Call::Patch { target, .. }
        | Call::Delete { target, .. }
        | Call::Evict { target, .. } => Some(target.resource),
        Call::List { resource, .. } => Some(*resource),
        Call::Measure { .. } | Call::Notify { .. } => None,
    }
}

/// What the server says of a new object.
fn given(target: &ObjectRef, uid: &str, now: Timestamp) -> Value {
    let resource = target.resource;
    let api_version = match resource.group {
        "" => resource.version.to_owned(),
        group => format!("{group}/{}", resource.version),
    };
    let mut metadata = json!({ "uid": uid, "creationTimestamp": seconds(now).to_string() });
    if resource.namespaced {
        metadata["namespace"] = target.namespace.as_str().into();
    }
    if has_generation(resource) {
        metadata["generation"] = 1.into();
    }
    json!({ "apiVersion": api_version, "kind": resource.kind, "metadata": metadata })
}

/// A new object has no status of its own where that is a subresource.
fn initialise_status(resource: Resource, object: &mut Value) {
    let Some(fields) = object.as_object_mut().filter(|_| has_status_subresource(resource)) else { return };
    match resource {
        REPLICA_SETS => fields.insert("status".to_owned(), json!({ "replicas": 0 })),
        JOBS => fields.insert("status".to_owned(), json!({})),
        _ => fields.remove("status"),
    };
}

/// The answer to the deletion of an object that goes at once.
fn deleted(target: &ObjectRef, object: &Value) -> Reply {
    Reply::Object(json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success",
        "details": {
            "name": target.name, "group": target.resource.group, "kind": target.resource.plural,
            "uid": object.at("/metadata/uid"),
        },
    }))
}

/// The subresource takes the status alone; the object itself takes everything else. Built-in kinds also take metadata
/// by the subresource.
fn keep_other_part(resource: Resource, part: Part, before: &Value, after: &mut Value) {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object_mut()) else { return };
    let is_kept = |field: &str| match part {
        Part::Whole => has_status_subresource(resource) && field == "status",
        Part::Status => field != "status" && (field != "metadata" || !is_built_in(resource)),
    };
    after.retain(|field, _| !is_kept(field) || before.contains_key(field));
    for (field, value) in before.iter().filter(|(field, _)| is_kept(field)) {
        if after.get(field) != Some(value) {
            after.insert(field.clone(), value.clone());
        }
    }
}

/// What only the server may say of an object.
fn keep_given(before: &Value, after: &mut Value) {
    let (Some(before), Some(after)) = (before.get("metadata").and_then(Value::as_object), metadata(after))
    else {
        return;
    };
    for field in ["generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if after.get(field) == before.get(field) {
            continue;
        }
        match before.get(field) {
            Some(value) => after.insert(field.to_owned(), value.clone()),
            None => after.remove(field),
        };
    }
}

/// Empty lists and maps of the metadata are as good as none, and are not kept.
fn tidy(object: &mut Value) {
    let Some(metadata) = metadata(object) else { return };
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let is_empty = match metadata.get(field) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            _ => false,
        };
        if is_empty {
            metadata.remove(field);
        }
    }
}

/// The generation counts changes of everything but the metadata, and the status where that is a subresource.
fn differs_in_what_is_desired(resource: Resource, before: &Value, after: &Value) -> bool {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return false };
    let counts =
        |field: &str| field != "metadata" && (field != "status" || !has_status_subresource(resource));
    let is_new = |field: &String| counts(field) && !before.contains_key(field);
    has_generation(resource)
        && (before.iter().any(|(field, value)| counts(field) && after.get(field) != Some(value))
            || after.keys().any(is_new))
}

fn count_generation(object: &mut Value) {
    let generation = object.pointer_mut("/metadata/generation");
    if let Some(generation) = generation {
        *generation = (generation.as_i64().unwrap_or(0) + 1).into();
    }
}

fn metadata(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("metadata")?.as_object_mut()
}

/// The uids of an object's owners.
fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let owners = object.at("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    owners.map(|owner| text(owner, "/uid"))
}

/// A field of the owner that controls an object; empty without one.
pub fn controller<'a>(object: &'a Value, field: &str) -> &'a str {
    let owners = object.at("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    let mut controllers = owners.filter(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    controllers.next().map_or("", |owner| text(owner, field))
}

fn finalizers(object: &Value) -> impl Iterator<Item = &Value> {
    object.at("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten()
}

fn is_deleting(object: &Value) -> bool {
    object.at("/metadata/deletionTimestamp").is_some()
}

/// AnalysisRuns have none in the CRDs of Argo Rollouts, so none in ours.
fn has_status_subresource(resource: Resource) -> bool {
    resource == ROLLOUTS || resource.group != ANALYSIS_RUNS.group
}

fn has_generation(resource: Resource) -> bool {
    resource != SERVICES && resource != EVENTS
}

fn is_built_in(resource: Resource) -> bool {
    matches!(resource.group, "" | "apps" | "batch" | "networking.k8s.io")
}

fn without_tests(operations: &Value) -> Value {
    let operations = operations.as_array().into_iter().flatten();
    operations.filter(|operation| operation.get("op") != Some(&json!("test"))).cloned().collect()
}

pub(super) fn has_labels(object: &Value, selector: &str) -> bool {
    let labels = object.at("/metadata/labels");
    let label = |key: &str| labels.and_then(|labels| labels.get(key)?.as_str());
    let fits = |term: &str| match (term.split_once("!="), term.split_once('='), term.strip_prefix('!')) {
        (Some((key, value)), _, _) => label(key) != Some(value),
        (_, Some((key, value)), _) => label(key) == Some(value.strip_prefix('=').unwrap_or(value)),
        (_, _, Some(key)) => label(key).is_none(),
        (None, None, None) => label(term).is_some(),
    };
    selector.split(',').filter(|term| !term.is_empty()).all(fits)
}

fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A text in an object; empty when it is not there. The pointer has no escapes.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.at(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number in an object; 0 when it is not there. The pointer has no escapes.
pub fn number(object: &Value, pointer: &str) -> i64 {
    object.at(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether an object is of this kind, in any version: the real server converts them.
pub fn is_of(object: &Value, resource: Resource) -> bool {
    let group = text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    text(object, "/kind") == resource.kind && group == resource.group
}

/// Names an object.
pub fn reference(resource: Resource, object: &Value) -> ObjectRef {
    ObjectRef {
        resource,
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
    }
}
