//! A metric provider that answers what somebody has said that the metrics are, and where nobody has said anything,
//! what their own conditions accept.

use super::metrics::vector;
use super::server::{Server, text};
use headgate_analysis::first_measurement;
use headgate_api::At;
use headgate_api::{AnalysisPhase, AnalysisRunSpec, AnalysisTemplateSpec, DurationOrSeconds, Metric};
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::{ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES};
use headgate_model::analysis::{ValidMetric, percent_encoded, valid_metrics};
use headgate_model::{HttpQuery, Reply};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::str::FromStr;

/// What a metric is from some time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenMetric {
    /// Only in this template.
    pub template: Option<String>,
    /// Its name in the template.
    pub name: String,
    /// What a measurement of it gives.
    pub answer: Answer,
    /// From then on, counted from the beginning of the release.
    pub from: SignedDuration,
}

/// What a measurement gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This number, as text.
    Number(String),
    /// No series.
    Nothing,
    /// No answer from the provider.
    NoAnswer,
}

impl FromStr for GivenMetric {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let hint = || {
            format!(
                "'{written}' is not NAME=VALUE, TEMPLATE/NAME=VALUE or NAME=VALUE@TIME: write for example \
                 success-rate=0.97, or success-rate=0.5@60s; a value is a number, nan, none (no data) or error (no \
                 answer)"
            )
        };
        let (name, value) = written.split_once('=').ok_or_else(hint)?;
        let (template, name) = match name.split_once('/') {
            Some((template, name)) => (Some(template.to_owned()), name),
            None => (None, name),
        };
        let (value, from) = value.split_once('@').unwrap_or((value, "0"));
        if name.is_empty() || template.as_deref() == Some("") {
            return Err(hint());
        }
        let answer = match value {
            "none" => Answer::Nothing,
            "error" => Answer::NoAnswer,
            "nan" => Answer::Number("NaN".to_owned()),
            number if number.parse::<f64>().is_ok() => Answer::Number(number.to_owned()),
            _ => return Err(hint()),
        };
        let from = DurationOrSeconds::Text(from.to_owned()).parse().map_err(|error| error.to_string())?;
        Ok(Self { template, name: name.to_owned(), answer, from })
    }
}

/// All that was said about metrics, and what was assumed about the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    metrics: Vec<GivenMetric>,
    since: Option<Timestamp>,
    assumed: BTreeMap<Key, String>,
    /// A metric of which nobody has said what it is, and no value was found that its conditions accept.
    pub unanswered: Option<String>,
}

/// An AnalysisRun and a metric in it.
type Key = (ObjectRef, String);

/// Values that metrics usually like, the likeliest first. Numbers that a condition itself names are tried after them.
const CANDIDATES: [&str; 8] = ["1", "0", "100", "0.5", "10", "0.01", "1000", "-1"];

impl Given {
    /// What somebody has said.
    pub fn new(metrics: Vec<GivenMetric>) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// Times count from now.
    pub fn begin(&mut self, now: Timestamp) {
        self.since = Some(now);
    }

    /// The value that was assumed for a metric of a run, when nobody had said anything about it.
    pub fn assumed(&self, run: &ObjectRef, metric: &str) -> Option<&str> {
        self.assumed.get(&(run.clone(), metric.to_owned())).map(String::as_str)
    }

    /// The answer to a query of an AnalysisRun.
    pub fn answer(&mut self, run: &ObjectRef, query: &HttpQuery, server: &Server, now: Timestamp) -> Reply {
        let spec: Option<AnalysisRunSpec> = server.get(run).and_then(|run| read(run.get("spec")));
        let metrics = spec.as_ref().and_then(|spec| valid_metrics(spec).ok()).unwrap_or_default();
        let asked = metrics.iter().find(|metric| asks(metric, query));
        let (Some(spec), Some(metric)) = (spec, asked) else {
            return Reply::Failed(format!("nobody has asked {}", query.url));
        };
        let written = spec.metrics.iter().find(|written| written.name == metric.metric.name);
        let elapsed = self.since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
        let said = self
            .metrics
            .iter()
            .filter(|given| given.from <= elapsed && given.is_about(&metric.metric.name, written, server))
            .max_by_key(|given| given.from);
        match said.map(|given| given.answer.clone()) {
            Some(Answer::Number(number)) => vector(Some(number)),
            Some(Answer::Nothing) => vector(None),
            Some(Answer::NoAnswer) => Reply::Failed("connection refused".to_owned()),
            None => self.assume(run, spec, metric, now),
        }
    }

    fn assume(
        &mut self,
        run: &ObjectRef,
        spec: AnalysisRunSpec,
        metric: &ValidMetric,
        now: Timestamp,
    ) -> Reply {
        let name = metric.metric.name.clone();
        let key = (run.clone(), name.clone());
        if let Some(value) = self.assumed.get(&key) {
            return vector(Some(value.clone()));
        }
        let alone = alone(spec, &name);
        let is_good = |value: &String| {
            let measured = first_measurement(&alone, &name, vector(Some(value.clone())), now);
            measured.and_then(|measured| measured.phase) == Some(AnalysisPhase::Successful)
        };
        let Some(value) = candidates(metric).into_iter().find(is_good) else {
            self.unanswered.get_or_insert(name.clone());
            return Reply::Failed(format!("nobody has said what {name} is"));
        };
        self.assumed.insert(key, value.clone());
        vector(Some(value))
    }
}

impl GivenMetric {
    fn is_about(&self, name: &str, written: Option<&Metric>, server: &Server) -> bool {
        self.name == name
            && self.template.as_ref().is_none_or(|template| {
                let templates = server.all(ANALYSIS_TEMPLATES).chain(server.all(CLUSTER_ANALYSIS_TEMPLATES));
                let named =
                    templates.filter(|(target, _)| target.name == *template).map(|(_, object)| object);
                let holds = |object: &Value| {
                    let spec: Option<AnalysisTemplateSpec> = read(object.get("spec"));
                    spec.is_some_and(|spec| {
                        spec.metrics.iter().flatten().any(|metric| Some(metric) == written)
                    })
                };
                named.into_iter().any(holds)
            })
    }
}

/// Whether this is how the metric is asked for.
fn asks(metric: &ValidMetric, query: &HttpQuery) -> bool {
    let written =
        metric.metric.provider.prometheus.as_ref().and_then(|prometheus| prometheus.query.as_deref());
    written.is_some_and(|written| query.url.contains(&format!("query={}&", percent_encoded(written))))
}

/// The same run with this metric alone.
fn alone(spec: AnalysisRunSpec, name: &str) -> AnalysisRunSpec {
    let metrics = spec.metrics.into_iter().filter(|metric| metric.name == name).collect();
    AnalysisRunSpec { metrics, args: spec.args, ..AnalysisRunSpec::default() }
}

fn candidates(metric: &ValidMetric) -> Vec<String> {
    let conditions = [&metric.metric.success_condition, &metric.metric.failure_condition];
    let text: String = conditions.into_iter().flatten().map(|condition| format!("{condition} ")).collect();
    let words = text.split(|character: char| !(character.is_ascii_digit() || ".-".contains(character)));
    let named = words.filter(|word| word.parse::<f64>().is_ok()).map(str::to_owned);
    CANDIDATES.into_iter().map(str::to_owned).chain(named).collect()
}

fn read<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    serde_json::from_value(value?.clone()).ok()
}

/// The names of the metrics in a template.
pub fn names(template: &Value) -> impl Iterator<Item = &str> {
    let metrics = template.at("/spec/metrics").and_then(Value::as_array).into_iter().flatten();
    metrics.map(|metric| text(metric, "/name"))
}
