//! `{{args.name}}` in the fields of a metric.

use super::{arguments, placeholder};
use crate::SecretRef;
use headgate_api::{Argument, Metric};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// Values for `{{args.name}}`, secrets as placeholders.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    values: BTreeMap<String, String>,
    secrets: BTreeMap<String, SecretRef>,
}

impl Arguments {
    /// # Errors
    /// An argument without a value.
    pub(super) fn new(arguments: &[Argument]) -> Result<Self, String> {
        let mut known = Self::default();
        for (index, argument) in arguments.iter().enumerate() {
            let secret = argument.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
            let value = match (secret, &argument.value) {
                (Some(secret), _) => {
                    let plain = placeholder::placeholder(index);
                    let reference = SecretRef { name: secret.name.clone(), key: secret.key.clone() };
                    known.secrets.insert(placeholder::percent_encoded(&plain), reference.clone());
                    known.secrets.insert(plain.clone(), reference);
                    plain
                }
                (None, Some(value)) => value.clone(),
                (None, None) => return Err(arguments::unresolved(&argument.name)),
            };
            known.values.insert(argument.name.clone(), value);
        }
        Ok(known)
    }

    /// Placeholders of all secrets, and where their values are.
    pub(super) fn secrets(&self) -> &BTreeMap<String, SecretRef> {
        &self.secrets
    }

    /// The metric with every `{{args.name}}` replaced. Numbers may be written as text, so `count: "{{args.n}}"` works.
    ///
    /// # Errors
    /// A name that isn't an argument, or what comes out isn't a metric any more.
    pub(super) fn apply(&self, metric: &Metric) -> Result<Metric, String> {
        let name = &metric.name;
        let plain = serde_json::to_value(metric).map_err(|error| format!("metric {name:?}: {error}"))?;
        let replaced = self.in_value(plain).map_err(|why| format!("metric {name:?}: {why}"))?;
        let replaced: Metric =
            serde_json::from_value(replaced).map_err(|error| format!("metric {name:?}: {error}"))?;
        self.check_secrets(&replaced)?;
        Ok(replaced)
    }

    fn in_value(&self, value: Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => Value::String(self.in_text(&text)?),
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.in_value(item)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => Value::Object(
                fields
                    .into_iter()
                    .map(|(key, field)| Ok((self.in_text(&key)?, self.in_value(field)?)))
                    .collect::<Result<Map<_, _>, String>>()?,
            ),
            other => other,
        })
    }

    fn in_text(&self, text: &str) -> Result<String, String> {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, tagged)) = rest.split_once(OPEN) {
            let Some((tag, after)) = tagged.split_once(CLOSE) else {
                return Err(format!("{OPEN} without {CLOSE} in {text:?}: write {OPEN}args.name{CLOSE}"));
            };
            result.push_str(before);
            result.push_str(self.value(tag)?);
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }

    fn value(&self, tag: &str) -> Result<&str, String> {
        let known = tag.trim().strip_prefix("args.").and_then(|name| self.values.get(name));
        known.map(String::as_str).ok_or_else(|| {
            let names: Vec<&str> = self.values.keys().map(String::as_str).collect();
            format!(
                "failed to resolve {OPEN}{tag}{CLOSE}: no such argument; declare it under args (declared: {})",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )
        })
    }

    /// Secrets are known to the shell alone, which fills them into queries; what is decided here can't depend on one.
    fn check_secrets(&self, metric: &Metric) -> Result<(), String> {
        if self.secrets.is_empty() {
            return Ok(());
        }
        let outside = Metric { provider: headgate_api::MetricProvider::default(), ..metric.clone() };
        let text = serde_json::to_value(&outside).map_err(|error| error.to_string())?;
        if holds_placeholder(&text) {
            return Err(format!(
                "metric {:?} uses an argument with a secretKeyRef outside its provider: only the fields of a provider \
                 may hold a secret",
                placeholder::masked(&metric.name)
            ));
        }
        Ok(())
    }
}

fn holds_placeholder(value: &Value) -> bool {
    match value {
        Value::String(text) => placeholder::in_text(text),
        Value::Array(items) => items.iter().any(holds_placeholder),
        Value::Object(fields) => fields.values().any(holds_placeholder),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
