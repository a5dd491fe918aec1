//! What a restart asks of pods: a list of them, and evictions, which a PodDisruptionBudget may refuse.

use super::{Pod, Pods, State};
use crate::world::plus;
use crate::world::server::{has_labels, refused};
use headgate_driver::io::{ObjectRef, Reply};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A PodDisruptionBudget for all pods of the Rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// So many pods may be missing.
    pub max_unavailable: i64,
    /// It is taken away at so many milliseconds after the first version is out.
    pub until: i64,
}

/// What truly is with a pod that has not been told to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Its name.
    pub name: String,
    /// Uid of its ReplicaSet.
    pub set_uid: String,
    /// When it was created, in whole seconds.
    pub created: Timestamp,
    /// Since when it is ready, if it is.
    pub ready_since: Option<Timestamp>,
    /// It has been told to end.
    pub is_leaving: bool,
}

impl Pods {
    /// The pods of a namespace with these labels, as the API server has them.
    pub fn list(&self, namespace: &str, labels: &str) -> Vec<Value> {
        let of_namespace = self.pods.values().filter(|pod| pod.set.namespace == namespace);
        of_namespace.map(|pod| pod.told.object(pod.version)).filter(|pod| has_labels(pod, labels)).collect()
    }

    /// What truly is with all pods.
    pub fn truth(&self) -> impl Iterator<Item = Truth> {
        self.pods.values().map(|pod| Truth {
            name: pod.told.name.clone(),
            set_uid: pod.set_uid.clone(),
            created: pod.told.created(),
            ready_since: match pod.state {
                State::Ready(since) => Some(since),
                State::Starting(_) | State::Terminating(_) => None,
            },
            is_leaving: matches!(pod.state, State::Terminating(_)),
        })
    }

    /// Evicts a pod: it is told to end as if it was deleted. `room`: how many healthy pods a budget needs, and how many of
    /// those that it selects there are. As in the real one the budget is asked before the uid is looked at.
    pub fn evict(
        &mut self,
        target: &ObjectRef,
        uid: &str,
        room: Option<(i64, i64)>,
        now: Timestamp,
    ) -> Result<Truth, Reply> {
        let Some(truth) = self.truth().find(|pod| pod.name == target.name) else {
            return Err(refused(404, "NotFound", format!("pods \"{}\" not found", target.name)));
        };
        let end = plus(now, self.drain);
        let Some(pod) = self.pods.values_mut().find(|pod| pod.told.name == target.name) else {
            return Err(refused(404, "NotFound", "it has just gone"));
        };
        if let Some((needed, healthy)) = room.filter(|(needed, healthy)| pod.is_held(*needed, *healthy)) {
            let message = format!(
                "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget shop needs {needed} \
                 healthy pods and has {healthy} currently"
            );
            return Err(refused(429, "TooManyRequests", message));
        }
        if pod.told.uid() != uid {
            return Err(refused(409, "Conflict", "the precondition on uid failed"));
        }
        if !truth.is_leaving {
            pod.told.evict(now);
        }
        pod.end(end, &mut self.record, now);
        pod.publish(&mut self.record, now);
        self.syncs.by(&pod.set, plus(now, 200));
        Ok(truth)
    }
}

impl Pod {
    /// Whether a budget that needs so many healthy pods, of which there are so many, keeps it from being evicted. One that
    /// leaves or has never run is nobody's loss, and neither is one that is not ready while there are as many as are needed.
    fn is_held(&self, needed: i64, healthy: i64) -> bool {
        let is_loss = match self.state {
            State::Terminating(_) => false,
            State::Ready(_) => true,
            State::Starting(_) => !self.told.is_pending() && (healthy < needed || needed <= 0),
        };
        is_loss && healthy <= needed
    }
}

/// The answer to an eviction that was taken.
pub fn evicted() -> Reply {
    Reply::Object(
        json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "code": 201 }),
    )
}
