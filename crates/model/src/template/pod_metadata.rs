//! Labels and annotations that pods carry because of their role, as Argo Rollouts puts them into the template of a
//! ReplicaSet and onto its pods. They are no part of the Rollout's template, so neither of the hash.
//!
//! They win over what the template has under the same key. Argo Rollouts forgets what was there; here it is remembered on
//! the ReplicaSet ([`labels::OWN_POD_METADATA`]) and comes back with the end of the role.

use headgate_api::labels;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Labels and annotations of pods; without any, nothing is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodMetadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Labels and annotations to set (`Some`) or to remove (`None`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataChange {
    /// Labels.
    pub labels: BTreeMap<String, Option<String>>,
    /// Annotations.
    pub annotations: BTreeMap<String, Option<String>>,
}

impl PodMetadata {
    /// As an annotation of a ReplicaSet tells it; nothing where it tells nothing that can be read.
    pub fn told(annotations: &BTreeMap<String, String>, key: &str) -> Self {
        let told = annotations.get(key).and_then(|json| serde_json::from_str::<Value>(json).ok());
        told.as_ref().map_or_else(Self::default, Self::of)
    }

    /// That of a pod template's `metadata`.
    pub fn of(metadata: &Value) -> Self {
        let part = |kind: &str| crate::selector::string_map(metadata.get(kind));
        Self { labels: part("labels"), annotations: part("annotations") }
    }

    /// True when it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }

    /// The JSON that Argo Rollouts writes into its annotation; `None` for nothing.
    pub fn json(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        // Argo Rollouts writes labels first, and leaves out what is empty.
        let part = |map: &BTreeMap<String, String>| json!(map).to_string();
        let parts = [("labels", &self.labels), ("annotations", &self.annotations)];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, map)| !map.is_empty())
            .map(|(kind, map)| format!("\"{kind}\":{}", part(map)))
            .collect();
        Some(format!("{{{}}}", parts.join(",")))
    }

    /// All of this, and what `other` has beside it.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        let add = |to: &mut BTreeMap<String, String>, from: &BTreeMap<String, String>| {
            for (key, value) in from {
                to.entry(key.clone()).or_insert_with(|| value.clone());
            }
        };
        add(&mut self.labels, &other.labels);
        add(&mut self.annotations, &other.annotations);
        self
    }

    /// What of this stands under a key that `other` has.
    #[must_use]
    pub fn under_keys_of(&self, other: &Self) -> Self {
        let common = |mine: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>| {
            let kept = mine.iter().filter(|(key, _)| theirs.contains_key(*key));
            kept.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        Self {
            labels: common(&self.labels, &other.labels),
            annotations: common(&self.annotations, &other.annotations),
        }
    }
}

impl MetadataChange {
    /// What turns `present`, which may carry `former`, into what carries `wanted` instead: each key of `former` that is not
    /// wanted any more goes back to its value in `own`, or goes.
    pub fn between(
        present: &PodMetadata,
        former: &PodMetadata,
        own: &PodMetadata,
        wanted: &PodMetadata,
    ) -> Self {
        Self {
            labels: changes(&present.labels, &former.labels, &own.labels, &wanted.labels),
            annotations: changes(
                &present.annotations,
                &former.annotations,
                &own.annotations,
                &wanted.annotations,
            ),
        }
    }

    /// True when nothing changes.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }

    /// The `metadata` of a merge patch; `None` when nothing changes.
    pub fn merge_patch(&self) -> Option<Map<String, Value>> {
        let parts = [("labels", &self.labels), ("annotations", &self.annotations)];
        let parts = parts.into_iter().filter(|(_, map)| !map.is_empty());
        let patch: Map<String, Value> = parts.map(|(kind, map)| (kind.to_owned(), json!(map))).collect();
        (!patch.is_empty()).then_some(patch)
    }
}

