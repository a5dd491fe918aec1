//! `spec.selector` and `spec.template`.

use super::SpecProblem;
use super::read::{invalid, required};
use crate::selector;
use crate::template::rolled_out;
use serde_json::Value;

/// The selector and what is rolled out of the pod template, which must fit each other.
pub(super) fn selector_and_template(spec: &Value) -> Result<(Value, Value), SpecProblem> {
    let template = spec.get("template").filter(|value| value.is_object()).map(rolled_out);
    let written = spec.get("selector").filter(|value| !value.is_null());
    let Some(template) = template.as_deref() else {
        return Err(required(
            "spec.template",
            "Rollout has missing field '.spec.template': add the pod template",
        ));
    };
    let labels = selector::string_map(template.pointer("/metadata/labels"));
    let Some(selector) = written else {
        return Err(required(
            "spec.selector",
            format!(
                "Rollout has missing field '.spec.selector': add these lines\n{}",
                lines_to_add(template)
            ),
        ));
    };
    if selector::is_empty(selector) {
        return Err(invalid(
            "spec.selector",
            selector,
            format!("empty selector is invalid for deployment: write\n{}", lines_to_add(template)),
        ));
    }
    if !selector::selects(selector, &labels) {
        return Err(invalid(
            "spec.template.metadata.labels",
            serde_json::json!(labels),
            format!(
                "`selector` does not match template `labels`: the pods need the labels {}; write\n{}",
                selector::to_text(selector),
                template_lines(&selector::match_labels(selector))
            ),
        ));
    }
    check_pod_spec(template)?;
    Ok((selector.clone(), template.clone()))
}

fn check_pod_spec(template: &Value) -> Result<(), SpecProblem> {
    let containers = template.pointer("/spec/containers").and_then(Value::as_array);
    if containers.is_none_or(Vec::is_empty) {
        return Err(required("spec.template.spec.containers", "a pod needs at least one container"));
    }
    for (index, container) in containers.into_iter().flatten().enumerate() {
        for key in ["name", "image"] {
            if container.get(key).and_then(Value::as_str).unwrap_or_default().is_empty() {
                return Err(required(
                    &format!("spec.template.spec.containers[{index}].{key}"),
                    "give the container one",
                ));
            }
        }
    }
    match template.pointer("/spec/restartPolicy").and_then(Value::as_str) {
        None | Some("" | "Always") => Ok(()),
        Some(other) => Err(SpecProblem {
            field: "spec.template.spec.restartPolicy".to_owned(),
            problem: format!("Unsupported value: \"{other}\": supported values: \"Always\""),
        }),
    }
}

/// The lines that a Rollout without selector lacks, with a label that the pods have already where they have one.
fn lines_to_add(template: &Value) -> String {
    let mut labels = selector::string_map(template.pointer("/metadata/labels"));
    let has_labels = !labels.is_empty();
    if !has_labels {
        labels.insert("app".to_owned(), container_name(template));
    } else if let Some(app) = labels.remove_entry("app") {
        labels = std::collections::BTreeMap::from([app]);
    }
    let mut text = "selector:\n  matchLabels:\n".to_owned();
    for (key, value) in &labels {
        text.push_str(&format!("    {key}: {value}\n"));
    }
    if !has_labels {
        text.push_str(&template_lines(&labels));
    }
    text.trim_end().to_owned()
}

fn template_lines(labels: &std::collections::BTreeMap<String, String>) -> String {
    let mut text = "template:\n  metadata:\n    labels:\n".to_owned();
    for (key, value) in labels {
        text.push_str(&format!("      {key}: {value}\n"));
    }
    text.trim_end().to_owned()
}

fn container_name(template: &Value) -> String {
    template.pointer("/spec/containers/0/name").and_then(Value::as_str).unwrap_or("my-app").to_owned()
}
