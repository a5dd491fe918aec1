//! The AnalysisRuns of a release: which are needed, what their verdicts mean, which are no longer needed.
//!
//! A run's name is in the record before the run is created, so that a lost answer never makes a second run.

use crate::bake;
use crate::initial;
use crate::intent::canary;
use crate::on_failure;
use crate::pauses;
use crate::scene::Scene;
use crate::steps::{self, Stage};
use headgate_api::{
    AnalysisPhase, AnalysisRunSpec, PauseCondition, RolloutAnalysis, RolloutAnalysisRunStatus, RolloutStatus,
    labels,
};
use headgate_model::analysis::{self, AnalysisProblem, ArgumentContext, Versions};
use headgate_model::spec::{RolloutSpec, Step};
use headgate_model::{
    AnalysisRunView, Effect, EffectKey, FailureClass, RolloutView, Snapshot, Verb, selector,
};
use serde_json::{Map, Value, json};

/// For what a run runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The step with this index.
    Step(usize),
    /// Beside the steps.
    Background,
    /// After the last step, in the place of a step's.
    Bake,
}

/// The run that the record needs in a role, and what it measures.
struct Need<'a> {
    role: Role,
    analysis: &'a RolloutAnalysis,
}

fn step_need<'a>(record: &RolloutStatus, spec: &'a RolloutSpec) -> Option<Need<'a>> {
    let Stage::Step(index) = steps::stage(record, spec) else { return None };
    match spec.canary.steps.get(index) {
        Some(Step::Analysis(analysis, _)) => Some(Need { role: Role::Step(index), analysis }),
        _ => None,
    }
}

fn bake_need<'a>(scene: &Scene<'a>, record: &RolloutStatus) -> Option<Need<'a>> {
    let analysis = bake::wanted(scene, record)?.analysis.as_ref()?;
    bake::since(record).map(|_| Need { role: Role::Bake, analysis })
}

/// At most one for the step, or the bake, and one for the background.
fn needs<'a>(scene: &Scene<'a>, record: &RolloutStatus) -> [Option<Need<'a>>; 2] {
    let ready = scene.current.is_some() && (!initial::is_under_way(record) || initial::has_pods(scene));
    let begun = |need: &Need<'_>| ready || run_of(record, need.role).is_some();
    let step = step_need(record, scene.spec).or_else(|| bake_need(scene, record));
    [step, background_need(scene, record)].map(|need| need.filter(begun))
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
        Role::Bake => format!("{base}-bake"),
    }
}

/// The number of a repetition of `base` (`base.1`, `base.2` …), 0 for `base` itself.
fn number(name: &str, base: &str) -> Option<u32> {
    match name.strip_prefix(base)? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse().ok(),
    }
}

/// False while an analysis is to watch the release in the background and its run is not there: it may be refused, and a
/// release that goes on would not be watched by anybody.
pub(crate) fn is_watched(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let [_, background] = needs(scene, record);
    background.is_none_or(|need| {
        let run = run_of(record, need.role);
        run.is_some_and(|run| {
            find(scene, &run.name).is_some() || run.status.is_some_and(AnalysisPhase::is_completed)
        })
    })
}

/// The run that is needed and cannot be made while an argument of it has no value: for what it runs, its name, and what is
/// missing.
pub(crate) fn lacks_value(scene: &Scene<'_>, record: &RolloutStatus) -> Option<(Role, String, String)> {
    needs(scene, record).into_iter().flatten().find_map(|need| {
        let known = run_of(record, need.role)?;
        if find(scene, &known.name).is_some() || known.status.is_some_and(AnalysisPhase::is_completed) {
            return None;
        }
        match resolve(scene, record, need.analysis) {
            Err(AnalysisProblem::FieldUnset(why)) => Some((need.role, known.name.clone(), why)),
            _ => None,
        }
    })
}

/// The runs that this record names: that of the step or, after the last one, of the bake; and that of the background.
pub(crate) fn runs(record: &RolloutStatus) -> [Option<&RolloutAnalysisRunStatus>; 2] {
    let canary = record.canary.as_ref();
    [
        canary.and_then(|canary| canary.current_step_analysis_run_status.as_ref()),
        canary.and_then(|canary| canary.current_background_analysis_run_status.as_ref()),
    ]
}

