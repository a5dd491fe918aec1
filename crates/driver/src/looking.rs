//! Live reads: after a take-over, and wherever what we know has turned out to be wrong (R3).

use crate::io::{Call, ObjectRef, Reply, Resource};
use crate::object::{self, texts};
use crate::outbox::{Context, Errand, Versions};
use crate::outcome::{Outcome, Refusal};
use crate::references::named;
use crate::resources::{ANALYSIS_RUNS, REPLICA_SETS, is_foreign};
use crate::rollout_task::{Proves, RolloutTask, Stage, read_key};
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_model::FailureClass;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// So often it is tried to read everything before what cannot be had counts as unknown: some seven seconds.
const LOOKS_MAX: u32 = 3;

impl RolloutTask {
    /// Reads live what this rollout's decisions rest on: itself, its children, and the objects of others.
    pub(crate) fn look_at_everything(&mut self, rollout: &Value, context: &mut Context<'_>) {
        let named = named(rollout, context.store);
        let foreign = named.objects.into_iter().filter(|object| is_foreign(object.resource));
        for target in std::iter::once(self.reference.clone()).chain(foreign) {
            let id = context.look(&self.key, target);
            self.in_flight.insert(id);
        }
        self.list(REPLICA_SETS, texts(rollout, "/spec/selector/matchLabels"), context);
        self.list(ANALYSIS_RUNS, BTreeMap::new(), context);
        self.stage = Stage::Looking(Proves::All);
    }

    fn list(&mut self, resource: Resource, labels: BTreeMap<String, String>, context: &mut Context<'_>) {
        let mut selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        selector.push(POD_TEMPLATE_HASH.to_owned());
        let call = Call::List { resource, namespace: self.name.0.clone(), labels: selector.join(",") };
        let children = context.store.children(&self.uid, resource);
        let seen = children.map(|child| (object::uid(child).to_owned(), version(child))).collect();
        let id = context.send(&self.key, Errand::List { resource, labels, seen }, call);
        self.in_flight.insert(id);
    }

    fn is_proving_all(&self) -> bool {
        matches!(self.stage, Stage::Looking(Proves::All))
    }

    /// The reply to a live read of one object.
    pub(crate) fn looked(&mut self, target: &ObjectRef, seen: &str, reply: Reply, context: &mut Context<'_>) {
        match context.looked(target, seen, reply) {
            // Events may have come faster than a process that stood still: what was read belongs to this state of the Rollout.
            Outcome::Done(rollout) if *target == self.reference && self.is_proving_all() => {
                self.knows(&rollout);
            }
            Outcome::Done(_) => {}
            Outcome::Refused(refusal) if refusal.class == FailureClass::NotFound => {}
            // A server that is busy, or does not answer, may be ready in a second.
            Outcome::Refused(refusal) | Outcome::Unclear(refusal)
                if self.is_proving_all() && self.may_be_had(&refusal) =>
            {
                self.look_failed(target, refusal, context);
            }
            // One object that nobody can have holds up nobody for ever.
            Outcome::Unclear(_) if self.is_proving_all() && is_foreign(target.resource) => {
                context.store.unknown(target);
                context.unread.push(target.clone());
            }
            // We may not read it, so our watch cannot either: it is unknown, and the others go on. Any other refusal says nothing
            // of it: what we know of our own writes stays, unless just that is in doubt.
            Outcome::Refused(refusal) if is_foreign(target.resource) => {
                if self.is_proving_all() || refusal.class == FailureClass::Forbidden {
                    context.store.unknown(target);
                }
                context.unread.push(target.clone());
            }
            Outcome::Refused(refusal) | Outcome::Unclear(refusal) => {
                self.look_failed(target, refusal, context);
            }
        }
    }

    /// Whether another look is worth the wait: what is decided while something is unknown may be wrong.
    fn may_be_had(&self, refusal: &Refusal) -> bool {
        refusal.class != FailureClass::Forbidden && self.failures.attempts(&read_key()) < LOOKS_MAX
    }

    /// The reply to a live list of children: those of ours that it lacks are gone, unless a watch has shown them since
    /// it was asked for.
    pub(crate) fn listed(
        &mut self,
        resource: Resource,
        labels: &BTreeMap<String, String>,
        seen: &Versions,
        reply: Reply,
        context: &mut Context<'_>,
    ) {
        let objects = match reply {
            Reply::Objects(objects) => objects,
            other => {
                let refusal = match crate::outcome::outcome(other) {
                    Outcome::Refused(refusal) | Outcome::Unclear(refusal) => refusal,
                    Outcome::Done(_) => {
                        Refusal::new(FailureClass::Bug, "an object where a list was asked for")
                    }
                };
                return self.look_failed(&ObjectRef { resource, ..self.reference.clone() }, refusal, context);
            }
        };
        let ours = |object: &Value| object::controller_uid(object).is_none_or(|owner| owner == self.uid);
        let listed: BTreeSet<String> = objects.iter().map(|object| object::uid(object).to_owned()).collect();
        let gone: Vec<ObjectRef> = context
            .store
            .children(&self.uid, resource)
            .filter(|child| !listed.contains(object::uid(child)))
            .filter(|child| seen.get(object::uid(child)) == Some(&version(child)))
            .filter(|child| {
                let has = texts(child, "/metadata/labels");
                has.contains_key(POD_TEMPLATE_HASH)
                    && labels.iter().all(|(key, value)| has.get(key) == Some(value))
            })
            .map(|child| object::reference(resource, child))
            .collect();
        for reference in gone {
            let change = context.store.not_found(&reference);
            context.touch(reference, change);
        }
        for object in objects {
            // Also the children of a Rollout of this name that is gone: others decide on what was shown of them.
            if ours(&object) || context.store.knows(resource, &object) {
                context.answered(resource, object);
            }
        }
    }

    /// What a decision rests on and could not be read is read again after a while; until then this rollout
    /// waits. Any other object stays as it was: what is done to it is guarded.
    fn look_failed(&mut self, target: &ObjectRef, refusal: Refusal, context: &mut Context<'_>) {
        match self.stage {
            Stage::Looking(Proves::All) => {
                self.stage = Stage::Looking(Proves::Some);
                self.failed(&read_key(), refusal, context);
            }
            _ if *target == self.reference && !self.failures.holds(&read_key(), context.now) => {
                self.failed(&read_key(), refusal, context);
            }
            _ => {}
        }
    }
}

fn version(object: &Value) -> String {
    object::resource_version(object).to_owned()
}
