//! Pods, of which there may be very many: of each only what its health needs is kept, and who owns it.
//!
//! For their health what the watch says is all that there is: no overlay, no live reads. (A restart reads pods for
//! itself: see `restart`.) What a pod's status does
//! not tell (when an image was first missing, the ends before the last one) is remembered from when it was seen; a process
//! that has just started remembers nothing, and so judges later, never sooner.

use crate::io::{Observation, Resource};
use crate::object::{self, count};
use crate::resources::PODS;
use headgate_api::At;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_model::{ContainerView, ENDS_MAX, End, PodView, Timestamp, Unpulled, Unready};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What the kubelet says of a container whose image it cannot get (`pkg/kubelet/images/types.go`, and the runtime's words
/// that it passes on).
const UNPULLED: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// A ReplicaSet as its pods name it: namespace and uid.
type SetKey = (String, String);

/// The ReplicaSet whose pod has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) namespace: String,
    pub(crate) set: String,
    pub(crate) set_uid: String,
}

/// All pods of Rollouts, by ReplicaSet and name.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    sets: BTreeMap<SetKey, BTreeMap<String, PodView>>,
    is_synced: bool,
    /// Namespaces and names in the list in progress.
    listing: Option<BTreeSet<(String, String)>>,
}

impl Pods {
    /// Takes in what the watch of pods has delivered. Says whose pod has changed in what matters.
    pub(crate) fn observe(&mut self, observation: Observation, now: Timestamp) -> Option<Touched> {
        match observation {
            Observation::ListStarted(_) => {
                self.listing = Some(BTreeSet::new());
                None
            }
            Observation::Listed(_, pod) => {
                let name =
                    (object::meta(&pod, "namespace").to_owned(), object::meta(&pod, "name").to_owned());
                self.listing.get_or_insert_default().insert(name);
                self.put(&pod, now)
            }
            Observation::Applied(_, pod) => self.put(&pod, now),
            Observation::Deleted(_, pod) => {
                self.remove(object::meta(&pod, "namespace"), object::meta(&pod, "name"));
                None
            }
            Observation::Synced(_) => {
                self.complete();
                None
            }
            // Pods always are: the answer of something that is no API server tells nothing.
            Observation::NotInstalled(_) => None,
        }
    }

    fn put(&mut self, pod: &Value, now: Timestamp) -> Option<Touched> {
        let (namespace, name) = (object::meta(pod, "namespace"), object::meta(pod, "name"));
        let Some((set, set_uid)) = owner(pod) else {
            // Somebody has taken it away from its ReplicaSet, to look at it.
            self.remove(namespace, name);
            return None;
        };
        let key = (namespace.to_owned(), set_uid.to_owned());
        let known = self.sets.get(&key).and_then(|pods| pods.get(name));
        if known.is_none() {
            self.remove(namespace, name);
        }
        let pods = self.sets.entry(key).or_default();
        let view = view(pod, pods.get(name), now);
        if pods.get(name) == Some(&view) {
            return None;
        }
        pods.insert(name.to_owned(), view);
        Some(Touched { namespace: namespace.to_owned(), set: set.to_owned(), set_uid: set_uid.to_owned() })
    }

    /// Takes a pod out, whoever owned it.
    fn remove(&mut self, namespace: &str, name: &str) {
        let first = (namespace.to_owned(), String::new());
        let of_namespace = self.sets.range_mut(first..).take_while(|(key, _)| key.0 == namespace);
        let emptied = of_namespace
            .filter_map(|(key, pods)| (pods.remove(name).is_some() && pods.is_empty()).then(|| key.clone()));
        for key in emptied.collect::<Vec<_>>() {
            self.sets.remove(&key);
        }
    }

    /// The list is complete: what it did not hold is gone.
    fn complete(&mut self) {
        self.is_synced = true;
        let Some(listed) = self.listing.take() else { return };
        for ((namespace, _), pods) in &mut self.sets {
            pods.retain(|name, _| listed.contains(&(namespace.clone(), name.clone())));
        }
        self.sets.retain(|_, pods| !pods.is_empty());
    }

    /// The pods of a ReplicaSet.
    pub(crate) fn of(&self, namespace: &str, set_uid: &str) -> Vec<PodView> {
        let pods = self.sets.get(&(namespace.to_owned(), set_uid.to_owned()));
        pods.into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// True once a whole list has been seen.
    pub(crate) fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sets.values().map(BTreeMap::len).sum()
    }
}

