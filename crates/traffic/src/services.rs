//! Kubernetes Services as a router: the stable and the canary Service each select the pods of one version.

use headgate_api::labels::{MANAGED_BY_ROLLOUTS, POD_TEMPLATE_HASH};
use headgate_model::{
    Capabilities, Destination, Kind, ObjectChange, ObjectKey, Objects, RouterConfig, RouterProblem,
    TrafficIntent, TrafficRouter, TrafficState,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SERVICE: Kind = Kind { group: "", version: "v1", kind: "Service", plural: "services" };

/// Selectors of `stableService` and `canaryService`.
pub(crate) struct Services;

impl TrafficRouter for Services {
    fn name(&self) -> &'static str {
        "services"
    }

    fn spec_path(&self) -> &'static [&'static str] {
        &[]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[SERVICE]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { weights: false }
    }

    fn references(&self, config: &RouterConfig) -> Result<Vec<ObjectKey>, RouterProblem> {
        Ok(named(config).into_iter().map(|(_, name)| key(config, name)).collect())
    }

    fn owned_paths(&self) -> &'static [&'static str] {
        &[
            "spec.selector[rollouts-pod-template-hash]",
            "metadata.annotations[argo-rollouts.argoproj.io/managed-by-rollouts]",
        ]
    }

    fn plan(
        &self,
        config: &RouterConfig,
        intent: &TrafficIntent,
        objects: &Objects,
    ) -> Result<Vec<ObjectChange>, RouterProblem> {
        let mut patches = Vec::new();
        for (field, name) in named(config) {
            let wished = [&intent.stable, &intent.canary].into_iter().find_map(|wish| hash_for(wish, name));
            // One that is left alone need not be there.
            let Some(hash) = wished else { continue };
            let service = present(config, field, name, objects)?;
            if selected(service) != Some(hash) {
                patches.push(select(config, name, service, hash));
            }
        }
        Ok(patches)
    }

    fn observe(&self, config: &RouterConfig, objects: &Objects) -> Result<TrafficState, RouterProblem> {
        let mut selectors = BTreeMap::new();
        for (field, name) in named(config) {
            let service = present(config, field, name, objects)?;
            selectors.insert(name.to_owned(), selected(service).map(str::to_owned));
        }
        Ok(TrafficState { selectors, ..TrafficState::default() })
    }
}

/// The Services that the spec names, with the field that names each; the stable one first, because it
/// carries the traffic.
fn named(config: &RouterConfig) -> Vec<(&'static str, &str)> {
    let fields = [("stableService", &config.stable_service), ("canaryService", &config.canary_service)];
    fields.into_iter().filter_map(|(field, name)| Some((field, name.as_deref()?))).collect()
}

fn key(config: &RouterConfig, name: &str) -> ObjectKey {
    ObjectKey { kind: SERVICE, namespace: config.namespace.clone(), name: name.to_owned() }
}

fn hash_for<'a>(wish: &'a Destination, service: &str) -> Option<&'a str> {
    wish.hash.as_deref().filter(|_| wish.service.as_deref() == Some(service))
}

fn selected(service: &Value) -> Option<&str> {
    service.pointer("/spec/selector")?.get(POD_TEMPLATE_HASH)?.as_str()
}

fn present<'a>(
    config: &RouterConfig,
    field: &str,
    name: &str,
    objects: &'a Objects,
) -> Result<&'a Value, RouterProblem> {
    let object = key(config, name);
    let field = format!("spec.strategy.canary.{field}");
    let service = crate::objects::present(objects, &object, &field)?;
    match service.pointer("/metadata/annotations").and_then(|all| all.get(MANAGED_BY_ROLLOUTS)?.as_str()) {
        Some(other) if other != config.rollout => {
            let message = format!(
                "Service {name:?} is managed by Rollout {other:?} (annotation {MANAGED_BY_ROLLOUTS}): give each Rollout \
                 Services of its own, or remove the annotation if that Rollout no longer uses it"
            );
            Err(RouterProblem::Invalid { field, message })
        }
        _ => Ok(service),
    }
}

fn select(config: &RouterConfig, name: &str, service: &Value, hash: &str) -> ObjectChange {
    let merge = json!({
        "metadata": {
            "resourceVersion": service.pointer("/metadata/resourceVersion"),
            "annotations": { MANAGED_BY_ROLLOUTS: config.rollout },
        },
        "spec": { "selector": { POD_TEMPLATE_HASH: hash } },
    });
    ObjectChange::Patch { target: key(config, name), merge }
}
