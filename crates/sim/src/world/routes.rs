//! What the objects of routers tell proxies: which Services get which share of the requests.

use super::server::{Change, number, text};
use crate::kinds::Router;
use headgate_api::At;
use headgate_driver::io::Resource;
use serde_json::Value;
use std::collections::BTreeMap;

/// Istio's VirtualServices as the driver watches them.
pub const VIRTUAL_SERVICES: Resource = Resource {
    group: "networking.istio.io",
    version: "v1beta1",
    kind: "VirtualService",
    plural: "virtualservices",
    namespaced: true,
};

/// Ingresses as the driver watches them.
pub const INGRESSES: Resource = Resource {
    group: "networking.k8s.io",
    version: "v1",
    kind: "Ingress",
    plural: "ingresses",
    namespaced: true,
};

/// The Gateway API's HTTPRoutes as the driver watches them.
pub const HTTP_ROUTES: Resource = Resource {
    group: "gateway.networking.k8s.io",
    version: "v1",
    kind: "HTTPRoute",
    plural: "httproutes",
    namespaced: true,
};

/// Annotations that ingress-nginx listens to begin with this.
pub const NGINX: &str = "nginx.ingress.kubernetes.io";

/// The kinds of the routes of a router. Without one a VirtualService leads to all pods.
pub fn kinds(router: Router) -> &'static [Resource] {
    match router {
        Router::None | Router::Istio => &[VIRTUAL_SERVICES],
        Router::Nginx => &[INGRESSES],
        Router::GatewayApi => &[HTTP_ROUTES],
        Router::IstioAndNginx => &[VIRTUAL_SERVICES, INGRESSES],
        Router::NginxAndGatewayApi => &[INGRESSES, HTTP_ROUTES],
    }
}

/// True for the kinds of routes.
pub fn is_route(resource: Resource) -> bool {
    [VIRTUAL_SERVICES, INGRESSES, HTTP_ROUTES].contains(&resource)
}

/// Weights by Service.
pub type Weights = BTreeMap<String, i64>;

/// What a canary Ingress takes from the Ingress for the same paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    service: String,
    weight: i64,
    total: i64,
}

impl Canary {
    /// The weights when this canary takes its share of all others.
    pub fn over(&self, whole: &Weights) -> Weights {
        let mut weights: Weights = whole
            .iter()
            .map(|(service, weight)| (service.clone(), weight * (self.total - self.weight)))
            .collect();
        let all: i64 = whole.values().sum();
        *weights.entry(self.service.clone()).or_default() += all * self.weight;
        weights
    }
}

/// What a change says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Where all requests go.
    Whole(Weights),
    /// What a canary Ingress takes of them; `None`: there is none any more, or it is not one.
    Canary(Option<Canary>),
}

/// What a change of an object of this name says about requests. Where a route is deleted, proxies go on as before.
pub fn said(change: &Change) -> Option<Said> {
    match change {
        Change::Applied(VIRTUAL_SERVICES, route) => Some(Said::Whole(virtual_service(route))),
        Change::Applied(HTTP_ROUTES, route) => Some(Said::Whole(http_route(route))),
        Change::Applied(INGRESSES, ingress) => Some(match canary(ingress) {
            // The older of two ordinary Ingresses for the same paths serves them, and that is the user's.
            None if is_made(ingress) => Said::Canary(None),
            None => Said::Whole(whole(ingress)),
            canary => Said::Canary(canary),
        }),
        Change::Deleted(INGRESSES, ingress) if is_made(ingress) || canary(ingress).is_some() => {
            Some(Said::Canary(None))
        }
        Change::Applied(..) | Change::Deleted(..) => None,
    }
}

/// True for an Ingress that belongs to a Rollout.
fn is_made(ingress: &Value) -> bool {
    text(ingress, "/metadata/ownerReferences/0/kind") == "Rollout"
}

/// An annotation of ingress-nginx.
pub fn annotation<'a>(ingress: &'a Value, key: &str) -> Option<&'a str> {
    ingress.at("/metadata/annotations")?.get(format!("{NGINX}/{key}"))?.as_str()
}

/// As ingress-nginx reads it: only with `canary: "true"`, a weight that is none counts as 0, the total is 100.
fn canary(ingress: &Value) -> Option<Canary> {
    if annotation(ingress, "canary") != Some("true") {
        return None;
    }
    let number = |key: &str| annotation(ingress, key).and_then(|text| text.parse::<i64>().ok());
    let total = number("canary-weight-total").filter(|total| *total > 0).unwrap_or(100);
    let weight = number("canary-weight").unwrap_or(0).clamp(0, total);
    Some(Canary { service: backend(ingress), weight, total })
}

fn whole(ingress: &Value) -> Weights {
    Weights::from([(backend(ingress), 100)])
}

/// The Service of the first path.
fn backend(ingress: &Value) -> String {
    text(ingress, "/spec/rules/0/http/paths/0/backend/service/name").to_owned()
}

/// The weights of an HTTPRoute: those of the first of its rules that has several backends, else of its first one.
fn http_route(route: &Value) -> Weights {
    let rules = || route.at("/spec/rules").and_then(Value::as_array).into_iter().flatten();
    let splits =
        |rule: &&Value| rule.get("backendRefs").and_then(Value::as_array).is_some_and(|to| to.len() > 1);
    let chosen = rules().find(splits).or_else(|| rules().next());
    let backends = chosen.and_then(|rule| rule.get("backendRefs")?.as_array()).into_iter().flatten();
    let weight = |backend: &Value| backend.get("weight").and_then(Value::as_i64).unwrap_or(1);
    backends.map(|backend| (text(backend, "/name").to_owned(), weight(backend))).collect()
}

/// The weights of a VirtualService, by Service: those of the first of its routes that has several destinations, else
/// of its route `primary`, else of its first one.
fn virtual_service(route: &Value) -> Weights {
    let routes = || route.at("/spec/http").and_then(Value::as_array).into_iter().flatten();
    let splits = |route: &&Value| route.get("route").and_then(Value::as_array).is_some_and(|to| to.len() > 1);
    let primary = || routes().find(|route| text(route, "/name") == "primary");
    let chosen = routes().find(splits).or_else(primary).or_else(|| routes().next());
    let destinations = chosen.and_then(|route| route.get("route")?.as_array()).into_iter().flatten();
    let whole = |destination: &Value| destination.get("weight").is_none().then_some(100);
    let weight = |destination: &Value| {
        // `shop`, `shop.store` and `shop.store.svc.cluster.local` are one Service.
        let service = text(destination, "/destination/host").split('.').next().unwrap_or_default();
        let weight = whole(destination).unwrap_or_else(|| number(destination, "/weight"));
        (service.to_owned(), weight)
    };
    destinations.map(weight).collect()
}
