//! A bake lasts as long as the spec says, and the old version stands by with all its pods meanwhile.

use super::Write;
use super::conditions;
use super::view::{hash_of, is_recent_rollback, rollout};
use crate::world::server::{Server, number, text};
use headgate_api::At;
use headgate_api::DurationOrSeconds;
use headgate_api::conditions::types::COMPLETED;
use headgate_driver::resources::{REPLICA_SETS, ROLLOUTS};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// A record, or a size, is written. No more than `desired` pods were wanted at some time since the decision.
pub(super) fn check(write: &Write<'_>, server: &Server, desired: i64) -> Result<(), String> {
    match (write.target.resource, write.before, write.after) {
        (ROLLOUTS, Some(before), Some(after)) => lasts(before, after, server),
        (REPLICA_SETS, Some(before), Some(after)) => stands_by(before, after, server, desired),
        _ => Ok(()),
    }
}

/// A version that is to bake becomes stable no earlier than the record says, by the clock of whoever decides.
fn lasts(before: &Value, after: &Value, server: &Server) -> Result<(), String> {
    let of = |object: &Value, field: &str| text(object, &format!("/status/{field}")).to_owned();
    let (stable, current) = (of(before, "stableRS"), of(after, "currentPodHash"));
    let is_promoted = of(after, "stableRS") == current && stable != current;
    let is_of_same_version = of(before, "currentPodHash") == current;
    let is_forced = before.at("/status/promoteFull") == Some(&Value::Bool(true));
    // The only version that is left is stable at once. One that comes back has baked before.
    let has_stable = server.all(REPLICA_SETS).any(|(_, set)| hash_of(set) == stable);
    let is_exempt = is_forced || !has_stable || is_recent_rollback(before, (&stable, &current), server);
    let bake = before.at("/spec/strategy/canary/bake");
    let (Some(bake), true) = (bake, is_promoted && is_of_same_version && !is_exempt) else {
        return Ok(());
    };
    let since: Option<Timestamp> = text(before, "/status/headgate/bake/since").parse().ok();
    let begun = since.filter(|_| text(before, "/status/headgate/bake/hash") == current);
    let duration =
        bake.get("duration").and_then(|written| DurationOrSeconds::deserialize(written).ok()?.parse().ok());
    let due = begun.zip(duration).and_then(|(since, duration)| since.checked_add(duration).ok());
    let decided_at = conditions::of_type(after, COMPLETED);
    let decided_at: Option<Timestamp> =
        decided_at.and_then(|one| text(one, "/lastTransitionTime").parse().ok());
    match (due, decided_at) {
        (Some(due), Some(at)) if due <= at => Ok(()),
        _ => Err(format!("version {current} is promoted at {decided_at:?}, and is to bake until {due:?}")),
    }
}

fn stands_by(before: &Value, after: &Value, server: &Server, desired: i64) -> Result<(), String> {
    let Some((_, rollout)) = rollout(server) else { return Ok(()) };
    let stable = text(rollout, "/status/stableRS");
    let current = text(rollout, "/status/currentPodHash");
    let is_baking = text(rollout, "/status/headgate/bake/hash") == current && stable != current;
    let size = |set: &Value| number(set, "/spec/replicas");
    if is_baking && hash_of(after) == stable && size(after) < size(before).min(desired) {
        return Err(format!("stable is cut from {} to {} pods in a bake", size(before), size(after)));
    }
    Ok(())
}
