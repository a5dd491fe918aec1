//! Single calls: creation, lists, what is filled in, what is dropped.

use super::{
    a_rollout, a_set, analysis_run, at, create, delete, get, list, merge, merge_status, operations,
    replica_set, rollout,
};
use crate::conformance::Case;
use headgate_driver::io::Resource;
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, REPLICA_SETS, ROLLOUTS};
use serde_json::{Value, json};

pub(super) fn all() -> Vec<Case> {
    vec![creation(), lists(), pruning(), missing_kind(), defaults(), events()]
}

fn creation() -> Case {
    let mut with_status = rollout("a");
    with_status["status"] = json!({ "phase": "Healthy" });
    let mut run_with_status = analysis_run("r");
    run_with_status["status"] = json!({ "phase": "Running" });
    Case::new(
        "creation",
        vec![
            get("what is not there", a_rollout("a")),
            create("a Rollout; the server drops its status", ROLLOUTS, with_status),
            create("the same again", ROLLOUTS, rollout("a")),
            get("it", a_rollout("a")),
            create("an AnalysisRun; its status stays", ANALYSIS_RUNS, run_with_status),
            merge("what is not there", a_rollout("b"), json!({ "spec": { "paused": true } })),
            merge_status(
                "the status of what is not there",
                a_rollout("b"),
                json!({ "status": { "abort": true } }),
            ),
            operations(
                "what is not there, with a test that would fail",
                a_rollout("b"),
                json!([{ "op": "test", "path": "/metadata/uid", "value": "u" }]),
            ),
        ],
    )
}

fn lists() -> Case {
    let labelled = |name: &str, labels: Value| {
        let mut body = rollout(name);
        body["metadata"]["labels"] = labels;
        // No controller is to look after it.
        body["metadata"]["labels"][headgate_api::labels::CONTROLLER_INSTANCE_ID] = json!("conformance");
        body
    };
    let every = |name, labels| list(name, ROLLOUTS, labels);
    Case::new(
        "lists",
        vec![
            every("nothing yet", ""),
            create("one", ROLLOUTS, labelled("a", json!({ "tier": "front", "zone": "1" }))),
            create("two", ROLLOUTS, labelled("b", json!({ "tier": "back", "zone": "" }))),
            create("three", ROLLOUTS, labelled("c", json!({}))),
            every("all", ""),
            every("a value", "tier=front"),
            every("a key", "zone"),
            every("a value and a key", "tier=front,zone"),
            every("two values, one of which fits", "tier=front,zone=2"),
            every("no value", "zone="),
            every("another value, or none", "tier!=front"),
            every("without a key", "!tier"),
            every("two equal signs", "tier==back"),
            list("another kind", ANALYSIS_RUNS, ""),
        ],
    )
}

fn pruning() -> Case {
    let a = || a_rollout("a");
    let mut case = Case::new(
        "pruning",
        vec![
            create("made", ROLLOUTS, rollout("a")),
            merge_status(
                "a field that the CRD knows and one that it does not",
                a(),
                json!({ "status": { "phase": "Healthy", "ofTheFuture": { "x": 1 } } }),
            ),
            merge_status(
                "only one that it does not: no change",
                a(),
                json!({ "status": { "ofTheFuture": { "x": 2 } } }),
            ),
            get("now", a()),
        ],
    );
    case.pruned = &["status/ofTheFuture"];
    case
}

fn missing_kind() -> Case {
    let missing = Resource {
        group: "conformance.headgate.example",
        version: "v1",
        kind: "Nothing",
        plural: "nothings",
        namespaced: true,
    };
    let n = || at(missing, "n");
    let body = json!({ "metadata": { "name": "n" }, "spec": {} });
    let mut case = Case::new(
        "missing-kind",
        vec![
            get("read", n()),
            list("list", missing, ""),
            create("create", missing, body),
            merge("change", n(), json!({ "spec": {} })),
            delete("delete", n(), "00000000-0000-0000-0000-000000000000"),
        ],
    );
    case.absent = vec![missing];
    case
}

fn defaults() -> Case {
    let plain = json!({ "name": "app", "image": "shop:1" });
    let rich = json!({
        "name": "app", "image": "registry.example:5000/shop",
        "ports": [{ "containerPort": 80 }, { "containerPort": 53, "protocol": "UDP", "name": "dns" }],
        "env": [
            { "name": "A", "value": "1" },
            { "name": "B", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        ],
        "readinessProbe": { "httpGet": { "port": 80 } },
        "livenessProbe": { "tcpSocket": { "port": 80 }, "periodSeconds": 3 },
        "resources": { "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "100m" } },
    });
    let latest = json!({ "name": "app", "image": "shop:latest" });
    let digest = json!({ "name": "app", "image": "shop@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" });
    let mut whole = replica_set("whole", &plain);
    whole["spec"]["template"]["spec"] = json!({
        "initContainers": [{ "name": "first", "image": "init:1" }],
        "containers": [plain],
        "serviceAccountName": "default",
        "volumes": [{ "name": "cache", "emptyDir": {} }],
    });
    let mut no_count = replica_set("no-count", &plain);
    if let Some(spec) = no_count["spec"].as_object_mut() {
        spec.remove("replicas");
    }
    // Nobody needs its pod.
    let mut counted = vec![
        create("a plain container", REPLICA_SETS, replica_set("plain", &plain)),
        create("ports, variables and probes", REPLICA_SETS, replica_set("rich", &rich)),
        create("an image that moves", REPLICA_SETS, replica_set("latest", &latest)),
        create("an image by digest", REPLICA_SETS, replica_set("digest", &digest)),
        create("other parts of a pod", REPLICA_SETS, whole),
    ];
    counted.push(create("a ReplicaSet that does not say how many", REPLICA_SETS, no_count));
    counted.push(delete(
        "which would be one",
        a_set("no-count"),
        "@a ReplicaSet that does not say how many/metadata/uid",
    ));
    Case::new("defaults", counted)
}

fn events() -> Case {
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": "a.0123456789abcdef" },
        "involvedObject": { "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "a", "uid": "@made/metadata/uid", "namespace": "conformance-events" },
        "type": "Normal", "reason": "RolloutCompleted", "message": "done",
        "source": { "component": "headgate" }, "reportingComponent": "headgate",
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
    });
    Case::new(
        "events",
        vec![
            create("made", ROLLOUTS, rollout("a")),
            create("an event", EVENTS, event.clone()),
            create("the same event", EVENTS, event),
        ],
    )
}
