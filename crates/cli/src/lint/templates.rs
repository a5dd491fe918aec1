//! Analysis templates and runs, each for itself.

use super::{Notes, Severity};
use headgate_api::{AnalysisRunSpec, AnalysisTemplateSpec, Argument};
use headgate_model::analysis::{ValidMetric, valid_metrics};
use serde_json::Value;

/// Stand-ins for arguments that get their values where the template is used: a number, a duration, an address, a scheme.
const STAND_INS: [&str; 4] = ["1", "1m", "http://stand-in", "http"];

/// Checks a template by itself. What hangs on arguments without a value is judged where they have one.
pub(super) fn check(template: &Value, notes: &mut Notes) {
    let Some(written) = template.get("spec") else { return };
    // What can't be read is a matter of types, and said already.
    let Ok(spec) = serde_json::from_value::<AnalysisTemplateSpec>(written.clone()) else { return };
    if spec.metrics.iter().flatten().next().is_none() {
        if spec.templates.iter().flatten().next().is_none() {
            notes.error(
                "spec.metrics",
                "Required value: a template needs metrics, or templates that have some",
            );
        }
        return;
    }
    let guessed = run(&spec, |argument| guess(&argument.name, &spec));
    let uniform = STAND_INS.iter().map(|value| run(&spec, |_| (*value).to_owned()));
    let answers: Vec<_> = std::iter::once(guessed).chain(uniform).map(|run| valid_metrics(&run)).collect();
    let (valid, invalid): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    if valid.is_empty() {
        let mut problems = invalid.into_iter().filter_map(Result::err).map(|problem| problem.to_string());
        let Some(first) = problems.next() else { return };
        if problems.all(|other| other == first) {
            notes.error("spec.metrics", first);
        } else {
            notes.warning("spec.metrics", format!("{first} (with stand-ins for arguments without a value)"));
        }
        return;
    }
    // A problem that one of the values does not have is a matter of the value.
    let mut lists = valid.into_iter().flatten().map(|metrics| problems(&metrics));
    let first = lists.next().unwrap_or_default();
    let others: Vec<_> = lists.collect();
    for problem in first.into_iter().filter(|problem| others.iter().all(|list| list.contains(problem))) {
        notes.note(problem.0, problem.1, problem.2);
    }
}

/// A value that is likely to fit an argument, by the fields that are nothing but the argument.
fn guess(name: &str, template: &AnalysisTemplateSpec) -> String {
    let placeholder = format!("{{{{args.{name}}}}}");
    let is_all_of = |text: Option<&str>| text.is_some_and(|text| text.trim() == placeholder);
    let mut metrics = template.metrics.iter().flatten();
    let is_duration = metrics.clone().any(|metric| {
        [&metric.interval, &metric.initial_delay].into_iter().flatten().any(|text| is_all_of(Some(&text.0)))
    });
    let is_address = metrics.any(|metric| {
        is_all_of(metric.provider.prometheus.as_ref().and_then(|prometheus| prometheus.address.as_deref()))
    });
    let [number, duration, address, _] = STAND_INS;
    match (is_duration, is_address) {
        (true, _) => duration.to_owned(),
        (_, true) => address.to_owned(),
        (false, false) => number.to_owned(),
    }
}

/// Checks a run as it is.
pub(super) fn check_run(run: &Value, notes: &mut Notes) {
    let Some(written) = run.get("spec") else { return };
    let Ok(spec) = serde_json::from_value::<AnalysisRunSpec>(written.clone()) else { return };
    match valid_metrics(&spec) {
        Ok(metrics) => check_metrics(&metrics, notes),
        Err(problem) => notes.error("spec.metrics", problem.to_string()),
    }
}

fn check_metrics(metrics: &[ValidMetric], notes: &mut Notes) {
    for (severity, field, problem) in problems(metrics) {
        notes.note(severity, field, problem);
    }
}

/// What makes every measurement of these metrics an error: how much it matters, the field, and why. The controller carries
/// out a metric that runs dry, whatever comes of it.
fn problems(metrics: &[ValidMetric]) -> Vec<(Severity, String, String)> {
    let of = |(index, metric): (usize, &ValidMetric)| {
        let name = metric.metric.name.clone();
        let (severity, end) = match metric.dry_run {
            true => (Severity::Warning, " (no release hangs on it: it runs dry)"),
            false => (Severity::Error, ""),
        };
        let problems = headgate_analysis::problems(metric).into_iter();
        problems.map(move |problem| {
            (severity, format!("spec.metrics[{index}]"), format!("metric {name:?}: {problem}{end}"))
        })
    };
    metrics.iter().enumerate().flat_map(of).collect()
}

/// The template as a run in which every argument has a value.
fn run(template: &AnalysisTemplateSpec, value: impl Fn(&Argument) -> String) -> AnalysisRunSpec {
    let mut args = template.args.clone();
    for argument in args.iter_mut().flatten() {
        let is_secret = argument.value_from.as_ref().is_some_and(|from| from.secret_key_ref.is_some());
        if !is_secret && argument.value.is_none() {
            argument.value = Some(value(argument));
            argument.value_from = None;
        }
    }
    AnalysisRunSpec {
        metrics: template.metrics.clone().unwrap_or_default(),
        args,
        dry_run: template.dry_run.clone(),
        measurement_retention: template.measurement_retention.clone(),
        ..AnalysisRunSpec::default()
    }
}
