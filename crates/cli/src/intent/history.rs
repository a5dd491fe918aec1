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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    /// The ReplicaSets and the Rollout's template of a recorded Rollout.
    fn recorded(fixture: &str) -> (Vec<Value>, Value) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{fixture}.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let current =
            objects.iter().find(|one| one["kind"] == "Rollout").unwrap()["spec"]["template"].clone();
        (objects.into_iter().filter(|one| one["kind"] == "ReplicaSet").collect(), current)
    }

    #[test]
    fn undo_goes_to_the_latest_version_that_differs() {
        let (sets, current) = recorded("midpause");
        let before = choose(&sets, &current, 0).unwrap();
        assert_eq!(before.revision, 1);
        // What `set image` has written and no controller has seen yet is undone too.
        let mut unseen = current.clone();
        unseen["spec"]["containers"][0]["image"] = json!("nginx:never-released");
        assert_eq!(choose(&sets, &unseen, 0).unwrap().revision, 2);
        // A version that is asked for is found although it is the current one.
        assert_eq!(choose(&sets, &current, 2).unwrap().revision, 2);
    }

    #[test]
    fn what_the_controller_put_into_a_template_stays_behind() {
        for fixture in ["midpause", "antiaffinity", "metadata", "istio"] {
            let (sets, current) = recorded(fixture);
            let newest = sets.iter().filter_map(version).map(|one| one.revision).max().unwrap();
            let chosen = choose(&sets, &current, newest).unwrap();
            assert!(same_template(&chosen.template, &current), "{fixture}: {:#}", chosen.template);
            assert_eq!(
                chosen.template.pointer("/metadata/labels/rollouts-pod-template-hash"),
                None,
                "{fixture}"
            );
        }
    }

    #[test]
    fn unknown_fields_of_a_template_survive() {
        let (mut sets, current) = recorded("midpause");
        for set in &mut sets {
            set["spec"]["template"]["spec"]["aFieldOfTheFuture"] = json!({ "x": 1 });
        }
        let chosen = choose(&sets, &current, 1).unwrap();
        assert_eq!(chosen.template["spec"]["aFieldOfTheFuture"], json!({ "x": 1 }));
    }

    #[test]
    fn a_revision_that_is_not_there_is_answered_with_those_that_are() {
        let (sets, current) = recorded("midpause");
        assert_eq!(choose(&sets, &current, 9).unwrap_err(), "has no revision 9; it has 2, 1");
        assert_eq!(choose(&[], &current, 0).unwrap_err(), "has no earlier version: nothing was released yet");
        let newest: Vec<Value> = sets.into_iter().filter(|set| version(set).unwrap().revision == 2).collect();
        assert_eq!(
            choose(&newest, &current, 0).unwrap_err(),
            "has no other version to go back to (revisions: 2)"
        );
    }
}
