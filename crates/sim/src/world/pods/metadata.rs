//! Labels and annotations of pods, which a controller may change while they run.

use super::{Pods, State};
use crate::world::server::refused;
use headgate_api::At;
use headgate_driver::io::{ObjectRef, Patch, Reply};
use serde_json::Value;

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

    /// Carries out a patch of a pod's metadata. What it says of the version must be so, and of the uid; what it does not say
    /// is not asked.
    pub fn patch(&mut self, target: &ObjectRef, patch: &Patch) -> Reply {
        let Patch::Merge(body) = patch else {
            return refused(400, "BadRequest", "pods take merge patches here");
        };
        let Some(pod) = self.pods.values_mut().find(|pod| pod.told.name == target.name) else {
            return refused(404, "NotFound", format!("pods \"{}\" not found", target.name));
        };
        let is_another =
            |field: &str, own: &str| body.at(field).is_some_and(|said| said.as_str() != Some(own));
        let is_changing = pod.published.as_ref() != Some(&pod.told);
        let version = if is_changing { String::new() } else { pod.version.to_string() };
        if is_another("/metadata/resourceVersion", &version) {
            return refused(409, "Conflict", "the object has been modified");
        }
        if is_another("/metadata/uid", &pod.told.uid()) {
            return refused(422, "Invalid", "metadata.uid: field is immutable");
        }
        pod.told.merge_metadata(body.get("metadata").unwrap_or(&Value::Null));
        pod.publish(&mut self.record, self.clock);
        Reply::Object(pod.told.object(pod.version))
    }
}
