//! What pods carry by the role of their version: in the end each has what the spec asks for and nothing of another role; and
//! of a pod nothing but that is ever written.

use super::conditions;
use super::view::rollout;
use crate::world::pods::{Carrier, Pods};
use crate::world::server::{Server, text};
use crate::world::workload;
use headgate_api::At;
use headgate_api::conditions::types::INVALID_SPEC;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::io::{ObjectRef, Patch};
use headgate_driver::resources::REPLICA_SETS;
use serde_json::{Map, Value};

/// A patch of a pod.
pub(super) fn patched(target: &ObjectRef, patch: &Patch) -> Result<(), String> {
    let (Patch::Merge(body) | Patch::Json(body)) = patch;
    let has_only = |fields: &[&str], value: Option<&Value>| {
        value
            .and_then(Value::as_object)
            .is_some_and(|all| all.keys().all(|key| fields.contains(&key.as_str())))
    };
    let metadata = body.get("metadata");
    let is_narrow = has_only(&["metadata"], Some(body))
        && has_only(&["uid", "resourceVersion", "labels", "annotations"], metadata);
    let labels = metadata.and_then(|metadata| metadata.get("labels"));
    let is_lost =
        labels.is_some_and(|labels| ["app", POD_TEMPLATE_HASH].iter().any(|key| labels.get(key).is_some()));
    match (is_narrow, is_lost) {
        (false, _) => Err(format!("of pod {} more is written than labels and annotations", target.name)),
        (_, true) => Err(format!("pod {} may leave its ReplicaSet", target.name)),
        _ => Ok(()),
    }
}

/// The pods at the end, when nothing keeps a controller from doing what it should.
pub(super) fn end(pods: &Pods, server: &Server) -> Result<(), String> {
    let Some((_, rollout)) = rollout(server).filter(|(_, rollout)| is_carried_out(rollout)) else {
        return Ok(());
    };
    let uid = text(rollout, "/metadata/uid");
    for (_, set) in server.all(REPLICA_SETS) {
        if text(set, "/metadata/ownerReferences/0/uid") != uid {
            continue;
        }
        let role = role(rollout, text(set, &format!("/metadata/labels/{POD_TEMPLATE_HASH}")));
        let set_uid = text(set, "/metadata/uid");
        pods.carriers()
            .filter(|pod| pod.set_uid == set_uid)
            .try_for_each(|pod| carries(&pod, role, rollout, server))?;
    }
    Ok(())
}

fn is_carried_out(rollout: &Value) -> bool {
    let generation = rollout.at("/metadata/generation").and_then(Value::as_i64).unwrap_or(0).to_string();
    text(rollout, "/status/observedGeneration") == generation
        && conditions::of_type(rollout, INVALID_SPEC).is_none()
}

/// Where the spec says what the pods of a role carry.
const FIELDS: [&str; 2] = ["canaryMetadata", "stableMetadata"];

/// What some spec of a seed has asked for, and a later one may not: `edits.rs`, `scenario/plan.rs`.
const ONCE_ASKED: [&str; 2] = ["role", "note"];

fn role(rollout: &Value, hash: &str) -> Option<&'static str> {
    if hash == text(rollout, "/status/stableRS") {
        Some("stableMetadata")
    } else if hash == text(rollout, "/status/currentPodHash") {
        Some("canaryMetadata")
    } else {
        None
    }
}

fn asked(rollout: &Value, field: &str, kind: &str) -> Map<String, Value> {
    let asked = rollout.at(&format!("/spec/strategy/canary/{field}/{kind}"));
    asked.and_then(Value::as_object).cloned().unwrap_or_default()
}

fn carries(
    pod: &Carrier,
    role: Option<&'static str>,
    rollout: &Value,
    server: &Server,
) -> Result<(), String> {
    let template = workload::template(rollout, server);
    for kind in ["labels", "annotations"] {
        let carried = |key: &str| pod.metadata.get(kind).and_then(|all| all.get(key));
        let own = |key: &str| template?.at(&format!("/metadata/{kind}"))?.get(key);
        let wanted = role.map(|role| asked(rollout, role, kind)).unwrap_or_default();
        let asked = FIELDS.into_iter().flat_map(|field| asked(rollout, field, kind).into_iter());
        let once_asked = ONCE_ASKED.map(str::to_owned);
        for key in asked.map(|(key, _)| key).chain(once_asked) {
            let target = wanted.get(&key).or_else(|| own(&key));
            if carried(&key) != target {
                return Err(format!(
                    "pod {} ({}) carries {key}={:?} and should carry {target:?}",
                    pod.name,
                    role.unwrap_or("no role"),
                    carried(&key)
                ));
            }
        }
    }
    Ok(())
}
