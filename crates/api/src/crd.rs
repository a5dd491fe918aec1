//! The five CustomResourceDefinitions: what the derive says of the types, made fit for users' manifests.

use crate::rules::{self, Bound};
use crate::{AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Experiment, Rollout};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};
use kube_core::CustomResourceExt;

/// The CustomResourceDefinitions of all kinds, in the order of their names.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        finished(AnalysisRun::crd(), Subresources::None),
        finished(AnalysisTemplate::crd(), Subresources::None),
        finished(ClusterAnalysisTemplate::crd(), Subresources::None),
        finished(Experiment::crd(), Subresources::None),
        finished(Rollout::crd(), Subresources::AsDerived),
    ]
}

/// Whether a kind has the subresources that the derive gives to every kind with a status.
#[derive(Clone, Copy)]
enum Subresources {
    AsDerived,
    /// AnalysisRun and Experiment have none in Argo Rollouts: its plugin, and users, write their status with
    /// the object.
    None,
}

fn finished(mut crd: CustomResourceDefinition, subresources: Subresources) -> CustomResourceDefinition {
    let kind = crd.spec.names.kind.clone();
    for version in &mut crd.spec.versions {
        if matches!(subresources, Subresources::None) {
            version.subresources = None;
        }
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
            add_rules(schema, &kind);
        }
    }
    crd
}

/// Takes out what the derive knows of Rust and what users must not be held to.
///
/// `nullable` would only make room for `null`s that the CRDs of Argo Rollouts refuse as well; a `default` would
/// be written into users' objects.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.default = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        tidy(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

fn add_rules(schema: &mut JSONSchemaProps, kind: &str) {
    for rule in rules::RULES.iter().filter(|rule| rule.kinds.contains(&kind)) {
        if let Some(target) = at(schema, rule.path) {
            target.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
                rule: rule.cel.to_owned(),
                message: Some(rule.message.to_owned()),
                ..ValidationRule::default()
            });
        }
    }
    for (_, path, bound) in rules::BOUNDS.iter().filter(|(kinds, ..)| kinds.contains(&kind)) {
        let Some(target) = at(schema, path) else { continue };
        match bound {
            Bound::Range(least, most) => {
                target.minimum = Some(*least);
                target.maximum = *most;
            }
            Bound::Pattern(pattern) => target.pattern = Some((*pattern).to_owned()),
            Bound::MaxItems(most) => target.max_items = Some(*most),
            Bound::Default(text) => target.default = Some(JSON((*text).into())),
        }
    }
}

/// The schema at a path such as `spec.strategy.canary.steps[].setWeight`.
fn at<'a>(schema: &'a mut JSONSchemaProps, path: &str) -> Option<&'a mut JSONSchemaProps> {
    let mut schema = schema;
    for segment in path.split('.') {
        let (name, is_list) = segment.strip_suffix("[]").map_or((segment, false), |name| (name, true));
        schema = schema.properties.as_mut()?.get_mut(name)?;
        if is_list {
            schema = match schema.items.as_mut()? {
                JSONSchemaPropsOrArray::Schema(items) => items,
                JSONSchemaPropsOrArray::Schemas(_) => return None,
            };
        }
    }
    Some(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn schemas() -> BTreeMap<String, JSONSchemaProps> {
        crds()
            .into_iter()
            .map(|crd| {
                let version = crd.spec.versions.into_iter().next().unwrap();
                (crd.spec.names.kind, version.schema.unwrap().open_api_v3_schema.unwrap())
            })
            .collect()
    }

    #[test]
    fn every_rule_and_bound_has_a_place_in_its_kind() {
        let mut schemas = schemas();
        let rules = rules::RULES.iter().map(|rule| (rule.kinds, rule.path));
        let bounds = rules::BOUNDS.iter().map(|(kinds, path, _)| (*kinds, *path));
        for (kinds, path) in rules.chain(bounds) {
            for kind in kinds {
                assert!(at(schemas.get_mut(*kind).unwrap(), path).is_some(), "{kind} has no {path}");
            }
        }
    }

    #[test]
    fn every_field_outside_pod_templates_is_described() {
        fn undescribed(schema: &JSONSchemaProps, path: &str, found: &mut Vec<String>) {
            for (name, property) in schema.properties.iter().flatten() {
                let path = format!("{path}.{name}");
                if property.description.is_none() {
                    found.push(path.clone());
                }
                if !matches!(path.rsplit('.').next(), Some("template" | "job" | "metadata")) {
                    undescribed(property, &path, found);
                }
            }
            match &schema.items {
                Some(JSONSchemaPropsOrArray::Schema(items)) => {
                    undescribed(items, &format!("{path}[]"), found);
                }
                Some(JSONSchemaPropsOrArray::Schemas(_)) | None => {}
            }
            if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
                undescribed(values, &format!("{path}[]"), found);
            }
        }
        for (kind, schema) in schemas() {
            let mut found = Vec::new();
            for part in ["spec", "status"] {
                if let Some(schema) = schema.properties.as_ref().and_then(|parts| parts.get(part)) {
                    undescribed(schema, &format!("{kind}.{part}"), &mut found);
                }
            }
            assert_eq!(found, Vec::<String>::new());
        }
    }
}
