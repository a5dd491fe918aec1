//! Metrics once they are known to be right.

use super::{placeholder, rules, substitution::Arguments};
use crate::SecretRef;
use headgate_api::{AnalysisRunSpec, GoDuration, IntOrString, Metric, MetricProvider};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// Measurements in a row that may end in an error, unless the metric says otherwise.
const CONSECUTIVE_ERROR_LIMIT_DEFAULT: i32 = 4;

/// A metric with its arguments filled in, its numbers read and its defaults set (Argo Rollouts' defaults).
#[derive(Clone, Debug, PartialEq)]
pub struct ValidMetric {
    /// The metric; a secret argument is a placeholder in it, in the provider's fields alone.
    pub metric: Metric,
    /// The placeholders of the run's secrets. Each stands here twice: as it is, and percent-encoded (see
    /// [`crate::HttpQuery::secrets`]).
    pub secrets: BTreeMap<String, SecretRef>,
    /// Time between two measurements. `None`: one measurement, repeated only after errors.
    pub interval: Option<SignedDuration>,
    /// Time from the start of the run to the first measurement. Default 0.
    pub initial_delay: SignedDuration,
    /// Measurements to take, 1 or more, errors not counted. `None`: as long as the run lasts.
    pub count: Option<i32>,
    /// Failed measurements that are tolerated, 0 or more, default 0. `None` (written -1): any number.
    pub failure_limit: Option<i32>,
    /// Inconclusive measurements that are tolerated, 0 or more, default 0.
    pub inconclusive_limit: i32,
    /// Errors in a row that are tolerated, 0 or more, default 4.
    pub consecutive_error_limit: i32,
    /// Successful measurements in a row that make the metric successful. `None` (the default): no number does.
    pub consecutive_success_limit: Option<i32>,
    /// Whether the metric is measured without effect on the run.
    pub dry_run: bool,
    /// Measurements that the status keeps, 1 or more, default 10.
    pub retained: usize,
}

impl ValidMetric {
    /// The key of its provider in `metrics[].provider`, for example `prometheus`.
    #[must_use]
    pub fn provider(&self) -> String {
        if self.metric.provider.prometheus.is_some() {
            return "prometheus".to_owned();
        }
        let written = serde_json::to_value(&self.metric.provider).unwrap_or_default();
        written.as_object().and_then(|fields| fields.keys().next().cloned()).unwrap_or_default()
    }

    /// Why this version can't measure it; `None` when it can.
    #[must_use]
    pub fn unsupported(&self) -> Option<String> {
        let provider = self.provider();
        let is_known = super::PROVIDERS.contains(&provider.as_str());
        (!is_known).then(|| format!("provider {provider} is not supported by this version of Headgate yet"))
    }

    /// A text of the provider with secrets masked, for messages and the status.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        placeholder::masked(text)
    }

    /// The placeholders that occur in any of `texts`, for [`crate::HttpQuery::secrets`].
    pub fn secrets_in<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> BTreeMap<String, SecretRef> {
        let texts: Vec<&str> = texts.into_iter().collect();
        let used = |placeholder: &str| texts.iter().any(|text| text.contains(placeholder));
        self.secrets
            .iter()
            .filter(|(placeholder, _)| used(placeholder))
            .map(|(placeholder, reference)| (placeholder.clone(), reference.clone()))
            .collect()
    }
}

/// Why the spec of an AnalysisRun can't be run. The texts begin as Argo Rollouts' do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunProblem {
    /// An argument is missing or used wrongly.
    #[error("Unable to resolve metric arguments: {0}")]
    Arguments(String),
    /// Something else is wrong.
    #[error("Analysis spec invalid: {0}")]
    Spec(String),
}

/// The metrics of `spec`, in its order, at least one, each name once.
///
/// # Errors
/// The first thing that is wrong: what, where, and how to mend it.
pub fn valid_metrics(spec: &AnalysisRunSpec) -> Result<Vec<ValidMetric>, RunProblem> {
    let arguments =
        Arguments::new(spec.args.as_deref().unwrap_or_default()).map_err(RunProblem::Arguments)?;
    let metrics: Vec<Metric> = spec
        .metrics
        .iter()
        .map(|metric| arguments.apply(metric))
        .collect::<Result<_, _>>()
        .map_err(RunProblem::Arguments)?;
    validated(spec, metrics, &arguments).map_err(RunProblem::Spec)
}

fn validated(
    spec: &AnalysisRunSpec,
    metrics: Vec<Metric>,
    arguments: &Arguments,
) -> Result<Vec<ValidMetric>, String> {
    if metrics.is_empty() {
        return Err("no metrics specified: an analysis needs a template with metrics".to_owned());
    }
    let mut names = BTreeSet::new();
    for (index, metric) in metrics.iter().enumerate() {
        if !names.insert(metric.name.as_str()) {
            return Err(format!("metrics[{index}]: duplicate name '{}': rename one of them", metric.name));
        }
    }
    let mut picked = rules::picked(spec, &metrics)?;
    let mut valid = Vec::new();
    for (index, metric) in metrics.into_iter().enumerate() {
        let name = metric.name.clone();
        let Some(rules) = picked.remove(&name) else { continue };
        let metric =
            one(metric, rules, arguments).map_err(|why| format!("metrics[{index}] ({name}): {why}"))?;
        valid.push(metric);
    }
    Ok(valid)
}

