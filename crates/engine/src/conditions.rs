//! Conditions, set by Argo Rollouts' rules: people and tools read them by type, status and reason.

use headgate_api::conditions::{FALSE, TRUE, UNKNOWN};
use headgate_api::{RolloutCondition, RolloutStatus, Time};
use headgate_model::Timestamp;

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    True,
    False,
    Unknown,
}

impl Is {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::True => TRUE,
            Self::False => FALSE,
            Self::Unknown => UNKNOWN,
        }
    }
}

impl From<bool> for Is {
    fn from(is: bool) -> Self {
        if is { Self::True } else { Self::False }
    }
}

/// The condition of this type.
pub(crate) fn get<'a>(record: &'a RolloutStatus, type_: &str) -> Option<&'a RolloutCondition> {
    record.conditions.iter().find(|condition| condition.type_ == type_)
}

/// True when the condition of this type has this reason.
pub(crate) fn has_reason(record: &RolloutStatus, type_: &str, reason: &str) -> bool {
    get(record, type_).is_some_and(|condition| condition.reason == reason)
}

/// Sets a condition. Nothing changes while status and reason stay the same: times and message are those of the change.
pub(crate) fn set(
    record: &mut RolloutStatus,
    type_: &str,
    is: Is,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let same = get(record, type_).is_some_and(|known| known.status == is.as_str() && known.reason == reason);
    if !same {
        renew(record, type_, is, reason, message, now);
    }
}

/// Sets a condition anew, although it may say what it said before: its last update is now.
pub(crate) fn renew(
    record: &mut RolloutStatus,
    type_: &str,
    is: Is,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let known = get(record, type_);
    let kept = known
        .filter(|known| known.status == is.as_str())
        .and_then(|known| known.last_transition_time.clone());
    remove(record, type_);
    record.conditions.push(RolloutCondition {
        type_: type_.to_owned(),
        status: is.as_str().to_owned(),
        last_update_time: Some(Time(now)),
        last_transition_time: kept.or(Some(Time(now))),
        reason: reason.to_owned(),
        message: message.to_owned(),
    });
}

/// A condition that reads as before has not changed, whatever it was in between: nobody has seen that.
pub(crate) fn keep_transitions(old: &RolloutStatus, record: &mut RolloutStatus) {
    for condition in &mut record.conditions {
        if let Some(known) = get(old, &condition.type_).filter(|known| known.status == condition.status) {
            condition.last_transition_time.clone_from(&known.last_transition_time);
        }
    }
}

/// Removes the condition of this type.
pub(crate) fn remove(record: &mut RolloutStatus, type_: &str) {
    record.conditions.retain(|condition| condition.type_ != type_);
}
