//! The doors with routes written by hand: what Headgate is to move, without Headgate.

use crate::door::Door;
use serde_json::{Value, json};

/// One of the two versions behind a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// What everybody gets at weight 0.
    Stable,
    /// What the weight is about.
    Canary,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stable, Self::Canary];

    /// What the header `x-version` says, and the label `rollouts-pod-template-hash`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
        }
    }

    /// Its Service, at port 80.
    pub fn service(self) -> String {
        format!("shop-{}", self.name())
    }
}

impl Door {
    /// The routes for `host` to the two Services, with `weight` per cent for the canary's.
    pub fn routes(self, host: &str, weight: u8) -> Vec<Value> {
        match self {
            Self::Istio => virtual_service(host, weight),
            Self::Nginx => {
                vec![ingress("shop", host, Version::Stable, &json!({})), canary_ingress(host, weight)]
            }
            Self::Gateway => vec![http_route(host, weight)],
        }
    }

    /// The program's own count of a version's answers 200, as a query.
    pub fn answers(self, namespace: &str, version: Version) -> String {
        let labels = self.labels(namespace, version);
        match self {
            Self::Istio => format!(r#"sum(envoy_cluster_upstream_rq{{{labels},envoy_response_code="200"}})"#),
            Self::Nginx | Self::Gateway => {
                format!(r#"sum(traefik_service_requests_total{{{labels},code="200"}})"#)
            }
        }
    }

    /// How many of a version's answers are in the program's own histogram of latencies, as a query.
    pub fn timed(self, namespace: &str, version: Version) -> String {
        let labels = self.labels(namespace, version);
        match self {
            Self::Istio => format!("sum(envoy_cluster_upstream_rq_time_count{{{labels}}})"),
            Self::Nginx | Self::Gateway => {
                format!("sum(traefik_service_request_duration_seconds_count{{{labels}}})")
            }
        }
    }

    /// The labels by which the program's series tell the versions apart (docs/routers/metrics.md).
    pub fn labels(self, namespace: &str, version: Version) -> String {
        let service = version.service();
        match self {
            Self::Istio => {
                format!(r#"envoy_cluster_name="outbound|80||{service}.{namespace}.svc.cluster.local""#)
            }
            // Both are named after the Ingress that is no canary, and its Service.
            Self::Nginx => {
                let end = match version {
                    Version::Stable => "",
                    Version::Canary => "-canary",
                };
                format!(r#"service="{namespace}-shop-shop-stable-80{end}@kubernetesingressnginx""#)
            }
            Self::Gateway => {
                format!(
                    r#"service=~"httproute-{namespace}-shop-.+-svc-{namespace}-{service}-[0-9]+@kubernetesgateway""#
                )
            }
        }
    }
}

/// A Deployment of one pod and a Service for each version, told apart by the label of the pod template hash.
pub fn versions() -> Vec<Value> {
    Version::ALL.into_iter().flat_map(|version| [deployment(version), service(version)]).collect()
}

fn labels(version: Version) -> Value {
    json!({ "app": "shop", "rollouts-pod-template-hash": version.name() })
}

fn deployment(version: Version) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": version.service() },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": labels(version) },
            "template": {
                "metadata": {
                    "labels": labels(version),
                    "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": "8080" },
                },
                "spec": { "containers": [{
                    "name": "app", "image": "headgate/app:0.1.0",
                    "env": [{ "name": "VERSION", "value": version.name() }],
                    "ports": [{ "name": "http", "containerPort": 8080 }],
                    "readinessProbe": { "httpGet": { "path": "/readyz", "port": "http" }, "periodSeconds": 1 },
                }] },
            },
        },
    })
}

fn service(version: Version) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": version.service() },
        "spec": {
            "selector": labels(version),
            "ports": [{ "name": "http", "port": 80, "targetPort": "http" }],
        },
    })
}

fn virtual_service(host: &str, weight: u8) -> Vec<Value> {
    let networking = "networking.istio.io/v1";
    let destination = |version: Version, weight: u8| json!({ "destination": { "host": version.service() }, "weight": weight });
    vec![
        json!({
            "apiVersion": networking, "kind": "Gateway", "metadata": { "name": "shop" },
            "spec": {
                "selector": { "istio": "ingressgateway" },
                "servers": [{ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": [host] }],
            },
        }),
        json!({
            "apiVersion": networking, "kind": "VirtualService", "metadata": { "name": "shop" },
            "spec": {
                "hosts": [host], "gateways": ["shop"],
                "http": [{ "route": [
                    destination(Version::Stable, 100 - weight), destination(Version::Canary, weight),
                ] }],
            },
        }),
    ]
}

fn canary_ingress(host: &str, weight: u8) -> Value {
    let annotations = json!({
        "nginx.ingress.kubernetes.io/canary": "true",
        "nginx.ingress.kubernetes.io/canary-weight": weight.to_string(),
    });
    ingress("shop-canary", host, Version::Canary, &annotations)
}

fn ingress(name: &str, host: &str, version: Version, annotations: &Value) -> Value {
    let backend = json!({ "service": { "name": version.service(), "port": { "number": 80 } } });
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": name, "annotations": annotations },
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{ "host": host, "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }],
        },
    })
}

fn http_route(host: &str, weight: u8) -> Value {
    let backend =
        |version: Version, weight: u8| json!({ "name": version.service(), "port": 80, "weight": weight });
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "shop" },
        "spec": {
            "parentRefs": [{ "name": "traefik", "namespace": "traefik" }],
            "hostnames": [host],
            "rules": [{ "backendRefs": [
                backend(Version::Stable, 100 - weight), backend(Version::Canary, weight),
            ] }],
        },
    })
}
