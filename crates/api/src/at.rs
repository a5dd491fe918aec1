//! A part of an object in JSON, by its path.

use serde_json::Value;

/// Access by paths that we write ourselves.
pub trait At {
    /// The value at a path such as `/spec/strategy/canary/steps/0`: as [`Value::pointer`], but without escapes, so that nothing
    /// is allocated on the way. `None` when it is not there. A path from outside needs [`Value::pointer`].
    fn at(&self, path: &str) -> Option<&Value>;
}

impl At for Value {
    fn at(&self, path: &str) -> Option<&Value> {
        path.split('/').skip(1).try_fold(self, |value, part| match value {
            Value::Object(fields) => fields.get(part),
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_where_a_pointer_does() {
        let object = json!({ "a": { "b": [1, { "c": 2 }] }, "d": null, "": 3 });
        for path in [
            "", "/", "/a", "/a/b", "/a/b/0", "/a/b/1/c", "/a/b/2", "/a/b/x", "/a/x", "/d", "/d/e", "/a/b/0/c",
        ] {
            assert_eq!(object.at(path), object.pointer(path), "{path}");
        }
    }
}
