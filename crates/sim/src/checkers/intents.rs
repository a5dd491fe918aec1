//! Rule 5: what the user has stored is not overwritten before it is consumed, and the spec is the user's.

use super::Write;
use crate::world::server::text;
use headgate_driver::resources::ROLLOUTS;
use serde_json::{Value, json};

pub(super) fn check(write: &Write<'_>) -> Result<(), String> {
    let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
        return Ok(());
    };
    spec_is_kept(before, after)?;
    let moved_on = ["/status/currentPodHash", "/status/currentStepHash"]
        .iter()
        .any(|field| text(before, field) != text(after, field));
    let settled = text(after, "/status/stableRS") == text(after, "/status/currentPodHash");
    let is = |object: &Value, field: &str| object.pointer(field) == Some(&Value::Bool(true));
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
    let same_step = before.pointer("/status/currentStepIndex") == after.pointer("/status/currentStepIndex");
    let paused_again = pauses(after).contains(&"CanaryPauseStep");
    if resumed && same_step && paused_again && !is(after, "/status/abort") {
        return Err("a promotion is overwritten: the pause that the user has ended is back".to_owned());
    }
    Ok(())
}

fn spec_is_kept(before: &Value, after: &Value) -> Result<(), String> {
    let mut expected = before.get("spec").cloned().unwrap_or_default();
    if let (Some(spec), None, Some(replicas)) =
        (expected.as_object_mut(), before.pointer("/spec/replicas"), after.pointer("/spec/replicas"))
    {
        spec.insert("replicas".to_owned(), replicas.clone());
    }
    let labels = |object: &Value| object.pointer("/metadata/labels").cloned().unwrap_or(json!({}));
    if after.get("spec") != Some(&expected) || labels(before) != labels(after) {
        return Err("the Rollout's spec or labels are changed".to_owned());
    }
    Ok(())
}

fn pauses(rollout: &Value) -> Vec<&str> {
    let list = rollout.pointer("/status/pauseConditions").and_then(Value::as_array).into_iter().flatten();
    list.map(|pause| text(pause, "/reason")).collect()
}
