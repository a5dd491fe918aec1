//! R2: each change of an object says on which state of it it was decided, and is refused when the object is in another.

use super::Write;
use crate::world::server::text;
use headgate_driver::io::{Call, ObjectRef, Patch};
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS};
use serde_json::Value;

/// A request without its guards.
pub(super) fn sent(call: &Call) -> Result<(), String> {
    let missing = match call {
        Call::Delete { target, uid } | Call::Evict { target, uid } if uid.is_empty() => {
            Some((target, "the uid"))
        }
        Call::Patch { target, patch: Patch::Json(operations), .. } => {
            let is_guarded = tests(operations).any(|(path, _)| path == "/metadata/uid")
                && written(operations).all(|path| tests(operations).any(|(tested, _)| tested == path));
            (!is_guarded).then_some((target, "a test"))
        }
        Call::Patch { target, status, patch: Patch::Merge(body) } => {
            unguarded(target, *status, body).map(|guard| (target, guard))
        }
        Call::Delete { .. }
        | Call::Evict { .. }
        | Call::Get(_)
        | Call::List { .. }
        | Call::Create { .. }
        | Call::Measure { .. }
        | Call::Notify { .. } => None,
    };
    match missing {
        Some((target, guard)) => {
            Err(format!("{} {} is changed without {guard}", target.resource.kind, target.name))
        }
        None => Ok(()),
    }
}

fn unguarded(target: &ObjectRef, status: bool, body: &Value) -> Option<&'static str> {
    let has = |field: &str| !text(body, &format!("/metadata/{field}")).is_empty();
    // Only the end of a run may be ordered whatever the run has written meanwhile.
    let is_order = target.resource == ANALYSIS_RUNS && !status && body.get("status").is_none();
    match target.resource {
        _ if !has("resourceVersion") && !is_order => Some("the resource version"),
        resource if (resource == REPLICA_SETS || resource.group == ANALYSIS_RUNS.group) && !has("uid") => {
            Some("the uid")
        }
        _ => None,
    }
}

/// A request that was carried out although its guard says no.
pub(super) fn check(write: &Write<'_>) -> Result<(), String> {
    let Some(before) = write.before else { return Ok(()) };
    let held = match write.call {
        Call::Patch { patch: Patch::Merge(body), .. } => {
            ["resourceVersion", "uid"].into_iter().all(|field| {
                let guard = text(body, &format!("/metadata/{field}"));
                guard.is_empty() || guard == text(before, &format!("/metadata/{field}"))
            })
        }
        Call::Patch { patch: Patch::Json(operations), .. } => {
            tests(operations).all(|(path, value)| before.pointer(path) == Some(value))
        }
        Call::Delete { uid, .. } => uid == text(before, "/metadata/uid"),
        // Pods look at that themselves.
        Call::Evict { .. }
        | Call::Get(_)
        | Call::List { .. }
        | Call::Create { .. }
        | Call::Measure { .. }
        | Call::Notify { .. } => true,
    };
    if held {
        return Ok(());
    }
    Err(format!(
        "{} {} is changed although it is not as it was when that was decided",
        write.target.resource.kind, write.target.name
    ))
}

fn tests(operations: &Value) -> impl Iterator<Item = (&str, &Value)> {
    of_kind(operations, "test")
        .filter_map(|operation| Some((text(operation, "/path"), operation.get("value")?)))
}

/// Paths that are written, but for members of maps.
fn written(operations: &Value) -> impl Iterator<Item = &str> {
    of_kind(operations, "replace").map(|operation| text(operation, "/path"))
}

/// The value of the operation of this kind on this path in a JSON patch.
pub(super) fn value_of<'a>(operations: &'a Value, kind: &'a str, path: &str) -> Option<&'a Value> {
    of_kind(operations, kind).find(|operation| text(operation, "/path") == path)?.get("value")
}

fn of_kind<'a>(operations: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = operations.as_array().into_iter().flatten();
    all.filter(move |operation| text(operation, "/op") == kind)
}
