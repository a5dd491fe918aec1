//! How long releases take (`status.duration`), as Argo Rollouts counts it: from a new version, new steps or a retry until
//! the version is stable and available, or the release is aborted; and how long of it they wait for a person.
//!
//! What ends it is known before its end where nothing tells later: a way back in the middle of a release, and a full
//! promotion. Then `completionStatus` stands there without `finishedAt`, as with Argo Rollouts.

use crate::intent;
use crate::pauses;
use crate::scene::{Scene, stored};
use crate::steps;
use headgate_api::{CompletionStatus, PauseCondition, RolloutDuration, RolloutStatus, Time};
use headgate_model::Timestamp;
use headgate_model::spec::{PauseEnd, Step};

/// Counts, once everything else of the record is settled.
pub(crate) fn count(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let is_stable = record.stable_rs == record.current_pod_hash;
    if begins_anew(scene, record) {
        let way_back = way_back(scene, record).filter(|_| record.duration.as_ref().is_some_and(is_open));
        match (&mut record.duration, way_back) {
            (Some(duration), Some(way_back)) => duration.completion_status = Some(way_back),
            _ if !is_stable || scene.old.stable_rs.is_empty() => {
                let rollout_started_at = stored(scene.now);
                record.duration = Some(RolloutDuration { rollout_started_at, ..RolloutDuration::default() });
            }
            _ => {}
        }
    }
    let is_held = waits_for_a_person(scene, record);
    let end = end(scene, record, is_stable);
    let was_promoted_in_full = scene.old.promote_full && scene.old.stable_rs != record.stable_rs;
    let Some(duration) = record.duration.as_mut().filter(|duration| is_open(duration)) else { return };
    if was_promoted_in_full {
        duration.completion_status.get_or_insert(CompletionStatus::FastPromoted);
    }
    if is_held && end.is_none() {
        duration.manual_pause_started_at.get_or_insert(Time(scene.now));
    } else {
        end_pause(duration, scene.now);
    }
    if let Some(end) = end {
        duration.finished_at = stored(scene.now);
        duration.completion_status = match end {
            CompletionStatus::Promoted => duration.completion_status.take().or(Some(end)),
            end => Some(end),
        };
    }
}

fn is_open(duration: &RolloutDuration) -> bool {
    duration.rollout_started_at.is_some() && duration.finished_at.is_none()
}

/// A new version, new steps, or the same again after an abort.
fn begins_anew(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let old = scene.old;
    let is_retry = old.aborted_at.is_some() && record.aborted_at.is_none();
    let has_new_steps = old.current_step_hash != record.current_step_hash;
    let has_new_version = old.current_pod_hash != record.current_pod_hash
        && !intent::has_another_name(scene.rollout, record.collision_count, &old.current_pod_hash);
    has_new_version || has_new_steps || is_retry
}

/// How a release that goes back to an older version will have ended.
fn way_back(scene: &Scene<'_>, record: &RolloutStatus) -> Option<CompletionStatus> {
    if record.stable_rs == record.current_pod_hash || scene.is_recent_rollback(&record.stable_rs) {
        return Some(CompletionStatus::FastRolledBack);
    }
    let versions = scene.versions(&record.stable_rs);
    let is_older = versions.current?.created_at < versions.stable?.created_at;
    is_older.then_some(CompletionStatus::RolledBack)
}

/// How the release ends now; `Promoted` stands for whatever is known of its end already.
fn end(scene: &Scene<'_>, record: &RolloutStatus, is_stable: bool) -> Option<CompletionStatus> {
    if record.abort && !is_stable {
        return Some(CompletionStatus::Aborted);
    }
    let is_available = scene.current.is_some_and(|current| current.available() >= scene.spec.replicas);
    (is_stable && is_available).then_some(CompletionStatus::Promoted)
}

fn waits_for_a_person(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let is_open_pause =
        matches!(steps::current_step(record, scene.spec), Some(Step::Pause(PauseEnd::Promotion(_))));
    steps::is_held(record, scene.spec)
        || is_open_pause && pauses::holds(record, PauseCondition::CANARY_PAUSE_STEP)
}

fn end_pause(duration: &mut RolloutDuration, now: Timestamp) {
    let Some(began) = duration.manual_pause_started_at.take() else { return };
    let seconds = now.duration_since(began.0).as_secs().max(0);
    let before = duration.total_manual_pause_duration_seconds.unwrap_or(0);
    duration.total_manual_pause_duration_seconds = Some(before.saturating_add(seconds));
}

/// A release that has ended between two records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRelease {
    /// How.
    pub status: CompletionStatus,
    /// Seconds that it took.
    pub seconds: i64,
    /// Seconds of these in which it waited for a person.
    pub manual_pause_seconds: i64,
}

/// The release that ends with this record, if one does: also one that makes way for another, which the record itself no
/// longer tells.
pub fn ended_release(old: &RolloutStatus, new: &RolloutStatus) -> Option<EndedRelease> {
    let (new_duration, old_duration) = (new.duration.as_ref()?, old.duration.as_ref());
    let was_open = old_duration.filter(|old| is_open(old));
    let superseded = was_open.filter(|old| old.rollout_started_at != new_duration.rollout_started_at);
    let is_told = old_duration.is_some_and(|old| old.finished_at == new_duration.finished_at);
    let (duration, at, status) = match superseded {
        Some(old) => (old.clone(), new_duration.rollout_started_at.as_ref()?, CompletionStatus::Superseded),
        None if is_told => return None,
        None => (
            new_duration.clone(),
            new_duration.finished_at.as_ref()?,
            new_duration.completion_status.clone()?,
        ),
    };
    let mut duration = duration;
    end_pause(&mut duration, at.0);
    let seconds = at.0.duration_since(duration.rollout_started_at.as_ref()?.0).as_secs().max(0);
    let manual_pause_seconds = duration.total_manual_pause_duration_seconds.unwrap_or(0).max(0);
    Some(EndedRelease { status, seconds, manual_pause_seconds })
}
