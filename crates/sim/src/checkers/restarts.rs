//! Restarts: only pods that are older than asked are evicted; no more than `maxUnavailable`, and at least one, are down by
//! evictions at once; and a restart is done only when no older pod is left.

use super::clocks::Clocks;
use super::{DECISION_TAKES, Write};
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

    /// A pod was evicted, decided on what was known since then. `most` may be down; by a clock that is wrong a controller may
    /// take a pod for available that is not yet, as Kubernetes' own would.
    pub(super) fn evicted(
        &mut self,
        pod: &Truth,
        pods: &Pods,
        server: &Server,
        (most, since): (i64, Timestamp),
        clocks: &Clocks,
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
        // One that has become available since the process looked was down when it decided.
        let is_new = pod.ready_since.is_none_or(|ready| ready > since);
        if is_new || !is_available(pod, min_ready, now) {
            return Ok(());
        }
        *self.holes.entry(pod.set_uid.clone()).or_default() += 1;
        // A pod that is missing for another reason may hide that a hole was filled.
        let others = pods.truth().filter(|other| other.name != pod.name);
        let all_missing = missing_of_all(others, server, now);
        let down = self.holes.values().sum::<i64>().min(all_missing);
        if down <= most || clocks.may_be_wrong(since) {
            return Ok(());
        }
        Err(format!("{} is evicted: {down} pods are down by evictions, {most} may be", pod.name))
    }

    /// A record that says that a restart is done. A new version ends one, too.
    pub(super) fn written(&self, write: &Write<'_>, server: &Server, clocks: &Clocks) -> Result<(), String> {
        let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
            return Ok(());
        };
        let is_same = |pointer: &str| text(before, pointer) == text(after, pointer);
        if is_same("/status/restartedAt") || !is_same("/status/currentPodHash") {
            return Ok(());
        }
        let Some(done) = text(after, "/status/restartedAt").parse::<Timestamp>().ok() else { return Ok(()) };
        let uid = text(before, "/metadata/uid");
        // By a clock that is ahead of the server's, pods made just now are older than what is due: nobody has seen them yet.
        let seen_until = if clocks.may_be_wrong(write.sent_at) {
            write.sent_at.saturating_sub(DECISION_TAKES).unwrap_or(write.sent_at)
        } else {
            Timestamp::MAX
        };
        let is_old = |oldest: Timestamp| oldest < done && oldest <= seen_until;
        for (set, oldest) in self.oldest.iter().filter(|(_, oldest)| is_old(**oldest)) {
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

/// The name of a pod's ReplicaSet.
pub(super) fn name_of<'a>(pod: &Truth, server: &'a Server) -> &'a str {
    set(&pod.set_uid, server).map_or("", |set| text(set, "/metadata/name"))
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

/// Pods that all ReplicaSets lack in truth.
fn missing_of_all(pods: impl Iterator<Item = Truth>, server: &Server, now: Timestamp) -> i64 {
    let wanted: i64 = server.all(REPLICA_SETS).map(|(_, set)| number(set, "/spec/replicas")).sum();
    let is_there = |pod: &Truth| {
        let set = set(&pod.set_uid, server);
        set.is_some_and(|set| is_available(pod, number(set, "/spec/minReadySeconds"), now))
    };
    wanted - i64::try_from(pods.filter(is_there).count()).unwrap_or(i64::MAX)
}

/// Kubernetes stores since when a pod is ready in whole seconds, so that it counts as available a part of a second early.
fn is_available(pod: &Truth, min_ready: i64, now: Timestamp) -> bool {
    let stored = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
    pod.ready_since
        .map(stored)
        .is_some_and(|since| now.duration_since(since) >= SignedDuration::from_secs(min_ready))
}
