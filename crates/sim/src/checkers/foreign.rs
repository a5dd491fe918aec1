//! Rules 7 and 8: foreign objects stay as they are outside our paths, our weights sum up, and only our children are
//! deleted.

use super::Write;
use crate::world::proxies::{VIRTUAL_SERVICES, weights};
use crate::world::server::text;
use headgate_api::labels::{MANAGED_BY_ROLLOUTS, POD_TEMPLATE_HASH};
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, REPLICA_SETS, ROLLOUTS, SERVICES};
use serde_json::Value;

pub(super) fn check(write: &Write<'_>) -> Result<(), String> {
    let (Some(before), after) = (write.before, write.after) else { return Ok(()) };
    match (write.target.resource, after) {
        (VIRTUAL_SERVICES | SERVICES, Some(after)) => {
            if not_ours(before) != not_ours(after) {
                return Err(format!(
                    "{} {} is changed outside our paths",
                    write.target.resource.kind, write.target.name
                ));
            }
            let sum: i64 = weights(after).values().sum();
            if write.target.resource == VIRTUAL_SERVICES && sum != 100 {
                return Err(format!("the weights sum to {sum}"));
            }
            Ok(())
        }
        (REPLICA_SETS | ANALYSIS_RUNS, None)
            if text(before, "/metadata/ownerReferences/0/kind") == "Rollout" =>
        {
            Ok(())
        }
        (ROLLOUTS | EVENTS | REPLICA_SETS | ANALYSIS_RUNS, Some(_)) => Ok(()),
        (resource, _) => Err(format!("{} {} is touched and is not ours", resource.kind, write.target.name)),
    }
}

/// The object without our paths and without what the server counts.
fn not_ours(object: &Value) -> Value {
    let mut object = object.clone();
    for field in ["resourceVersion", "generation"] {
        remove(&mut object, "/metadata", field);
    }
    remove(&mut object, "/metadata/annotations", MANAGED_BY_ROLLOUTS);
    if object
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
        .is_some_and(serde_json::Map::is_empty)
    {
        remove(&mut object, "/metadata", "annotations");
    }
    remove(&mut object, "/spec/selector", POD_TEMPLATE_HASH);
    let routes = object.pointer_mut("/spec/http").and_then(Value::as_array_mut).into_iter().flatten();
    for route in routes.filter(|route| text(route, "/name") == "primary") {
        let destinations = route.get_mut("route").and_then(Value::as_array_mut).into_iter().flatten();
        for destination in destinations.filter_map(Value::as_object_mut) {
            destination.remove("weight");
        }
    }
    object
}

fn remove(object: &mut Value, parent: &str, field: &str) {
    if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.remove(field);
    }
}
