//! HTTPRoutes of the Gateway API: the weights of the backendRefs that are the stable and the canary Service, in every rule
//! that has both. Configured as the plugin `argoproj-labs/gatewayAPI` of Argo Rollouts is.

use crate::objects;
use headgate_model::{
    Capabilities, Kind, ObjectChange, ObjectKey, Objects, RouterConfig, RouterProblem, TrafficIntent,
    TrafficRouter, TrafficState, WeightRange,
};
use serde_json::{Value, json};

/// v1 has been served since Gateway API 1.0.
const HTTP_ROUTE: Kind =
    Kind { group: "gateway.networking.k8s.io", version: "v1", kind: "HTTPRoute", plural: "httproutes" };

const FIELD: &str = "spec.strategy.canary.trafficRouting.plugins[argoproj-labs/gatewayAPI]";

/// What a backendRef without a weight has.
const WEIGHT_DEFAULT: i64 = 1;

/// HTTPRoutes with both Services as backends.
pub(crate) struct GatewayApi;

/// One HTTPRoute as the spec names it.
struct Named {
    /// The field that names it.
    field: String,
    key: ObjectKey,
    /// Names of the only rules that get weights; empty: all that have both Services.
    rules: Vec<String>,
}

/// Where in `spec.rules` our two backendRefs of one rule are, and their weights now.
struct Split {
    rule: usize,
    stable: usize,
    canary: usize,
    stable_weight: i64,
    canary_weight: i64,
}

impl TrafficRouter for GatewayApi {
    fn name(&self) -> &'static str {
        "gateway-api"
    }

    fn spec_path(&self) -> &'static [&'static str] {
        &["plugins", "argoproj-labs/gatewayAPI"]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[HTTP_ROUTE]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { weights: true }
    }

    fn references(&self, config: &RouterConfig) -> Result<Vec<ObjectKey>, RouterProblem> {
        Ok(named(config)?.into_iter().map(|named| named.key).collect())
    }

    fn parts(&self, config: &RouterConfig) -> Vec<RouterConfig> {
        if named(config).is_err() {
            return vec![config.clone()];
        }
        objects::parts(config, ("httpRoute", "httpRoutes"), &["httpRouteRuleName"], |item| {
            let fields = [("httpRoute", "name"), ("httpRouteRuleName", "ruleName")].into_iter();
            fields.filter_map(|(single, field)| Some((single.to_owned(), item.get(field)?.clone()))).collect()
        })
    }

    fn owned_paths(&self) -> &'static [&'static str] {
        &["spec.rules[*].backendRefs[*].weight of the stable and the canary Service, in rules that have both"]
    }

    fn plan(
        &self,
        config: &RouterConfig,
        intent: &TrafficIntent,
        objects: &Objects,
    ) -> Result<Vec<ObjectChange>, RouterProblem> {
        let canary = i64::from(intent.canary_weight);
        let stable = i64::from(intent.total) - canary;
        let mut changes = Vec::new();
        for named in named(config)? {
            let route = objects::present(objects, &named.key, &named.field)?;
            let splits = splits(config, &named, route)?;
            if splits.iter().any(|split| (split.stable_weight, split.canary_weight) != (stable, canary)) {
                changes.push(weigh(&named, route, &splits, stable, canary));
            }
        }
        Ok(changes)
    }

    fn observe(&self, config: &RouterConfig, objects: &Objects) -> Result<TrafficState, RouterProblem> {
        let mut all = Vec::new();
        let mut words = Vec::new();
        let mut other_writer = None;
        for named in named(config)? {
            let route = objects::present(objects, &named.key, &named.field)?;
            all.extend(splits(config, &named, route)?);
            words.extend(confirmations(route));
            other_writer = other_writer.or_else(|| objects::writer_of(route, &["f:spec", "f:rules"]));
        }
        let confirmed = match (words.contains(&Some(false)), words.iter().all(Option::is_some)) {
            (true, _) => Some(false),
            (false, true) if !words.is_empty() => Some(true),
            (false, _) => None,
        };
        Ok(TrafficState { weights: range(config, &all), confirmed, other_writer, ..TrafficState::default() })
    }
}

/// The HTTPRoutes that the spec names: `httpRoute` and `httpRoutes`.
fn named(config: &RouterConfig) -> Result<Vec<Named>, RouterProblem> {
    let invalid = |field: &str, message: &str| RouterProblem::Invalid {
        field: format!("{FIELD}.{field}"),
        message: message.to_owned(),
    };
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let own = &config.config;
    let namespace = text(own, "namespace").unwrap_or_else(|| config.namespace.clone());
    let field = config.item.as_ref().map_or_else(|| "httpRoute".to_owned(), |item| format!("{item}.name"));
    let one = text(own, "httpRoute").map(|name| (field, name, text(own, "httpRouteRuleName")));
    let mut written: Vec<_> = one.into_iter().collect();
    let many = own.get("httpRoutes").and_then(Value::as_array).into_iter().flatten();
    for (index, value) in many.enumerate() {
        let field = format!("httpRoutes[{index}].name");
        let Some(name) = text(value, "name") else {
            return Err(invalid(&field, "give the name of an HTTPRoute"));
        };
        written.push((field, name, text(value, "ruleName")));
    }
    let mut routes: Vec<Named> = Vec::new();
    for (field, name, rule) in written {
        if routes.iter().any(|route| route.key.name == name) {
            return Err(invalid(&field, &format!("HTTPRoute {name:?} is named twice: name it once")));
        }
        let key = ObjectKey { kind: HTTP_ROUTE, namespace: namespace.clone(), name };
        routes.push(Named { field: format!("{FIELD}.{field}"), key, rules: rule.into_iter().collect() });
    }
    if routes.is_empty() {
        return Err(invalid("httpRoute", "name the HTTPRoute whose rules split the traffic"));
    }
    Ok(routes)
}

