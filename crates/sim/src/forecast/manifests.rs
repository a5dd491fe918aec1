//! What users have in their files: one Rollout, and what belongs to it.

use super::{GivenMetric, Options, Problem};
use crate::world::given::names;
use crate::world::routes::{HTTP_ROUTES, INGRESSES, VIRTUAL_SERVICES};
use crate::world::server::{is_of, reference, text};
use headgate_api::At;
use headgate_driver::io::{ObjectRef, Resource};
use headgate_driver::resources::{ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES, ROLLOUTS, SERVICES};
use headgate_model::{WorkloadKind, WorkloadRef};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The Service and the route by which clients reach a Rollout without a router: all of its pods alike.
const EVERYBODY: &str = "headgate-forecast-all";

/// The objects of a forecast.
#[derive(Clone, Debug)]
pub(super) struct Manifests {
    pub(super) rollout: Value,
    pub(super) surroundings: Vec<(ObjectRef, Value)>,
    pub(super) notes: Vec<String>,
}

impl Manifests {
    /// Keeps what the Rollout names, and makes up what is missing where that is allowed.
    pub(super) fn read(objects: Vec<Value>, options: &Options) -> Result<Self, Problem> {
        let objects = objects.into_iter().map(|object| in_namespace(object, &options.namespace));
        let (mut rollouts, mut others): (Vec<_>, Vec<_>) =
            objects.partition(|object| is_of(object, ROLLOUTS));
        let names: Vec<String> = rollouts.iter().map(|one| text(one, "/metadata/name").to_owned()).collect();
        let rollout = match (rollouts.pop(), names.len()) {
            (Some(rollout), 1) => rollout,
            (None, _) => return Err(Problem::NoRollout),
            (Some(_), _) => return Err(Problem::SeveralRollouts(names)),
        };
        let mut manifests = Self { rollout, surroundings: Vec::new(), notes: Vec::new() };
        manifests.take_template(&mut others);
        manifests.keep_named(others);
        if !options.strict {
            manifests.make_up();
        }
        if !manifests.is_routed() {
            manifests.let_everybody_in();
        }
        Ok(manifests)
    }

    /// A Rollout whose pod template is another object's is tried as if it were its own: the release is the same.
    fn take_template(&mut self, objects: &mut Vec<Value>) {
        let spec = self.rollout.get("spec").unwrap_or(&Value::Null);
        let Ok(Some(workload)) = WorkloadRef::read(spec) else { return };
        let namespace = text(&self.rollout, "/metadata/namespace");
        let wanted = [workload.kind.as_str(), workload.name.as_str(), namespace];
        let is_it = |object: &Value| {
            ["/kind", "/metadata/name", "/metadata/namespace"].map(|place| text(object, place)) == wanted
        };
        let Some(place) = objects.iter().position(is_it) else { return };
        let object = objects.remove(place);
        let size = size_to_take_over(spec, &workload, &object);
        let mut spec = workload.fill_in(spec, &object);
        if let (Value::Object(fields), Value::Object(rollout)) = (&mut spec, &mut self.rollout) {
            fields.remove("workloadRef");
            fields.extend(size.map(|size| ("replicas".to_owned(), json!(size))));
            rollout.insert("spec".to_owned(), spec);
        }
    }

