//! The manifests of a seed's world, and what others make of its routes.

use super::{NAMESPACE, ROLLOUT, at};
use crate::kinds::Router;
use crate::world::routes::{HTTP_ROUTES, INGRESSES, NGINX, VIRTUAL_SERVICES};
use crate::world::server::Server;
use headgate_driver::io::{ObjectRef, Resource};
use headgate_driver::resources::{
    ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES, DEPLOYMENTS, POD_TEMPLATES, SERVICES,
};
use serde_json::{Map, Value, json};

/// Everything but the Rollout, with a route at each of these doors.
pub(super) fn surroundings(router: Router, doors: &[Resource]) -> Vec<(ObjectRef, Value)> {
    let mut objects = vec![
        (at(ANALYSIS_TEMPLATES, "success"), template("success", &json!(3))),
        (at(ANALYSIS_TEMPLATES, "watch"), template("watch", &Value::Null)),
        (at(SERVICES, "shop-stable"), service("shop-stable")),
        (at(SERVICES, "shop-canary"), service("shop-canary")),
    ];
    if router == Router::None {
        objects.push((at(SERVICES, "shop-all"), service("shop-all")));
        objects.push((at(VIRTUAL_SERVICES, ROLLOUT), route_to_all()));
    } else {
        objects.extend(doors.iter().map(|door| (at(*door, ROLLOUT), route(*door))));
    }
    objects
}

/// The object of this kind that a Rollout takes its template from from now on. Only a Deployment is ever scaled.
pub(super) fn workload(
    rollout: &mut Value,
    kind: Resource,
    scale_down: &str,
    replicas: i64,
) -> Option<(ObjectRef, Value)> {
    let spec = rollout.get_mut("spec")?.as_object_mut()?;
    let (template, selector) = (spec.remove("template")?, spec.remove("selector")?);
    let metadata = json!({ "name": ROLLOUT, "namespace": NAMESPACE, "labels": { "team": "shop" } });
    let (reference, object) = match kind {
        POD_TEMPLATES => {
            // It has no selector to take.
            spec.insert("selector".to_owned(), selector);
            let reference = json!({ "apiVersion": "v1", "kind": "PodTemplate", "name": ROLLOUT });
            (reference, json!({ "metadata": metadata, "template": template }))
        }
        _ => {
            let name = if kind == DEPLOYMENTS { "Deployment" } else { "ReplicaSet" };
            let reference =
                json!({ "apiVersion": "apps/v1", "kind": name, "name": ROLLOUT, "scaleDown": scale_down });
            let spec = json!({ "replicas": replicas, "selector": selector, "template": template });
            (reference, json!({ "metadata": metadata, "spec": spec }))
        }
    };
    spec.insert("workloadRef".to_owned(), reference);
    Some((at(kind, ROLLOUT), object))
}

/// The templates are those of the cluster.
pub(super) fn make_clusterwide(surroundings: &mut [(ObjectRef, Value)]) {
    let templates = surroundings.iter_mut().filter(|(target, _)| target.resource == ANALYSIS_TEMPLATES);
    for (target, template) in templates {
        (target.resource, target.namespace) = (CLUSTER_ANALYSIS_TEMPLATES, String::new());
        if let Some(Value::Object(metadata)) = template.get_mut("metadata") {
            metadata.remove("namespace");
        }
    }
}

/// Measurements between the two conditions of a metric say nothing.
pub(super) fn leave_a_middle(surroundings: &mut [(ObjectRef, Value)]) {
    for (_, object) in surroundings.iter_mut() {
        let metrics = object.pointer_mut("/spec/metrics").and_then(Value::as_array_mut).into_iter().flatten();
        for metric in metrics {
            let failure = match metric.get("successCondition").and_then(Value::as_str) {
                Some(LEAST) => "result[0] < 0.5",
                Some(MOST) => "result[0] > 3",
                _ => continue,
            };
            if let Some(fields) = metric.as_object_mut() {
                fields.insert("failureCondition".to_owned(), json!(failure));
            }
        }
    }
}

/// What the metrics of the templates are to be.
const LEAST: &str = "result[0] >= 0.95";
const MOST: &str = "result[0] <= 1.5";

/// The canary Ingress that a controller makes.
pub(crate) const CANARY_INGRESS: &str = "shop-shop-canary";

fn route(door: Resource) -> Value {
    match door {
        INGRESSES => ingress(),
        HTTP_ROUTES => http_route(),
        _ => virtual_service(),
    }
}

/// The merge patch that leads a route to the stable and the canary Service, and the route.
pub(crate) fn route_to_both() -> (ObjectRef, Value) {
    let http = virtual_service().pointer("/spec/http").cloned().unwrap_or_default();
    (at(VIRTUAL_SERVICES, ROLLOUT), json!({ "spec": { "http": http } }))
}

