//! What a pod's status says, as the kubelet writes it, and what truly happened to its container. The pods themselves, and
//! when what happens to them, are in `pods`.

use super::server::text;
use crate::trace::{Trace, short};
use headgate_api::At;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::io::Observation;
use headgate_driver::resources::PODS;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Seconds between two readiness probes of every container here.
pub const PROBE_PERIOD: i64 = 10;
/// So many of them fail before a container is unready. One, so that pods may flap without being unhealthy for that.
pub const FAILURE_THRESHOLD: i64 = 1;

/// Why a container waits that has never run.
const NO_IMAGE: &str = "ErrImagePull";

/// What went wrong with a container by its own doing: never the doing of a node, of an eviction or of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It was killed for want of memory.
    OomKilled,
    /// It ended; so often by now.
    Ended(i64),
    /// It runs and fails its readiness probe.
    Unready,
    /// Its image cannot be pulled.
    NoImage,
}

/// A trouble of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Name of the pod.
    pub pod: String,
    /// Its version.
    pub hash: String,
    /// When the pod was made.
    pub created: Timestamp,
    /// What.
    pub trouble: Trouble,
    /// Since when.
    pub since: Timestamp,
    /// Until when, for what lasts and has ended.
    pub until: Option<Timestamp>,
    /// The pod is leaving since then.
    pub gone_at: Option<Timestamp>,
}

/// What the container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Waiting(&'static str),
    Since(Timestamp),
}

/// What there is to tell of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) name: String,
    hash: String,
    labels: Value,
    annotations: Value,
    set: (String, String, String),
    image: String,
    created: Timestamp,
    run: Run,
    restarts: i64,
    last_end: Option<(Timestamp, i64, &'static str)>,
    is_ready: bool,
    ready_changed: Timestamp,
    /// The control plane takes it for unready, because its node cannot be reached.
    is_doubted: bool,
    leaving: Option<Timestamp>,
    evicted: Option<Timestamp>,
}

impl Told {
    /// A pod that a ReplicaSet has just made. Its container runs at once, if there is its image: that it is being scheduled
    /// and created is not told.
    pub(super) fn new(name: String, set: &Value, image: &str, has_image: bool, now: Timestamp) -> Self {
        let of_set = |field: &str| text(set, &format!("/metadata/{field}")).to_owned();
        Self {
            name,
            hash: text(set, &format!("/metadata/labels/{POD_TEMPLATE_HASH}")).to_owned(),
            labels: set.at("/spec/template/metadata/labels").cloned().unwrap_or_default(),
            annotations: set.at("/spec/template/metadata/annotations").cloned().unwrap_or_default(),
            set: (of_set("namespace"), of_set("name"), of_set("uid")),
            image: image.to_owned(),
            created: now,
            run: if has_image { Run::Since(now) } else { Run::Waiting(NO_IMAGE) },
            restarts: 0,
            last_end: None,
            is_ready: false,
            ready_changed: now,
            is_doubted: false,
            leaving: None,
            evicted: None,
        }
    }

    /// It is ready. One that did not run has been started for that a moment before.
    pub(super) fn becomes_ready(&mut self, now: Timestamp) {
        if let Run::Waiting(_) = self.run {
            self.restarts += i64::from(self.last_end.is_some());
            self.run = Run::Since(super::plus(now, -1_000));
        }
        self.change_ready(true, now);
    }

    /// It fails its readiness probe.
    pub(super) fn loses_readiness(&mut self, now: Timestamp) {
        self.change_ready(false, now);
    }

    /// Its container ends; says how often it has.
    pub(super) fn ends(&mut self, exit_code: i64, reason: &'static str, now: Timestamp) -> i64 {
        self.run = Run::Waiting("CrashLoopBackOff");
        self.last_end = Some((now, exit_code, reason));
        self.change_ready(false, now);
        self.restarts + 1
    }

    fn change_ready(&mut self, is_ready: bool, now: Timestamp) {
        if self.is_ready != is_ready {
            (self.is_ready, self.ready_changed) = (is_ready, now);
        }
    }

    /// Its node is out of reach, or is not any more.
    pub(super) fn doubt(&mut self, is_doubted: bool) {
        self.is_doubted = is_doubted;
    }

    /// It is told to end.
    pub(super) fn leave(&mut self, now: Timestamp) {
        self.leaving.get_or_insert(now);
    }

    /// It is told to end by an eviction.
    pub(super) fn evict(&mut self, now: Timestamp) {
        self.evicted.get_or_insert(now);
    }

    /// Its container has never run.
    pub(super) fn is_pending(&self) -> bool {
        self.run == Run::Waiting(NO_IMAGE)
    }

    pub(super) fn cause(&self, trouble: Trouble, since: Timestamp) -> Cause {
        Cause {
            pod: self.name.clone(),
            hash: self.hash.clone(),
            created: self.created,
            trouble,
            since,
            until: None,
            gone_at: self.leaving,
        }
    }

    /// Labels and annotations are merged into its own.
    pub(super) fn merge_metadata(&mut self, change: &Value) {
        for (kind, own) in [("labels", &mut self.labels), ("annotations", &mut self.annotations)] {
            if let Some(change) = change.get(kind) {
                super::patch::merge(own, change);
            }
        }
    }

