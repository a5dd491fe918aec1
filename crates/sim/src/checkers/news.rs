//! R11: what happens to a Rollout is told each webhook at least once, with one key each; nothing is told that did not
//! happen, or before it is stored.
//!
//! What happened is read from the stored records alone.

use super::Write;
use super::clocks::Clocks;
use super::clocks::FROM_EACH_OTHER;
use super::conditions;
use crate::world::server::text;
use headgate_api::At;
use headgate_api::conditions::{reasons, types};
use headgate_driver::resources::ROLLOUTS;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is decided within one second has one key, and may be recorded a second apart.
const SAME: SignedDuration = SignedDuration::from_secs(2);

/// The outbox holds no more.
const OUTBOX_MAX: usize = 8;

/// What happened, and who knows.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Names of the webhooks.
    webhooks: BTreeSet<&'static str>,
    happened: Vec<Happened>,
    /// By key: the place in `happened`.
    keys: BTreeMap<String, usize>,
    /// The version that was released in full and has not been Healthy since, by uid.
    completing: BTreeMap<String, String>,
    /// The outbox was full: then the oldest go untold.
    was_full: bool,
}

#[derive(Debug)]
struct Happened {
    at: Timestamp,
    uid: String,
    event: &'static str,
    version: String,
    told: BTreeSet<String>,
    key: Option<String>,
    /// By a clock that was set: what is minutes apart may have one time, and with it one key.
    may_be_wrong: bool,
}

impl News {
    /// Knows who wants to be told.
    pub(super) fn wanted_by(&mut self, webhooks: impl Iterator<Item = &'static str>) {
        self.webhooks = webhooks.collect();
    }

    /// A record was written: what happened with it.
    pub(super) fn written(
        &mut self,
        write: &Write<'_>,
        clocks: &Clocks,
        now: Timestamp,
    ) -> Result<(), String> {
        let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
            return Ok(());
        };
        let waiting = after.at("/status/headgate/outbox").and_then(Value::as_array).map_or(0, Vec::len);
        if self.webhooks.is_empty() {
            let kept = waiting > 0 || after.at("/status/headgate/completing").is_some();
            return if kept { Err("news are kept, and nobody wants to know".to_owned()) } else { Ok(()) };
        }
        if waiting > OUTBOX_MAX {
            return Err(format!("{waiting} entries wait in the outbox"));
        }
        self.was_full |= waiting == OUTBOX_MAX;
        for event in self.events(before, after) {
            self.happened.push(Happened {
                at: now,
                uid: text(after, "/metadata/uid").to_owned(),
                event,
                version: text(after, "/status/currentPodHash").to_owned(),
                told: BTreeSet::new(),
                key: None,
                may_be_wrong: clocks.may_be_wrong(write.sent_at),
            });
        }
        Ok(())
    }

    fn events(&mut self, before: &Value, after: &Value) -> Vec<&'static str> {
        let uid = text(after, "/metadata/uid").to_owned();
        if is_promoted(after) && !is_promoted(before) {
            self.completing.insert(uid.clone(), text(after, "/status/currentPodHash").to_owned());
        }
        let owed = self.completing.get(&uid).cloned();
        let is_owed = is_promoted(after) && owed.as_deref() == Some(text(after, "/status/currentPodHash"));
        let is_completed = is_owed && text(after, "/status/phase") == "Healthy";
        if is_completed || !is_owed {
            self.completing.remove(&uid);
        }
        let is_degraded = |rollout| text(rollout, "/status/phase") == "Degraded" && !is_aborted(rollout);
        let all = [
            ("aborted", is_aborted(after) && (!is_aborted(before) || is_another_abort(before, after))),
            ("degraded", is_degraded(after) && !is_degraded(before)),
            ("paused", begins_to_wait_for_a_person(before, after)),
            ("completed", is_completed),
        ];
        all.into_iter().filter(|(_, happens)| *happens).map(|(event, _)| event).collect()
    }

    /// A message reaches a webhook.
    pub(super) fn heard(&mut self, webhook: &str, body: &str, is_taken: bool) -> Result<(), String> {
        let Ok(message) = serde_json::from_str::<Value>(body) else {
            return Err(format!("{webhook} is told what is no JSON: {body}"));
        };
        let (key, event) = (text(&message, "/key"), text(&message, "/event"));
        let fits = |one: &Happened| {
            one.uid == text(&message, "/uid")
                && one.event == event
                && one.version == text(&message, "/podTemplateHash")
        };
        let known = self.keys.get(key).copied();
        let unkeyed = |one: &Happened| one.key.is_none() && fits(one);
        // What two leaders make true, false and true again within a second has one key: the others of that second are
        // taken only when nothing else is left that a new key could be of.
        let alone = |one: &Happened| {
            unkeyed(one) && !self.happened.iter().any(|other| other.key.is_some() && self.is_same(one, other))
        };
        let place = known
            .or_else(|| self.happened.iter().position(alone))
            .or_else(|| self.happened.iter().position(unkeyed));
        let Some((place, happened)) = place.and_then(|place| Some((place, self.happened.get_mut(place)?)))
        else {
            return Err(format!(
                "{webhook} is told {event} with key {key}, which did not happen, or not once more"
            ));
        };
        if !fits(happened) {
            return Err(format!("{webhook} is told {event} with key {key}, which is of something else"));
        }
        happened.key = Some(key.to_owned());
        self.keys.insert(key.to_owned(), place);
        if is_taken {
            happened.told.insert(webhook.to_owned());
        }
        Ok(())
    }

    /// At the end everybody knows everything of the Rollout that is there.
    pub(super) fn end(&self, rollout: Option<&Value>) -> Result<(), String> {
        let uid = rollout.map_or("", |rollout| text(rollout, "/metadata/uid"));
        for one in self.happened.iter().filter(|one| one.uid == uid && !self.was_full) {
            if let Some(webhook) = self.webhooks.iter().find(|webhook| !self.is_told(one, webhook)) {
                return Err(format!(
                    "{webhook} was never told that {} was {} at {}",
                    one.version, one.event, one.at
                ));
            }
        }
        Ok(())
    }

    /// What two leaders make true, false and true again within a second is one event with one key.
    fn is_same(&self, one: &Happened, other: &Happened) -> bool {
        let apart = other.at.duration_since(one.at).abs();
        let may_be_wrong = one.may_be_wrong || other.may_be_wrong;
        other.uid == one.uid
            && other.event == one.event
            && other.version == one.version
            && apart <= if may_be_wrong { FROM_EACH_OTHER } else { SAME }
    }

    fn is_told(&self, one: &Happened, webhook: &str) -> bool {
        self.happened
            .iter()
            .filter(|other| self.is_same(one, other))
            .any(|other| other.told.contains(webhook))
    }
}

