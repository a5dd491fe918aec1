//! For what a Rollout waits, since when, until when, and what would end it: the "why" of every stillness.

use crate::analysis::{self, Role};
use crate::bake;
use crate::conditions;
use crate::cutover::{self, Plan, StepBack};
use crate::initial;
use crate::intent::place_of_abort;
use crate::on_failure;
use crate::pauses;
use crate::pod_health;
use crate::progress;
use crate::release::{self, PauseLimit};
use crate::restart;
use crate::revision;
use crate::scene::{Scene, Versions};
use crate::steps::{self, Stage};
use headgate_api::conditions::{reasons, types};
use headgate_api::{PauseCondition, RolloutAnalysisRunStatus, RolloutPhase, RolloutStatus, Waiting};
use headgate_model::spec::{PauseEnd, PauseTimeout, Step};
use headgate_model::{
    EffectKey, Failure, FailureClass, ReplicaSetView, SpecProblem, Timestamp, Wait, WaitFor,
};

/// What the release waits for now; nothing when it is healthy and settled, and no act of ours is refused.
pub(crate) fn wait(scene: &Scene<'_>, record: &RolloutStatus, plan: &Plan) -> Option<Wait> {
    refused(scene).or_else(|| match steps::stage(record, scene.spec) {
        Stage::Aborted => Some(aborted(scene, record, plan)),
        Stage::Promoted => promoted(scene, record, plan),
        stage @ (Stage::Step(_) | Stage::Finishing) => Some(releasing(scene, record, stage, plan)),
    })
}

/// When a wait of this kind began, as the record tells: also before Headgate was there.
pub(crate) fn began(scene: &Scene<'_>, record: &RolloutStatus, on: WaitFor) -> Option<Timestamp> {
    match on {
        WaitFor::UserPromotion | WaitFor::PauseDuration => {
            pauses::began(record, PauseCondition::CANARY_PAUSE_STEP)
        }
        WaitFor::PauseOverdue => Some(release::pause_limit(scene, record)?.at),
        WaitFor::InconclusiveAnalysis => pauses::began(record, PauseCondition::INCONCLUSIVE_ANALYSIS_RUN),
        WaitFor::AnalysisFailed => pauses::began(record, PauseCondition::ANALYSIS_FAILED),
        WaitFor::PodHealth => pauses::began(record, PauseCondition::POD_HEALTH),
        WaitFor::AfterAbort => Some(record.aborted_at.as_ref()?.0),
        WaitFor::Bake => bake::since(record),
        WaitFor::UserUnpause
        | WaitFor::AnalysisHold
        | WaitFor::Analysis
        | WaitFor::PodsAvailable
        | WaitFor::RouteConfirmed
        | WaitFor::ScaleDownDelay
        | WaitFor::OldPodsGone
        | WaitFor::Restart
        | WaitFor::MendSpec
        | WaitFor::ApiServer
        | WaitFor::ObjectInTheWay => None,
    }
}

/// What was told once and no longer stands has been overwritten by another process, which does not know of the failure: it
/// is told again when it has failed again.
pub(crate) fn may_be_said(scene: &Scene<'_>, failure: &Failure, wait: &Wait) -> bool {
    !failure.told || scene.old.waiting.as_ref().is_some_and(|old| wait.is_recorded_as(old))
}

/// Something that only a user or an administrator can mend keeps an act of ours from happening.
fn refused(scene: &Scene<'_>) -> Option<Wait> {
    let is_lasting = |failure: &Failure| {
        failure.class.is_refused()
            || failure.class == FailureClass::Bug
            || (matches!(failure.class, FailureClass::Transient | FailureClass::Conflict)
                && failure.attempts >= 3)
    };
    let lasting = scene.snapshot.failures.iter().filter(|(key, failure)| {
        // That a budget is respected is no trouble: the restart itself says that it waits for it.
        is_lasting(failure) && restart::budget(key, failure).is_none()
    });
    lasting
        .map(|(key, failure)| (failure, refusal(scene, key, failure)))
        .find(|(failure, wait)| may_be_said(scene, failure, wait))
        .map(|(_, wait)| wait)
}

