//! Schemas of the parts that belong to Kubernetes: pod templates and the specs of Jobs.
//!
//! They guide `kubectl explain` and editors to the names and types of fields, and refuse next to nothing: the
//! pods are checked by the API server when they are created, by its own and newer rules. So every object keeps
//! unknown fields, nothing is required, there are no defaults, and quantities and volumes may be anything, as
//! with the CRDs of Argo Rollouts. Descriptions are left out: they would make each CRD too large for a plain
//! `kubectl apply` (its annotation holds 262144 bytes).

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// A pod template.
pub(crate) fn pod_template_schema(_: &mut SchemaGenerator) -> Schema {
    lenient_schema_of::<PodTemplateSpec>()
}

/// The spec of a Job.
pub(crate) fn job_spec_schema(_: &mut SchemaGenerator) -> Schema {
    lenient_schema_of::<JobSpec>()
}

/// The metadata of a pod template or Job: labels and annotations; other fields are kept.
pub(crate) fn metadata_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            "annotations": { "type": "object", "additionalProperties": { "type": "string" } },
        },
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

fn lenient_schema_of<T: JsonSchema>() -> Schema {
    let mut generator = SchemaSettings::default().into_generator();
    let root = T::json_schema(&mut generator).to_value();
    let definitions = generator.take_definitions(false);
    Schema::try_from(lenient(&root, &definitions)).unwrap_or_default()
}

/// Names and types of a schema, with its references filled in.
fn lenient(schema: &Value, definitions: &Map<String, Value>) -> Value {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return match name {
            // `cpu: 1`, `cpu: 0.5` and `memory: 1Gi` are all written.
            "io.k8s.apimachinery.pkg.api.resource.Quantity" => json!({ PRESERVE_UNKNOWN: true }),
            // Large, and best explained by `kubectl explain pod.spec` where they are at home.
            "io.k8s.api.core.v1.Volume"
            | "io.k8s.api.core.v1.EphemeralContainer"
            | "io.k8s.api.core.v1.Lifecycle"
            | "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector" => {
                json!({ "type": "object", PRESERVE_UNKNOWN: true })
            }
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" => {
                metadata_schema(&mut SchemaGenerator::default()).to_value()
            }
            _ => definitions.get(name).map_or_else(
                || json!({ PRESERVE_UNKNOWN: true }),
                |definition| lenient(definition, definitions),
            ),
        };
    }
    let mut kept = Map::new();
    for key in ["type", "x-kubernetes-int-or-string", PRESERVE_UNKNOWN] {
        if let Some(value) = schema.get(key) {
            kept.insert(key.to_owned(), value.clone());
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(value) = schema.get(key) {
            kept.insert(key.to_owned(), lenient(value, definitions));
        }
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let properties: Map<String, Value> = properties
            .iter()
            .map(|(name, property)| (name.clone(), lenient(property, definitions)))
            .collect();
        kept.insert("properties".to_owned(), Value::Object(properties));
        kept.insert(PRESERVE_UNKNOWN.to_owned(), Value::Bool(true));
    }
    Value::Object(kept)
}

const PRESERVE_UNKNOWN: &str = "x-kubernetes-preserve-unknown-fields";