fn one(metric: Metric, rules: rules::Picked, arguments: &Arguments) -> Result<ValidMetric, String> {
    check_provider(&metric.provider)?;
    let interval = duration("interval", metric.interval.as_ref())?;
    let initial_delay = duration("initialDelay", metric.initial_delay.as_ref())?.unwrap_or_default();
    let count = number("count", metric.count.as_ref())?.unwrap_or(0);
    let failure_limit = number("failureLimit", metric.failure_limit.as_ref())?.unwrap_or(0);
    let inconclusive_limit = number("inconclusiveLimit", metric.inconclusive_limit.as_ref())?.unwrap_or(0);
    let consecutive_error_limit = number("consecutiveErrorLimit", metric.consecutive_error_limit.as_ref())?
        .unwrap_or(CONSECUTIVE_ERROR_LIMIT_DEFAULT);
    let consecutive_success_limit =
        number("consecutiveSuccessLimit", metric.consecutive_success_limit.as_ref())?.unwrap_or(0);
    let at_least = |field: &str, value: i32, least: i32| {
        if value < least { Err(format!("{field} must be >= {least}, it is {value}")) } else { Ok(()) }
    };
    at_least("consecutiveSuccessLimit", consecutive_success_limit, 0)?;
    check_failure_limit(failure_limit, consecutive_success_limit, count)?;
    at_least("inconclusiveLimit", inconclusive_limit, 0)?;
    at_least("consecutiveErrorLimit", consecutive_error_limit, 0)?;
    at_least("count", count, 0)?;
    if count > 0 && count < inconclusive_limit {
        return Err(format!(
            "count must be >= inconclusiveLimit, but {count} < {inconclusive_limit}: raise count"
        ));
    }
    if count > 1 && interval.is_none() {
        return Err("interval must be specified when count > 1: add interval, for example 1m".to_owned());
    }
    let endless = interval.is_some() && count == 0;
    Ok(ValidMetric {
        secrets: arguments.secrets().clone(),
        interval,
        initial_delay,
        count: (!endless).then_some(count.max(1)),
        failure_limit: (failure_limit >= 0).then_some(failure_limit),
        inconclusive_limit,
        consecutive_error_limit,
        consecutive_success_limit: (consecutive_success_limit > 0).then_some(consecutive_success_limit),
        dry_run: rules.dry_run,
        retained: rules.retained,
        metric,
    })
}

/// A metric must be able to fail, and to succeed by its limits before its count is over (Argo Rollouts' rules).
fn check_failure_limit(failure: i32, consecutive_success: i32, count: i32) -> Result<(), String> {
    if failure < -1 {
        return Err(format!("failureLimit must be >= 0, or -1 to be disabled, it is {failure}"));
    }
    if failure == -1 && consecutive_success == 0 {
        let why = "failureLimit and consecutiveSuccessLimit cannot both be disabled: the metric could not fail; set one of them";
        return Err(why.to_owned());
    }
    if count > 0 && failure == -1 && count < consecutive_success {
        return Err(format!(
            "count must be >= consecutiveSuccessLimit, but {count} < {consecutive_success}: raise count"
        ));
    }
    if count > 0 && consecutive_success == 0 && count < failure {
        return Err(format!("count must be >= failureLimit, but {count} < {failure}: raise count"));
    }
    if count > 0 && failure >= 0 && i64::from(count) < i64::from(failure) + i64::from(consecutive_success) {
        return Err(format!(
            "count ({count}) must be >= failureLimit + consecutiveSuccessLimit ({failure} + {consecutive_success}) if both \
             >= 0: raise count"
        ));
    }
    Ok(())
}

/// A duration of 0 or more; `""` counts as absent, as in Go.
fn duration(field: &str, written: Option<&GoDuration>) -> Result<Option<SignedDuration>, String> {
    let Some(written) = written.filter(|written| !written.is_empty()) else { return Ok(None) };
    let duration = written.parse().map_err(|error| format!("{field}: {error}"))?;
    if duration.is_negative() {
        return Err(format!("{field} {:?} is negative: write 0s or more", written.0));
    }
    Ok(Some(duration))
}

/// A number, written as one or as text.
fn number(field: &str, written: Option<&IntOrString>) -> Result<Option<i32>, String> {
    match written {
        None => Ok(None),
        Some(IntOrString::Int(number)) => Ok(Some(*number)),
        Some(IntOrString::String(text)) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| format!("{field} {text:?} is not a whole number: write for example 3")),
    }
}

fn check_provider(provider: &MetricProvider) -> Result<(), String> {
    let written = serde_json::to_value(provider).map_err(|error| error.to_string())?;
    let names: Vec<&str> = written.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    match names.as_slice() {
        [_] => Ok(()),
        [] => Err("no provider specified: add for example provider.prometheus".to_owned()),
        _ => Err(format!(
            "multiple providers specified ({}): keep one, make a metric for each",
            names.join(", ")
        )),
    }
}
