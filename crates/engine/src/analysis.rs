//! The AnalysisRuns of a release: which are needed, what their verdicts mean, which are no longer needed.
//!
//! A run's name is in the record before the run is created, so that a lost answer never makes a second run.

use crate::intent::{abort, canary};
use crate::scene::{Scene, memory, stored};
use crate::steps::{self, Stage};
use headgate_api::{
    AnalysisPhase, PauseCondition, RolloutAnalysis, RolloutAnalysisRunStatus, RolloutStatus, labels,
};
use headgate_model::analysis::{self, AnalysisProblem, ArgumentContext, Versions};
use headgate_model::spec::{RolloutSpec, Step};
use headgate_model::{AnalysisRunView, Effect, EffectKey, FailureClass, RolloutView, Snapshot, selector};
use serde_json::{Map, Value, json};

/// For what a run runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The step with this index.
    Step(usize),
    /// Beside the steps.
    Background,
}

/// The run that the record needs in a role, and what it measures.
struct Need<'a> {
    role: Role,
    analysis: &'a RolloutAnalysis,
}

fn step_need<'a>(record: &RolloutStatus, spec: &'a RolloutSpec) -> Option<Need<'a>> {
    let Stage::Step(index) = steps::stage(record, spec) else { return None };
    match spec.canary.steps.get(index) {
        Some(Step::Analysis(analysis)) => Some(Need { role: Role::Step(index), analysis }),
        _ => None,
    }
}

fn background_need<'a>(scene: &Scene<'a>, record: &RolloutStatus) -> Option<Need<'a>> {
    let background = scene.spec.canary.background.as_ref()?;
    let started = match steps::stage(record, scene.spec) {
        Stage::Promoted | Stage::Aborted => false,
        Stage::Step(index) => index >= background.starting_step,
        Stage::Finishing => !record.promote_full && !scene.is_recent_rollback(&record.stable_rs),
    };
    started.then_some(Need { role: Role::Background, analysis: &background.analysis })
}

/// Argo Rollouts: `<rollout>-<hash>-<revision>`, for a step with its index.
fn base_name(scene: &Scene<'_>, role: Role) -> String {
    let base = format!("{}-{}-{}", scene.rollout.name, scene.current_hash, scene.revision);
    match role {
        Role::Step(index) => format!("{base}-{index}"),
        Role::Background => base,
    }
}

