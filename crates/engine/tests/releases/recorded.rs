//! Statuses that Argo Rollouts has left on a real cluster: taking over changes nothing that anybody sees.

use headgate_api::RolloutStatus;
use headgate_engine::decide;
use headgate_model::spec::PodHealthAction;
use headgate_model::{
    AnalysisRunView, Capabilities, Observed, ReplicaSetView, RolloutView, RouterConfig, RouterView,
    ServiceView, Snapshot, Timestamp, TrafficState, WeightRange, selector, template, validate,
};
use serde_json::Value;
use std::collections::BTreeMap;

const RECORDED: &[(&str, &str)] = &[
    ("aborted", include_str!("recorded/aborted.json")),
    ("degraded", include_str!("recorded/degraded.json")),
    ("interrupted", include_str!("recorded/interrupted.json")),
    ("istio", include_str!("recorded/istio.json")),
    ("istioaborted", include_str!("recorded/istioaborted.json")),
    ("midpause", include_str!("recorded/midpause.json")),
    ("minready", include_str!("recorded/minready.json")),
    ("plain", include_str!("recorded/plain.json")),
    ("promoted", include_str!("recorded/promoted.json")),
    ("reverted", include_str!("recorded/reverted.json")),
    ("scaledown", include_str!("recorded/scaledown.json")),
    ("specpaused", include_str!("recorded/specpaused.json")),
    ("steady", include_str!("recorded/steady.json")),
    ("timedpause", include_str!("recorded/timedpause.json")),
    ("window", include_str!("recorded/window.json")),
];

#[test]
fn taking_over_from_argo_rollouts_changes_nothing() {
    let now: Timestamp = "2026-11-21T08:20:00Z".parse().unwrap();
    for (name, text) in RECORDED {
        let snapshot = snapshot(&serde_json::from_str::<Vec<Value>>(text).unwrap());
        let decision = decide(&snapshot, now);
        assert_eq!(decision.effects, [], "{name}");
        let mut record = decision.record.clone();
        record.waiting = None;
        record.headgate = None;
        assert_eq!(record, snapshot.rollout.status, "{name}");
        let is_healthy = decision.record.phase == Some(headgate_api::RolloutPhase::Healthy);
        assert_eq!(decision.record.waiting.is_none(), is_healthy, "{name}: {:?}", decision.record.waiting);
    }
}

fn snapshot(objects: &[Value]) -> Snapshot {
    let of = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let rollout = rollout(of("Rollout")[0]);
    let services = of("Service");
    Snapshot {
        routers: routers(&rollout, &services, of("VirtualService").first().copied()),
        former_routers: Vec::new(),
        unrecorded_shift_at: None,
        services: services
            .iter()
            .map(|service| (text(&service["metadata"]["name"]), Observed::Present(view(service))))
            .collect(),
        rollout,
        orphans: Vec::new(),
        replica_sets: Observed::Present(of("ReplicaSet").into_iter().map(replica_set).collect()),
        analysis_runs: Observed::Present(Vec::<AnalysisRunView>::new()),
        templates: BTreeMap::new(),
        pods: Observed::Present(BTreeMap::new()),
        running: Observed::Unknown,
        pod_health: PodHealthAction::Abort,
        failures: BTreeMap::new(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> i32 {
    value.as_i64().map_or(0, |number| i32::try_from(number).unwrap())
}

fn view(service: &Value) -> ServiceView {
    let selector = selector::string_map(service.pointer("/spec/selector"));
    let annotation = "argo-rollouts.argoproj.io/managed-by-rollouts";
    ServiceView {
        selector,
        managed_by: service["metadata"]["annotations"][annotation].as_str().map(str::to_owned),
    }
}

fn rollout(object: &Value) -> RolloutView {
    let (metadata, spec) = (&object["metadata"], &object["spec"]);
    let status: RolloutStatus = serde_json::from_value(object["status"].clone()).unwrap();
    RolloutView {
        name: text(&metadata["name"]),
        namespace: text(&metadata["namespace"]),
        uid: text(&metadata["uid"]),
        resource_version: text(&metadata["resourceVersion"]),
        generation: metadata["generation"].as_i64().unwrap(),
        created_at: metadata["creationTimestamp"].as_str().unwrap().parse().unwrap(),
        labels: selector::string_map(metadata.get("labels")),
        annotations: selector::string_map(metadata.get("annotations")),
        spec: validate(spec),
        workload: None,
        spec_raw: spec.clone(),
        template_hash: template::pod_template_hash(&spec["template"], status.collision_count),
        step_hash: template::steps_hash(spec.pointer("/strategy/canary/steps")),
        status,
    }
}

fn replica_set(object: &Value) -> ReplicaSetView {
    let (metadata, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
    ReplicaSetView {
        name: text(&metadata["name"]),
        uid: text(&metadata["uid"]),
        resource_version: text(&metadata["resourceVersion"]),
        created_at: metadata["creationTimestamp"].as_str().unwrap().parse().unwrap(),
        deleting: false,
        labels: selector::string_map(metadata.get("labels")),
        annotations: selector::string_map(metadata.get("annotations")),
        generation: metadata["generation"].as_i64().unwrap(),
        observed_generation: status["observedGeneration"].as_i64().unwrap(),
        replicas: number(&spec["replicas"]),
        min_ready_seconds: number(&spec["minReadySeconds"]),
        current: number(&status["replicas"]),
        ready: number(&status["readyReplicas"]),
        available_reported: number(&status["availableReplicas"]),
        perhaps_evicted: 0,
        failure: None,
        template: spec["template"].clone(),
    }
}

fn routers(rollout: &RolloutView, services: &[&Value], virtual_service: Option<&Value>) -> Vec<RouterView> {
    let canary = &rollout.spec_raw["strategy"]["canary"];
    let config = |router| RouterConfig {
        router,
        namespace: rollout.namespace.clone(),
        rollout: rollout.name.clone(),
        uid: "uid-of-shop".into(),
        total: 100,
        canary_service: canary["canaryService"].as_str().map(str::to_owned),
        stable_service: canary["stableService"].as_str().map(str::to_owned),
        config: canary["trafficRouting"]["istio"].clone(),
        item: None,
        object: None,
    };
    let Some(virtual_service) = virtual_service else { return Vec::new() };
    let selectors = services.iter().map(|service| {
        let hash = service.pointer("/spec/selector/rollouts-pod-template-hash").and_then(Value::as_str);
        (text(&service["metadata"]["name"]), hash.map(str::to_owned))
    });
    let shown = number(&virtual_service["spec"]["http"][0]["route"][1]["weight"]);
    let weights = WeightRange { canary_min: shown, canary_max: shown, total: 100, well_formed: true };
    vec![
        RouterView {
            config: config("services"),
            capabilities: Capabilities::default(),
            state: Ok(TrafficState { selectors: selectors.collect(), ..TrafficState::default() }),
        },
        RouterView {
            config: config("istio"),
            capabilities: Capabilities { weights: true },
            state: Ok(TrafficState { weights: Some(weights), ..TrafficState::default() }),
        },
    ]
}
