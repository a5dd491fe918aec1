//! Rule 5, for a release that a user holds: with `spec.paused` no version that has not begun is begun, whatever changes.

use super::{View, Write};
use crate::world::server::number;
use headgate_driver::resources::REPLICA_SETS;

pub(super) fn check(write: &Write<'_>, view: &View) -> Result<(), String> {
    let (REPLICA_SETS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
        return Ok(());
    };
    let replicas = |set| number(set, "/spec/replicas");
    let begins = replicas(before) == 0 && replicas(after) > 0;
    let Some(set) = view.set(&write.target.name).filter(|_| begins) else { return Ok(()) };
    let is_of_release = set.hash == view.current && set.hash != view.stable && !view.stable.is_empty();
    // One that had its share, and was scaled to nothing, comes back.
    let gets_nothing = view.canary_weight.is_none_or(|weight| weight == 0);
    if view.is_paused && is_of_release && gets_nothing && !view.is_aborted {
        return Err(format!("{} gets pods although spec.paused holds its release", set.name));
    }
    Ok(())
}
