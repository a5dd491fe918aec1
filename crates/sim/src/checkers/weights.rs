//! Rule 1: no version's weight is raised to more than its available pods bear; Services are pointed only at versions
//! that have pods.

use super::{View, Write};
use crate::world::proxies::selected;
use crate::world::routes::is_route;
use headgate_driver::resources::SERVICES;

pub(super) fn check(write: &Write<'_>, view: &View) -> Result<(), String> {
    match (write.target.resource, write.before, write.after) {
        (resource, before, Some(after)) if is_route(resource) => {
            let shares = |object| view.names.canary_shares(write.target, object);
            match (shares(before), shares(Some(after))) {
                (Some((_, before)), Some((_, after))) => {
                    let is_way_back = write.means_abort || !view.names.is_named(write.target);
                    route(before, after, is_way_back, view)
                }
                _ => Ok(()),
            }
        }
        (SERVICES, Some(before), Some(after)) => {
            let (before, after) = (selected(before), selected(after));
            match after {
                Some(hash) if before.as_ref() != Some(&hash) => service(&hash, view),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn service(hash: &str, view: &View) -> Result<(), String> {
    if view.available(hash) >= 1 || view.desired == 0 {
        return Ok(());
    }
    Err(format!("a Service is pointed at {hash}, which has no available pod"))
}

/// `is_way_back`: the process aborts, or the spec no longer names the route, which goes back to stable as after an abort.
fn route(before: i64, after: i64, is_way_back: bool, view: &View) -> Result<(), String> {
    let (Some(canary), Some(stable)) = (&view.canary_selects, &view.stable_selects) else { return Ok(()) };
    let is_only_version = canary == stable || view.stable == view.current || view.desired == 0;
    if is_only_version || before == after {
        return Ok(());
    }
    let (for_canary, for_stable) = (view.available(canary), view.available(stable));
    if after > before {
        let (available, other) = (for_canary, for_stable);
        return match (available, other) {
            (0, _) => Err(format!("canary {canary} has no available pod and its weight rises to {after}")),
            (_, 0) => Ok(()),
            _ if view.is_enough(available, view.canary_scale.unwrap_or(view.needed(after))) => Ok(()),
            _ => {
                Err(format!("canary {canary} has {available} available pods and its weight rises to {after}"))
            }
        };
    }
    // An undo counts from when it is in the spec: a shift towards stable goes out also when the record that would say so
    // could not be written (R1). The template of a spec that cannot be carried out is not taken up.
    let is_refused = view.is_invalid && view.is_observed;
    let is_replaced = *canary != view.current || (!is_refused && !view.is_wanted(canary));
    let goes_back = is_way_back || view.is_aborted || view.is_failed || is_replaced;
    let rest = view.names.total - after;
    // With all pods that must be there nobody is hurt.
    let needed = view.needed(rest).min(view.desired - view.max_unavailable).max(1);
    match (for_stable, for_canary) {
        (0, _) => Err(format!("stable {stable} has no available pod and its weight rises to {rest}")),
        (_, 0) => Ok(()),
        _ if !goes_back && view.kept_weight.is_some_and(|kept| after < kept) => {
            Err(format!("canary {canary} has {for_canary} available pods and its weight falls to {after}"))
        }
        _ if goes_back || view.is_enough(for_stable, needed) => Ok(()),
        _ => Err(format!("stable {stable} has {for_stable} available pods and its weight rises to {rest}")),
    }
}
