//! From stored JSON to what the engine sees: the one assembler of snapshots. An object that does not parse
//! never hides another: a wrong Rollout becomes a [`RolloutView`] with a problem instead of a spec.

use crate::io::ObjectRef;
use crate::object::{self, count, number, texts};
use crate::orphans;
use crate::references::{Name, Named, template_reference};
use crate::resources::{ANALYSIS_RUNS, REPLICA_SETS, SERVICES, of_key};
use crate::store::Store;
use crate::workload::{self, Resolved};
use headgate_api::At;
use headgate_api::labels::MANAGED_BY_ROLLOUTS;
use headgate_api::{
    AnalysisPhase, AnalysisRunSpec, AnalysisTemplateSpec, ClusterAnalysisTemplateSpec, RolloutStatus,
};
use headgate_model::analysis::{ValidMetric, valid_metrics};
use headgate_model::spec::{PodHealthAction, RolloutSpec};
use headgate_model::{
    AnalysisRunView, EffectKey, Failure, FailureClass, LAST_VALUE_CHARS_MAX, Objects, Observed, PodView,
    ReplicaSetView, RolloutView, RouterConfig, RouterProblem, RouterView, ServiceView, Snapshot, SpecProblem,
    TemplateKey, TrafficRouter, TrafficState, Verb, template, validate,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything that is known about one Rollout. `failures` are those of its effects.
pub(crate) fn snapshot(
    rollout: &Value,
    named: &Named,
    store: &Store,
    pod_health: PodHealthAction,
    mut failures: BTreeMap<EffectKey, Failure>,
) -> Snapshot {
    let resolved = workload::resolve(rollout, store);
    let rollout = &*resolved.rollout;
    let view = rollout_view(&resolved);
    let namespace = view.namespace.clone();
    let (templates, unreadable) = template_views(named, &namespace, store);
    let routers =
        router_views(&named.routers, store, |router, config, objects| router.observe(config, objects));
    failures.extend(unreadable);
    Snapshot {
        replica_sets: children(store, &view.uid, REPLICA_SETS, replica_set_view),
        orphans: orphans::of(rollout, store),
        analysis_runs: children(store, &view.uid, ANALYSIS_RUNS, analysis_run_view),
        services: named
            .services
            .iter()
            .map(|name| (name.clone(), service(&namespace, name, store).map(service_view)))
            .collect(),
        former_routers: former_router_views(named, &routers, store),
        routers,
        templates,
        pods: pods(&view, store),
        running: Observed::Unknown,
        unrecorded_shift_at: None,
        pod_health,
        failures,
        rollout: view,
    }
}

/// Pods of versions that are not stable.
fn pods(rollout: &RolloutView, store: &Store) -> Observed<BTreeMap<String, Vec<PodView>>> {
    if !store.pods.is_synced() {
        return Observed::Unknown;
    }
    let sets = store.children(&rollout.uid, REPLICA_SETS).map(|set| (object::uid(set), object::hash(set)));
    let others = sets.filter(|(_, hash)| *hash != rollout.status.stable_rs);
    Observed::Present(
        others.map(|(uid, _)| (uid.to_owned(), store.pods.of(&rollout.namespace, uid))).collect(),
    )
}

fn children<T>(
    store: &Store,
    owner: &str,
    resource: crate::io::Resource,
    view: impl Fn(&Value) -> T,
) -> Observed<Vec<T>> {
    if store.is_synced(resource) {
        Observed::Present(store.children(owner, resource).map(view).collect())
    } else {
        Observed::Unknown
    }
}

/// The Rollout itself.
fn rollout_view(resolved: &Resolved<'_>) -> RolloutView {
    let rollout = &*resolved.rollout;
    let spec_raw = rollout.get("spec").cloned().unwrap_or(Value::Null);
    let status: RolloutStatus = lenient(rollout.get("status"));
    let pod_template = spec_raw.get("template").filter(|template| !template.is_null());
    let is_blue_green = spec_raw.at("/strategy/blueGreen").is_some_and(|blue_green| !blue_green.is_null());
    RolloutView {
        name: object::meta(rollout, "name").to_owned(),
        namespace: object::meta(rollout, "namespace").to_owned(),
        uid: object::uid(rollout).to_owned(),
        resource_version: object::resource_version(rollout).to_owned(),
        generation: number(rollout, "/metadata/generation"),
        created_at: object::created_at(rollout),
        labels: texts(rollout, "/metadata/labels"),
        annotations: texts(rollout, "/metadata/annotations"),
        spec: spec(&spec_raw, resolved),
        workload: resolved.workload.clone(),
        template_hash: pod_template
            .map(|pod_template| template::pod_template_hash(pod_template, status.collision_count))
            .unwrap_or_default(),
        step_hash: if is_blue_green {
            String::new()
        } else {
            template::steps_hash(spec_raw.at("/strategy/canary/steps"))
        },
        status,
        spec_raw,
    }
}

fn spec(written: &Value, resolved: &Resolved<'_>) -> Result<RolloutSpec, SpecProblem> {
    if let Some(problem) = &resolved.problem {
        return Err(problem.clone());
    }
    if !written.is_object() {
        return Err(SpecProblem {
            field: "spec".to_owned(),
            problem: "Required value: a Rollout needs a spec with selector, template and strategy".to_owned(),
        });
    }
    match (validate(written), &resolved.workload) {
        (Ok(mut spec), workload) => {
            workload::take_over_size(&mut spec, workload.as_ref());
            Ok(spec)
        }
        (Err(problem), Some(Observed::Present(workload))) => Err(workload.reference.explain(problem)),
        (Err(problem), _) => Err(problem),
    }
}

/// Reads a type whose fields are all optional; nothing that is stored makes it fail as a whole.
pub(crate) fn lenient<T: DeserializeOwned + Default>(value: Option<&Value>) -> T {
    value.and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
}

pub(crate) fn replica_set_view(replica_set: &Value) -> ReplicaSetView {
    ReplicaSetView {
        name: object::meta(replica_set, "name").to_owned(),
        uid: object::uid(replica_set).to_owned(),
        resource_version: object::resource_version(replica_set).to_owned(),
        created_at: object::created_at(replica_set),
        deleting: object::is_deleting(replica_set),
        labels: texts(replica_set, "/metadata/labels"),
        annotations: texts(replica_set, "/metadata/annotations"),
        generation: number(replica_set, "/metadata/generation"),
        observed_generation: number(replica_set, "/status/observedGeneration"),
        // The API server fills in 1 where nothing is written.
        replicas: replica_set.at("/spec/replicas").map_or(1, |_| count(replica_set, "/spec/replicas")),
        min_ready_seconds: count(replica_set, "/spec/minReadySeconds"),
        current: count(replica_set, "/status/replicas"),
        ready: count(replica_set, "/status/readyReplicas"),
        available_reported: count(replica_set, "/status/availableReplicas"),
        perhaps_evicted: 0,
        failure: replica_failure(replica_set),
        template: replica_set.at("/spec/template").cloned().unwrap_or(Value::Null),
    }
}

fn replica_failure(replica_set: &Value) -> Option<(String, String)> {
    let conditions = replica_set.at("/status/conditions")?.as_array()?;
    let text = |condition: &Value, field: &str| {
        condition.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let failed = conditions.iter().find(|condition| {
        text(condition, "type") == "ReplicaFailure" && text(condition, "status") == "True"
    })?;
    Some((text(failed, "reason"), text(failed, "message")))
}

fn analysis_run_view(run: &Value) -> AnalysisRunView {
    let phase = run.at("/status/phase").and_then(|phase| AnalysisPhase::deserialize(phase).ok());
    let phase = phase.unwrap_or(AnalysisPhase::Pending);
    let spec = run.at("/spec").filter(|_| !phase.is_completed());
    let spec = spec.and_then(|spec| AnalysisRunSpec::deserialize(spec).ok());
    let metrics = spec.as_ref().and_then(|spec| valid_metrics(spec).ok()).unwrap_or_default();
    AnalysisRunView {
        name: object::meta(run, "name").to_owned(),
        uid: object::uid(run).to_owned(),
        resource_version: object::resource_version(run).to_owned(),
        created_at: object::created_at(run),
        deleting: object::is_deleting(run),
        labels: texts(run, "/metadata/labels"),
        terminate: run.at("/spec/terminate") == Some(&Value::Bool(true)),
        phase,
        message: run.at("/status/message").and_then(Value::as_str).unwrap_or_default().to_owned(),
        completed_at: run
            .at("/status/completedAt")
            .and_then(Value::as_str)
            .and_then(|time| time.parse().ok()),
        spec: spec.map(|spec| Box::new(AnalysisRunSpec { terminate: None, ..spec })),
        ends_by_itself: (!metrics.is_empty()).then(|| metrics.iter().all(|metric| metric.count.is_some())),
        stands_well: stands_well(&metrics, run),
        last_value: last_value(run),
    }
}

/// Whether every metric that counts is over and was successful, or has no end and was successful last.
fn stands_well(metrics: &[ValidMetric], run: &Value) -> bool {
    let results = run.at("/status/metricResults").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is = |value: &Value, key: &str, text: &str| value.get(key).and_then(Value::as_str) == Some(text);
    let is_well = |metric: &ValidMetric| {
        let result = results.iter().find(|result| is(result, "name", &metric.metric.name));
        let last = || result?.get("measurements")?.as_array()?.last();
        metric.dry_run
            || result.is_some_and(|result| is(result, "phase", "Successful"))
            || metric.count.is_none() && last().is_some_and(|last| is(last, "phase", "Successful"))
    };
    !metrics.is_empty() && metrics.iter().all(is_well)
}

/// What the metric measured last that made a run fail.
fn last_value(run: &Value) -> Option<String> {
    let results = run.at("/status/metricResults")?.as_array()?;
    let is_bad = |result: &&Value| {
        let is = |phase: &str| result.get("phase").and_then(Value::as_str) == Some(phase);
        (is("Failed") || is("Error")) && result.get("dryRun") != Some(&Value::Bool(true))
    };
    let measurements = results.iter().find(is_bad)?.get("measurements")?.as_array()?;
    let value = measurements.last()?.get("value")?.as_str().filter(|value| !value.is_empty())?;
    Some(value.chars().take(LAST_VALUE_CHARS_MAX).collect())
}

fn service<'a>(namespace: &str, name: &str, store: &'a Store) -> Observed<&'a Value> {
    store.observed(&ObjectRef { resource: SERVICES, namespace: namespace.to_owned(), name: name.to_owned() })
}