/// Finds our two backendRefs in every rule that has both.
fn splits(config: &RouterConfig, named: &Named, route: &Value) -> Result<Vec<Split>, RouterProblem> {
    let is_meant = |rule: &Value| {
        let name = rule.get("name").and_then(Value::as_str);
        named.rules.is_empty() || named.rules.iter().any(|wanted| Some(wanted.as_str()) == name)
    };
    let rules = route.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
    let splits: Vec<Split> = rules
        .enumerate()
        .filter(|(_, rule)| is_meant(rule))
        .filter_map(|(index, rule)| split(config, named, index, rule))
        .collect();
    if !splits.is_empty() {
        return Ok(splits);
    }
    let stable = config.stable_service.as_deref().unwrap_or_default();
    let canary = config.canary_service.as_deref().unwrap_or_default();
    let which = named.rules.first().map_or_else(|| "no rule".to_owned(), |rule| format!("no rule {rule:?}"));
    Err(RouterProblem::Invalid {
        field: named.field.clone(),
        message: format!(
            "{which} of HTTPRoute {:?} in namespace {:?} has both Services among its backendRefs: let one have\n  - \
             name: {stable}\n    port: 80\n    weight: {}\n  - name: {canary}\n    port: 80\n    weight: 0",
            named.key.name, named.key.namespace, config.total
        ),
    })
}

fn split(config: &RouterConfig, named: &Named, rule: usize, value: &Value) -> Option<Split> {
    let backends = value.get("backendRefs")?.as_array()?;
    let find = |service: &Option<String>| {
        backends.iter().position(|backend| is_service(config, named, backend, service.as_deref()))
    };
    let (stable, canary) = (find(&config.stable_service)?, find(&config.canary_service)?);
    let weight = |index: usize| {
        let weight = backends.get(index).and_then(|backend| backend.get("weight"));
        weight.and_then(Value::as_i64).unwrap_or(WEIGHT_DEFAULT)
    };
    Some(Split { rule, stable, canary, stable_weight: weight(stable), canary_weight: weight(canary) })
}

/// True when the backendRef is that Service of the Rollout's namespace. What it leaves out has the defaults of the Gateway
/// API: kind Service of the core group, in the namespace of the route.
fn is_service(config: &RouterConfig, named: &Named, backend: &Value, service: Option<&str>) -> bool {
    let text = |key: &str| backend.get(key).and_then(Value::as_str);
    text("name") == service
        && text("kind").unwrap_or("Service") == "Service"
        && text("group").unwrap_or_default().is_empty()
        && text("namespace").unwrap_or(&named.key.namespace) == config.namespace
}

fn range(config: &RouterConfig, splits: &[Split]) -> Option<WeightRange> {
    let share = |split: &Split| objects::share(split.stable_weight, split.canary_weight, config.total);
    let well_formed = |split: &Split| {
        split.stable_weight >= 0
            && split.canary_weight >= 0
            && split.stable_weight.saturating_add(split.canary_weight) == i64::from(config.total)
    };
    Some(WeightRange {
        canary_min: splits.iter().map(share).min()?,
        canary_max: splits.iter().map(share).max()?,
        total: config.total,
        well_formed: splits.iter().all(well_formed),
    })
}

/// `spec.rules` is one atomic list, so the whole list is sent, with nothing but our weights changed; the resourceVersion
/// keeps a concurrent edit from being lost.
fn weigh(named: &Named, route: &Value, splits: &[Split], stable: i64, canary: i64) -> ObjectChange {
    let mut rules = route.pointer("/spec/rules").cloned().unwrap_or_default();
    for split in splits {
        for (backend, weight) in [(split.stable, stable), (split.canary, canary)] {
            let slot = rules.pointer_mut(&format!("/{}/backendRefs/{backend}", split.rule));
            if let Some(Value::Object(backend)) = slot {
                backend.insert("weight".to_owned(), json!(weight));
            }
        }
    }
    let resource_version = route.pointer("/metadata/resourceVersion");
    let merge = json!({ "metadata": { "resourceVersion": resource_version }, "spec": { "rules": rules } });
    ObjectChange::Patch { target: named.key.clone(), merge }
}

/// For each Gateway of the route: whether its controller has read the route as it is now; `None` when it does not say.
/// What it thinks of the route does not count: one that is not accepted at one of two Gateways is nothing new.
fn confirmations(route: &Value) -> Vec<Option<bool>> {
    let list = |pointer: &str| route.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let generation = route.pointer("/metadata/generation").and_then(Value::as_i64);
    let namespace = route.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let place = |parent: &Value| {
        let text = |key: &str| parent.get(key).and_then(Value::as_str);
        (text("name").map(str::to_owned), text("namespace").unwrap_or(namespace).to_owned())
    };
    list("/spec/parentRefs")
        .map(|parent| {
            let theirs = list("/status/parents")
                .filter(|status| status.get("parentRef").map(place) == Some(place(parent)));
            let seen = theirs.filter_map(observed_generation).max()?;
            Some(seen >= generation?)
        })
        .collect()
}

/// The generation of the route of which a Gateway's controller speaks.
fn observed_generation(parent_status: &Value) -> Option<i64> {
    let conditions = parent_status.get("conditions")?.as_array()?;
    let accepted =
        conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some("Accepted"));
    accepted?.get("observedGeneration")?.as_i64()
}
