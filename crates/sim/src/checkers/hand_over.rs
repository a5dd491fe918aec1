//! Rule 2 for the pods of a Deployment that a Rollout refers to: they go only as far as the Rollout's pods that are
//! available make up for them.

use super::view::rollout;
use super::{View, Write};
use crate::world::server::{Server, number, text};
use crate::world::workload;
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

/// Where it is to stay as it is, nothing of it is written.
pub(super) fn never(write: &Write<'_>, server: &Server) -> Result<(), String> {
    let scale_down = rollout(server).map_or("", |(_, rollout)| text(rollout, "/spec/workloadRef/scaleDown"));
    if write.target.resource == DEPLOYMENTS && scale_down == "never" {
        return Err(format!("Deployment {} is to stay as it is, and it is written", write.target.name));
    }
    Ok(())
}

/// In the end it has given way to a healthy Rollout, where it is to.
pub(super) fn end(server: &Server) -> Result<(), String> {
    let Some((_, rollout)) = rollout(server) else { return Ok(()) };
    let gives_way = ["onsuccess", "progressively"].contains(&text(rollout, "/spec/workloadRef/scaleDown"));
    let workload = workload::of(rollout).filter(|workload| workload.resource == DEPLOYMENTS);
    let left =
        workload.and_then(|workload| server.get(&workload)).map_or(0, |one| number(one, "/spec/replicas"));
    // Without pods of the Rollout nobody knows whether they would be any good.
    let has_pods = number(rollout, "/spec/replicas") > 0;
    if gives_way && has_pods && text(rollout, "/status/phase") == "Healthy" && left > 0 {
        return Err(format!("the Rollout is Healthy, and its Deployment still has {left} pods"));
    }
    Ok(())
}
