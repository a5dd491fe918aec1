//! Parts of objects: the status and everything else, and what counts as a new generation.

use super::{
    a_rollout, a_run, a_set, analysis_run, at, create, is_observed, merge, merge_status, replica_set,
    rollout, step,
};
use crate::conformance::{Act, Case};
use crate::world::routes::VIRTUAL_SERVICES;
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS, SERVICES};
use serde_json::json;

pub(super) fn all() -> Vec<Case> {
    vec![status_of_a_rollout(), status_of_others(), generations(), generations_of_others()]
}

fn status_of_a_rollout() -> Case {
    let a = || a_rollout("a");
    let everything = |replicas: i64, phase: &str, label: &str| {
        json!({
            "metadata": { "labels": { "of": label }, "annotations": { "of": label } },
            "spec": { "replicas": replicas },
            "status": { "phase": phase },
        })
    };
    Case::new(
        "status-of-a-rollout",
        vec![
            create("made", ROLLOUTS, rollout("a")),
            merge("status only, by the object", a(), json!({ "status": { "phase": "Healthy" } })),
            merge_status("spec only, by the status", a(), json!({ "spec": { "replicas": 9 } })),
            merge("all, by the object", a(), everything(4, "Healthy", "object")),
            merge_status("all, by the status", a(), everything(5, "Paused", "status")),
            merge_status("the same status is no change", a(), json!({ "status": { "phase": "Paused" } })),
            merge_status("another field", a(), json!({ "status": { "abort": true } })),
            merge_status("removal of a field", a(), json!({ "status": { "abort": null } })),
            merge_status("removal of the status", a(), json!({ "status": null })),
            merge("removal of the status by the object", a(), json!({ "status": null })),
        ],
    )
}

fn status_of_others() -> Case {
    let (s, r) = (|| a_set("s"), || a_run("r"));
    let everything = json!({
        "metadata": { "labels": { "of": "status" } },
        "spec": { "replicas": 1 },
        "status": { "observedGeneration": 1, "replicas": 0, "conditions": [
            { "type": "Odd", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" },
        ] },
    });
    Case::new(
        "status-of-others",
        vec![
            create(
                "a ReplicaSet",
                REPLICA_SETS,
                replica_set("s", &json!({ "name": "app", "image": "shop:1" })),
            ),
            step("it is observed", Act::Await(s(), is_observed)),
            merge("its status, by the object", s(), json!({ "status": { "readyReplicas": 7 } })),
            merge_status("all, by the status", s(), everything),
            merge_status(
                "another uid, by the status",
                s(),
                json!({ "metadata": { "uid": "00000000-0000-0000-0000-000000000000" }, "status": { "replicas": 0 } }),
            ),
            create("an AnalysisRun", ANALYSIS_RUNS, analysis_run("r")),
            merge("its status, by the object", r(), json!({ "status": { "phase": "Running" } })),
            merge_status(
                "by a subresource that it does not have",
                r(),
                json!({ "status": { "phase": "Failed" } }),
            ),
            merge_status(
                "of one that is not there",
                a_run("none"),
                json!({ "status": { "phase": "Failed" } }),
            ),
        ],
    )
}

fn generations() -> Case {
    let (a, r) = (|| a_rollout("a"), || a_run("r"));
    let label = json!({ "metadata": { "labels": { "x": "1" } } });
    let annotation = json!({ "metadata": { "annotations": { "x": "1" } } });
    Case::new(
        "generations",
        vec![
            create("a Rollout", ROLLOUTS, rollout("a")),
            merge("its spec", a(), json!({ "spec": { "replicas": 4 } })),
            merge_status("its status", a(), json!({ "status": { "phase": "Healthy" } })),
            merge("a label", a(), label.clone()),
            merge("an annotation", a(), annotation.clone()),
            merge("no change", a(), json!({ "spec": { "replicas": 4 } })),
            merge(
                "a generation, which is not the user's to say",
                a(),
                json!({ "metadata": { "generation": 70 } }),
            ),
            merge("its spec again", a(), json!({ "spec": { "paused": true } })),
            create("an AnalysisRun", ANALYSIS_RUNS, analysis_run("r")),
            merge("its status counts", r(), json!({ "status": { "phase": "Running" } })),
            merge("its spec counts", r(), json!({ "spec": { "terminate": true } })),
            merge("a label", r(), label),
            merge("an annotation", r(), annotation),
        ],
    )
}

fn generations_of_others() -> Case {
    let (s, p, v) = (|| a_set("s"), || at(SERVICES, "p"), || at(VIRTUAL_SERVICES, "v"));
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "p" },
        "spec": { "selector": { "app": "shop" }, "ports": [{ "name": "http", "port": 80 }] },
    });
    let route = json!({
        "metadata": { "name": "v" },
        "spec": { "hosts": ["shop.example"] },
    });
    let annotation = json!({ "metadata": { "annotations": { "x": "1" } } });
    Case::new(
        "generations-of-others",
        vec![
            create(
                "a ReplicaSet",
                REPLICA_SETS,
                replica_set("s", &json!({ "name": "app", "image": "shop:1" })),
            ),
            step("it is observed", Act::Await(s(), is_observed)),
            merge("its spec", s(), json!({ "spec": { "minReadySeconds": 1 } })),
            step("it is observed again", Act::Await(s(), is_observed)),
            merge("an annotation", s(), annotation.clone()),
            merge("a label", s(), json!({ "metadata": { "labels": { "x": "1" } } })),
            create("a Service", SERVICES, service),
            merge("its spec", p(), json!({ "spec": { "selector": { "hash": "1" } } })),
            merge("an annotation", p(), annotation.clone()),
            merge("removal of the annotation", p(), json!({ "metadata": { "annotations": { "x": null } } })),
            create("a VirtualService", VIRTUAL_SERVICES, route),
            merge("its spec", v(), json!({ "spec": { "hosts": ["other.example"] } })),
            merge("an annotation", v(), annotation),
        ],
    )
}
