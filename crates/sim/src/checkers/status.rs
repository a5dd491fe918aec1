//! What the status counts, and the times of its conditions: kubectl, autoscalers and dashboards read them.

use super::Write;
use super::conditions;
use super::view::{View, rollout};
use crate::world::server::{Server, number, text};
use headgate_api::At;
use headgate_driver::resources::ROLLOUTS;
use serde_json::Value;
use std::collections::BTreeSet;

/// A condition stands once, and its transition is when its status changed last: never at another time.
pub(super) fn check(write: &Write<'_>) -> Result<(), String> {
    let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
        return Ok(());
    };
    let mut types = BTreeSet::new();
    for condition in conditions::all(after) {
        let type_ = text(condition, "/type");
        if !types.insert(type_) {
            return Err(format!("the condition {type_} stands twice"));
        }
        let changed_at = text(condition, "/lastTransitionTime");
        let Some(known) = conditions::of_type(before, type_) else { continue };
        let is_same = text(known, "/status") == text(condition, "/status");
        if is_same && text(known, "/lastTransitionTime") != changed_at {
            return Err(format!(
                "the condition {type_} has not changed, and its transition goes from {} to {changed_at}",
                text(known, "/lastTransitionTime")
            ));
        }
        // How long something fails counts from an earlier time than that of the condition that says so.
        if !is_same && text(condition, "/lastUpdateTime") > changed_at {
            return Err(format!("the condition {type_} has changed, and its transition is of {changed_at}"));
        }
    }
    Ok(())
}

/// At rest the status counts what the ReplicaSets report.
pub(super) fn end(server: &Server, view: &View) -> Result<(), String> {
    let Some((_, rollout)) = rollout(server) else { return Ok(()) };
    if rollout.at("/spec/strategy/blueGreen").is_some() || !view.is_observed {
        return Ok(());
    }
    let sum = |of: fn(&super::view::Set) -> i64| view.sets.iter().map(of).sum::<i64>();
    let newest = view.sets.iter().filter(|set| set.hash == view.current);
    for (field, counted) in [
        ("replicas", sum(|set| set.current)),
        ("HPAReplicas", sum(|set| set.current)),
        ("readyReplicas", sum(|set| set.ready)),
        ("availableReplicas", sum(|set| set.available_reported)),
        ("updatedReplicas", newest.map(|set| set.current).sum()),
    ] {
        let told = number(rollout, &format!("/status/{field}"));
        if told != counted {
            return Err(format!("status.{field} is {told}, and the ReplicaSets report {counted}"));
        }
    }
    let Some(labels) = rollout.at("/spec/selector/matchLabels").and_then(Value::as_object) else {
        return Ok(());
    };
    let wanted = labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let (wanted, told) = (wanted.collect::<Vec<_>>().join(","), text(rollout, "/status/selector"));
    if told == wanted { Ok(()) } else { Err(format!("status.selector is {told:?}, and not {wanted:?}")) }
}
