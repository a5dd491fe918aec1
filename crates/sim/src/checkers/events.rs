//! R11: an event says what a record says already, or what was carried out; it is told once; a user whose wish is dropped
//! is told so.

use super::Write;
use super::intents::is_renamed;
use super::said::{PAUSED, Said};
use super::view::rollout;
use crate::world::server::{Server, text};
use headgate_api::At;
use headgate_api::{conditions::reasons, events};
use headgate_driver::io::{Call, Reply};
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, ROLLOUTS};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// Events of one process about one object in a minute: twice as many as the driver allows, because a clock that is set
/// makes its minutes short.
const PER_MINUTE_MAX: usize = 60;
const MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// An event follows the answer to its record this soon, even when the process stands still in between.
const SOON: SignedDuration = SignedDuration::from_secs(90);

/// What was told, and what is to be told yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    told: BTreeMap<(u32, String), Vec<Timestamp>>,
    /// How often each process has told a statement.
    claims: BTreeMap<String, BTreeMap<u32, u32>>,
    /// How often a statement was rightly told once more than it came true.
    repeated: BTreeMap<String, u32>,
    /// When processes have died.
    gone: BTreeMap<u32, Timestamp>,
    /// When a process last had no answer to a record, or none that says whether it is stored.
    unanswered: BTreeMap<u32, Timestamp>,
    /// Wishes that a record has dropped, by the process that wrote it; owed from the answer on.
    dropped: BTreeMap<u32, String>,
    owed: BTreeMap<u32, (Timestamp, String)>,
}

impl Events {
    /// An event arrives.
    pub(super) fn arrived(
        &mut self,
        process: u32,
        event: &Value,
        said: &Said,
        server: &Server,
        now: Timestamp,
    ) -> Result<(), String> {
        let (reason, message) = (text(event, "/reason"), text(event, "/message"));
        let subject = text(event, "/involvedObject/uid").to_owned();
        let times = self.told.entry((process, subject)).or_default();
        times.retain(|time| now.duration_since(*time) < MINUTE);
        // One that tells of a dropped wish goes out whatever was told before.
        if reason != events::INTENT_DROPPED {
            times.push(now);
        }
        if times.len() > PER_MINUTE_MAX {
            return Err(format!("{} events in a minute about one object: {reason}: {message}", times.len()));
        }
        if text(event, "/involvedObject/kind") == ANALYSIS_RUNS.kind {
            return about_run(event, reason, server);
        }
        let is_there = rollout(server)
            .is_some_and(|(_, rollout)| text(rollout, "/metadata/uid") == text(event, "/involvedObject/uid"));
        // Nobody says any more what became of a Rollout that is gone.
        let Some(claim) = claim(reason, message).filter(|_| is_there) else { return Ok(()) };
        if !said.lately(&claim, now) {
            return Err(format!("event {reason} ({message}), and nothing has said {claim:?}"));
        }
        let times = said.times(&claim);
        let tellers = self.claims.entry(claim.clone()).or_default();
        *tellers.entry(process).or_insert(0) += 1;
        let told: u32 = tellers.values().sum();
        if told <= times + self.repeated.get(&claim).copied().unwrap_or(0) {
            return Ok(());
        }
        if !self.may_repeat(process, &claim, times, now) {
            return Err(format!(
                "event {reason} ({message}) for the {told}. time, {claim:?} came true less often"
            ));
        }
        *self.repeated.entry(claim).or_insert(0) += 1;
        Ok(())
    }

    /// Of two processes that lead for a moment and write the same, one without an answer takes the other's record for its own:
    /// who does not know whether it was heard tells once more, or tells before the other does.
    fn may_repeat(&self, process: u32, claim: &str, times: u32, now: Timestamp) -> bool {
        let lately = |at: &Timestamp| now.duration_since(*at) <= SOON;
        let is_rival =
            |(other, _): (&u32, &u32)| *other != process && self.gone.get(other).is_none_or(lately);
        let Some(tellers) = self.claims.get(claim) else { return false };
        tellers.keys().any(|teller| self.unanswered.get(teller).is_some_and(lately))
            && tellers.iter().any(is_rival)
            && tellers.get(&process).is_some_and(|told| *told <= times)
    }

    /// A record was written: wishes that it drops are to be told.
    pub(super) fn written(&mut self, write: &Write<'_>) {
        let (ROLLOUTS, Some(before), Some(after), Some(process)) =
            (write.target.resource, write.before, write.after, write.process)
        else {
            return;
        };
        let version = |object| text(object, "/status/currentPodHash");
        let is = |field: &str| before.at(field) == Some(&Value::Bool(true));
        let new_abort = is("/status/abort") && before.at("/status/abortedAt").is_none();
        let is_another = version(before) != version(after) && !is_renamed(before, after);
        let moved_on = !version(before).is_empty() && is_another;
        if moved_on && (new_abort || is("/status/promoteFull")) {
            self.dropped.insert(process, version(before).to_owned());
        } else {
            self.dropped.remove(&process);
        }
    }

