//! What the user does, in the way in which the stock plugin and `kubectl apply` do it.

use crate::edits::{self, Edit};
use crate::kinds::Router;
use crate::random::Random;
use crate::scenario::{Scenario, objects, steps};
use crate::world::patch;
use crate::world::plus;
use crate::world::server::{Server, number, text};
use crate::world::workload;
use headgate_api::At;
use headgate_driver::io::{Call, ObjectRef, Patch, Reply};
use jiff::Timestamp;
use serde_json::{Value, json};

/// An act of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Applies the pod template of a new version.
    Release(i64),
    /// Applies the pod template of an old one.
    Undo(i64),
    /// Promotes past a pause or a step: two calls, status and spec.
    Promote,
    /// The second call of [`Act::Promote`].
    EndPause,
    /// Promotes to the end.
    PromoteFull,
    /// Aborts.
    Abort,
    /// Starts an aborted release again.
    Retry,
    /// Sets `spec.paused`.
    Pause,
    /// Unsets `spec.paused`.
    Unpause,
    /// Sets `spec.replicas`.
    Scale(i64),
    /// Other steps, made from this number.
    Steps(i64),
    /// Sets `maxSurge` and `maxUnavailable`.
    Limits(i64, i64),
    /// Puts this router into the spec, or none; where it is not the one of the beginning, puts that one back.
    Router(Router),
    /// Sets `dynamicStableScale`, where there is a router.
    Dynamic(bool),
    /// Changes something else in the spec.
    Edit(Edit),
    /// Sets `spec.restartAt`.
    Restart,
    /// Deletes the Rollout.
    Recreate,
    /// Takes the finalizers away that keep a deleted one.
    LetGo,
    /// Applies it again.
    Create,
}

/// What follows an act, and when.
pub type Follows = Option<(Timestamp, Act)>;

/// Carries out an act; says what came of it, and what follows.
pub fn act(act: Act, scenario: &Scenario, server: &mut Server, now: Timestamp) -> (String, Follows) {
    let target = scenario.target();
    let Some(rollout) = server.get(&target).cloned() else {
        if act == Act::Create {
            let body = scenario.rollout.clone();
            return (outcome(&server.call(&Call::Create { target, body }, now)), None);
        }
        return ("there is no Rollout".to_owned(), None);
    };
    let created_at = plus(now, scenario.recreated_in);
    if act == Act::Recreate {
        server.remove(&target, now);
        let then = if server.get(&target).is_some() { Act::LetGo } else { Act::Create };
        return ("deleted".to_owned(), Some((created_at, then)));
    }
    if act == Act::LetGo {
        let said = edit(&target, json!({ "metadata": { "finalizers": null } }), server, now);
        return (said, Some((created_at, Act::Create)));
    }
    let follows = match act {
        Act::Promote => Some((plus(now, 150), Act::EndPause)),
        Act::Edit(edit) => edit.follows().map(|(later, next)| (plus(now, later), Act::Edit(next))),
        _ => None,
    };
    if let Act::Release(version) | Act::Undo(version) = act {
        return (outcome(&release(version, &rollout, scenario, server, now)), None);
    }
    if let (Act::Router(_), Router::None) = (act, scenario.router) {
        // Before there is a first router, there is a route that leads to both Services.
        let (route, body) = objects::route_to_both();
        edit(&route, body, server, now);
    }
    let is_left_out = rollout.at("/spec/strategy/canary").is_none() && is_of_canary(act);
    let change = if is_left_out { None } else { patch(act, &rollout, scenario, now) };
    let said = match change {
        Some((part, body)) => {
            let status = part == Part::Status;
            outcome(&server.call(&Call::Patch { target, status, patch: Patch::Merge(body) }, now))
        }
        None => "nothing to do".to_owned(),
    };
    (said, follows)
}

/// True for what changes the canary strategy, which is another one when the user wants it back.
fn is_of_canary(act: Act) -> bool {
    match act {
        Act::Steps(_) | Act::Limits(..) | Act::Router(_) | Act::Dynamic(_) => true,
        Act::Edit(edit) => edit != Edit::Canary,
        _ => false,
    }
}

/// Writes the template of a version to where the Rollout takes it from.
fn release(version: i64, rollout: &Value, scenario: &Scenario, server: &mut Server, now: Timestamp) -> Reply {
    let template = workload::template(rollout, server).cloned().unwrap_or_default();
    let template = scenario.pod_template(&template, version);
    let of_itself = || (scenario.target(), json!({ "spec": { "template": template } }));
    let (target, body) = workload::written(rollout, &template).unwrap_or_else(of_itself);
    server.call(&Call::Patch { target, status: false, patch: Patch::Merge(body) }, now)
}

#[derive(PartialEq, Eq)]
enum Part {
    Spec,
    Status,
}

