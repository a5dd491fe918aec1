//! What must be written to a Rollout so that a wish of the user comes true. Pure.
//!
//! The fields are those that every client of this API writes (the stock plugin, Argo CD, dashboards), so any controller
//! of the API understands them, and a controller understands every client.

pub mod history;
pub mod images;
#[cfg(test)]
mod tests;

use headgate_api::{AnalysisPhase, CanaryStrategy, Rollout, RolloutStatus};
use serde_json::{Value, json};

/// Which part of an object a patch is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object itself: its spec.
    Spec,
    /// The subresource `status`.
    Status,
}

/// What must still be as it was read for a patch to be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binds {
    /// The version and the step that were read.
    Step,
    /// The version that was read.
    Version,
    /// Nothing: the wish is about the Rollout, whatever it runs.
    Nothing,
}

/// A merge patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Where it is sent.
    pub part: Part,
    /// The patch.
    pub body: Value,
    /// What it is about.
    pub binds: Binds,
}

/// What a wish comes down to.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Patches, to be sent in this order.
    Send(Vec<Patch>),
    /// Nothing is to be done; says why, as a sentence that follows "rollout 'x' ".
    Nothing(String),
    /// The wish makes no sense now; says why and what would, as a sentence that follows "rollout 'x' ".
    Refuse(String),
}

/// How far to promote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// Past the pause or the step where the release is.
    Step,
    /// To the end: no further steps, pauses or analysis.
    Full,
    /// Past the current step, paused or not. Deprecated by Argo Rollouts, kept for scripts.
    SkipCurrentStep,
    /// Past all steps. Deprecated by Argo Rollouts, kept for scripts.
    SkipAllSteps,
}

/// Promotes a release.
#[must_use]
pub fn promote(rollout: &Rollout, promotion: Promotion) -> Intent {
    let default = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&default);
    match promotion {
        Promotion::Step => promote_step(rollout, status),
        Promotion::Full => promote_full(rollout, status),
        Promotion::SkipCurrentStep => skip_steps(rollout, status, |index, count| (index + 1).min(count)),
        Promotion::SkipAllSteps => skip_steps(rollout, status, |_, count| count),
    }
}

fn promote_step(rollout: &Rollout, status: &RolloutStatus) -> Intent {
    if status.abort {
        return aborted();
    }
    let unpause = is_spec_paused(rollout).then(|| unpaused(Binds::Version));
    let (resume, why_not) = match step_promotion(rollout, status) {
        Ok(body) => (Some(Patch { part: Part::Status, body, binds: Binds::Step }), String::new()),
        Err(why_not) => (None, why_not),
    };
    let patches: Vec<Patch> = resume.into_iter().chain(unpause).collect();
    if patches.is_empty() { Intent::Nothing(why_not) } else { Intent::Send(patches) }
}

/// An aborted release stays at its first step, wherever its index is put.
fn aborted() -> Intent {
    Intent::Refuse(
        "was aborted: there is no step to promote it from. Start the release again with `retry`, \
         go back with `undo`, or skip all steps with `promote --full`"
            .to_owned(),
    )
}

/// The status patch that ends the current pause or step, or why there is nothing to end.
fn step_promotion(rollout: &Rollout, status: &RolloutStatus) -> Result<Value, String> {
    if status.is_resumed() {
        return Err("was promoted already; its controller has not acted on it yet".to_owned());
    }
    let canary = canary(rollout);
    let step = canary.and_then(|canary| current_step(canary, status));
    let pauses = !status.pause_conditions.is_empty();
    if let Some(step) = step
        && pauses
        && status.controller_pause
        && step_analysis_is_inconclusive(status)
    {
        // All three: with the pause alone the same inconclusive analysis would pause again.
        return Ok(json!({ "status": {
            "pauseConditions": null, "controllerPause": false, "currentStepIndex": step.next()
        } }));
    }
    if pauses {
        return Ok(json!({ "status": { "pauseConditions": null } }));
    }
    if step.is_none_or(|step| step.index == step.count)
        && let Some(held) = held_after_steps(status)
    {
        let done = step.map_or_else(String::new, |step| format!("has done all {} steps and ", step.count));
        return Err(format!("{done}{held}"));
    }
    match step {
        Some(step) if step.index < step.count => {
            Ok(json!({ "status": { "pauseConditions": null, "currentStepIndex": step.next() } }))
        }
        Some(step) if is_promoted(status) => {
            Err(format!("has nothing to promote: all {} steps are done", step.count))
        }
        Some(step) => Err(format!("has done all {} steps: its last pods are on their way", step.count)),
        None if is_promoted(status) => Err("has nothing to promote: the newest version is stable".to_owned()),
        None if canary.is_some() => {
            Err("has no steps that could be promoted: it goes on by itself".to_owned())
        }
        None => Err("is not paused: it goes on by itself".to_owned()),
    }
}

