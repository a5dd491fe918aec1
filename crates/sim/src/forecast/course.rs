//! How a release goes: the world runs until it has ended, and somebody promotes where a release waits for that.

use super::{Options, Problem, RELEASED, Verdict};
use crate::faults::Disturbance;
use crate::simulation::Simulation;
use crate::simulation::outlook::Tally;
use crate::user::Act;
use crate::world::plus;
use crate::world::server::{number, text};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A release that stands still for so long hangs, in milliseconds, unless it waits for a known time or for an analysis.
const PATIENCE: i64 = 3_600_000;
/// And one that takes longer than this anyway.
const LONGEST: i64 = 31 * 86_400_000;
/// Pods that are no longer needed are looked after for so long, in milliseconds.
const CLEARS_WITHIN: i64 = 600_000;

/// What came of a release.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) verdict: Verdict,
    /// Why, in the controller's words; empty when it is promoted.
    pub(super) message: String,
    pub(super) started_at: Timestamp,
    /// When its end was decided; what follows is the way back, or the end of old pods.
    pub(super) decided_at: Timestamp,
    pub(super) ended_at: Timestamp,
    /// Hash of the version before.
    pub(super) old: String,
    /// Hash of the new version.
    pub(super) new: String,
    /// When somebody promoted.
    pub(super) promoted_by_hand: Vec<Timestamp>,
    pub(super) sent_before: Tally,
    pub(super) sent_after: Tally,
}

/// Why the world stops.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stop {
    /// The release has ended.
    Ended(Verdict),
    /// The spec can't be carried out.
    Invalid(String),
    /// It waits for a person at this step, by its index. A wait that becomes overdue is the same one.
    Person(i64),
}

/// The version of the manifests goes out; says how long that takes.
pub(super) fn go_out(simulation: &mut Simulation) -> Result<SignedDuration, Problem> {
    let started_at = simulation.now();
    loop {
        match follow(simulation, "", &[], started_at)? {
            Some(Stop::Invalid(message)) => return Err(Problem::InvalidSpec { message }),
            Some(Stop::Ended(Verdict::Promoted)) => return Ok(simulation.now().duration_since(started_at)),
            // It is not the release that people are asked about.
            Some(Stop::Person(_)) => simulation.plan(0, Disturbance::User(Act::Promote)),
            Some(Stop::Ended(_)) | None => {
                return Err(Problem::NotReleasable(why(simulation.rollout())));
            }
        }
        let until = plus(simulation.now(), 1_000);
        simulation.run_until(until, |_| false);
    }
}

/// A new version is released.
pub(super) fn release(simulation: &mut Simulation, options: &Options) -> Result<Course, Problem> {
    let started_at = simulation.now();
    let old = text(simulation.rollout(), "/status/currentPodHash").to_owned();
    let sent_before = simulation.sent().clone();
    simulation.begin_given();
    simulation.plan(0, Disturbance::User(Act::Release(RELEASED)));
    for fault in &options.faults {
        if let Some(disturbance) = fault.disturbance() {
            simulation.plan(milliseconds(fault.at), disturbance);
        }
    }
    let mut promoted_by_hand = Vec::new();
    let mut handled = Vec::new();
    let changes_until = started_at.saturating_add(options.last_change()).unwrap_or(Timestamp::MAX);
    let verdict = loop {
        match follow(simulation, &old, &handled, changes_until)? {
            Some(Stop::Invalid(message)) => return Err(Problem::InvalidSpec { message }),
            Some(Stop::Ended(verdict)) => break verdict,
            Some(Stop::Person(step)) => match options.promote_after.map(milliseconds) {
                None if ends_by_itself(simulation) => handled.push(step),
                None => break Verdict::Waits,
                Some(after) if still_waits(simulation, &old, step, after) => {
                    promoted_by_hand.push(simulation.now());
                    simulation.plan(0, Disturbance::User(Act::Promote));
                    handled.push(step);
                }
                Some(_) => {}
            },
            None => break Verdict::Hangs,
        }
    };
    let decided_at = decided_at(simulation, verdict, started_at);
    if matches!(verdict, Verdict::Promoted | Verdict::Aborted) {
        clear_away(simulation);
    }
    let rollout = simulation.rollout();
    let message = match verdict {
        Verdict::Promoted => String::new(),
        Verdict::Aborted | Verdict::Degraded => why(rollout),
        Verdict::Waits | Verdict::Inconclusive | Verdict::Hangs => {
            text(rollout, "/status/waiting/message").to_owned()
        }
    };
    Ok(Course {
        verdict,
        message,
        started_at,
        decided_at,
        ended_at: simulation.now(),
        new: text(rollout, "/status/currentPodHash").to_owned(),
        old,
        promoted_by_hand,
        sent_before,
        sent_after: simulation.sent().clone(),
    })
}

impl Course {
    /// Seconds since the release began, to a tenth.
    pub(super) fn seconds(&self, time: Timestamp) -> f64 {
        super::seconds(time.duration_since(self.started_at))
    }

    /// Faults that were to happen after the end.
    pub(super) fn late_faults(&self, options: &Options) -> Vec<String> {
        let length = self.ended_at.duration_since(self.started_at);
        let late = options.faults.iter().filter(|fault| fault.at > length);
        late.map(|fault| format!("after the end, so without effect: {} at {:#}", fault.describe(), fault.at))
            .collect()
    }
}

/// Lets the world run until somebody would promote, or there is nothing to promote any more; says whether the release still
/// waits for that. A pause that ends by itself before that is not promoted: the next step would be, unseen.
fn still_waits(simulation: &mut Simulation, old: &str, step: i64, after: i64) -> bool {
    let until = plus(simulation.now(), after);
    simulation.run_until(until, |simulation| {
        let has_ended =
            matches!(stop(simulation.rollout(), old, &[]), Some(Stop::Ended(_) | Stop::Invalid(_)));
        has_ended || index(simulation.rollout()) != step
    });
    stop(simulation.rollout(), old, &[]) == Some(Stop::Person(step))
}

