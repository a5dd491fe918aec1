//! What a task works with: the store, the requests to send, and whom each reply is for.

use crate::courier::{Courier, LetterKey};
use crate::facts::Counters;
use crate::io::{Call, ObjectRef, Patch, Reply, Request, RequestId, Resource};
use crate::notices::{self, Told};
use crate::outcome::{Outcome, outcome};
use crate::places::{Lane, Places};
use crate::record::Pruned;
use crate::references::Name;
use crate::resources::{ANALYSIS_RUNS, ROLLOUTS};
use crate::store::{Change, Source, Store};
use crate::sweep::SweepErrand;
use crate::{Deciders, Options, object};
use headgate_api::At;
use headgate_model::{MeasurementKey, Notice, Timestamp};
use headgate_notify::Subscriptions;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a task is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaskKey {
    Rollout(Name),
    Run(Name),
}

impl TaskKey {
    /// The object that the task is about.
    fn object(&self) -> ObjectRef {
        let (resource, (namespace, name)) = match self {
            Self::Rollout(name) => (ROLLOUTS, name),
            Self::Run(name) => (ANALYSIS_RUNS, name),
        };
        ObjectRef { resource, namespace: namespace.clone(), name: name.clone() }
    }
}

/// Resource versions of objects, by uid.
pub(crate) type Versions = BTreeMap<String, String>;

/// Why a request was sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Errand {
    /// Write the record of the plan.
    Record { sent_at: Timestamp },
    /// Read the Rollout live before effects go out.
    Confirm { sent_at: Timestamp },
    /// Carry out the effect with this number in the plan, or a part of it.
    Act { effect: usize, target: ObjectRef },
    /// Read an object live. `seen`: resourceVersion in the store when it was asked for.
    Look { target: ObjectRef, seen: String },
    /// As `Look`, because the name that the effect wants is taken.
    LookAtOccupant { effect: usize, target: ObjectRef },
    /// Read children live. Those that the list lacks although they have these labels are gone, if
    /// they are still in the version that was known when it was asked for.
    List { resource: Resource, labels: BTreeMap<String, String>, seen: Versions },
    /// Read the pods of a rollout that restarts.
    ListPods,
    /// Take a measurement.
    Measure { key: MeasurementKey, asked_at: Timestamp, lane: Lane },
    /// Delete the task's own object.
    Delete,
}

impl Errand {
    /// Of which kind the objects in the answer are, where they are more than the task's own business. `own`: the kind of the
    /// task's object.
    pub(crate) fn resource(&self, own: Resource) -> Option<Resource> {
        match self {
            Self::Act { target, .. } | Self::Look { target, .. } | Self::LookAtOccupant { target, .. } => {
                Some(target.resource)
            }
            Self::List { resource, .. } => Some(*resource),
            Self::Record { .. } | Self::Confirm { .. } => Some(own),
            Self::ListPods | Self::Measure { .. } | Self::Delete => None,
        }
    }
}

/// For whom a reply is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Addressee {
    Task(TaskKey, Errand),
    /// An object that some Rollout names, or that a list should have held.
    Fetch {
        target: ObjectRef,
        seen: String,
    },
    /// The sweep, about a Service.
    Sweep {
        service: Name,
        errand: SweepErrand,
    },
    /// The courier, about a notification.
    Courier {
        letter: LetterKey,
        service: String,
    },
    /// An event: nobody waits for it.
    Nobody,
}

/// Requests to send, and whom their replies are for.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    next_id: u64,
    pub(crate) requests: Vec<Request>,
    addressees: BTreeMap<RequestId, Addressee>,
}

impl Outbox {
    pub(crate) fn send(&mut self, to: Addressee, owner: ObjectRef, call: Call) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.addressees.insert(id, to);
        self.requests.push(Request { id, owner, call });
        id
    }

    pub(crate) fn addressee(&mut self, id: RequestId) -> Option<Addressee> {
        self.addressees.remove(&id)
    }
}