fn service_view(service: &Value) -> ServiceView {
    ServiceView {
        selector: texts(service, "/spec/selector"),
        managed_by: texts(service, "/metadata/annotations").remove(MANAGED_BY_ROLLOUTS),
    }
}

type Observe = fn(&dyn TrafficRouter, &RouterConfig, &Objects) -> Result<TrafficState, RouterProblem>;

fn router_views(configs: &[RouterConfig], store: &Store, observe: Observe) -> Vec<RouterView> {
    let view = |config: &RouterConfig| {
        let router = headgate_traffic::router(config.router)?;
        let state = router_objects(config, store).and_then(|objects| observe(router, config, &objects));
        Some(RouterView { config: config.clone(), capabilities: router.capabilities(), state })
    };
    configs.iter().filter_map(view).collect()
}

/// Those that the spec no longer names, and those of `routers` whose objects are not whole, where they still give something.
fn former_router_views(named: &Named, routers: &[RouterView], store: &Store) -> Vec<RouterView> {
    let remains =
        |router: &dyn TrafficRouter, config: &_, objects: &_| router.observe_remains(config, objects);
    let is_broken = |view: &&RouterView| view.state.as_ref().is_err_and(RouterProblem::is_of_objects);
    let broken: Vec<_> = routers.iter().filter(is_broken).map(|view| view.config.clone()).collect();
    let mut views = router_views(&named.former_routers, store, remains);
    views.extend(router_views(&broken, store, remains).into_iter().filter(|view| view.state.is_ok()));
    views
}