fn patch(act: Act, rollout: &Value, scenario: &Scenario, now: Timestamp) -> Option<(Part, Value)> {
    let is_paused = rollout.at("/spec/paused") == Some(&json!(true));
    match act {
        Act::Promote => promotion(rollout).map(|status| (Part::Status, json!({ "status": status }))),
        Act::EndPause | Act::Unpause => {
            is_paused.then(|| (Part::Spec, json!({ "spec": { "paused": false } })))
        }
        Act::PromoteFull => {
            let differs = text(rollout, "/status/currentPodHash") != text(rollout, "/status/stableRS");
            differs.then(|| (Part::Status, json!({ "status": { "promoteFull": true } })))
        }
        Act::Abort => Some((Part::Status, json!({ "status": { "abort": true } }))),
        Act::Retry => Some((Part::Status, json!({ "status": { "abort": false } }))),
        Act::Pause => Some((Part::Spec, json!({ "spec": { "paused": true } }))),
        Act::Scale(replicas) => Some((Part::Spec, json!({ "spec": { "replicas": replicas } }))),
        Act::Steps(number) => {
            let mut luck = Random::new(u64::try_from(number).unwrap_or(0), "steps");
            let steps = steps(&mut luck, scenario.router);
            Some((Part::Spec, json!({ "spec": { "strategy": { "canary": { "steps": steps } } } })))
        }
        Act::Limits(surge, unavailable) => {
            let limits = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
            Some((Part::Spec, json!({ "spec": { "strategy": { "canary": limits } } })))
        }
        Act::Router(other) => {
            let to = if Router::of(rollout) == scenario.router { other } else { scenario.router };
            let is_dynamic = rollout.at("/spec/strategy/canary/dynamicStableScale") == Some(&json!(true));
            let canary = routed(to, scenario.router.total(), is_dynamic);
            Some((Part::Spec, json!({ "spec": { "strategy": { "canary": canary } } })))
        }
        Act::Dynamic(is_wanted) => {
            let is_routed = rollout.at("/spec/strategy/canary/trafficRouting").is_some();
            let canary = if is_wanted {
                json!({ "dynamicStableScale": true, "scaleDownDelaySeconds": null, "bake": null })
            } else {
                json!({ "dynamicStableScale": false, "scaleDownDelaySeconds": 10 })
            };
            is_routed.then(|| (Part::Spec, json!({ "spec": { "strategy": { "canary": canary } } })))
        }
        Act::Edit(edit) => {
            edits::patch(edit, rollout, scenario).map(|spec| (Part::Spec, json!({ "spec": spec })))
        }
        Act::Restart => {
            let at = plus(now, scenario.restarts_in);
            Some((Part::Spec, json!({ "spec": { "restartAt": at.to_string() } })))
        }
        Act::Release(_) | Act::Undo(_) | Act::Recreate | Act::LetGo | Act::Create => None,
    }
}

/// What belongs to a router comes and goes with it.
fn routed(router: Router, total: i64, is_dynamic: bool) -> Value {
    if router != Router::None {
        let mut routing = json!({ "istio": null, "nginx": null, "plugins": null, "maxTrafficWeight": null });
        patch::merge(&mut routing, &objects::traffic_routing(router, total));
        let delay = if is_dynamic { Value::Null } else { json!(10) };
        return json!({
            "canaryService": "shop-canary", "stableService": "shop-stable",
            "trafficRouting": routing, "scaleDownDelaySeconds": delay,
        });
    }
    json!({
        "trafficRouting": null,
        "bake": null,
        "scaleDownDelaySeconds": null,
        "abortScaleDownDelaySeconds": null,
        "minPodsPerReplicaSet": null,
        "dynamicStableScale": null,
        "abort": null,
    })
}

/// As the stock plugin: it takes the pauses away; without one it moves the index on.
fn promotion(rollout: &Value) -> Option<Value> {
    let status = rollout.get("status")?;
    let pauses = status.get("pauseConditions").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let steps = rollout.at("/spec/strategy/canary/steps").and_then(Value::as_array).map_or(0, Vec::len);
    let index = status.get("currentStepIndex").and_then(Value::as_i64);
    let next = index.map(|index| (index + 1).min(i64::try_from(steps).unwrap_or(i64::MAX)));
    let inconclusive = text(rollout, "/status/canary/currentStepAnalysisRunStatus/status") == "Inconclusive";
    if pauses && inconclusive && status.get("controllerPause") == Some(&json!(true)) {
        return Some(json!({ "pauseConditions": null, "controllerPause": false, "currentStepIndex": next }));
    }
    if pauses {
        return Some(json!({ "pauseConditions": null }));
    }
    next.map(|next| json!({ "pauseConditions": null, "currentStepIndex": next }))
}

fn outcome(reply: &Reply) -> String {
    match reply {
        Reply::Object(object) => {
            format!(
                "version {} generation {}",
                text(object, "/metadata/resourceVersion"),
                number(object, "/metadata/generation")
            )
        }
        Reply::Refused { code, reason, .. } => format!("refused: {code} {reason}"),
        Reply::Objects(_) | Reply::Lost(_) | Reply::Measured(_) | Reply::Notified(_) => {
            "no answer".to_owned()
        }
    }
}

/// Changes an object for somebody who is not the controller.
pub fn edit(target: &ObjectRef, body: Value, server: &mut Server, now: Timestamp) -> String {
    let call = Call::Patch { target: target.clone(), status: false, patch: Patch::Merge(body) };
    outcome(&server.call(&call, now))
}
