//! What forecasts and adoptions see of the loop, and how it takes part in it.

use super::Simulation;
use crate::faults::Disturbance;
use crate::scenario::Scenario;
use crate::world::given::Given;
use crate::world::metrics::Source;
use crate::world::plus;
use crate::world::proxies::{ALL, Flow};
use crate::world::server::Server;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Requests, in thousandths of a millisecond of all traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// By the hash of the version that got them.
    pub(crate) sent: BTreeMap<String, i64>,
    /// Sent to a version that nobody serves.
    pub(crate) lost: i64,
}

impl Tally {
    /// Requests flow like this for so many milliseconds.
    pub(super) fn add(&mut self, flow: &Flow, milliseconds: i64) {
        for (hash, share) in &flow.shares {
            *self.sent.entry(hash.clone()).or_default() += share * milliseconds;
        }
        self.lost += flow.loss.share * milliseconds / (ALL / 1_000);
    }
}

impl Simulation {
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// The Rollout as it is stored.
    pub(crate) fn rollout(&self) -> &Value {
        self.server.get(&self.scenario.target()).unwrap_or(&Value::Null)
    }

    pub(crate) fn sent(&self) -> &Tally {
        &self.sent
    }

    /// The rule that was broken first, if one was: a defect of ours.
    pub(crate) fn broken_rule(&self) -> Option<String> {
        self.checkers.violations.first().map(|violation| format!("{}: {}", violation.rule, violation.message))
    }

    /// What somebody has said that the metrics are.
    pub(crate) fn given(&self) -> Option<&Given> {
        match &self.scenario.metrics {
            Source::Given(given) => Some(given),
            Source::Traffic { .. } => None,
        }
    }

    /// The times of given metrics count from now.
    pub(crate) fn begin_given(&mut self) {
        if let Source::Given(given) = &mut self.scenario.metrics {
            given.begin(self.now);
        }
    }

    /// Something happens so many milliseconds from now.
    pub(crate) fn plan(&mut self, after: i64, disturbance: Disturbance) {
        let number = self.agenda.len();
        self.agenda.insert((plus(self.now, after), number), disturbance);
    }
}
