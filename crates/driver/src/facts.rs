//! What metrics are made of: facts about what is stored, and counts of what was done.

use crate::io::Resource;
use crate::object;
use crate::release_times::ReleaseTimes;
use headgate_api::At;
use headgate_api::conditions::{reasons, types};
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
    /// How long releases took that have ended, as `status.duration` tells it.
    pub releases: ReleaseTimes,
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
    /// Every AnalysisTemplate and ClusterAnalysisTemplate that is known.
    pub templates: Vec<TemplateFacts>,
    /// Objects held in memory, by kind.
    pub objects: BTreeMap<Resource, usize>,
    /// Measurements on their way.
    pub measurements_in_flight: usize,
    /// AnalysisRuns that wait for a place to measure, once for each host.
    pub measurements_waiting: usize,
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
    /// The phase as Argo Rollouts calls it in its metrics, which it reads from the conditions: one of [`METRICS_PHASES`],
    /// or `InvalidSpec`.
    pub metrics_phase: &'static str,
    /// `canary`, `blueGreen` or `none`.
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
    /// Weight of the canary that the routers show, when there are any.
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
    /// Its metrics, in the order of the spec.
    pub metrics: Vec<MetricFacts>,
}

/// What is known of one metric of an AnalysisRun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricFacts {
    /// Its name.
    pub name: String,
    /// The provider as the manifest spells it, such as `prometheus`.
    pub provider: String,
    /// `phase` of its result; `Pending` without one.
    pub phase: String,
    /// Whether its result counts in the run's.
    pub is_dry_run: bool,
}

/// What is known of one AnalysisTemplate or ClusterAnalysisTemplate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateFacts {
    /// Its namespace; empty for one of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Name and provider of each of its own metrics.
    pub metrics: Vec<(String, String)>,
}

/// The phases for which Argo Rollouts has a series of `rollout_phase`.
pub const METRICS_PHASES: [&str; 6] = ["Completed", "Progressing", "Paused", "Timeout", "Error", "Abort"];

/// The phase that Argo Rollouts shows in its metrics.
fn metrics_phase(status: &Value) -> &'static str {
    let conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let field = |condition: &Value, key: &str| condition.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut phase = "Progressing";
    for condition in conditions {
        match field(condition, "type").as_deref() {
            Some(types::INVALID_SPEC) => return "InvalidSpec",
            Some(types::PROGRESSING) => {
                phase = match field(condition, "reason").as_deref().unwrap_or_default() {
                    reasons::NEW_REPLICA_SET_AVAILABLE => "Completed",
                    reasons::ROLLOUT_PAUSED => "Paused",
                    reasons::REPLICA_SET_CREATE_ERROR | reasons::INTERNAL_ERROR => "Error",
                    reasons::PROGRESS_DEADLINE_EXCEEDED => "Timeout",
                    reasons::ROLLOUT_ABORTED => "Abort",
                    _ => "Progressing",
                }
            }
            _ => {}
        }
    }
    phase
}

/// Name and provider of each metric of an AnalysisRun or a template.
fn measured(object: &Value) -> impl Iterator<Item = (String, String)> {
    let metrics = object.at("/spec/metrics").and_then(Value::as_array).into_iter().flatten();
    metrics.map(|metric| {
        let provider = metric.get("provider").and_then(|provider| provider.as_object()?.keys().next());
        let name = metric.get("name").and_then(Value::as_str);
        (name.unwrap_or_default().to_owned(), provider.cloned().unwrap_or_default())
    })
}

/// Reads the facts of one template.
pub(crate) fn template_facts(template: &Value) -> TemplateFacts {
    TemplateFacts {
        namespace: object::meta(template, "namespace").to_owned(),
        name: object::meta(template, "name").to_owned(),
        metrics: measured(template).collect(),
    }
}

