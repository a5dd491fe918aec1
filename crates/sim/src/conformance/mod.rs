//! The virtual world held against a real cluster: one script of calls, carried out in both, and the answers compared.
//!
//! The script is data ([`cases::all`]). Its calls are those that the driver sends. [`in_virtual`] carries a case out in
//! the virtual world; the tests on a real cluster do the same with the controller's own executor, and [`differences`]
//! says where the answers are not the same. What cannot be the same is made the same first, in [`normal`]; what is
//! deliberately not modelled is listed there, with reasons.

pub mod cases;
pub mod in_virtual;
pub mod normal;
pub mod pods;
pub mod relations;

use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Resource};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A story in a namespace of its own.
pub struct Case {
    /// Its name: lower case with dashes, because the namespace is named after it.
    pub name: &'static str,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Fields of a Rollout that the CRD does not know, by their paths.
    pub pruned: &'static [&'static str],
    /// Kinds that are not installed.
    pub absent: Vec<Resource>,
    /// Paths of objects that this case does not compare: what both sides necessarily write in different ways.
    pub ignored: &'static [&'static str],
}

/// One step of a case. Later steps may refer to its answer: a text `@name/pointer` in a body or as a uid stands for what
/// is there in the answer of the step `name`.
pub struct Step {
    /// Its name, unique in its case when others refer to it.
    pub name: &'static str,
    /// What is done.
    pub act: Act,
}

/// What is done in a step, and what its answer is.
pub enum Act {
    /// A call as the driver sends it; the answer is the server's. The namespace of its target is the case's.
    Call(Call),
    /// The world goes on until the object is like this; the answer is the object.
    Await(ObjectRef, fn(&Value) -> bool),
    /// The world goes on until there is no such object.
    AwaitGone(ObjectRef),
    /// All states of the object so far, as a watch tells them.
    History(ObjectRef),
    /// Which of these hold for all states of the object so far.
    Relations(ObjectRef, &'static [relations::Relation]),
    /// Somebody deletes a pod of the case.
    DeletePod,
    /// The readiness probe of one pod that is ready fails for so many seconds.
    FailProbe(i64),
    /// Something about pods.
    Pods(pods::PodAct),
    /// The world goes on until a PodDisruptionBudget needs so many healthy pods and has counted so many; the answer says
    /// also how many evictions it allows.
    AwaitBudget {
        /// The budget.
        target: ObjectRef,
        /// As many must be healthy.
        needed: i64,
        /// As many are.
        healthy: i64,
    },
}

/// What containers of the script do. In the virtual world their image says it; a real cluster gets the test's own app
/// with the arguments that make it behave so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Serves at once, ready.
    Serves,
    /// Serves after 5 s in the virtual world, and after 15 s on a real cluster, where everything else takes longer, too.
    ServesLate,
    /// Never gets ready.
    NeverReady,
    /// Serves as late as [`Program::ServesLate`], and goes on for long when it is told to end: so what leaves can be looked
    /// at before it is gone, and what takes its place is not ready by then.
    Lingers,
    /// Has an image that is nowhere.
    NoImage,
    /// Ends well.
    Succeeds,
    /// Ends with an error.
    Fails,
}

impl Program {
    /// All.
    pub const ALL: &[Self] = &[
        Self::Serves,
        Self::ServesLate,
        Self::NeverReady,
        Self::Lingers,
        Self::NoImage,
        Self::Succeeds,
        Self::Fails,
    ];

    /// The image that stands for it.
    pub fn image(self) -> &'static str {
        match self {
            Self::Serves => "conformance/serves",
            Self::ServesLate => "conformance/serves-late",
            Self::NeverReady => "conformance/never-ready",
            Self::Lingers => "conformance/lingers",
            Self::NoImage => "nowhere.invalid/no-image:1",
            Self::Succeeds => "conformance/succeeds",
            Self::Fails => "conformance/fails",
        }
    }
}

impl Case {
    /// A case without peculiarities.
    pub fn new(name: &'static str, steps: Vec<Step>) -> Self {
        Self { name, steps, pruned: &[], absent: Vec::new(), ignored: &[] }
    }

    /// Its namespace.
    pub fn namespace(&self) -> String {
        format!("conformance-{}", self.name)
    }

    /// The object in the case's namespace.
    pub fn placed(&self, target: &ObjectRef) -> ObjectRef {
        let namespace = if target.resource.namespaced { self.namespace() } else { String::new() };
        ObjectRef { namespace, ..target.clone() }
    }

