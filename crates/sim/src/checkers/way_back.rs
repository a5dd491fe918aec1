//! Rule 4, the way that the user chose (`abort.policy`): through the weights of the steps, with the pods of stable, or at once
//! where stable has all but those that may be missing, and in proportion to its pods before that.

use super::{View, WayBack, Write};
use crate::world::routes::is_route;

pub(super) fn check(write: &Write<'_>, view: &View) -> Result<(), String> {
    let (true, Some(after)) = (is_route(write.target.resource), write.after) else { return Ok(()) };
    let shares = |object| view.names.canary_shares(write.target, object);
    let (Some((_, before)), Some((_, after))) = (shares(write.before), shares(Some(after))) else {
        return Ok(());
    };
    let (Some(canary), Some(stable)) = (&view.canary_selects, &view.stable_selects) else { return Ok(()) };
    // A version that was replaced and a router that was taken out go back at once, and so does a spec that is not carried out.
    // A first version has nowhere to go back to: whatever somebody gives to its canary Service leads to the same pods. And new
    // steps, of which the status says nothing yet, end an abort.
    let is_of_abort = (view.is_aborted || write.knows_abort)
        && view.is_observed
        && !view.is_invalid
        && *canary == view.current
        && view.is_wanted(canary)
        && view.stable != view.current
        && !view.stable.is_empty()
        && view.names.is_named(write.target);
    let (for_canary, for_stable) = (view.available(canary), view.available(stable));
    let must_hurry = for_canary == 0 || for_stable == 0 || view.desired == 0;
    if !is_of_abort || must_hurry || after >= before {
        return Ok(());
    }
    match &view.way_back {
        WayBack::Instant if for_stable >= view.bears_all() => Ok(()),
        WayBack::Stepped(weights) => {
            let next = weights.iter().copied().filter(|weight| *weight < before).max().unwrap_or(0);
            if after >= next {
                return Ok(());
            }
            Err(format!("aborted, and the weight goes from {before} to {after}; {next} is next"))
        }
        WayBack::Instant | WayBack::AsCapacityAllows => {
            let total = view.names.total;
            if (total - after) * view.desired <= total * for_stable {
                return Ok(());
            }
            Err(format!("aborted, {for_stable} stable pods are available, and the weight goes to {after}"))
        }
    }
}
