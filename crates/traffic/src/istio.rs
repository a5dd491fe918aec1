//! Istio VirtualServices, host split: the weights of the destinations whose hosts are the stable and the
//! canary Service, in the http routes that the spec names (or in the only one).

use crate::objects;
use headgate_model::{
    Capabilities, Kind, ObjectChange, ObjectKey, Objects, Observed, RouterConfig, RouterProblem,
    TrafficIntent, TrafficRouter, TrafficState, WeightRange,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// v1beta1 has been served by every Istio since 1.5, today's included; v1 only since 1.22.
const VIRTUAL_SERVICE: Kind = Kind {
    group: "networking.istio.io",
    version: "v1beta1",
    kind: "VirtualService",
    plural: "virtualservices",
};

const FIELD: &str = "spec.strategy.canary.trafficRouting.istio";

/// Istio demands that the weights of a route sum to this.
const TOTAL: i64 = 100;

/// VirtualServices with a host split.
pub(crate) struct Istio;

/// One VirtualService as the spec names it.
struct Named<'a> {
    field: String,
    key: ObjectKey,
    routes: Vec<&'a str>,
}

/// Where in `spec.http` our two destinations of one route are, and their weights now.
struct Split {
    route: usize,
    stable: usize,
    canary: usize,
    stable_weight: i64,
    canary_weight: i64,
}

impl TrafficRouter for Istio {
    fn name(&self) -> &'static str {
        "istio"
    }

    fn spec_path(&self) -> &'static [&'static str] {
        &["istio"]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[VIRTUAL_SERVICE]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { weights: true }
    }

    fn references(&self, config: &RouterConfig) -> Result<Vec<ObjectKey>, RouterProblem> {
        Ok(named(config)?.into_iter().map(|named| named.key).collect())
    }

    fn parts(&self, config: &RouterConfig) -> Vec<RouterConfig> {
        let Ok(named) = named(config) else { return vec![config.clone()] };
        let objects: BTreeSet<&ObjectKey> = named.iter().map(|named| &named.key).collect();
        if objects.len() < named.len() {
            // One object that is named twice, for two of its routes, is no two that could stand for themselves.
            return vec![config.clone()];
        }
        objects::parts(config, ("virtualService", "virtualServices"), &[], |item| {
            Map::from_iter([("virtualService".to_owned(), item.clone())])
        })
    }

    fn owned_paths(&self) -> &'static [&'static str] {
        &["spec.http[*].route[*].weight of the stable and the canary host, in the selected routes"]
    }

    fn plan(
        &self,
        config: &RouterConfig,
        intent: &TrafficIntent,
        objects: &Objects,
    ) -> Result<Vec<ObjectChange>, RouterProblem> {
        let canary = i64::from(intent.canary_weight);
        let (mut patches, mut unusable) = (Vec::new(), None);
        for named in named(config)? {
            let virtual_service = objects::present(objects, &named.key, &format!("{}.name", named.field))?;
            let splits = match splits(config, &named, virtual_service) {
                Err(problem) if canary == 0 => {
                    let remains = remains(config, &named, virtual_service);
                    if remains.is_empty() {
                        unusable.get_or_insert(problem);
                    } else {
                        patches.push(weigh(&named, virtual_service, &remains, |split| (split.sum(), 0)));
                    }
                    continue;
                }
                known => known?,
            };
            let weights = (TOTAL - canary, canary);
            if splits.iter().any(|split| (split.stable_weight, split.canary_weight) != weights) {
                patches.push(weigh(&named, virtual_service, &splits, |_| weights));
            }
        }
        // What can be led back is, also where another part of it cannot be used.
        unusable.filter(|_| patches.is_empty()).map_or(Ok(patches), Err)
    }

    fn observe(&self, config: &RouterConfig, objects: &Objects) -> Result<TrafficState, RouterProblem> {
        let mut all = Vec::new();
        let mut other_writer = None;
        for named in named(config)? {
            let virtual_service = objects::present(objects, &named.key, &format!("{}.name", named.field))?;
            all.extend(splits(config, &named, virtual_service)?);
            other_writer =
                other_writer.or_else(|| objects::writer_of(virtual_service, &["f:spec", "f:http"]));
        }
        Ok(TrafficState { weights: range(&all), other_writer, ..TrafficState::default() })
    }

    fn remains(
        &self,
        config: &RouterConfig,
        objects: &Objects,
    ) -> Result<Option<WeightRange>, RouterProblem> {
        let mut all = Vec::new();
        for named in named(config)? {
            if let Some(Observed::Present(virtual_service)) = objects.get(&named.key) {
                all.extend(remains(config, &named, virtual_service));
            }
        }
        Ok(range(&all))
    }
}

