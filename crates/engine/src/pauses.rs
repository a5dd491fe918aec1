//! The pauses of a release: `pauseConditions` are those that hold, and `controllerPause` says that the controller has made some.
//! Where it says so and none holds, a user has ended them (`RolloutStatus::is_resumed`).

use crate::scene::{Scene, stored};
use headgate_api::{PauseCondition, RolloutStatus};
use headgate_model::Timestamp;

/// True when the release is paused for this reason.
pub(crate) fn holds(record: &RolloutStatus, reason: &str) -> bool {
    find(record, reason).is_some()
}

/// Since when the release is paused for this reason.
pub(crate) fn began(record: &RolloutStatus, reason: &str) -> Option<Timestamp> {
    Some(find(record, reason)?.start_time.as_ref()?.0)
}

/// True when a user has ended the pause for this reason, whatever else pauses the release.
pub(crate) fn is_ended(record: &RolloutStatus, reason: &str) -> bool {
    record.controller_pause && !holds(record, reason)
}

/// Adds a pause for this reason, unless there is one.
pub(crate) fn add(scene: &Scene<'_>, record: &mut RolloutStatus, reason: &str) {
    if !holds(record, reason) {
        record
            .pause_conditions
            .push(PauseCondition { reason: reason.to_owned(), start_time: stored(scene.now) });
    }
    record.controller_pause = true;
}

/// Takes the pause for this reason away, where there is one; nobody has ended it.
pub(crate) fn end(record: &mut RolloutStatus, reason: &str) {
    if holds(record, reason) {
        record.pause_conditions.retain(|pause| pause.reason != reason);
        record.controller_pause = !record.pause_conditions.is_empty();
    }
}

/// That a user has ended the pauses has had its effect.
pub(crate) fn use_up_end(record: &mut RolloutStatus) {
    if record.pause_conditions.is_empty() {
        record.controller_pause = false;
    }
}

/// Ends all pauses.
pub(crate) fn clear(record: &mut RolloutStatus) {
    record.pause_conditions.clear();
    record.controller_pause = false;
}

fn find<'a>(record: &'a RolloutStatus, reason: &str) -> Option<&'a PauseCondition> {
    record.pause_conditions.iter().find(|pause| pause.reason == reason)
}
