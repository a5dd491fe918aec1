//! The rule that keeps pods of a new version off the nodes of the stable one, as Argo Rollouts puts it into the template
//! of a ReplicaSet. It is no part of the Rollout's template, so neither of the hash.

use crate::spec::AntiAffinity;
use headgate_api::labels::POD_TEMPLATE_HASH;
use serde_json::{Map, Value, json};

const TOPOLOGY: &str = "kubernetes.io/hostname";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Adds the rule against pods with this hash in this namespace, after all that the user has written.
pub fn avoid(template: &mut Value, rule: AntiAffinity, hash: &str, namespace: &str) {
    let term = json!({
        "labelSelector": { "matchExpressions": [
            { "key": POD_TEMPLATE_HASH, "operator": "In", "values": [hash] },
        ]},
        "namespaces": [namespace],
        "topologyKey": TOPOLOGY,
    });
    let (kind, term) = match rule {
        AntiAffinity::Preferred { weight } => {
            (PREFERRED, json!({ "weight": weight, "podAffinityTerm": term }))
        }
        AntiAffinity::Required => (REQUIRED, term),
    };
    let anti_affinity =
        ["spec", "affinity", "podAntiAffinity"].into_iter().fold(template, |parent, key| member(parent, key));
    let terms = member(anti_affinity, kind);
    match terms {
        Value::Array(terms) => terms.push(term),
        other => *other = json!([term]),
    }
}

/// A member of an object, made where it is missing.
fn member<'a>(parent: &'a mut Value, key: &str) -> &'a mut Value {
    if !parent.is_object() {
        *parent = Value::Object(Map::new());
    }
    match parent {
        Value::Object(members) => members.entry(key).or_insert(Value::Null),
        other => other,
    }
}

/// The affinity of a ReplicaSet's template with the rule against this hash, when it has one against another.
pub fn avoid_instead(template: &Value, hash: &str) -> Option<Value> {
    let mut affinity = template.pointer("/spec/affinity")?.clone();
    let terms = affinity.get_mut("podAntiAffinity")?.as_object_mut()?.values_mut();
    let injected =
        terms.filter_map(Value::as_array_mut).flatten().map(own_term_mut).find(|term| is_injected(term))?;
    let values = injected.pointer_mut("/labelSelector/matchExpressions/0/values")?;
    let wanted = json!([hash]);
    if *values == wanted {
        return None;
    }
    *values = wanted;
    Some(affinity)
}

/// Takes out the terms, and the parents that they leave empty.
pub(super) fn remove(template: &mut Value) {
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) else { return };
    let Some(anti_affinity) = affinity.get_mut("podAntiAffinity").and_then(Value::as_object_mut) else {
        return;
    };
    let is_ours = |term: &Value| is_injected(term.get("podAffinityTerm").unwrap_or(term));
    let mut removed = 0;
    for terms in anti_affinity.values_mut().filter_map(Value::as_array_mut) {
        removed += terms.iter().filter(|term| is_ours(term)).count();
        terms.retain(|term| !is_ours(term));
    }
    if removed == 0 {
        return;
    }
    anti_affinity.retain(|_, terms| terms.as_array().is_none_or(|terms| !terms.is_empty()));
    if anti_affinity.is_empty() {
        affinity.remove("podAntiAffinity");
    }
    if affinity.is_empty() {
        spec.remove("affinity");
    }
}

/// The term itself, of a weighted one too.
fn own_term_mut(term: &mut Value) -> &mut Value {
    if term.get("podAffinityTerm").is_some() { &mut term["podAffinityTerm"] } else { term }
}

/// Argo Rollouts: one expression, the hash label in the stable hash, spread over nodes.
fn is_injected(term: &Value) -> bool {
    let expressions = term.pointer("/labelSelector/matchExpressions").and_then(Value::as_array);
    let [expression] = expressions.map_or(&[][..], Vec::as_slice) else { return false };
    expression.get("key").and_then(Value::as_str) == Some(POD_TEMPLATE_HASH)
        && expression.get("operator").and_then(Value::as_str) == Some("In")
        && term.get("topologyKey").and_then(Value::as_str) == Some(TOPOLOGY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{same_template, strip_injected};
    use std::collections::BTreeMap;

    fn own() -> Value {
        json!({ "metadata": { "labels": { "app": "web" } }, "spec": {
            "affinity": { "nodeAffinity": {}, "podAntiAffinity": { PREFERRED: [
                { "weight": 5, "podAffinityTerm": { "topologyKey": "zone" } },
            ]}},
            "containers": [{ "name": "web", "image": "web:1" }],
        }})
    }

    #[test]
    fn what_is_put_in_is_found_changed_and_taken_out() {
        for rule in [AntiAffinity::Required, AntiAffinity::Preferred { weight: 7 }] {
            for template in [own(), json!({ "spec": { "containers": [] } })] {
                let mut injected = template.clone();
                avoid(&mut injected, rule, "old", "shop");
                assert_ne!(injected, template);
                assert_eq!(avoid_instead(&injected, "old"), None);
                let changed = avoid_instead(&injected, "new").unwrap();
                let mut expected = template.clone();
                avoid(&mut expected, rule, "new", "shop");
                assert_eq!(changed, expected["spec"]["affinity"]);
                assert!(same_template(&strip_injected(&injected, &BTreeMap::new()), &template));
            }
        }
        assert_eq!(avoid_instead(&own(), "new"), None, "what the user has written stays");
    }

    #[test]
    fn the_rule_is_the_one_of_argo_rollouts() {
        let mut template = json!({ "spec": {} });
        avoid(&mut template, AntiAffinity::Preferred { weight: 100 }, "d5f796b4d", "fleet");
        let recorded = json!({ "podAntiAffinity": { PREFERRED: [{
            "podAffinityTerm": {
                "labelSelector": { "matchExpressions": [
                    { "key": "rollouts-pod-template-hash", "operator": "In", "values": ["d5f796b4d"] },
                ]},
                "namespaces": ["fleet"],
                "topologyKey": "kubernetes.io/hostname",
            },
            "weight": 100,
        }]}});
        assert_eq!(template["spec"]["affinity"], recorded);
    }
}