/// What a new version waits for that has everything, or is held short of that, and what ends it: the controller says so
/// while it does.
fn held_after_steps(status: &RolloutStatus) -> Option<String> {
    let waiting = status.waiting.as_ref()?;
    match waiting.kind.as_str() {
        "Bake" => {
            let until = waiting.until.as_ref()?;
            Some(format!("bakes until {}: `promote --full` ends the bake", until.0))
        }
        "AnalysisHold" => Some(
            "is held by an analysis that has failed: it goes on when a fresh run is successful, or at once with \
             `promote --full`"
                .to_owned(),
        ),
        _ => None,
    }
}

fn promote_full(rollout: &Rollout, status: &RolloutStatus) -> Intent {
    let unpause = is_spec_paused(rollout).then(|| unpaused(Binds::Version));
    let full = (!is_promoted(status)).then(|| Patch {
        part: Part::Status,
        body: json!({ "status": { "promoteFull": true } }),
        binds: Binds::Version,
    });
    let patches: Vec<Patch> = full.into_iter().chain(unpause).collect();
    if patches.is_empty() {
        return Intent::Nothing("has nothing to promote: the newest version is stable".to_owned());
    }
    Intent::Send(patches)
}

fn skip_steps(rollout: &Rollout, status: &RolloutStatus, to: impl Fn(i32, i32) -> i32) -> Intent {
    if status.abort {
        return aborted();
    }
    let Some(canary) = canary(rollout) else {
        return Intent::Refuse("is blue-green and has no steps to skip: promote it without flags".to_owned());
    };
    let Some(step) = current_step(canary, status) else {
        return Intent::Refuse("has no steps to skip".to_owned());
    };
    Intent::Send(vec![Patch {
        part: Part::Status,
        body: json!({ "status": { "currentStepIndex": to(step.index, step.count) } }),
        binds: Binds::Step,
    }])
}

/// Aborts a release: stable gets all the traffic.
#[must_use]
pub fn abort(rollout: &Rollout) -> Intent {
    match &rollout.status {
        Some(status) if status.abort => Intent::Nothing("was aborted already".to_owned()),
        Some(status) if is_promoted(status) => {
            Intent::Nothing("has nothing to abort: the newest version is stable".to_owned())
        }
        _ => Intent::Send(vec![Patch {
            part: Part::Status,
            body: json!({ "status": { "abort": true } }),
            binds: Binds::Version,
        }]),
    }
}

/// Starts an aborted release again.
#[must_use]
pub fn retry(rollout: &Rollout) -> Intent {
    if !rollout.status.as_ref().is_some_and(|status| status.abort) {
        return Intent::Nothing("is not aborted: there is nothing to retry".to_owned());
    }
    Intent::Send(vec![Patch {
        part: Part::Status,
        body: json!({ "status": { "abort": false } }),
        binds: Binds::Version,
    }])
}

/// Holds a Rollout where it is.
#[must_use]
pub fn pause(rollout: &Rollout) -> Intent {
    if is_spec_paused(rollout) {
        return Intent::Nothing("is paused already".to_owned());
    }
    Intent::Send(vec![Patch {
        part: Part::Spec,
        body: json!({ "spec": { "paused": true } }),
        binds: Binds::Nothing,
    }])
}

/// Replaces all pods that were created before `restart_at` (RFC 3339).
#[must_use]
pub fn restart(restart_at: &str) -> Intent {
    Intent::Send(vec![Patch {
        part: Part::Spec,
        body: json!({ "spec": { "restartAt": restart_at } }),
        binds: Binds::Nothing,
    }])
}

fn unpaused(binds: Binds) -> Patch {
    Patch { part: Part::Spec, body: json!({ "spec": { "paused": false } }), binds }
}

fn is_spec_paused(rollout: &Rollout) -> bool {
    rollout.spec.paused == Some(true)
}

/// Whether the newest version is the stable one.
#[must_use]
pub fn is_promoted(status: &RolloutStatus) -> bool {
    !status.current_pod_hash.is_empty() && status.current_pod_hash == status.stable_rs
}

fn step_analysis_is_inconclusive(status: &RolloutStatus) -> bool {
    // Not by the pause's reason: it may be the one in the background that came to no verdict.
    let run = status.canary.as_ref().and_then(|canary| canary.current_step_analysis_run_status.as_ref());
    run.is_some_and(|run| run.status == Some(AnalysisPhase::Inconclusive))
}

/// The canary strategy of a Rollout, if that is its strategy.
#[must_use]
pub fn canary(rollout: &Rollout) -> Option<&CanaryStrategy> {
    rollout.spec.strategy.as_ref().and_then(|strategy| strategy.canary.as_ref())
}

/// Where in its steps a release is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentStep {
    /// Index of the step; `count` when all are done.
    pub index: i32,
    /// Number of steps, at least 1.
    pub count: i32,
}

impl CurrentStep {
    fn next(self) -> i32 {
        (self.index + 1).min(self.count)
    }
}

/// Where in its steps a release is; nothing without steps.
#[must_use]
pub fn current_step(canary: &CanaryStrategy, status: &RolloutStatus) -> Option<CurrentStep> {
    let count = canary.steps.as_ref().map_or(0, Vec::len);
    let count = i32::try_from(count).ok().filter(|count| *count > 0)?;
    let index = status.current_step_index.unwrap_or(0).clamp(0, count);
    Some(CurrentStep { index, count })
}
