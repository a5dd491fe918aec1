//! Rule 5: what the user has stored is not overwritten before it is consumed, and the spec is the user's.

use super::Write;
use super::conditions;
use crate::world::server::{number, text};
use headgate_api::At;
use headgate_api::DurationOrSeconds;
use headgate_driver::resources::ROLLOUTS;
use headgate_model::template::pod_template_hash;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn check(write: &Write<'_>) -> Result<(), String> {
    let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
        return Ok(());
    };
    spec_is_kept(before, after)?;
    bound_to_version(before, after)?;
    let moved_on = ["/status/currentPodHash", "/status/currentStepHash"]
        .iter()
        .any(|field| text(before, field) != text(after, field));
    let settled = text(after, "/status/stableRS") == text(after, "/status/currentPodHash");
    let is = |object: &Value, field: &str| object.at(field) == Some(&Value::Bool(true));
    if moved_on || settled {
        return Ok(());
    }
    if is(before, "/status/abort") && !is(after, "/status/abort") && !is(before, "/status/promoteFull") {
        return Err("status.abort is taken away although nobody asked for that".to_owned());
    }
    if is(before, "/status/promoteFull") && !is(after, "/status/promoteFull") && !is(after, "/status/abort") {
        return Err("status.promoteFull is taken away although the version is not stable".to_owned());
    }
    let resumed = is(before, "/status/controllerPause") && pauses(before).is_empty();
    let same_step = before.at("/status/currentStepIndex") == after.at("/status/currentStepIndex");
    let paused_again = pauses(after).contains(&"CanaryPauseStep");
    if resumed && same_step && paused_again && !is(after, "/status/abort") {
        return Err("a promotion is overwritten: the pause that the user has ended is back".to_owned());
    }
    Ok(())
}

/// What the user has asked for is for the version that the record named then: it does not pass to the next one.
fn bound_to_version(before: &Value, after: &Value) -> Result<(), String> {
    let is = |object: &Value, field: &str| object.at(field) == Some(&Value::Bool(true));
    let version = |object| text(object, "/status/currentPodHash");
    let stable = |object| text(object, "/status/stableRS");
    if version(before).is_empty() || version(before) == version(after) || is_renamed(before, after) {
        return step_by_step(before, after);
    }
    for field in ["/status/abort", "/status/promoteFull"] {
        // A version that comes back is aborted by Headgate itself, at once, where its pods are known to be bad.
        if is(before, field) && is(after, field) {
            return Err(format!("{field} passes from version {} to {}", version(before), version(after)));
        }
    }
    let is_promoted = stable(after) == version(after) && stable(before) != version(after);
    let index = number(after, "/status/currentStepIndex");
    let is_rollback = after.at("/spec/rollbackWindow").is_some() || stable(after) == version(after);
    // A first step that is as it should be ends at once.
    if index > 1 && !is_promoted && !is_rollback {
        return Err(format!("version {} begins at step {index}", version(after)));
    }
    Ok(())
}

/// True when the version is still the same, and something else had the name of its ReplicaSet, or had one when the version
/// was made last and its ReplicaSet is to be made again.
pub(super) fn is_renamed(before: &Value, after: &Value) -> bool {
    let count = i32::try_from(number(before, "/status/collisionCount")).unwrap_or(0);
    let is_former = match after.at("/spec/template") {
        Some(template) => {
            let mut former = std::iter::once(None).chain((1..count).map(Some));
            former.any(|count| pod_template_hash(template, count) == text(before, "/status/currentPodHash"))
        }
        // Its template is another object's, which has not changed.
        None => {
            let generation = |object| text(object, "/status/workloadObservedGeneration");
            generation(before) == generation(after)
        }
    };
    count > 0 && is_former
}

/// Steps end one by one, unless the user asks for the end or moves on himself.
fn step_by_step(before: &Value, after: &Value) -> Result<(), String> {
    let is = |object: &Value, field: &str| object.at(field) == Some(&Value::Bool(true));
    let index = |object| number(object, "/status/currentStepIndex");
    let same_steps = text(before, "/status/currentStepHash") == text(after, "/status/currentStepHash");
    let is_out = text(after, "/status/stableRS") == text(after, "/status/currentPodHash");
    // An aborted rollback that is tried again may lie within the window by now, because old ReplicaSets were cleaned up.
    let is_retried =
        !text(before, "/status/abortedAt").is_empty() && text(after, "/status/abortedAt").is_empty();
    let is_rollback = is_retried && after.at("/spec/rollbackWindow").is_some();
    if !same_steps || is_out || is_rollback || is(before, "/status/promoteFull") {
        return Ok(());
    }
    if index(after) > index(before) + 1 {
        return Err(format!("from step {} to step {} at once", index(before), index(after)));
    }
    let step = before.at(&format!("/spec/strategy/canary/steps/{}/pause", index(before)));
    let has_end = step.is_none_or(|pause| {
        pause.get("duration").is_some()
            || text(pause, "/onTimeout") == "promote" && is_over(before, after, pause)
    });
    let is_held = pauses(before).contains(&"CanaryPauseStep");
    if index(after) > index(before) && !has_end && is_held {
        return Err(format!("step {}, a pause without an end, ends by itself", index(before)));
    }
    Ok(())
}

/// True when the pause has lasted for its `maxDuration`, by the clock of whoever decides: it notes when it last looked.
fn is_over(before: &Value, after: &Value, pause: &Value) -> bool {
    let time = |object: &Value, field: &str| text(object, field).parse::<Timestamp>().ok();
    let longest = pause
        .get("maxDuration")
        .and_then(|written| DurationOrSeconds::deserialize(written).ok()?.parse().ok());
    let due = time(before, "/status/pauseConditions/0/startTime")
        .zip(longest)
        .and_then(|(since, longest)| since.checked_add(longest).ok());
    let looked_at = conditions::all(after).filter_map(|one| time(one, "/lastUpdateTime")).max();
    due.is_some_and(|due| looked_at.is_some_and(|at| due <= at))
}

fn spec_is_kept(before: &Value, after: &Value) -> Result<(), String> {
    let mut expected = before.get("spec").cloned().unwrap_or_default();
    if let (Some(spec), None, Some(replicas)) =
        (expected.as_object_mut(), before.at("/spec/replicas"), after.at("/spec/replicas"))
    {
        spec.insert("replicas".to_owned(), replicas.clone());
    }
    let labels = |object: &Value| object.at("/metadata/labels").cloned().unwrap_or(json!({}));
    if after.get("spec") != Some(&expected) || labels(before) != labels(after) {
        return Err("the Rollout's spec or labels are changed".to_owned());
    }
    Ok(())
}

fn pauses(rollout: &Value) -> Vec<&str> {
    let list = rollout.at("/status/pauseConditions").and_then(Value::as_array).into_iter().flatten();
    list.map(|pause| text(pause, "/reason")).collect()
}