/// Name and uid of the ReplicaSet that controls a pod.
pub(crate) fn owner(pod: &Value) -> Option<(&str, &str)> {
    let controller =
        object::controller(pod).filter(|owner| owner.get("kind") == Some(&json!("ReplicaSet")))?;
    Some((controller.get("name")?.as_str()?, controller.get("uid")?.as_str()?))
}

/// Cuts a pod to what is read of it, so that what waits to be taken in is small, too. Other kinds stay as they are.
#[must_use]
pub fn cut(resource: Resource, object: Value) -> Value {
    if resource != PODS {
        return object;
    }
    let part = |pointer: &str, fields: &[&str]| picked(object.at(pointer), fields);
    let containers = |pointer: &str| -> Vec<Value> {
        let all = object.at(pointer).and_then(Value::as_array).into_iter().flatten();
        all.map(|one| picked(Some(one), &["name", "image", "readinessProbe", "resources"])).collect()
    };
    let metadata = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "ownerReferences",
    ];
    let mut metadata = part("/metadata", &metadata);
    metadata["labels"] = part("/metadata/labels", &[POD_TEMPLATE_HASH]);
    let status = ["phase", "reason", "startTime", "conditions", "initContainerStatuses", "containerStatuses"];
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": { "initContainers": containers("/spec/initContainers"), "containers": containers("/spec/containers") },
        "status": part("/status", &status),
    })
}

/// The same for a live list, where labels and annotations count, too.
#[must_use]
pub fn cut_listed(resource: Resource, object: Value) -> Value {
    if resource != PODS {
        return object;
    }
    let metadata = picked(object.get("metadata"), &["labels", "annotations"]);
    let mut pod = cut(resource, object);
    if let (Value::Object(metadata), Some(Value::Object(kept))) = (metadata, pod.get_mut("metadata")) {
        kept.extend(metadata);
    }
    pod
}

fn picked(object: Option<&Value>, fields: &[&str]) -> Value {
    let field = |field: &&str| Some(((*field).to_owned(), object?.get(*field)?.clone()));
    Value::Object(fields.iter().filter_map(field).collect::<Map<_, _>>())
}

/// What a pod's health needs; `before`: what was known of it.
fn view(pod: &Value, before: Option<&PodView>, now: Timestamp) -> PodView {
    let created_at = object::created_at(pod);
    let before = before.filter(|before| before.created_at == created_at);
    let ready = lost_readiness_at(pod);
    let kinds = [("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")];
    let containers = kinds.into_iter().flat_map(|(specs, statuses)| {
        let specs = list(pod, &format!("/spec/{specs}"));
        list(pod, &format!("/status/{statuses}")).iter().map(move |status| {
            let name = text(status, "/name");
            let spec = specs.iter().find(|spec| text(spec, "/name") == name).unwrap_or(&Value::Null);
            let before =
                before.and_then(|pod| pod.containers.iter().find(|container| *container.name == *name));
            let ends_well = statuses == "initContainerStatuses";
            container(&Container { spec, status, ends_well }, before, ready, now)
        })
    });
    let mut containers: Vec<ContainerView> = containers.collect();
    containers.shrink_to_fit();
    PodView {
        name: object::meta(pod, "name").to_owned(),
        created_at,
        started_at: time(pod, "/status/startTime"),
        is_excused: is_excused(pod),
        containers,
    }
}

/// True of a pod that says nothing about its version.
fn is_excused(pod: &Value) -> bool {
    let is_disrupted = condition(pod, "DisruptionTarget").is_some_and(|one| text(one, "/status") == "True");
    object::is_deleting(pod)
        || !["", "Pending", "Running"].contains(&text(pod, "/status/phase"))
        || text(pod, "/status/reason") == "NodeLost"
        || is_disrupted
}

/// When the containers of a pod were last found to be no longer ready. The condition is the kubelet's alone: when a node
/// cannot be reached, the control plane changes `Ready` and not this one.
fn lost_readiness_at(pod: &Value) -> Option<Timestamp> {
    let condition = condition(pod, "ContainersReady").filter(|one| text(one, "/status") == "False")?;
    time(condition, "/lastTransitionTime")
}

pub(crate) fn condition<'a>(pod: &'a Value, type_: &str) -> Option<&'a Value> {
    list(pod, "/status/conditions").iter().find(|condition| text(condition, "/type") == type_)
}

