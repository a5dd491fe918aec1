//! Calls about pods. A real pod and a virtual one differ in most of what they say, and names of pods are drawn by lot: so
//! the script calls pods by numbers, and of the answers only what the driver reads is compared, in one form for both
//! worlds.

use super::{Case, answer, gone};
use crate::world::server::{number, text};
use headgate_api::At;
use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Resource};
use headgate_driver::resources::PODS;
use serde_json::{Map, Value, json};

/// PodDisruptionBudgets. Nobody but evictions reads them.
pub const BUDGETS: Resource = Resource {
    group: "policy",
    version: "v1",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    namespaced: true,
};
/// Annotations of the script are under this; others note things on pods as well.
const NOTES: &str = "conformance/";
/// The uid of a pod that was never there.
const ANOTHER: &str = "00000000-0000-0000-0000-000000000000";
/// A kubelet that cannot get an image says these by turns, the last one when its runtime knows that much.
const NO_IMAGE: [&str; 3] = ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"];

/// What is done to pods. A pod has the number of its first appearance in an answer, from 1; pods that appear in the same
/// answer are numbered by name.
pub enum PodAct {
    /// Pods with these labels, as a restart reads them.
    List(&'static str),
    /// The world goes on until the list of all pods is like this; the answer is the list.
    Await(fn(&[Value]) -> bool),
    /// One pod, as the list of all shows it.
    Look(usize),
    /// An eviction.
    Evict(usize, Uid),
    /// A merge patch of this in a pod's metadata.
    Patch(usize, Uid, Version, Value),
}

/// The uid that a call demands.
#[derive(Clone, Copy)]
pub enum Uid {
    /// The pod's.
    Own,
    /// Another one.
    Another,
}

/// The version that a call demands.
#[derive(Clone, Copy)]
pub enum Version {
    /// That of the first answer with this pod.
    First,
    /// That of the last answer with this pod.
    Last,
    /// Any.
    Any,
}

/// The pods that answers have shown so far, by number.
#[derive(Default)]
pub struct Known(Vec<Pod>);

struct Pod {
    name: String,
    uid: String,
    first: String,
    last: String,
}

impl Known {
    /// The call of an act, as the driver sends it.
    pub fn call(&self, act: &PodAct, case: &Case) -> Call {
        match act {
            PodAct::List(labels) => list(case, labels),
            PodAct::Await(_) | PodAct::Look(_) => list(case, ""),
            PodAct::Evict(number, uid) => {
                Call::Evict { target: self.target(*number, case), uid: self.uid(*number, *uid).to_owned() }
            }
            PodAct::Patch(number, uid, version, metadata) => {
                let mut metadata = metadata.as_object().cloned().unwrap_or_default();
                metadata.insert("uid".to_owned(), self.uid(*number, *uid).into());
                if let Some(version) = self.version(*number, *version) {
                    metadata.insert("resourceVersion".to_owned(), version.into());
                }
                let patch = Patch::Merge(json!({ "metadata": metadata }));
                Call::Patch { target: self.target(*number, case), status: false, patch }
            }
        }
    }

    /// Whether a list is what an act awaits. Acts that await nothing take any answer.
    pub fn is_awaited(act: &PodAct, reply: &Reply) -> bool {
        match (act, reply) {
            (PodAct::Await(wanted), Reply::Objects(pods)) => {
                wanted(&pods.iter().map(shown).collect::<Vec<_>>())
            }
            (PodAct::Await(_), _) => false,
            _ => true,
        }
    }

    /// The answer of an act, in the form of both worlds.
    pub fn answer(&mut self, act: &PodAct, reply: &Reply) -> Value {
        match (act, reply) {
            (PodAct::Look(number), Reply::Objects(pods)) => {
                let name = self.pod(*number).map(|pod| pod.name.clone()).unwrap_or_default();
                let pod = pods.iter().find(|pod| text(pod, "/metadata/name") == name);
                pod.map_or_else(gone, |pod| json!({ "pod": self.numbered(pod) }))
            }
            (_, Reply::Objects(pods)) => {
                let mut pods: Vec<&Value> = pods.iter().collect();
                pods.sort_by_key(|pod| text(pod, "/metadata/name"));
                let mut shown: Vec<Value> = pods.into_iter().map(|pod| self.numbered(pod)).collect();
                shown.sort_by_key(|pod| number(pod, "/number"));
                json!({ "pods": shown })
            }
            (PodAct::Patch(number, _, version, _), Reply::Object(pod)) => {
                let demanded = self.version(*number, *version).map(str::to_owned);
                let is_new = demanded.map(|before| before != text(pod, "/metadata/resourceVersion"));
                json!({ "pod": self.numbered(pod), "has a new version": is_new })
            }
            (_, reply) => answer(reply),
        }
    }

    /// A pod as it is compared, with its number.
    fn numbered(&mut self, pod: &Value) -> Value {
        let of_pod = |field: &str| text(pod, &format!("/metadata/{field}")).to_owned();
        let (name, uid, last) = (of_pod("name"), of_pod("uid"), of_pod("resourceVersion"));
        let place = self.0.iter().position(|known| known.name == name).unwrap_or(self.0.len());
        match self.0.get_mut(place) {
            Some(known) => known.last = last,
            None => self.0.push(Pod { name, uid, first: last.clone(), last }),
        }
        let mut shown = shown(pod);
        shown["number"] = (place + 1).into();
        shown
    }