/// True when this is said of a failure of the Rollout of this name: it need not be told again.
pub fn speaks_of(waiting: &Waiting, rollout: &str, key: &EffectKey, failure: &Failure) -> bool {
    match restart::budget(key, failure) {
        Some(budget) => waiting.kind == WaitFor::Restart.as_str() && waiting.message.starts_with(&budget),
        None => {
            waiting.kind == WaitFor::ApiServer.as_str()
                && waiting.message == refusal_text(rollout, key, failure)
        }
    }
}

fn refusal_text(rollout: &str, key: &EffectKey, failure: &Failure) -> String {
    let object = if key.object.is_empty() { rollout } else { key.object.as_str() };
    format!("{} of {object} is refused: {}", key.verb.as_str(), failure.message)
}

fn refusal(scene: &Scene<'_>, key: &EffectKey, failure: &Failure) -> Wait {
    let ends_with = match failure.class {
        FailureClass::Forbidden => "an administrator who grants the right or the quota named above",
        FailureClass::Invalid => "a user who mends what the API server refuses",
        FailureClass::Conflict => {
            "whoever else writes the same object coming to an end; it is tried again and again"
        }
        _ => "the API server answering again; it is tried again and again",
    };
    Wait {
        on: WaitFor::ApiServer,
        message: refusal_text(&scene.rollout.name, key, failure),
        until: None,
        ends_with: ends_with.to_owned(),
    }
}

fn command(scene: &Scene<'_>, verb: &str) -> String {
    format!("kubectl headgate {verb} {} -n {}", scene.rollout.name, scene.rollout.namespace)
}

fn of_revision(scene: &Scene<'_>) -> String {
    format!("revision {} ({})", scene.revision, revision::name(scene))
}

fn releasing(scene: &Scene<'_>, record: &RolloutStatus, stage: Stage, plan: &Plan) -> Wait {
    if scene.spec.paused {
        return Wait {
            on: WaitFor::UserUnpause,
            message: "spec.paused is set: steps and the pods of the new version stay as they are".to_owned(),
            until: None,
            ends_with: format!("`{}`, which unsets spec.paused", command(scene, "promote")),
        };
    }
    if pauses::holds(record, PauseCondition::INCONCLUSIVE_ANALYSIS_RUN) {
        return Wait {
            on: WaitFor::InconclusiveAnalysis,
            message: "an analysis came to no verdict".to_owned(),
            until: None,
            ends_with: format!(
                "`{}` to go on, `{}` to go back",
                command(scene, "promote"),
                command(scene, "abort")
            ),
        };
    }
    if let Some(message) = on_failure::paused_by(record) {
        return failed_analysis(scene, message);
    }
    if pod_health::is_paused(record) {
        return Wait {
            on: WaitFor::PodHealth,
            message: pod_health::problem(record)
                .unwrap_or("a pod of the new version was unhealthy")
                .to_owned(),
            until: None,
            ends_with: format!(
                "`{}` to go on all the same, `{}` to go back",
                command(scene, "promote"),
                command(scene, "abort")
            ),
        };
    }
    if let Some((run, message)) = on_failure::held_by(record) {
        return held(scene, record, run, message);
    }
    if let Some((role, run, why)) = analysis::lacks_value(scene, record) {
        return unmade(scene, role, &run, &why);
    }
    if initial::is_under_way(record) {
        return first(scene, record);
    }
    let [step, _] = analysis::runs(record);
    match steps::current_step(record, scene.spec) {
        Some(Step::Pause(_)) => pause(scene, record),
        Some(Step::Analysis(..)) => awaited(step),
        Some(Step::SetWeight(_) | Step::SetCanaryScale(_)) | None => moving(scene, record, stage, plan),
    }
}

fn failed_analysis(scene: &Scene<'_>, message: String) -> Wait {
    Wait {
        on: WaitFor::AnalysisFailed,
        message,
        until: None,
        ends_with: format!(
            "`{}` to go on all the same, `{}` to go back",
            command(scene, "promote"),
            command(scene, "abort")
        ),
    }
}

