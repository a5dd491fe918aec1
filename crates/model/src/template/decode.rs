//! What Go keeps of a JSON value when it reads it into its structs.
//!
//! Argo Rollouts reads an object strictly, by the exact names of the fields. If any value in it has the wrong form it
//! starts again with `encoding/json`, which skips what does not fit, matches names in any case, and stops where a type
//! that reads itself (a quantity, an int-or-string, a time) refuses its text: what follows in key order is lost.
//! Both ways are here, because the hash is over whatever was kept.

use super::go_number;
use super::go_type::{GoField, GoStruct, GoType, Omit};
use super::quantity::canonical_quantity;
use super::text;
use serde_json::{Map, Value};

/// The part of `value` that Go keeps: only known fields, no zero values that Go leaves out, quantities canonical.
/// None is Go's zero value of the type.
pub(super) fn normalised(is: &GoType, value: &Value) -> Option<Value> {
    let mut kept = None;
    if decode(Way::Strict, is, value, &mut kept).is_err() {
        kept = None;
        // A stop leaves what was read before it, which is what Argo Rollouts goes on with.
        drop(decode(Way::Lenient, is, value, &mut kept));
    }
    kept
}

/// Reads `value` strictly: an error where Argo Rollouts would begin to drop what the user wrote.
pub(super) fn check(is: &GoType, value: &Value) -> Result<(), TemplateError> {
    decode(Way::Strict, is, value, &mut None)
}

/// A value that Go cannot read into the type of its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {found} is not {wanted}")]
pub struct TemplateError {
    /// Where, such as `.spec.containers[0].resources.limits.memory`.
    pub path: String,
    /// What was found, as JSON, cut short.
    pub found: String,
    /// What belongs there.
    pub wanted: &'static str,
}

/// How much of a wrong value an error shows.
const FOUND_CHARACTERS_MAX: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Strict,
    Lenient,
}

type Decoded = Result<(), TemplateError>;

/// Reads `value` into `kept`, which holds what an earlier spelling of the same field has left (lenient way only).
fn decode(way: Way, is: &GoType, value: &Value, kept: &mut Option<Value>) -> Decoded {
    match (is, value) {
        (GoType::Pointer(_) | GoType::Slice(_) | GoType::Map(_), Value::Null) => *kept = None,
        (GoType::RawJson, Value::Null) => *kept = (way == Way::Lenient).then_some(Value::Null),
        (GoType::Quantity | GoType::Time, Value::Null) => *kept = None,
        (_, Value::Null) => {}
        (GoType::Pointer(inner), _) => return decode_pointer(way, inner, value, kept),
        (GoType::Slice(inner), Value::Array(items)) => return decode_slice(way, inner, items, kept),
        (GoType::Map(inner), Value::Object(members)) => return decode_map(way, inner, members, kept),
        (GoType::Struct(of), Value::Object(members)) => return decode_struct(way, of, members, kept),
        (GoType::RawJson, _) => *kept = Some(value.clone()),
        (GoType::Time, _) => {
            *kept = Some(decode_self_reading(is, value)?).filter(|time| *time != text::ZERO_TIME);
        }
        (GoType::Quantity | GoType::IntOrString, _) => *kept = Some(decode_self_reading(is, value)?),
        _ => match decode_scalar(way, is, value) {
            Some(scalar) => *kept = Some(scalar),
            None if way == Way::Strict => return Err(mismatch(is, value)),
            None => {}
        },
    }
    Ok(())
}

fn decode_pointer(way: Way, inner: &GoType, value: &Value, kept: &mut Option<Value>) -> Decoded {
    let outcome = decode(way, inner, value, kept);
    if kept.is_none() {
        *kept = zero(inner);
    }
    outcome
}

fn decode_slice(way: Way, inner: &GoType, items: &[Value], kept: &mut Option<Value>) -> Decoded {
    let mut read = Vec::with_capacity(items.len());
    let mut outcome = Ok(());
    for (index, item) in items.iter().enumerate() {
        let mut element = None;
        outcome =
            decode(way, inner, item, &mut element).map_err(|mismatch| mismatch.below(&format!("[{index}]")));
        read.push(element.or_else(|| zero(inner)).unwrap_or(Value::Null));
        if outcome.is_err() {
            break;
        }
    }
    *kept = Some(Value::Array(read));
    outcome
}

fn decode_map(way: Way, inner: &GoType, members: &Map<String, Value>, kept: &mut Option<Value>) -> Decoded {
    let mut read = object(kept.take());
    let mut outcome = Ok(());
    for (key, member) in sorted(members) {
        let mut element = None;
        outcome =
            decode(way, inner, member, &mut element).map_err(|mismatch| mismatch.below(&format!(".{key}")));
        if outcome.is_err() {
            break;
        }
        read.insert(key.clone(), element.or_else(|| zero(inner)).unwrap_or(Value::Null));
    }
    *kept = Some(Value::Object(read));
    outcome
}

