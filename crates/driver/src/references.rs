//! Which objects a Rollout names: Services, the objects of its routers, templates. An event on one of them
//! wakes just those Rollouts that name it.

use crate::io::ObjectRef;
use crate::object;
use crate::resources::{ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES, SERVICES, is_foreign, of_key};
use crate::store::Store;
use crate::workload;
use headgate_api::At;
use headgate_api::RouterInUse;
use headgate_model::{RouterConfig, TemplateKey, TrafficRouter, total_weight};
use headgate_traffic::ROUTERS;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Namespace and name.
pub(crate) type Name = (String, String);

/// What one Rollout names, read from its raw spec, so that it is known of an invalid one too.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Named {
    pub(crate) services: BTreeSet<String>,
    pub(crate) routers: Vec<RouterConfig>,
    /// Those that may still give the canary a share although the spec no longer names them.
    pub(crate) former_routers: Vec<RouterConfig>,
    pub(crate) templates: BTreeSet<TemplateKey>,
    /// All of these, and the routers' objects, as the API server names them.
    pub(crate) objects: BTreeSet<ObjectRef>,
}

/// Reads what a Rollout names, or has named until lately; nested templates are followed as far as they are known.
pub(crate) fn named(rollout: &Value, store: &Store) -> Named {
    let namespace = object::meta(rollout, "namespace");
    let strategy = rollout.at("/spec/strategy").unwrap_or(&Value::Null);
    let mut named = Named {
        services: services(strategy),
        routers: routers(rollout, strategy),
        former_routers: Vec::new(),
        templates: templates(strategy, namespace, store),
        objects: BTreeSet::new(),
    };
    named.objects.extend(workload::reference(rollout));
    named.objects.extend(named.services.iter().map(|name| ObjectRef {
        resource: SERVICES,
        namespace: namespace.to_owned(),
        name: name.clone(),
    }));
    named.objects.extend(named.templates.iter().map(|key| template_reference(key, namespace)));
    named.objects.extend(named.routers.iter().flat_map(router_objects));
    for former in former_routers(rollout) {
        let objects = router_objects(&former);
        // What the spec names again is no longer a matter of the past.
        if objects.iter().all(|object| !named.objects.contains(object)) {
            named.objects.extend(objects);
            named.former_routers.push(former);
        }
    }
    named
}

/// The objects of a router, as far as its configuration says.
fn router_objects(config: &RouterConfig) -> Vec<ObjectRef> {
    let keys = headgate_traffic::router(config.router).and_then(|router| router.references(config).ok());
    keys.unwrap_or_default().iter().map(of_key).collect()
}

/// A configuration, each of its objects for itself.
fn parts(router: &dyn TrafficRouter, config: &RouterConfig) -> Vec<RouterConfig> {
    let named = |part: RouterConfig| {
        let first = router.references(&part).ok().and_then(|keys| keys.into_iter().next());
        let object = first.filter(|_| router.capabilities().weights).map(|key| {
            if key.namespace == part.namespace { key.name } else { format!("{}/{}", key.namespace, key.name) }
        });
        RouterConfig { object, ..part }
    };
    router.parts(config).into_iter().map(named).collect()
}

/// The routers that the status remembers, whether the spec still names them or not.
fn former_routers(rollout: &Value) -> impl Iterator<Item = RouterConfig> {
    let remembered = rollout.at("/status/headgate/routersInUse").and_then(Value::as_array);
    let routers = remembered.into_iter().flatten().filter_map(|remembered| {
        let remembered = RouterInUse::deserialize(remembered).ok()?;
        let router = headgate_traffic::router(&remembered.router)?;
        let config = RouterConfig {
            router: router.name(),
            namespace: object::meta(rollout, "namespace").to_owned(),
            rollout: object::meta(rollout, "name").to_owned(),
            uid: object::uid(rollout).to_owned(),
            canary_service: remembered.canary_service,
            stable_service: remembered.stable_service,
            total: remembered.total,
            config: remembered.config,
            item: None,
            object: None,
        };
        Some(parts(router, &config))
    });
    routers.flatten()
}

fn services(strategy: &Value) -> BTreeSet<String> {
    const FIELDS: [&str; 6] = [
        "/canary/canaryService",
        "/canary/stableService",
        "/canary/pingPong/pingService",
        "/canary/pingPong/pongService",
        "/blueGreen/activeService",
        "/blueGreen/previewService",
    ];
    FIELDS.into_iter().filter_map(|field| text(strategy, field)).collect()
}