/// A run that waits for what its arguments name.
fn unmade(scene: &Scene<'_>, role: Role, run: &str, why: &str) -> Wait {
    // A run beside the steps, or after them, is needed as long as the release is not promoted in full.
    let promote = if matches!(role, Role::Step(_)) { "promote" } else { "promote --full" };
    Wait {
        on: WaitFor::Analysis,
        message: format!("AnalysisRun {run} cannot be made: {why}"),
        until: None,
        ends_with: format!(
            "that field having a value, another fieldPath, `{}` to go on without the analysis, or `{}` to go back",
            command(scene, promote),
            command(scene, "abort")
        ),
    }
}

fn held(scene: &Scene<'_>, record: &RolloutStatus, run: &str, message: &str) -> Wait {
    // After the last step there is none that a promotion could skip.
    let (promote, what) = match steps::current_step(record, scene.spec) {
        Some(_) => ("promote", "to go a step on"),
        None => ("promote --full", "to go on"),
    };
    Wait {
        on: WaitFor::AnalysisHold,
        message: format!(
            "the release is held, because AnalysisRun {run} has failed{}",
            on_failure::clause(message)
        ),
        until: on_failure::due(scene, record),
        ends_with: format!(
            "a fresh run that is successful (one begins a minute after each that fails), `{}` {what} all the same, `{}` to \
             go back",
            command(scene, promote),
            command(scene, "abort")
        ),
    }
}

/// The very first version, which is analysed before it is stable.
fn first(scene: &Scene<'_>, record: &RolloutStatus) -> Wait {
    if !initial::has_pods(scene) {
        return pods(scene, record, scene.spec.replicas, &of_revision(scene));
    }
    let [step, background] = analysis::runs(record);
    match steps::current_step(record, scene.spec) {
        Some(Step::Analysis(..)) => awaited(step),
        _ => awaited(background),
    }
}

fn baking(scene: &Scene<'_>, record: &RolloutStatus) -> Option<Wait> {
    let (since, until) = (bake::since(record)?, bake::until(scene, record)?);
    let end = command(scene, "promote --full");
    let awaits =
        if bake::waits_for_verdict(scene, record) { ", and its analysis is to be successful" } else { "" };
    Some(Wait {
        on: WaitFor::Bake,
        message: format!(
            "the new version has everything and bakes from {since} until {until}{awaits}; the old one stands by with all \
             its pods"
        ),
        until: Some(until),
        ends_with: format!("the end of the bake, or `{end}`, which ends it now"),
    })
}

fn pause(scene: &Scene<'_>, record: &RolloutStatus) -> Wait {
    let step = record.current_step_index.unwrap_or(0) + 1;
    let skip = format!("`{}`", command(scene, "promote"));
    let is_timed = matches!(steps::current_step(record, scene.spec), Some(Step::Pause(PauseEnd::After(_))));
    if let Some(limit) = release::pause_limit(scene, record) {
        return limited_pause(scene, record, limit, step, skip);
    }
    match release::pause_ends(scene, record) {
        None if is_timed => Wait {
            on: WaitFor::PauseDuration,
            message: format!("the pause of step {step} begins"),
            until: None,
            ends_with: format!("the end of the pause, or {skip}"),
        },
        Some(end) => Wait {
            on: WaitFor::PauseDuration,
            message: format!("the pause of step {step} lasts until {end}"),
            until: Some(end),
            ends_with: format!("the end of the pause, or {skip}"),
        },
        None => Wait {
            on: WaitFor::UserPromotion,
            message: format!("the pause of step {step} ends when a user promotes"),
            until: None,
            ends_with: skip,
        },
    }
}

