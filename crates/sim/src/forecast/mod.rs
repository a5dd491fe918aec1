//! The forecast of a release: what users have in Git, put into the virtual cluster, and what happens there when a new
//! version is applied. No seed chooses anything: pods, proxies and metrics behave as [`Options`] say.
//!
//! The manifests' own version goes out first, as it would be before the release. Then the same pod template with
//! another image is applied, and what the API server stores from then on is told as a timeline.
//!
//! What it deliberately lacks: a second loop, a second driver, and any decision about the release.

mod analysis;
mod course;
mod fault;
mod manifests;
mod pods;
mod timeline;

pub use crate::world::given::{Answer, GivenMetric};
pub use analysis::{Analysis, Measured, MetricHistory};
pub use fault::{Fault, FaultKind};
pub use timeline::{Event, EventKind, PodCount, StepTimes};

use crate::defects::Defect;
use crate::scenario::Scenario;
use crate::simulation::Simulation;
use crate::simulation::outlook::Tally;
use crate::trace::Trace;
use crate::world::given::Given;
use crate::world::metrics::Source;
use crate::world::server::text;
use course::Course;
use jiff::SignedDuration;
use manifests::Manifests;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Pods are spread over so many nodes.
const NODES: i64 = 3;
/// Versions of the world: what the manifests say, and the one that is released.
const RELEASED: i64 = 2;

/// What a forecast assumes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespace of objects that name none. Default: `default`.
    pub namespace: String,
    /// What metrics are; of others a value is assumed that their own conditions accept.
    pub metrics: Vec<GivenMetric>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Requests in a second. `None`: requests are not told of.
    pub traffic: Option<u32>,
    /// From the creation of a pod until its containers run: scheduling, pull, start. Default: 2 s.
    pub pod_start: SignedDuration,
    /// Somebody promotes so long after a pause began to wait for that, if it still does. Default: a minute. `None`: nobody does.
    pub promote_after: Option<SignedDuration>,
    /// Services and routes that the Rollout names must be there; otherwise missing ones are made up.
    pub strict: bool,
}

impl Options {
    /// How long after the release began something changes for the last time by what was given: a metric, or the end of a fault.
    fn last_change(&self) -> SignedDuration {
        let metrics = self.metrics.iter().map(|metric| metric.from);
        let faults = self.faults.iter().map(|fault| fault.at.saturating_add(fault.lasts));
        metrics.chain(faults).max().unwrap_or_default()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            metrics: Vec::new(),
            faults: Vec::new(),
            traffic: None,
            pod_start: SignedDuration::from_secs(2),
            promote_after: Some(SignedDuration::from_secs(60)),
            strict: false,
        }
    }
}

/// Why there is no forecast: what is wrong with the input, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No Rollout is there.
    #[error("the files hold no Rollout: give one with -f")]
    NoRollout,
    /// Several are there.
    #[error("the files hold {} Rollouts ({}): give one at a time", .0.len(), .0.join(", "))]
    SeveralRollouts(Vec<String>),
    /// A metric was given that no template has.
    #[error("no template that the Rollout names has a metric {name:?}; there {}", listed(.known))]
    UnknownMetric {
        /// As it was given, with the template where one was.
        name: String,
        /// The metrics that there are.
        known: Vec<String>,
    },
    /// The spec can't be carried out.
    #[error("{message}{}", if .message.contains("does not exist") || .message.contains("not found") { "\nOr give the file that holds it, with another -f" } else { "" })]
    InvalidSpec {
        /// What the controller says.
        message: String,
    },
    /// Nobody has said what a metric is, and no value was found that it likes; several have one query, and so one value.
    #[error("{}", unanswered(.0))]
    Unanswered(Vec<String>),
    /// The version that the manifests name does not go out.
    #[error(
        "the version that the manifests name does not become Healthy, so that there is nothing to release from: {0}"
    )]
    NotReleasable(String),
    /// A rule of ours was broken.
    #[error("this is a defect of Headgate, please report it: {0}")]
    BrokenRule(String),
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "are no metrics at all: give the files of the AnalysisTemplates with -f".to_owned(),
        names => format!("are: {}", names.join(", ")),
    }
}

fn unanswered(metrics: &[String]) -> String {
    let say = |name: &str| format!("say what it is, with --metric {name}=VALUE");
    match metrics {
        [name] => format!("no value was found that the conditions of metric {name:?} accept: {}", say(name)),
        names => format!(
            "the metrics {} ask the same query, and no value was found that the conditions of all of them accept: {}",
            names.join(", "),
            say(names.first().map_or("NAME", String::as_str))
        ),
    }
}

/// How a release ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The new version is stable, and the Rollout is Healthy.
    Promoted,
    /// It is aborted, and the stable version serves.
    Aborted,
    /// The Rollout is Degraded without an abort: a deadline has passed.
    Degraded,
    /// An analysis comes to no verdict: somebody has to look.
    Inconclusive,
    /// Somebody has to promote, and nobody does.
    Waits,
    /// It goes neither on nor back.
    Hangs,
}

