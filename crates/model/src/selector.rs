//! Label selectors as JSON: whether they match, and how the scale subresource writes them.

use serde_json::Value;
use std::collections::BTreeMap;

/// Whether a label selector (`matchLabels`, `matchExpressions`) selects these labels. An expression with an operator
/// that Kubernetes does not have selects nothing.
pub fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    match_labels(selector).iter().all(|(key, value)| labels.get(key) == Some(value))
        && expressions(selector).all(|expression| expression_selects(expression, labels))
}

/// True when the selector has neither labels nor expressions, and so would select everything.
pub fn is_empty(selector: &Value) -> bool {
    match_labels(selector).is_empty() && expressions(selector).next().is_none()
}

/// The `matchLabels` of a selector.
pub fn match_labels(selector: &Value) -> BTreeMap<String, String> {
    string_map(selector.get("matchLabels"))
}

/// A JSON object of strings as a map; what is no string is left out.
pub fn string_map(value: Option<&Value>) -> BTreeMap<String, String> {
    let Some(Value::Object(map)) = value else { return BTreeMap::new() };
    map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The selector as kubectl prints it: `app=web,tier in (a,b)`. This is `status.selector`, which autoscalers parse.
pub fn to_text(selector: &Value) -> String {
    let mut parts: Vec<(String, String)> = match_labels(selector)
        .into_iter()
        .map(|(key, value)| (key.clone(), format!("{key}={value}")))
        .collect();
    parts.extend(expressions(selector).filter_map(|expression| {
        let key = expression.get("key")?.as_str()?.to_owned();
        let mut values = values(expression);
        values.sort_unstable();
        let values = values.join(",");
        let text = match expression.get("operator")?.as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        };
        Some((key, text))
    }));
    parts.sort();
    parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

fn expressions(selector: &Value) -> impl Iterator<Item = &Value> {
    selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten()
}

fn values(expression: &Value) -> Vec<&str> {
    expression
        .get("values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn expression_selects(expression: &Value, labels: &BTreeMap<String, String>) -> bool {
    let Some(key) = expression.get("key").and_then(Value::as_str) else { return false };
    let label = labels.get(key).map(String::as_str);
    let listed = label.is_some_and(|label| values(expression).contains(&label));
    match expression.get("operator").and_then(Value::as_str) {
        Some("In") => listed,
        Some("NotIn") => !listed,
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_written_as_kubectl_writes_them() {
        let selector = json!({"matchLabels": {"tier": "web", "app": "shop"}, "matchExpressions": [
            {"key": "zone", "operator": "In", "values": ["b", "a"]}, {"key": "old", "operator": "DoesNotExist"}]});
        assert_eq!(to_text(&selector), "app=shop,!old,tier=web,zone in (a,b)");
    }

    #[test]
    fn every_operator_selects_as_in_kubernetes() {
        let labels = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
        let case = |operator: &str, key: &str, value: &str| {
            selects(
                &json!({"matchExpressions": [{"key": key, "operator": operator, "values": [value]}]}),
                &labels,
            )
        };
        assert!(case("In", "app", "shop") && !case("In", "app", "other") && !case("In", "tier", "shop"));
        assert!(case("NotIn", "tier", "shop") && !case("NotIn", "app", "shop"));
        assert!(case("Exists", "app", "") && !case("Exists", "tier", ""));
        assert!(case("DoesNotExist", "tier", "") && !case("DoesNotExist", "app", ""));
        assert!(!case("Gt", "app", "shop"));
    }
}
