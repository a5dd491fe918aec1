//! Defects of the record: what becomes of what is to be stored.

use super::Defect;
use headgate_api::conditions::TRUE;
use headgate_api::{PauseCondition, RolloutStatus};
use headgate_model::{Decision, Effect, Snapshot, Timestamp};
use jiff::SignedDuration;

/// What becomes of what is to be recorded.
pub(super) fn spoil_record(defect: Defect, decision: &mut Decision, snapshot: &Snapshot, now: Timestamp) {
    let old = &snapshot.rollout.status;
    let new = &mut decision.record;
    let moved_on = !old.current_pod_hash.is_empty() && old.current_pod_hash != new.current_pod_hash;
    let is_out = new.stable_rs == new.current_pod_hash;
    match defect {
        Defect::AbortOfAnotherRevision if moved_on && !is_out => new.abort = old.abort,
        Defect::PromoteOfAnotherRevision if moved_on && !is_out => new.promote_full = old.promote_full,
        Defect::NameAfterCreate if decision.effects.iter().any(creates_run) => {
            if let Some(canary) = &mut new.canary {
                let before = old.canary.clone().unwrap_or_default();
                canary.current_step_analysis_run_status = before.current_step_analysis_run_status;
                canary.current_background_analysis_run_status = before.current_background_analysis_run_status;
            }
        }
        Defect::PausedAgain if old.controller_pause && old.pause_conditions.is_empty() => {
            *new = old.clone();
            new.pause_conditions = vec![PauseCondition {
                reason: PauseCondition::CANARY_PAUSE_STEP.to_owned(),
                start_time: Some(headgate_api::Time(now)),
            }];
            decision.effects.clear();
        }
        Defect::PauseEndsByItself => end_pause(decision, now),
        Defect::BakeCutShort if new.headgate.as_ref().is_some_and(|memory| memory.bake.is_some()) => {
            new.stable_rs.clone_from(&new.current_pod_hash);
            for condition in new.conditions.iter_mut().filter(|condition| condition.type_ == "Completed") {
                condition.status = TRUE.to_owned();
                condition.last_transition_time = Some(headgate_api::Time(now));
            }
        }
        Defect::HoldTakenForSuccess if holds(new) => {
            new.current_step_index = new.current_step_index.map(|index| index + 1);
        }
        Defect::StepsSkipped if !moved_on && !is_out && new.current_step_index > old.current_step_index => {
            new.current_step_index = new.current_step_index.map(|index| index + 1);
        }
        Defect::DeadlineResetByFlapping => {
            let sets = snapshot.replica_sets.present().into_iter().flatten();
            let newest = sets.clone().find(|set| set.hash() == new.current_pod_hash);
            let progress = new.headgate.as_mut().and_then(|memory| memory.progress.as_mut());
            if let (Some(progress), Some(newest)) = (progress, newest) {
                // What is, not the furthest so far.
                progress.ready = newest.ready;
                progress.available = newest.available_reported;
            }
        }
        Defect::DeadlineResetByScaling => {
            let number =
                |status: &RolloutStatus| status.headgate.as_ref()?.progress.as_ref().map(|one| one.desired);
            let is_scaled = number(old) != number(new);
            if let Some(progress) =
                new.headgate.as_mut().and_then(|memory| memory.progress.as_mut()).filter(|_| is_scaled)
            {
                progress.updated = 0;
            }
        }
        Defect::TransitionsMove if *new != *old => {
            for condition in &mut new.conditions {
                condition.last_transition_time = Some(headgate_api::Time(now));
            }
        }
        _ => {}
    }
}

fn holds(record: &RolloutStatus) -> bool {
    record.waiting.as_ref().is_some_and(|waiting| waiting.kind == "AnalysisHold")
}

fn creates_run(effect: &Effect) -> bool {
    matches!(effect, Effect::CreateAnalysisRun { .. })
}

fn end_pause(decision: &mut Decision, now: Timestamp) {
    const HALF_A_MINUTE: SignedDuration = SignedDuration::from_secs(30);
    let record = &mut decision.record;
    let is_over = |pause: &PauseCondition| {
        let since = pause.start_time.as_ref().map_or(now, |time| time.0);
        pause.reason == PauseCondition::CANARY_PAUSE_STEP && now.duration_since(since) >= HALF_A_MINUTE
    };
    if record.pause_conditions.iter().any(is_over) {
        record.pause_conditions.clear();
        record.controller_pause = false;
        record.current_step_index = record.current_step_index.map(|index| index + 1);
    } else if !record.pause_conditions.is_empty() {
        decision.wake_at = now.checked_add(HALF_A_MINUTE).ok();
    }
}
