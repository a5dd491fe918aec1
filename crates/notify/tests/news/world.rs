//! A Rollout whose status is written by hand, and a webhook that wants to know everything.

use headgate_api::{AnalysisPhase, HeadgateStatus, OutboxEntry, RolloutStatus};
use headgate_model::spec::PodHealthAction;
use headgate_model::{AnalysisRunView, Observed, ReplicaSetView, RolloutView, Snapshot, Timestamp, validate};
use headgate_notify::{News, Subscription, Subscriptions, Trigger, file, news};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// 2026-11-21T09:00:00Z.
pub(crate) const START: i64 = 1_795_251_600;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

pub(crate) fn status(value: Value) -> RolloutStatus {
    serde_json::from_value(value).unwrap()
}

/// Steps: 20 %, pause for ever, 50 %, pause for a minute.
pub(crate) fn spec() -> Value {
    json!({
        "replicas": 4,
        "selector": { "matchLabels": { "app": "web" } },
        "strategy": { "canary": { "steps": [
            { "setWeight": 20 }, { "pause": {} }, { "setWeight": 50 }, { "pause": { "duration": "1m" } },
        ]}},
        "template": {
            "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "web", "image": "web:2" }, { "name": "side", "image": "side:7" }] },
        },
    })
}

fn replica_set(hash: &str, revision: i64) -> ReplicaSetView {
    ReplicaSetView {
        name: format!("web-{hash}"),
        uid: hash.to_owned(),
        resource_version: "1".to_owned(),
        created_at: at(0),
        deleting: false,
        labels: BTreeMap::from([("rollouts-pod-template-hash".to_owned(), hash.to_owned())]),
        annotations: BTreeMap::from([("rollout.argoproj.io/revision".to_owned(), revision.to_string())]),
        generation: 1,
        observed_generation: 1,
        replicas: 4,
        min_ready_seconds: 0,
        current: 4,
        ready: 4,
        available_reported: 4,
        perhaps_evicted: 0,
        failure: None,
        template: json!({ "spec": { "containers": [{ "image": format!("web:{hash}") }] } }),
    }
}

/// A Rollout with this status and versions `a` (revision 1) and `b` (revision 2).
pub(crate) fn snapshot(old: RolloutStatus) -> Snapshot {
    let spec_raw = spec();
    Snapshot {
        rollout: RolloutView {
            name: "web".to_owned(),
            namespace: "shop".to_owned(),
            uid: "6b1c".to_owned(),
            resource_version: "7".to_owned(),
            generation: 1,
            created_at: at(0),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            spec: validate(&spec_raw),
            workload: None,
            spec_raw,
            template_hash: "b".to_owned(),
            step_hash: String::new(),
            status: old,
        },
        orphans: Vec::new(),
        replica_sets: Observed::Present(vec![replica_set("a", 1), replica_set("b", 2)]),
        services: BTreeMap::new(),
        former_routers: Vec::new(),
        unrecorded_shift_at: None,
        routers: Vec::new(),
        analysis_runs: Observed::Present(Vec::new()),
        templates: BTreeMap::new(),
        pods: Observed::Unknown,
        running: Observed::Unknown,
        pod_health: PodHealthAction::Off,
        failures: BTreeMap::new(),
    }
}

/// An AnalysisRun that has failed.
pub(crate) fn failed_run(name: &str) -> AnalysisRunView {
    AnalysisRunView {
        name: name.to_owned(),
        uid: name.to_owned(),
        resource_version: "1".to_owned(),
        created_at: at(0),
        deleting: false,
        labels: BTreeMap::new(),
        terminate: false,
        phase: AnalysisPhase::Failed,
        message: String::new(),
        completed_at: Some(at(50)),
        spec: None,
        ends_by_itself: None,
        stands_well: false,
        last_value: None,
    }
}

pub(crate) fn subscribed(service: &str, triggers: &[Trigger], namespaces: &[&str]) -> Subscription {
    Subscription {
        service: service.to_owned(),
        triggers: triggers.iter().copied().collect(),
        namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
    }
}

pub(crate) fn all() -> Subscriptions {
    Subscriptions { cluster: None, services: vec![subscribed("hook", &Trigger::ALL, &[])] }
}

/// What is told when one status follows another.
pub(crate) fn told(old: &Value, new: &Value) -> News {
    told_with(old, new, Vec::new())
}

/// The same, with AnalysisRuns.
pub(crate) fn told_with(old: &Value, new: &Value, runs: Vec<AnalysisRunView>) -> News {
    let mut snapshot = snapshot(status(old.clone()));
    snapshot.analysis_runs = Observed::Present(runs);
    news(&snapshot, &status(new.clone()), &all(), at(60))
}

/// The same, as words.
pub(crate) fn triggers(old: &Value, new: &Value) -> Vec<String> {
    told(old, new).entries.into_iter().map(|entry| entry.trigger).collect()
}

/// The record as it is stored: with what it has to tell.
pub(crate) fn stored(old: &RolloutStatus, mut new: RolloutStatus, seconds: i64) -> RolloutStatus {
    let HeadgateStatus { outbox, completing, .. } = old.headgate.clone().unwrap_or_default();
    let memory = HeadgateStatus { outbox, completing, ..new.headgate.take().unwrap_or_default() };
    new.headgate = Some(memory).filter(|memory| *memory != HeadgateStatus::default());
    let news = news(&snapshot(old.clone()), &new, &all(), at(seconds));
    file(&mut new, news, |_| false);
    new
}

pub(crate) fn outbox(status: &RolloutStatus) -> &[OutboxEntry] {
    status.headgate.as_ref().map_or(&[], |memory| &memory.outbox)
}