fn limited_pause(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    limit: PauseLimit,
    step: i32,
    promotion: String,
) -> Wait {
    let at = limit.at;
    if limit.is_over(scene) {
        return Wait {
            on: WaitFor::PauseOverdue,
            message: limit.told(record),
            until: None,
            ends_with: promotion,
        };
    }
    let (then, until) = match limit.then {
        PauseTimeout::Abort => ("the release is aborted", Some(at)),
        PauseTimeout::Promote => ("the release goes on by itself", Some(at)),
        PauseTimeout::Stay => ("a Warning event reminds you", None),
    };
    Wait {
        on: WaitFor::UserPromotion,
        message: format!("the pause of step {step} ends when a user promotes; if nobody has by {at}, {then}"),
        until,
        ends_with: promotion,
    }
}

/// The verdict of a run.
fn awaited(run: Option<&RolloutAnalysisRunStatus>) -> Wait {
    let name = run.map_or("to be created", |run| run.name.as_str());
    Wait {
        on: WaitFor::Analysis,
        message: format!("AnalysisRun {name} has no verdict yet"),
        until: None,
        ends_with: "the verdict of the AnalysisRun".to_owned(),
    }
}

fn moving(scene: &Scene<'_>, record: &RolloutStatus, stage: Stage, plan: &Plan) -> Wait {
    let versions = scene.versions(&record.stable_rs);
    let target = cutover::target(scene, stage, &versions);
    if let Some(wait) = baking(scene, record) {
        return wait;
    }
    if cutover::pods_reached(scene, stage, &versions) || only_stable_moves(scene, stage, &versions) {
        if cutover::route_reached(scene, stage, &versions) && only_stable_moves(scene, stage, &versions) {
            return stable_pods(&versions, plan);
        }
        if let Some(needed) = cutover::lacking_stable(scene, stage, &versions) {
            let promote = command(scene, "promote");
            let ends_with =
                format!("the pods becoming available, or `{promote}`, which goes a step on without them");
            return Wait { ends_with, ..pods(scene, record, needed, &of_stable(&versions)) };
        }
        let weight = steps::wish(stage, scene.spec).weight;
        return unled_service(scene, weight).unwrap_or_else(|| route(scene, plan, weight));
    }
    if cutover::canary_reached(scene, stage, &versions) && !cutover::routes_are_known(scene) {
        return route(scene, plan, steps::wish(stage, scene.spec).weight);
    }
    pods(scene, record, target.canary, &of_revision(scene))
}

/// The routes give the canary Service what they are to give it, and it leads elsewhere.
fn unled_service(scene: &Scene<'_>, weight: i32) -> Option<Wait> {
    let service = scene.spec.canary.canary_service.as_ref()?;
    let is_led = scene.selected(Some(service)) == scene.current.map(ReplicaSetView::hash);
    let routing = scene.spec.canary.routing.as_ref()?;
    (weight > 0 && !is_led && cutover::weights_shown(scene, weight)).then(|| Wait {
        on: WaitFor::RouteConfirmed,
        message: format!(
            "the routes give Service {service} its {weight} of {}, and it is to lead to {} now: the first time that takes \
             all of its pods, or as many as replicaProgressThreshold wants",
            routing.total,
            of_revision(scene)
        ),
        until: None,
        ends_with: "the Service selecting the new version".to_owned(),
    })
}

/// True when the newest version has its pods and stable, whose pods go with its weight, does not have its number yet.
fn only_stable_moves(scene: &Scene<'_>, stage: Stage, versions: &Versions<'_>) -> bool {
    let routing = scene.spec.canary.routing.as_ref();
    routing.is_some_and(|routing| routing.dynamic_stable_scale)
        && cutover::canary_reached(scene, stage, versions)
        && !cutover::pods_reached(scene, stage, versions)
}

fn stable_pods(versions: &Versions<'_>, plan: &Plan) -> Wait {
    if let Some(until) = plan.delayed_until {
        return old_pods(until);
    }
    let name = versions.stable.map_or("", |stable| stable.name.as_str());
    Wait {
        on: WaitFor::OldPodsGone,
        message: format!("the stable version ({name}) is to have as many pods as its weight needs"),
        until: None,
        ends_with: "the ReplicaSet having that number of pods".to_owned(),
    }
}

fn of_stable(versions: &Versions<'_>) -> String {
    format!("the stable version ({})", versions.stable.map_or("", |stable| stable.name.as_str()))
}

