//! Whether two pod templates make the same pods, although one was written by a user and the other stored by the API
//! server. It finds the ReplicaSet of a template when its hash was made by another release.

use super::decode::{normalised, zero};
use super::defaults::set_defaults;
use super::go_tables::TEMPLATE;
use super::go_type::{GoStruct, GoType};
use super::quantity::amount_rounded_up;
use super::{anti_affinity, pod_metadata};
use headgate_api::labels;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Resource lists are stored in whole thousandths.
const MILLI: i64 = -3;
/// Other quantities keep nine places.
const NANO: i64 = -9;

/// Whether both templates are the same once both have the API server's defaults.
///
/// The hash label is ignored, empty is absent, quantities are compared by their size, and `serviceAccount` is only
/// another name for `serviceAccountName`. Take off what was put into a ReplicaSet's template with [`strip_injected`]
/// first.
pub fn same_template(left: &Value, right: &Value) -> bool {
    comparable(left) == comparable(right)
}

/// A ReplicaSet's template without what the controller put into it while it ran: the ephemeral metadata that the
/// ReplicaSet's annotations speak of, and the anti-affinity to the stable pods.
pub fn strip_injected(template: &Value, annotations: &BTreeMap<String, String>) -> Value {
    let mut template = template.clone();
    pod_metadata::remove(&mut template, annotations);
    anti_affinity::remove(&mut template);
    template
}

/// The template in the one form that all equal templates share.
fn comparable(template: &Value) -> Value {
    let mut template = normalised(&TEMPLATE, template).unwrap_or_else(|| Value::Object(Map::new()));
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(labels::POD_TEMPLATE_HASH);
    }
    settle(&TEMPLATE, &mut template);
    template
}

fn settle(is: &GoType, value: &mut Value) {
    match (is, value) {
        (GoType::Pointer(inner), value) => settle(inner, value),
        (GoType::Slice(inner), Value::Array(items)) => items.iter_mut().for_each(|item| settle(inner, item)),
        (GoType::Map(inner), Value::Object(members)) => {
            let rounded = |value: &mut Value| match inner {
                GoType::Quantity => settle_quantity(value, MILLI),
                _ => settle(inner, value),
            };
            members.values_mut().for_each(rounded);
        }
        (GoType::Struct(of), Value::Object(members)) => settle_struct(of, members),
        (GoType::Quantity, value) => settle_quantity(value, NANO),
        _ => {}
    }
}

fn settle_struct(of: &GoStruct, members: &mut Map<String, Value>) {
    for field in of.fields.iter().filter(|field| matches!(field.is, GoType::Struct(_))) {
        members.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
    }
    set_defaults(of, members);
    for field in of.fields {
        let Some(member) = members.get_mut(field.name) else { continue };
        settle(&field.is, member);
        if is_zero(&field.is, member) {
            members.remove(field.name);
        }
    }
}

/// Whether Go could not tell the member from an absent one, or Kubernetes' semantic equality would not.
fn is_zero(is: &GoType, member: &Value) -> bool {
    match (is, member) {
        (_, Value::Null) => true,
        (GoType::Slice(_), Value::Array(items)) => items.is_empty(),
        (GoType::Map(_), Value::Object(members)) => members.is_empty(),
        _ => zero(is).is_some_and(|zero| zero == *member),
    }
}

fn settle_quantity(value: &mut Value, exponent: i64) {
    let amount = value.as_str().and_then(|text| amount_rounded_up(text, exponent));
    if let Some(amount) = amount {
        *value = Value::String(amount);
    }
}
