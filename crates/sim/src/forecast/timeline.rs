//! The timeline of a release: a function of what the API server has stored, in order.

use super::Options;
use super::analysis::Analysis;
use super::course::Course;
use crate::simulation::Simulation;
use crate::world::proxies::selected;
use crate::world::routes::{self, Canary, Said, Weights};
use crate::world::server::{Change, number, text};
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::resources::{REPLICA_SETS, ROLLOUTS, SERVICES};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What kind of thing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The new version is applied.
    Release,
    /// A step is entered.
    Step,
    /// Pods are wanted, become available, or are missing.
    Pods,
    /// The new version's share of the traffic has changed.
    Weight,
    /// An AnalysisRun begins, or has its verdict.
    Analysis,
    /// A metric was measured.
    Measurement,
    /// The release waits for a person.
    Waits,
    /// Somebody promotes.
    Promotion,
    /// Something goes wrong on purpose.
    Fault,
    /// The release is aborted.
    Aborted,
    /// The Rollout is Degraded without an abort.
    Degraded,
    /// The new version is the stable one.
    Promoted,
    /// The Rollout is Healthy.
    Healthy,
}

/// Pods of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PodCount {
    /// Available ones, at most as many as are desired.
    pub available: i64,
    /// Desired ones.
    pub desired: i64,
}

/// Something that has happened, and how the release stood then.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When, in seconds since the release began.
    pub seconds: f64,
    /// What kind of thing.
    pub kind: EventKind,
    /// The current step, counted from 1.
    pub step: Option<usize>,
    /// Hundredths of the traffic that the new version has.
    pub weight: i64,
    /// Pods of the version before.
    pub old: PodCount,
    /// Pods of the new version.
    pub new: PodCount,
    /// What has happened.
    pub message: String,
}

/// A step that was entered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepTimes {
    /// Counted from 1.
    pub number: usize,
    /// What it does, such as `setWeight 25`.
    pub does: String,
    /// When it was entered, in seconds since the release began.
    pub begins: f64,
    /// When it was left for the next one.
    pub ends: Option<f64>,
    /// Hundredths of the traffic that the new version had when the step was left, or at the end.
    pub weight: i64,
}

/// Something to be told that stands in no Rollout, ReplicaSet or route.
#[derive(Clone, Debug)]
pub(super) struct Told {
    seconds: f64,
    kind: EventKind,
    message: String,
}

impl Told {
    pub(super) fn new(seconds: f64, kind: EventKind, message: impl Into<String>) -> Self {
        Self { seconds, kind, message: message.into() }
    }
}

/// What has happened, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    pub(super) events: Vec<Event>,
    pub(super) steps: Vec<StepTimes>,
}

impl Timeline {
    /// The step that was current at a time, or the last one before it.
    pub(super) fn step_at(&self, seconds: f64) -> Option<usize> {
        self.steps.iter().rev().find(|step| step.begins <= seconds).map(|step| step.number)
    }

    /// The new version's share when the end was decided: at an abort, before traffic goes back.
    pub(super) fn weight_at_verdict(&self, seconds: f64) -> i64 {
        let aborted = self.events.iter().find(|event| event.kind == EventKind::Aborted);
        let last = || self.events.iter().rev().find(|event| event.seconds <= seconds);
        aborted.or_else(last).map_or(0, |event| event.weight)
    }
}

/// The timeline of a release that has ended.
pub(super) fn of(
    simulation: &Simulation,
    course: &Course,
    analyses: &[Analysis],
    options: &Options,
) -> Timeline {
    let mut told = told(course, analyses, options);
    told.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    let mut teller = Teller { course, state: State::default(), timeline: Timeline::default(), told };
    for (time, change) in simulation.server().history() {
        if *time >= course.started_at {
            teller.tell_until(course.seconds(*time));
        }
        teller.take_up(*time, change);
    }
    teller.tell_until(f64::MAX);
    let Teller { mut timeline, state, .. } = teller;
    if let Some(last) = timeline.steps.last_mut().filter(|last| last.ends.is_none()) {
        last.weight = state.share(course);
    }
    timeline
}

fn told(course: &Course, analyses: &[Analysis], options: &Options) -> Vec<Told> {
    let mut told = vec![Told::new(0.0, EventKind::Release, "a new version is applied")];
    let by_hand = course.promoted_by_hand.iter();
    told.extend(
        by_hand.map(|time| Told::new(course.seconds(*time), EventKind::Promotion, "somebody promotes")),
    );
    let length = course.seconds(course.ended_at);
    for fault in &options.faults {
        let (begins, lasts) = (super::seconds(fault.at), super::seconds(fault.lasts));
        if begins <= length {
            told.push(Told::new(begins, EventKind::Fault, fault.describe()));
        }
        if lasts > 0.0 && begins + lasts <= length {
            told.push(Told::new(
                begins + lasts,
                EventKind::Fault,
                format!("no longer: {}", fault.describe()),
            ));
        }
    }
    // The end of one analysis comes before the beginning of the next one in the same instant.
    told.extend(analyses.iter().flat_map(Analysis::told));
    told.reverse();
    told
}

