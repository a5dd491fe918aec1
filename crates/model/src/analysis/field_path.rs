//! The value of a field of an object, by its path.

use super::AnalysisProblem;
use serde_json::Value;

/// The text of the field at `path`: paths that begin with `metadata` follow the rules of the downward API, any other
/// one walks the JSON to a text, a number or a truth value.
///
/// # Errors
/// Says which argument it is for, and what is wrong with the path: [`AnalysisProblem::Invalid`] within `metadata`,
/// [`AnalysisProblem::FieldUnset`] elsewhere.
pub(super) fn value(argument: &str, path: &str, object: &Value) -> Result<String, AnalysisProblem> {
    if path == "metadata" || path.starts_with("metadata.") {
        downward(path, object).map_err(|why| AnalysisProblem::of_argument(argument, &why))
    } else {
        walk(path, object).map_err(|why| AnalysisProblem::FieldUnset(format!("args.{argument}: {why}")))
    }
}

/// Kubernetes: the fields that the downward API knows; a label or annotation that isn't there is the empty text.
fn downward(path: &str, object: &Value) -> Result<String, String> {
    let metadata = &object["metadata"];
    let map = |name: &str| -> Vec<(String, String)> {
        let entries = metadata[name].as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    };
    let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
    match path {
        "metadata.name" => return Ok(text("name")),
        "metadata.namespace" => return Ok(text("namespace")),
        "metadata.uid" => return Ok(text("uid")),
        "metadata.labels" => return Ok(lines(map("labels"))),
        "metadata.annotations" => return Ok(lines(map("annotations"))),
        _ => {}
    }
    for name in ["labels", "annotations"] {
        let rest = path.strip_prefix("metadata.").and_then(|rest| rest.strip_prefix(name));
        if let Some(key) = rest.and_then(quoted_subscript) {
            return Ok(metadata[name][key].as_str().unwrap_or_default().to_owned());
        }
    }
    Err(format!(
        "fieldPath {path:?} is not supported: write metadata.name, metadata.namespace, metadata.uid, \
         metadata.labels['key'], metadata.annotations['key'], or a path outside metadata"
    ))
}

/// `['key']` or `["key"]`.
fn quoted_subscript(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let quoted = |quote: char| inner.strip_prefix(quote)?.strip_suffix(quote);
    quoted('\'').or_else(|| quoted('"')).filter(|key| !key.is_empty())
}

/// Kubernetes writes a whole map as one sorted line for each entry.
fn lines(mut entries: Vec<(String, String)>) -> String {
    entries.sort();
    let lines: Vec<String> = entries.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

fn walk(path: &str, object: &Value) -> Result<String, String> {
    let mut place = object;
    for part in parts(path) {
        let next = match place {
            Value::Object(fields) => fields.get(&part),
            Value::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        };
        place = next
            .ok_or_else(|| format!("fieldPath {path:?} leads nowhere: the Rollout has no {part:?} there"))?;
    }
    match place {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("fieldPath {path:?} leads to no text, number or truth value: name a field within it"))
        }
    }
}

/// The steps of a path: split at `.`, `[` and `]`, except within quotes.
fn parts(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for c in path.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '.' | '[' | ']') => parts.push(String::new()),
            (_, c) => {
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}