    /// The call, in the case's namespace, with what it takes from earlier answers.
    pub fn filled_in(&self, call: &Call, answers: &BTreeMap<&str, Value>) -> Call {
        let place = |target| self.placed(target);
        let fill = |body: &Value| filled_in(body, answers);
        match call {
            Call::Get(target) => Call::Get(place(target)),
            Call::List { resource, labels, .. } => {
                Call::List { resource: *resource, namespace: self.namespace(), labels: labels.clone() }
            }
            Call::Create { target, body } => Call::Create { target: place(target), body: fill(body) },
            Call::Patch { target, status, patch } => {
                let patch = match patch {
                    Patch::Merge(body) => Patch::Merge(fill(body)),
                    Patch::Json(body) => Patch::Json(fill(body)),
                };
                Call::Patch { target: place(target), status: *status, patch }
            }
            Call::Delete { target, uid } => {
                Call::Delete { target: place(target), uid: text_filled_in(uid, answers).to_owned() }
            }
            Call::Evict { target, uid } => {
                Call::Evict { target: place(target), uid: text_filled_in(uid, answers).to_owned() }
            }
            Call::Measure { .. } | Call::Notify { .. } => call.clone(),
        }
    }
}

fn filled_in(body: &Value, answers: &BTreeMap<&str, Value>) -> Value {
    match body {
        Value::String(text) => text_filled_in(text, answers).into(),
        Value::Array(items) => items.iter().map(|item| filled_in(item, answers)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), filled_in(value, answers))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => body.clone(),
    }
}

/// What a reference stands for; any other text stands for itself.
fn text_filled_in<'a>(text: &'a str, answers: &'a BTreeMap<&str, Value>) -> &'a str {
    let place = text.strip_prefix('@').and_then(|place| place.split_once('/'));
    let found = place.and_then(|(step, path)| answers.get(step)?.pointer(&format!("/object/{path}")));
    found.and_then(Value::as_str).unwrap_or(text)
}

/// The answer to a call, as JSON. Messages are for people and not compared.
pub fn answer(reply: &Reply) -> Value {
    match reply {
        Reply::Object(object) => json!({ "object": object }),
        Reply::Objects(objects) => json!({ "objects": objects }),
        Reply::Refused { code, reason, .. } => json!({ "refused": code, "reason": reason }),
        Reply::Lost(why) => json!({ "lost": why }),
        Reply::Measured(_) | Reply::Notified(_) => json!({ "lost": "this is no call to the API server" }),
    }
}

/// The answer to [`Act::Await`] and [`Act::AwaitGone`] when it never comes true.
pub fn in_vain(last: Option<&Value>) -> Value {
    json!({ "awaited": "in vain", "last": last })
}

/// The answer to [`Act::AwaitGone`].
pub fn gone() -> Value {
    json!({ "gone": true })
}

/// A place where the two worlds differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Case and step.
    pub step: String,
    /// Where in the answer.
    pub path: String,
    /// What the virtual world says; nothing when it says nothing.
    pub virtual_world: Option<Value>,
    /// What the real one says.
    pub real_world: Option<Value>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
        let (ours, theirs) = (shown(&self.virtual_world), shown(&self.real_world));
        write!(formatter, "{}: {}: virtual {ours}, real {theirs}", self.step, self.path)
    }
}

/// Where two transcripts of a case differ.
pub fn differences(case: &Case, virtual_world: &[Value], real_world: &[Value]) -> Vec<Difference> {
    let (ours, theirs) = (normal::answers(case, virtual_world), normal::answers(case, real_world));
    let mut found = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        let step = format!("{}, step {}: {}", case.name, number + 1, step.name);
        compare(&step, "", ours.get(number), theirs.get(number), &mut found);
    }
    found
}

fn compare(
    step: &str,
    path: &str,
    ours: Option<&Value>,
    theirs: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    match (ours, theirs) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let added = right.keys().filter(|key| !left.contains_key(*key));
            for key in left.keys().chain(added) {
                compare(step, &format!("{path}/{key}"), left.get(key), right.get(key), found);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                compare(step, &format!("{path}/{index}"), left.get(index), right.get(index), found);
            }
        }
        (ours, theirs) if ours == theirs => {}
        (ours, theirs) => found.push(Difference {
            step: step.to_owned(),
            path: path.to_owned(),
            virtual_world: ours.cloned(),
            real_world: theirs.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests;
