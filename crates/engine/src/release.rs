//! How a release gets from step to step, and to its end.

use crate::analysis;
use crate::bake;
use crate::cutover;
use crate::initial;
use crate::intent::{self, canary};
use crate::on_failure;
use crate::pauses;
use crate::scene::{Scene, after_duration, memory};
use crate::steps::{self, Stage};
use headgate_api::{AnalysisPhase, PauseCondition, RolloutStatus};
use headgate_model::Timestamp;
use headgate_model::spec::{PauseEnd, PauseTimeout, Step};

/// Ends the current step when it is done, or promotes the release after the last one; one step at a time, so that every
/// step is seen in the record.
pub(crate) fn advance(scene: &Scene<'_>, record: &mut RolloutStatus) {
    bake::forget_unless_wanted(scene, record);
    let stage = steps::stage(record, scene.spec);
    let step = match stage {
        Stage::Promoted | Stage::Aborted => return,
        Stage::Step(index) => scene.spec.canary.steps.get(index),
        Stage::Finishing => None,
    };
    if has_gone_past_failure(scene, record) {
        return;
    }
    if !matches!(step, Some(Step::Pause(_))) || was_led_elsewhere(scene, record) {
        // Also the pause of a step that the user has moved on from.
        pauses::end(record, PauseCondition::CANARY_PAUSE_STEP);
    }
    let is_promoted_past = matches!(step, Some(Step::Pause(_))) && has_ended_pause(record);
    let is_held_by_run = on_failure::held_by(record).is_some() && !is_promoted_past;
    if steps::is_held(record, scene.spec) || is_held_by_run {
        return;
    }
    if let Some(limit) = aborting_limit(scene, record) {
        intent::condemn(scene, record, limit.told(record));
        return;
    }
    if scene.current.is_none() {
        // Without a ReplicaSet nothing of the new version is there, and its creation may be refused.
        return;
    }
    if !analysis::is_watched(scene, record) {
        return;
    }
    let is_first = initial::is_under_way(record);
    let done = if is_first {
        initial::is_done(scene, record, step, has_succeeded(record))
    } else {
        is_done(scene, record, stage, step)
    };
    if stage == Stage::Finishing {
        bake::begin(scene, record, done);
    }
    match (done, stage) {
        (true, Stage::Finishing) if bake::is_over(scene, record) => promote(record),
        (true, Stage::Finishing) => {}
        (true, _) => end_step(record),
        (false, _) if matches!(step, Some(Step::Pause(_))) && !is_first => {
            pauses::add(scene, record, PauseCondition::CANARY_PAUSE_STEP);
        }
        (false, _) => {}
    }
}

/// True when the step has come to its end, or pods and routes to that of the release.
fn is_done(scene: &Scene<'_>, record: &RolloutStatus, stage: Stage, step: Option<&Step>) -> bool {
    match step {
        Some(Step::Pause(_)) => is_pause_over(scene, record),
        Some(Step::Analysis(..)) => has_succeeded(record),
        Some(Step::SetWeight(_) | Step::SetCanaryScale(_)) | None => {
            cutover::is_reached(scene, stage, &scene.versions(&record.stable_rs))
        }
    }
}

/// True when a user has gone on past a failed analysis just now: steps end one by one, each in a record of its own.
fn has_gone_past_failure(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let next = scene.old.current_step_index.map(|index| index.saturating_add(1));
    next.is_some()
        && record.current_step_index == next
        && record.current_pod_hash == scene.old.current_pod_hash
}

/// True when a user has set the index: the pause that the record holds is that of another step.
fn was_led_elsewhere(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let noted = scene.old.headgate.as_ref().and_then(|memory| memory.progress.as_ref());
    noted.and_then(|progress| progress.step).is_some_and(|step| Some(step) != record.current_step_index)
}

/// When the current pause ends by itself.
pub(crate) fn pause_ends(scene: &Scene<'_>, record: &RolloutStatus) -> Option<Timestamp> {
    if let Some(limit) = pause_limit(scene, record) {
        return (limit.then == PauseTimeout::Promote).then_some(limit.at);
    }
    let Some(Step::Pause(PauseEnd::After(duration))) = steps::current_step(record, scene.spec) else {
        return None;
    };
    Some(after_duration(pause_began(record)?, *duration))
}

fn pause_began(record: &RolloutStatus) -> Option<Timestamp> {
    pauses::began(record, PauseCondition::CANARY_PAUSE_STEP)
}

/// Until when the current pause waits for a promotion by the user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PauseLimit {
    /// Until this time.
    pub(crate) at: Timestamp,
    /// What happens then.
    pub(crate) then: PauseTimeout,
}

/// Until when the current pause waits for a user; `None` when for ever, or for its own end.
pub(crate) fn pause_limit(scene: &Scene<'_>, record: &RolloutStatus) -> Option<PauseLimit> {
    let Some(Step::Pause(PauseEnd::Promotion(Some(limit)))) = steps::current_step(record, scene.spec) else {
        return None;
    };
    Some(PauseLimit { at: after_duration(pause_began(record)?, limit.after), then: limit.then })
}

/// The limit of the current pause, when it is over and asks for an abort, and nobody has promoted in time.
fn aborting_limit(scene: &Scene<'_>, record: &RolloutStatus) -> Option<PauseLimit> {
    let limit = pause_limit(scene, record).filter(|limit| limit.is_over(scene))?;
    (limit.then == PauseTimeout::Abort && !has_ended_pause(record)).then_some(limit)
}

impl PauseLimit {
    pub(crate) fn is_over(self, scene: &Scene<'_>) -> bool {
        self.at <= scene.now
    }

    /// That it is over, for people.
    pub(crate) fn told(self, record: &RolloutStatus) -> String {
        let step = record.current_step_index.unwrap_or(0).saturating_add(1);
        format!("nobody has promoted the pause of step {step} within its maxDuration, until {}", self.at)
    }
}

/// A pause is over when its time has passed, or when the user has taken its condition away.
fn is_pause_over(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    has_ended_pause(record) || pause_ends(scene, record).is_some_and(|end| end <= scene.now)
}

/// True when a user has ended the pause of the step.
fn has_ended_pause(record: &RolloutStatus) -> bool {
    pauses::is_ended(record, PauseCondition::CANARY_PAUSE_STEP)
}

fn has_succeeded(record: &RolloutStatus) -> bool {
    let [step, _] = analysis::runs(record);
    step.is_some_and(|run| run.status == Some(AnalysisPhase::Successful))
}

/// The next step begins.
pub(crate) fn end_step(record: &mut RolloutStatus) {
    pauses::end(record, PauseCondition::CANARY_PAUSE_STEP);
    pauses::use_up_end(record);
    record.current_step_index = record.current_step_index.map(|index| index.saturating_add(1));
    canary(record).current_step_analysis_run_status = None;
}

/// The newest version becomes the stable one.
fn promote(record: &mut RolloutStatus) {
    record.stable_rs.clone_from(&record.current_pod_hash);
    record.promote_full = false;
    pauses::clear(record);
    let memory = memory(record);
    (memory.promote_hash, memory.bake, memory.analysis_hold) = (None, None, None);
    let canary = canary(record);
    canary.current_step_analysis_run_status = None;
    canary.current_background_analysis_run_status = None;
}
