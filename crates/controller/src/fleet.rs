//! Series about each Rollout and AnalysisRun, made at each scrape from what the driver knows: they
//! appear and vanish with their object.

pub(crate) mod passes;
mod reference;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use headgate_driver::{
    BOUNDS, Counters, Facts, RolloutFacts, Times,
    io::{Call, Reply},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use serde_json::Value;

use passes::Passes;

/// What the driver knew last, for scrapes.
#[derive(Debug, Default)]
pub struct Fleet {
    known: Mutex<Known>,
    told: Mutex<BTreeMap<Told, u64>>,
    pub(crate) passes: Passes,
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
    /// Replaces what scrapes see. What was counted of objects that are gone is forgotten.
    pub fn publish(&self, facts: Facts, counters: Counters) {
        {
            let alive = facts.rollouts.iter().map(|rollout| (&rollout.namespace, &rollout.name));
            let alive = alive.collect::<BTreeSet<_>>();
            self.told().retain(|told, _| alive.contains(&(&told.namespace, &told.name)));
            let runs = facts.analysis_runs.iter().map(|run| (&run.namespace, &run.name));
            self.passes.keep(&alive, &runs.collect());
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
        counters(&mut encoder, "rollout_events", "Events about a Rollout", series)?;
        self.0.passes.encode(&mut encoder)
    }
}

/// One number of a Rollout.
type Count = fn(&RolloutFacts) -> i64;

fn rollouts(encoder: &mut DescriptorEncoder<'_>, rollouts: &[RolloutFacts]) -> fmt::Result {
    let info = rollouts.iter().map(|rollout| {
        let [namespace, name] = named(rollout);
        let router = reference::router(rollout.router);
        let labels = [
            namespace,
            name,
            ("strategy", rollout.strategy),
            ("traffic_router", router),
            ("phase", rollout.metrics_phase),
        ];
        (labels, 1)
    });
    gauges(encoder, "rollout_info", "A Rollout, and how far it is in the words of Argo Rollouts", info)?;
    reference::rollout_phases(encoder, rollouts)?;
    let phases = rollouts.iter().filter(|rollout| !rollout.phase.is_empty()).map(|rollout| {
        let [namespace, name] = named(rollout);
        ([namespace, name, ("phase", rollout.phase.as_str())], 1)
    });
    gauges(encoder, "headgate_rollout_phase", "status.phase of a Rollout", phases)?;
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
    gauges(encoder, "headgate_rollout_weight", "The largest share that routes show for the canary", weights)?;
    let steps = rollouts.iter().filter_map(|rollout| Some((named(rollout), rollout.step?)));
    gauges(encoder, "headgate_rollout_step", "Index of the current step", steps)?;
    let waiting = rollouts.iter().filter(|rollout| !rollout.waiting.is_empty()).map(|rollout| {
        let [namespace, name] = named(rollout);
        ([namespace, name, ("for", rollout.waiting.as_str())], 1)
    });
    gauges(encoder, "headgate_rollout_waiting", "What a Rollout waits for", waiting)
}

fn analysis_runs(encoder: &mut DescriptorEncoder<'_>, facts: &Facts) -> fmt::Result {
    let info = facts.analysis_runs.iter().map(|run| {
        let labels = [("namespace", run.namespace.as_str()), ("name", &run.name), ("phase", &run.phase)];
        (labels, 1)
    });
    gauges(encoder, "analysis_run_info", "An AnalysisRun and its phase", info)?;
    reference::analysis_runs(encoder, &facts.analysis_runs)?;
    reference::templates(encoder, &facts.templates)?;
    let objects =
        facts.objects.iter().map(|(resource, count)| ([("kind", resource.kind)], number(*count as u64)));
    gauges(encoder, "headgate_objects", "Objects held in memory", objects)?;
    let plain = [
        ("headgate_measurements_in_flight", "Measurements on their way", facts.measurements_in_flight),
        (
            "headgate_measurements_waiting",
            "AnalysisRuns that wait for a place to measure, once for each host",
            facts.measurements_waiting,
        ),
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
    let help = "Seconds from the beginning of a release to its end";
    histograms(encoder, "rollout_duration_seconds", help, &done.releases.total)?;
    let help = "The same without the time in which it waited for a person";
    histograms(encoder, "rollout_progression_duration_seconds", help, &done.releases.progression)?;
    let help = "Seconds for which a release waited for a person";
    histograms(encoder, "rollout_manual_pause_duration_seconds", help, &done.releases.manual_pause)?;
    let events = done.notices.iter().map(|(reason, count)| ([("reason", *reason)], *count));
    counters(encoder, "headgate_events", "Events told", events)
}

fn named(rollout: &RolloutFacts) -> [(&'static str, &str); 2] {
    [("namespace", &rollout.namespace), ("name", &rollout.name)]
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

/// By `completionStatus`.
#[expect(
    clippy::cast_precision_loss,
    reason = "seconds of releases, and bounds of a week at most, are exact"
)]
fn histograms(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: &BTreeMap<String, Times>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (status, times) in series {
        let bounds = BOUNDS.iter().map(|bound| *bound as f64).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(times.counts).collect();
        let count = times.counts.iter().sum();
        let labels = [("status", status.as_str())];
        metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
            times.sum as f64,
            count,
            &buckets,
            None,
        )?;
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
    use std::{sync::Arc, time::Duration};

    use headgate_driver::{
        Counters, Facts, MetricFacts, ReleaseTimes, RolloutFacts, RunFacts, TemplateFacts, Times,
        io::{Call, ObjectRef, Reply, Resource},
    };
    use serde_json::{Value, json};

    use super::{Fleet, FleetSeries};
    use crate::metrics::Metrics;

    fn rollout(name: &str) -> RolloutFacts {
        RolloutFacts {
            namespace: "shop".into(),
            name: name.into(),
            phase: "Degraded".into(),
            metrics_phase: "Abort",
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

    /// Two promoted releases, of which one waited for a person.
    fn releases() -> ReleaseTimes {
        let mut times = Times::default();
        (times.counts[1], times.counts[3], times.sum) = (1, 1, 450);
        let total = [("Promoted".to_owned(), times)].into();
        ReleaseTimes { total, ..ReleaseTimes::default() }
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
            releases: releases(),
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
            templates: vec![TemplateFacts {
                namespace: "shop".into(),
                name: "success-rate".into(),
                metrics: vec![("success-rate".into(), "prometheus".into())],
            }],
            measurements_in_flight: 3,
            measurements_waiting: 2,
            notifications_waiting: 1,
            ..Facts::default()
        };
        fleet.publish(facts, counters);
        let text = metrics(&fleet).text().unwrap();
        let is_steady = |line: &&str| !line.starts_with("process_start_time_seconds ");
        insta::assert_snapshot!(text.lines().filter(is_steady).collect::<Vec<_>>().join("\n"));
    }

    /// Each series has a row in the docs, and each row of ours a series.
    #[test]
    fn the_docs_name_every_series_and_no_other() {
        let docs = include_str!("../../../docs/metrics.md");
        let metrics = metrics(&Arc::new(Fleet::default()));
        metrics.called(&event("web"), &Reply::Object(Value::Null), Duration::ZERO);
        metrics.measured(&headgate_model::Reply::Failed("no answer".into()), Duration::ZERO);
        metrics.watch_failed("Rollout");
        let text = metrics.text().unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let mut series: Vec<String> = types
            .map(|(name, kind)| match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            })
            .collect();
        series.sort();
        let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(['`', '{']));
        let mut named: Vec<String> = rows.map(|(name, _)| name.to_owned()).collect();
        named.sort();
        assert_eq!(named, series);
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
