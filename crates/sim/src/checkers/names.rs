//! Which objects the Rollout names, so that rules hold for any Rollout, whatever its objects are called, and what of its
//! routes is ours.

use crate::world::proxies::selected;
use crate::world::routes::{HTTP_ROUTES, INGRESSES, NGINX, VIRTUAL_SERVICES, annotation};
use crate::world::server::{Server, controller, number, text};
use headgate_api::At;
use headgate_driver::io::{ObjectRef, Resource};
use headgate_driver::resources::SERVICES;
use serde_json::Value;

/// The Services and routes of a Rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    namespace: String,
    uid: String,
    /// `stableService`.
    pub stable: Option<String>,
    /// `canaryService`.
    pub canary: Option<String>,
    /// The weight that means all traffic.
    pub total: i64,
    /// The strategy is the canary.
    is_canary: bool,
    routes: Vec<Route>,
    /// What the spec no longer names and the record calls in use.
    former: Vec<Route>,
    /// What was ever named, and is not now.
    past: Vec<Route>,
}

/// An object with weights of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    target: ObjectRef,
    form: Form,
    /// What its weights sum to.
    total: i64,
    /// The Services between which they are split: stable and canary.
    services: Services,
}

type Services = [Option<String>; 2];

/// Where its weights stand.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// In the http routes of these names; empty: in the only one.
    VirtualService(Vec<String>),
    /// In an annotation.
    CanaryIngress,
    /// In the rules with both Services.
    HttpRoute,
}

impl Names {
    /// What this Rollout's spec names, and what its record remembers.
    pub fn of(rollout: &Value) -> Self {
        let canary = rollout.at("/spec/strategy/canary").unwrap_or(&Value::Null);
        let services = |of: &Value| -> Services {
            ["stableService", "canaryService"].map(|field| of.get(field)?.as_str().map(str::to_owned))
        };
        let [stable, canary_service] = services(canary);
        let routing = canary.get("trafficRouting").unwrap_or(&Value::Null);
        let has_istio = routing.get("istio").is_some();
        let total =
            routing.get("maxTrafficWeight").and_then(Value::as_i64).filter(|_| !has_istio).unwrap_or(100);
        let gateway = routing.pointer("/plugins/argoproj-labs~1gatewayAPI");
        let routers =
            [("istio", routing.get("istio")), ("nginx", routing.get("nginx")), ("gateway-api", gateway)];
        let routes: Vec<Route> = routers
            .into_iter()
            .flat_map(|(router, config)| named(router, config, (total, services(canary)), rollout))
            .collect();
        let in_use = items(rollout.at("/status/headgate/routersInUse"));
        let former = in_use
            .flat_map(|one| {
                let split = (number(one, "/total"), services(one));
                named(text(one, "/router"), one.get("config"), split, rollout)
            })
            .filter(|route| routes.iter().all(|other| other.target != route.target));
        Self {
            namespace: text(rollout, "/metadata/namespace").to_owned(),
            uid: text(rollout, "/metadata/uid").to_owned(),
            stable,
            canary: canary_service,
            total,
            is_canary: canary.is_object(),
            former: former.collect(),
            past: Vec::new(),
            routes,
        }
    }

    /// What a Service leads to; `None` where it selects no version.
    pub fn selects(&self, service: &Option<String>, server: &Server) -> Option<String> {
        let namespace = self.namespace.clone();
        let service = ObjectRef { resource: SERVICES, namespace, name: service.clone()? };
        server.get(&service).and_then(selected)
    }