/// The way back of an abort whose weight goes down in steps.
fn step_back(step: StepBack, versions: &Versions<'_>) -> Wait {
    let StepBack { from, to, pods } = step;
    let lacks_pods = versions.stable.is_some_and(|stable| stable.available() < pods);
    let (on, after, ends_with) = if lacks_pods {
        let pods = format!("{pods} pods of {} are available", of_stable(versions));
        (WaitFor::PodsAvailable, pods, "the pods becoming available")
    } else {
        let shown = format!("the routes and their proxies have taken over {from}");
        (WaitFor::RouteConfirmed, shown, "the routes showing the weight")
    };
    Wait {
        on,
        message: format!("after the abort the weight goes back in steps: from {from} to {to} once {after}"),
        until: None,
        ends_with: ends_with.to_owned(),
    }
}

/// `wanted` pods of a version that are not all available yet. What keeps them from being made is said, too.
fn pods(scene: &Scene<'_>, record: &RolloutStatus, wanted: i32, of: &str) -> Wait {
    let is_late = conditions::has_reason(record, types::PROGRESSING, reasons::PROGRESS_DEADLINE_EXCEEDED);
    let due = progress::due(scene, record).filter(|due| !is_late && *due > scene.now);
    let is_stable = record.stable_rs == record.current_pod_hash;
    let otherwise = match (due, scene.spec.progress_deadline_abort) {
        (None, _) if is_late && is_stable => ", or another version".to_owned(),
        (None, _) if is_late => format!(", `{}`, or another version", command(scene, "undo")),
        (None, _) => String::new(),
        (Some(_), true) => "; at the deadline the release is aborted".to_owned(),
        (Some(_), false) => "; at the deadline the rollout is Degraded".to_owned(),
    };
    let (noun, verb) = if wanted == 1 { ("pod", "is") } else { ("pods", "are") };
    let late = if is_late { "; the deadline has passed" } else { "" };
    let failure = revision::reported_failure(&scene.versions(&record.stable_rs))
        .map_or_else(String::new, |(_, why)| format!(": {why}"));
    Wait {
        on: WaitFor::PodsAvailable,
        message: format!("{wanted} {noun} of {of} {verb} to be available{late}{failure}"),
        until: due,
        ends_with: format!("the pods becoming available{otherwise}"),
    }
}

fn route(scene: &Scene<'_>, plan: &Plan, weight: i32) -> Wait {
    let routers = || scene.snapshot.routers.iter().chain(scene.former_routers());
    let unreadable = routers().find_map(|router| router.state.as_ref().err());
    let lagging = routers().find(|router| {
        router.state.as_ref().is_ok_and(|state| state.confirmed == Some(false)) && plan.shift.is_empty()
    });
    let total = steps::total(scene.spec);
    Wait {
        on: WaitFor::RouteConfirmed,
        message: match (unreadable, lagging) {
            (Some(problem), _) => format!("a route can't be read: {problem}"),
            (None, Some(router)) => {
                format!("the proxies of {} have not taken over the newest weights yet", router.config.label())
            }
            (None, None) => format!("the routes are to give the new version {weight} of {total}"),
        },
        until: plan.delayed_until,
        ends_with: "the routes showing the weight".to_owned(),
    }
}

fn aborted(scene: &Scene<'_>, record: &RolloutStatus, plan: &Plan) -> Wait {
    if initial::is_under_way(record) {
        return aborted_first(scene, record);
    }
    let versions = scene.versions(&record.stable_rs);
    let desired = scene.spec.replicas;
    if let Some(step) = cutover::next_step_back(scene, record) {
        return step_back(step, &versions);
    }
    let is_back = plan.shift.is_empty() && cutover::route_reached(scene, Stage::Aborted, &versions);
    // Once the weight is back those that may be missing anyway hold up nothing.
    let needed = if is_back { desired - scene.max_unavailable() } else { desired };
    if versions.stable.is_some_and(|stable| stable.available() < needed) {
        return pods(scene, record, desired, &of_stable(&versions));
    }
    if !is_back {
        return route(scene, plan, 0);
    }
    let pods = plan.delayed_until.map_or_else(String::new, |until| format!("; its pods stay until {until}"));
    Wait {
        on: WaitFor::AfterAbort,
        message: format!(
            "the release of {} was aborted{}{}; the stable version serves{pods}",
            of_revision(scene),
            place_of_abort(record),
            cause(record)
        ),
        until: None,
        ends_with: format!("`{}`, or a new or the old pod template", command(scene, "retry rollout")),
    }
}

