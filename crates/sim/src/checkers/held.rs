//! Rule 5, for a release that a user holds: with `spec.paused` no version that has not begun is begun, and none that has no
//! step left is given more, whatever changes.

use super::{View, Write};
use crate::world::routes::is_route;
use crate::world::server::number;
use headgate_driver::resources::REPLICA_SETS;

pub(super) fn check(write: &Write<'_>, view: &View) -> Result<(), String> {
    match (write.target.resource, write.before, write.after) {
        _ if !view.is_paused || view.is_aborted => Ok(()),
        (REPLICA_SETS, Some(before), Some(after)) => {
            let replicas = |set| number(set, "/spec/replicas");
            let begins = replicas(before) == 0 && replicas(after) > 0;
            if begins { set(write, view) } else { Ok(()) }
        }
        (resource, before, Some(after)) if is_route(resource) => {
            let share = |object| view.names.canary_shares(write.target, object).map_or(0, |(_, most)| most);
            if share(Some(after)) > share(before) { route(write, view) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn set(write: &Write<'_>, view: &View) -> Result<(), String> {
    let Some(set) = view.set(&write.target.name) else { return Ok(()) };
    // Where the stable version's ReplicaSet is gone nothing but this one can serve.
    let is_of_release = set.hash == view.current && set.hash != view.stable && view.has(&view.stable);
    // One that had its share, and was scaled to nothing, comes back. Where the CRD drops what is remembered of that, the
    // process does all the same: then such a ReplicaSet was changed twice.
    let gets_nothing = view.canary_weight.is_none_or(|weight| weight == 0);
    let comes_back = view.held_share == set.hash
        || write.before.is_some_and(|set| number(set, "/metadata/generation") > 2);
    if is_of_release && gets_nothing && !comes_back {
        return Err(format!("{} gets pods although spec.paused holds its release", set.name));
    }
    Ok(())
}

fn route(write: &Write<'_>, view: &View) -> Result<(), String> {
    // Where one of the two has no pods the other one serves everything, held or not.
    let serves = |hash: &Option<String>| hash.as_ref().is_some_and(|hash| view.available(hash) > 0);
    let leads_to_both = view.canary_selects != view.stable_selects
        && view.canary_selects.as_ref() == Some(&view.current)
        && serves(&view.canary_selects)
        && serves(&view.stable_selects);
    if view.is_at_its_end && leads_to_both && view.desired > 0 {
        return Err(format!(
            "{} gives more although spec.paused holds a release at its end",
            write.target.name
        ));
    }
    Ok(())
}
