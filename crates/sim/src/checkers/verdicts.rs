//! Rule 10: no data, a provider's outage and a failing canary are told apart, in each measurement, in the verdict over a
//! run, and in what becomes of a release.

use super::Write;
use super::clocks::FROM_EACH_OTHER;
use super::conditions;
use super::deadline::progressing;
use super::settled::is_held;
use super::view::{RUN_ROLES, is_going_on, rollout};
use crate::world::server::{Server, number, text};
use headgate_api::At;
use headgate_api::conditions::reasons::PROGRESS_DEADLINE_EXCEEDED;
use headgate_api::conditions::types::INVALID_SPEC;
use headgate_api::labels::STEP_INDEX;
use headgate_driver::io::Reply;
use headgate_driver::resources::{ANALYSIS_RUNS, ROLLOUTS};
use headgate_model::Reply as Answer;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::VecDeque;

/// From the answer of a provider to the record that holds it, with a process that stands still and an API server that is
/// away in between.
const RECORDED_WITHIN: SignedDuration = SignedDuration::from_secs(300);

/// What providers have answered lately: numbers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    numbers: VecDeque<(Timestamp, f64)>,
}

/// What a measurement says by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Number(f64),
    NoData,
    Nothing,
}

impl Answers {
    /// A provider answers.
    pub(super) fn measured(&mut self, reply: &Reply, now: Timestamp) {
        while self.numbers.front().is_some_and(|(time, _)| now.duration_since(*time) > RECORDED_WITHIN) {
            self.numbers.pop_front();
        }
        let Reply::Measured(Answer::Http { status: 200, body, .. }) = reply else { return };
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let value = body.at("/data/result/0/value/1").and_then(Value::as_str);
        self.numbers.extend(value.and_then(|value| value.parse().ok()).map(|value| (now, value)));
    }

    /// The record of a run is written.
    pub(super) fn check(&self, write: &Write<'_>) -> Result<(), String> {
        let (ANALYSIS_RUNS, Some(before), Some(after)) = (write.target.resource, write.before, write.after)
        else {
            return Ok(());
        };
        for metric in list(after, "/spec/metrics") {
            let Some(bound) = Bound::of(metric) else { continue };
            // A record keeps the last ones only, so that their number says nothing of which are new.
            let known: Vec<&Value> = measurements(before, metric).collect();
            let mut new = measurements(after, metric).filter(|measurement| !known.contains(measurement));
            new.try_for_each(|measurement| self.measurement(measurement, bound))?;
        }
        verdict(before, after)
    }

    fn measurement(&self, measurement: &Value, bound: Bound) -> Result<(), String> {
        let (phase, message) = (text(measurement, "/phase"), text(measurement, "/message"));
        let said = said(text(measurement, "/value"));
        let is_said_empty = message.contains("no data");
        let expected = match said {
            Said::Number(number) => bound.verdict(number),
            Said::NoData | Said::Nothing => "Error",
        };
        if phase != expected || (said == Said::NoData) != is_said_empty {
            return Err(format!("a measurement of {said:?} is {phase} ({message}), not {expected}"));
        }
        let is_the_same =
            |number: f64| self.numbers.iter().any(|(_, known)| known.to_bits() == number.to_bits());
        match said {
            Said::Number(number) if !number.is_nan() && !is_the_same(number) => {
                Err(format!("a measurement of {number} is recorded, which no provider has answered"))
            }
            Said::Nothing if message.is_empty() => {
                Err("a measurement is an Error without a reason".to_owned())
            }
            Said::Number(_) | Said::NoData | Said::Nothing => Ok(()),
        }
    }
}

/// Conditions on one number; others are the tests' of the analysis crate.
#[derive(Clone, Copy, Debug)]
struct Bound {
    success: Limit,
    failure: Option<Limit>,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
    Above(f64),
}

impl Bound {
    /// Of a metric that is judged by comparing `result[0]` alone.
    fn of(metric: &Value) -> Option<Self> {
        let written = text(metric, "/failureCondition");
        let failure = Limit::of(written);
        let success = Limit::of(text(metric, "/successCondition"))?;
        (written.is_empty() || failure.is_some()).then_some(Self { success, failure })
    }

    /// What a measurement of this number is. Argo Rollouts: what neither succeeds nor fails is inconclusive, if there is a
    /// condition for each.
    fn verdict(self, number: f64) -> &'static str {
        match self.failure {
            Some(failure) if failure.holds(number) => "Failed",
            _ if self.success.holds(number) => "Successful",
            Some(_) => "Inconclusive",
            None => "Failed",
        }
    }
}

