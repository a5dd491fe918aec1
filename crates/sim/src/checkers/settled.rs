//! Rules 4, 6 and 9: after the last fault the world settles, an abort has led back to stable, every wait is named, and
//! nothing is written any more.

use super::clocks::FROM_EACH_OTHER;
use super::conditions;
use super::restarts::restart_at;
use super::view::{Set, rollout};
use super::{Names, View, Waits};
use crate::world::server::{Server, number, text};
use headgate_api::conditions::reasons;
use headgate_api::{At, PauseCondition};
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::{ANALYSIS_RUNS, ROLLOUTS};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// What ends by itself, once faults have ended.
const PASSING: [&str; 7] = [
    "ApiServer",
    "Bake",
    "ObjectInTheWay",
    "OldPodsGone",
    "PauseDuration",
    "RouteConfirmed",
    "ScaleDownDelay",
];

/// What is to be held against the world at its end.
pub(super) fn check(server: &Server, ready: i64, waits: Waits, now: Timestamp) -> Result<(), String> {
    let Some((_, rollout)) = rollout(server) else { return Ok(()) };
    what_it_says(rollout, server, waits, now)?;
    let Some(view) = View::of(server) else { return Ok(()) };
    its_versions(rollout, &view, ready)?;
    if let Some(broken) = internal_error(rollout).or_else(|| too_few(rollout, &view)) {
        return Err(broken);
    }
    if is_restart_left(rollout, &view) {
        let phase = text(rollout, "/status/phase");
        return Err(format!("the Rollout is {phase}, all pods are available, and a restart is not done"));
    }
    back_at_stable(&view)
}

/// Its phase, what it waits for, and which spec it speaks of.
fn what_it_says(rollout: &Value, server: &Server, waits: Waits, now: Timestamp) -> Result<(), String> {
    let phase = text(rollout, "/status/phase");
    let waiting = text(rollout, "/status/waiting/kind");
    if phase != "Healthy" && waiting.is_empty() && waits == Waits::Stored {
        return Err(format!(
            "the Rollout is {phase} ({}) and does not say for what it waits",
            text(rollout, "/status/message")
        ));
    }
    if waits == Waits::Stored && PASSING.contains(&waiting) {
        return Err(format!(
            "the Rollout waits for {waiting} for ever: {}",
            text(rollout, "/status/waiting/message")
        ));
    }
    let is_measuring = is_held(server) || awaits_verdict(rollout, server);
    if !["Healthy", "Paused", "Degraded"].contains(&phase) && !is_measuring {
        return Err(format!(
            "the Rollout is {phase} for ever and waits for {waiting}: {}",
            text(rollout, "/status/waiting/message")
        ));
    }
    let until = text(rollout, "/status/waiting/until").parse::<Timestamp>().ok();
    // Who tries a held analysis again does so for ever, by a clock that may differ from the truth.
    let late = if waiting == "AnalysisHold" { FROM_EACH_OTHER } else { SignedDuration::ZERO };
    if let Some(until) = until.filter(|until| now.duration_since(*until) > late) {
        return Err(format!("the Rollout waits for {waiting} until {until}, which has passed"));
    }
    let generation = number(rollout, "/metadata/generation").to_string();
    if text(rollout, "/status/observedGeneration") != generation {
        return Err(format!("the status is not about generation {generation}, the one that is stored"));
    }
    if !has_a_cause(rollout, phase) {
        return Err(format!("the Rollout is {phase}, and nothing in its spec and status makes it so"));
    }
    Ok(())
}

/// Which versions there are, and their pods.
fn its_versions(rollout: &Value, view: &View, ready: i64) -> Result<(), String> {
    let phase = text(rollout, "/status/phase");
    let waiting = text(rollout, "/status/waiting/kind");
    if !view.is_invalid && !view.is_wanted(&view.current) {
        return Err(format!("the newest version is {}, which is not the template's", view.current));
    }
    let has_all = view.sets.iter().all(|set| set.available == set.replicas);
    if waiting == "PodsAvailable" && has_all && view.sets.iter().any(|set| set.hash == view.current) {
        return Err("the Rollout waits for pods, and all that are wanted are available".to_owned());
    }
    let left = view.sets.iter().find(|set| set.hash != view.stable && set.replicas > 0);
    if let (Some(set), "Healthy") = (left, phase) {
        return Err(format!("the Rollout is Healthy and {} still has {} pods", set.name, set.replicas));
    }
    if phase == "Healthy" && (ready < view.desired || view.available(&view.stable) < view.desired) {
        return Err(format!("the Rollout is Healthy with {ready} ready pods of {}", view.desired));
    }
    if phase == "Healthy" && view.stable != view.current {
        return Err("the Rollout is Healthy and its newest version is not stable".to_owned());
    }
    Ok(())
}

