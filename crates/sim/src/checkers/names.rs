//! Which objects the Rollout names, so that rules hold for any Rollout, whatever its objects are called.

use crate::world::proxies::VIRTUAL_SERVICES;
use crate::world::server::{number, text};
use headgate_driver::io::ObjectRef;
use serde_json::Value;

/// The Services and routes of a Rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    namespace: String,
    /// `stableService`.
    pub stable: Option<String>,
    /// `canaryService`.
    pub canary: Option<String>,
    routes: Vec<Route>,
}

/// A VirtualService.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    target: ObjectRef,
    /// Names of its http routes that are ours; empty: the only one.
    names: Vec<String>,
}

impl Names {
    /// What this Rollout's spec names.
    pub fn of(rollout: &Value) -> Self {
        let namespace = text(rollout, "/metadata/namespace");
        let canary = rollout.pointer("/spec/strategy/canary").unwrap_or(&Value::Null);
        let service = |field: &str| canary.get(field)?.as_str().map(str::to_owned);
        let istio = canary.pointer("/trafficRouting/istio").unwrap_or(&Value::Null);
        let one = istio.get("virtualService");
        let many = istio.get("virtualServices").and_then(Value::as_array).into_iter().flatten();
        Self {
            namespace: namespace.to_owned(),
            stable: service("stableService"),
            canary: service("canaryService"),
            routes: one.into_iter().chain(many).map(|named| route(named, namespace)).collect(),
        }
    }

    /// The VirtualServices.
    pub fn routes(&self) -> impl Iterator<Item = &ObjectRef> {
        self.routes.iter().map(|route| &route.target)
    }

    /// The smallest and the largest share of the canary in our http routes of this object, of a hundred; `None` when
    /// none is ours.
    pub fn canary_shares(&self, target: &ObjectRef, object: &Value) -> Option<(i64, i64)> {
        let share = |http: &Value| -> i64 {
            let destinations = http.get("route").and_then(Value::as_array).into_iter().flatten();
            let canary = destinations.filter(|one| self.leads_to(one, self.canary.as_deref()));
            canary.map(|one| number(one, "/weight")).sum()
        };
        let http = object.pointer("/spec/http").and_then(Value::as_array).into_iter().flatten();
        let shares: Vec<i64> = http.filter(|http| self.is_our_route(target, http)).map(share).collect();
        Some((shares.iter().copied().min()?, shares.iter().copied().max()?))
    }

    /// True for an http route of this object whose weights are ours.
    pub fn is_our_route(&self, target: &ObjectRef, http: &Value) -> bool {
        let named = self.routes.iter().find(|route| route.target == *target);
        let is_meant = |route: &Route| {
            route.names.is_empty() || route.names.iter().any(|name| name == text(http, "/name"))
        };
        named.is_some_and(is_meant)
    }

    /// True for a destination whose weight is ours.
    pub fn is_our_destination(&self, destination: &Value) -> bool {
        [&self.stable, &self.canary].into_iter().any(|service| self.leads_to(destination, service.as_deref()))
    }

    /// Hosts are `name`, `name.namespace` or longer.
    fn leads_to(&self, destination: &Value, service: Option<&str>) -> bool {
        let mut parts = text(destination, "/destination/host").split('.');
        parts.next() == service && parts.next().is_none_or(|namespace| namespace == self.namespace)
    }
}

/// `name.namespace` names a VirtualService elsewhere.
fn route(named: &Value, namespace: &str) -> Route {
    let name = text(named, "/name");
    let (name, namespace) = name.split_once('.').unwrap_or((name, namespace));
    let names = named.get("routes").and_then(Value::as_array).into_iter().flatten();
    Route {
        target: ObjectRef {
            resource: VIRTUAL_SERVICES,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        names: names.filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}
