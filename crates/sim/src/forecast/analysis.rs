//! What was measured during a release: AnalysisRuns keep their last measurements only, so all that they ever held is
//! put together.

use super::timeline::{EventKind, Told};
use crate::simulation::Simulation;
use crate::world::server::{Change, text};
use headgate_api::labels::{ROLLOUT_TYPE, ROLLOUT_TYPE_STEP, STEP_INDEX};
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::ANALYSIS_RUNS;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// An AnalysisRun.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// Its name.
    pub name: String,
    /// The step that it belongs to, counted from 1; absent in the background.
    pub step: Option<usize>,
    /// Its phase at the end.
    pub phase: String,
    /// Why.
    pub message: String,
    /// When it began, in seconds since the release began.
    pub begins: f64,
    /// When it had its verdict.
    pub ends: Option<f64>,
    /// Its metrics.
    pub metrics: Vec<MetricHistory>,
}

/// All that was measured of a metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricHistory {
    /// Its name.
    pub name: String,
    /// The value that was assumed because nobody had given one.
    pub assumed: Option<String>,
    /// The verdict over it.
    pub phase: String,
    /// Every measurement, oldest first.
    pub measurements: Vec<Measured>,
}

/// A measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// When it was stored, in seconds since the release began.
    pub seconds: f64,
    /// The value, as the controller writes it.
    pub value: String,
    /// What it means.
    pub phase: String,
    /// Why there is no value.
    pub message: String,
    #[serde(skip)]
    asked_at: String,
}

/// The AnalysisRuns since then, in the order in which they began.
pub(super) fn of(simulation: &Simulation, since: Timestamp) -> Vec<Analysis> {
    let mut analyses: Vec<Analysis> = Vec::new();
    for (time, change) in simulation.server().history().iter().filter(|(time, _)| *time >= since) {
        let Change::Applied(ANALYSIS_RUNS, run) = change else { continue };
        let seconds = super::seconds(time.duration_since(since));
        let name = text(run, "/metadata/name");
        let place = analyses.iter().position(|one| one.name == name).unwrap_or_else(|| {
            analyses.push(begun(run, seconds));
            analyses.len() - 1
        });
        if let Some(analysis) = analyses.get_mut(place) {
            analysis.take_up(run, seconds);
        }
    }
    for analysis in &mut analyses {
        let namespace = simulation.scenario().target().namespace;
        let run = ObjectRef { resource: ANALYSIS_RUNS, namespace, name: analysis.name.clone() };
        for metric in &mut analysis.metrics {
            metric.assumed =
                simulation.given().and_then(|given| given.assumed(&run, &metric.name)).map(str::to_owned);
        }
    }
    analyses
}

fn begun(run: &Value, seconds: f64) -> Analysis {
    let label = |key: &str| run.pointer("/metadata/labels").and_then(|labels| labels.get(key)?.as_str());
    let is_step = label(ROLLOUT_TYPE) == Some(ROLLOUT_TYPE_STEP);
    let index = label(STEP_INDEX).and_then(|index| index.parse::<usize>().ok());
    let (phase, message) = Default::default();
    Analysis {
        name: text(run, "/metadata/name").to_owned(),
        step: index.filter(|_| is_step).map(|index| index + 1),
        phase,
        message,
        begins: seconds,
        ends: None,
        metrics: Vec::new(),
    }
}

impl Analysis {
    fn take_up(&mut self, run: &Value, seconds: f64) {
        text(run, "/status/phase").clone_into(&mut self.phase);
        text(run, "/status/message").clone_into(&mut self.message);
        if self.ends.is_none() && !text(run, "/status/completedAt").is_empty() {
            self.ends = Some(seconds);
        }
        for result in run.pointer("/status/metricResults").and_then(Value::as_array).into_iter().flatten() {
            let name = text(result, "/name");
            let place = self.metrics.iter().position(|metric| metric.name == name).unwrap_or_else(|| {
                let (assumed, phase, measurements) = Default::default();
                self.metrics.push(MetricHistory { name: name.to_owned(), assumed, phase, measurements });
                self.metrics.len() - 1
            });
            if let Some(metric) = self.metrics.get_mut(place) {
                metric.take_up(result, seconds);
            }
        }
    }

    /// What people call it.
    fn title(&self) -> String {
        match self.step {
            Some(step) => format!("the analysis of step {step}"),
            None => "the analysis in the background".to_owned(),
        }
    }

    /// What a timeline tells of it: its beginning, each value that differs from the one before it, and its end.
    pub(super) fn told(&self) -> Vec<Told> {
        let mut told = vec![Told::new(self.begins, EventKind::Analysis, format!("{} begins", self.title()))];
        for metric in &self.metrics {
            told.extend(metric.told());
        }
        if let Some(ends) = self.ends {
            let counts = self.metrics.iter().map(|metric| {
                let count = metric.measurements.len();
                let plural = if count == 1 { "" } else { "s" };
                format!("{} {} after {count} measurement{plural}", metric.name, metric.phase)
            });
            let counts: Vec<String> = counts.collect();
            let because = if self.message.is_empty() { counts.join(", ") } else { self.message.clone() };
            let message = format!("{} is {}: {because}", self.title(), self.phase);
            told.push(Told::new(ends, EventKind::Analysis, message));
        }
        told
    }
}

impl MetricHistory {
    fn take_up(&mut self, result: &Value, seconds: f64) {
        text(result, "/phase").clone_into(&mut self.phase);
        for measurement in result.get("measurements").and_then(Value::as_array).into_iter().flatten() {
            let asked_at = text(measurement, "/startedAt");
            if self.measurements.last().is_some_and(|last| last.asked_at.as_str() >= asked_at) {
                continue;
            }
            self.measurements.push(Measured {
                seconds,
                value: text(measurement, "/value").to_owned(),
                phase: text(measurement, "/phase").to_owned(),
                message: text(measurement, "/message").to_owned(),
                asked_at: asked_at.to_owned(),
            });
        }
    }

    fn told(&self) -> Vec<Told> {
        let mut told: Vec<Told> = Vec::new();
        let mut before: Option<&Measured> = None;
        for one in &self.measurements {
            let is_like = |before: &Measured| (&before.value, &before.phase) == (&one.value, &one.phase);
            if !before.is_some_and(is_like) || one.phase != "Successful" {
                told.push(Told::new(one.seconds, EventKind::Measurement, self.describe(one)));
            }
            before = Some(one);
        }
        told
    }

    fn describe(&self, one: &Measured) -> String {
        let value = one.value.trim_start_matches('[').trim_end_matches(']');
        let value = if value.is_empty() { "without a value" } else { value };
        let assumed = self.assumed.as_ref().map_or("", |_| ", assumed (not given)");
        let why = if one.message.is_empty() { String::new() } else { format!(": {}", one.message) };
        format!("{} is {value}{assumed}: {}{why}", self.name, one.phase)
    }
}
