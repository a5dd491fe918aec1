//! What a Rollout waits for, since when, until when, and what ends it.

use super::age::human;
use crate::intent::{canary, current_step};
use crate::phase::{Observed, is_resumed, observed, standing};
use headgate_api::conditions::{reasons, types};
use headgate_api::{PauseCondition, Rollout, RolloutPhase, RolloutStatus, Time, Waiting};
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

/// What the controller has stored, unless the user has changed something since.
fn stored(rollout: &Rollout) -> Option<&Waiting> {
    let status = rollout.status.as_ref()?;
    let is_current = observed(rollout) == Observed::Latest && !is_resumed(status);
    status.waiting.as_ref().filter(|waiting| is_current && !waiting.kind.is_empty())
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
        "UserUnpause" => "to be resumed",
        "InconclusiveAnalysis" => "for somebody to judge an inconclusive analysis",
        "Analysis" => "for an analysis",
        "RouteConfirmed" => "for the traffic to be as asked",
        "Drain" => "for requests in flight to end",
        "ScaleDownDelay" => "before it scales down",
        "OldPodsGone" => "for old pods to be gone",
        "MendSpec" => "for its spec to be mended",
        "AfterAbort" => "for what comes after the abort",
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

/// What the fields of every controller of this API tell, for the waits that a user can end.
fn told(rollout: &Rollout, command: &str) -> Option<Waiting> {
    let status = rollout.status.as_ref()?;
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    if observed(rollout) != Observed::Latest || is_resumed(status) {
        return None;
    }
    let wait = |kind: &str, message: String, since: Option<&Time>, ends_with: String| Waiting {
        kind: kind.to_owned(),
        message,
        since: since.cloned(),
        until: None,
        ends_with,
    };
    if let Some(invalid) = status.conditions.iter().find(|one| one.type_ == types::INVALID_SPEC) {
        let since = invalid.last_transition_time.as_ref();
        return Some(wait(
            "MendSpec",
            invalid.message.clone(),
            since,
            "a spec without this fault".to_owned(),
        ));
    }
    let aborted = status.conditions.iter().find(|one| one.reason == reasons::ROLLOUT_ABORTED);
    if let Some(aborted) = aborted.filter(|_| status.abort) {
        let since = status.aborted_at.as_ref().or(aborted.last_transition_time.as_ref());
        let ends = format!("{command} retry {name}, or {command} undo {name}, or a new version");
        return Some(wait("AfterAbort", aborted.message.clone(), since, ends));
    }
    if rollout.spec.paused == Some(true) {
        let message = "spec.paused is set".to_owned();
        return Some(wait("UserUnpause", message, None, format!("{command} promote {name}")));
    }
    let pause = status.pause_conditions.first()?;
    Some(told_pause(rollout, status, pause, &format!("{command} promote {name}")))
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
        (other, _) => ("UserPromotion", format!("paused for {other}")),
    };
    let until = until.filter(|_| kind == "PauseDuration").map(Time);
    let ends_with = match until {
        Some(_) => format!("the end of the pause, or {promote}"),
        None => promote.to_owned(),
    };
    Waiting { kind: kind.to_owned(), message, since, until, ends_with }
}