    /// Its uid.
    pub(super) fn uid(&self) -> String {
        format!("uid of {}", self.name)
    }

    /// When it was created, as the API server says it.
    pub(super) fn created(&self) -> Timestamp {
        whole_seconds(self.created)
    }

    /// The pod as the API server has it.
    pub(super) fn object(&self, version: usize) -> Value {
        let (namespace, set, set_uid) = &self.set;
        let time = |time: Timestamp| whole_seconds(time).to_string();
        let condition = |type_: &str, is: bool, since: Timestamp| {
            let status = if is { "True" } else { "False" };
            json!({ "type": type_, "status": status, "lastTransitionTime": time(since) })
        };
        let mut conditions = vec![
            condition("Ready", self.is_ready && !self.is_doubted, self.ready_changed),
            condition("ContainersReady", self.is_ready, self.ready_changed),
        ];
        conditions.extend(self.evicted.map(|since| condition("DisruptionTarget", true, since)));
        let state = match self.run {
            Run::Waiting(reason) => json!({ "waiting": { "reason": reason } }),
            Run::Since(since) => json!({ "running": { "startedAt": time(since) } }),
        };
        let last = self.last_end.map_or_else(|| json!({}), |(at, exit_code, reason)| {
            json!({ "terminated": { "exitCode": exit_code, "reason": reason, "finishedAt": time(at) } })
        });
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": self.name, "namespace": namespace, "uid": self.uid(),
                "resourceVersion": version.to_string(), "creationTimestamp": time(self.created),
                "deletionTimestamp": self.leaving.map(time),
                "labels": self.labels, "annotations": self.annotations,
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": set_uid,
                    "controller": true }],
            },
            "spec": { "containers": [{
                "name": "app", "image": self.image,
                "readinessProbe": { "periodSeconds": PROBE_PERIOD, "failureThreshold": FAILURE_THRESHOLD },
            }]},
            "status": {
                "phase": if self.is_pending() { "Pending" } else { "Running" },
                "startTime": time(self.created),
                "conditions": conditions,
                "containerStatuses": [{
                    "name": "app", "image": self.image, "restartCount": self.restarts, "ready": self.is_ready,
                    "state": state, "lastState": last,
                }],
            },
        })
    }
}

/// All that was told of pods, for watches, which come to it at their own pace; and what truly went wrong.
#[derive(Debug, Default)]
pub struct Record {
    changes: Vec<(Timestamp, Observation)>,
    /// So many of them are in the trace.
    traced: usize,
    /// What went wrong.
    pub causes: Vec<Cause>,
}

impl Record {
    /// A pod is as it says now. Says its version: the number of all changes of pods.
    pub(super) fn tell(&mut self, told: &Told, now: Timestamp) -> usize {
        let version = self.changes.len() + 1;
        self.changes.push((now, Observation::Applied(PODS, told.object(version))));
        version
    }

    /// A pod is gone.
    pub(super) fn gone(&mut self, told: &Told, now: Timestamp) {
        let version = self.changes.len() + 1;
        self.changes.push((now, Observation::Deleted(PODS, told.object(version))));
    }

    /// All changes so far, with their times.
    pub fn changes(&self) -> &[(Timestamp, Observation)] {
        &self.changes
    }

    /// Says what has changed since the last time.
    pub fn trace(&mut self, trace: &mut Trace) {
        for (at, change) in self.changes.iter().skip(self.traced) {
            trace.say("pod", || line(change), *at);
        }
        self.traced = self.changes.len();
    }

    /// Something goes wrong.
    pub(super) fn begins(&mut self, cause: Cause) {
        self.causes.push(cause);
    }

    /// Whatever lasts has ended for this pod.
    pub(super) fn ends(&mut self, pod: &str, now: Timestamp) {
        let lasting = self.causes.iter_mut().filter(|cause| cause.pod == pod && cause.until.is_none());
        lasting.for_each(|cause| cause.until = Some(now));
    }

    /// A pod leaves.
    pub(super) fn leaves(&mut self, pod: &str, now: Timestamp) {
        for cause in self.causes.iter_mut().filter(|cause| cause.pod == pod) {
            cause.gone_at.get_or_insert(now);
        }
        self.ends(pod, now);
    }
}

/// A change of a pod in a line.
fn line(change: &Observation) -> String {
    let (Observation::Applied(_, pod) | Observation::Deleted(_, pod)) = change else { return String::new() };
    let name = text(pod, "/metadata/name");
    let container = pod.at("/status/containerStatuses/0");
    let is_ready = container.and_then(|container| container.at("/ready")) == Some(&Value::Bool(true));
    let state = container.and_then(|container| container.at("/state")).map_or_else(String::new, short);
    match change {
        Observation::Deleted(..) => format!("{name} is gone"),
        _ if pod.at("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) => {
            format!("{name} leaves")
        }
        _ if is_ready => format!("{name} is ready"),
        _ => format!("{name} is not ready: {state}"),
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
