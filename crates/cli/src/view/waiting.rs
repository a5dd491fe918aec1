//! What a Rollout waits for, since when, until when, and what ends it.

use super::age::human;
use crate::intent::{canary, current_step};
use crate::phase::{Observed, observed, standing};
use headgate_api::conditions::{reasons, types};
use headgate_api::{
    AnalysisPhase, PauseCondition, Rollout, RolloutCondition, RolloutPhase, RolloutStatus, Time, Waiting,
};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;

/// Seconds after which a time of day alone is not enough.
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The answer to "why does it not go on?". Uses what the controller has stored and, where it has stored nothing (the
/// server's CRDs may not know the field), what the status tells. `command` is how the program is called.
#[must_use]
pub fn why(rollout: &Rollout, command: &str, now: Timestamp) -> String {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    if let Some(waiting) = stored(rollout).cloned().or_else(|| told(rollout, command)) {
        return sentence(name, &waiting, now);
    }
    let standing = standing(rollout);
    match (standing.phase, standing.message.as_str()) {
        (RolloutPhase::Healthy, _) => format!("{name} is Healthy and waits for nothing\n"),
        (phase, "") => format!("{name} is {phase}\n"),
        (phase, message) => format!("{name} is {phase}: {message}\n"),
    }
}

/// The lines below a tree; none when nothing is stored.
#[must_use]
pub fn footer(rollout: &Rollout, now: Timestamp) -> String {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    stored(rollout).map(|waiting| format!("\n{}", sentence(name, waiting, now))).unwrap_or_default()
}

/// What the controller has stored, unless the user has changed something since. A promote waits until an invalid spec
/// is mended: then the spec is what the user wants to hear about.
pub(super) fn stored(rollout: &Rollout) -> Option<&Waiting> {
    let status = rollout.status.as_ref()?;
    let is_current = |waiting: &Waiting| {
        observed(rollout) == Observed::Latest && (!status.is_resumed() || waiting.kind == "MendSpec")
    };
    status.waiting.as_ref().filter(|waiting| !waiting.kind.is_empty() && is_current(waiting))
}

fn sentence(name: &str, waiting: &Waiting, now: Timestamp) -> String {
    let mut text = format!("{name} waits {}", subject(&waiting.kind));
    if let Some(since) = &waiting.since {
        text.push_str(&format!(
            " since {} ({})",
            clock(since, now),
            human(now.as_second() - since.0.as_second())
        ));
    }
    if waiting.message.is_empty() {
        text.push('\n');
    } else {
        text.push_str(&format!(":\n  {}\n", waiting.message));
    }
    if let Some(until) = &waiting.until {
        let left = until.0.as_second() - now.as_second();
        let left = if left > 0 { format!("in {}", human(left)) } else { "now".to_owned() };
        text.push_str(&format!("until {} ({left})\n", clock(until, now)));
    }
    if !waiting.ends_with.is_empty() {
        text.push_str(&format!("ends with: {}\n", waiting.ends_with));
    }
    text
}

/// For what, in words; a kind of a newer controller is shown as it is.
fn subject(kind: &str) -> String {
    let words = match kind {
        "PodsAvailable" => "for pods to become available",
        "PauseDuration" => "for a pause to end",
        "UserPromotion" => "for a promotion",
        "PauseOverdue" => "for a promotion that is overdue",
        "UserUnpause" => "to be resumed",
        "InconclusiveAnalysis" => "for somebody to judge an inconclusive analysis",
        "AnalysisFailed" => "for somebody to look at an analysis that has failed",
        "AnalysisHold" => "for an analysis that has failed to be successful",
        "Bake" => "for the end of its bake",
        "PodHealth" => "for somebody to look at an unhealthy pod",
        "Analysis" => "for an analysis",
        "RouteConfirmed" => "for the traffic to be as asked",
        "ScaleDownDelay" => "before it scales down",
        "OldPodsGone" => "for old pods to be gone",
        "Restart" => "for its pods to be restarted",
        "MendSpec" => "for its spec to be mended",
        "AfterAbort" => "for a retry, an undo or another version",
        "ApiServer" => "for the API server",
        "ObjectInTheWay" => "for an object to get out of the way",
        other => return format!("for {other}"),
    };
    words.to_owned()
}

/// A time of day, with the date when that is another day.
fn clock(time: &Time, now: Timestamp) -> String {
    let near = (now.as_second() - time.0.as_second()).abs() < DAY_SECONDS;
    let format = if near { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" };
    time.0.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// What the fields of every controller of this API tell about waits.
fn told(rollout: &Rollout, program: &str) -> Option<Waiting> {
    let status = rollout.status.as_ref()?;
    if observed(rollout) != Observed::Latest || status.is_resumed() {
        return None;
    }
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let namespace = rollout.metadata.namespace.as_deref().unwrap_or_default();
    let command = |verb: &str| format!("{program} {verb} {name} -n {namespace}");
    let promote = command("promote");
    let condition = |chosen: fn(&RolloutCondition) -> bool| status.conditions.iter().find(|one| chosen(one));
    if let Some(invalid) = condition(|one| one.type_ == types::INVALID_SPEC) {
        let since = invalid.last_transition_time.as_ref();
        return Some(wait("MendSpec", &invalid.message, since, "a spec without this fault".to_owned()));
    }
    if let Some(aborted) = condition(|one| one.reason == reasons::ROLLOUT_ABORTED) {
        let since = status.aborted_at.as_ref().or(aborted.last_transition_time.as_ref());
        let ends_with = format!("{}, or {}, or another version", command("retry"), command("undo"));
        return Some(wait("AfterAbort", &aborted.message, since, ends_with));
    }
    if let Some(late) = condition(|one| one.reason == reasons::PROGRESS_DEADLINE_EXCEEDED) {
        let since = late.last_transition_time.as_ref();
        let ends_with = format!("available pods, or {}, or another version", command("abort"));
        return Some(wait("PodsAvailable", &late.message, since, ends_with));
    }
    if rollout.spec.paused == Some(true) {
        return Some(wait("UserUnpause", "spec.paused is set", None, promote));
    }
    match status.pause_conditions.first() {
        Some(pause) => Some(told_pause(rollout, status, pause, &promote)),
        None => told_step(rollout, status, &promote),
    }
}

fn wait(kind: &str, message: &str, since: Option<&Time>, ends_with: String) -> Waiting {
    Waiting {
        kind: kind.to_owned(),
        message: message.to_owned(),
        since: since.cloned(),
        until: None,
        ends_with,
    }
}

/// A step that runs an analysis or an Experiment.
fn told_step(rollout: &Rollout, status: &RolloutStatus, promote: &str) -> Option<Waiting> {
    let step = current_step(canary(rollout)?, status)?;
    let canary = status.canary.as_ref()?;
    let position = format!("step {}/{}", step.index + 1, step.count);
    let run = canary.current_step_analysis_run_status.as_ref();
    let is_running = |phase: Option<AnalysisPhase>| phase.is_none_or(|phase| !phase.is_completed());
    let message = match run.filter(|run| is_running(run.status)) {
        Some(run) => format!("{position} is the AnalysisRun {}", run.name),
        None if !canary.current_experiment.is_empty() => {
            format!("{position} is the Experiment {}", canary.current_experiment)
        }
        None => return None,
    };
    Some(wait("Analysis", &message, None, format!("its verdict, or {promote}, which skips it")))
}

fn told_pause(rollout: &Rollout, status: &RolloutStatus, pause: &PauseCondition, promote: &str) -> Waiting {
    let since = pause.start_time.clone();
    let strategy = canary(rollout);
    let step = strategy.and_then(|strategy| current_step(strategy, status));
    let position = step.map(|step| format!("step {}/{}", step.index + 1, step.count)).unwrap_or_default();
    let duration =
        strategy.and_then(|strategy| strategy.steps.as_ref()).zip(step).and_then(|(steps, step)| {
            let step = steps.get(usize::try_from(step.index).ok()?)?;
            step.pause.as_ref()?.duration.as_ref()?.parse().ok()
        });
    let until = since.as_ref().zip(duration).and_then(|(since, duration)| since.0.checked_add(duration).ok());
    let (kind, message) = match (pause.reason.as_str(), until) {
        (PauseCondition::CANARY_PAUSE_STEP, None) => {
            ("UserPromotion", format!("{position} is a pause without a duration"))
        }
        (PauseCondition::CANARY_PAUSE_STEP, Some(_)) => ("PauseDuration", format!("{position} is a pause")),
        (PauseCondition::BLUE_GREEN_PAUSE, _) => {
            ("UserPromotion", "the new version is ready for the switch".to_owned())
        }
        (PauseCondition::INCONCLUSIVE_ANALYSIS_RUN, _) => {
            ("InconclusiveAnalysis", "an AnalysisRun came to no verdict".to_owned())
        }
        (PauseCondition::INCONCLUSIVE_EXPERIMENT, _) => {
            ("InconclusiveAnalysis", "an Experiment came to no verdict".to_owned())
        }
        (PauseCondition::ANALYSIS_FAILED, _) => ("AnalysisFailed", "an AnalysisRun has failed".to_owned()),
        (PauseCondition::POD_HEALTH, _) => ("PodHealth", "a pod of the new version was unhealthy".to_owned()),
        (other, _) => ("UserPromotion", format!("paused for {other}")),
    };
    let until = until.filter(|_| kind == "PauseDuration").map(Time);
    let ends_with = match until {
        Some(_) => format!("the end of the pause, or {promote}"),
        None => promote.to_owned(),
    };
    Waiting { kind: kind.to_owned(), message, since, until, ends_with }
}
