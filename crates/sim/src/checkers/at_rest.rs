//! Where a release rests at a pause, its routes show the weight of its steps, and its versions have their pods.

use super::view::{Set, rollout};
use super::{View, settled};
use crate::world::server::{Server, text};
use headgate_api::{At, PauseCondition};
use serde_json::Value;

/// What is to be held against a release that rests.
pub(super) fn check(server: &Server, view: &View) -> Result<(), String> {
    let Some((_, rollout)) = rollout(server).filter(|(_, rollout)| rests(rollout, view)) else {
        return Ok(());
    };
    let Some(canary) = rollout.at("/spec/strategy/canary") else { return Ok(()) };
    let begun = begun(rollout, canary);
    let weight = begun.iter().rev().find_map(|step| step.get("setWeight")?.as_i64()).unwrap_or(0);
    if (view.canary_weight_least, view.canary_weight) != (Some(weight), Some(weight)) {
        return Err(format!(
            "the release rests where the canary is to get {weight}, and it gets {:?} to {:?}",
            view.canary_weight_least, view.canary_weight
        ));
    }
    let wanted = |hash: &str| view.sets.iter().filter(|set| set.hash == *hash).map(|set| set.replicas).sum();
    let (has_canary, has_stable): (i64, i64) = (wanted(&view.current), wanted(&view.stable));
    let for_canary = scale(begun, view).unwrap_or_else(|| view.needed(weight));
    if has_canary < for_canary {
        return Err(format!("the release rests, and the canary has {has_canary} pods of {for_canary}"));
    }
    let is_dynamic = canary.get("dynamicStableScale") == Some(&Value::Bool(true));
    let for_stable = if is_dynamic { view.needed(view.names.total - weight) } else { view.desired };
    if has_stable < for_stable || !is_dynamic && has_stable > for_stable {
        return Err(format!("the release rests, and stable has {has_stable} pods of {for_stable}"));
    }
    Ok(())
}

/// True for a release with a router in the pause of a step, which nothing else holds, and whose pods are all there.
fn rests(rollout: &Value, view: &View) -> bool {
    let pauses = rollout.at("/status/pauseConditions").and_then(Value::as_array);
    let is_step = |pause: &Value| text(pause, "/reason") == PauseCondition::CANARY_PAUSE_STEP;
    let is_paused = pauses.is_some_and(|pauses| !pauses.is_empty() && pauses.iter().all(is_step));
    let is_release = !view.stable.is_empty() && view.stable != view.current;
    let has_all = |set: &Set| set.available == set.replicas;
    // Who took over from a version without pods has got what that one had.
    let serves = |hash: &str| view.available(hash) > 0;
    let is_canary = view.canary_selects.as_ref() == Some(&view.current);
    is_paused
        && is_release
        && is_canary
        && !view.is_paused
        && !settled::holds(rollout)
        && !view.is_aborted
        && view.is_observed
        && view.is_routed
        && view.desired > 0
        && !view.is_invalid
        && view.sets.iter().all(has_all)
        && serves(&view.stable)
        && serves(&view.current)
}

/// The steps that have begun.
fn begun<'a>(rollout: &Value, canary: &'a Value) -> &'a [Value] {
    let steps = canary.get("steps").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let index = rollout.at("/status/currentStepIndex").and_then(Value::as_u64).unwrap_or(0);
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    steps.get(..=index).unwrap_or(steps)
}

/// The pods that the last `setCanaryScale` asks for; `None` where they go with the weight.
fn scale(begun: &[Value], view: &View) -> Option<i64> {
    let scale = begun.iter().rev().find_map(|step| step.get("setCanaryScale"))?;
    let field = |name: &str| scale.get(name).and_then(Value::as_i64);
    field("replicas").or_else(|| field("weight").map(|weight| view.needed(weight)))
}