    /// What the Rollout does not name takes no part in its release: another route would be taken for its own.
    fn keep_named(&mut self, objects: Vec<Value>) {
        let strategy = self.rollout.pointer("/spec/strategy").unwrap_or(&Value::Null);
        let mut named = BTreeSet::new();
        self.find_templates(strategy, &objects, &mut named);
        named.extend(self.services_and_routes().into_iter().map(|(target, _)| target));
        let mut ignored = Vec::new();
        for object in objects {
            match named.iter().find(|target| is_at(&object, target)) {
                Some(target) => self.surroundings.push((target.clone(), object)),
                None => {
                    ignored.push(format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name")));
                }
            }
        }
        if !ignored.is_empty() {
            self.notes.push(format!("not needed for a forecast: {}", ignored.join(", ")));
        }
    }

    /// Finds the templates that a strategy names, and those that they name in turn: analyses are written in many places, but
    /// always with `templateName`.
    fn find_templates(&self, written: &Value, objects: &[Value], found: &mut BTreeSet<ObjectRef>) {
        if let Some(name) = written.get("templateName").and_then(Value::as_str) {
            let target = match written.get("clusterScope") {
                Some(Value::Bool(true)) => reference_to(CLUSTER_ANALYSIS_TEMPLATES, "", name),
                _ => self.beside(ANALYSIS_TEMPLATES, name),
            };
            if found.insert(target.clone()) {
                let template = objects.iter().find(|object| is_at(object, &target));
                let nested = template.and_then(|template| template.pointer("/spec/templates"));
                nested.into_iter().for_each(|nested| self.find_templates(nested, objects, found));
            }
        }
        let parts: Vec<&Value> = match written {
            Value::Array(items) => items.iter().collect(),
            Value::Object(fields) => fields.values().collect(),
            _ => Vec::new(),
        };
        parts.into_iter().for_each(|part| self.find_templates(part, objects, found));
    }

    /// Whether a router splits the traffic.
    pub(super) fn is_routed(&self) -> bool {
        self.rollout.pointer("/spec/strategy/canary/trafficRouting").is_some_and(|routing| !routing.is_null())
    }

    /// Every metric that was given must be one of a template.
    pub(super) fn check_metrics(&self, given: &[GivenMetric]) -> Result<(), Problem> {
        let templates = self.surroundings.iter().filter(|(target, _)| {
            [ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES].contains(&target.resource)
        });
        let all: Vec<(&str, &str)> = templates
            .flat_map(|(target, template)| names(template).map(move |name| (target.name.as_str(), name)))
            .collect();
        let is_there = |one: &GivenMetric| {
            let fits = |(template, name): &(&str, &str)| {
                *name == one.name && one.template.as_deref().is_none_or(|wanted| wanted == *template)
            };
            all.iter().any(fits)
        };
        let Some(unknown) = given.iter().find(|one| !is_there(one)) else { return Ok(()) };
        let name = match &unknown.template {
            Some(template) => format!("{template}/{}", unknown.name),
            None => unknown.name.clone(),
        };
        let known = all.iter().map(|(template, name)| format!("{template}/{name}")).collect();
        Err(Problem::UnknownMetric { name, known })
    }

    fn has(&self, target: &ObjectRef) -> bool {
        self.surroundings.iter().any(|(place, _)| place == target)
    }

    fn beside(&self, resource: Resource, name: &str) -> ObjectRef {
        reference_to(resource, text(&self.rollout, "/metadata/namespace"), name)
    }

    fn make_up(&mut self) {
        for (target, body) in self.services_and_routes() {
            self.add(target, body);
        }
    }

    /// The Services and routes that the Rollout names, and what each of them is like where it has to be made up.
    fn services_and_routes(&self) -> Vec<(ObjectRef, Value)> {
        let canary = self.rollout.pointer("/spec/strategy/canary").unwrap_or(&Value::Null);
        let services = [text(canary, "/stableService"), text(canary, "/canaryService")];
        let written = services.into_iter().filter(|name| !name.is_empty());
        let mut named: Vec<_> = written.map(|name| (self.beside(SERVICES, name), self.service())).collect();
        let routing = canary.get("trafficRouting").unwrap_or(&Value::Null);
        for name in texts(routing.get("nginx"), "stableIngress", "stableIngresses", "") {
            named.push((self.beside(INGRESSES, &name), ingress(services)));
        }
        let gateway = routing.pointer("/plugins/argoproj-labs~1gatewayAPI");
        for name in texts(gateway, "httpRoute", "httpRoutes", "/name") {
            let mut target = self.beside(HTTP_ROUTES, &name);
            if let Some(namespace) = gateway.and_then(|gateway| gateway.get("namespace")?.as_str()) {
                namespace.clone_into(&mut target.namespace);
            }
            named.push((target, http_route(services)));
        }
        let istio = routing.get("istio").unwrap_or(&Value::Null);
        let many = istio.get("virtualServices").and_then(Value::as_array).into_iter().flatten();
        for written in istio.get("virtualService").into_iter().chain(many) {
            // `name.namespace` names a VirtualService elsewhere.
            let name = text(written, "/name");
            let target = match name.split_once('.') {
                Some((name, namespace)) => reference_to(VIRTUAL_SERVICES, namespace, name),
                None => self.beside(VIRTUAL_SERVICES, name),
            };
            if !name.is_empty() {
                named.push((target, virtual_service(written, services)));
            }
        }
        named
    }

    /// Adds an object that is not there, and says so.
    fn add(&mut self, target: ObjectRef, body: Value) {
        if self.has(&target) {
            return;
        }
        let body = named(body, &target);
        self.notes.push(format!("{} {} is not in the files: made up", target.resource.kind, target.name));
        self.surroundings.push((target, body));
    }

    /// A Service that selects all pods of the Rollout.
    fn service(&self) -> Value {
        json!({ "spec": { "selector": self.rollout.pointer("/spec/selector/matchLabels") } })
    }

    fn let_everybody_in(&mut self) {
        let route = json!({ "spec": { "http": [{ "route": [{ "destination": { "host": EVERYBODY } }] }] } });
        for (resource, body) in [(SERVICES, self.service()), (VIRTUAL_SERVICES, route)] {
            let target = self.beside(resource, EVERYBODY);
            let body = named(body, &target);
            self.surroundings.push((target, body));
        }
    }
}

/// How many pods a Rollout has that takes the place of a Deployment and does not say how many it wants, as the controller
/// has it: as many as that.
fn size_to_take_over(spec: &Value, workload: &WorkloadRef, object: &Value) -> Option<i64> {
    let takes_over = !["", "never"].contains(&text(spec, "/workloadRef/scaleDown"));
    let says = spec.get("replicas").is_some_and(|replicas| !replicas.is_null());
    let size = object.at("/spec/replicas").and_then(Value::as_i64).filter(|size| *size > 0)?;
    (workload.kind == WorkloadKind::Deployment && takes_over && !says).then_some(size)
}

fn reference_to(resource: Resource, namespace: &str, name: &str) -> ObjectRef {
    ObjectRef { resource, namespace: namespace.to_owned(), name: name.to_owned() }
}

fn is_at(object: &Value, target: &ObjectRef) -> bool {
    is_of(object, target.resource) && reference(target.resource, object) == *target
}

/// The object in this namespace, where it names none and its kind has namespaces.
fn in_namespace(mut object: Value, namespace: &str) -> Value {
    if text(&object, "/metadata/namespace").is_empty()
        && !is_of(&object, CLUSTER_ANALYSIS_TEMPLATES)
        && let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut)
    {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    object
}

fn named(mut body: Value, target: &ObjectRef) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("metadata".to_owned(), json!({ "name": target.name, "namespace": target.namespace }));
    }
    body
}