fn route_to_all() -> Value {
    let mut route = virtual_service();
    let all =
        json!([{ "name": "primary", "route": [{ "destination": { "host": "shop-all" }, "weight": 100 }] }]);
    if let Some(http) = route.pointer_mut("/spec/http") {
        *http = all;
    }
    route
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

fn ingress() -> Value {
    json!({
        "metadata": { "name": ROLLOUT, "namespace": NAMESPACE,
            "annotations": { "note": "by the edge's team", "nginx.ingress.kubernetes.io/proxy-body-size": "8m" } },
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{ "hosts": ["shop.example"], "secretName": "shop" }],
            "rules": [rule("shop.example", "shop-stable"), rule("probe.example", "probe")],
        },
    })
}

fn rule(host: &str, service: &str) -> Value {
    let backend = json!({ "service": { "name": service, "port": { "number": 80 } } });
    json!({ "host": host, "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } })
}

fn http_route() -> Value {
    json!({
        "metadata": { "name": ROLLOUT, "namespace": NAMESPACE, "annotations": { "note": "by the edge's team" } },
        "spec": {
            "parentRefs": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public" }],
            "hostnames": ["shop.example"],
            "rules": [
                { "matches": [{ "path": { "type": "Exact", "value": "/healthz" } }],
                  "backendRefs": [{ "group": "", "kind": "Service", "name": "probe", "port": 80, "weight": 1 }] },
                { "timeouts": { "request": "5s" }, "backendRefs": [
                    { "group": "", "kind": "Service", "name": "shop-stable", "port": 80, "weight": 100 },
                    { "group": "", "kind": "Service", "name": "shop-canary", "port": 80, "weight": 0,
                      "filters": [{ "type": "ResponseHeaderModifier",
                        "responseHeaderModifier": { "set": [{ "name": "x-version", "value": "canary" }] } }] },
                ]},
            ],
        },
    })
}

/// The router of the spec, with weights that sum to this.
pub(crate) fn traffic_routing(router: Router, total: i64) -> Value {
    if router == Router::None {
        return Value::Null;
    }
    let mut routing = Map::new();
    for part in router.parts() {
        let (field, config) = match part {
            Router::Nginx => ("nginx", json!({ "stableIngress": ROLLOUT })),
            Router::GatewayApi => {
                ("plugins", json!({ "argoproj-labs/gatewayAPI": { "httpRoute": ROLLOUT } }))
            }
            _ => ("istio", json!({ "virtualService": { "name": ROLLOUT, "routes": ["primary"] } })),
        };
        routing.insert(field.to_owned(), config);
    }
    if total != 100 {
        routing.insert("maxTrafficWeight".to_owned(), json!(total));
    }
    Value::Object(routing)
}

/// Somebody's merge patch that gives so much to the canary, and the object that it is for.
pub(crate) fn other_weights(door: Resource, canary: i64, server: &Server) -> (ObjectRef, Value) {
    let route = at(door, ROLLOUT);
    let mut spec = server.get(&route).and_then(|route| route.get("spec")).cloned().unwrap_or_default();
    let (stable_at, canary_at) = match door {
        INGRESSES => {
            let annotations = json!({ format!("{NGINX}/canary-weight"): canary.to_string() });
            return (at(INGRESSES, CANARY_INGRESS), json!({ "metadata": { "annotations": annotations } }));
        }
        HTTP_ROUTES => ("/rules/1/backendRefs/0/weight", "/rules/1/backendRefs/1/weight"),
        _ => ("/http/1/route/0/weight", "/http/1/route/1/weight"),
    };
    for (pointer, weight) in [(stable_at, 100 - canary), (canary_at, canary)] {
        if let Some(place) = spec.pointer_mut(pointer) {
            *place = json!(weight);
        }
    }
    (route, json!({ "spec": spec }))
}

/// Somebody's merge patch that adds to a route what is not ours, and the object that it is for.
pub(crate) fn other_route(door: Resource, server: &Server) -> (ObjectRef, Value) {
    let route = at(door, ROLLOUT);
    let field = if door == VIRTUAL_SERVICES { "http" } else { "rules" };
    let spec = server.get(&route).and_then(|route| route.get("spec"));
    let mut all = spec.and_then(|spec| spec.get(field)).cloned().unwrap_or_default();
    if let Some(all) = all.as_array_mut() {
        let name = format!("extra-{}", all.len());
        all.push(match door {
            // Another host of the same Service: the canary Ingress follows.
            INGRESSES => rule(&format!("{name}.example"), "shop-stable"),
            HTTP_ROUTES => json!({ "backendRefs": [{ "name": "extra", "port": 80, "weight": 1 }] }),
            _ => json!({ "name": name, "route": [{ "destination": { "host": "extra" } }] }),
        });
    }
    (route, json!({ "metadata": { "annotations": { "extra": "yes" } }, "spec": { field: all } }))
}

fn template(name: &str, count: &Value) -> Value {
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
    let metrics = [metric("success-rate", "success", LEAST), metric("latency-p95", "latency", MOST)];
    json!({
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "args": [{ "name": "hash" }], "metrics": metrics },
    })
}
