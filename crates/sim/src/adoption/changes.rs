//! What differs between an object as it was and as it is.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// True of a change of a field that only Headgate has.
pub fn is_ours(change: &str) -> bool {
    ["/status/headgate:", "/status/waiting:"].iter().any(|ours| change.starts_with(ours))
}

/// Fields that differ, with what they were and are. The server's own counter is none of them.
pub fn changes(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(before, after, "", &mut found);
    found.retain(|change| !change.starts_with("/metadata/resourceVersion:"));
    found
}

fn compare(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    let (one, other) = (by_type(before), by_type(after));
    match (one.as_ref().unwrap_or(before), other.as_ref().unwrap_or(after)) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                compare(&of(one), &of(other), &format!("{path}/{key}"), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(one, other, &format!("{path}/{index}"), found);
            }
        }
        _ if before != after => found.push(format!("{path}: {before} -> {after}")),
        _ => {}
    }
}

/// Conditions are told apart by their types, not by their places.
fn by_type(conditions: &Value) -> Option<Value> {
    let entry = |condition: &Value| Some((condition.get("type")?.as_str()?.to_owned(), condition.clone()));
    let entries: Option<Map<String, Value>> = conditions.as_array()?.iter().map(entry).collect();
    entries.filter(|entries| !entries.is_empty()).map(Value::Object)
}
