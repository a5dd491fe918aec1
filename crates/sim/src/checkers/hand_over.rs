//! Rule 2 for the pods of a Deployment that a Rollout refers to: they go only as far as the Rollout's pods that are
//! available make up for them.

use super::{View, Write};
use crate::world::server::number;
use headgate_driver::resources::DEPLOYMENTS;

pub(super) fn check(write: &Write<'_>, view: &View) -> Result<(), String> {
    let (DEPLOYMENTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
        return Ok(());
    };
    let (had, has) = (number(before, "/spec/replicas"), number(after, "/spec/replicas"));
    let available: i64 = view.sets.iter().map(|set| set.available).sum();
    let least = view.desired.min(had);
    if has >= had || has + available >= least {
        return Ok(());
    }
    Err(format!(
        "the Deployment goes from {had} to {has} pods while {available} of the Rollout are available and {least} are needed"
    ))
}
