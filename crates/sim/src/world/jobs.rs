//! The Job controller: one pod at a time until one succeeds or too many have failed.

use super::plus;
use super::server::{Change, Server, number, reference, text};
use headgate_api::At;
use headgate_driver::io::{Call, ObjectRef, Patch, Resource};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Jobs.
pub const JOBS: Resource =
    Resource { group: "batch", version: "v1", kind: "Job", plural: "jobs", namespaced: true };

/// From an object to the pod that the controller makes for it, in milliseconds.
const NOTICED_AFTER: i64 = 200;
/// A failed pod is followed by the next one after so long, and after twice as long each further time, in milliseconds.
const RETRY_AFTER: i64 = 10_000;
/// But never after longer than this, in milliseconds.
const RETRY_AFTER_MAX: i64 = 600_000;

/// What a pod of an image does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// It ends after this many milliseconds; never, if `None`.
    pub takes: Option<i64>,
    /// Whether it ends well.
    pub succeeds: bool,
}

/// Where a Job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next pod starts then.
    Due(Timestamp),
    /// A pod is active. It ends then, if ever, well or not.
    Active(Option<Timestamp>, bool),
    /// Complete or failed.
    Ended,
}

#[derive(Debug)]
struct Job {
    state: State,
    failed: i64,
}

/// All Jobs, by uid, and the controller that looks after them.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: BTreeMap<String, (ObjectRef, Job)>,
    seen: usize,
    /// By image; pods of other images never end.
    works: BTreeMap<String, Work>,
}

impl Jobs {
    /// No Jobs yet.
    pub fn new(works: BTreeMap<String, Work>) -> Self {
        Self { works, ..Self::default() }
    }

    /// Lets everything happen that is due.
    pub fn advance(&mut self, server: &mut Server, now: Timestamp) {
        self.take_up(server, now);
        let works = &self.works;
        for (target, job) in self.jobs.values_mut() {
            match (job.state, server.get(target)) {
                (State::Due(time), Some(object)) if time <= now => {
                    let image = text(object, "/spec/template/spec/containers/0/image");
                    let work = works.get(image).copied().unwrap_or(Work { takes: None, succeeds: false });
                    let status = job.start(object, work, now);
                    write(target, &status, server, now);
                }
                (State::Active(Some(time), succeeds), Some(object)) if time <= now => {
                    let status = if succeeds { job.complete(now) } else { job.fail(object, now) };
                    write(target, &status, server, now);
                }
                _ => {}
            }
        }
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Timestamp> {
        let times = self.jobs.values().filter_map(|(_, job)| match job.state {
            State::Due(time) => Some(time),
            State::Active(end, _) => end,
            State::Ended => None,
        });
        times.min()
    }

    fn take_up(&mut self, server: &Server, now: Timestamp) {
        for (_, change) in server.history().get(self.seen..).unwrap_or_default() {
            match change {
                Change::Applied(JOBS, object) => {
                    let uid = text(object, "/metadata/uid").to_owned();
                    let made = || Job { state: State::Due(plus(now, NOTICED_AFTER)), failed: 0 };
                    self.jobs.entry(uid).or_insert_with(|| (reference(JOBS, object), made()));
                }
                Change::Deleted(JOBS, object) => {
                    self.jobs.remove(text(object, "/metadata/uid"));
                }
                Change::Applied(..) | Change::Deleted(..) => {}
            }
        }
        self.seen = server.history().len();
    }
}

impl Job {
    /// A pod is made. The answer is the status that tells of it.
    fn start(&mut self, object: &Value, work: Work, now: Timestamp) -> Value {
        self.state = State::Active(work.takes.map(|takes| plus(now, takes)), work.succeeds);
        let since = object.at("/status/startTime").cloned().unwrap_or_else(|| json!(seconds(now)));
        json!({
            "startTime": since, "active": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {},
        })
    }

    fn complete(&mut self, now: Timestamp) -> Value {
        self.state = State::Ended;
        let message = "Reached expected number of succeeded pods";
        json!({
            "active": null, "succeeded": 1, "completionTime": seconds(now),
            "conditions": ended(["SuccessCriteriaMet", "Complete"], "CompletionsReached", message, now),
        })
    }

    fn fail(&mut self, object: &Value, now: Timestamp) -> Value {
        self.failed += 1;
        if self.failed > number(object, "/spec/backoffLimit") {
            self.state = State::Ended;
            let message = "Job has reached the specified backoff limit";
            return json!({
                "active": null, "failed": self.failed,
                "conditions": ended(["FailureTarget", "Failed"], "BackoffLimitExceeded", message, now),
            });
        }
        let doublings = u32::try_from(self.failed - 1).unwrap_or(u32::MAX);
        let wait = RETRY_AFTER.saturating_mul(2_i64.saturating_pow(doublings)).min(RETRY_AFTER_MAX);
        self.state = State::Due(plus(now, wait));
        json!({ "active": null, "failed": self.failed })
    }
}

/// The two conditions of a Job that has ended: the first when that was clear, the second when its pods were gone.
fn ended(types: [&str; 2], reason: &str, message: &str, now: Timestamp) -> Value {
    let time = seconds(now);
    let condition = |name: &str| {
        json!({
            "type": name, "status": "True", "reason": reason, "message": message,
            "lastProbeTime": time, "lastTransitionTime": time,
        })
    };
    types.into_iter().map(condition).collect()
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

fn write(target: &ObjectRef, status: &Value, server: &mut Server, now: Timestamp) {
    let patch = Patch::Merge(json!({ "status": status }));
    server.call(&Call::Patch { target: target.clone(), status: true, patch }, now);
}
