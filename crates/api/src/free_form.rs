//! Schemas of fields whose content isn't ours to know.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Any JSON value, kept as it is.
pub(crate) fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// An object with any content, kept as it is.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A word of a status: a plain string, so that another version's words are accepted.
pub(crate) fn optional_text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}