impl Verdict {
    /// Whether the release is good as far as it goes.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Promoted | Self::Waits)
    }
}

/// Which Rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The pods that it wants.
    pub replicas: i64,
    /// Its steps, as they are written.
    pub steps: Vec<Value>,
}

/// Requests from the beginning of the release until its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// In a second.
    pub rate: u32,
    /// Sent to the version before.
    pub old: i64,
    /// Sent to the new version.
    pub new: i64,
    /// Sent to a version that had no pod to answer.
    pub lost: i64,
}

/// What would happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Of what.
    pub rollout: Subject,
    /// How it would end.
    pub verdict: Verdict,
    /// When that is decided, in seconds since the release began.
    pub seconds: f64,
    /// The last step that was entered, counted from 1; absent without steps.
    pub step: Option<usize>,
    /// Hundredths of the traffic that the new version has when it is decided.
    pub weight: i64,
    /// Why, in the controller's words. Empty when it is promoted.
    pub message: String,
    /// How long the manifests' own version took to become Healthy, in seconds.
    pub first_version_seconds: f64,
    /// The steps that were entered.
    pub steps: Vec<StepTimes>,
    /// All that happened.
    pub events: Vec<Event>,
    /// The AnalysisRuns, in the order in which they began.
    pub analyses: Vec<Analysis>,
    /// Requests, where a rate was given.
    pub traffic: Option<Traffic>,
    /// What was made up, left out or assumed.
    pub notes: Vec<String>,
}

/// Tells what would happen when a new version of the one Rollout among `objects` is applied.
///
/// # Errors
/// [`Problem`]: the input can't be tried.
pub fn forecast(objects: Vec<Value>, options: &Options) -> Result<Forecast, Problem> {
    let manifests = Manifests::read(objects, options)?;
    manifests.check_metrics(&options.metrics)?;
    let mut notes = manifests.notes.clone();
    let mut simulation = Simulation::new(scenario(&manifests, options), Defect::None, Trace::none());
    let first_version = course::go_out(&mut simulation)?;
    let course = course::release(&mut simulation, options)?;
    let analyses = analysis::of(&simulation, course.started_at);
    notes.extend(assumptions(&analyses));
    notes.extend(course.late_faults(options));
    let timeline = timeline::of(&simulation, &course, &analyses, options);
    let decided = course.seconds(course.decided_at);
    Ok(Forecast {
        rollout: subject(&manifests),
        verdict: course.verdict,
        seconds: decided,
        step: timeline.step_at(decided),
        weight: timeline.weight_at_verdict(decided),
        message: course.message.clone(),
        first_version_seconds: seconds(first_version),
        steps: timeline.steps,
        events: timeline.events,
        analyses,
        traffic: options.traffic.map(|rate| traffic(&course, rate)),
        notes,
    })
}

fn scenario(manifests: &Manifests, options: &Options) -> Scenario {
    let calm = Scenario::calm(manifests.rollout.clone());
    let is_unready = options.faults.iter().any(|fault| fault.kind == FaultKind::Unready);
    let good = pods::health(&manifests.rollout, options.pod_start);
    let released = if is_unready { pods::never_ready(good) } else { good };
    let image = text(&manifests.rollout, "/spec/template/spec/containers/0/image").to_owned();
    Scenario {
        surroundings: manifests.surroundings.clone(),
        health: BTreeMap::from([(image, good), (calm.image_of(RELEASED), released)]),
        nodes: NODES,
        drain: pods::drain(&manifests.rollout),
        metrics: Source::Given(Box::new(Given::new(options.metrics.clone()))),
        ..calm
    }
}

fn subject(manifests: &Manifests) -> Subject {
    let rollout = &manifests.rollout;
    Subject {
        namespace: text(rollout, "/metadata/namespace").to_owned(),
        name: text(rollout, "/metadata/name").to_owned(),
        replicas: rollout.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1),
        steps: rollout
            .pointer("/spec/strategy/canary/steps")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
    }
}

fn assumptions(analyses: &[Analysis]) -> Vec<String> {
    let metrics = analyses.iter().flat_map(|analysis| &analysis.metrics);
    let assumed = metrics.filter_map(|metric| Some((metric.name.as_str(), metric.assumed.as_deref()?)));
    let assumed: BTreeMap<_, _> = assumed.collect();
    let told = assumed.into_iter().map(|(name, value)| {
        format!("metric {name} was not given: {value} is assumed, which its conditions accept")
    });
    told.collect()
}

fn traffic(course: &Course, rate: u32) -> Traffic {
    // Thousandths of a millisecond of all traffic become requests.
    let requests = |share: i64| (share / 1_000) * i64::from(rate) / 1_000;
    let sent = |hash: &str, tally: &Tally| tally.sent.get(hash).copied().unwrap_or(0);
    let of = |hash: &str| requests(sent(hash, &course.sent_after) - sent(hash, &course.sent_before));
    Traffic {
        rate,
        old: of(&course.old),
        new: of(&course.new),
        lost: requests(course.sent_after.lost - course.sent_before.lost),
    }
}

/// Seconds, to a tenth.
fn seconds(duration: SignedDuration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}
