//! How a release gets from step to step, and to its end.

use crate::analysis;
use crate::cutover;
use crate::intent::{canary, clear_pause};
use crate::scene::{Scene, after_duration, memory};
use crate::steps::{self, Stage};
use headgate_api::{AnalysisPhase, PauseCondition, RolloutStatus};
use headgate_model::Timestamp;
use headgate_model::spec::{PauseEnd, Step};

/// Ends the current step when it is done, or promotes the release after the last one; one step at a time, so that every
/// step is seen in the record.
pub(crate) fn advance(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let stage = steps::stage(record, scene.spec);
    let step = match stage {
        Stage::Promoted | Stage::Aborted => return,
        Stage::Step(index) => scene.spec.canary.steps.get(index),
        Stage::Finishing => None,
    };
    if !matches!(step, Some(Step::Pause(_))) {
        end_pause(record);
    }
    if steps::is_held(record, scene.spec) {
        return;
    }
    let versions = scene.versions(&record.stable_rs);
    let done = match step {
        Some(Step::Pause(_)) => is_pause_over(scene, record),
        Some(Step::Analysis(_)) => has_succeeded(record),
        Some(Step::SetWeight(_) | Step::SetCanaryScale(_)) | None => {
            cutover::is_reached(scene, stage, &versions)
        }
    };
    match (done, stage) {
        (true, Stage::Finishing) => promote(record),
        (true, _) => end_step(record),
        (false, _) if matches!(step, Some(Step::Pause(_))) => {
            analysis::pause(scene, record, PauseCondition::CANARY_PAUSE_STEP);
        }
        (false, _) => {}
    }
}

/// When the current pause ends by itself.
pub(crate) fn pause_ends(scene: &Scene<'_>, record: &RolloutStatus) -> Option<Timestamp> {
    let Some(Step::Pause(PauseEnd::After(duration))) = steps::current_step(record, scene.spec) else {
        return None;
    };
    let pause =
        record.pause_conditions.iter().find(|pause| pause.reason == PauseCondition::CANARY_PAUSE_STEP)?;
    Some(after_duration(pause.start_time.as_ref()?.0, *duration))
}

/// A pause is over when its time has passed, or when the user has taken its condition away.
fn is_pause_over(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let is_paused = steps::paused_for(record, PauseCondition::CANARY_PAUSE_STEP);
    let resumed = record.controller_pause && !is_paused;
    resumed || pause_ends(scene, record).is_some_and(|end| end <= scene.now)
}

fn has_succeeded(record: &RolloutStatus) -> bool {
    let run = record.canary.as_ref().and_then(|canary| canary.current_step_analysis_run_status.as_ref());
    run.is_some_and(|run| run.status == Some(AnalysisPhase::Successful))
}

/// Takes away the pause of a step, also of one that the user has moved on from.
fn end_pause(record: &mut RolloutStatus) {
    if steps::paused_for(record, PauseCondition::CANARY_PAUSE_STEP) {
        record.pause_conditions.retain(|pause| pause.reason != PauseCondition::CANARY_PAUSE_STEP);
        record.controller_pause = !record.pause_conditions.is_empty();
    }
}

fn end_step(record: &mut RolloutStatus) {
    end_pause(record);
    if record.pause_conditions.is_empty() {
        record.controller_pause = false;
    }
    record.current_step_index = record.current_step_index.map(|index| index.saturating_add(1));
    canary(record).current_step_analysis_run_status = None;
}

/// The newest version becomes the stable one.
fn promote(record: &mut RolloutStatus) {
    record.stable_rs.clone_from(&record.current_pod_hash);
    record.promote_full = false;
    clear_pause(record);
    memory(record).promote_hash = None;
    let canary = canary(record);
    canary.current_step_analysis_run_status = None;
    canary.current_background_analysis_run_status = None;
}