    /// The Services that the spec names.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.stable.iter().chain(&self.canary).map(String::as_str)
    }

    /// True when the other names are of this Rollout, and not of one of its name that was deleted.
    pub fn is_of_same_rollout(&self, other: &Self) -> bool {
        self.uid == other.uid
    }

    /// True for an object that this Rollout controls.
    pub fn owns(&self, child: &Value) -> bool {
        controller(child, "/kind") == "Rollout" && controller(child, "/uid") == self.uid
    }

    /// True for an object of another Rollout, such as one of this name that is no more.
    pub fn is_of_another(&self, child: &Value) -> bool {
        controller(child, "/kind") == "Rollout" && controller(child, "/uid") != self.uid
    }

    /// Remembers what the same Rollout has named before.
    pub fn remember(&mut self, before: &Self) {
        if !self.is_of_same_rollout(before) {
            return;
        }
        if !self.is_canary {
            // Nothing is done for another strategy: what was named stays as it is.
            *self = Self { is_canary: false, ..before.clone() };
            return;
        }
        for route in before.all() {
            if self.all().all(|known| known.target != route.target) {
                self.past.push(route.clone());
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().chain(&self.former).chain(&self.past)
    }

    /// The objects with weights of ours that the spec names.
    pub fn routes(&self) -> impl Iterator<Item = &ObjectRef> {
        self.routes.iter().map(|route| &route.target)
    }

    /// Those that it no longer names, as far as the record remembers them.
    pub fn former(&self) -> impl Iterator<Item = &ObjectRef> {
        self.former.iter().map(|route| &route.target)
    }

    /// All that it no longer names.
    pub fn left(&self) -> impl Iterator<Item = &ObjectRef> {
        self.former.iter().chain(&self.past).map(|route| &route.target)
    }

    /// True when the record has forgotten a route that still gives the canary a share.
    pub fn forgotten_gives(&self, server: &Server) -> bool {
        let share = |route: &Route| self.canary_shares(&route.target, server.get(&route.target));
        self.past.iter().filter_map(share).any(|(_, most)| most > 0)
    }

    /// True for an object that the spec names.
    pub fn is_named(&self, target: &ObjectRef) -> bool {
        self.routes().any(|route| route == target)
    }

    fn route(&self, target: &ObjectRef) -> Option<&Route> {
        self.all().find(|route| route.target == *target)
    }

    fn form(&self, target: &ObjectRef) -> Option<&Form> {
        self.route(target).map(|route| &route.form)
    }

    /// True for an object that the controller makes.
    pub fn makes(&self, target: &ObjectRef) -> bool {
        self.is_named(target) && self.form(target) == Some(&Form::CanaryIngress)
    }

    /// The smallest and the largest share of the canary in our routes of this object, of the spec's total; `None` when none
    /// is ours, or the user's object is not there.
    pub fn canary_shares(&self, target: &ObjectRef, object: Option<&Value>) -> Option<(i64, i64)> {
        let route = self.route(target)?;
        let shares: Vec<i64> = match (&route.form, object) {
            (Form::CanaryIngress, ingress) => vec![ingress.map_or(0, canary_weight)],
            (Form::VirtualService(names), Some(object)) => {
                routes_of(object, names).map(|http| self.share_of_canary(route, http, "route")).collect()
            }
            (Form::HttpRoute, Some(object)) => self
                .rules_of(route, object)
                .map(|rule| self.share_of_canary(route, rule, "backendRefs"))
                .collect(),
            (Form::VirtualService(_) | Form::HttpRoute, None) => return None,
        };
        let (least, most) = (shares.iter().min()? * self.total, shares.iter().max()? * self.total);
        Some((least / route.total.max(1), (most + route.total - 1) / route.total.max(1)))
    }

    /// What the canary gets in a part of a route, of its total: weights that somebody else has written may sum to another number.
    fn share_of_canary(&self, of: &Route, part: &Value, field: &str) -> i64 {
        let [stable, canary] = self.weights_in(of, part, field);
        (2 * canary * of.total + stable + canary) / (2 * (stable + canary)).max(1)
    }

    /// What the weights of this object sum to.
    pub fn total_of(&self, target: &ObjectRef) -> i64 {
        self.route(target).map_or(self.total, |route| route.total)
    }

    /// The sum of the weights of each of our routes of this object.
    pub fn sums(&self, target: &ObjectRef, object: &Value) -> Vec<i64> {
        let Some(of) = self.route(target) else { return Vec::new() };
        let ours = |part: &Value, field: &str| self.weights_in(of, part, field).into_iter().sum();
        match &of.form {
            Form::VirtualService(names) => {
                routes_of(object, names).map(|route| ours(route, "route")).collect()
            }
            Form::HttpRoute => self.rules_of(of, object).map(|rule| ours(rule, "backendRefs")).collect(),
            // The stable Ingress gets the rest.
            Form::CanaryIngress => Vec::new(),
        }
    }

    /// Takes what is ours out of an object.
    pub fn leave_out_ours(&self, target: &ObjectRef, object: &mut Value) {
        let Some(of) = self.route(target) else { return };
        match &of.form {
            Form::VirtualService(names) => {
                let routes = items_mut(object.pointer_mut("/spec/http"));
                for route in routes.filter(|route| is_meant(route, names)) {
                    self.leave_out_weights(of, route, "route");
                }
            }
            Form::HttpRoute => {
                for rule in items_mut(object.pointer_mut("/spec/rules")) {
                    if self.has_both(of, rule) {
                        self.leave_out_weights(of, rule, "backendRefs");
                    }
                }
            }
            Form::CanaryIngress => {
                if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                    spec.retain(|field, _| !["rules", "tls", "ingressClassName"].contains(&field.as_str()));
                }
                let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
                if let Some(annotations) = annotations {
                    annotations.retain(|key, _| !key.starts_with(NGINX));
                }
            }
        }
    }

    fn leave_out_weights(&self, of: &Route, part: &mut Value, field: &str) {
        for destination in items_mut(part.get_mut(field)) {
            let is_ours = of.services.iter().any(|service| self.leads_to(destination, service.as_deref()));
            if let (true, Some(fields)) = (is_ours, destination.as_object_mut()) {
                fields.remove("weight");
            }
        }
    }

    /// The weights of stable and of the canary in a route or a rule.
    fn weights_in(&self, of: &Route, part: &Value, field: &str) -> [i64; 2] {
        of.services.each_ref().map(|service| {
            let destinations = items(part.get(field)).filter(|one| self.leads_to(one, service.as_deref()));
            destinations.map(|one| number(one, "/weight")).sum()
        })
    }

    fn rules_of<'a>(&'a self, of: &'a Route, object: &'a Value) -> impl Iterator<Item = &'a Value> {
        items(object.at("/spec/rules")).filter(|rule| self.has_both(of, rule))
    }

    fn has_both(&self, of: &Route, rule: &Value) -> bool {
        of.services.iter().all(|service| {
            items(rule.get("backendRefs")).any(|backend| self.leads_to(backend, service.as_deref()))
        })
    }

    /// A backend has a name; hosts are `name`, `name.namespace` or longer.
    fn leads_to(&self, destination: &Value, service: Option<&str>) -> bool {
        if destination.get("name").is_some() {
            return destination.get("name").and_then(Value::as_str) == service;
        }
        let mut parts = text(destination, "/destination/host").split('.');
        parts.next() == service && parts.next().is_none_or(|namespace| namespace == self.namespace)
    }
}