/// How a release stands.
#[derive(Clone, Debug, Default)]
struct State {
    rollout: Value,
    pods: BTreeMap<String, PodCount>,
    routes: BTreeMap<String, Weights>,
    canary: Option<Canary>,
    selectors: BTreeMap<String, Option<String>>,
}

struct Teller<'a> {
    course: &'a Course,
    state: State,
    timeline: Timeline,
    /// The next one to tell stands last.
    told: Vec<Told>,
}

impl Teller<'_> {
    fn tell_until(&mut self, seconds: f64) {
        while let Some(told) = self.told.pop_if(|told| told.seconds <= seconds) {
            self.say(told.seconds, told.kind, told.message);
        }
    }

    fn say(&mut self, seconds: f64, kind: EventKind, message: impl Into<String>) {
        let pods = |hash: &str| self.state.pods.get(hash).copied().unwrap_or_default();
        self.timeline.events.push(Event {
            seconds,
            kind,
            step: self.state.step(self.course).map(|index| index + 1),
            weight: self.state.share(self.course),
            old: pods(&self.course.old),
            new: pods(&self.course.new),
            message: message.into(),
        });
    }

    fn take_up(&mut self, time: Timestamp, change: &Change) {
        let before = self.state.clone();
        self.state.take_up(change);
        if time < self.course.started_at {
            return;
        }
        let seconds = self.course.seconds(time);
        let (old_share, share) = (before.share(self.course), self.state.share(self.course));
        match change {
            Change::Applied(ROLLOUTS, _) => self.rollout_changed(&before, seconds),
            Change::Applied(REPLICA_SETS, set) => self.pods_changed(&before, hash(set), seconds),
            _ if share != old_share => {
                self.say(seconds, EventKind::Weight, format!("the new version gets {share} of 100 requests"));
            }
            Change::Applied(..) | Change::Deleted(..) => {}
        }
    }

    fn rollout_changed(&mut self, before: &State, seconds: f64) {
        let was = |pointer: &str| text(&before.rollout, pointer).to_owned();
        let step = self.state.step(self.course);
        if step != before.step(self.course) {
            let weight = before.share(self.course);
            if let Some(last) =
                self.timeline.steps.last_mut().filter(|last| last.ends.is_none() && step.is_some())
            {
                (last.ends, last.weight) = (Some(seconds), weight);
            }
            if let Some(index) = step {
                self.enter(index, seconds);
            }
        }
        if self.state.is_aborted() && !before.is_aborted() {
            let message = text(&self.state.rollout, "/status/message").to_owned();
            self.say(seconds, EventKind::Aborted, message);
        }
        if self.is_now("/status/stableRS", &self.course.new, before) && self.course.new != self.course.old {
            self.say(seconds, EventKind::Promoted, "the new version is the stable one");
        }
        let phase = text(&self.state.rollout, "/status/phase").to_owned();
        if phase != was("/status/phase") && phase == "Healthy" && self.state.is_released(self.course) {
            self.say(seconds, EventKind::Healthy, "the Rollout is Healthy");
        }
        if phase != was("/status/phase") && phase == "Degraded" && !self.state.is_aborted() {
            let message = text(&self.state.rollout, "/status/message").to_owned();
            self.say(seconds, EventKind::Degraded, message);
        }
        let waits = text(&self.state.rollout, "/status/waiting/kind").to_owned();
        let for_a_person = [
            "UserPromotion",
            "PauseOverdue",
            "UserUnpause",
            "InconclusiveAnalysis",
            "AnalysisFailed",
            "PodHealth",
        ];
        if waits != was("/status/waiting/kind") && for_a_person.contains(&waits.as_str()) {
            let message = text(&self.state.rollout, "/status/waiting/message").to_owned();
            self.say(seconds, EventKind::Waits, message);
        }
    }

    fn is_now(&self, pointer: &str, value: &str, before: &State) -> bool {
        text(&self.state.rollout, pointer) == value && text(&before.rollout, pointer) != value
    }

    fn enter(&mut self, index: usize, seconds: f64) {
        let steps = self.state.rollout.pointer("/spec/strategy/canary/steps").and_then(Value::as_array);
        let Some(step) = steps.and_then(|steps| steps.get(index)) else {
            if steps.is_some_and(|steps| !steps.is_empty()) {
                self.say(seconds, EventKind::Step, "all steps are done");
            }
            return;
        };
        let does = describe(step);
        self.say(seconds, EventKind::Step, does.clone());
        self.timeline.steps.push(StepTimes {
            number: index + 1,
            does,
            begins: seconds,
            ends: None,
            weight: 0,
        });
    }

    fn pods_changed(&mut self, before: &State, hash: &str, seconds: f64) {
        let of = |state: &State| state.pods.get(hash).copied().unwrap_or_default();
        let (was, is) = (of(before), of(&self.state));
        let whose = if hash == self.course.new {
            "the new version"
        } else if hash == self.course.old {
            "the version before"
        } else {
            return;
        };
        let count = |number: i64| if number == 1 { "1 pod".to_owned() } else { format!("{number} pods") };
        if is.desired != was.desired {
            let message = format!("{whose} is to have {}, it had {}", count(is.desired), was.desired);
            return self.say(seconds, EventKind::Pods, message);
        }
        let is_full = |pods: PodCount| pods.available == pods.desired;
        if is_full(is) != is_full(was) && is.desired > 0 {
            let message = format!("{whose} has {} of {} available", is.available, count(is.desired));
            self.say(seconds, EventKind::Pods, message);
        }
    }
}

