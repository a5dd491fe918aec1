//! Rules that pick metrics by a regular expression over their names: `dryRun` and `measurementRetention`.

use headgate_api::{AnalysisRunSpec, Metric};
use regex::RegexBuilder;
use std::collections::BTreeMap;

/// Measurements of a metric that are kept without a rule.
const RETAINED_DEFAULT: usize = 10;
/// A regular expression that compiles to more is refused, in bytes.
const REGEX_SIZE_MAX: usize = 1 << 20;

/// What the rules say about one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) dry_run: bool,
    pub(super) retained: usize,
}

/// Two lists of rules in a row; none is `None`.
pub(super) fn joined<T: Clone>(first: Option<&[T]>, second: Vec<T>) -> Option<Vec<T>> {
    let joined: Vec<T> = first.unwrap_or_default().iter().cloned().chain(second).collect();
    (!joined.is_empty()).then_some(joined)
}

/// What the rules of `spec` say about each of `metrics`, by name.
///
/// # Errors
/// A rule that picks no metric: it would silently do nothing.
pub(super) fn picked(spec: &AnalysisRunSpec, metrics: &[Metric]) -> Result<BTreeMap<String, Picked>, String> {
    let mut picked: BTreeMap<String, Picked> = metrics
        .iter()
        .map(|metric| (metric.name.clone(), Picked { dry_run: false, retained: RETAINED_DEFAULT }))
        .collect();
    for (index, rule) in spec.dry_run.iter().flatten().enumerate() {
        for name in matching("dryRun", index, &rule.metric_name, metrics)? {
            if let Some(picked) = picked.get_mut(name) {
                picked.dry_run = true;
            }
        }
    }
    for (index, rule) in spec.measurement_retention.iter().flatten().enumerate() {
        for name in matching("measurementRetention", index, &rule.metric_name, metrics)? {
            if let Some(picked) = picked.get_mut(name) {
                let limit = usize::try_from(rule.limit).unwrap_or_default();
                picked.retained = if limit > 0 { limit } else { RETAINED_DEFAULT };
            }
        }
    }
    Ok(picked)
}

/// The names that a rule picks: like Go's `MatchString`, anywhere in the name.
fn matching<'a>(
    list: &str,
    index: usize,
    expression: &str,
    metrics: &'a [Metric],
) -> Result<Vec<&'a str>, String> {
    let regex = RegexBuilder::new(expression).size_limit(REGEX_SIZE_MAX).build().map_err(|error| {
        // The library draws the expression over several lines; the last one says what is wrong.
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default();
        format!("{list}[{index}].metricName {expression:?} is no regular expression: {why}")
    })?;
    let names: Vec<&str> =
        metrics.iter().map(|metric| metric.name.as_str()).filter(|name| regex.is_match(name)).collect();
    if names.is_empty() {
        let known: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        return Err(format!(
            "{list}[{index}]: Rule didn't match any metric name(s): {expression:?} picks none of {}; correct \
             metricName, or remove the rule",
            known.join(", ")
        ));
    }
    Ok(names)
}
