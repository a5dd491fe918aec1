//! The manifests of a seed's world.

use super::{NAMESPACE, ROLLOUT, at};
use crate::kinds::Router;
use crate::world::proxies::VIRTUAL_SERVICES;
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::{ANALYSIS_TEMPLATES, SERVICES};
use serde_json::{Value, json};

pub(super) fn surroundings(router: Router) -> Vec<(ObjectRef, Value)> {
    let mut objects = vec![
        (at(ANALYSIS_TEMPLATES, "success"), template("success", json!(3))),
        (at(ANALYSIS_TEMPLATES, "watch"), template("watch", Value::Null)),
        (at(SERVICES, "shop-stable"), service("shop-stable")),
        (at(SERVICES, "shop-canary"), service("shop-canary")),
    ];
    if router == Router::Istio {
        objects.push((at(VIRTUAL_SERVICES, ROLLOUT), virtual_service()));
    } else {
        let mut route = virtual_service();
        let all = json!([{ "name": "primary", "route": [{ "destination": { "host": "shop-all" }, "weight": 100 }] }]);
        if let Some(http) = route.pointer_mut("/spec/http") {
            *http = all;
        }
        objects.push((at(VIRTUAL_SERVICES, ROLLOUT), route));
        objects.push((at(SERVICES, "shop-all"), service("shop-all")));
    }
    objects
}

fn service(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "team": "shop" } },
        "spec": { "selector": { "app": "shop" }, "ports": [{ "port": 80, "name": "http" }] },
    })
}

fn virtual_service() -> Value {
    json!({
        "metadata": { "name": ROLLOUT, "namespace": NAMESPACE, "annotations": { "note": "by the mesh's team" } },
        "spec": {
            "hosts": ["shop.example"],
            "http": [
                { "name": "health", "match": [{ "uri": { "exact": "/healthz" } }],
                  "route": [{ "destination": { "host": "probe" } }] },
                { "name": "primary", "timeout": "5s", "route": [
                    { "destination": { "host": "shop-stable", "port": { "number": 80 } }, "weight": 100,
                      "headers": { "response": { "set": { "x-version": "stable" } } } },
                    { "destination": { "host": "shop-canary" }, "weight": 0 },
                ]},
            ],
        },
    })
}

/// The router of the spec.
pub(crate) fn traffic_routing() -> Value {
    json!({ "istio": { "virtualService": { "name": ROLLOUT, "routes": ["primary"] } } })
}

fn template(name: &str, count: Value) -> Value {
    let metric = |name: &str, query: &str, condition: &str| {
        let mut metric = json!({
            "name": name, "interval": if count.is_null() { "20s" } else { "10s" }, "failureLimit": 1, "consecutiveErrorLimit": 4,
            "successCondition": condition,
            "provider": { "prometheus": {
                "address": "http://prometheus:9090", "query": format!("{query}{{hash=\"{{{{args.hash}}}}\"}}"),
            }},
        });
        if let (Some(fields), false) = (metric.as_object_mut(), count.is_null()) {
            fields.insert("count".to_owned(), count.clone());
        }
        metric
    };
    let metrics = [
        metric("success-rate", "success", "result[0] >= 0.95"),
        metric("latency-p95", "latency", "result[0] <= 1.5"),
    ];
    json!({
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "args": [{ "name": "hash" }], "metrics": metrics },
    })
}
