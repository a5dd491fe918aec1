//! `spec.strategy.canary.trafficRouting`: which routers split the traffic, and what of them is carried out.
//!
//! What a router needs besides is asked by itself, because its answer also tells what it edits.

use super::SpecProblem;
use super::read::{forbidden, invalid, optional, required};
use crate::total_weight;
use serde_json::Value;
use std::collections::BTreeMap;

const GATEWAY_API: &str = "argoproj-labs/gatewayAPI";

type Routers = BTreeMap<&'static str, Value>;

/// The routers by their names in the registry, and the sum of all weights. More are added here as they are built.
pub(super) fn routers(written: &Value, path: &str) -> Result<(Routers, i32), SpecProblem> {
    let Value::Object(fields) = written else { return Err(invalid(path, written, "must be an object")) };
    let mut routers = Routers::new();
    for (key, value) in fields.iter().filter(|(_, value)| !is_empty(value)) {
        match key.as_str() {
            // Routes that steps would make: those steps are refused where they stand.
            "maxTrafficWeight" | "managedRoutes" => {}
            "istio" => {
                check_istio(value, &format!("{path}.istio"))?;
                routers.insert("istio", value.clone());
            }
            "nginx" => {
                check_nginx(value, &format!("{path}.nginx"))?;
                routers.insert("nginx", value.clone());
            }
            "plugins" => plugins(value, &format!("{path}.plugins"), &mut routers)?,
            _ => {
                let how = "remove it, or leave this Rollout to Argo Rollouts; istio, nginx and the plugin \
                           argoproj-labs/gatewayAPI are supported";
                return Err(forbidden(&format!("{path}.{key}"), how));
            }
        }
    }
    if routers.is_empty() {
        return Err(required(path, "name a router, such as istio, or remove trafficRouting"));
    }
    check_total(written, path, &routers)?;
    Ok((routers, total_weight(written)))
}

fn check_total(written: &Value, path: &str, routers: &Routers) -> Result<(), SpecProblem> {
    let Some(total) = optional::<i32>(written, path, "maxTrafficWeight")? else { return Ok(()) };
    let field = format!("{path}.maxTrafficWeight");
    if total < 1 {
        return Err(invalid(&field, total, "must be 1 or more"));
    }
    if routers.contains_key("istio") {
        let problem =
            "works with nginx and plugins only: Istio's weights sum to 100; remove maxTrafficWeight or istio";
        return Err(invalid(&field, total, problem));
    }
    Ok(())
}

fn check_istio(istio: &Value, path: &str) -> Result<(), SpecProblem> {
    let has = |value: &Value, key: &str| value.get(key).is_some_and(|value| !is_empty(value));
    if has(istio, "destinationRule") {
        let how = "remove it and let canaryService and stableService tell the versions apart";
        return Err(forbidden(&format!("{path}.destinationRule"), how));
    }
    let several = istio.get("virtualServices").and_then(Value::as_array).into_iter().flatten();
    for service in istio.get("virtualService").into_iter().chain(several) {
        for key in ["tlsRoutes", "tcpRoutes"] {
            if has(service, key) {
                return Err(forbidden(
                    &format!("{path}.virtualService.{key}"),
                    "remove it and use HTTP routes",
                ));
            }
        }
    }
    Ok(())
}

/// Annotations that are no texts would be left out without a word.
fn check_nginx(nginx: &Value, path: &str) -> Result<(), SpecProblem> {
    for key in ["additionalIngressAnnotations", "canaryIngressAnnotations"] {
        optional::<BTreeMap<String, String>>(nginx, path, key)?;
    }
    Ok(())
}

fn plugins(written: &Value, path: &str, routers: &mut Routers) -> Result<(), SpecProblem> {
    let Value::Object(plugins) = written else { return Err(invalid(path, written, "must be an object")) };
    for (name, config) in plugins.iter().filter(|(_, config)| !config.is_null()) {
        let path = format!("{path}[{name}]");
        if name != GATEWAY_API {
            let how = "remove it, or leave this Rollout to Argo Rollouts; the plugin argoproj-labs/gatewayAPI is built in";
            return Err(forbidden(&path, how));
        }
        check_gateway_api(config, &path)?;
        routers.insert("gateway-api", config.clone());
    }
    Ok(())
}

fn check_gateway_api(config: &Value, path: &str) -> Result<(), SpecProblem> {
    let Value::Object(fields) = config else { return Err(invalid(path, config, "must be an object")) };
    let is_built = |key: &str| {
        !key.ends_with("Selector") && !["grpc", "tcp", "tls"].iter().any(|kind| key.starts_with(kind))
    };
    match fields.iter().find(|(key, value)| !is_empty(value) && !is_built(key)) {
        Some((key, _)) => {
            let how = "remove it and name HTTPRoutes in httpRoute or httpRoutes, or leave this Rollout to Argo Rollouts";
            Err(forbidden(&format!("{path}.{key}"), how))
        }
        None => Ok(()),
    }
}

/// What stands for nothing: null, an empty list, an empty text.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