impl Split {
    fn sum(&self) -> i64 {
        self.stable_weight.saturating_add(self.canary_weight)
    }
}

/// The VirtualServices that the spec names: `virtualService` or `virtualServices`.
fn named(config: &RouterConfig) -> Result<Vec<Named<'_>>, RouterProblem> {
    let invalid = |field: &str, message: &str| RouterProblem::Invalid {
        field: format!("{FIELD}.{field}"),
        message: message.to_owned(),
    };
    let one = config.config.get("virtualService").filter(|value| !value.is_null());
    let many = config.config.get("virtualServices").and_then(Value::as_array).filter(|list| !list.is_empty());
    let listed: Vec<(String, &Value)> = match (one, many) {
        (Some(one), None) => {
            vec![(config.item.clone().unwrap_or_else(|| "virtualService".to_owned()), one)]
        }
        (None, Some(many)) => many
            .iter()
            .enumerate()
            .map(|(index, value)| (format!("virtualServices[{index}]"), value))
            .collect(),
        (Some(_), Some(_)) => {
            return Err(invalid("virtualService", "set either virtualService or virtualServices, not both"));
        }
        (None, None) => {
            return Err(invalid("virtualService", "name the VirtualService whose routes split the traffic"));
        }
    };
    listed
        .into_iter()
        .map(|(field, value)| {
            let Some(name) = value.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
                return Err(invalid(&format!("{field}.name"), "give the name of a VirtualService"));
            };
            let routes = value.get("routes").and_then(Value::as_array);
            let routes = routes.map_or_else(Vec::new, |list| list.iter().filter_map(Value::as_str).collect());
            // `name.namespace` names a VirtualService elsewhere. Names cannot hold dots in practice here, because
            // Argo Rollouts splits them the same way.
            let (name, namespace) = name.split_once('.').unwrap_or((name, &config.namespace));
            let key =
                ObjectKey { kind: VIRTUAL_SERVICE, namespace: namespace.to_owned(), name: name.to_owned() };
            Ok(Named { field: format!("{FIELD}.{field}"), key, routes })
        })
        .collect()
}

/// What the canary still gets in a VirtualService that can't be weighted as the spec means: in the routes that it names, or in
/// all where it names none.
fn remains(config: &RouterConfig, named: &Named<'_>, virtual_service: &Value) -> Vec<Split> {
    let is_meant = |route: &Value| {
        let name = route.get("name").and_then(Value::as_str);
        named.routes.is_empty() || name.is_some_and(|name| named.routes.contains(&name))
    };
    let http = virtual_service.pointer("/spec/http").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let routes = http.iter().enumerate().filter(|(_, route)| is_meant(route));
    let splits = routes.filter_map(|(index, route)| {
        let destinations = destinations(route);
        let find = |service| position(config, destinations, service);
        Some(split_at(index, destinations, find(&config.stable_service)?, find(&config.canary_service)?))
    });
    splits.filter(|split| split.canary_weight > 0).collect()
}

/// Finds our two destinations in every selected route.
fn splits(
    config: &RouterConfig,
    named: &Named<'_>,
    virtual_service: &Value,
) -> Result<Vec<Split>, RouterProblem> {
    let invalid = |field: &str, message: String| RouterProblem::Invalid {
        field: format!("{}.{field}", named.field),
        message,
    };
    let place = format!("VirtualService {:?} in namespace {:?}", named.key.name, named.key.namespace);
    let http = virtual_service.pointer("/spec/http").and_then(Value::as_array);
    let http = http.filter(|routes| !routes.is_empty()).ok_or_else(|| {
        invalid("name", format!("{place} has no http route: add one with both Services as destinations"))
    })?;
    if named.routes.is_empty() {
        if http.len() > 1 {
            let message = format!(
                "{place} has {} http routes: name the routes to be weighted here, and give each a `name` there",
                http.len()
            );
            return Err(invalid("routes", message));
        }
        return Ok(vec![split(config, named, &place, 0, http)?]);
    }
    named
        .routes
        .iter()
        .map(|wanted| {
            let index =
                http.iter().position(|route| route.get("name").and_then(Value::as_str) == Some(wanted));
            let index = index.ok_or_else(|| {
                invalid(
                    "routes",
                    format!("{place} has no http route named {wanted:?}: add it, or correct the name"),
                )
            })?;
            split(config, named, &place, index, http)
        })
        .collect()
}