/// A container as it is written and as it stands.
struct Container<'a> {
    spec: &'a Value,
    status: &'a Value,
    /// An init container is meant to end.
    ends_well: bool,
}

impl Container<'_> {
    /// Its last end, if it has ended although it should run; the end of this run, where there is one.
    fn last_end(&self) -> Option<(End, bool)> {
        let (this, last) = (self.status.at("/state/terminated"), self.status.at("/lastState/terminated"));
        let end = |terminated: &Value| End {
            // The kubelet may not know when: then it was long ago.
            at: time(terminated, "/finishedAt").unwrap_or(Timestamp::UNIX_EPOCH),
            exit_code: count(terminated, "/exitCode"),
            oom_killed: text(terminated, "/reason") == "OOMKilled",
        };
        let counts = |terminated: &&Value| !self.ends_well || count(terminated, "/exitCode") != 0;
        let (this, last) = (this.filter(counts), last.filter(counts));
        this.map(|this| (end(this), true)).or_else(|| last.map(|last| (end(last), false)))
    }

    fn unready(&self, lost_at: Option<Timestamp>) -> Option<Unready> {
        let since = lost_at?;
        let started_at = time(self.status, "/state/running/startedAt")?;
        let probe = self.spec.get("readinessProbe").filter(|probe| probe.is_object())?;
        let is_ready = self.status.get("ready") == Some(&Value::Bool(true));
        let number =
            |field: &str, default: i32| Some(count(probe, field)).filter(|it| *it > 0).unwrap_or(default);
        let (period_seconds, failure_threshold) =
            (number("/periodSeconds", 10), number("/failureThreshold", 3));
        // Lost in this run, so it had been ready in it: what is still starting has lost nothing. That is to be told from a
        // container that was killed by its liveness probe and started again in one go: its pod is called unready a moment
        // after the start, when no probe of this run can have failed often enough.
        let least = SignedDuration::from_secs(i64::from(period_seconds) * i64::from(failure_threshold - 1));
        let is_lost = since > started_at && since.duration_since(started_at) >= least;
        (!is_ready && is_lost).then_some(Unready { since, period_seconds, failure_threshold })
    }

    fn unpulled(&self, before: Option<&ContainerView>, now: Timestamp) -> Option<Unpulled> {
        let reason = text(self.status, "/state/waiting/reason");
        if !UNPULLED.contains(&reason) {
            return None;
        }
        let image = Some(text(self.status, "/image")).filter(|image| !image.is_empty());
        let image = image.unwrap_or_else(|| text(self.spec, "/image"));
        let known = before.and_then(|before| before.unpulled.clone()).filter(|known| *known.image == *image);
        Some(known.unwrap_or_else(|| Unpulled {
            since: whole(now),
            reason: reason.into(),
            image: image.into(),
        }))
    }
}

fn container(
    container: &Container<'_>,
    before: Option<&ContainerView>,
    lost_at: Option<Timestamp>,
    now: Timestamp,
) -> ContainerView {
    let status = container.status;
    let last = container.last_end();
    let restarts = count(status, "/restartCount");
    // While it waits to be started again that restart is due, and not counted yet.
    let is_due = last.is_some_and(|(_, is_of_this_run)| is_of_this_run) || is_waiting_again(status);
    let ends = restarts.saturating_add(i32::from(is_due));
    let mut last_ends = before.map_or_else(Vec::new, |before| before.last_ends.clone());
    if let Some((end, _)) = last.filter(|(end, _)| ends > 0 && last_ends.last() != Some(end)) {
        last_ends.push(end);
    }
    let surplus = last_ends.len().saturating_sub(ENDS_MAX);
    last_ends.drain(..surplus);
    last_ends.shrink_to_fit();
    let limit = text(container.spec, "/resources/limits/memory");
    let is_killed = last_ends.iter().any(|end| end.oom_killed);
    ContainerView {
        name: text(status, "/name").to_owned(),
        ends,
        last_ends,
        unready: container.unready(lost_at),
        unpulled: container.unpulled(before, now),
        memory_limit: (is_killed && !limit.is_empty()).then(|| limit.into()),
    }
}

fn is_waiting_again(status: &Value) -> bool {
    let has = |pointer: &str| status.at(pointer).is_some_and(Value::is_object);
    has("/state/waiting") && has("/lastState/terminated")
}

fn whole(time: Timestamp) -> Timestamp {
    crate::backoff::whole_seconds(time)
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.at(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.at(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

#[cfg(test)]
mod tests;
