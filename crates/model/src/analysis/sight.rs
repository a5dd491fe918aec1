//! Which metrics see the canary, and which see all traffic alike.
//!
//! A query that nothing ties to a version measures stable and canary together: at weight w it sees w of the canary's
//! errors, and a release that breaks one request in three passes at weight 5. The arguments are resolved here with
//! marks in place of everything that differs between the versions; a query that holds no mark is blind.

use super::{AnalysisProblem, ArgumentContext, ValidMetric, resolve, valid_metrics};
use crate::{Observed, TemplateKey};
use headgate_api::{AnalysisTemplateSpec, Metric, RolloutAnalysis};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Stands for what belongs to the newest version alone. Nobody writes it.
const CANARY_MARK: &str = "headgate-mark-of-the-canary";
/// Stands for the stable version's hash.
const STABLE_MARK: &str = "headgate-mark-of-stable";
/// Labels and annotations of a Rollout with one of these in their key change with every version.
const KEYS_OF_VERSIONS: &[&str] = &["version", "revision", "tag", "commit"];
/// Providers that judge by other means than a query over series.
const WITHOUT_QUERY: &[&str] = &["job", "web", "kayenta", "plugin"];
/// Weights that a message names: events are short.
const WEIGHTS_TOLD_MAX: usize = 8;

/// What tells the versions of a Rollout apart.
#[derive(Clone, Copy, Debug)]
pub struct Versions<'a> {
    /// `canaryService`, where the spec names one.
    pub canary_service: Option<&'a str>,
    /// `stableService`, where the spec names one.
    pub stable_service: Option<&'a str>,
    /// The Rollout as JSON, for field references.
    pub rollout: &'a Value,
}

/// A metric that counts in the verdict and does not see the canary by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct BlindMetric {
    /// Its name.
    pub name: String,
    /// What it sees instead.
    pub sight: Sight,
}

/// What a blind metric sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sight {
    /// The stable version alone.
    StableOnly,
    /// Both versions together, and how much it tolerates, where its condition is a plain comparison.
    AllTraffic(Option<Tolerance>),
}

/// How many of all requests may be bad before a metric trips.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The share, 0 to 1.
    pub share: f64,
    /// What a bad request is.
    pub bad: Bad,
}

/// What a bad request is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bad {
    /// It fails.
    Failing,
    /// It takes longer than this, in the query's unit.
    SlowerThan(f64),
}

/// The metrics of an analysis that do not see the canary by themselves, in the order of the templates.
///
/// Metrics in `dryRun` and of providers without a query (`job`, `web`, `kayenta`, `plugin`) are passed over.
///
/// # Errors
/// As [`resolve`].
pub fn blind_metrics(
    analysis: &RolloutAnalysis,
    templates: &BTreeMap<TemplateKey, Observed<AnalysisTemplateSpec>>,
    versions: &Versions<'_>,
) -> Result<Vec<BlindMetric>, AnalysisProblem> {
    let rollout = || marked(versions.rollout);
    let context = ArgumentContext { stable_hash: STABLE_MARK, latest_hash: CANARY_MARK, rollout: &rollout };
    let spec = resolve(analysis, templates, &context)?;
    let metrics = valid_metrics(&spec).map_err(|problem| AnalysisProblem::Invalid(problem.to_string()))?;
    let counting = metrics.iter().filter(|metric| !metric.dry_run);
    Ok(counting.filter_map(|metric| blind(metric, versions)).collect())
}

/// The Rollout with marks where its versions differ.
fn marked(rollout: &Value) -> Value {
    let mut rollout = rollout.clone();
    if let Some(template) = rollout.pointer_mut("/spec/template") {
        mark_texts(template);
    }
    for map in ["/metadata/labels", "/metadata/annotations"] {
        let entries = rollout.pointer_mut(map).and_then(Value::as_object_mut);
        let changing = |key: &str| KEYS_OF_VERSIONS.iter().any(|word| key.to_lowercase().contains(word));
        for (_, value) in entries.into_iter().flatten().filter(|(key, _)| changing(key)) {
            *value = CANARY_MARK.into();
        }
    }
    if let Some(fields) = rollout.as_object_mut()
        && let Value::Object(status) = fields.entry("status").or_insert_with(|| json!({}))
    {
        status.insert("currentPodHash".to_owned(), CANARY_MARK.into());
        status.insert("stableRS".to_owned(), STABLE_MARK.into());
    }
    rollout
}