fn split(
    config: &RouterConfig,
    named: &Named<'_>,
    place: &str,
    route: usize,
    http: &[Value],
) -> Result<Split, RouterProblem> {
    let invalid =
        |message: String| RouterProblem::Invalid { field: format!("{}.routes", named.field), message };
    let destinations = http.get(route).map_or(&[][..], destinations);
    let find = |service: &Option<String>, role: &str| {
        let name = service.as_deref().unwrap_or_default();
        position(config, destinations, service).ok_or_else(|| {
            invalid(format!(
                "http route {route} of {place} does not lead to the {role} Service: add\n  - destination:\n      \
                 host: {name}\n    weight: 0"
            ))
        })
    };
    let stable = find(&config.stable_service, "stable")?;
    let canary = find(&config.canary_service, "canary")?;
    let other = destinations
        .iter()
        .enumerate()
        .find(|(index, destination)| *index != stable && *index != canary && weight(destination) > 0);
    if let Some((index, _)) = other {
        return Err(invalid(format!(
            "destination {index} of http route {route} of {place} has a weight of its own: a route that is \
             split between stable and canary may have others only with weight 0"
        )));
    }
    Ok(split_at(route, destinations, stable, canary))
}

fn destinations(route: &Value) -> &[Value] {
    route.get("route").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The first destination that is this Service.
fn position(config: &RouterConfig, destinations: &[Value], service: &Option<String>) -> Option<usize> {
    let name = service.as_deref().unwrap_or_default();
    destinations.iter().position(|destination| is_host(config, destination, name))
}

fn split_at(route: usize, destinations: &[Value], stable: usize, canary: usize) -> Split {
    let weight_of = |index: usize| destinations.get(index).map_or(0, weight);
    Split { route, stable, canary, stable_weight: weight_of(stable), canary_weight: weight_of(canary) }
}

/// True when the destination's host is that Service: `name`, `name.namespace`, `name.namespace.svc…`.
fn is_host(config: &RouterConfig, destination: &Value, service: &str) -> bool {
    let host = destination.pointer("/destination/host").and_then(Value::as_str).unwrap_or_default();
    let mut parts = host.split('.');
    parts.next() == Some(service) && parts.next().is_none_or(|namespace| namespace == config.namespace)
}

fn weight(destination: &Value) -> i64 {
    destination.get("weight").and_then(Value::as_i64).unwrap_or(0)
}

fn range(splits: &[Split]) -> Option<WeightRange> {
    let share = |split: &Split| objects::share(split.stable_weight, split.canary_weight, 100);
    let well_formed = |split: &Split| split.sum() == TOTAL;
    Some(WeightRange {
        canary_min: splits.iter().map(share).min()?,
        canary_max: splits.iter().map(share).max()?,
        total: i32::try_from(TOTAL).unwrap_or(i32::MAX),
        well_formed: splits.iter().all(well_formed),
    })
}

/// `spec.http` is one atomic list, so the whole list is sent, with nothing but our weights (stable's first) changed; the
/// resourceVersion keeps a concurrent edit from being lost.
fn weigh(
    named: &Named<'_>,
    virtual_service: &Value,
    splits: &[Split],
    weights: impl Fn(&Split) -> (i64, i64),
) -> ObjectChange {
    let mut http = virtual_service.pointer("/spec/http").cloned().unwrap_or_default();
    for split in splits {
        let mut set = |destination: usize, weight: i64| {
            let slot = http.pointer_mut(&format!("/{}/route/{destination}", split.route));
            if let Some(Value::Object(destination)) = slot {
                destination.insert("weight".to_owned(), json!(weight));
            }
        };
        let (stable, canary) = weights(split);
        set(split.stable, stable);
        set(split.canary, canary);
    }
    let resource_version = virtual_service.pointer("/metadata/resourceVersion");
    let merge = json!({ "metadata": { "resourceVersion": resource_version }, "spec": { "http": http } });
    ObjectChange::Patch { target: named.key.clone(), merge }
}
