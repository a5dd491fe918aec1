//! Which templates an analysis reaches, and what they are together.

use super::AnalysisProblem;
use crate::{Observed, TemplateKey};
use headgate_api::{
    AnalysisTemplateRef, AnalysisTemplateSpec, Argument, DryRun, MeasurementRetention, Metric,
    RolloutAnalysis,
};
use std::collections::{BTreeMap, BTreeSet};

/// More templates than this are a mistake.
const TEMPLATES_MAX: usize = 100;

/// Templates by key, as far as they are known.
type Templates = BTreeMap<TemplateKey, Observed<AnalysisTemplateSpec>>;

/// Several templates as one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Merged {
    pub(super) metrics: Vec<Metric>,
    pub(super) args: Vec<Argument>,
    pub(super) dry_run: Vec<DryRun>,
    pub(super) measurement_retention: Vec<MeasurementRetention>,
}

/// Every template that `analysis` reaches, as far as `templates` tells: those that it names, and those that known
/// ones name in turn. Ask again when more of them are known.
pub fn reachable(analysis: &RolloutAnalysis, templates: &Templates) -> BTreeSet<TemplateKey> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<TemplateKey> = keys(analysis.templates.as_deref()).collect();
    while let Some(key) = waiting.pop() {
        if reached.len() == TEMPLATES_MAX || !reached.insert(key.clone()) {
            continue;
        }
        if let Some(Observed::Present(template)) = templates.get(&key) {
            waiting.extend(keys(template.templates.as_deref()));
        }
    }
    reached
}

/// A template as users call it.
pub(super) fn describe(key: &TemplateKey) -> String {
    format!("{} {:?}", kind(key), name(key))
}

/// All templates of `analysis` as one, each counted once, namespaced ones before cluster-wide ones, a template
/// before those that it names (Argo Rollouts: the order in which metrics are shown).
pub(super) fn merge(analysis: &RolloutAnalysis, templates: &Templates) -> Result<Merged, AnalysisProblem> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    collect(analysis.templates.as_deref(), "", templates, &mut seen, &mut found)?;
    found.sort_by_key(|(key, _)| matches!(key, TemplateKey::Cluster(_)));
    let mut merged = Merged::default();
    for (key, template) in found {
        add_metrics(&mut merged.metrics, key, template)?;
        add_arguments(&mut merged.args, key, template)?;
        merged.dry_run.extend(template.dry_run.iter().flatten().cloned());
        merged.measurement_retention.extend(template.measurement_retention.iter().flatten().cloned());
    }
    Ok(merged)
}

type Found<'a> = Vec<(&'a TemplateKey, &'a AnalysisTemplateSpec)>;

/// Depth first; a template that was seen before is passed over, so a ring of templates ends too.
fn collect<'a>(
    references: Option<&[AnalysisTemplateRef]>,
    owner: &str,
    templates: &'a Templates,
    seen: &mut BTreeSet<&'a TemplateKey>,
    found: &mut Found<'a>,
) -> Result<(), AnalysisProblem> {
    for (index, reference) in references.unwrap_or_default().iter().enumerate() {
        let named_by = format!("templates[{index}]{owner}");
        let Some(key) = key(reference) else {
            return Err(AnalysisProblem::invalid(format!("{named_by} has no templateName: name a template")));
        };
        let template = match templates.get_key_value(&key) {
            Some((known, Observed::Present(template))) => Some((known, template)),
            Some((_, Observed::Absent)) => None,
            Some((_, Observed::Unknown)) | None => return Err(AnalysisProblem::TemplateUnknown(key)),
        };
        let Some((known, template)) = template else {
            let name = name(&key).to_owned();
            return Err(AnalysisProblem::TemplateMissing { kind: kind(&key), name, named_by });
        };
        if !seen.insert(known) {
            continue;
        }
        if seen.len() > TEMPLATES_MAX {
            return Err(AnalysisProblem::invalid(format!(
                "more than {TEMPLATES_MAX} templates are named: name fewer"
            )));
        }
        found.push((known, template));
        let owner = format!(" of {}", describe(known));
        collect(template.templates.as_deref(), &owner, templates, seen, found)?;
    }
    Ok(())
}

fn add_metrics(
    metrics: &mut Vec<Metric>,
    key: &TemplateKey,
    template: &AnalysisTemplateSpec,
) -> Result<(), AnalysisProblem> {
    for metric in template.metrics.iter().flatten() {
        if metrics.iter().any(|earlier| earlier.name == metric.name) {
            return Err(AnalysisProblem::invalid(format!(
                "two metrics have the same name '{}': the second is in {}; rename one of them",
                metric.name,
                describe(key)
            )));
        }
        metrics.push(metric.clone());
    }
    Ok(())
}

/// An argument that several templates declare is one argument; the first value that is written holds.
fn add_arguments(
    arguments: &mut Vec<Argument>,
    key: &TemplateKey,
    template: &AnalysisTemplateSpec,
) -> Result<(), AnalysisProblem> {
    for argument in template.args.iter().flatten() {
        let Some(earlier) = arguments.iter_mut().find(|earlier| earlier.name == argument.name) else {
            arguments.push(argument.clone());
            continue;
        };
        if let (Some(first), Some(second)) = (&earlier.value, &argument.value)
            && first != second
        {
            return Err(AnalysisProblem::invalid(format!(
                "Argument `{}` specified multiple times with different values: '{first}', '{second}': the second is \
                 in {}; write the same value, or give the value where the template is used",
                argument.name,
                describe(key)
            )));
        }
        if earlier.value.is_none() && (argument.value.is_some() || earlier.value_from.is_none()) {
            *earlier = argument.clone();
        }
    }
    Ok(())
}

fn keys(references: Option<&[AnalysisTemplateRef]>) -> impl Iterator<Item = TemplateKey> {
    references.unwrap_or_default().iter().filter_map(key)
}

fn key(reference: &AnalysisTemplateRef) -> Option<TemplateKey> {
    let name = reference.template_name.clone().filter(|name| !name.is_empty())?;
    let cluster = reference.cluster_scope.unwrap_or_default();
    Some(if cluster { TemplateKey::Cluster(name) } else { TemplateKey::Namespaced(name) })
}

fn kind(key: &TemplateKey) -> &'static str {
    match key {
        TemplateKey::Namespaced(_) => "AnalysisTemplate",
        TemplateKey::Cluster(_) => "ClusterAnalysisTemplate",
    }
}

fn name(key: &TemplateKey) -> &str {
    match key {
        TemplateKey::Namespaced(name) | TemplateKey::Cluster(name) => name,
    }
}
