//! Rule 2: pods go only when those left suffice for the weight that the observed route still gives.

use super::{View, Write};
use crate::world::server::{number, text};
use headgate_driver::resources::REPLICA_SETS;

pub(super) fn check(write: &Write<'_>, view: &View) -> Result<(), String> {
    let (REPLICA_SETS, Some(before)) = (write.target.resource, write.before) else { return Ok(()) };
    let to = write.after.map_or(0, |after| number(after, "/spec/replicas"));
    if to >= number(before, "/spec/replicas") || view.canary_weight.is_none() {
        return Ok(());
    }
    let name = text(before, "/metadata/name");
    let Some(set) = view.set(name) else { return Err(format!("{name} is not there")) };
    let is_scaled_by_user = set.sized_for.is_some_and(|sized_for| sized_for != view.desired);
    if is_scaled_by_user || view.desired == 0 {
        return Ok(());
    }
    let given = view.given(&set.hash);
    // Where the stable Service gets nothing, who is behind it is a canary and nothing else.
    let is_stable = view.stable_selects.as_deref() == Some(&set.hash)
        && view.canary_weight_least.is_none_or(|least| least < view.names.total);
    let scale = view.canary_scale.filter(|_| !is_stable && given > 0);
    let needed = scale.map_or(view.needed(given), |scale| scale.min(view.needed(given)));
    if to >= needed {
        return Ok(());
    }
    Err(format!("{name} goes to {to} pods while the route gives it {given}, which needs {needed}"))
}
