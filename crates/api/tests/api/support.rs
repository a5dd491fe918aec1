//! Manifests, and the API server's view of them by our schemas.

use headgate_api::{AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Experiment, Rollout, crds};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::OnceLock;

const FIXTURES: [&str; 5] = [
    include_str!("../fixtures/canary.yaml"),
    include_str!("../fixtures/blue-green.yaml"),
    include_str!("../fixtures/analysis.yaml"),
    include_str!("../fixtures/experiment.yaml"),
    include_str!("../fixtures/recorded.yaml"),
];

/// All manifests of the fixtures.
pub(crate) fn manifests() -> Vec<Value> {
    let mut manifests: Vec<Value> =
        FIXTURES.iter().flat_map(|text| serde_saphyr::from_multiple::<Value>(text).unwrap()).collect();
    let metrics = named(&manifests, "AnalysisRun")["spec"]["metrics"].clone();
    let mut template = named(&manifests, "AnalysisTemplate").clone();
    template["spec"]["metrics"] = metrics;
    manifests.push(template.clone());
    template["kind"] = "ClusterAnalysisTemplate".into();
    manifests.push(template);
    manifests
}

/// The fixture of a kind that has every field.
fn named<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    manifests.iter().find(|m| m["kind"] == kind && m["metadata"]["name"] == "everything").unwrap()
}

/// The schemas by kind, as JSON.
pub(crate) fn schemas() -> &'static BTreeMap<String, Value> {
    static SCHEMAS: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        crds()
            .iter()
            .map(|crd| {
                let schema =
                    crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
                (crd.spec.names.kind.clone(), serde_json::to_value(schema).unwrap())
            })
            .collect()
    })
}

/// JSON → our type → JSON.
pub(crate) fn through_types(manifest: &Value) -> Value {
    fn through<T: serde::Serialize + serde::de::DeserializeOwned>(manifest: &Value) -> Value {
        let typed: T =
            serde_json::from_value(manifest.clone()).unwrap_or_else(|error| panic!("{error}: {manifest:#}"));
        serde_json::to_value(typed).unwrap()
    }
    match manifest["kind"].as_str().unwrap() {
        "Rollout" => through::<Rollout>(manifest),
        "AnalysisRun" => through::<AnalysisRun>(manifest),
        "AnalysisTemplate" => through::<AnalysisTemplate>(manifest),
        "ClusterAnalysisTemplate" => through::<ClusterAnalysisTemplate>(manifest),
        "Experiment" => through::<Experiment>(manifest),
        kind => panic!("no kind of ours: {kind}"),
    }
}

/// What the API server stores of a value: fields that the schema doesn't know are dropped, unless it says that
/// they are kept.
pub(crate) fn pruned(value: &Value, schema: &Value) -> Value {
    let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
    match value {
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (name, field) in fields {
                let known = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                match known {
                    Some(Value::Bool(_)) => _ = kept.insert(name.clone(), field.clone()),
                    Some(known) => _ = kept.insert(name.clone(), pruned(field, known)),
                    None if keeps => _ = kept.insert(name.clone(), field.clone()),
                    None => {}
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => match schema.get("items") {
            Some(schema) => Value::Array(items.iter().map(|item| pruned(item, schema)).collect()),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

/// The same for a whole manifest, whose metadata the API server knows by itself.
pub(crate) fn pruned_manifest(manifest: &Value) -> Value {
    let schema = &schemas()[manifest["kind"].as_str().unwrap()];
    let mut kept = manifest.clone();
    for part in ["spec", "status"] {
        if let Some(value) = manifest.get(part) {
            kept[part] = pruned(value, &schema["properties"][part]);
        }
    }
    kept
}
