//! The two patches that the API server takes.

use serde_json::{Map, Value};

/// Why a patch is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It does not fit the object: a test that fails, a place that is not there.
    Unfit(String),
    /// It is no patch.
    Malformed(String),
}

/// Merges as RFC 7386 says.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = as_stored(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (field, value) in fields {
        if value.is_null() {
            object.remove(field);
        } else {
            merge(object.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

/// A new value as the API server stores it: a merge drops members that are null, also within a list.
fn as_stored(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            there.map(|(field, value)| (field.clone(), as_stored(value))).collect()
        }
        Value::Array(items) => items.iter().map(as_stored).collect(),
        other => other.clone(),
    }
}

/// Applies RFC 6902's `test`, `add`, `replace` and `remove`; nobody here copies or moves. As in Kubernetes a member of
/// an object that is not there is null to a test, and `replace` adds it.
///
/// # Errors
/// A test that fails, a place that is not there, another operation.
pub fn apply(target: &mut Value, operations: &Value) -> Result<(), Problem> {
    let Some(operations) = operations.as_array() else {
        return Err(Problem::Malformed("a JSON patch is a list".to_owned()));
    };
    operations.iter().try_for_each(|operation| apply_one(target, operation))
}

fn apply_one(target: &mut Value, operation: &Value) -> Result<(), Problem> {
    let text = |field: &str| operation.get(field).and_then(Value::as_str).unwrap_or_default();
    let (name, path) = (text("op"), text("path"));
    let value = operation.get("value").unwrap_or(&Value::Null);
    let missing = || Problem::Unfit(format!("{name} of {path}: it is not there"));
    let (parent, member) = path.rsplit_once('/').ok_or_else(missing)?;
    let parent = target.pointer_mut(parent).ok_or_else(missing)?;
    let member = member.replace("~1", "/").replace("~0", "~");
    let done = match name {
        "test" if *found(parent, &member).ok_or_else(missing)? == *value => Some(()),
        "test" => return Err(Problem::Unfit(format!("test of {path} failed"))),
        "replace" => replace(parent, member, value),
        "add" => add(parent, member, value),
        "remove" => remove(parent, &member),
        _ => return Err(Problem::Unfit(format!("operation {name:?} is not known"))),
    };
    done.ok_or_else(missing)
}

fn found<'a>(parent: &'a Value, member: &str) -> Option<&'a Value> {
    match parent {
        Value::Object(fields) => Some(fields.get(member).unwrap_or(&Value::Null)),
        Value::Array(items) => items.get(member.parse::<usize>().ok()?),
        _ => None,
    }
}

fn replace(parent: &mut Value, member: String, value: &Value) -> Option<()> {
    match parent {
        Value::Object(fields) => {
            fields.insert(member, value.clone());
        }
        Value::Array(items) => *items.get_mut(member.parse::<usize>().ok()?)? = value.clone(),
        _ => return None,
    }
    Some(())
}

fn add(parent: &mut Value, member: String, value: &Value) -> Option<()> {
    match parent {
        Value::Object(fields) => {
            fields.insert(member, value.clone());
        }
        Value::Array(items) => {
            let index = if member == "-" { items.len() } else { member.parse().ok()? };
            (index <= items.len()).then(|| items.insert(index, value.clone()))?;
        }
        _ => return None,
    }
    Some(())
}

fn remove(parent: &mut Value, member: &str) -> Option<()> {
    match parent {
        Value::Object(fields) => fields.remove(member).map(|_| ()),
        Value::Array(items) => {
            let index = member.parse().ok().filter(|index| *index < items.len())?;
            items.remove(index);
            Some(())
        }
        _ => None,
    }
}
