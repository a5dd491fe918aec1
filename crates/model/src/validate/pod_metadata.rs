//! `spec.strategy.canary.canaryMetadata` and `stableMetadata`.

use super::SpecProblem;
use super::read::{invalid, optional};
use crate::selector;
use crate::spec::Canary;
use crate::template::PodMetadata;
use headgate_api::{PodTemplateMetadata, labels};
use serde_json::Value;

const PATH: &str = "spec.strategy.canary";

/// Kubernetes takes no more of all annotations of an object, in bytes.
const ANNOTATIONS_BYTES_MAX: usize = 262_144;

/// Reads the labels and annotations of a role.
pub(super) fn read(canary: &Value, role: &str) -> Result<PodMetadata, SpecProblem> {
    let written = optional::<PodTemplateMetadata>(canary, PATH, role)?.unwrap_or_default();
    let metadata = PodMetadata {
        labels: written.labels.unwrap_or_default(),
        annotations: written.annotations.unwrap_or_default(),
    };
    for (key, value) in &metadata.labels {
        let field = format!("{PATH}.{role}.labels");
        check_key(&field, key)?;
        if !is_label_value(value) {
            return Err(invalid(
                &format!("{field}[{key}]"),
                format!("{value:?}"),
                "a label value has at most 63 letters, digits, '-', '_' or '.', and begins and ends with a letter or digit",
            ));
        }
    }
    let field = format!("{PATH}.{role}.annotations");
    // As Kubernetes does: in annotations a prefix may have capitals.
    metadata.annotations.keys().try_for_each(|key| check_key(&field, &key.to_lowercase()))?;
    let bytes: usize = metadata.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ANNOTATIONS_BYTES_MAX {
        let problem = format!("no more than {ANNOTATIONS_BYTES_MAX} bytes fit into the annotations of a pod");
        return Err(invalid(&field, format!("{bytes} bytes"), problem));
    }
    Ok(metadata)
}

/// Pods that carry it stay in their ReplicaSet.
pub(super) fn check_fits(canary: &Canary, selector: &Value, template: &Value) -> Result<(), SpecProblem> {
    for (role, metadata) in
        [("canaryMetadata", &canary.canary_metadata), ("stableMetadata", &canary.stable_metadata)]
    {
        let field = format!("{PATH}.{role}.labels");
        if metadata.labels.contains_key(labels::POD_TEMPLATE_HASH) {
            let problem = "this label is set by the controller, and ReplicaSets and Services find their pods by it: remove it";
            return Err(invalid(&field, labels::POD_TEMPLATE_HASH, problem));
        }
        let mut carried = selector::string_map(template.pointer("/metadata/labels"));
        carried.extend(metadata.labels.clone());
        if !selector::selects(selector, &carried) {
            return Err(invalid(
                &field,
                serde_json::json!(metadata.labels),
                format!(
                    "spec.selector asks for {}, and pods with these labels would leave their ReplicaSet: use other keys",
                    selector::to_text(selector)
                ),
            ));
        }
    }
    Ok(())
}

/// Kubernetes' qualified names: `name`, or `prefix/name` with a DNS subdomain before the slash.
fn check_key(field: &str, key: &str) -> Result<(), SpecProblem> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if !name.is_empty() && is_label_value(name) && prefix.is_none_or(is_subdomain) {
        return Ok(());
    }
    Err(invalid(
        field,
        format!("{key:?}"),
        "a key is a name of at most 63 letters, digits, '-', '_' or '.', which begins and ends with a letter or digit; \
         before it may stand a DNS name and a slash, as in example.com/role",
    ))
}

fn is_label_value(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 63
        && text.chars().all(is_plain)
        && [text.chars().next(), text.chars().last()].into_iter().flatten().all(|c| c.is_ascii_alphanumeric())
}

fn is_subdomain(text: &str) -> bool {
    let is_part = |part: &str| {
        let ends = [part.chars().next(), part.chars().last()];
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        !part.is_empty()
            && ends.into_iter().flatten().all(is_plain)
            && part.chars().all(|c| is_plain(c) || c == '-')
    };
    text.len() <= 253 && text.split('.').all(is_part)
}
