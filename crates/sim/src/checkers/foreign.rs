//! Rules 7 and 8: foreign objects stay as they are outside our paths, our weights sum up, and only our children are
//! deleted.

use super::{Names, Write};
use crate::world::routes::{HTTP_ROUTES, INGRESSES, VIRTUAL_SERVICES, is_route};
use crate::world::server::text;
use headgate_api::At;
use headgate_api::labels::{MANAGED_BY_ROLLOUTS, POD_TEMPLATE_HASH};
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::{ANALYSIS_RUNS, DEPLOYMENTS, EVENTS, REPLICA_SETS, ROLLOUTS, SERVICES};
use serde_json::Value;

pub(super) fn check(write: &Write<'_>, names: Option<&Names>) -> Result<(), String> {
    let Some(before) = write.before else { return made(write, names) };
    let is_ours = |child: &Value| names.is_some_and(|names| names.owns(child));
    match (write.target.resource, write.after) {
        (VIRTUAL_SERVICES | INGRESSES | HTTP_ROUTES | SERVICES, Some(after)) => {
            if not_ours(write.target, before, names) != not_ours(write.target, after, names) {
                return Err(format!(
                    "{} {} is changed outside our paths",
                    write.target.resource.kind, write.target.name
                ));
            }
            let sums = names.map_or_else(Vec::new, |names| names.sums(write.target, after));
            let total = names.map_or(100, |names| names.total_of(write.target));
            match sums.iter().find(|sum| **sum != total) {
                Some(sum) => Err(format!("the weights sum to {sum}")),
                None => Ok(()),
            }
        }
        (DEPLOYMENTS, Some(after)) if without_size(before) == without_size(after) => Ok(()),
        (REPLICA_SETS | ANALYSIS_RUNS, None) if is_ours(before) => Ok(()),
        // One that is adopted has no controller before.
        (REPLICA_SETS, Some(after)) if is_ours(after) => Ok(()),
        // Whoever has made an AnalysisRun: it is measured as long as it is there.
        (ROLLOUTS | EVENTS | ANALYSIS_RUNS, Some(_)) => Ok(()),
        (resource, _) => Err(format!("{} {} is touched and is not ours", resource.kind, write.target.name)),
    }
}

/// A Deployment that a Rollout refers to without the one field of it that may be written.
fn without_size(deployment: &Value) -> Value {
    let mut rest = deployment.clone();
    for field in ["resourceVersion", "generation"] {
        remove(&mut rest, "/metadata", field);
    }
    remove(&mut rest, "/spec", "replicas");
    rest
}

/// The object without our paths and without what the server counts.
fn not_ours(target: &ObjectRef, object: &Value, names: Option<&Names>) -> Value {
    let mut object = object.clone();
    for field in ["resourceVersion", "generation"] {
        remove(&mut object, "/metadata", field);
    }
    remove(&mut object, "/metadata/annotations", MANAGED_BY_ROLLOUTS);
    if object.at("/metadata/annotations").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
        remove(&mut object, "/metadata", "annotations");
    }
    remove(&mut object, "/spec/selector", POD_TEMPLATE_HASH);
    if let Some(names) = names {
        names.leave_out_ours(target, &mut object);
    }
    object
}

/// Of the kinds of others only the canary Ingress is made, and it belongs to the Rollout.
fn made(write: &Write<'_>, names: Option<&Names>) -> Result<(), String> {
    let (true, Some(after)) = (is_route(write.target.resource), write.after) else { return Ok(()) };
    let is_named = names.is_some_and(|names| names.makes(write.target));
    if is_named && text(after, "/metadata/ownerReferences/0/kind") == "Rollout" {
        return Ok(());
    }
    Err(format!("{} {} is made and is not ours", write.target.resource.kind, write.target.name))
}

fn remove(object: &mut Value, parent: &str, field: &str) {
    if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.remove(field);
    }
}
