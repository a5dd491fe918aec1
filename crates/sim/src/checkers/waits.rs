//! Every record of a release that is not Healthy says for what it waits.

use super::Write;
use crate::world::server::text;
use headgate_driver::resources::ROLLOUTS;

pub(super) fn check(write: &Write<'_>) -> Result<(), String> {
    let (ROLLOUTS, Some(after)) = (write.target.resource, write.after) else { return Ok(()) };
    let phase = text(after, "/status/phase");
    if phase.is_empty() || phase == "Healthy" || !text(after, "/status/waiting/kind").is_empty() {
        return Ok(());
    }
    Err(format!(
        "the Rollout is {phase} ({}) and does not say for what it waits",
        text(after, "/status/message")
    ))
}