impl Limit {
    fn of(condition: &str) -> Option<Self> {
        let condition = condition.strip_prefix("result[0] ")?;
        let number = |operator: &str| condition.strip_prefix(operator)?.parse().ok();
        let (least, most) = (number(">= ").map(Self::AtLeast), number("<= ").map(Self::AtMost));
        least.or(most).or(number("< ").map(Self::Below)).or(number("> ").map(Self::Above))
    }

    fn holds(self, number: f64) -> bool {
        match self {
            Self::AtLeast(least) => number >= least,
            Self::AtMost(most) => number <= most,
            Self::Below(above) => number < above,
            Self::Above(below) => number > below,
        }
    }
}

/// The measurements of a metric that the record of a run keeps.
fn measurements<'a>(run: &'a Value, metric: &Value) -> impl Iterator<Item = &'a Value> {
    let name = text(metric, "/name");
    let result = list(run, "/status/metricResults").find(|result| text(result, "/name") == name);
    result.into_iter().flat_map(|result| list(result, "/measurements"))
}

fn said(value: &str) -> Said {
    match value.trim_start_matches('[').trim_end_matches(']').split(',').next() {
        _ if value.is_empty() => Said::Nothing,
        None | Some("") => Said::NoData,
        Some(first) => first.parse().map_or(Said::NoData, Said::Number),
    }
}

/// The verdict over a run is the one that its counts give.
fn verdict(before: &Value, after: &Value) -> Result<(), String> {
    let phase = text(after, "/status/phase");
    if phase == text(before, "/status/phase") {
        return Ok(());
    }
    let exceeds = |count: &str, limit: &str| {
        let metric = |result: &Value| {
            let name = text(result, "/name").to_owned();
            list(after, "/spec/metrics").find(move |metric| text(metric, "/name") == name)
        };
        list(after, "/status/metricResults").any(|result| {
            let default = if limit == "consecutiveErrorLimit" { 4 } else { 0 };
            let most = metric(result).and_then(|metric| metric.get(limit)?.as_i64()).unwrap_or(default);
            number(result, &format!("/{count}")) > most
        })
    };
    let fits = match phase {
        "Failed" => exceeds("failed", "failureLimit"),
        "Error" => exceeds("consecutiveError", "consecutiveErrorLimit"),
        "Inconclusive" => exceeds("inconclusive", "inconclusiveLimit"),
        "Successful" => {
            !exceeds("failed", "failureLimit")
                && !exceeds("consecutiveError", "consecutiveErrorLimit")
                && !exceeds("inconclusive", "inconclusiveLimit")
        }
        _ => true,
    };
    if fits { Ok(()) } else { Err(format!("a run is {phase}, which its counts do not say")) }
}

/// What a record says of the verdict over a run is what the run says: verdicts do not change.
pub(super) fn record(write: &Write<'_>, server: &Server) -> Result<(), String> {
    let (ROLLOUTS, Some(after)) = (write.target.resource, write.after) else { return Ok(()) };
    for role in RUN_ROLES {
        let Some(known) = after.at(&format!("/status/canary/{role}")) else { continue };
        let mut runs = server.all(ANALYSIS_RUNS);
        let Some((_, run)) = runs.find(|(target, _)| target.name == text(known, "/name")) else { continue };
        let (said, is) = (text(known, "/status"), text(run, "/status/phase"));
        if !is_going_on(said) && said != is {
            return Err(format!("the record says of {} {said}, and it is {is}", text(known, "/name")));
        }
    }
    Ok(())
}

/// A run that the stored record needs, because it does not know the verdict yet, is neither ended nor taken away: whoever comes
/// next would not know of it.
pub(super) fn ends(write: &Write<'_>, server: &Server) -> Result<(), String> {
    let (ANALYSIS_RUNS, Some(before), Some(_)) = (write.target.resource, write.before, write.process) else {
        return Ok(());
    };
    let is_to_end = |run: &Value| run.at("/spec/terminate") == Some(&Value::Bool(true));
    if write.after.is_some_and(|after| is_to_end(before) || !is_to_end(after)) {
        return Ok(());
    }
    let Some((_, rollout)) = rollout(server) else { return Ok(()) };
    let is_own = text(before, "/metadata/ownerReferences/0/uid") == text(rollout, "/metadata/uid");
    let needs = |role: &&str| {
        let known = rollout.at(&format!("/status/canary/{role}"));
        known.is_some_and(|known| {
            text(known, "/name") == write.target.name && is_going_on(text(known, "/status"))
        })
    };
    let role = RUN_ROLES.into_iter().find(needs);
    match role.filter(|_| is_own) {
        None => Ok(()),
        Some(role) => Err(format!("{} ends, or goes, and {role} still waits for it", write.target.name)),
    }
}

