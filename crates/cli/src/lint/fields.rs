//! Names and types of fields, by the schema of the CRDs.
//!
//! Where the schema keeps unknown fields (pod templates: a newer Kubernetes may know more) an unknown one is a warning;
//! elsewhere kubectl and the API server refuse it.

use super::suggest::suggestion;
use super::{Notes, text};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The schemas of the kinds of the API.
pub(super) struct Schemas(BTreeMap<String, JSONSchemaProps>);

impl Schemas {
    /// Those of this version.
    pub(super) fn new() -> Self {
        let schema_of = |crd: CustomResourceDefinition| {
            let schema = crd.spec.versions.into_iter().next()?.schema?.open_api_v3_schema?;
            Some((crd.spec.names.kind, schema))
        };
        Self(headgate_api::crds().into_iter().filter_map(schema_of).collect())
    }

    /// Whether this is one of the kinds.
    pub(super) fn knows(&self, kind: &str) -> bool {
        self.0.contains_key(kind)
    }

    /// Holds the `spec` of an object against its schema. The status is the controller's.
    pub(super) fn check(&self, object: &Value, notes: &mut Notes) {
        let (Some(schema), Some(fields)) = (self.0.get(text(object, "/kind")), object.as_object()) else {
            return;
        };
        for name in fields.keys() {
            if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&name.as_str()) {
                notes.error(name.as_str(), unknown(name, ["metadata", "spec"].into_iter()));
            }
        }
        match (fields.get("spec"), schema.properties.as_ref().and_then(|properties| properties.get("spec"))) {
            (Some(spec), Some(schema)) => value(spec, schema, "spec", notes),
            (None, Some(_)) => notes.error("spec", "Required value: the object has no spec"),
            (_, None) => {}
        }
    }
}

fn value(written: &Value, schema: &JSONSchemaProps, path: &str, notes: &mut Notes) {
    if let Some(wanted) = mismatch(written, schema) {
        let found = written.to_string();
        let shown: String = found.chars().take(60).collect();
        return notes.error(path, format!("Invalid value: {shown}: must be {wanted}"));
    }
    match written {
        Value::Object(fields) => object(fields, schema, path, notes),
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    value(item, schema, &format!("{path}[{index}]"), notes);
                }
            }
        }
        _ => {}
    }
}

fn object(fields: &Map<String, Value>, schema: &JSONSchemaProps, path: &str, notes: &mut Notes) {
    for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
        notes.error(format!("{path}.{name}"), "Required value: it is missing");
    }
    let values = match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        _ => None,
    };
    let keeps_all = schema.x_kubernetes_preserve_unknown_fields == Some(true);
    let known = schema.properties.as_ref();
    for (name, field) in fields {
        let path = format!("{path}.{name}");
        match (known.and_then(|known| known.get(name)), values, known) {
            (Some(schema), ..) => value(field, schema, &path, notes),
            (None, Some(schema), _) => value(field, schema, &path, notes),
            (None, None, Some(known)) if keeps_all => lenient(name, known.keys(), &path, notes),
            (None, None, None) if keeps_all => {}
            (None, None, known) => {
                let names = known.into_iter().flat_map(|known| known.keys().map(String::as_str));
                notes.error(path, unknown(name, names));
            }
        }
    }
}

/// A field that a newer Kubernetes may know. Metadata have many more than what a pod template uses.
fn lenient<'a>(name: &str, known: impl Iterator<Item = &'a String>, path: &str, notes: &mut Notes) {
    let meant = suggestion(name, known.map(String::as_str));
    match meant {
        Some(meant) => notes.warning(path, format!("unknown field: did you mean {meant:?}?")),
        None if path.contains(".metadata.") => {}
        None => {
            notes.warning(path, "unknown field: the pods are made without it, unless the cluster knows more");
        }
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match suggestion(name, known) {
        Some(meant) => format!("unknown field: did you mean {meant:?}?"),
        None => "unknown field: remove it, or correct its name or place".to_owned(),
    }
}

/// What belongs here, when it is something else. `null` counts as absent.
fn mismatch(written: &Value, schema: &JSONSchemaProps) -> Option<&'static str> {
    if written.is_null() {
        return None;
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        return (!written.is_string() && !is_whole(written)).then_some("a whole number or a text");
    }
    let (fits, wanted) = match schema.type_.as_deref()? {
        "object" => (written.is_object(), "an object"),
        "array" => (written.is_array(), "a list"),
        "string" => (written.is_string(), "a text: write it in quotes"),
        "boolean" => (written.is_boolean(), "true or false"),
        "integer" => (is_whole(written), "a whole number"),
        "number" => (written.is_number(), "a number"),
        _ => (true, ""),
    };
    (!fits).then_some(wanted)
}

fn is_whole(written: &Value) -> bool {
    written.is_i64() || written.is_u64()
}
