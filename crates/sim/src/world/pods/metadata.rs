//! Labels and annotations of pods, which a controller may change while they run.

use super::{Pods, State};
use crate::world::server::{refused, text};
use headgate_api::At;
use headgate_driver::io::{ObjectRef, Observation, Patch, Reply};
use serde_json::{Value, json};

/// A pod that has not been told to end, and what it carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Carrier {
    /// Its name.
    pub name: String,
    /// Uid of its ReplicaSet.
    pub set_uid: String,
    /// Its `metadata`.
    pub metadata: Value,
}

impl Pods {
    /// What pods carry.
    pub fn carriers(&self) -> impl Iterator<Item = Carrier> {
        let alive = self.pods.values().filter(|pod| !matches!(pod.state, State::Terminating(_)));
        alive.map(|pod| Carrier {
            name: pod.told.name.clone(),
            set_uid: pod.set_uid.clone(),
            metadata: pod.told.object(0).get("metadata").cloned().unwrap_or_default(),
        })
    }

    /// Carries out a patch of a pod's metadata. Its version is the number of changes of all pods when it was seen: a pod that
    /// has changed since is in another one.
    pub fn patch(&mut self, target: &ObjectRef, patch: &Patch) -> Reply {
        let Patch::Merge(body) = patch else {
            return refused(400, "BadRequest", "pods take merge patches here");
        };
        let changes = self.record.changes();
        let found = self.pods.values_mut().find(|pod| pod.told.name == target.name);
        let Some(pod) = found else {
            return refused(404, "NotFound", format!("pods \"{}\" not found", target.name));
        };
        let version = text(body, "/metadata/resourceVersion").parse().unwrap_or(0);
        let is_of_it = |change: &Observation| match change {
            Observation::Applied(_, one) | Observation::Deleted(_, one) => {
                text(one, "/metadata/name") == pod.told.name
            }
            _ => false,
        };
        let is_stale = changes.iter().skip(version).any(|(_, change)| is_of_it(change));
        if is_stale || pod.published.as_ref() != Some(&pod.told) {
            return refused(409, "Conflict", "the object has been modified");
        }
        if json!(pod.told.uid()) != body.at("/metadata/uid").cloned().unwrap_or_default() {
            return refused(422, "Invalid", "metadata.uid: field is immutable");
        }
        pod.told.merge_metadata(body.get("metadata").unwrap_or(&Value::Null));
        Reply::Object(pod.told.object(changes.len()))
    }
}