fn aborted_first(scene: &Scene<'_>, record: &RolloutStatus) -> Wait {
    let why = Some(cause(record)).filter(|why| !why.is_empty());
    let (of, place) = (of_revision(scene), place_of_abort(record));
    let why = why.unwrap_or_else(|| format!("; {}", initial::NO_WAY_BACK));
    Wait {
        on: WaitFor::AfterAbort,
        message: format!("the first release, of {of}, was aborted{place}{why}"),
        until: None,
        ends_with: format!("`{}`, or a new pod template", command(scene, "retry rollout")),
    }
}

/// Why the release was aborted, as a clause; empty when a user did it, or did not say.
fn cause(record: &RolloutStatus) -> String {
    let aborted = conditions::get(record, types::PROGRESSING)
        .filter(|progressing| progressing.reason == reasons::ROLLOUT_ABORTED);
    let cause = aborted.and_then(|progressing| progressing.message.split_once(": "));
    cause.map_or_else(String::new, |(_, why)| format!(": {why}"))
}

fn old_pods(until: Timestamp) -> Wait {
    Wait {
        on: WaitFor::ScaleDownDelay,
        message: format!("pods without traffic stay until {until}"),
        until: Some(until),
        ends_with: "the end of the delay, when these pods are removed".to_owned(),
    }
}

fn promoted(scene: &Scene<'_>, record: &RolloutStatus, plan: &Plan) -> Option<Wait> {
    let desired = scene.spec.replicas;
    if scene.spec.paused {
        return Some(Wait {
            on: WaitFor::UserUnpause,
            message: "spec.paused is set".to_owned(),
            until: None,
            ends_with: format!("`{}`, which unsets spec.paused", command(scene, "promote")),
        });
    }
    let is_late = conditions::has_reason(record, types::PROGRESSING, reasons::PROGRESS_DEADLINE_EXCEEDED);
    if let Some(wait) = restart::wait(scene, record).filter(|_| !is_late) {
        return Some(wait);
    }
    if scene.current.is_none_or(|current| current.available() < desired || current.replicas != desired) {
        return Some(pods(scene, record, desired, &of_revision(scene)));
    }
    if !plan.shift.is_empty() || !cutover::routes_are_known(scene) {
        return Some(route(scene, plan, 0));
    }
    let left = scene
        .versions(&record.stable_rs)
        .others
        .into_iter()
        .filter(|set| set.replicas > 0 || set.current > 0);
    let left: Vec<&ReplicaSetView> = left.collect();
    if left.is_empty() && record.phase == Some(RolloutPhase::Healthy) {
        return None;
    }
    Some(plan.delayed_until.map_or_else(
        || Wait {
            on: WaitFor::OldPodsGone,
            message: format!(
                "pods of {} are to go",
                left.first().map_or("older versions", |set| set.name.as_str())
            ),
            until: None,
            ends_with: "the end of these pods".to_owned(),
        },
        old_pods,
    ))
}

/// A spec that cannot be carried out waits for the user.
pub(crate) fn mend(problem: &SpecProblem) -> Wait {
    Wait {
        on: WaitFor::MendSpec,
        message: problem.to_string(),
        until: None,
        ends_with: format!("a user who mends {} or what it names", problem.field),
    }
}

/// The name of the new ReplicaSet is taken: another one is tried.
pub(crate) fn name_taken(scene: &Scene<'_>) -> Wait {
    Wait {
        on: WaitFor::ObjectInTheWay,
        message: format!("another object is named {}: another name is tried", revision::name(scene)),
        until: None,
        ends_with: "the next try".to_owned(),
    }
}