/// Lets the world run until the pods that are no longer needed are gone, if they ever are.
fn clear_away(simulation: &mut Simulation) {
    let until = plus(simulation.now(), CLEARS_WITHIN);
    simulation.run_until(until, |simulation| {
        let rollout = simulation.rollout();
        text(rollout, "/status/waiting/kind") != "ScaleDownDelay"
            && number(rollout, "/status/replicas") <= number(rollout, "/spec/replicas")
    });
}

/// Lets the world run until something is to be said; `None` when it stands still for too long, or is held by an analysis that
/// fails again and again, as the metrics stay what they are from `changes_until` on. Waits for a person at steps that were
/// `handled` are passed over.
fn follow(
    simulation: &mut Simulation,
    old: &str,
    handled: &[i64],
    changes_until: Timestamp,
) -> Result<Option<Stop>, Problem> {
    let last = plus(simulation.now(), LONGEST);
    while simulation.now() < last {
        let before = signs_of_life(simulation);
        let began = simulation.now();
        let slice = plus(began, PATIENCE);
        let stops = |simulation: &Simulation| stop(simulation.rollout(), old, handled);
        let unanswered =
            |simulation: &Simulation| simulation.given().and_then(|given| given.unanswered.clone());
        simulation
            .run_until(slice, |simulation| stops(simulation).is_some() || unanswered(simulation).is_some());
        if let Some(broken) = simulation.broken_rule() {
            return Err(Problem::BrokenRule(broken));
        }
        if let Some(metrics) = unanswered(simulation) {
            return Err(Problem::Unanswered(metrics));
        }
        if let Some(stop) = stops(simulation) {
            return Ok(Some(stop));
        }
        let rollout = simulation.rollout();
        let until: Option<Timestamp> = text(rollout, "/status/waiting/until").parse().ok();
        let stands_still = match text(rollout, "/status/waiting/kind") {
            "Analysis" => false,
            "AnalysisHold" => began >= changes_until,
            _ => until.is_none_or(|until| until <= simulation.now()) && signs_of_life(simulation) == before,
        };
        if stands_still {
            return Ok(None);
        }
    }
    Ok(None)
}

/// True for a wait that a deadline ends, such as a pause's `maxDuration`.
fn ends_by_itself(simulation: &Simulation) -> bool {
    !text(simulation.rollout(), "/status/waiting/until").is_empty()
}

/// What changes while a release goes on.
fn signs_of_life(simulation: &Simulation) -> [Value; 4] {
    ["/status/currentStepIndex", "/status/phase", "/status/waiting/message", "/status/availableReplicas"]
        .map(|place| simulation.rollout().pointer(place).cloned().unwrap_or_default())
}

fn stop(rollout: &Value, old: &str, handled: &[i64]) -> Option<Stop> {
    let is_observed =
        number(rollout, "/metadata/generation").to_string() == text(rollout, "/status/observedGeneration");
    if !is_observed {
        return None;
    }
    if let Some(message) = invalid(rollout) {
        return Some(Stop::Invalid(message));
    }
    let is_new = text(rollout, "/status/currentPodHash") != old;
    let is_aborted = rollout.pointer("/status/abort") == Some(&Value::Bool(true));
    let waits_for = text(rollout, "/status/waiting/kind");
    match (text(rollout, "/status/phase"), waits_for) {
        (_, "AfterAbort") if is_aborted => Some(Stop::Ended(Verdict::Aborted)),
        ("Healthy", _) if is_new => Some(Stop::Ended(Verdict::Promoted)),
        ("Degraded", _) if !is_aborted && is_new => Some(Stop::Ended(Verdict::Degraded)),
        (_, "InconclusiveAnalysis" | "AnalysisFailed" | "PodHealth") => {
            Some(Stop::Ended(Verdict::Inconclusive))
        }
        (_, "UserPromotion" | "PauseOverdue" | "UserUnpause") => {
            Some(index(rollout)).filter(|step| !handled.contains(step)).map(Stop::Person)
        }
        _ => None,
    }
}

fn index(rollout: &Value) -> i64 {
    number(rollout, "/status/currentStepIndex")
}

/// What the controller says of a spec that can't be carried out.
fn invalid(rollout: &Value) -> Option<String> {
    let conditions = rollout.pointer("/status/conditions").and_then(Value::as_array)?;
    let found = conditions
        .iter()
        .find(|one| text(one, "/type") == "InvalidSpec" && text(one, "/status") == "True")?;
    Some(format!("InvalidSpec: {}", text(found, "/message")))
}

/// Why a release stands where it does.
fn why(rollout: &Value) -> String {
    let message = text(rollout, "/status/message");
    if message.is_empty() { text(rollout, "/status/waiting/message").to_owned() } else { message.to_owned() }
}

/// When the end was decided: an abort is recorded long before the old version has all of its pods again.
fn decided_at(simulation: &Simulation, verdict: Verdict, started_at: Timestamp) -> Timestamp {
    let target = simulation.scenario().target();
    let aborts = simulation.server().history().iter().filter(|(time, _)| *time >= started_at);
    let mut aborts = aborts.filter(|(_, change)| {
        matches!(change, crate::world::server::Change::Applied(resource, object)
            if *resource == target.resource && object.pointer("/status/abort") == Some(&Value::Bool(true)))
    });
    match verdict {
        Verdict::Aborted => aborts.next().map_or(simulation.now(), |(time, _)| *time),
        _ => simulation.now(),
    }
}

fn milliseconds(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
