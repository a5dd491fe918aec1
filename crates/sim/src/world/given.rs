//! A metric provider that answers what somebody has said that the metrics are, and where nobody has said anything,
//! what their own conditions accept.

use super::metrics::vector;
use super::server::{Server, text};
use headgate_analysis::{Defaults, PROVIDERS, first_measurement};
use headgate_api::At;
use headgate_api::{AnalysisPhase, AnalysisRunSpec, AnalysisTemplateSpec, DurationOrSeconds, Metric};
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::{ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES};
use headgate_model::analysis::{ValidMetric, valid_metrics};
use headgate_model::{HttpQuery, Query, Reply};
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
    /// A metric of which nobody has said what it is, and no value was found that its conditions accept; several where they
    /// ask the same.
    pub unanswered: Option<Vec<String>>,
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
        // Several may ask the same, and hold what they get against several thresholds.
        let asked: Vec<&ValidMetric> = metrics.iter().filter(|metric| asks(metric, query, now)).collect();
        let Some(spec) = spec.filter(|_| !asked.is_empty()) else {
            return Reply::Failed(format!("nobody has asked {}", query.url));
        };
        match self.said(&spec, &asked, server, now) {
            Some(Answer::Number(number)) => vector(Some(number)),
            Some(Answer::Nothing) => vector(None),
            Some(Answer::NoAnswer) => Reply::Failed("connection refused".to_owned()),
            None => self.assume(run, &spec, &asked, now),
        }
    }

    /// What somebody has said last of any of these metrics.
    fn said(
        &self,
        spec: &AnalysisRunSpec,
        asked: &[&ValidMetric],
        server: &Server,
        now: Timestamp,
    ) -> Option<Answer> {
        let elapsed = self.since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
        let is_asked = |written: &&Metric| asked.iter().any(|metric| metric.metric.name == written.name);
        let is_about = |given: &&GivenMetric| {
            spec.metrics.iter().filter(is_asked).any(|written| given.is_about(written, server))
        };
        let said = self.metrics.iter().filter(|given| given.from <= elapsed).filter(is_about);
        said.max_by_key(|given| given.from).map(|given| given.answer.clone())
    }

    /// A value that all of these metrics accept: it stays the same.
    fn assume(
        &mut self,
        run: &ObjectRef,
        spec: &AnalysisRunSpec,
        asked: &[&ValidMetric],
        now: Timestamp,
    ) -> Reply {
        let names: Vec<String> = asked.iter().map(|metric| metric.metric.name.clone()).collect();
        if let Some(value) = names.first().and_then(|name| self.assumed(run, name)) {
            return vector(Some(value.to_owned()));
        }
        let is_good = |value: &String| names.iter().all(|name| accepts(spec, name, value, now));
        let Some(value) = asked.iter().flat_map(|metric| candidates(metric)).find(is_good) else {
            let reply = Reply::Failed(format!("nobody has said what {} is", names.join(" and ")));
            self.unanswered.get_or_insert(names);
            return reply;
        };
        self.assumed.extend(names.into_iter().map(|name| ((run.clone(), name), value.clone())));
        vector(Some(value))
    }
}

impl GivenMetric {
    /// Whether it is about this metric of a run.
    fn is_about(&self, metric: &Metric, server: &Server) -> bool {
        self.name == metric.name
            && self.template.as_ref().is_none_or(|template| {
                let templates = server.all(ANALYSIS_TEMPLATES).chain(server.all(CLUSTER_ANALYSIS_TEMPLATES));
                let mut named =
                    templates.filter(|(target, _)| target.name == *template).map(|(_, object)| object);
                named.any(|object| {
                    let spec: Option<AnalysisTemplateSpec> = read(object.get("spec"));
                    spec.is_some_and(|spec| spec.metrics.iter().flatten().any(|one| one == metric))
                })
            })
    }
}

/// Whether this is how the metric is asked for.
fn asks(metric: &ValidMetric, query: &HttpQuery, now: Timestamp) -> bool {
    let prepared = PROVIDERS.iter().map(|provider| provider.prepare(metric, &Defaults::default(), now));
    prepared.flatten().any(|Query::Http(prepared)| timeless(&prepared) == timeless(query))
}

/// The query, whenever it is asked: the time that it is about stands last.
fn timeless(query: &HttpQuery) -> HttpQuery {
    let time = ["&time=", "&start="].into_iter().find_map(|parameter| query.url.rfind(parameter));
    let mut timeless = query.clone();
    timeless.url.truncate(time.unwrap_or(query.url.len()));
    timeless
}

/// Whether a metric that gives this value alone is successful.
fn accepts(spec: &AnalysisRunSpec, name: &str, value: &str, now: Timestamp) -> bool {
    let metrics = spec.metrics.iter().filter(|metric| metric.name == name).cloned().collect();
    let alone = AnalysisRunSpec { metrics, args: spec.args.clone(), ..AnalysisRunSpec::default() };
    let measured = first_measurement(&alone, name, vector(Some(value.to_owned())), now);
    measured.and_then(|measured| measured.phase) == Some(AnalysisPhase::Successful)
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