impl State {
    fn take_up(&mut self, change: &Change) {
        match change {
            Change::Applied(ROLLOUTS, rollout) => self.rollout = rollout.clone(),
            Change::Applied(REPLICA_SETS, set) => {
                let desired = number(set, "/spec/replicas");
                let available = number(set, "/status/availableReplicas").min(desired);
                self.pods.insert(hash(set).to_owned(), PodCount { available, desired });
            }
            Change::Applied(resource, route) if routes::is_route(*resource) => match routes::said(change) {
                Some(Said::Whole(weights)) => {
                    self.routes.insert(text(route, "/metadata/name").to_owned(), weights);
                }
                Some(Said::Canary(canary)) => self.canary = canary,
                None => {}
            },
            Change::Applied(SERVICES, service) => {
                self.selectors.insert(text(service, "/metadata/name").to_owned(), selected(service));
            }
            Change::Deleted(REPLICA_SETS, set) => {
                self.pods.remove(hash(set));
            }
            Change::Applied(..) | Change::Deleted(..) => {}
        }
    }

    fn is_aborted(&self) -> bool {
        self.rollout.pointer("/status/abort") == Some(&Value::Bool(true))
    }

    /// Whether the controller has seen the new version.
    fn is_released(&self, course: &Course) -> bool {
        text(&self.rollout, "/status/currentPodHash") == course.new && course.new != course.old
    }

    /// The current step of a release that goes on.
    fn step(&self, course: &Course) -> Option<usize> {
        let is_under_way = self.is_released(course)
            && text(&self.rollout, "/status/stableRS") != course.new
            && !self.is_aborted();
        let index = self.rollout.pointer("/status/currentStepIndex").and_then(Value::as_u64)?;
        usize::try_from(index).ok().filter(|_| is_under_way)
    }

    /// Hundredths of the traffic that the new version has: as the routes and the Services' selectors say, and where
    /// no route tells versions apart, its share of the available pods.
    fn share(&self, course: &Course) -> i64 {
        let selects = |service: &str| self.selectors.get(service).and_then(Option::as_deref);
        let of_route = |weights: &Weights| {
            let versions =
                || weights.iter().filter_map(|(service, weight)| Some((selects(service)?, *weight)));
            let all: i64 = versions().map(|(_, weight)| weight).sum();
            let new: i64 = versions().filter(|(hash, _)| *hash == course.new).map(|(_, weight)| weight).sum();
            (all > 0).then(|| new * 100 / all)
        };
        let shown = self.routes.values().map(|weights| match &self.canary {
            Some(canary) => canary.over(weights),
            None => weights.clone(),
        });
        shown.filter_map(|weights| of_route(&weights)).max().unwrap_or_else(|| {
            let all: i64 = self.pods.values().map(|pods| pods.available).sum();
            let new = self.pods.get(&course.new).map_or(0, |pods| pods.available);
            new * 100 / all.max(1)
        })
    }
}

fn hash(set: &Value) -> &str {
    let labels = set.pointer("/metadata/labels");
    labels.and_then(|labels| labels.get(POD_TEMPLATE_HASH)?.as_str()).unwrap_or_default()
}

/// What a step does, in the words of its manifest.
fn describe(step: &Value) -> String {
    let Some((name, body)) = step.as_object().and_then(|fields| fields.iter().next()) else {
        return "a step without content".to_owned();
    };
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (name.as_str(), body) {
        ("pause", body) => match body.get("duration") {
            Some(Value::Number(seconds)) => format!("pause {seconds}s"),
            Some(duration) => format!("pause {}", plain(duration)),
            None => match body.get("maxDuration") {
                None => "pause until somebody promotes".to_owned(),
                Some(longest) => {
                    let then = body.get("onTimeout").and_then(Value::as_str).unwrap_or("stay");
                    format!("pause until somebody promotes, for {} at most, then {then}", plain(longest))
                }
            },
        },
        ("analysis", body) => {
            let templates = body.get("templates").and_then(Value::as_array).into_iter().flatten();
            let names: Vec<&str> = templates.map(|template| text(template, "/templateName")).collect();
            format!("analysis {}", names.join(", "))
        }
        (name, Value::Object(fields)) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect();
            format!("{name} {}", fields.join(", "))
        }
        (name, value) => format!("{name} {}", plain(value)),
    }
}