/// True unless the Rollout is Paused or Degraded without a pause, an abort, a deadline or a spec that says so.
fn has_a_cause(rollout: &Value, phase: &str) -> bool {
    let is = |field: &str| rollout.at(field) == Some(&Value::Bool(true));
    let pauses = rollout.at("/status/pauseConditions").and_then(Value::as_array);
    let is_told = |reason: &str| conditions::for_reason(rollout, reason).is_some();
    match phase {
        "Paused" => is("/spec/paused") || pauses.is_some_and(|pauses| !pauses.is_empty()),
        "Degraded" => {
            is("/status/abort")
                || is_told(reasons::PROGRESS_DEADLINE_EXCEEDED)
                || is_told(reasons::INVALID_SPEC)
                || is_told(reasons::INTERNAL_ERROR)
        }
        _ => true,
    }
}

/// What the spec no longer names gives the canary nothing any more.
pub(super) fn led_back(names: &Names, server: &Server) -> Result<(), String> {
    let Some(view) = View::of(server).filter(|view| !view.is_invalid) else { return Ok(()) };
    let bears = view.available(&view.stable) >= view.bears_all();
    let share =
        |target: &ObjectRef| names.canary_shares(target, server.get(target)).map_or(0, |(_, most)| most);
    match names.left().find(|target| share(target) > 0) {
        Some(left) if bears => Err(format!(
            "{} {} is no longer named and still gives the canary {}",
            left.resource.kind,
            left.name,
            share(left)
        )),
        _ => Ok(()),
    }
}

/// A decision that breaks our rules is refused, and says so for ever.
fn internal_error(rollout: &Value) -> Option<String> {
    let found = conditions::for_reason(rollout, reasons::INTERNAL_ERROR);
    found.map(|condition| text(condition, "/message").to_owned())
}

/// The new version, and stable where it goes with its weight, have at least so many pods as `minPodsPerReplicaSet` says, or none,
/// while a release rests at a step. What a canary scale asks for is another matter.
fn too_few(rollout: &Value, view: &View) -> Option<String> {
    let canary = rollout.at("/spec/strategy/canary")?;
    let least = number(canary, "/minPodsPerReplicaSet").min(view.desired);
    let steps = canary.get("steps").and_then(Value::as_array).into_iter().flatten();
    let is_scaled = steps.into_iter().any(|step| step.get("setCanaryScale").is_some());
    let pauses = rollout.at("/status/pauseConditions").and_then(Value::as_array)?;
    // Whoever waits for a person, for another reason, moves no pod.
    let is_step = |pause: &Value| text(pause, "/reason") == PauseCondition::CANARY_PAUSE_STEP;
    let rests = !pauses.is_empty() && pauses.iter().all(is_step) && !view.is_paused;
    if !rests || is_scaled || !view.is_routed || view.is_aborted || view.is_invalid {
        return None;
    }
    let is_dynamic = canary.get("dynamicStableScale") == Some(&Value::Bool(true));
    let counts = |set: &&Set| set.hash == view.current || is_dynamic && set.hash == view.stable;
    let few = view.sets.iter().filter(counts).find(|set| (1..least).contains(&set.replicas))?;
    Some(format!("{} has {} pods, and minPodsPerReplicaSet wants {least}", few.name, few.replicas))
}

/// True when a restart is not done although nothing keeps it from going on: all pods are there, and no version has only one
/// that serves.
fn is_restart_left(rollout: &Value, view: &View) -> bool {
    let asked = restart_at(rollout);
    let done = text(rollout, "/status/restartedAt").parse::<Timestamp>().ok();
    let serves = |hash: &String| {
        [&view.stable_selects, &view.canary_selects].into_iter().flatten().any(|one| one == hash)
    };
    let mut sets = view.sets.iter().filter(|set| set.replicas > 0);
    let is_single = |set: &Set| view.desired <= 1 && set.hash == view.stable;
    let can_go_on = |set: &Set| {
        set.available == set.replicas && (set.replicas > 1 || !serves(&set.hash) || is_single(set))
    };
    // A user who holds the release with fewer pods than wanted leaves none to spare.
    let all: i64 = view.sets.iter().map(|set| set.replicas).sum();
    let has_all = all >= view.desired;
    asked.is_some() && asked != done && !view.is_invalid && has_all && sets.all(can_go_on)
}