    /// An answer reaches a process at this time.
    pub(super) fn answered(&mut self, process: u32, call: &Call, reply: &Reply, arrives: Timestamp) {
        let Call::Patch { target, .. } = call else { return };
        if target.resource != ROLLOUTS {
            return;
        }
        // What a server says that has failed is no answer either: it may have stored the record all the same.
        if matches!(reply, Reply::Lost(_) | Reply::Refused { code: 500.., .. }) {
            self.unanswered.insert(process, arrives);
        }
        if let (Some(version), Reply::Object(_)) = (self.dropped.remove(&process), reply) {
            self.owed.insert(process, (arrives, version));
        }
    }

    /// A process sends a request.
    pub(super) fn sent(&mut self, process: u32, call: &Call) {
        let Call::Create { target, body } = call else { return };
        if target.resource == EVENTS && text(body, "/reason") == events::INTENT_DROPPED {
            self.owed.remove(&process);
        }
    }

    /// The Rollout is gone: nobody has to be told any more.
    pub(super) fn forget(&mut self) {
        self.owed.clear();
        self.dropped.clear();
    }

    /// A process has died: it tells nothing more.
    pub(super) fn gone(&mut self, process: u32, now: Timestamp) {
        self.owed.remove(&process);
        self.dropped.remove(&process);
        self.gone.insert(process, now);
    }

    /// Time has passed.
    pub(super) fn wait(&mut self, now: Timestamp) -> Result<(), String> {
        let overdue = self.owed.iter().find(|(_, (since, _))| now.duration_since(*since) > SOON);
        let Some((process, version)) = overdue.map(|(process, (_, version))| (*process, version.clone()))
        else {
            return Ok(());
        };
        self.owed.remove(&process);
        Err(format!("a wish that was meant for version {version} is dropped, and nobody is told"))
    }
}

/// What an event says of the stored state of its run.
fn about_run(event: &Value, reason: &str, server: &Server) -> Result<(), String> {
    let uid = text(event, "/involvedObject/uid");
    let Some((_, run)) = server.all(ANALYSIS_RUNS).find(|(_, run)| text(run, "/metadata/uid") == uid) else {
        return Ok(());
    };
    let results = run.at("/status/metricResults").and_then(Value::as_array).into_iter().flatten();
    let mut phases = results.map(|result| text(result, "/phase"));
    let is_so = match (reason.strip_prefix("AnalysisRun"), reason.strip_prefix("Metric")) {
        (Some(phase), _) => text(run, "/status/phase") == phase,
        (None, Some(phase)) => phases.any(|known| known == phase),
        (None, None) => true,
    };
    if is_so {
        Ok(())
    } else {
        Err(format!("event {reason} about a run that is {}", text(run, "/status/phase")))
    }
}

/// The statement that an event about a Rollout makes, as [`Said`] spells it.
fn claim(reason: &str, message: &str) -> Option<String> {
    let condition = |reason: &str| Some(format!("condition Progressing {reason}"));
    match reason {
        events::TRAFFIC_WEIGHT_UPDATED => Some(format!("weight {}", message.rsplit(' ').next()?)),
        events::ROLLOUT_STEP_COMPLETED => {
            let number = message.strip_prefix("Rollout step ")?.split('/').next()?;
            Some(format!("step {number}"))
        }
        events::ROLLOUT_COMPLETED => Some(format!("stable {}", between(message, "(", ")")?)),
        events::ROLLOUT_ABORTED => condition(reasons::ROLLOUT_ABORTED),
        events::ROLLOUT_PAUSED => Some(PAUSED.to_owned()),
        events::PROGRESS_DEADLINE_EXCEEDED => condition(reasons::PROGRESS_DEADLINE_EXCEEDED),
        events::NEW_REPLICA_SET_CREATED => {
            let name = between(message, "Created ReplicaSet ", " (")?;
            Some(format!("version {}", name.rsplit('-').next()?))
        }
        events::SCALING_REPLICA_SET => {
            let name = between(message, "ReplicaSet ", " (")?;
            Some(format!("scaled {name} {}", message.rsplit(' ').next()?))
        }
        events::SWITCH_SERVICE => {
            let service = between(message, "service '", "'")?;
            Some(format!("selects {service} {}", between(message, " to '", "'")?))
        }
        _ if reason.starts_with(events::ANALYSIS_RUN_PREFIX) => {
            let name = between(message, "Run '", "'")?;
            Some(format!("run {name} {}", between(message, "New: '", "'")?))
        }
        _ => None,
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(inner, _)| inner)
}
