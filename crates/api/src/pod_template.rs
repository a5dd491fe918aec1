//! Schemas of the parts that belong to Kubernetes: pod templates and the specs of Jobs.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A pod template.
pub(crate) fn pod_template_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// The spec of a Job.
pub(crate) fn job_spec_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// The metadata of a pod template or Job: labels and annotations.
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