fn back_at_stable(view: &View) -> Result<(), String> {
    let canary = view.canary_weight.unwrap_or(0);
    let stable = view.available(&view.stable);
    let bears = stable >= view.bears_all();
    if view.is_aborted && bears && canary > 0 {
        return Err(format!(
            "aborted, stable has {stable} available pods, and the canary still gets {canary}"
        ));
    }
    // Without a release there is nothing to lead back from.
    let is_release = view.stable != view.current && !view.stable.is_empty();
    // Then a spec that waits to be mended leaves Services as they are: the version before may still serve.
    let is_left = view.is_invalid && !is_release && canary == 0;
    let is_apart = view.canary_selects.is_some() && view.canary_selects.as_ref() != Some(&view.stable);
    if view.is_aborted && stable > 0 && is_apart && !is_left {
        return Err("aborted, and the canary Service does not lead to stable".to_owned());
    }
    // Whether they get available is not ours to say: they must be wanted.
    let wanted: i64 = view.sets.iter().filter(|set| set.hash == view.stable).map(|set| set.replicas).sum();
    let can_grow = !view.is_stable_beyond_repair() && !is_stuck(view);
    if view.is_aborted && is_release && wanted < view.desired && can_grow {
        return Err(format!("aborted, and stable has {wanted} of {} pods", view.desired));
    }
    let is_drained = view.is_routed && canary == 0 && bears && !is_apart && view.abort_drain != i64::MAX;
    let left = view.sets.iter().find(|set| set.hash == view.current && set.replicas > 0);
    if let (Some(left), true) =
        (left.filter(|_| is_drained), view.is_aborted && is_release && !view.is_paused)
    {
        return Err(format!("aborted long ago, and {} still has {} pods", left.name, left.replicas));
    }
    Ok(())
}

/// True when older pods serve that cannot be missed, and no pod may be added beside them: without a router rule 3 leaves
/// no way.
fn is_stuck(view: &View) -> bool {
    let wanted: i64 = view.sets.iter().map(|set| set.replicas).sum();
    let available: i64 = view.sets.iter().map(|set| set.available).sum();
    !view.is_routed
        && wanted >= view.desired + view.max_surge
        && available <= view.desired - view.max_unavailable
}

/// The run that the status names, of a step or beside the steps.
fn named<'a>(rollout: &'a Value, role: &str) -> Option<&'a Value> {
    rollout.at(&format!("/status/canary/current{role}AnalysisRunStatus")).filter(|run| run.is_object())
}

/// True while a run goes on that a step, or a first version, waits for.
fn awaits_verdict(rollout: &Value, server: &Server) -> bool {
    let is_first = text(rollout, "/status/stableRS").is_empty();
    let awaited = named(rollout, "Step").or_else(|| named(rollout, "Background").filter(|_| is_first));
    let is_running = |name: &str| {
        let mut runs = server.all(ANALYSIS_RUNS);
        runs.any(|(target, run)| target.name == name && text(run, "/status/phase") == "Running")
    };
    awaited.is_some_and(|run| is_running(text(run, "/name")))
}

/// True while an analysis holds the release.
pub(crate) fn is_held(server: &Server) -> bool {
    rollout(server).is_some_and(|(_, rollout)| holds(rollout))
}

/// True at a step, or beside an analysis in the background, that is tried again and again since it has failed. What the
/// status remembers of it may be dropped by an older CRD: then a run that has failed, or one after the first, tells.
pub(crate) fn holds(rollout: &Value) -> bool {
    may_hold(rollout)
        && (rollout.at("/status/headgate/analysisHold").is_some_and(Value::is_object)
            || ["Step", "Background"].into_iter().filter_map(|role| named(rollout, role)).any(|run| {
                ["Failed", "Error"].contains(&text(run, "/status")) || text(run, "/name").contains('.')
            }))
}

/// True where a failed analysis holds the release.
fn may_hold(rollout: &Value) -> bool {
    let step = rollout.at("/status/currentStepIndex").and_then(Value::as_u64).unwrap_or(0);
    let step = format!("/spec/strategy/canary/steps/{step}/analysis/onFailure");
    let background = "/spec/strategy/canary/analysis/onFailure";
    let is_under_way = text(rollout, "/status/stableRS") != text(rollout, "/status/currentPodHash");
    let is_aborted = rollout.at("/status/abort") == Some(&Value::Bool(true));
    is_under_way
        && !is_aborted
        && [step.as_str(), background].into_iter().any(|field| text(rollout, field) == "hold")
}

/// True for a write that a settled world may see: a running analysis goes on measuring, and while one holds the release it is
/// tried again, which the record tells.
pub(crate) fn may_go_on(
    resource: headgate_driver::io::Resource,
    after: Option<&Value>,
    server: &Server,
) -> bool {
    let measures =
        resource == ANALYSIS_RUNS && after.is_some_and(|run| text(run, "/status/phase") == "Running");
    measures || [ANALYSIS_RUNS, ROLLOUTS].contains(&resource) && is_held(server)
}

/// True for a write with which a running analysis fails, or finds that it cannot tell.
pub(crate) fn fails(
    resource: headgate_driver::io::Resource,
    before: Option<&Value>,
    after: Option<&Value>,
) -> bool {
    let phase = |run: Option<&Value>| run.map_or("", |run| text(run, "/status/phase")).to_owned();
    let is_bad = ["Failed", "Inconclusive"].contains(&phase(after).as_str());
    resource == ANALYSIS_RUNS && phase(before) == "Running" && is_bad
}
