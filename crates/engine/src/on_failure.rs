//! What becomes of a release whose analysis has failed, or could not be carried out: it is aborted, waits for a user, or
//! is held until a fresh run is successful (`onFailure`).
//!
//! A verdict is heeded once, by the spec of that moment: a spec that is changed later is about the next verdict.

use crate::analysis::{self, Role};
use crate::bake;
use crate::intent;
use crate::pauses;
use crate::release;
use crate::scene::{Scene, after, memory};
use headgate_api::{AnalysisHold, AnalysisPhase, PauseCondition, RolloutAnalysisRunStatus, RolloutStatus};
use headgate_model::Timestamp;
use headgate_model::spec::{OnFailure, Step};

/// Seconds from the end of a run that has failed to the start of a fresh one.
const RETRY_SECONDS: i32 = 60;

/// True for a verdict that `onFailure` is about.
pub(crate) fn is_bad(run: &RolloutAnalysisRunStatus) -> bool {
    run.status.is_some_and(AnalysisPhase::has_failed)
}

/// Heeds the bad verdict of a run. `resumed`: a user has ended the pauses.
pub(crate) fn heed(
    scene: &Scene<'_>,
    record: &mut RolloutStatus,
    role: Role,
    run: &RolloutAnalysisRunStatus,
    resumed: bool,
) {
    match reaction(scene, record, role, run) {
        OnFailure::Abort => condemn(scene, record, role, run),
        OnFailure::Pause if resumed && scene.spec.paused => {}
        OnFailure::Pause if resumed => go_on(record, role),
        OnFailure::Pause => pauses::add(scene, record, PauseCondition::ANALYSIS_FAILED),
        OnFailure::Hold if role == Role::Background => {
            let begun = hold(record).filter(|hold| hold.run == run.name);
            let step_index = begun.map_or(record.current_step_index, |hold| hold.step_index);
            memory(record).analysis_hold =
                Some(AnalysisHold { run: run.name.clone(), message: run.message.clone(), step_index });
        }
        // An analysis step is not over without a run that was successful.
        OnFailure::Hold => {}
    }
}

/// What is done about a verdict, or was done when it was new.
fn reaction(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    role: Role,
    run: &RolloutAnalysisRunStatus,
) -> OnFailure {
    let was_heeded = analysis::run_of(scene.old, role).is_some_and(|old| old.name == run.name && is_bad(old));
    if was_heeded {
        let is_paused = pauses::holds(scene.old, PauseCondition::ANALYSIS_FAILED);
        let has_resumed = scene.old.is_resumed();
        let is_held = role == Role::Background && hold(scene.old).is_some();
        return if !is_held && (is_paused || has_resumed) { OnFailure::Pause } else { OnFailure::Hold };
    }
    match role {
        Role::Bake => OnFailure::Abort,
        Role::Background if bake::is_under_way(scene, record) => OnFailure::Abort,
        Role::Background => {
            scene.spec.canary.background.as_ref().map_or(OnFailure::Abort, |one| one.on_failure)
        }
        Role::Step(index) => match scene.spec.canary.steps.get(index) {
            Some(Step::Analysis(_, on_failure)) => *on_failure,
            _ => OnFailure::Abort,
        },
    }
}

/// Aborts a release that an analysis has found to be bad.
fn condemn(scene: &Scene<'_>, record: &mut RolloutStatus, role: Role, run: &RolloutAnalysisRunStatus) {
    let what = match role {
        Role::Step(_) => "Step-based analysis phase error/failed",
        Role::Background => "Background analysis phase error/failed",
        Role::Bake => "Analysis of the bake phase error/failed",
    };
    let message = clause(&run.message);
    let value = analysis::find(scene, &run.name).and_then(|run| run.last_value.as_deref());
    let value = value.map_or_else(String::new, |value| format!("; its last value was {value}"));
    intent::condemn(scene, record, format!("{what}{message}{value}"));
}