/// True when `name` is `base` or one of its repetitions (`base.1`, `base.2` …).
fn is_named_after(name: &str, base: &str) -> bool {
    name.strip_prefix(base).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('.').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn status(record: &mut RolloutStatus, role: Role) -> &mut Option<RolloutAnalysisRunStatus> {
    let canary = canary(record);
    match role {
        Role::Step(_) => &mut canary.current_step_analysis_run_status,
        Role::Background => &mut canary.current_background_analysis_run_status,
    }
}

/// Takes up what the runs say: a bad verdict aborts, no verdict pauses, and a user who resumed after that gets a new run.
pub(crate) fn observe(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let resumed = record.controller_pause && record.pause_conditions.is_empty();
    let needs = [step_need(record, scene.spec), background_need(scene, record)];
    let [step, background] = needs.map(|need| need.map(|need| need.role));
    if step.is_none() {
        canary(record).current_step_analysis_run_status = None;
    }
    if background.is_none() {
        canary(record).current_background_analysis_run_status = None;
    }
    for role in [step, background].into_iter().flatten() {
        refresh(scene, record, role);
        judge(scene, record, role, resumed);
    }
    // At a pause step the resumption is the step's end and consumed there.
    let at_pause = matches!(steps::current_step(record, scene.spec), Some(Step::Pause(_)));
    if resumed && !at_pause && !scene.spec.paused {
        record.controller_pause = false;
    }
}

fn refresh(scene: &Scene<'_>, record: &mut RolloutStatus, role: Role) {
    let base = base_name(scene, role);
    let status = status(record, role);
    let Some(known) = status else { return };
    if !is_named_after(&known.name, &base) {
        *status = None;
        return;
    }
    let already_exists = failed_as(scene, &known.name, FailureClass::AlreadyExists);
    if !take_in(scene, known) && already_exists {
        *status = None;
    }
}

/// Enters what a run says by now; false when there is no such run.
fn take_in(scene: &Scene<'_>, known: &mut RolloutAnalysisRunStatus) -> bool {
    let Some(run) = find(scene, &known.name) else { return false };
    known.status = Some(run.phase);
    known.message.clone_from(&run.message);
    true
}

/// Takes up bad verdicts only: while a spec is not carried out, the runs that were begun for it still protect users.
pub(crate) fn heed_bad_verdicts(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let step = record.current_step_index.and_then(|index| usize::try_from(index).ok()).unwrap_or(0);
    for role in [Role::Step(step), Role::Background] {
        if let Some(known) = status(record, role)
            && take_in(scene, known)
            && matches!(known.status, Some(AnalysisPhase::Failed | AnalysisPhase::Error))
        {
            let run = known.clone();
            return condemn(scene, record, role, &run);
        }
    }
}

/// Aborts a release that an analysis has found to be bad.
fn condemn(scene: &Scene<'_>, record: &mut RolloutStatus, role: Role, known: &RolloutAnalysisRunStatus) {
    let what = match role {
        Role::Step(_) => "Step-based analysis phase error/failed",
        Role::Background => "Background analysis phase error/failed",
    };
    abort(scene, record);
    let message = if known.message.is_empty() { String::new() } else { format!(": {}", known.message) };
    let value = find(scene, &known.name).and_then(|run| run.last_value.as_deref());
    let value = value.map_or_else(String::new, |value| format!("; its last value was {value}"));
    memory(record).abort_reason = Some(format!("{what}{message}{value}"));
}

fn judge(scene: &Scene<'_>, record: &mut RolloutStatus, role: Role, resumed: bool) {
    let Some(known) = status(record, role).clone() else { return };
    match known.status {
        Some(AnalysisPhase::Failed | AnalysisPhase::Error) => condemn(scene, record, role, &known),
        Some(AnalysisPhase::Inconclusive) if resumed && !scene.spec.paused => *status(record, role) = None,
        Some(AnalysisPhase::Inconclusive) if resumed => {}
        Some(AnalysisPhase::Inconclusive) => pause(scene, record, PauseCondition::INCONCLUSIVE_ANALYSIS_RUN),
        Some(AnalysisPhase::Successful | AnalysisPhase::Pending | AnalysisPhase::Running) | None => {}
    }
}

/// Adds a pause for this reason, unless there is one.
pub(crate) fn pause(scene: &Scene<'_>, record: &mut RolloutStatus, reason: &str) {
    if !steps::paused_for(record, reason) {
        record
            .pause_conditions
            .push(PauseCondition { reason: reason.to_owned(), start_time: stored(scene.now) });
    }
    record.controller_pause = true;
}

/// Names the runs that are needed now and creates those that are not there; ends those that nothing needs.
pub(crate) fn plan(scene: &Scene<'_>, record: &mut RolloutStatus, effects: &mut Vec<Effect>) {
    for need in [step_need(record, scene.spec), background_need(scene, record)].into_iter().flatten() {
        if status(record, need.role).is_none() && !scene.spec.paused {
            let name = free_name(scene, &base_name(scene, need.role));
            let phase = find(scene, &name).map_or(AnalysisPhase::Pending, |run| run.phase);
            *status(record, need.role) =
                Some(RolloutAnalysisRunStatus { name, status: Some(phase), message: String::new() });
        }
        let Some(known) = status(record, need.role).clone() else { continue };
        let ended = known.status.is_some_and(AnalysisPhase::is_completed);
        if find(scene, &known.name).is_none() && !ended {
            effects.extend(
                manifest(scene, record, &need, &known.name)
                    .map(|manifest| Effect::CreateAnalysisRun { manifest }),
            );
        }
    }
    let needed = needed_names(record);
    let left = scene.runs.iter().filter(|run| !run.deleting && !run.terminate && !run.phase.is_completed());
    effects.extend(
        left.filter(|run| !needed.contains(&run.name.as_str()))
            .map(|run| Effect::TerminateAnalysisRun { name: run.name.clone(), uid: run.uid.clone() }),
    );
}

/// Names of the runs that the record needs.
pub(crate) fn needed_names(record: &RolloutStatus) -> Vec<&str> {
    let canary = record.canary.as_ref();
    let step = canary.and_then(|canary| canary.current_step_analysis_run_status.as_ref());
    let background = canary.and_then(|canary| canary.current_background_analysis_run_status.as_ref());
    [step, background].into_iter().flatten().map(|status| status.name.as_str()).collect()
}

/// The base name, or the first repetition of it that no finished or ending run has taken.
fn free_name(scene: &Scene<'_>, base: &str) -> String {
    let usable = |name: &str| {
        let alive = scene.runs.iter().find(|run| run.name == name);
        let free = alive.is_none_or(|run| !run.phase.is_completed() && !run.terminate && !run.deleting);
        free && !failed_as(scene, name, FailureClass::AlreadyExists)
    };
    if usable(base) {
        return base.to_owned();
    }
    // There are finitely many runs and failures, so a free number is found.
    (1u32..)
        .map(|number| format!("{base}.{number}"))
        .find(|name| usable(name))
        .unwrap_or_else(|| base.to_owned())
}

fn failed_as(scene: &Scene<'_>, name: &str, class: FailureClass) -> bool {
    let key = EffectKey { verb: "CreateAnalysisRun", object: name.to_owned() };
    scene.snapshot.failures.get(&key).is_some_and(|failure| failure.class == class)
}

fn find<'a>(scene: &Scene<'a>, name: &str) -> Option<&'a AnalysisRunView> {
    scene.runs.iter().find(|run| run.name == name && !run.deleting)
}