/// The objects that a router needs, as last seen.
///
/// # Errors
/// When the configuration names none properly.
pub(crate) fn router_objects(config: &RouterConfig, store: &Store) -> Result<Objects, RouterProblem> {
    let Some(router) = headgate_traffic::router(config.router) else { return Ok(Objects::new()) };
    let keys = router.references(config)?;
    Ok(keys
        .into_iter()
        .map(|key| {
            let observed = store.observed(&of_key(&key)).map(Value::clone);
            (key, observed)
        })
        .collect())
}

type Templates = BTreeMap<TemplateKey, Observed<AnalysisTemplateSpec>>;

/// Templates, and as failures those that exist but cannot be read: they are Unknown.
fn template_views(
    named: &Named,
    namespace: &str,
    store: &Store,
) -> (Templates, BTreeMap<EffectKey, Failure>) {
    let mut templates = Templates::new();
    let mut unreadable = BTreeMap::new();
    for key in &named.templates {
        let observed = match store.observed(&template_reference(key, namespace)) {
            Observed::Present(template) => match template_spec(key, template) {
                Ok(spec) => Observed::Present(spec),
                Err(failure) => {
                    unreadable.insert(template_effect(key), failure);
                    Observed::Unknown
                }
            },
            Observed::Absent => Observed::Absent,
            Observed::Unknown => Observed::Unknown,
        };
        templates.insert(key.clone(), observed);
    }
    (templates, unreadable)
}

