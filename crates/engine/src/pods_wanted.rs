//! Which decisions need the pods as they are just now.

use crate::{pod_metadata, restart};
use headgate_api::RolloutStatus;
use headgate_model::{Snapshot, Timestamp};

/// What a decision that knows the pods of its rollout could do more than one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodsWanted {
    /// Nothing.
    No,
    /// Bring their labels and annotations into line. Once that is done they are of no further interest.
    Once,
    /// Restart them: they are looked at until the last one is new.
    Again,
}

/// Whether the pods of this rollout are to be read live, so that it is decided again, after the decision that made this
/// record.
pub fn wants_pods(snapshot: &Snapshot, record: &RolloutStatus, now: Timestamp) -> PodsWanted {
    if restart::wants_pods(snapshot, record, now) {
        PodsWanted::Again
    } else if pod_metadata::wants_pods(snapshot, record) {
        PodsWanted::Once
    } else {
        PodsWanted::No
    }
}
