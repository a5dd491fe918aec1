//! Every field of a manifest written for Argo Rollouts survives our types and our CRDs.

use crate::support::{manifests, pruned_manifest, schemas, through_types};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

#[test]
fn every_field_of_the_fixtures_survives_our_types() {
    for manifest in manifests() {
        assert_equal(&without_what_go_omits(&through_types(&manifest)), &without_what_go_omits(&manifest));
    }
}

#[test]
fn every_field_of_a_spec_survives_our_types_with_zeros_and_empty_objects() {
    for manifest in manifests() {
        assert_equal(&through_types(&manifest)["spec"], &manifest["spec"]);
    }
}

#[test]
fn every_field_of_the_fixtures_survives_our_crds() {
    for manifest in manifests() {
        assert_equal(&pruned_manifest(&manifest), &manifest);
    }
}

#[test]
fn the_pruner_drops_what_no_schema_knows() {
    let mut manifest = manifests().remove(0);
    manifest["spec"]["invented"] = json!(1);
    assert_eq!(pruned_manifest(&manifest)["spec"].get("invented"), None);
}

/// If a field is missing here, add it to a fixture by hand: fixtures say what users write, schemas what we know.
#[test]
fn the_fixtures_have_every_field_of_the_schemas() {
    let mut written = BTreeSet::new();
    for manifest in manifests() {
        collect_paths(&manifest, manifest["kind"].as_str().unwrap(), &mut written);
    }
    let mut missing = Vec::new();
    for (kind, schema) in schemas() {
        for part in ["spec", "status"] {
            missing_fields(&schema["properties"][part], &format!("{kind}.{part}"), &written, &mut missing);
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn a_null_list_or_map_of_a_spec_is_an_empty_one() {
    let manifest = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "a"},
        "spec": {"selector": null, "strategy": {"canary": {
            "steps": null,
            "trafficRouting": {"plugins": null, "ambassador": {"mappings": null}},
            "canaryMetadata": {"labels": null},
        }}},
    });
    assert_equal(
        &through_types(&manifest)["spec"],
        &json!({"strategy": {"canary": {"trafficRouting": {"ambassador": {"mappings": []}}, "canaryMetadata": {}}}}),
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_manifest_by_our_schemas_survives_our_types_and_crds(seed in any::<u64>()) {
        for (kind, schema) in schemas() {
            let mut dice = Dice(seed);
            let mut manifest = json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": {"name": "any"},
                "spec": any_value(&schema["properties"]["spec"], "spec", &mut dice, 0),
            });
            if schema["properties"].get("status").is_some() {
                manifest["status"] = any_value(&schema["properties"]["status"], "status", &mut dice, 0);
            }
            assert_equal(&pruned_manifest(&manifest), &manifest);
            let through = through_types(&manifest);
            assert_equal(&through["spec"], &manifest["spec"]);
            assert_equal(&without_what_go_omits(&through), &without_what_go_omits(&manifest));
        }
    }

    #[test]
    fn no_status_makes_reading_fail(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        for kind in ["Rollout", "AnalysisRun", "Experiment"] {
            let schema = &schemas()[kind]["properties"]["status"];
            let mut status = any_value(schema, "status", &mut dice, 0);
            // The server sees to it that the status is an object.
            status.as_object_mut().unwrap().values_mut().for_each(|field| spoil(field, &mut dice));
            let manifest = json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": {"name": "any"},
                "spec": {"templates": [], "metrics": []}, "status": status,
            });
            through_types(&manifest);
        }
    }
}

#[test]
fn an_unreadable_field_of_a_status_hides_no_other() {
    let manifest = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "a"}, "spec": {},
        "status": {
            "phase": "Levitating", "abort": "yes", "stableRS": "abc", "canary": {"weights": {"canary": {"weight": "x"}}},
            "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "yesterday"}, 7],
        },
    });
    assert_equal(
        &through_types(&manifest)["status"],
        &json!({
            "stableRS": "abc",
            "canary": {"weights": {"canary": {"weight": 0}, "stable": {"weight": 0}}},
            "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": null}],
        }),
    );
}

#[test]
fn times_are_read_with_fractions_and_offsets_and_written_in_seconds() {
    let manifest = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "a"},
        "spec": {"restartAt": "2026-11-21T09:11:17.987+01:00"},
        "status": {"abortedAt": "2026-11-21T08:11:17.987654Z"},
    });
    let through = through_types(&manifest);
    assert_eq!(through["spec"]["restartAt"], "2026-11-21T08:11:17Z");
    assert_eq!(through["status"]["abortedAt"], "2026-11-21T08:11:17Z");
}

fn assert_equal(ours: &Value, wanted: &Value) {
    assert_eq!(differences(ours, wanted, ""), Vec::<String>::new());
}

/// The paths at which two values differ, and how.
fn differences(ours: &Value, wanted: &Value, path: &str) -> Vec<String> {
    match (ours, wanted) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let absent = Value::from("(absent)");
            names
                .into_iter()
                .flat_map(|name| {
                    let (a, b) = (a.get(name).unwrap_or(&absent), b.get(name).unwrap_or(&absent));
                    differences(a, b, &format!("{path}.{name}"))
                })
                .collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .flat_map(|(i, (a, b))| differences(a, b, &format!("{path}[{i}]")))
            .collect(),
        _ if ours == wanted => Vec::new(),
        _ => vec![format!("{path}: ours {ours}, wanted {wanted}")],
    }
}