/// Everything that a task may use while it decides or takes a reply.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) counters: &'a mut Counters,
    pub(crate) pruned: &'a mut Pruned,
    pub(crate) places: &'a mut Places,
    /// Objects that changed by an answer; those whom it concerns are woken afterwards.
    pub(crate) touched: &'a mut Vec<(ObjectRef, BTreeSet<String>)>,
    /// Objects of others that are to be read again.
    pub(crate) unread: &'a mut Vec<ObjectRef>,
    /// What was sent to webhooks.
    pub(crate) courier: &'a Courier,
    /// Who wants to know what; `None` while that is not known.
    pub(crate) subscriptions: Option<&'a Subscriptions>,
    pub(crate) options: &'a Options,
    pub(crate) deciders: &'a Deciders,
    pub(crate) now: Timestamp,
}

impl Context<'_> {
    /// Sends a call of a task.
    pub(crate) fn send(&mut self, task: &TaskKey, errand: Errand, call: Call) -> RequestId {
        self.counters.requests += 1;
        self.outbox.send(Addressee::Task(task.clone(), errand), task.object(), call)
    }

    /// Reads an object live.
    pub(crate) fn look(&mut self, task: &TaskKey, target: ObjectRef) -> RequestId {
        let seen = self.store.get(&target).map(object::resource_version).unwrap_or_default().to_owned();
        self.send(task, Errand::Look { target: target.clone(), seen }, Call::Get(target))
    }

    /// Takes in an object as the API server has just answered it.
    pub(crate) fn answered(&mut self, resource: Resource, object: Value) {
        if object::meta(&object, "name").is_empty() {
            return;
        }
        let reference = object::reference(resource, &object);
        let change = self.store.put(resource, object, Source::Answer);
        self.touch(reference, change);
    }

    /// Takes in the reply to a live read. An object that is not there is forgotten, unless it changed meanwhile.
    pub(crate) fn looked(&mut self, target: &ObjectRef, seen: &str, reply: Reply) -> Outcome {
        let outcome = outcome(reply);
        match &outcome {
            Outcome::Done(object) => self.answered(target.resource, object.clone()),
            Outcome::Refused(refusal) if refusal.class == headgate_model::FailureClass::NotFound => {
                let stored = self.store.get(target).map(object::resource_version).unwrap_or_default();
                if stored == seen {
                    let change = self.store.not_found(target);
                    self.touch(target.clone(), change);
                }
            }
            Outcome::Refused(_) | Outcome::Unclear(_) => {}
        }
        outcome
    }

    /// Takes in the reply to a delete.
    pub(crate) fn deleted(&mut self, target: &ObjectRef, uid: &str, answer: Value) {
        let finalizers = answer.at("/metadata/finalizers").and_then(Value::as_array);
        if finalizers.is_some_and(|finalizers| !finalizers.is_empty()) && object::is_deleting(&answer) {
            self.answered(target.resource, answer);
        } else {
            let change = self.store.bury(target, uid);
            self.touch(target.clone(), change);
        }
    }

    pub(crate) fn touch(&mut self, reference: ObjectRef, change: Change) {
        if change.changed {
            self.touched.push((reference, change.owners));
        }
    }

    /// Sends an event about an object of ours, if this minute has room for it or it must not be missed.
    pub(crate) fn tell(&mut self, resource: Resource, about: &Value, told: &mut Told, notice: &Notice) {
        // A user whose wish is dropped is always told: there are no more of these than wishes.
        let must_be_told = notice.reason == headgate_api::events::INTENT_DROPPED;
        if !must_be_told && !told.permits(self.options.limits.events_per_minute, self.now) {
            self.counters.notices_dropped += 1;
            return;
        }
        *self.counters.notices.entry(notice.reason).or_insert(0) += 1;
        let call = notices::event(resource, about, notice, &self.options.component, self.now);
        self.outbox.send(Addressee::Nobody, object::reference(resource, about), call);
    }
}

/// A merge patch of a status, fenced by uid and resourceVersion (R1).
pub(crate) fn fenced_patch(
    target: ObjectRef,
    stored: &Value,
    status: &Value,
    subresource: Subresource,
) -> Call {
    let body = serde_json::json!({
        "metadata": { "uid": object::uid(stored), "resourceVersion": object::resource_version(stored) },
        "status": status,
    });
    Call::Patch { target, status: subresource == Subresource::Status, patch: Patch::Merge(body) }
}

/// Where a status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subresource {
    /// On `/status`.
    Status,
    /// On the object itself: the kind has no status subresource (R12).
    None,
}
