//! Series about each Rollout and AnalysisRun, made at each scrape from what the driver knows: they
//! appear and vanish with their object.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use headgate_driver::{
    Counters, Facts, RolloutFacts,
    io::{Call, Reply},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use serde_json::Value;

/// What the driver knew last, for scrapes.
#[derive(Debug, Default)]
pub struct Fleet {
    known: Mutex<Known>,
    told: Mutex<BTreeMap<Told, u64>>,
}

#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) facts: Facts,
    counters: Counters,
}

/// A Kubernetes event about a Rollout, as it is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    namespace: String,
    name: String,
    kind: String,
    reason: String,
}

impl Fleet {
    /// Replaces what scrapes see. Counts of events about Rollouts that are gone are forgotten.
    pub fn publish(&self, facts: Facts, counters: Counters) {
        {
            let alive = facts.rollouts.iter().map(|rollout| (&rollout.namespace, &rollout.name));
            let alive = alive.collect::<BTreeSet<_>>();
            self.told().retain(|told, _| alive.contains(&(&told.namespace, &told.name)));
        }
        *self.known() = Known { facts, counters };
    }

    /// Counts a Kubernetes event about a Rollout that the API server has taken.
    pub fn called(&self, call: &Call, reply: &Reply) {
        let (Call::Create { target, body }, Reply::Object(_)) = (call, reply) else { return };
        let text =
            |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if target.resource.kind == "Event" && text("/involvedObject/kind") == "Rollout" {
            let told = Told {
                namespace: target.namespace.clone(),
                name: text("/involvedObject/name"),
                kind: text("/type"),
                reason: text("/reason"),
            };
            *self.told().entry(told).or_insert(0) += 1;
        }
    }

    pub(crate) fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> std::sync::MutexGuard<'_, BTreeMap<Told, u64>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the series of a [`Fleet`] into a registry.
#[derive(Debug)]
pub struct FleetSeries(pub Arc<Fleet>);

impl Collector for FleetSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let known = self.0.known();
        rollouts(&mut encoder, &known.facts.rollouts)?;
        analysis_runs(&mut encoder, &known.facts)?;
        done(&mut encoder, &known.counters)?;
        drop(known);
        let told = self.0.told();
        let series = told.iter().map(|(told, count)| {
            let labels = [
                ("namespace", told.namespace.as_str()),
                ("name", told.name.as_str()),
                ("type", told.kind.as_str()),
                ("reason", told.reason.as_str()),
            ];
            (labels, *count)
        });
        counters(&mut encoder, "rollout_events", "Events about a Rollout", series)
    }
}

/// One number of a Rollout.
type Count = fn(&RolloutFacts) -> i64;

fn rollouts(encoder: &mut DescriptorEncoder<'_>, rollouts: &[RolloutFacts]) -> fmt::Result {
    let info = rollouts.iter().map(|rollout| {
        let [namespace, name] = named(rollout);
        let router = reference_name(rollout.router);
        let labels = [
            namespace,
            name,
            ("strategy", rollout.strategy),
            ("traffic_router", router),
            ("phase", &rollout.phase),
        ];
        (labels, 1)
    });
    gauges(encoder, "rollout_info", "A Rollout and its phase", info)?;
    let replicas: [(&str, &str, Count); 4] = [
        ("rollout_info_replicas_available", "Available replicas of a Rollout", |rollout| rollout.available),
        ("rollout_info_replicas_unavailable", "Replicas of a Rollout that are not available", |rollout| {
            (rollout.current - rollout.available).max(0)
        }),
        ("rollout_info_replicas_desired", "Desired replicas of a Rollout", |rollout| rollout.desired),
        ("rollout_info_replicas_updated", "Replicas of a Rollout's newest version", |rollout| {
            rollout.updated
        }),
    ];
    for (name, help, value) in replicas {
        gauges(encoder, name, help, rollouts.iter().map(|rollout| (named(rollout), value(rollout))))?;
    }
    let weights = rollouts.iter().filter_map(|rollout| Some((named(rollout), rollout.weight?)));
    gauges(encoder, "headgate_rollout_weight", "Weight of the canary that routers were last told", weights)?;
    let steps = rollouts.iter().filter_map(|rollout| Some((named(rollout), rollout.step?)));
    gauges(encoder, "headgate_rollout_step", "Index of the current step", steps)?;
    let waiting = rollouts.iter().filter(|rollout| !rollout.waiting.is_empty()).map(|rollout| {
        let [namespace, name] = named(rollout);
        ([namespace, name, ("for", rollout.waiting.as_str())], 1)
    });
    gauges(encoder, "headgate_rollout_waiting", "What a Rollout waits for", waiting)
}

