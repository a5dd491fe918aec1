//! R3: what the server has told a process in an answer, its own writes included, that process does not forget.

use super::{Names, Write, marks};
use crate::world::server::{reference, text};
use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Resource};
use headgate_driver::resources::ROLLOUTS;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// Versions of objects as answers have told them, with the time from which the process knows them.
#[derive(Debug, Default)]
pub(super) struct Told {
    versions: BTreeMap<(u32, ObjectRef), Versions>,
    /// When a process was told that there is no Rollout.
    without: BTreeMap<u32, Timestamp>,
}

/// Those of one object.
#[derive(Debug, Default)]
struct Versions {
    uid: String,
    told: Vec<Answer>,
}

/// A version that an answer has told.
#[derive(Clone, Copy, Debug)]
struct Answer {
    arrives: Timestamp,
    version: u64,
    /// Of a list that was asked for on behalf of a Rollout.
    is_listed: bool,
}

/// Who asks at the same time for a Rollout and for what it has gets the answers within this time of each other.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(10);

impl Told {
    /// An answer reaches a process at this time. A list that is asked for on behalf of a Rollout tells of its own objects.
    pub(super) fn answered(
        &mut self,
        process: u32,
        call: &Call,
        reply: &Reply,
        names: Option<&Names>,
        arrives: Timestamp,
    ) {
        let objects = match reply {
            Reply::Object(object) => std::slice::from_ref(object),
            Reply::Objects(objects) => objects,
            Reply::Refused { code: 404, .. } if matches!(call, Call::Get(target) if target.resource == ROLLOUTS) =>
            {
                self.without.insert(process, arrives);
                return;
            }
            Reply::Refused { .. } | Reply::Lost(_) | Reply::Measured(_) | Reply::Notified(_) => return,
        };
        let resource = match call {
            Call::Get(target) | Call::Patch { target, .. } | Call::Create { target, .. } => target.resource,
            Call::List { resource, .. } => *resource,
            Call::Delete { .. } | Call::Evict { .. } | Call::Measure { .. } | Call::Notify { .. } => return,
        };
        let is_listed = matches!(call, Call::List { .. });
        let is_of_another =
            |object: &&Value| is_listed && names.is_some_and(|names| names.is_of_another(object));
        for object in objects.iter().filter(|object| !is_of_another(object)) {
            let known = self.versions.entry((process, reference(resource, object))).or_default();
            let uid = text(object, "/metadata/uid");
            if known.uid == uid || !matches!(call, Call::Get(_)) || known.uid.is_empty() {
                known.told.push(Answer { arrives, version: version(object), is_listed });
            }
            // Who asks for an object that is deleted and made anew meanwhile gets an answer about another one, and may have
            // no use for it.
            uid.clone_into(&mut known.uid);
        }
    }

    /// Whether the process of a write was told of this object in an answer between then and the write.
    pub(super) fn has_told(
        &self,
        write: &Write<'_>,
        resource: Resource,
        name: &str,
        since: Timestamp,
    ) -> bool {
        let Some(process) = write.process else { return false };
        let object = ObjectRef { resource, namespace: write.target.namespace.clone(), name: name.to_owned() };
        let known = self.versions.get(&(process, object));
        known.is_some_and(|known| {
            known.told.iter().any(|answer| (since..=write.sent_at).contains(&answer.arrives))
        })
    }

    /// A process sends a request.
    pub(super) fn sent(&self, process: u32, call: &Call, now: Timestamp) -> Result<(), String> {
        let Call::Patch { target, patch: Patch::Merge(body), .. } = call else { return Ok(()) };
        // The sweep takes marks away as watches have shown them: it has time, and a guard.
        let rests_on = if marks::gives_back(body) { 0 } else { version(body) };
        let known = self.versions.get(&(process, target.clone()));
        let told = known.into_iter().flat_map(|known| &known.told);
        // What a Rollout has is of no use to who hears that there is none.
        let without = self.without.get(&process);
        let is_of_none = |answer: &Answer| {
            answer.is_listed
                && without.is_some_and(|without| answer.arrives.duration_since(*without).abs() <= AT_ONCE)
        };
        let newest = told.filter(|answer| answer.arrives < now && !is_of_none(answer));
        let newest = newest.map(|answer| answer.version).max();
        match newest.filter(|newest| rests_on > 0 && *newest > rests_on) {
            Some(newest) => Err(format!(
                "{} {} is changed on version {rests_on}, and the process was told version {newest}",
                target.resource.kind, target.name
            )),
            None => Ok(()),
        }
    }
}

fn version(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").parse().unwrap_or(0)
}
