//! Which earlier version to go back to.

use headgate_api::labels;
use headgate_model::template::{same_template, strip_injected};
use serde_json::Value;
use std::collections::BTreeMap;

/// A version to go back to.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its number.
    pub revision: i64,
    /// Its pod template as the user wrote it: without what the controller put in.
    pub template: Value,
}

/// The version with the number `to` among ReplicaSets (JSON, so that no field of a template is lost); with 0 the latest one that differs from the `current` template.
///
/// # Errors
/// When there is none; says which there are, as a sentence that follows "rollout 'x' ".
pub fn choose(sets: &[Value], current: &Value, to: i64) -> Result<Choice, String> {
    let mut versions: Vec<Choice> = sets.iter().filter_map(version).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.revision));
    let found = match to {
        0 => versions.iter().find(|version| !same_template(&version.template, current)),
        to => versions.iter().find(|version| version.revision == to),
    };
    found.cloned().ok_or_else(|| {
        let numbers: Vec<_> = versions.iter().map(|version| version.revision.to_string()).collect();
        match (to, numbers.is_empty()) {
            (_, true) => "has no earlier version: nothing was released yet".to_owned(),
            (0, _) => format!("has no other version to go back to (revisions: {})", numbers.join(", ")),
            (to, _) => format!("has no revision {to}; it has {}", numbers.join(", ")),
        }
    })
}

fn version(set: &Value) -> Option<Choice> {
    let annotations = set.pointer("/metadata/annotations").cloned().unwrap_or_default();
    let annotations: BTreeMap<String, String> = serde_json::from_value(annotations).unwrap_or_default();
    let revision = annotations.get(labels::REVISION)?.parse().ok()?;
    let mut template = strip_injected(set.pointer("/spec/template")?, &annotations);
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        // Older API servers answer a creation time of null in every template.
        metadata.remove("creationTimestamp");
        if let Some(template_labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            template_labels.remove(labels::POD_TEMPLATE_HASH);
        }
    }
    Some(Choice { revision, template })
}