fn changes(
    present: &BTreeMap<String, String>,
    former: &BTreeMap<String, String>,
    own: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> BTreeMap<String, Option<String>> {
    let keys: BTreeSet<&String> = former.keys().chain(wanted.keys()).collect();
    let target = |key: &String| wanted.get(key).or_else(|| own.get(key));
    let differs = keys.into_iter().filter(|key| present.get(*key) != target(key));
    differs.map(|key| (key.clone(), target(key).cloned())).collect()
}

/// Puts metadata into a pod template.
pub fn inject(template: &mut Value, metadata: &PodMetadata) {
    let change = MetadataChange::between(
        &PodMetadata::of(template.get("metadata").unwrap_or(&Value::Null)),
        &PodMetadata::default(),
        &PodMetadata::default(),
        metadata,
    );
    apply(template, &change);
}

/// Takes out of a ReplicaSet's template what its annotations say was put in, and puts back what was there before.
pub(super) fn remove(template: &mut Value, annotations: &BTreeMap<String, String>) {
    let injected = PodMetadata::told(annotations, labels::EPHEMERAL_METADATA);
    if injected.is_empty() {
        return;
    }
    let own = PodMetadata::told(annotations, labels::OWN_POD_METADATA);
    let present = PodMetadata::of(template.get("metadata").unwrap_or(&Value::Null));
    apply(template, &MetadataChange::between(&present, &injected, &own, &PodMetadata::default()));
}

fn apply(template: &mut Value, change: &MetadataChange) {
    for (kind, change) in [("labels", &change.labels), ("annotations", &change.annotations)] {
        if change.is_empty() {
            continue;
        }
        let Some(place) = object(template).and_then(|template| {
            object(template.entry("metadata").or_insert(Value::Null))
                .and_then(|metadata| object(metadata.entry(kind).or_insert(Value::Null)))
        }) else {
            continue;
        };
        for (key, value) in change {
            match value {
                Some(value) => place.insert(key.clone(), json!(value)),
                None => place.remove(key),
            };
        }
    }
}

/// A value as an object, made one if it is none.
fn object(value: &mut Value) -> Option<&mut Map<String, Value>> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{same_template, strip_injected};

    fn metadata(json: &Value) -> PodMetadata {
        PodMetadata::of(json)
    }

    #[test]
    fn what_is_put_in_comes_out_again_and_the_own_values_come_back() {
        let template = json!({ "metadata": { "labels": { "app": "web", "tier": "front" } }, "spec": {} });
        let canary =
            metadata(&json!({ "labels": { "role": "canary", "tier": "x" }, "annotations": { "a": "1" } }));
        let mut injected = template.clone();
        inject(&mut injected, &canary);
        assert_eq!(injected["metadata"]["labels"], json!({ "app": "web", "role": "canary", "tier": "x" }));
        assert_eq!(injected["metadata"]["annotations"], json!({ "a": "1" }));
        let own = PodMetadata::of(&template["metadata"]).under_keys_of(&canary);
        let annotations = BTreeMap::from([
            (labels::EPHEMERAL_METADATA.to_owned(), canary.json().unwrap()),
            (labels::OWN_POD_METADATA.to_owned(), own.json().unwrap()),
        ]);
        assert!(same_template(&strip_injected(&injected, &annotations), &template));
    }

    #[test]
    fn the_json_is_that_of_argo_rollouts() {
        let recorded = r#"{"labels":{"role":"stable"}}"#;
        let told = BTreeMap::from([(labels::EPHEMERAL_METADATA.to_owned(), recorded.to_owned())]);
        assert_eq!(PodMetadata::told(&told, labels::EPHEMERAL_METADATA).json().as_deref(), Some(recorded));
        let both = metadata(&json!({ "annotations": { "b": "2" }, "labels": { "a": "1" } }));
        assert_eq!(both.json().as_deref(), Some(r#"{"labels":{"a":"1"},"annotations":{"b":"2"}}"#));
        assert_eq!(PodMetadata::default().json(), None);
        for unreadable in ["", "null", "[1]", r#"{"labels":3}"#] {
            let told = BTreeMap::from([(labels::EPHEMERAL_METADATA.to_owned(), unreadable.to_owned())]);
            assert!(PodMetadata::told(&told, labels::EPHEMERAL_METADATA).is_empty(), "{unreadable}");
        }
    }

    #[test]
    fn a_change_of_roles_takes_away_sets_and_leaves_alone_what_others_have_written() {
        let present = metadata(
            &json!({ "labels": { "app": "web", "role": "canary", "old": "1", "tier": "x", "sidecar": "on" } }),
        );
        let former =
            metadata(&json!({ "labels": { "role": "canary", "old": "1", "tier": "x", "gone": "1" } }));
        let own = metadata(&json!({ "labels": { "tier": "front" } }));
        let wanted = metadata(&json!({ "labels": { "role": "stable" }, "annotations": { "note": "n" } }));
        let change = MetadataChange::between(&present, &former, &own, &wanted);
        let expected = json!({
            "labels": { "old": null, "role": "stable", "tier": "front" }, "annotations": { "note": "n" },
        });
        assert_eq!(change.merge_patch().map(Value::Object), Some(expected));
        let after = metadata(&json!({
            "labels": { "app": "web", "role": "stable", "tier": "front", "sidecar": "on" },
            "annotations": { "note": "n" },
        }));
        assert!(MetadataChange::between(&after, &former, &own, &wanted).is_empty());
    }
}