    fn pod(&self, number: usize) -> Option<&Pod> {
        self.0.get(number.checked_sub(1)?)
    }

    fn target(&self, number: usize, case: &Case) -> ObjectRef {
        let name = self.pod(number).map_or("nobody", |pod| pod.name.as_str()).to_owned();
        ObjectRef { resource: PODS, namespace: case.namespace(), name }
    }

    fn uid(&self, number: usize, uid: Uid) -> &str {
        match uid {
            Uid::Own => self.pod(number).map_or(ANOTHER, |pod| pod.uid.as_str()),
            Uid::Another => ANOTHER,
        }
    }

    fn version(&self, number: usize, version: Version) -> Option<&str> {
        match version {
            Version::First => self.pod(number).map(|pod| pod.first.as_str()),
            Version::Last => self.pod(number).map(|pod| pod.last.as_str()),
            Version::Any => None,
        }
    }
}

fn list(case: &Case, labels: &str) -> Call {
    Call::List { resource: PODS, namespace: case.namespace(), labels: labels.to_owned() }
}

/// A pod as it is compared: what the driver reads. How one stands that leaves depends on when it is looked at; that it
/// leaves, and why, does not.
fn shown(pod: &Value) -> Value {
    let metadata = |field: &str| pod.at("/metadata").and_then(|metadata| metadata.get(field));
    let of_script = |key: &str| key.starts_with(NOTES);
    let mut shown = json!({
        "labels": texts(metadata("labels"), |_| true),
        "annotations": texts(metadata("annotations"), of_script),
        "owners": picked(pod, "/metadata/ownerReferences", &["apiVersion", "kind", "name", "uid", "controller"]),
        "creationTimestamp": metadata("creationTimestamp"),
        "leaves": metadata("deletionTimestamp").is_some_and(Value::is_string),
        "is disrupted": conditions(pod, &["DisruptionTarget"]),
    });
    if shown["leaves"] == json!(false) {
        shown["phase"] = text(pod, "/status/phase").into();
        shown["startTime"] = pod.at("/status/startTime").cloned().unwrap_or_default();
        shown["conditions"] = conditions(pod, &["ContainersReady", "Ready"]);
        shown["containers"] = items(pod, "/status/containerStatuses").map(container).collect();
    }
    shown
}

fn container(status: &Value) -> Value {
    json!({
        "name": text(status, "/name"),
        "ready": status.get("ready"),
        "restartCount": status.get("restartCount"),
        "state": state(status.get("state")),
        "lastState": state(status.get("lastState")),
    })
}

/// What a container does, in words.
fn state(state: Option<&Value>) -> String {
    let Some((word, of_it)) = state.and_then(Value::as_object).and_then(|state| state.iter().next()) else {
        return "none".to_owned();
    };
    let reason = text(of_it, "/reason");
    match word.as_str() {
        "waiting" if NO_IMAGE.contains(&reason) => "waiting: no image".to_owned(),
        "waiting" => format!("waiting: {reason}"),
        "terminated" => format!("terminated: {reason} with {}", number(of_it, "/exitCode")),
        word => word.to_owned(),
    }
}

/// These conditions by their types.
fn conditions(pod: &Value, types: &[&str]) -> Value {
    let all = items(pod, "/status/conditions").filter(|one| types.contains(&text(one, "/type")));
    let entry = |one: &Value| {
        let shown =
            json!({ "status": one.get("status"), "lastTransitionTime": one.get("lastTransitionTime") });
        (text(one, "/type").to_owned(), shown)
    };
    Value::Object(all.map(entry).collect())
}

fn picked(object: &Value, pointer: &str, fields: &[&str]) -> Value {
    let pick = |one: &Value| -> Map<String, Value> {
        fields.iter().filter_map(|field| Some(((*field).to_owned(), one.get(*field)?.clone()))).collect()
    };
    items(object, pointer).map(|one| Value::Object(pick(one))).collect()
}

/// Texts by key. None at all are as good as an empty map of them.
fn texts(map: Option<&Value>, is_kept: impl Fn(&str) -> bool) -> Map<String, Value> {
    let all = map.and_then(Value::as_object).into_iter().flatten();
    all.filter(|(key, _)| is_kept(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.at(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The answer to [`super::Act::AwaitBudget`]: how many healthy pods a budget needs, how many there are, and how many
/// evictions it allows.
pub fn room(needed: i64, healthy: i64) -> Value {
    json!({ "needed": needed, "healthy": healthy, "allowed": (healthy - needed).max(0) })
}

/// What a real budget says of itself; `None` while it has not counted its pods.
pub fn room_of(budget: &Value) -> Option<Value> {
    let is_counted = number(budget, "/status/observedGeneration") == number(budget, "/metadata/generation");
    let count = |field: &str| number(budget, &format!("/status/{field}"));
    is_counted.then(|| {
        json!({
            "needed": count("desiredHealthy"), "healthy": count("currentHealthy"),
            "allowed": count("disruptionsAllowed"),
        })
    })
}
