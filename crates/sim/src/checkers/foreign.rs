//! Rules 7 and 8: foreign objects stay as they are outside our paths, our weights sum up, and only our children are
//! deleted.

use super::{Names, Write};
use crate::world::proxies::VIRTUAL_SERVICES;
use crate::world::server::{number, text};
use headgate_api::labels::{MANAGED_BY_ROLLOUTS, POD_TEMPLATE_HASH};
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, REPLICA_SETS, ROLLOUTS, SERVICES};
use serde_json::Value;

pub(super) fn check(write: &Write<'_>, names: Option<&Names>) -> Result<(), String> {
    let (Some(before), after) = (write.before, write.after) else { return Ok(()) };
    match (write.target.resource, after) {
        (VIRTUAL_SERVICES | SERVICES, Some(after)) => {
            if not_ours(write.target, before, names) != not_ours(write.target, after, names) {
                return Err(format!(
                    "{} {} is changed outside our paths",
                    write.target.resource.kind, write.target.name
                ));
            }
            let sums = names.map_or_else(Vec::new, |names| sums(write.target, after, names));
            match sums.iter().find(|sum| **sum != 100) {
                Some(sum) => Err(format!("the weights sum to {sum}")),
                None => Ok(()),
            }
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
fn not_ours(target: &ObjectRef, object: &Value, names: Option<&Names>) -> Value {
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
    for route in routes.filter(|route| names.is_some_and(|names| names.is_our_route(target, route))) {
        let destinations = route.get_mut("route").and_then(Value::as_array_mut).into_iter().flatten();
        let ours = destinations.filter(|one| names.is_some_and(|names| names.is_our_destination(one)));
        for destination in ours.filter_map(Value::as_object_mut) {
            destination.remove("weight");
        }
    }
    object
}

/// The sum of the weights of each of our routes.
fn sums(target: &ObjectRef, object: &Value, names: &Names) -> Vec<i64> {
    let routes = object.pointer("/spec/http").and_then(Value::as_array).into_iter().flatten();
    let sum = |route: &Value| {
        let destinations = route.get("route").and_then(Value::as_array).into_iter().flatten();
        destinations.map(|destination| number(destination, "/weight")).sum()
    };
    routes.filter(|route| names.is_our_route(target, route)).map(sum).collect()
}

fn remove(object: &mut Value, parent: &str, field: &str) {
    if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.remove(field);
    }
}
