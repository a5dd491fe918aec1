//! R3: what the server has told a process in an answer, its own writes included, that process does not forget.

use super::guards::value_of;
use super::{Names, Write, marks};
use crate::world::server::{number, reference, text};
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
#[derive(Clone, Debug)]
struct Answer {
    arrives: Timestamp,
    version: i64,
    /// Of the object with this uid: one that is made anew under the name counts from 1 again.
    generation: i64,
    uid: String,
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
                let (version, generation) = (version(object), number(object, "/metadata/generation"));
                known.told.push(Answer { arrives, version, generation, uid: uid.to_owned(), is_listed });
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
        let Call::Patch { target, patch, .. } = call else { return Ok(()) };
        let Some(ground) = Ground::of(patch) else { return Ok(()) };
        let known = self.versions.get(&(process, target.clone()));
        let told = known.into_iter().flat_map(|known| &known.told);
        // What a Rollout has is of no use to who hears that there is none.
        let without = self.without.get(&process);
        let is_of_none = |answer: &Answer| {
            answer.is_listed
                && without.is_some_and(|without| answer.arrives.duration_since(*without).abs() <= AT_ONCE)
        };
        let newest = told.filter(|answer| answer.arrives < now && !is_of_none(answer));
        let newest = newest.map(|answer| ground.in_answer(answer)).max();
        match newest.filter(|newest| *newest > ground.number) {
            Some(newest) => Err(format!(
                "{} {} is changed on {what} {}, and the process was told {what} {newest}",
                target.resource.kind,
                target.name,
                ground.number,
                what = if ground.uid.is_some() { "generation" } else { "version" },
            )),
            None => Ok(()),
        }
    }
}

/// The state of an object on which a change rests.
struct Ground<'a> {
    /// Its version, or for a scale its generation.
    number: i64,
    /// Whose generation it is.
    uid: Option<&'a str>,
}

impl<'a> Ground<'a> {
    /// What a patch says of it; `None` where it says nothing.
    fn of(patch: &'a Patch) -> Option<Self> {
        let ground = match patch {
            // The sweep takes marks away as watches have shown them: it has time, and a guard.
            Patch::Merge(body) if marks::gives_back(body) => return None,
            Patch::Merge(body) => Self { number: version(body), uid: None },
            Patch::Json(operations) => {
                let generation = value_of(operations, "test", "/metadata/generation")?;
                let uid = value_of(operations, "test", "/metadata/uid")?;
                Self { number: generation.as_i64()?, uid: Some(uid.as_str()?) }
            }
        };
        (ground.number > 0).then_some(ground)
    }

    /// The same of what an answer has told.
    fn in_answer(&self, answer: &Answer) -> i64 {
        match self.uid {
            None => answer.version,
            Some(uid) if uid == answer.uid => answer.generation,
            Some(_) => 0,
        }
    }
}

fn version(object: &Value) -> i64 {
    text(object, "/metadata/resourceVersion").parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_driver::resources::REPLICA_SETS;
    use serde_json::json;

    #[test]
    fn a_scale_rests_on_the_newest_generation_that_an_answer_has_told() {
        let set = ObjectRef { resource: REPLICA_SETS, namespace: "n".to_owned(), name: "s".to_owned() };
        let (then, later) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1));
        let scale = |generation: i64| Call::Patch {
            target: set.clone(),
            status: false,
            patch: Patch::Json(json!([
                { "op": "test", "path": "/metadata/uid", "value": "u" },
                { "op": "test", "path": "/metadata/generation", "value": generation },
            ])),
        };
        let metadata =
            json!({ "namespace": "n", "name": "s", "uid": "u", "resourceVersion": "9", "generation": 3 });
        let answer = Reply::Object(json!({ "metadata": metadata }));
        let mut told = Told::default();
        told.answered(1, &scale(2), &answer, None, then);
        assert!(told.sent(1, &scale(2), later).is_err());
        assert_eq!(told.sent(1, &scale(3), later), Ok(()));
        assert_eq!(told.sent(2, &scale(2), later), Ok(()), "another process was told nothing");
        let anew = Reply::Object(
            json!({ "metadata": { "namespace": "n", "name": "s", "uid": "v", "generation": 7 } }),
        );
        told.answered(1, &scale(3), &anew, None, then);
        assert_eq!(told.sent(1, &scale(3), later), Ok(()), "another object has generations of its own");
    }
}
