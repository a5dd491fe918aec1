//! Reading single fields, and the words of Kubernetes' field errors.

use super::SpecProblem;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Display;

/// The field `key` of `object` in its type; `None` when it is absent or null.
pub(super) fn optional<T: DeserializeOwned>(
    object: &Value,
    path: &str,
    key: &str,
) -> Result<Option<T>, SpecProblem> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|error| invalid(&format!("{path}.{key}"), value, error.to_string())),
    }
}

/// `Required value: …`
pub(super) fn required(field: &str, how: impl Into<String>) -> SpecProblem {
    SpecProblem { field: field.to_owned(), problem: format!("Required value: {}", how.into()) }
}

/// `Invalid value: <value>: …`. Long values are cut.
pub(super) fn invalid(field: &str, value: impl Display, how: impl Into<String>) -> SpecProblem {
    let value = value.to_string();
    let shown: String = value.chars().take(200).collect();
    let dots = if shown.len() < value.len() { "…" } else { "" };
    SpecProblem { field: field.to_owned(), problem: format!("Invalid value: {shown}{dots}: {}", how.into()) }
}

/// `Forbidden: …` for what this version does not carry out yet.
pub(super) fn forbidden(field: &str, how: &str) -> SpecProblem {
    SpecProblem {
        field: field.to_owned(),
        problem: format!("Forbidden: not supported by this version of Headgate yet: {how}"),
    }
}