fn is_aborted(rollout: &Value) -> bool {
    conditions::for_reason(rollout, reasons::ROLLOUT_ABORTED).is_some()
}

/// A release that was tried again may be aborted once more in one record.
fn is_another_abort(before: &Value, after: &Value) -> bool {
    let [before, after] = [before, after].map(|rollout| text(rollout, "/status/abortedAt"));
    !before.is_empty() && !after.is_empty() && before != after
}

fn is_promoted(rollout: &Value) -> bool {
    let stable = text(rollout, "/status/stableRS");
    !stable.is_empty() && stable == text(rollout, "/status/currentPodHash")
}

fn begins_to_wait_for_a_person(before: &Value, after: &Value) -> bool {
    let pauses = |rollout: &Value| rollout.at("/status/pauseConditions").cloned().unwrap_or_default();
    let place = |rollout: &Value| {
        (rollout.at("/status/currentStepIndex").cloned(), text(rollout, "/status/currentPodHash").to_owned())
    };
    let stood = |pause: &Value| {
        let pauses = pauses(before);
        place(before) == place(after) && pauses.as_array().is_some_and(|pauses| pauses.contains(pause))
    };
    // The phase says nothing of what begins while the spec is wrong.
    let invalid =
        conditions::of_type(before, types::INVALID_SPEC).map(|one| text(one, "/lastTransitionTime"));
    let was_hidden = |pause: &Value| invalid.is_some_and(|since| since <= text(pause, "/startTime"));
    let step = after.at("/status/currentStepIndex").and_then(Value::as_u64).unwrap_or(0);
    let step = after.at(&format!("/spec/strategy/canary/steps/{step}"));
    let is_endless = step.is_some_and(|step| {
        step.get("pause").is_some() && step.at("/pause/duration").is_none_or(Value::is_null)
    });
    let is_for_a_person = |pause: &Value| match text(pause, "/reason") {
        "CanaryPauseStep" => is_endless,
        "PodHealth" | "AnalysisFailed" => true,
        reason => reason.starts_with("Inconclusive"),
    };
    let pauses = pauses(after);
    let begun = pauses.as_array().into_iter().flatten().filter(|pause| !stood(pause) || was_hidden(pause));
    text(after, "/status/phase") == "Paused" && begun.into_iter().any(is_for_a_person)
}
