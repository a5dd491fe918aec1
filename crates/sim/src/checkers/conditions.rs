//! The conditions of a Rollout's status.

use crate::world::server::text;
use headgate_api::At;
use serde_json::Value;

/// All of them.
pub(super) fn all(rollout: &Value) -> impl Iterator<Item = &Value> {
    rollout.at("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

/// The one of this type.
pub(super) fn of_type<'a>(rollout: &'a Value, type_: &str) -> Option<&'a Value> {
    all(rollout).find(|condition| text(condition, "/type") == type_)
}

/// The first one with this reason.
pub(super) fn for_reason<'a>(rollout: &'a Value, reason: &str) -> Option<&'a Value> {
    all(rollout).find(|condition| text(condition, "/reason") == reason)
}