fn analysis_runs(encoder: &mut DescriptorEncoder<'_>, facts: &Facts) -> fmt::Result {
    let runs = facts.analysis_runs.iter();
    let info = runs.clone().map(|run| {
        let labels = [("namespace", run.namespace.as_str()), ("name", &run.name), ("phase", &run.phase)];
        (labels, 1)
    });
    gauges(encoder, "analysis_run_info", "An AnalysisRun and its phase", info)?;
    let metrics = runs.flat_map(|run| run.metrics.iter().map(move |metric| (run, metric)));
    let phases = metrics.map(|(run, metric)| {
        let labels = [
            ("namespace", run.namespace.as_str()),
            ("name", &run.name),
            ("metric", &metric.name),
            ("type", provider_type(&metric.provider)),
            ("dry_run", if metric.is_dry_run { "true" } else { "false" }),
            ("phase", &metric.phase),
        ];
        (labels, 1)
    });
    gauges(encoder, "analysis_run_metric_phase", "A metric of an AnalysisRun and its phase", phases)?;
    let objects =
        facts.objects.iter().map(|(resource, count)| ([("kind", resource.kind)], number(*count as u64)));
    gauges(encoder, "headgate_objects", "Objects held in memory", objects)?;
    let plain = [
        ("headgate_measurements_in_flight", "Measurements on their way", facts.measurements_in_flight),
        (
            "headgate_notifications_waiting",
            "Notifications that some webhook has not taken yet",
            facts.notifications_waiting,
        ),
    ];
    for (name, help, count) in plain {
        let gauge = ConstGauge::new(number(count as u64));
        gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
    }
    Ok(())
}

fn done(encoder: &mut DescriptorEncoder<'_>, done: &Counters) -> fmt::Result {
    let plain = [
        ("headgate_decisions", "Decisions about Rollouts and AnalysisRuns", done.decisions),
        (
            "headgate_broken_decisions",
            "Decisions that broke a rule or panicked: defects to report",
            done.broken_decisions,
        ),
        (
            "headgate_stale_decisions",
            "Decisions dropped because the Rollout had changed meanwhile",
            done.stale_decisions,
        ),
        ("headgate_measurements", "Measurements asked for", done.measurements),
        ("headgate_conflicts", "Writes that somebody else was ahead of", done.conflicts),
        ("headgate_breaker_trips", "Rollouts held back for writing without progress", done.breaker_trips),
        (
            "headgate_events_dropped",
            "Events left out because their object had too many in a minute",
            done.notices_dropped,
        ),
    ];
    for (name, help, count) in plain {
        ConstCounter::new(count).encode(encoder.encode_descriptor(
            name,
            help,
            None,
            MetricType::Counter,
        )?)?;
    }
    let effects = done
        .effects
        .iter()
        .map(|((verb, outcome), count)| ([("verb", *verb), ("outcome", *outcome)], *count));
    counters(encoder, "headgate_effects", "Writes by what they do and what came of them", effects)?;
    let notifications = done.notifications.iter().map(|((service, trigger, outcome), count)| {
        ([("service", service.as_str()), ("trigger", *trigger), ("outcome", *outcome)], *count)
    });
    let help = "Attempts to tell webhooks of Rollouts, and what came of them";
    counters(encoder, "headgate_notifications", help, notifications)?;
    let events = done.notices.iter().map(|(reason, count)| ([("reason", *reason)], *count));
    counters(encoder, "headgate_events", "Events told", events)
}