fn decode_struct(way: Way, of: &GoStruct, members: &Map<String, Value>, kept: &mut Option<Value>) -> Decoded {
    let mut read = object(kept.take());
    let mut outcome = Ok(());
    for (key, member) in sorted(members) {
        let Some(field) = field_named(way, of, key) else { continue };
        let mut element = read.remove(field.name);
        outcome = decode(way, &field.is, member, &mut element)
            .map_err(|mismatch| mismatch.below(&format!(".{key}")));
        if let Some(element) = element.filter(|element| !is_left_out(field, element)) {
            read.insert(field.name.to_owned(), element);
        }
        if outcome.is_err() {
            break;
        }
    }
    *kept = Some(Value::Object(read));
    outcome
}

fn field_named<'a>(way: Way, of: &'a GoStruct, key: &str) -> Option<&'a GoField> {
    let exact = of.fields.iter().find(|field| field.name == key);
    match way {
        Way::Strict => exact,
        Way::Lenient => exact.or_else(|| of.fields.iter().find(|field| text::equal_folded(field.name, key))),
    }
}

/// Whether Go would not write this value of the field.
pub(super) fn is_left_out(field: &GoField, value: &Value) -> bool {
    field.omit == Omit::Empty
        && match (&field.is, value) {
            (GoType::String, Value::String(text)) => text.is_empty(),
            (GoType::Bool, value) => *value == Value::Bool(false),
            (GoType::Int32 | GoType::Int64, Value::Number(number)) => number.as_i64() == Some(0),
            (GoType::Slice(_), Value::Array(items)) => items.is_empty(),
            (GoType::Map(_), Value::Object(members)) => members.is_empty(),
            (GoType::Pointer(_), Value::Null) => true,
            _ => false,
        }
}

/// The types with an `UnmarshalJSON` of their own: a value that they refuse ends the reading in both ways.
fn decode_self_reading(is: &GoType, value: &Value) -> Result<Value, TemplateError> {
    let read = match (is, value) {
        (GoType::Quantity, Value::String(text)) => canonical_quantity(text).map(Value::String),
        (GoType::Quantity, Value::Number(number)) => {
            canonical_quantity(&go_number::text(number)).map(Value::String)
        }
        (GoType::IntOrString, Value::String(_)) => Some(value.clone()),
        (GoType::IntOrString, Value::Number(number)) => {
            go_number::text(number).parse::<i32>().ok().map(|number| Value::Number(number.into()))
        }
        (GoType::Time, Value::String(text)) => text::whole_seconds_utc(text).map(Value::String),
        _ => None,
    };
    read.ok_or_else(|| mismatch(is, value))
}

fn decode_scalar(way: Way, is: &GoType, value: &Value) -> Option<Value> {
    match (is, value) {
        (GoType::String, Value::String(_)) | (GoType::Bool, Value::Bool(_)) => Some(value.clone()),
        (GoType::Int32, Value::Number(number)) => match way {
            #[expect(clippy::cast_possible_truncation, reason = "Go's converter wraps silently")]
            Way::Strict => {
                go_number::converted_to_int(number).map(|wide| Value::Number((wide as i32).into()))
            }
            Way::Lenient => {
                go_number::text(number).parse::<i32>().ok().map(|number| Value::Number(number.into()))
            }
        },
        (GoType::Int64, Value::Number(number)) => match way {
            Way::Strict => go_number::converted_to_int(number).map(|number| Value::Number(number.into())),
            Way::Lenient => {
                go_number::text(number).parse::<i64>().ok().map(|number| Value::Number(number.into()))
            }
        },
        _ => None,
    }
}

/// Go's zero value where it is not nothing: what a pointer points to, an element of a slice or of a map.
pub(super) fn zero(is: &GoType) -> Option<Value> {
    match is {
        GoType::String => Some(Value::String(String::new())),
        GoType::Bool => Some(Value::Bool(false)),
        GoType::Int32 | GoType::Int64 | GoType::IntOrString => Some(Value::Number(0.into())),
        GoType::Quantity => Some(Value::String("0".to_owned())),
        GoType::Struct(_) => Some(Value::Object(Map::new())),
        GoType::Time | GoType::RawJson | GoType::Pointer(_) | GoType::Slice(_) | GoType::Map(_) => None,
    }
}

fn object(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Members in the order in which Go's encoder writes a map, whatever order the map type keeps.
pub(super) fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    members
}

fn mismatch(is: &GoType, value: &Value) -> TemplateError {
    let wanted = match is {
        GoType::String => "a string",
        GoType::Bool => "true or false",
        GoType::Int32 | GoType::Int64 => "a whole number",
        GoType::Quantity => "a quantity such as 500m or 1.5Gi",
        GoType::IntOrString => "a whole number or a string",
        GoType::Time => "a time such as 2026-01-31T12:00:00Z",
        GoType::Slice(_) => "a list",
        GoType::RawJson | GoType::Pointer(_) | GoType::Map(_) | GoType::Struct(_) => "an object",
    };
    let mut found: String = value.to_string().chars().take(FOUND_CHARACTERS_MAX + 1).collect();
    if found.chars().count() > FOUND_CHARACTERS_MAX {
        found.pop();
        found.push('…');
    }
    TemplateError { path: String::new(), found, wanted }
}

impl TemplateError {
    fn below(self, parent: &str) -> Self {
        TemplateError { path: format!("{parent}{}", self.path), ..self }
    }
}
