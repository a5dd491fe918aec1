//! R4: what was refused is tried again later and later, and what only a person can mend is said.

use super::clocks::Clocks;
use super::marks;
use crate::world::routes::is_route;
use crate::world::server::text;
use headgate_driver::io::{Call, ObjectRef, Patch, Reply};
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, PODS, ROLLOUTS, SERVICES};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// The shortest wait before the same is tried again: a second, varied by a quarter.
const FIRST_WAIT: SignedDuration = SignedDuration::from_millis(740);

/// With waits that double, up to a minute, the same is not refused more often in a minute; with some to spare for what comes
/// to be wanted anew.
const A_MINUTE_MAX: usize = 12;

/// When it is tried again after so many refusals it has been said: the first already is for a person.
const SAID_AFTER: u32 = 4;

/// The code of a right that is missing.
const FORBIDDEN: u16 = 403;

/// What was refused to processes.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    tried: BTreeMap<(u32, ObjectRef, String), Tried>,
    /// When a process has known last that it has changed a pod. Pods are changed together: where one goes another may go, too,
    /// that was refused before.
    pods_changed: BTreeMap<u32, Timestamp>,
    /// The status says that the release waits for the API server.
    is_said: bool,
    /// Until when it has said so last.
    said_until: Option<Timestamp>,
}

/// One act that has not succeeded.
#[derive(Debug, Default)]
struct Tried {
    /// When the refusals of the last minute were known.
    refused: VecDeque<Timestamp>,
    /// How often a right was missing, and since when.
    forbidden: Option<(u32, Timestamp)>,
}

impl Outcomes {
    /// Looks at what the status says; without a Rollout everything begins anew.
    pub(super) fn look(&mut self, rollout: Option<&Value>, now: Timestamp) {
        let waiting = rollout.map_or("", |rollout| text(rollout, "/status/waiting/kind"));
        let was_said = std::mem::replace(&mut self.is_said, waiting == "ApiServer");
        if was_said {
            self.said_until = Some(now);
        }
        if rollout.is_none() {
            self.tried.clear();
        }
    }

    /// A process sends a request. `may_be_unsaid`: records cannot say now what they should.
    pub(super) fn sent(
        &self,
        process: u32,
        call: &Call,
        may_be_unsaid: bool,
        clocks: &Clocks,
        now: Timestamp,
    ) -> Result<(), String> {
        let Some((target, body)) = act(call) else { return Ok(()) };
        let changed = self.pods_changed.get(&process).filter(|_| target.resource == PODS);
        let is_led = target.resource == SERVICES || is_route(target.resource);
        let what = format!("{} {}", target.resource.kind, target.name);
        let Some(tried) = self.tried.get(&(process, target, body)) else { return Ok(()) };
        let since = |at: &Timestamp| now.duration_since(*at);
        let counts = |at: &&Timestamp| **at <= now && changed.is_none_or(|changed| *changed < **at);
        let known = || tried.refused.iter().filter(counts);
        let Some(last) = known().next_back() else { return Ok(()) };
        let a_minute = known().filter(|at| since(at) <= SignedDuration::from_secs(60)).count();
        // What leads back goes out whatever else was refused: another wish may come to the same bytes.
        if !is_led && since(last) < FIRST_WAIT && !clocks.may_be_wrong(*last) {
            return Err(format!("{what} is written again {:#} after the same was refused", since(last)));
        }
        if a_minute > A_MINUTE_MAX && !clocks.may_be_wrong(*last) {
            return Err(format!("the same was refused of {what} {a_minute} times in a minute"));
        }
        let was_said = |since| self.is_said || self.said_until.is_some_and(|until| until >= since);
        match tried.forbidden {
            Some((times, first)) if times >= SAID_AFTER && !may_be_unsaid && !was_said(first) => {
                Err(format!("a right for {what} was missing {times} times, and the status does not say so"))
            }
            _ => Ok(()),
        }
    }

    /// The answer to a request reaches the process at this time.
    pub(super) fn answered(&mut self, process: u32, call: &Call, reply: &Reply, arrives: Timestamp) {
        let Some((target, body)) = act(call) else { return };
        let key = (process, target, body);
        let is_refused = match reply {
            Reply::Refused { code, .. } => matches!(*code, FORBIDDEN | 429 | 500..),
            Reply::Lost(_) => true,
            _ => false,
        };
        if !is_refused {
            // Done, or to be looked at anew.
            if key.1.resource == PODS {
                self.pods_changed.insert(process, arrives);
            }
            self.tried.remove(&key);
            return;
        }
        let tried = self.tried.entry(key).or_default();
        tried.refused.push_back(arrives);
        if tried.refused.len() > A_MINUTE_MAX + 1 {
            tried.refused.pop_front();
        }
        tried.forbidden = match reply {
            Reply::Refused { code: FORBIDDEN, .. } => {
                let (times, first) = tried.forbidden.unwrap_or((0, arrives));
                Some((times + 1, first))
            }
            _ => None,
        };
    }
}

/// An act of a release: the object, and what is to become of it. What tasks and the sweep write has failures of its own.
fn act(call: &Call) -> Option<(ObjectRef, String)> {
    let (target, body) = match call {
        Call::Create { target, .. } => (target, "create".to_owned()),
        Call::Patch { target, .. } | Call::Delete { target, .. } if target.resource == ANALYSIS_RUNS => {
            return None;
        }
        Call::Delete { target, .. } => (target, "delete".to_owned()),
        Call::Evict { target, .. } => (target, "evict".to_owned()),
        Call::Patch { patch: Patch::Merge(body), .. } if marks::gives_back(body) => return None,
        Call::Patch { target, patch: Patch::Merge(body), .. } => (target, without_version(body).to_string()),
        Call::Patch { target, patch: Patch::Json(operations), .. } => {
            let all = operations.as_array().into_iter().flatten();
            let writes = all.filter(|operation| text(operation, "/op") != "test");
            (target, writes.map(Value::to_string).collect())
        }
        Call::Get(_) | Call::List { .. } | Call::Measure { .. } | Call::Notify { .. } => return None,
    };
    (![ROLLOUTS, EVENTS].contains(&target.resource)).then(|| (target.clone(), body))
}

fn without_version(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(metadata) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    body
}