/// The manifest of a run, once its templates are known.
fn manifest(scene: &Scene<'_>, record: &RolloutStatus, need: &Need<'_>, name: &str) -> Option<Value> {
    let spec = resolve(scene, record, need.analysis).ok()?;
    let mut labels = selector::match_labels(&scene.spec.selector);
    let metadata = need.analysis.analysis_run_metadata.clone().unwrap_or_default();
    labels.extend(metadata.labels.unwrap_or_default());
    labels.insert(labels::POD_TEMPLATE_HASH.to_owned(), scene.current_hash.clone());
    if let Some(instance) = scene.rollout.labels.get(labels::CONTROLLER_INSTANCE_ID) {
        labels.insert(labels::CONTROLLER_INSTANCE_ID.to_owned(), instance.clone());
    }
    let role = match need.role {
        Role::Step(index) => {
            labels.insert(labels::STEP_INDEX.to_owned(), index.to_string());
            labels::ROLLOUT_TYPE_STEP
        }
        Role::Background => labels::ROLLOUT_TYPE_BACKGROUND,
    };
    labels.insert(labels::ROLLOUT_TYPE.to_owned(), role.to_owned());
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.insert(labels::REVISION.to_owned(), scene.revision.to_string());
    Some(json!({
        "apiVersion": labels::API_VERSION,
        "kind": "AnalysisRun",
        "metadata": {
            "name": name,
            "namespace": scene.rollout.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [crate::revision::owner(scene.rollout)],
        },
        "spec": serde_json::to_value(spec).unwrap_or_else(|_| Value::Object(Map::new())),
    }))
}

/// What an analysis of this rollout measures.
///
/// # Errors
/// As [`analysis::resolve`].
pub(crate) fn resolve(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    analysis: &RolloutAnalysis,
) -> Result<headgate_api::AnalysisRunSpec, AnalysisProblem> {
    let json = rollout_json(scene.rollout, record);
    let context =
        ArgumentContext { stable_hash: &record.stable_rs, latest_hash: &scene.current_hash, rollout: &json };
    analysis::resolve(analysis, &scene.snapshot.templates, &context)
}

/// The Rollout with this record, as field references see it.
fn rollout_json(rollout: &RolloutView, record: &RolloutStatus) -> Value {
    json!({
        "apiVersion": labels::API_VERSION,
        "kind": "Rollout",
        "metadata": {
            "name": rollout.name,
            "namespace": rollout.namespace,
            "uid": rollout.uid,
            "labels": rollout.labels,
            "annotations": rollout.annotations,
        },
        "spec": rollout.spec_raw,
        "status": serde_json::to_value(record).unwrap_or_default(),
    })
}

/// What is to be said of the metrics of a run that begins and do not see the canary by themselves.
pub(crate) fn blind(snapshot: &Snapshot, record: &RolloutStatus, role: Role) -> Vec<String> {
    let Ok(spec) = &snapshot.rollout.spec else { return Vec::new() };
    let canary = &spec.canary;
    let (analysis, weights) = match role {
        Role::Step(index) => match canary.steps.get(index) {
            Some(Step::Analysis(analysis)) => (&**analysis, vec![canary.weight_at(index)]),
            _ => return Vec::new(),
        },
        Role::Background => match &canary.background {
            Some(background) => (&background.analysis, canary.weights_from(background.starting_step)),
            None => return Vec::new(),
        },
    };
    let versions = Versions {
        canary_service: canary.canary_service.as_deref(),
        stable_service: canary.stable_service.as_deref(),
        rollout: &rollout_json(&snapshot.rollout, record),
    };
    // What can't be resolved is said elsewhere.
    let metrics = analysis::blind_metrics(analysis, &snapshot.templates, &versions).unwrap_or_default();
    metrics.iter().map(|metric| metric.message(&weights, canary.total())).collect()
}
