//! A Rollout may take its pod template from a Deployment. Of the Deployment there is the object alone: its pods are a number.

use super::server::{Server, number};
use headgate_api::At;
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::DEPLOYMENTS;
use headgate_model::WorkloadRef;
use serde_json::Value;

/// The Deployment that a Rollout takes its template from, if it does.
pub fn of(rollout: &Value) -> Option<ObjectRef> {
    let spec = rollout.get("spec")?;
    let reference = WorkloadRef::read(spec).ok()??;
    let namespace = rollout.at("/metadata/namespace")?.as_str()?.to_owned();
    Some(ObjectRef { resource: DEPLOYMENTS, namespace, name: reference.name })
}

/// The pod template of a Rollout, wherever it stands.
pub fn template<'a>(rollout: &'a Value, server: &'a Server) -> Option<&'a Value> {
    let holder = match of(rollout) {
        Some(deployment) => server.get(&deployment)?,
        None => rollout,
    };
    holder.at("/spec/template")
}

/// Whether the status speaks of the Deployment as it is now.
pub fn is_observed(rollout: &Value, server: &Server) -> bool {
    let Some(deployment) = of(rollout).and_then(|deployment| server.get(&deployment)) else { return true };
    let observed = rollout.at("/status/workloadObservedGeneration").and_then(Value::as_str);
    observed == Some(number(deployment, "/metadata/generation").to_string().as_str())
}