/// A release is aborted by the user, by the verdict over a run of its version, because its deadline has passed where the spec
/// asks for that, or by an unhealthy pod, whose cause `pod_health` looks at; for nothing else.
pub(super) fn abort(write: &Write<'_>, server: &Server, now: Timestamp) -> Result<(), String> {
    let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
        return Ok(());
    };
    let is = |object: &Value, field: &str| object.at(field) == Some(&Value::Bool(true));
    if is(before, "/status/abort") || !is(after, "/status/abort") {
        return Ok(());
    }
    let uid = text(after, "/metadata/uid");
    let mut runs = server.all(ANALYSIS_RUNS).map(|(_, run)| run);
    let condemned = runs.any(|run| {
        text(run, "/metadata/ownerReferences/0/uid") == uid
            && text(run, "/metadata/labels/rollouts-pod-template-hash")
                == text(after, "/status/currentPodHash")
            && ["Failed", "Error"].contains(&text(run, "/status/phase"))
    });
    let is_overdue = is(before, "/spec/progressDeadlineAbort") && is_overdue(before, now);
    if condemned || is_overdue || is_unpromoted(before) || super::pod_health::is_said(after) {
        return Ok(());
    }
    Err("the release is aborted, and neither a user nor a run nor a deadline asks for that".to_owned())
}

/// True at a pause that nobody has promoted and that leads back then.
fn is_unpromoted(rollout: &Value) -> bool {
    let index = number(rollout, "/status/currentStepIndex");
    let step = format!("/spec/strategy/canary/steps/{index}/pause/onTimeout");
    text(rollout, &step) == "abort" && list(rollout, "/status/pauseConditions").next().is_some()
}

/// No step ends while an analysis holds the release, and none that is an analysis without a run that was successful, unless
/// a user goes on.
pub(super) fn steps(write: &Write<'_>, server: &Server) -> Result<(), String> {
    let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
        return Ok(());
    };
    let index = |object| number(object, "/status/currentStepIndex");
    let is = |object: &Value, field: &str| object.at(field) == Some(&Value::Bool(true));
    let is_of_same_release = ["/status/currentPodHash", "/status/currentStepHash", "/status/stableRS"]
        .iter()
        .all(|field| text(before, field) == text(after, field));
    let has_resumed =
        is(before, "/status/controllerPause") && list(before, "/status/pauseConditions").next().is_none();
    let is_forced = is(before, "/status/promoteFull") || is(after, "/status/abort") || has_resumed;
    if !is_of_same_release || is_forced || index(after) <= index(before) {
        return Ok(());
    }
    if after.at("/status/headgate/analysisHold").is_some() {
        return Err(format!("step {} ends while an analysis holds the release", index(before)));
    }
    if before.at(&format!("/spec/strategy/canary/steps/{}/analysis", index(before))).is_none() {
        return Ok(());
    }
    let name = text(before, "/status/canary/currentStepAnalysisRunStatus/name");
    let mut runs = server.all(ANALYSIS_RUNS);
    match runs.find(|(target, _)| target.name == name) {
        Some((_, run)) if text(run, "/status/phase") != "Successful" => {
            Err(format!("step {}, an analysis, ends, and {name} was not successful", index(before)))
        }
        _ => Ok(()),
    }
}

/// A release is said to be overdue only once its deadline has passed.
pub(super) fn overdue(write: &Write<'_>, now: Timestamp) -> Result<(), String> {
    let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
        return Ok(());
    };
    if is_said_overdue(before) || !is_said_overdue(after) || has_passed(before, now) {
        return Ok(());
    }
    Err("the release is said to be overdue, and its deadline has not passed".to_owned())
}

/// What was overdue once stays so until it gets further, also when it is given more time.
fn is_overdue(rollout: &Value, now: Timestamp) -> bool {
    is_said_overdue(rollout) || has_passed(rollout, now)
}

fn is_said_overdue(rollout: &Value) -> bool {
    progressing(rollout, "/reason") == PROGRESS_DEADLINE_EXCEEDED
}