/// Takes the zeros out of a status: Go leaves them out when writing, and so do we.
fn without_what_go_omits(manifest: &Value) -> Value {
    fn omit(value: &mut Value, of: &str) {
        match value {
            Value::Object(fields) => {
                fields.iter_mut().for_each(|(name, field)| omit(field, name));
                fields.retain(|name, field| match field {
                    Value::Null => false,
                    Value::Bool(flag) => *flag,
                    Value::Number(number) => number.as_f64() != Some(0.0),
                    Value::String(text) => !text.is_empty(),
                    Value::Array(items) => !items.is_empty(),
                    // A map, and the two destinations that are always there.
                    Value::Object(fields) => !(fields.is_empty() && (name == "metadata" || of == "weights")),
                });
            }
            Value::Array(items) => items.iter_mut().for_each(|item| omit(item, of)),
            _ => {}
        }
    }
    let mut manifest = manifest.clone();
    if let Some(status) = manifest.get_mut("status") {
        omit(status, "status");
    }
    manifest
}

fn collect_paths(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = format!("{path}.{name}");
                collect_paths(field, &path, paths);
                paths.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_paths(item, path, paths)),
        _ => {}
    }
}

/// The documented fields of a schema that no fixture has. Pod templates and specs of Jobs are Kubernetes' own.
fn missing_fields(schema: &Value, path: &str, written: &BTreeSet<String>, missing: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // Our own additions are in no manifest for Argo Rollouts.
        if name == "headgate" || name == "waiting" {
            continue;
        }
        if !written.contains(&path) {
            missing.push(path.clone());
        }
        if name != "template" && !path.ends_with(".job.spec") {
            missing_fields(property, &path, written, missing);
        }
    }
    if let Some(items) = schema.get("items") {
        missing_fields(items, path, written, missing);
    }
}

/// A small source of chance that is the same for the same seed.
struct Dice(u64);

impl Dice {
    /// One of `sides` numbers from 0.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % sides
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.roll(words.len())]
    }
}

/// A value that a schema accepts.
fn any_value(schema: &Value, name: &str, dice: &mut Dice, depth: usize) -> Value {
    if schema["x-kubernetes-int-or-string"] == true {
        return if dice.roll(2) == 0 {
            json!(dice.roll(1000))
        } else {
            json!(dice.pick(&["", "0", "25%", "1h30m"]))
        };
    }
    match schema["type"].as_str() {
        Some("boolean") => json!(dice.roll(2) == 0),
        Some("integer") if schema["format"] == "int64" => json!([0, 1, 443, i64::MAX][dice.roll(4)]),
        Some("integer") => json!([0, 1, -1, 100, i32::MAX][dice.roll(5)]),
        Some("number") => json!(1.5),
        Some("string") if schema["format"] == "date-time" => {
            json!(dice.pick(&["2026-11-21T08:11:17Z", "1999-12-31T23:59:59Z"]))
        }
        // The two words of a status that are closed enums to us.
        Some("string") if name == "phase" || name == "status" => json!(dice.pick(&["Running", "Error"])),
        Some("string") => json!(dice.pick(&["", "0", "a", "canary", "Percent", "5m", "µ ü \" \\ \n"])),
        Some("array") => {
            let items = &schema["items"];
            (0..dice.roll(3)).map(|_| any_value(items, name, dice, depth + 1)).collect()
        }
        Some("object") => any_object(schema, dice, depth),
        _ => any_json(dice, 3),
    }
}

fn any_object(schema: &Value, dice: &mut Dice, depth: usize) -> Value {
    let mut fields = Map::new();
    let required: BTreeSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        // The deeper, the rarer: otherwise the size of a manifest explodes.
        if required.contains(name.as_str()) || dice.roll(2 + depth / 2) == 0 {
            // `phase` of a Rollout has other words than that of an AnalysisRun; all share none.
            if name == "phase" && schema["properties"].get("stableRS").is_some() {
                fields.insert(name.clone(), json!("Paused"));
            } else {
                fields.insert(name.clone(), any_value(property, name, dice, depth + 1));
            }
        }
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        for name in ["a", "example.com/b"].into_iter().take(dice.roll(3)) {
            fields.insert(name.to_owned(), any_value(values, name, dice, depth + 1));
        }
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        for name in ["inventedA", "inventedB"].into_iter().take(dice.roll(3)) {
            fields.insert(name.to_owned(), any_json(dice, 2));
        }
    }
    Value::Object(fields)
}

/// Any JSON but a `null` at the top, which means that the field isn't there.
fn any_json(dice: &mut Dice, depth: usize) -> Value {
    match dice.roll(if depth == 0 { 4 } else { 6 }) {
        0 => json!(dice.roll(2) == 0),
        1 => json!([0.0, 1.5, -2.25][dice.roll(3)]),
        2 => json!(i64::try_from(dice.roll(100)).unwrap() - 50),
        3 => json!(dice.pick(&["", "text"])),
        4 => (0..dice.roll(3)).map(|_| any_json(dice, depth - 1)).chain([Value::Null]).collect(),
        _ => {
            let mut fields = Map::new();
            fields.insert("null".to_owned(), Value::Null);
            for name in ["a", "b"].into_iter().take(dice.roll(3)) {
                fields.insert(name.to_owned(), any_json(dice, depth - 1));
            }
            Value::Object(fields)
        }
    }
}

/// Replaces values anywhere by others of any shape.
fn spoil(value: &mut Value, dice: &mut Dice) {
    if dice.roll(8) == 0 {
        *value = if dice.roll(2) == 0 { Value::Null } else { any_json(dice, 2) };
        return;
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|field| spoil(field, dice)),
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, dice)),
        _ => {}
    }
}
