//! How much is kept of the past once all is well: old versions, and runs that have ended.

use super::View;
use super::view::{is_going_on, rollout, runs as named};
use crate::world::server::{Server, text};
use headgate_api::At;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::resources::ANALYSIS_RUNS;
use serde_json::Value;

/// What a Rollout keeps that does not say so.
const VERSIONS_KEPT: i64 = 10;
/// The same of runs that were successful, and of others.
const RUNS_KEPT: i64 = 5;

/// What is to be held against the world at its end. A release that waits, or has failed, may need what came before.
pub(super) fn end(server: &Server) -> Result<(), String> {
    let Some((_, rollout)) =
        rollout(server).filter(|(_, rollout)| text(rollout, "/status/phase") == "Healthy")
    else {
        return Ok(());
    };
    let Some(view) = View::of(server) else { return Ok(()) };
    versions(rollout, &view)?;
    runs(rollout, &view, server)
}

fn versions(rollout: &Value, view: &View) -> Result<(), String> {
    let limit = limit(rollout, "/spec/revisionHistoryLimit", VERSIONS_KEPT);
    let is_named = |hash: &String| {
        [&view.stable, &view.current].contains(&hash)
            || [&view.stable_selects, &view.canary_selects].into_iter().flatten().any(|one| one == hash)
    };
    let old = view.sets.iter().filter(|set| set.replicas == 0 && !is_named(&set.hash)).count();
    at_most(limit, old, "old versions")
}

fn runs(rollout: &Value, view: &View, server: &Server) -> Result<(), String> {
    let uid = text(rollout, "/metadata/uid");
    let past: Vec<&Value> = server
        .all(ANALYSIS_RUNS)
        .filter(|(at, run)| {
            text(run, "/metadata/ownerReferences/0/uid") == uid && named(rollout).all(|name| name != at.name)
        })
        .map(|(_, run)| run)
        .collect();
    let hash = |run: &Value| text(run, &format!("/metadata/labels/{POD_TEMPLATE_HASH}")).to_owned();
    if let Some(run) = past.iter().find(|run| view.sets.iter().all(|set| set.hash != hash(run))) {
        return Err(format!("run {} is kept, and its version is gone", text(run, "/metadata/name")));
    }
    if let Some(run) = past.iter().find(|run| is_going_on(text(run, "/status/phase"))) {
        return Err(format!("run {} goes on, and nobody waits for it", text(run, "/metadata/name")));
    }
    let ended =
        |phases: &[&str]| past.iter().filter(|run| phases.contains(&text(run, "/status/phase"))).count();
    let kept = |field: &str| limit(rollout, &format!("/spec/analysis/{field}"), RUNS_KEPT);
    at_most(kept("successfulRunHistoryLimit"), ended(&["Successful"]), "successful runs")?;
    let others = ended(&["Failed", "Error", "Inconclusive"]);
    at_most(kept("unsuccessfulRunHistoryLimit"), others, "unsuccessful runs")
}

fn limit(rollout: &Value, field: &str, default: i64) -> i64 {
    rollout.at(field).and_then(Value::as_i64).unwrap_or(default)
}

fn at_most(limit: i64, count: usize, what: &str) -> Result<(), String> {
    if i64::try_from(count).is_ok_and(|count| count <= limit) {
        return Ok(());
    }
    Err(format!("the Rollout is Healthy and keeps {count} {what}, of {limit}"))
}