/// What a router names in a field or in a list.
fn listed<'a>(router: Option<&'a Value>, one: &str, many: &str) -> impl Iterator<Item = &'a Value> {
    let one = router.and_then(|router| router.get(one)).filter(|one| !one.is_null());
    one.into_iter().chain(items(router.and_then(|router| router.get(many))))
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

fn items_mut(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(Value::as_array_mut).into_iter().flatten()
}

/// The http routes of these names.
fn routes_of<'a>(virtual_service: &'a Value, names: &'a [String]) -> impl Iterator<Item = &'a Value> {
    items(virtual_service.at("/spec/http")).filter(|route| is_meant(route, names))
}

fn is_meant(route: &Value, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| name == text(route, "/name"))
}

/// The share that a canary Ingress takes: nothing unless it is one.
fn canary_weight(ingress: &Value) -> i64 {
    let weight = annotation(ingress, "canary-weight").and_then(|text| text.parse().ok());
    weight.filter(|_| annotation(ingress, "canary") == Some("true")).unwrap_or(0)
}

/// The objects that the configuration of a router names.
fn named(
    router: &str,
    config: Option<&Value>,
    (total, services): (i64, Services),
    rollout: &Value,
) -> Vec<Route> {
    let namespace = text(rollout, "/metadata/namespace");
    let at = |resource: Resource, namespace: &str, name: &str| ObjectRef {
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let one = |(target, form): (ObjectRef, Form)| Route { target, form, total, services: services.clone() };
    match router {
        "istio" => {
            let named = listed(config, "virtualService", "virtualServices");
            named.map(|named| one(virtual_service(named, namespace))).collect()
        }
        "nginx" => listed(config, "stableIngress", "stableIngresses")
            .map(|stable| {
                let stable = stable.as_str().unwrap_or_default();
                let name = format!("{}-{stable}-canary", text(rollout, "/metadata/name"));
                one((at(INGRESSES, namespace, &name), Form::CanaryIngress))
            })
            .collect(),
        _ => {
            let elsewhere = config.map(|config| text(config, "/namespace")).filter(|name| !name.is_empty());
            listed(config, "httpRoute", "httpRoutes")
                .map(|named| {
                    let name = named.as_str().unwrap_or_else(|| text(named, "/name"));
                    one((at(HTTP_ROUTES, elsewhere.unwrap_or(namespace), name), Form::HttpRoute))
                })
                .collect()
        }
    }
}

/// `name.namespace` names a VirtualService elsewhere.
fn virtual_service(named: &Value, namespace: &str) -> (ObjectRef, Form) {
    let name = text(named, "/name");
    let (name, namespace) = name.split_once('.').unwrap_or((name, namespace));
    let names = items(named.get("routes"));
    let target =
        ObjectRef { resource: VIRTUAL_SERVICES, namespace: namespace.to_owned(), name: name.to_owned() };
    (target, Form::VirtualService(names.filter_map(Value::as_str).map(str::to_owned).collect()))
}
