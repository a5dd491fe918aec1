//! From templates and arguments to what an AnalysisRun measures.
//!
//! [`resolve`] merges the templates that an analysis names into the spec of an AnalysisRun, [`reachable`] says which
//! templates that takes, and [`valid_metrics`] reads a spec into metrics in which wrong states don't exist.
//! The rules are Argo Rollouts'; where its order or its messages help nobody, the message says what, where, and how
//! to mend it.

mod arguments;
mod field_path;
mod metric;
mod placeholder;
mod rules;
mod sight;
mod substitution;
mod templates;

#[cfg(test)]
mod tests;

pub use arguments::ArgumentContext;
pub use metric::{RunProblem, ValidMetric, valid_metrics};
pub use placeholder::percent_encoded;
pub use sight::{Bad, BlindMetric, Sight, Tolerance, Versions, blind_metrics};
pub use templates::reachable;

use crate::{Observed, TemplateKey};
use headgate_api::{AnalysisRunSpec, AnalysisTemplateSpec, RolloutAnalysis};
use std::collections::BTreeMap;

/// Why an analysis can't be turned into an AnalysisRun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnalysisProblem {
    /// A template was not read yet: look again.
    #[error("{} was not read yet", templates::describe(.0))]
    TemplateUnknown(TemplateKey),
    /// A template doesn't exist.
    #[error("{kind} {name:?}, which {named_by} names, does not exist: create it, or correct the name")]
    TemplateMissing {
        /// AnalysisTemplate or ClusterAnalysisTemplate.
        kind: &'static str,
        /// The name that was looked for.
        name: String,
        /// Where it is named, for example `templates[0]` or `templates[1] of AnalysisTemplate "latency"`.
        named_by: String,
    },
    /// An argument's field outside `metadata` has no value yet. It may come with the release: what the status says is not
    /// there before it. So this holds up no more than the run itself (Argo Rollouts fails at its creation only).
    #[error("{0}")]
    FieldUnset(String),
    /// What is written can't be run: what, where, and how to mend it.
    #[error("{0}")]
    Invalid(String),
}

impl AnalysisProblem {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    fn of_argument(name: &str, why: &str) -> Self {
        Self::Invalid(format!("args.{name}: {why}"))
    }
}

/// The spec of the AnalysisRun that `analysis` asks for: its templates merged, its arguments resolved.
///
/// `templates` holds at least what [`reachable`] names. References to Secrets stay references.
///
/// # Errors
/// [`AnalysisProblem`]; a spec that comes back is one that [`valid_metrics`] accepts.
pub fn resolve(
    analysis: &RolloutAnalysis,
    templates: &BTreeMap<TemplateKey, Observed<AnalysisTemplateSpec>>,
    context: &ArgumentContext<'_>,
) -> Result<AnalysisRunSpec, AnalysisProblem> {
    let merged = templates::merge(analysis, templates)?;
    let args = arguments::merge(analysis.args.as_deref().unwrap_or_default(), merged.args, context)?;
    let some = |args: Vec<_>| (!args.is_empty()).then_some(args);
    let spec = AnalysisRunSpec {
        metrics: merged.metrics,
        args: some(args),
        dry_run: rules::joined(analysis.dry_run.as_deref(), merged.dry_run),
        measurement_retention: rules::joined(
            analysis.measurement_retention.as_deref(),
            merged.measurement_retention,
        ),
        ..AnalysisRunSpec::default()
    };
    valid_metrics(&spec).map_err(|problem| AnalysisProblem::Invalid(problem.to_string()))?;
    Ok(spec)
}

/// The metric providers of this version, as keys of `metrics[].provider`.
pub const PROVIDERS: [&str; 1] = ["prometheus"];

/// Checks that this version can measure every metric that counts. One in a dry run harms nobody.
///
/// # Errors
/// Names the first metric that it can't measure, and its provider.
pub fn check_supported(spec: &AnalysisRunSpec) -> Result<(), AnalysisProblem> {
    let metrics = valid_metrics(spec).map_err(|problem| AnalysisProblem::Invalid(problem.to_string()))?;
    let found = metrics.iter().filter(|metric| !metric.dry_run).find_map(|metric| {
        let why = metric.unsupported()?;
        Some(format!(
            "metric {:?}: {why}: use prometheus, or leave this Rollout to Argo Rollouts",
            metric.metric.name
        ))
    });
    found.map_or(Ok(()), |why| Err(AnalysisProblem::Invalid(why)))
}

/// Checks that every metric ends by itself: an analysis that a step waits for must not run for ever.
///
/// # Errors
/// Names the first metric that doesn't. Not for background analysis, which may run as long as the release does.
pub fn check_finite(spec: &AnalysisRunSpec) -> Result<(), AnalysisProblem> {
    let metrics = valid_metrics(spec).map_err(|problem| AnalysisProblem::Invalid(problem.to_string()))?;
    match metrics.iter().find(|metric| metric.count.is_none()) {
        None => Ok(()),
        Some(metric) => Err(AnalysisProblem::Invalid(format!(
            "metric {:?} runs indefinitely: it has an interval and no count; only a background analysis may \
             (add count, or remove interval)",
            metric.metric.name
        ))),
    }
}