fn mark_texts(value: &mut Value) {
    match value {
        Value::String(text) => CANARY_MARK.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(mark_texts),
        Value::Object(fields) => fields.values_mut().for_each(mark_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn blind(metric: &ValidMetric, versions: &Versions<'_>) -> Option<BlindMetric> {
    let provider = serde_json::to_value(&metric.metric.provider).ok()?;
    let (name, config) = provider.as_object()?.iter().next()?;
    if WITHOUT_QUERY.contains(&name.as_str()) {
        return None;
    }
    // The address and the headers say nothing about what is asked.
    let text = config.get("query").and_then(Value::as_str).map_or_else(|| config.to_string(), str::to_owned);
    if names_canary(&text, versions) {
        return None;
    }
    let names_stable =
        text.contains(STABLE_MARK) || versions.stable_service.is_some_and(|service| text.contains(service));
    let sight = match names_stable {
        true => Sight::StableOnly,
        false => Sight::AllTraffic(tolerance(&metric.metric, &text)),
    };
    Some(BlindMetric { name: metric.metric.name.clone(), sight })
}

/// Whether a query is tied to the canary: by a mark, by its Service, or by the word (a label or a set of pods that is
/// called so).
fn names_canary(text: &str, versions: &Versions<'_>) -> bool {
    // `shop` is no sign of the canary Service `shop` where it is a part of `shop-stable`.
    let without_stable = match versions.stable_service {
        Some(stable) if versions.canary_service.is_some_and(|canary| stable.contains(canary)) => {
            text.replace(stable, "")
        }
        _ => text.to_owned(),
    };
    text.contains(CANARY_MARK)
        || versions.canary_service.is_some_and(|service| without_stable.contains(service))
        || without_stable.to_lowercase().contains("canary")
}

/// A comparison of `result` with a number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Comparison {
    /// The values on the good side are the larger ones.
    is_least: bool,
    limit: f64,
}

/// What a metric tolerates of all traffic, where its condition is a plain comparison and its query a share of requests
/// or a quantile.
fn tolerance(metric: &Metric, query: &str) -> Option<Tolerance> {
    let good = match (metric.failure_condition.as_deref(), metric.success_condition.as_deref()) {
        // Where both are written, only the failure condition makes a measurement failed.
        (Some(failure), _) if !failure.is_empty() => {
            let bad = comparison(failure)?;
            Comparison { is_least: !bad.is_least, ..bad }
        }
        (_, Some(success)) => comparison(success)?,
        _ => return None,
    };
    if let Some(quantile) = quantile(query) {
        let share = 1.0 - quantile;
        let is_sound = !good.is_least && (0.0..1.0).contains(&share);
        return is_sound.then_some(Tolerance { share, bad: Bad::SlowerThan(good.limit) });
    }
    let is_percent = good.limit > 1.0 && query.contains("100");
    let limit = if is_percent { good.limit / 100.0 } else { good.limit };
    let share = if good.is_least { 1.0 - limit } else { limit };
    let is_share = query.contains('/') && (0.0..1.0).contains(&share);
    is_share.then_some(Tolerance { share, bad: Bad::Failing })
}

/// `result >= 0.95`, `result[0] < 0.05`, `asFloat(result) > 1`: which values make it true.
fn comparison(condition: &str) -> Option<Comparison> {
    let text: String = condition.chars().filter(|character| !character.is_whitespace()).collect();
    let subjects = ["asFloat(result[0])", "asFloat(result)", "result[0]", "result"];
    let rest = subjects.iter().find_map(|subject| text.strip_prefix(subject))?;
    let operators = [(">=", true), ("<=", false), (">", true), ("<", false)];
    let (operator, is_least) = operators.into_iter().find(|(operator, _)| rest.starts_with(operator))?;
    let limit = rest.strip_prefix(operator)?.parse().ok()?;
    Some(Comparison { is_least, limit })
}

/// The first argument of `histogram_quantile`.
fn quantile(query: &str) -> Option<f64> {
    let (_, arguments) = query.split_once("histogram_quantile(")?;
    arguments.split_once(',')?.0.trim().parse().ok()
}

impl BlindMetric {
    /// What to tell users: that the metric is blind, how bad the canary must be at each of `weights` (of `total`) to
    /// trip it, and how to mend it.
    pub fn message(&self, weights: &[i32], total: i32) -> String {
        let name = &self.name;
        let mend = "use an argument with podTemplateHashValue: Latest, or the canary Service, in its query";
        match self.sight {
            Sight::StableOnly => format!(
                "metric {name:?} looks at the stable version only: no canary, however bad, trips it; {mend}"
            ),
            Sight::AllTraffic(tolerance) => {
                let needs = tolerance.map(|tolerance| needs(tolerance, weights, total)).unwrap_or_default();
                format!("metric {name:?} does not tell canary and stable apart{needs}; {mend}")
            }
        }
    }
}

/// How bad the canary must be: with a share `s` tolerated of all requests, more than `s/w` of the canary's at weight w.
fn needs(tolerance: Tolerance, weights: &[i32], total: i32) -> String {
    let needed = |weight: &i32| tolerance.share * f64::from(total) / f64::from((*weight).max(0));
    let told = weights.iter().take(WEIGHTS_TOLD_MAX);
    let (possible, impossible): (Vec<&i32>, Vec<&i32>) = told.partition(|weight| needed(weight) < 1.0);
    let shares: Vec<String> =
        possible.iter().map(|weight| format!("{} % at weight {weight}", percent(needed(weight)))).collect();
    let never: Vec<String> =
        impossible.iter().map(|weight| format!("not at all at weight {weight}")).collect();
    let bad = match tolerance.bad {
        Bad::Failing => "failing".to_owned(),
        Bad::SlowerThan(limit) => format!("slower than {limit}"),
    };
    let only = format!("only with more than this part of its requests {bad}: {}", shares.join(", "));
    let parts: Vec<String> = (!shares.is_empty()).then_some(only).into_iter().chain(never).collect();
    let more = if weights.len() > WEIGHTS_TOLD_MAX { ", …" } else { "" };
    match parts.is_empty() {
        true => String::new(),
        false => format!(". Beside a good stable version the canary trips it {}{more}", parts.join(", ")),
    }
}

/// Hundredths with at most one digit behind the point, rounded up: less is not enough.
fn percent(share: f64) -> f64 {
    // What binary fractions add is no reason to round up.
    ((share * 1000.0) - 1e-6).ceil() / 10.0
}