fn has_passed(rollout: &Value, now: Timestamp) -> bool {
    let last = progressing(rollout, "/lastUpdateTime").parse::<Timestamp>().ok();
    let seconds = rollout.at("/spec/progressDeadlineSeconds").and_then(Value::as_i64).unwrap_or(600);
    let due = SignedDuration::from_secs(seconds).saturating_sub(FROM_EACH_OTHER);
    last.is_some_and(|last| now.duration_since(last) >= due)
}

/// A version that a run has condemned does not become stable while that run's release goes on.
pub(super) fn end(server: &Server) -> Result<(), String> {
    let Some((_, rollout)) = rollout(server) else { return Ok(()) };
    let bad = RUN_ROLES
        .into_iter()
        .filter(|role| ["Failed", "Error"].contains(&text(rollout, &format!("/status/canary/{role}/status"))))
        .any(|role| !is_skipped(rollout, text(rollout, &format!("/status/canary/{role}/name")), server));
    let mut reasons = list(rollout, "/status/pauseConditions").map(|pause| text(pause, "/reason"));
    let is_paused = reasons.any(|reason| reason == "AnalysisFailed");
    // A user who has gone on and paused the Rollout is heeded once it is paused no more, and so is one whose spec is to be mended.
    let message = text(rollout, "/status/message");
    let has_gone_on = (message == "manually paused" || message.starts_with("InvalidSpec: "))
        && rollout.at("/status/controllerPause") == Some(&Value::Bool(true))
        && list(rollout, "/status/pauseConditions").next().is_none();
    // A hold stands also when the spec says something else by now.
    let is_remembered = rollout.at("/status/headgate/analysisHold").is_some();
    let waits = is_paused || has_gone_on || is_remembered || is_held(server);
    if bad && !waits && rollout.at("/status/abort") != Some(&Value::Bool(true)) {
        return Err("a run has condemned the release, and it goes on".to_owned());
    }
    Ok(())
}

/// True when the user has gone on from the step of this run while the spec cannot be carried out: the record waits with it.
fn is_skipped(rollout: &Value, run: &str, server: &Server) -> bool {
    let is_invalid = conditions::of_type(rollout, INVALID_SPEC).is_some();
    let mut runs = server.all(ANALYSIS_RUNS);
    let run = runs.find(|(target, _)| target.name == run);
    let step = run.map_or("", |(_, run)| text(run, &format!("/metadata/labels/{STEP_INDEX}")));
    is_invalid && step.parse().is_ok_and(|step: i64| step < number(rollout, "/status/currentStepIndex"))
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.at(pointer).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::at;
    use headgate_driver::io::{Call, Patch};
    use serde_json::json;

    /// A run of which the record keeps the last ten of so many measurements, each of the value 1, and then one of this value.
    fn run(measured: i64, last: &str) -> Value {
        let measurement = |second: i64, value: &str| {
            let time = format!("2026-11-21T09:00:{second:02}Z");
            json!({ "phase": "Successful", "startedAt": time, "finishedAt": time, "value": format!("[{value}]") })
        };
        let first = (1..measured).skip(usize::try_from(measured - 10).unwrap_or(0));
        let measurements: Vec<_> =
            first.map(|second| measurement(second, "1")).chain([measurement(measured, last)]).collect();
        json!({
            "spec": { "metrics": [{ "name": "success-rate", "successCondition": "result[0] >= 0.95" }] },
            "status": { "metricResults": [{ "name": "success-rate", "measurements": measurements }] },
        })
    }

    #[test]
    fn a_measurement_that_no_provider_has_answered_is_found_however_many_were_before_it() {
        let now = Timestamp::UNIX_EPOCH;
        let body = json!({ "data": { "result": [{ "value": [0, "1"] }] } }).to_string();
        let mut answers = Answers::default();
        answers.measured(&Reply::Measured(Answer::Http { status: 200, body, truncated: false }), now);
        let target = at(ANALYSIS_RUNS, "run");
        let call = Call::Patch { target: target.clone(), status: false, patch: Patch::Merge(json!({})) };
        let check = |before: &Value, after: &Value| {
            answers.check(&Write {
                target: &target,
                before: Some(before),
                after: Some(after),
                call: &call,
                process: Some(1),
                sent_at: now,
                known_until: now,
                knows_abort: false,
                means_abort: false,
            })
        };
        for measured in [1, 9, 10, 11, 30] {
            let before = run(measured, "1");
            assert_eq!(check(&before, &run(measured + 1, "1")), Ok(()), "after {measured}");
            assert!(check(&before, &run(measured + 1, "2")).is_err(), "after {measured}");
        }
    }
}
