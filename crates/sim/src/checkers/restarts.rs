//! Restarts: only pods that are older than asked are evicted; no more than `maxUnavailable`, and at least one, are down by
//! evictions at once; and a restart is done only when no older pod is left.

use super::Write;
use crate::world::pods::{Pods, Truth};
use crate::world::server::{Server, number, text};
use headgate_driver::resources::{REPLICA_SETS, ROLLOUTS};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// What restarts have done to pods.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// What `spec.restartAt` said, and until when; the last one says so still.
    asked: Vec<(Option<Timestamp>, Timestamp)>,
    /// Pods that are missing because one was evicted, by uid of their ReplicaSet.
    holes: BTreeMap<String, i64>,
    /// The oldest pod of each ReplicaSet, while a restart is asked for.
    oldest: BTreeMap<String, Timestamp>,
}

impl Restarts {
    /// Looks at pods and at what is asked.
    pub(super) fn look(&mut self, pods: &Pods, server: &Server, now: Timestamp) {
        let rollout = server.all(ROLLOUTS).next().map(|(_, rollout)| rollout);
        let asked = rollout.and_then(restart_at);
        match self.asked.last_mut() {
            Some((last, until)) if *last == asked => *until = now,
            _ => self.asked.push((asked, now)),
        }
        self.oldest.clear();
        if asked.is_none() && self.holes.is_empty() {
            return;
        }
        for pod in pods.truth() {
            let oldest = self.oldest.entry(pod.set_uid).or_insert(pod.created);
            *oldest = pod.created.min(*oldest);
        }
        // What has been made up for is no hole, whatever goes missing later.
        self.holes.retain(|set, count| {
            *count = missing(set, pods, server, now).min(*count);
            *count > 0
        });
    }

    /// A pod was evicted, decided on what was known since then. `most` may be down.
    pub(super) fn evicted(
        &mut self,
        pod: &Truth,
        server: &Server,
        (most, since): (i64, Timestamp),
        now: Timestamp,
    ) -> Result<(), String> {
        let asked = self.asked.iter().filter(|(_, until)| *until >= since).filter_map(|(asked, _)| *asked);
        if !asked.clone().any(|asked| pod.created < asked) {
            return Err(format!(
                "{} of {} is evicted; asked is a restart of pods before {:?}",
                pod.name,
                pod.created,
                asked.collect::<Vec<_>>()
            ));
        }
        let min_ready = set(&pod.set_uid, server).map_or(0, |set| number(set, "/spec/minReadySeconds"));
        if !is_available(pod, min_ready, now) {
            return Ok(());
        }
        *self.holes.entry(pod.set_uid.clone()).or_default() += 1;
        let down: i64 = self.holes.values().sum();
        if down <= most {
            return Ok(());
        }
        Err(format!("{} is evicted: {down} pods are down by evictions, {most} may be", pod.name))
    }

    /// A record that says that a restart is done. A new version ends one, too.
    pub(super) fn written(&self, write: &Write<'_>, server: &Server) -> Result<(), String> {
        let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
            return Ok(());
        };
        let is_same = |pointer: &str| text(before, pointer) == text(after, pointer);
        if is_same("/status/restartedAt") || !is_same("/status/currentPodHash") {
            return Ok(());
        }
        let Some(done) = text(after, "/status/restartedAt").parse::<Timestamp>().ok() else { return Ok(()) };
        let uid = text(before, "/metadata/uid");
        for (set, oldest) in self.oldest.iter().filter(|(_, oldest)| **oldest < done) {
            let is_ours =
                self::set(set, server).is_some_and(|set| text(set, "/metadata/ownerReferences/0/uid") == uid);
            if is_ours {
                return Err(format!("the restart of {done} is done, and {set} has a pod of {oldest}"));
            }
        }
        Ok(())
    }
}

/// `spec.restartAt`, in whole seconds.
pub(super) fn restart_at(rollout: &Value) -> Option<Timestamp> {
    let at = text(rollout, "/spec/restartAt").parse::<Timestamp>().ok()?;
    Timestamp::from_second(at.as_second()).ok()
}

fn set<'a>(uid: &str, server: &'a Server) -> Option<&'a Value> {
    server.all(REPLICA_SETS).map(|(_, set)| set).find(|set| text(set, "/metadata/uid") == uid)
}

/// Pods that a ReplicaSet lacks in truth.
fn missing(uid: &str, pods: &Pods, server: &Server, now: Timestamp) -> i64 {
    let Some(set) = set(uid, server) else { return 0 };
    let min_ready = number(set, "/spec/minReadySeconds");
    let available =
        pods.truth().filter(|pod| pod.set_uid == uid && is_available(pod, min_ready, now)).count();
    number(set, "/spec/replicas") - i64::try_from(available).unwrap_or(i64::MAX)
}

fn is_available(pod: &Truth, min_ready: i64, now: Timestamp) -> bool {
    pod.ready_since.is_some_and(|since| now.duration_since(since) >= SignedDuration::from_secs(min_ready))
}
