//! R1: a shift or a shrink goes out only soon after the process has been told by the server what the Rollout is.

use super::Write;
use crate::world::routes::is_route;
use headgate_driver::resources::{REPLICA_SETS, SERVICES};
use jiff::{SignedDuration, Timestamp};

/// A request may be sent so long after the last proof: the time limit of a call, and some.
const PROOF_HOLDS: SignedDuration = SignedDuration::from_secs(20);

pub(super) fn check(write: &Write<'_>, proven_at: Option<Timestamp>) -> Result<(), String> {
    let resource = write.target.resource;
    let moves =
        is_route(resource) || ([SERVICES, REPLICA_SETS].contains(&resource) && write.before.is_some());
    if !moves {
        return Ok(());
    }
    let Some(proven_at) = proven_at else {
        return Err(format!(
            "{} is changed by a process that has not looked at the Rollout",
            write.target.name
        ));
    };
    if write.sent_at.duration_since(proven_at) <= PROOF_HOLDS {
        return Ok(());
    }
    Err(format!(
        "{} is changed by a process that looked at the Rollout last at {proven_at}",
        write.target.name
    ))
}