/// For what these run.
pub(crate) fn roles(record: &RolloutStatus) -> [Role; 2] {
    let is_bake = record.headgate.as_ref().is_some_and(|memory| memory.bake.is_some());
    let step = if is_bake { Role::Bake } else { Role::Step(steps::step_index(record)) };
    [step, Role::Background]
}

/// The run that this record names in a role.
pub(crate) fn run_of(record: &RolloutStatus, role: Role) -> Option<&RolloutAnalysisRunStatus> {
    let [step, background] = runs(record);
    match role {
        Role::Step(_) | Role::Bake => step,
        Role::Background => background,
    }
}

pub(crate) fn status(record: &mut RolloutStatus, role: Role) -> &mut Option<RolloutAnalysisRunStatus> {
    let canary = canary(record);
    match role {
        Role::Step(_) | Role::Bake => &mut canary.current_step_analysis_run_status,
        Role::Background => &mut canary.current_background_analysis_run_status,
    }
}

/// Takes up what the runs say: a bad verdict aborts, pauses or holds (`on_failure`), no verdict pauses, and a user who
/// resumed after that gets a new run.
pub(crate) fn observe(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let resumed = record.is_resumed();
    let [step, background] = needs(scene, record).map(|need| need.map(|need| need.role));
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
    on_failure::release_hold(scene, record);
    // At a pause step the resumption is the step's end and consumed there.
    let at_pause = matches!(steps::current_step(record, scene.spec), Some(Step::Pause(_)));
    if resumed && !at_pause && !scene.spec.paused {
        // Unless a verdict that has just come has paused it anew.
        pauses::use_up_end(record);
    }
}