fn named(rollout: &RolloutFacts) -> [(&'static str, &str); 2] {
    [("namespace", &rollout.namespace), ("name", &rollout.name)]
}

/// Dashboards know providers by the words of the reference controller.
fn provider_type(provider: &str) -> &str {
    match provider {
        "prometheus" => "Prometheus",
        "web" => "WebMetric",
        "job" => "Job",
        "datadog" => "Datadog",
        "newRelic" => "NewRelic",
        "wavefront" => "WavefrontMetric",
        "cloudWatch" => "CloudWatch",
        other => other,
    }
}

/// Dashboards know routers by the words of the reference controller.
fn reference_name(router: &'static str) -> &'static str {
    match router {
        "istio" => "Istio",
        "nginx" => "Nginx",
        "alb" => "ALB",
        "smi" => "SMI",
        "ambassador" => "Ambassador",
        "appMesh" => "AppMesh",
        "traefik" => "Traefik",
        "apisix" => "Apisix",
        other => other,
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (L, i64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in series {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use headgate_driver::{
        Counters, Facts, MetricFacts, RolloutFacts, RunFacts,
        io::{Call, ObjectRef, Reply, Resource},
    };
    use serde_json::{Value, json};

    use super::{Fleet, FleetSeries};
    use crate::metrics::Metrics;

    fn rollout(name: &str) -> RolloutFacts {
        RolloutFacts {
            namespace: "shop".into(),
            name: name.into(),
            phase: "Progressing".into(),
            strategy: "canary",
            router: "istio",
            desired: 5,
            current: 6,
            updated: 1,
            ready: 6,
            available: 5,
            weight: Some(20),
            step: Some(1),
            waiting: "Analysis".into(),
        }
    }

    fn event(name: &str) -> Call {
        let events = Resource { group: "", version: "v1", kind: "Event", plural: "events", namespaced: true };
        Call::Create {
            target: ObjectRef { resource: events, namespace: "shop".into(), name: "e".into() },
            body: json!({"involvedObject": {"kind": "Rollout", "name": name}, "type": "Normal", "reason": "RolloutPaused"}),
        }
    }

    fn metrics(fleet: &Arc<Fleet>) -> Metrics {
        Metrics::default().with_collector(Box::new(FleetSeries(fleet.clone())))
    }

    #[test]
    fn a_scrape_shows_rollouts_counts_and_events() {
        let fleet = Arc::new(Fleet::default());
        fleet.called(&event("web"), &Reply::Object(Value::Null));
        fleet.called(&event("web"), &Reply::Lost("no answer".into()));
        let counters = Counters {
            decisions: 7,
            effects: [(("Scale", "Done"), 2), (("Scale", "Conflict"), 1)].into(),
            notices: [("RolloutPaused", 1)].into(),
            notifications: [(("releases".into(), "aborted", "delivered"), 2)].into(),
            ..Counters::default()
        };
        let facts = Facts {
            rollouts: vec![rollout("web")],
            analysis_runs: vec![RunFacts {
                namespace: "shop".into(),
                name: "web-1-2".into(),
                phase: "Running".into(),
                metrics: vec![MetricFacts {
                    name: "success-rate".into(),
                    provider: "prometheus".into(),
                    phase: "Error".into(),
                    is_dry_run: false,
                }],
            }],
            measurements_in_flight: 3,
            notifications_waiting: 1,
            ..Facts::default()
        };
        fleet.publish(facts, counters);
        insta::assert_snapshot!(metrics(&fleet).text().unwrap());
    }

    #[test]
    fn series_vanish_with_their_object() {
        let fleet = Arc::new(Fleet::default());
        fleet.called(&event("web"), &Reply::Object(Value::Null));
        fleet.publish(Facts { rollouts: vec![rollout("web")], ..Facts::default() }, Counters::default());
        assert!(metrics(&fleet).text().unwrap().contains("\"web\""));
        fleet.publish(Facts::default(), Counters::default());
        assert!(!metrics(&fleet).text().unwrap().contains("\"web\""));
    }
}