/// The routers that the spec configures, in the order of the registry, each of their objects for itself.
fn routers(rollout: &Value, strategy: &Value) -> Vec<RouterConfig> {
    let canary_service = text(strategy, "/canary/canaryService");
    let stable_service = text(strategy, "/canary/stableService");
    let configured = strategy.at("/canary/trafficRouting").unwrap_or(&Value::Null);
    let config_of = |path: &[&str]| match path {
        [] => (canary_service.is_some() || stable_service.is_some()).then_some(Value::Null),
        _ => {
            let config = path.iter().try_fold(configured, |value, key| value.get(key));
            config.filter(|config| !config.is_null()).cloned()
        }
    };
    let routers = ROUTERS.iter().filter_map(|router| {
        let config = RouterConfig {
            router: router.name(),
            namespace: object::meta(rollout, "namespace").to_owned(),
            rollout: object::meta(rollout, "name").to_owned(),
            uid: object::uid(rollout).to_owned(),
            canary_service: canary_service.clone(),
            stable_service: stable_service.clone(),
            total: total_weight(configured),
            config: config_of(router.spec_path())?,
            item: None,
            object: None,
        };
        Some(parts(*router, &config))
    });
    routers.flatten().collect()
}

/// Every template that is reached, nested ones included.
fn templates(strategy: &Value, namespace: &str, store: &Store) -> BTreeSet<TemplateKey> {
    let mut reached = BTreeSet::new();
    let mut queue = Vec::new();
    collect_templates(strategy, &mut queue);
    while let Some(key) = queue.pop() {
        let reference = template_reference(&key, namespace);
        if reached.insert(key)
            && let Some(nested) = store.get(&reference).and_then(|template| template.at("/spec/templates"))
        {
            collect_templates(nested, &mut queue);
        }
    }
    reached
}

/// Analyses are written in many places of a strategy, but always as objects with `templateName`.
fn collect_templates(value: &Value, found: &mut Vec<TemplateKey>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_templates(item, found)),
        Value::Object(fields) => {
            if let Some(Value::String(name)) = fields.get("templateName") {
                let cluster = fields.get("clusterScope") == Some(&Value::Bool(true));
                let key = if cluster { TemplateKey::Cluster } else { TemplateKey::Namespaced };
                found.push(key(name.clone()));
            }
            fields.values().for_each(|field| collect_templates(field, found));
        }
        _ => {}
    }
}

/// A template as the API server names it, seen from a Rollout in `namespace`.
pub(crate) fn template_reference(key: &TemplateKey, namespace: &str) -> ObjectRef {
    match key {
        TemplateKey::Namespaced(name) => {
            ObjectRef { resource: ANALYSIS_TEMPLATES, namespace: namespace.to_owned(), name: name.clone() }
        }
        TemplateKey::Cluster(name) => {
            ObjectRef { resource: CLUSTER_ANALYSIS_TEMPLATES, namespace: String::new(), name: name.clone() }
        }
    }
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.at(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What is to be done because a Rollout names other objects than before.
#[derive(Debug, Default)]
pub(crate) struct Renamed {
    /// To be read live.
    pub(crate) unread: Vec<ObjectRef>,
    /// No Rollout names these any more.
    pub(crate) unwanted: Vec<ObjectRef>,
}

/// Who names what, both ways.
#[derive(Debug, Default)]
pub(crate) struct References {
    by_rollout: BTreeMap<Name, BTreeSet<ObjectRef>>,
    by_object: BTreeMap<ObjectRef, BTreeSet<Name>>,
}

impl References {
    /// The Rollouts that name this object.
    pub(crate) fn rollouts(&self, object: &ObjectRef) -> impl Iterator<Item = &Name> {
        self.by_object.get(object).into_iter().flatten()
    }

    /// What this Rollout names from now on; nothing when it is gone.
    pub(crate) fn update(
        &mut self,
        rollout: &Name,
        objects: BTreeSet<ObjectRef>,
        store: &mut Store,
    ) -> Renamed {
        let mut renamed = Renamed::default();
        let before = self.by_rollout.remove(rollout).unwrap_or_default();
        for object in before.difference(&objects) {
            if let Some(rollouts) = self.by_object.get_mut(object) {
                rollouts.remove(rollout);
                if rollouts.is_empty() {
                    self.by_object.remove(object);
                    store.unwant(object);
                    renamed.unwanted.push(object.clone());
                }
            }
        }
        for object in objects.difference(&before) {
            self.by_object.entry(object.clone()).or_default().insert(rollout.clone());
            if is_foreign(object.resource) && store.want(object.clone()) {
                renamed.unread.push(object.clone());
            }
        }
        if !objects.is_empty() {
            self.by_rollout.insert(rollout.clone(), objects);
        }
        renamed
    }
}