fn refresh(scene: &Scene<'_>, record: &mut RolloutStatus, role: Role) {
    let base = base_name(scene, role);
    let status = status(record, role);
    let Some(known) = status else { return };
    if number(&known.name, &base).is_none() {
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
    // A verdict that was taken up stands: who sees none yet sees the run as it was before.
    if known.status.is_some_and(AnalysisPhase::is_completed) && !run.phase.is_completed() {
        return true;
    }
    known.status = Some(run.phase);
    known.message.clone_from(&run.message);
    true
}

/// Takes up bad verdicts only: while a spec is not carried out, the runs that were begun for it still protect users. That a user
/// has gone on past one is kept until the spec is carried out again.
pub(crate) fn heed_bad_verdicts(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let resumed = record.is_resumed();
    for role in roles(record) {
        if let Some(known) = status(record, role)
            && take_in(scene, known)
            && on_failure::is_bad(known)
            && !(resumed && is_told(scene, role, known))
        {
            let run = known.clone();
            on_failure::heed(scene, record, role, &run, false);
            if record.abort {
                return;
            }
        }
    }
}

/// True when the stored record says this of the run: nobody goes on past what he cannot have seen.
fn is_told(scene: &Scene<'_>, role: Role, known: &RolloutAnalysisRunStatus) -> bool {
    run_of(scene.old, role).is_some_and(|old| old.name == known.name && old.status == known.status)
}

fn judge(scene: &Scene<'_>, record: &mut RolloutStatus, role: Role, resumed: bool) {
    let Some(known) = status(record, role).clone() else { return };
    let resumed = resumed && is_told(scene, role, &known);
    match known.status {
        Some(AnalysisPhase::Failed | AnalysisPhase::Error) => {
            on_failure::heed(scene, record, role, &known, resumed);
        }
        // A plugin that believes to have skipped a step has skipped none after the last one.
        Some(AnalysisPhase::Inconclusive) if role == Role::Bake && was_promoted(scene, &known) => {
            *status(record, role) = None;
        }
        Some(AnalysisPhase::Inconclusive) if resumed && !scene.spec.paused => *status(record, role) = None,
        Some(AnalysisPhase::Inconclusive) if resumed => {}
        Some(AnalysisPhase::Inconclusive) => {
            pauses::add(scene, record, PauseCondition::INCONCLUSIVE_ANALYSIS_RUN);
        }
        Some(AnalysisPhase::Successful | AnalysisPhase::Pending | AnalysisPhase::Running) | None => {}
    }
}

/// True when a user has ended the pause that this verdict has made.
fn was_promoted(scene: &Scene<'_>, known: &RolloutAnalysisRunStatus) -> bool {
    let was_told = run_of(scene.old, Role::Bake).is_some_and(|old| old == known);
    was_told && !scene.spec.paused && scene.old.pause_conditions.is_empty() && !scene.old.controller_pause
}

/// Names the runs that are needed now and creates those that are not there; ends those that nothing needs.
pub(crate) fn plan(scene: &Scene<'_>, record: &mut RolloutStatus, effects: &mut Vec<Effect>) {
    for need in needs(scene, record).into_iter().flatten() {
        let known = run_of(record, need.role);
        let is_to_be_named = known.map_or(!scene.spec.paused, |known| {
            on_failure::retry_at(scene, record, known).is_some_and(|at| at <= scene.now)
        });
        if is_to_be_named {
            let base = base_name(scene, need.role);
            let last = known.and_then(|known| number(&known.name, &base));
            let name = free_name(scene, record, &need, &base, last);
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
    runs(record).into_iter().flatten().map(|run| run.name.as_str()).collect()
}

/// The base name, or the first repetition of it, after the `last` one where there is one, that no run has taken. A run that the
/// stored record names goes on where nothing ends it and it measures what is asked for now. One that is there and has no name
/// in it is not needed any more, as after an abort, and is never taken up again: what ends it may be on its way, sent by a
/// process that is gone.
fn free_name(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    need: &Need<'_>,
    base: &str,
    last: Option<u32>,
) -> String {
    let needed = needed_names(scene.old);
    let wanted = || as_stored(&resolve(scene, record, need.analysis).ok()?);
    // Where that cannot be told it does.
    let is_wanted = |run: &AnalysisRunView| {
        run.spec.as_deref().zip(wanted()).is_none_or(|(spec, wanted)| *spec == wanted)
    };
    let goes_on = |run: &AnalysisRunView| {
        needed.contains(&run.name.as_str())
            && !run.phase.is_completed()
            && !run.terminate
            && !run.deleting
            && is_wanted(run)
    };
    let usable = |name: &String| {
        let taken_by = scene.runs.iter().find(|run| run.name == *name);
        taken_by.is_none_or(goes_on) && !failed_as(scene, name, FailureClass::AlreadyExists)
    };
    let name = |number: u32| if number == 0 { base.to_owned() } else { format!("{base}.{number}") };
    // There are finitely many runs and failures, so a free number is found.
    (last.map_or(0, |last| last.saturating_add(1))..)
        .map(name)
        .find(usable)
        .unwrap_or_else(|| base.to_owned())
}

/// A spec as it comes back from the API server.
fn as_stored(spec: &AnalysisRunSpec) -> Option<AnalysisRunSpec> {
    serde_json::from_value(serde_json::to_value(spec).ok()?).ok()
}

fn failed_as(scene: &Scene<'_>, name: &str, class: FailureClass) -> bool {
    let key = EffectKey::new(Verb::CreateAnalysisRun, name);
    scene.snapshot.failures.get(&key).is_some_and(|failure| failure.class == class)
}

pub(crate) fn find<'a>(scene: &Scene<'a>, name: &str) -> Option<&'a AnalysisRunView> {
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
        // The plugin knows no other type that goes on beside what else happens.
        Role::Background | Role::Bake => labels::ROLLOUT_TYPE_BACKGROUND,
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
) -> Result<AnalysisRunSpec, AnalysisProblem> {
    let mut record = record.clone();
    if record.stable_rs.is_empty() {
        // The first version takes the part of the stable one: it is the one that serves.
        record.stable_rs.clone_from(&scene.current_hash);
    }
    let json = || rollout_json(scene.rollout, &record);
    let context =
        ArgumentContext { stable_hash: &record.stable_rs, latest_hash: &scene.current_hash, rollout: &json };
    analysis::resolve(analysis, &scene.snapshot.templates, &context)
}

/// True when every metric of this analysis ends by itself, or when that can't be told.
pub(crate) fn ends_by_itself(scene: &Scene<'_>, record: &RolloutStatus, analysis: &RolloutAnalysis) -> bool {
    resolve(scene, record, analysis).map_or(true, |spec| analysis::check_finite(&spec).is_ok())
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
            Some(Step::Analysis(analysis, _)) => (&**analysis, vec![canary.weight_at(index)]),
            _ => return Vec::new(),
        },
        Role::Background => match &canary.background {
            Some(background) => (&background.analysis, canary.weights_from(background.starting_step)),
            None => return Vec::new(),
        },
        Role::Bake => match canary.bake.as_ref().and_then(|bake| bake.analysis.as_ref()) {
            Some(analysis) => (analysis, vec![canary.total()]),
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