/// True when `spec.dryRun` names this metric: one name is a pattern.
fn is_dry_run(run: &Value, metric: &str) -> bool {
    let known = run.at("/status/metricResults").and_then(Value::as_array).into_iter().flatten();
    let mut results = known.filter(|result| result.get("name").and_then(Value::as_str) == Some(metric));
    let named = run.at("/spec/dryRun").and_then(Value::as_array).into_iter().flatten();
    let mut names = named.filter_map(|one| one.get("metricName")?.as_str());
    results.any(|result| result.get("dryRun") == Some(&Value::Bool(true))) || names.any(|name| name == metric)
}

/// Reads the facts of one AnalysisRun.
pub(crate) fn run_facts(run: &Value) -> RunFacts {
    let results = run.at("/status/metricResults").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let metrics = measured(run).map(|(name, provider)| {
        let result = results.iter().find(|result| text(result, "name").as_ref() == Some(&name));
        MetricFacts {
            provider,
            phase: result.and_then(|result| text(result, "phase")).unwrap_or_else(|| "Pending".to_owned()),
            is_dry_run: is_dry_run(run, &name),
            name,
        }
    });
    let phase = run.at("/status/phase").and_then(Value::as_str).filter(|phase| !phase.is_empty());
    RunFacts {
        namespace: object::meta(run, "namespace").to_owned(),
        name: object::meta(run, "name").to_owned(),
        phase: phase.unwrap_or("Pending").to_owned(),
        metrics: metrics.collect(),
    }
}

/// Reads the facts of one Rollout.
pub(crate) fn rollout_facts(rollout: &Value, router: &'static str) -> RolloutFacts {
    let text = |pointer: &str| rollout.at(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| rollout.at(pointer).and_then(Value::as_i64);
    let has = |pointer: &str| rollout.at(pointer).is_some_and(|value| !value.is_null());
    RolloutFacts {
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        phase: text("/status/phase"),
        metrics_phase: rollout.get("status").map_or("Progressing", metrics_phase),
        strategy: match (has("/spec/strategy/canary"), has("/spec/strategy/blueGreen")) {
            (_, true) => "blueGreen",
            (true, false) => "canary",
            (false, false) => "none",
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_phase_in_metrics_is_read_from_the_conditions_as_argo_rollouts_does() {
        let progressing = |reason: &str| json!({"conditions": [{"type": "Progressing", "reason": reason}]});
        for (reason, phase) in [
            ("NewReplicaSetAvailable", "Completed"),
            ("ReplicaSetUpdated", "Progressing"),
            ("RolloutPaused", "Paused"),
            ("ReplicaSetCreateError", "Error"),
            ("ProgressDeadlineExceeded", "Timeout"),
            ("RolloutAborted", "Abort"),
        ] {
            assert_eq!(metrics_phase(&progressing(reason)), phase, "{reason}");
        }
        let invalid = json!({"conditions": [
            {"type": "Progressing", "reason": "RolloutAborted"}, {"type": "InvalidSpec", "reason": "InvalidSpec"},
        ]});
        assert_eq!((metrics_phase(&invalid), metrics_phase(&json!({}))), ("InvalidSpec", "Progressing"));
    }

    #[test]
    fn a_metric_of_a_run_without_a_result_is_pending() {
        let run = json!({
            "metadata": {"namespace": "shop", "name": "web-1"},
            "spec": {"dryRun": [{"metricName": "latency"}], "metrics": [
                {"name": "errors", "provider": {"prometheus": {}}}, {"name": "latency", "provider": {"web": {}}},
            ]},
            "status": {"phase": "Running", "metricResults": [{"name": "errors", "phase": "Failed"}]},
        });
        let facts = run_facts(&run);
        let metrics =
            facts.metrics.iter().map(|one| (one.provider.as_str(), one.phase.as_str(), one.is_dry_run));
        assert_eq!(metrics.collect::<Vec<_>>(), [("prometheus", "Failed", false), ("web", "Pending", true)]);
    }
}
