//! The bytes that Go's `encoding/json` writes for a struct: its fields in Go's order, zero values where Go writes them.

use super::decode::{is_left_out, sorted};
use super::go_number;
use super::go_type::{GoStruct, GoType, Omit};
use super::text::push_quoted;
use serde_json::Value;

/// Appends the JSON of a normalised value; None is the type's zero value.
pub(super) fn push_json(is: &GoType, value: Option<&Value>, out: &mut String) {
    match (is, value) {
        (GoType::Pointer(inner), Some(value)) if !value.is_null() => push_json(inner, Some(value), out),
        (GoType::Slice(inner), Some(Value::Array(items))) => {
            push_list(items, out, |item, out| push_json(inner, Some(item), out));
        }
        (GoType::Map(inner), Some(Value::Object(members))) => {
            let members = sorted(members).into_iter();
            push_members(members.map(|(key, member)| (key.as_str(), member)), out, |member, out| {
                push_json(inner, Some(member), out);
            });
        }
        (GoType::Struct(of), value) => push_struct(of, value, out),
        (GoType::RawJson, Some(value)) => push_raw(value, out),
        (GoType::Pointer(_) | GoType::Slice(_) | GoType::Map(_) | GoType::RawJson, _) => out.push_str("null"),
        (_, Some(Value::String(text))) => push_quoted(text, out),
        (_, Some(Value::Number(number))) => out.push_str(&go_number::text(number)),
        (GoType::Bool, value) => {
            out.push_str(if value == Some(&Value::Bool(true)) { "true" } else { "false" });
        }
        (GoType::String, _) => out.push_str("\"\""),
        (GoType::Int32 | GoType::Int64 | GoType::IntOrString, _) => out.push('0'),
        (GoType::Quantity, _) => out.push_str("\"0\""),
        (GoType::Time, _) => out.push_str("null"),
    }
}

fn push_struct(of: &GoStruct, value: Option<&Value>, out: &mut String) {
    let written = of.fields.iter().filter_map(|field| {
        let member = value.and_then(|value| value.get(field.name));
        let left_out = match (member, field.omit) {
            (_, Omit::Never) => false,
            (Some(member), _) => is_left_out(field, member),
            (None, Omit::Zero) => true,
            (None, Omit::Empty) => !is_never_empty(&field.is),
        };
        (!left_out).then_some((field.name, (&field.is, member)))
    });
    push_members(written, out, |(is, member), out| push_json(is, member, out));
}

/// `omitempty` does nothing for structs.
fn is_never_empty(is: &GoType) -> bool {
    matches!(is, GoType::Struct(_) | GoType::Quantity | GoType::IntOrString | GoType::Time)
}

/// JSON that no struct describes: Kubernetes writes it with sorted keys.
fn push_raw(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&go_number::text(number)),
        Value::String(text) => push_quoted(text, out),
        Value::Array(items) => push_list(items, out, push_raw),
        Value::Object(members) => {
            push_members(
                sorted(members).into_iter().map(|(key, member)| (key.as_str(), member)),
                out,
                push_raw,
            );
        }
    }
}

fn push_list(items: &[Value], out: &mut String, push: impl Fn(&Value, &mut String)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push(item, out);
    }
    out.push(']');
}

fn push_members<'a, M>(
    members: impl Iterator<Item = (&'a str, M)>,
    out: &mut String,
    push: impl Fn(M, &mut String),
) {
    out.push('{');
    for (index, (name, member)) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_quoted(name, out);
        out.push(':');
        push(member, out);
    }
    out.push('}');
}
