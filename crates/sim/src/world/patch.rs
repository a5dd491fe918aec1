//! The two patches that the API server takes.

use serde_json::{Map, Value};

/// A patch operation that cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit(pub String);

/// Merges as RFC 7386 says.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
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

/// Applies RFC 6902's `test`, `add`, `replace` and `remove` on members of objects.
///
/// # Errors
/// A test that fails, a place that is not there, another operation.
pub fn apply(target: &mut Value, operations: &Value) -> Result<(), Unfit> {
    for operation in operations.as_array().into_iter().flatten() {
        let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
        let value = operation.get("value").cloned().unwrap_or_default();
        let name = operation.get("op").and_then(Value::as_str).unwrap_or_default();
        let missing = || Unfit(format!("{name} of {path}: it is not there"));
        match name {
            "test" if target.pointer(path) == Some(&value) => {}
            "test" => return Err(Unfit(format!("test of {path} failed"))),
            "replace" => *target.pointer_mut(path).ok_or_else(missing)? = value,
            "add" | "remove" => {
                let (parent, member) = path.rsplit_once('/').ok_or_else(missing)?;
                let parent = target.pointer_mut(parent).and_then(Value::as_object_mut).ok_or_else(missing)?;
                let member = member.replace("~1", "/").replace("~0", "~");
                if name == "add" {
                    parent.insert(member, value);
                } else {
                    parent.remove(&member).ok_or_else(missing)?;
                }
            }
            _ => return Err(Unfit(format!("operation {name:?} is not known"))),
        }
    }
    Ok(())
}
