//! R9: each part of an object has one writer. Of a Rollout's objects a controller writes only what is its own, and what
//! was measured stays.

use super::Write;
use crate::world::routes::is_route;
use crate::world::server::text;
use headgate_api::At;
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// What the server itself writes.
const NOBODYS: [&str; 2] = ["metadata/resourceVersion", "metadata/generation"];

/// For so long what was decided may go on.
const ACTS_ON: SignedDuration = SignedDuration::from_secs(2);

pub(super) fn check(write: &Write<'_>) -> Result<(), String> {
    let (Some(before), Some(after)) = (write.before, write.after) else { return Ok(()) };
    let (ours, what): (&[&[&str]], _) = match write.target.resource {
        // `spec.replicas` may be written once; rule 5 watches over the rest of the spec.
        ROLLOUTS => (&[&["status"], &["metadata", "annotations", "spec"]], "a Rollout"),
        REPLICA_SETS if is_adoption(before, after) => (&[&["metadata/ownerReferences"]], "a ReplicaSet"),
        REPLICA_SETS => (
            &[&[
                "metadata/annotations",
                "spec/replicas",
                "spec/minReadySeconds",
                "spec/template/spec/affinity",
                "spec/template/metadata/labels",
                "spec/template/metadata/annotations",
                "metadata/generation",
            ]],
            "a ReplicaSet",
        ),
        ANALYSIS_RUNS => (&[&["status"], &["spec/terminate"]], "an AnalysisRun"),
        _ => return Ok(()),
    };
    if !ours.iter().any(|parts| is_same_but(&[&NOBODYS, *parts].concat(), before, after)) {
        return Err(format!("of {what} more is changed than the part of one writer: {}", write.target.name));
    }
    if write.target.resource == ANALYSIS_RUNS { measurements_stay(before, after) } else { Ok(()) }
}

/// Of a Rollout that is being deleted nothing is moved any more once that is known, and what was decided before is done.
pub(super) fn of_deleted(write: &Write<'_>, since: Option<Timestamp>) -> Result<(), String> {
    let moves = write.target.resource == REPLICA_SETS || is_route(write.target.resource);
    let is_known = since.is_some_and(|since| write.known_until.duration_since(since) > ACTS_ON);
    if moves && is_known && write.process.is_some() {
        return Err(format!("{} is written, and the Rollout is being deleted", write.target.name));
    }
    Ok(())
}

/// A ReplicaSet that nobody controlled has got a Rollout as its controller, and keeps its other owners.
fn is_adoption(before: &Value, after: &Value) -> bool {
    let owners = |set: &Value| set.at("/metadata/ownerReferences").and_then(Value::as_array).cloned();
    let (known, now) = (owners(before).unwrap_or_default(), owners(after).unwrap_or_default());
    let controls = |owner: &Value| owner.get("controller") == Some(&Value::Bool(true));
    let added = now.strip_prefix(known.as_slice()).and_then(<[Value]>::first);
    !known.iter().any(controls)
        && now.len() == known.len() + 1
        && added.is_some_and(|owner| controls(owner) && text(owner, "/kind") == "Rollout")
}

/// Whether nothing differs but these parts.
fn is_same_but(parts: &[&str], before: &Value, after: &Value) -> bool {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return before == after };
    if parts.is_empty() {
        return before == after;
    }
    before.keys().chain(after.keys()).all(|field| {
        parts.contains(&field.as_str())
            || match (before.get(field), after.get(field)) {
                (Some(before), Some(after)) => {
                    let inside =
                        parts.iter().filter_map(|part| part.strip_prefix(field.as_str())?.strip_prefix('/'));
                    let parts: Vec<&str> = inside.collect();
                    is_same_but(&parts, before, after)
                }
                _ => false,
            }
    })
}

/// A finished measurement is not written again; the oldest ones may be dropped.
fn measurements_stay(before: &Value, after: &Value) -> Result<(), String> {
    let results = |run: &Value| run.at("/status/metricResults").and_then(Value::as_array).cloned();
    for known in results(before).into_iter().flatten() {
        let name = text(&known, "/name");
        let now = results(after).into_iter().flatten().find(|result| text(result, "/name") == name);
        let (known, now) = (finished(&known), finished(now.as_ref().unwrap_or(&Value::Null)));
        let kept =
            (0..=known.len()).any(|dropped| known.get(dropped..).is_some_and(|rest| now.starts_with(rest)));
        if !kept || now.is_empty() && !known.is_empty() {
            return Err(format!("measurements of metric {name:?} are written again"));
        }
    }
    Ok(())
}

fn finished(result: &Value) -> Vec<Value> {
    let all = result.get("measurements").and_then(Value::as_array).into_iter().flatten();
    all.filter(|measurement| !text(measurement, "/finishedAt").is_empty()).cloned().collect()
}
