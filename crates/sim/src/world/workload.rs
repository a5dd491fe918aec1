//! A Rollout may take its pod template from a Deployment, a ReplicaSet or a PodTemplate. Of these there is the object alone:
//! its pods are a number.

use super::server::{Server, number};
use headgate_api::At;
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::{DEPLOYMENTS, POD_TEMPLATES, WORKLOAD_REPLICA_SETS};
use headgate_model::{WorkloadKind, WorkloadRef};
use serde_json::{Value, json};

/// The object that a Rollout takes its template from, if it does.
pub fn of(rollout: &Value) -> Option<ObjectRef> {
    let spec = rollout.get("spec")?;
    let reference = WorkloadRef::read(spec).ok()??;
    let namespace = rollout.at("/metadata/namespace")?.as_str()?.to_owned();
    let resource = match reference.kind {
        WorkloadKind::Deployment => DEPLOYMENTS,
        WorkloadKind::ReplicaSet => WORKLOAD_REPLICA_SETS,
        WorkloadKind::PodTemplate => POD_TEMPLATES,
    };
    Some(ObjectRef { resource, namespace, name: reference.name })
}

/// The pod template of a Rollout, wherever it stands.
pub fn template<'a>(rollout: &'a Value, server: &'a Server) -> Option<&'a Value> {
    match of(rollout) {
        Some(workload) if workload.resource == POD_TEMPLATES => server.get(&workload)?.at("/template"),
        Some(workload) => server.get(&workload)?.at("/spec/template"),
        None => rollout.at("/spec/template"),
    }
}

/// The merge patch that puts this template to where the Rollout takes it from, and the object that it is for.
pub fn written(rollout: &Value, template: &Value) -> Option<(ObjectRef, Value)> {
    let body = json!({ "template": template });
    let workload = of(rollout)?;
    let is_bare = workload.resource == POD_TEMPLATES;
    Some((workload, if is_bare { body } else { json!({ "spec": body }) }))
}

/// Whether the status speaks of that object as it is now.
pub fn is_observed(rollout: &Value, server: &Server) -> bool {
    let Some(workload) = of(rollout).and_then(|workload| server.get(&workload)) else { return true };
    let observed = rollout.at("/status/workloadObservedGeneration").and_then(Value::as_str);
    observed == Some(number(workload, "/metadata/generation").to_string().as_str())
}
