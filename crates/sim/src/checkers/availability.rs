//! Rule 3: no act takes available pods below N − maxUnavailable; without a router none raises the sum above N + maxSurge.

use super::{View, Write};
use crate::world::server::{number, text};
use headgate_driver::resources::REPLICA_SETS;

pub(super) fn check(write: &Write<'_>, view: &View) -> Result<(), String> {
    let (REPLICA_SETS, Some(before)) = (write.target.resource, write.before) else { return Ok(()) };
    let from = number(before, "/spec/replicas");
    let to = write.after.map_or(0, |after| number(after, "/spec/replicas"));
    if write.after.is_some() && to == from {
        return Ok(());
    }
    let name = text(before, "/metadata/name");
    let Some(set) = view.set(name) else { return Err(format!("{name} is not there")) };
    if to > from {
        let wanted: i64 = view.sets.iter().map(|set| set.replicas).sum::<i64>() - set.replicas + to;
        // Before a router that the spec no longer names is led back, stable has to bear everything.
        let is_led_back = set.hash == view.stable && to <= view.desired && view.names.left().next().is_some();
        if !view.is_routed
            && !is_led_back
            && !view.is_scaled_by_user()
            && wanted > view.desired + view.max_surge
        {
            return Err(format!(
                "{name} goes to {to}: {wanted} pods, {} + {} allowed",
                view.desired, view.max_surge
            ));
        }
        return Ok(());
    }
    let available: i64 = view.sets.iter().map(|set| set.available).sum();
    let left = available - set.available + set.available.min(to);
    let least = view.desired - view.max_unavailable;
    if left >= least.min(available) {
        return Ok(());
    }
    Err(format!(
        "{name} goes from {from} to {to}: {left} of {available} available pods are left, {least} are needed"
    ))
}