/// A user goes on all the same: a step is over, and what runs in the background runs anew.
fn go_on(record: &mut RolloutStatus, role: Role) {
    match role {
        Role::Step(_) => release::end_step(record),
        Role::Background | Role::Bake => *analysis::status(record, role) = None,
    }
}

/// Ends the hold by the background once its fresh run is successful, or as far as it has come where it has no end.
pub(crate) fn release_hold(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let run = analysis::run_of(record, Role::Background);
    if run.is_none_or(|run| is_good(scene, run)) && hold(record).is_some() {
        memory(record).analysis_hold = None;
    }
}

/// True for a run that was successful, or has no end and whose metrics were all successful when they were measured last.
pub(crate) fn is_good(scene: &Scene<'_>, run: &RolloutAnalysisRunStatus) -> bool {
    let stands_well = || analysis::find(scene, &run.name).is_some_and(|view| view.stands_well);
    match run.status {
        Some(AnalysisPhase::Successful) => true,
        Some(AnalysisPhase::Running) => stands_well(),
        _ => false,
    }
}

/// True when the background has let go of the release: its deadline counts from now.
pub(crate) fn has_let_go(old: &RolloutStatus, new: &RolloutStatus) -> bool {
    hold(old).is_some() && hold(new).is_none()
}

fn hold(record: &RolloutStatus) -> Option<&AnalysisHold> {
    record.headgate.as_ref()?.analysis_hold.as_ref()
}

/// True while the step at which the background began to hold the release stands: its share stays as it is, until a user goes on
/// all the same.
pub(crate) fn keeps_share(record: &RolloutStatus) -> bool {
    hold(record).is_some_and(|hold| hold.step_index.is_some() && hold.step_index == record.current_step_index)
}

/// What is said after a colon, where anything is.
pub(crate) fn clause(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// The run with a bad verdict that the record names.
pub(crate) fn failed(record: &RolloutStatus) -> Option<&RolloutAnalysisRunStatus> {
    analysis::runs(record).into_iter().flatten().find(|run| is_bad(run))
}

/// Which analysis has failed, while the release is paused because of it.
pub(crate) fn paused_by(record: &RolloutStatus) -> Option<String> {
    let message = |run: &RolloutAnalysisRunStatus| {
        format!("AnalysisRun {} has failed{}", run.name, clause(&run.message))
    };
    let is_paused = pauses::holds(record, PauseCondition::ANALYSIS_FAILED);
    is_paused.then(|| failed(record).map_or_else(|| "an analysis has failed".to_owned(), message))
}

/// Name and message of the failed run for which the release is held: no step ends, whatever it is.
pub(crate) fn held_by(record: &RolloutStatus) -> Option<(&str, &str)> {
    let failed = failed(record).map(|run| (run.name.as_str(), run.message.as_str()));
    let held = failed.or_else(|| hold(record).map(|hold| (hold.run.as_str(), hold.message.as_str())));
    held.filter(|_| !pauses::holds(record, PauseCondition::ANALYSIS_FAILED))
}

/// When a fresh run takes the place of this one, which has failed; at once where it is gone. `None` where a user is to
/// look at it first.
pub(crate) fn retry_at(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    run: &RolloutAnalysisRunStatus,
) -> Option<Timestamp> {
    let waits = scene.spec.paused || pauses::holds(record, PauseCondition::ANALYSIS_FAILED);
    if !is_bad(run) || waits {
        return None;
    }
    let ended = analysis::find(scene, &run.name).map(|view| view.completed_at.unwrap_or(view.created_at));
    Some(ended.map_or(scene.now, |ended| after(ended, RETRY_SECONDS)))
}

/// The next time at which a fresh run begins.
pub(crate) fn due(scene: &Scene<'_>, record: &RolloutStatus) -> Option<Timestamp> {
    let runs = analysis::runs(record).into_iter().flatten();
    runs.filter_map(|run| retry_at(scene, record, run)).min()
}