fn template_spec(key: &TemplateKey, template: &Value) -> Result<AnalysisTemplateSpec, Failure> {
    let spec = template.get("spec").unwrap_or(&Value::Null);
    let parsed = match key {
        TemplateKey::Namespaced(_) => AnalysisTemplateSpec::deserialize(spec),
        TemplateKey::Cluster(_) => {
            ClusterAnalysisTemplateSpec::deserialize(spec).map(|cluster| cluster.template)
        }
    };
    parsed.map_err(|error| Failure {
        class: FailureClass::Invalid,
        message: format!(
            "{} {:?} cannot be read: {error}; correct its spec",
            template.get("kind").and_then(Value::as_str).unwrap_or("AnalysisTemplate"),
            object::meta(template, "name"),
        ),
        since: object::created_at(template),
        attempts: 1,
        told: false,
        held: Vec::new(),
    })
}

/// Reading a template, as an effect whose failure is input of the decision.
fn template_effect(key: &TemplateKey) -> EffectKey {
    let (TemplateKey::Namespaced(name) | TemplateKey::Cluster(name)) = key;
    EffectKey::new(Verb::ReadTemplate, name)
}

/// Namespace and name of an object.
pub(crate) fn name_of(object: &Value) -> Name {
    (object::meta(object, "namespace").to_owned(), object::meta(object, "name").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_value_is_that_of_the_metric_that_made_the_run_fail_and_is_cut() {
        let metric = |phase: &str, dry: bool, values: &[&str]| {
            let values: Vec<Value> = values.iter().map(|value| json!({ "value": value })).collect();
            json!({ "phase": phase, "dryRun": dry, "measurements": values })
        };
        let run = |results: &[Value]| json!({ "status": { "metricResults": results } });
        let (good, bad) = (metric("Successful", false, &["1"]), metric("Failed", false, &["2", "3"]));
        let tried = metric("Failed", true, &["4"]);
        assert_eq!(last_value(&run(&[good, tried, bad])).as_deref(), Some("3"));
        assert_eq!(last_value(&run(&[metric("Error", false, &[""])])), None);
        assert_eq!(last_value(&json!({})), None);
        let long = "7".repeat(1_000);
        let value = last_value(&run(&[metric("Failed", false, &[&long])])).unwrap();
        assert_eq!(value.len(), LAST_VALUE_CHARS_MAX);
    }

    #[test]
    fn a_run_stands_well_when_each_metric_that_counts_was_good_to_its_end_or_is_good_so_far() {
        let run = |metric: Value, result: Value| {
            let (mut metric, mut result) = (metric, result);
            result["name"] = json!("m");
            metric["name"] = json!("{{args.name}}");
            metric["provider"] = json!({ "prometheus": { "query": "q" } });
            let args = json!([{ "name": "name", "value": "m" }, { "name": "count", "value": "0" }]);
            let dry_run = if result["dryRun"] == true { json!([{ "metricName": "m" }]) } else { json!([]) };
            let spec = json!({ "metrics": [metric], "args": args, "dryRun": dry_run });
            let status = json!({ "phase": "Running", "metricResults": [result] });
            analysis_run_view(&json!({ "spec": spec, "status": status })).stands_well
        };
        let measured = |phases: &[&str]| {
            let all: Vec<Value> = phases.iter().map(|phase| json!({ "phase": phase })).collect();
            json!({ "phase": "Running", "measurements": all })
        };
        let endless = || json!({ "interval": "10s" });
        let finite = || json!({ "interval": "10s", "count": 3 });
        for endless in [
            json!({ "interval": "10s", "count": 0 }),
            json!({ "interval": "10s", "count": "{{args.count}}" }),
        ] {
            assert!(run(endless.clone(), measured(&["Failed", "Successful"])), "{endless}");
        }
        assert!(run(endless(), measured(&["Failed", "Successful"])));
        assert!(!run(endless(), measured(&["Successful", "Error"])));
        assert!(!run(endless(), measured(&[])));
        assert!(!run(finite(), measured(&["Successful"])), "its end is awaited");
        assert!(run(finite(), json!({ "phase": "Successful" })));
        assert!(run(finite(), json!({ "phase": "Failed", "dryRun": true })));
        assert!(run(endless(), json!({ "dryRun": true })), "nothing of it counts");
        assert!(!analysis_run_view(&json!({})).stands_well, "nothing was measured");
    }
}