/// The texts of a field, and of the items of another one, where they stand at this pointer in each.
fn texts(value: Option<&Value>, one: &str, many: &str, pointer: &str) -> Vec<String> {
    let one = value.and_then(|value| value.get(one));
    let many = value.and_then(|value| value.get(many)?.as_array()).into_iter().flatten();
    let many = many.filter_map(|item| item.pointer(pointer));
    one.into_iter().chain(many).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// An Ingress that leads to the stable Service.
fn ingress([stable, _]: [&str; 2]) -> Value {
    let backend = json!({ "service": { "name": stable, "port": { "number": 80 } } });
    json!({ "spec": { "rules": [
        { "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } },
    ]}})
}

/// An HTTPRoute that splits between the two Services.
fn http_route([stable, canary]: [&str; 2]) -> Value {
    json!({ "spec": { "rules": [{ "backendRefs": [
        { "name": stable, "port": 80, "weight": 100 },
        { "name": canary, "port": 80, "weight": 0 },
    ]}]}})
}

/// A VirtualService whose named routes split between the two Services.
fn virtual_service(written: &Value, services: [&str; 2]) -> Value {
    let [stable, canary] = services;
    let routes = written.get("routes").and_then(Value::as_array).cloned().unwrap_or_default();
    let routes = if routes.is_empty() { vec![json!("primary")] } else { routes };
    let http = routes.into_iter().map(|name| {
        json!({ "name": name, "route": [
            { "destination": { "host": stable }, "weight": 100 },
            { "destination": { "host": canary }, "weight": 0 },
        ]})
    });
    json!({ "spec": { "http": http.collect::<Vec<_>>() } })
}
