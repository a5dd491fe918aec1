//! What records, ReplicaSets and Services have said lately: names and events must rest on it.

use super::View;
use super::conditions;
use super::view::{RUN_ROLES, rollout};
use crate::world::server::{Server, text};
use headgate_api::At;
use headgate_api::conditions::{TRUE, reasons, types};
use headgate_driver::resources::ANALYSIS_RUNS;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Between a record and what a process does because of it lie at most a slow call and a minute of standing still.
const LATELY: SignedDuration = SignedDuration::from_secs(180);

/// Statements that hold, and those that held.
#[derive(Debug, Default)]
pub(super) struct Said {
    now: BTreeSet<String>,
    until: BTreeMap<String, Timestamp>,
    times: BTreeMap<String, u32>,
    /// `status.abortedAt`.
    aborted_at: String,
}

/// The statement that the Rollout is paused.
pub(super) const PAUSED: &str = "paused";

impl Said {
    /// Looks at the world as it is from now on.
    pub(super) fn look(&mut self, server: &Server, view: Option<&View>, now: Timestamp) {
        let mut statements = BTreeSet::new();
        if let (Some((_, rollout)), Some(view)) = (rollout(server), view) {
            of_status(rollout, &mut statements);
            of_view(view, &mut statements);
            of_runs(server, &mut statements);
        }
        for ended in self.now.difference(&statements) {
            self.until.insert(ended.clone(), now);
        }
        for begun in statements.difference(&self.now) {
            *self.times.entry(begun.clone()).or_insert(0) += 1;
        }
        // A release that is tried again and aborted once more, in one record, is aborted anew.
        let aborted_at = rollout(server).map_or("", |(_, rollout)| text(rollout, "/status/abortedAt"));
        let aborted = format!("condition {} {}", types::PROGRESSING, reasons::ROLLOUT_ABORTED);
        if self.aborted_at != aborted_at && self.now.contains(&aborted) && statements.contains(&aborted) {
            *self.times.entry(aborted).or_insert(0) += 1;
        }
        aborted_at.clone_into(&mut self.aborted_at);
        self.now = statements;
    }

    /// True when it holds or has held lately.
    pub(super) fn lately(&self, statement: &str, now: Timestamp) -> bool {
        let held = self.until.get(statement).is_some_and(|until| now.duration_since(*until) <= LATELY);
        held || self.now.contains(statement)
    }

    /// How often it has become true.
    pub(super) fn times(&self, statement: &str) -> u32 {
        self.times.get(statement).copied().unwrap_or(0)
    }
}

fn of_status(rollout: &Value, statements: &mut BTreeSet<String>) {
    let status = rollout.get("status").unwrap_or(&Value::Null);
    let current = text(status, "/currentPodHash");
    statements.insert(format!("version {current}"));
    if current == text(status, "/stableRS") {
        statements.insert(format!("stable {current}"));
    }
    if let Some(index) = status.get("currentStepIndex").and_then(Value::as_i64) {
        statements.insert(format!("step {index}"));
    }
    if let Some(weight) = status.at("/canary/weights/canary/weight").and_then(Value::as_i64) {
        statements.insert(format!("weight {weight}"));
    }
    for role in RUN_ROLES {
        if let Some(run) = status.at(&format!("/canary/{role}")) {
            let (name, phase) = (text(run, "/name"), text(run, "/status"));
            statements.insert(format!("names {name}"));
            statements.insert(format!("run {name} {phase}"));
        }
    }
    for condition in conditions::all(rollout) {
        let type_ = text(condition, "/type");
        statements.insert(format!("condition {type_} {}", text(condition, "/reason")));
        // An abort ends a pause, and leaves its condition.
        let is_aborted = status.get("abort") == Some(&Value::Bool(true));
        if type_ == types::PAUSED && text(condition, "/status") == TRUE && !is_aborted {
            statements.insert(PAUSED.to_owned());
        }
    }
}

/// The record that an end of a run leads to may name the run no more.
fn of_runs(server: &Server, statements: &mut BTreeSet<String>) {
    let ended = server.all(ANALYSIS_RUNS).filter(|(_, run)| !text(run, "/status/completedAt").is_empty());
    statements.extend(ended.map(|(at, run)| format!("run {} {}", at.name, text(run, "/status/phase"))));
}

fn of_view(view: &View, statements: &mut BTreeSet<String>) {
    statements.extend(view.sets.iter().map(|set| format!("scaled {} {}", set.name, set.replicas)));
    for (service, selects) in
        [(&view.names.stable, &view.stable_selects), (&view.names.canary, &view.canary_selects)]
    {
        if let (Some(service), Some(hash)) = (service, selects) {
            statements.insert(format!("selects {service} {hash}"));
        }
    }
}
