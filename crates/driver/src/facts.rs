//! What metrics are made of: facts about what is stored, and counts of what was done.

use crate::io::Resource;
use headgate_model::FailureClass;
use serde_json::Value;
use std::collections::BTreeMap;

/// What the driver has done since it was made. All of these only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Decisions, of Rollouts and AnalysisRuns.
    pub decisions: u64,
    /// Decisions that broke a rule of ours or panicked: each is a defect of Headgate.
    pub broken_decisions: u64,
    /// Decisions dropped because the Rollout had changed when it was read live.
    pub stale_decisions: u64,
    /// Requests sent; those that create events are not counted.
    pub requests: u64,
    /// Measurements asked for.
    pub measurements: u64,
    /// Writes by verb (`Record`, `RunRecord`, `Scale`, …) and outcome (`Done`, or the class of the failure).
    pub effects: BTreeMap<(&'static str, &'static str), u64>,
    /// Writes that somebody else was ahead of.
    pub conflicts: u64,
    /// Rollouts held back for writing without progress.
    pub breaker_trips: u64,
    /// Kubernetes events by reason.
    pub notices: BTreeMap<&'static str, u64>,
    /// Kubernetes events left out because their object had too many in a minute.
    pub notices_dropped: u64,
    /// Notifications by service, trigger and outcome: `delivered`; `failed`, an attempt that is repeated; `given_up`;
    /// `dropped`, because its Rollout had too many.
    pub notifications: BTreeMap<(String, &'static str, &'static str), u64>,
}

impl Counters {
    pub(crate) fn effect(&mut self, verb: &'static str, outcome: &'static str) {
        *self.effects.entry((verb, outcome)).or_insert(0) += 1;
    }

    pub(crate) fn notified(&mut self, service: &str, trigger: &'static str, outcome: &'static str) {
        *self.notifications.entry((service.to_owned(), trigger, outcome)).or_insert(0) += 1;
    }

    /// How many writes failed in this way.
    pub fn failures(&self, class: FailureClass) -> u64 {
        let of_class =
            |((_, outcome), count): (&(&str, &str), &u64)| (*outcome == class.as_str()).then_some(*count);
        self.effects.iter().filter_map(of_class).sum()
    }
}

/// What is known now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Every Rollout that we look after, in the order of namespace and name.
    pub rollouts: Vec<RolloutFacts>,
    /// Every AnalysisRun that we look after.
    pub analysis_runs: Vec<RunFacts>,
    /// Objects held in memory, by kind.
    pub objects: BTreeMap<Resource, usize>,
    /// Measurements on their way.
    pub measurements_in_flight: usize,
    /// Notifications that some webhook has not taken yet.
    pub notifications_waiting: usize,
}

/// What is known of one Rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `status.phase`; empty before the first decision.
    pub phase: String,
    /// `canary`, `blueGreen`, or empty.
    pub strategy: &'static str,
    /// The first router with weights, such as `istio`; empty without one.
    pub router: &'static str,
    /// `spec.replicas`.
    pub desired: i64,
    /// `status.replicas`.
    pub current: i64,
    /// `status.updatedReplicas`.
    pub updated: i64,
    /// `status.readyReplicas`.
    pub ready: i64,
    /// `status.availableReplicas`.
    pub available: i64,
    /// Weight of the canary last sent to the routers, when there are any.
    pub weight: Option<i64>,
    /// `status.currentStepIndex`.
    pub step: Option<i64>,
    /// What is waited for (`status.waiting.kind`); empty when nothing is.
    pub waiting: String,
}

/// What is known of one AnalysisRun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `status.phase`; `Pending` before the first decision.
    pub phase: String,
    /// The metrics that have a result, in its order.
    pub metrics: Vec<MetricFacts>,
}

/// What is known of one metric of an AnalysisRun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricFacts {
    /// Its name.
    pub name: String,
    /// The provider as the manifest spells it, such as `prometheus`.
    pub provider: String,
    /// `phase` of its result.
    pub phase: String,
    /// Whether its result counts in the run's.
    pub is_dry_run: bool,
}

/// Reads the facts of one AnalysisRun.
pub(crate) fn run_facts(run: &Value) -> RunFacts {
    let text = |pointer: &str| run.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let list = |pointer: &str| run.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let field =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let provider = |name: &str| {
        let metric = list("/spec/metrics").iter().find(|metric| field(metric, "name") == name);
        let provider = metric.and_then(|metric| metric.get("provider")?.as_object()?.keys().next());
        provider.cloned().unwrap_or_default()
    };
    let metrics = list("/status/metricResults").iter().map(|result| {
        let name = field(result, "name");
        MetricFacts {
            provider: provider(&name),
            phase: field(result, "phase"),
            is_dry_run: result.get("dryRun").and_then(Value::as_bool).unwrap_or(false),
            name,
        }
    });
    RunFacts {
        namespace: text("/metadata/namespace").unwrap_or_default(),
        name: text("/metadata/name").unwrap_or_default(),
        phase: text("/status/phase").unwrap_or_else(|| "Pending".to_owned()),
        metrics: metrics.collect(),
    }
}

/// Reads the facts of one Rollout.
pub(crate) fn rollout_facts(rollout: &Value, router: &'static str) -> RolloutFacts {
    let text =
        |pointer: &str| rollout.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| rollout.pointer(pointer).and_then(Value::as_i64);
    let has = |pointer: &str| rollout.pointer(pointer).is_some_and(|value| !value.is_null());
    RolloutFacts {
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        phase: text("/status/phase"),
        strategy: match (has("/spec/strategy/canary"), has("/spec/strategy/blueGreen")) {
            (_, true) => "blueGreen",
            (true, false) => "canary",
            (false, false) => "",
        },
        router,
        desired: number("/spec/replicas").unwrap_or(1),
        current: number("/status/replicas").unwrap_or(0),
        updated: number("/status/updatedReplicas").unwrap_or(0),
        ready: number("/status/readyReplicas").unwrap_or(0),
        available: number("/status/availableReplicas").unwrap_or(0),
        weight: number("/status/canary/weights/canary/weight"),
        step: number("/status/currentStepIndex"),
        waiting: text("/status/waiting/kind"),
    }
}
