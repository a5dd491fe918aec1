//! What an abort needs of a spec that is otherwise invalid.

use super::{canary, pod_health, routers, steps};
use crate::spec::{
    AbortDelay, AbortPolicy, Canary, Count, Initial, PauseEnd, PodHealth, PodHealthAction, RolloutSpec,
    Routing, Step, WorkloadScaleDown,
};
use crate::template::{PodMetadata, rolled_out};
use crate::total_weight;
use serde_json::{Map, Value};

/// Reads what can be read of an invalid spec, so that an abort leads back to stable all the same, and only where the
/// analysis that has failed is meant to abort. A step that can't be read is one that nobody passes. `running` pods of the stable version count as wanted where the spec's number is itself
/// wrong. Answers nothing for a Rollout that is not a canary or lacks selector or template.
pub fn salvage(spec: &Value, running: i32) -> Option<RolloutSpec> {
    let strategy = spec.pointer("/strategy/canary").filter(|value| value.is_object())?;
    let number = |key: &str| i32::try_from(spec.get(key)?.as_i64()?).ok().filter(|number| *number >= 0);
    let replicas = match spec.get("replicas") {
        None | Some(Value::Null) => 1,
        Some(_) => number("replicas").unwrap_or(running),
    };
    Some(RolloutSpec {
        replicas,
        replicas_unset: false,
        selector: spec.get("selector").filter(|value| value.is_object())?.clone(),
        template: rolled_out(spec.get("template").filter(|value| value.is_object())?).into_owned(),
        min_ready_seconds: number("minReadySeconds").unwrap_or(0),
        revision_history_limit: i32::MAX,
        paused: false,
        progress_deadline_seconds: i32::MAX,
        progress_deadline_abort: false,
        rollback_window: salvage_window(spec),
        restart_at: None,
        successful_runs_kept: i32::MAX,
        unsuccessful_runs_kept: i32::MAX,
        workload_scale_down: WorkloadScaleDown::Never,
        canary: salvage_canary(strategy),
    })
}

/// Nothing is aborted that may be a rollback within the window: where the window can't be read, every rollback is.
fn salvage_window(spec: &Value) -> i32 {
    match spec.pointer("/rollbackWindow/revisions") {
        None | Some(Value::Null) => 0,
        Some(number) => number.as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(i32::MAX),
    }
}

fn salvage_canary(strategy: &Value) -> Canary {
    let mut bare = Map::new();
    for key in [
        "canaryService",
        "stableService",
        "maxSurge",
        "maxUnavailable",
        "trafficRouting",
        "scaleDownDelaySeconds",
        "abortScaleDownDelaySeconds",
        "minPodsPerReplicaSet",
        "dynamicStableScale",
    ] {
        if let Some(value) = strategy.get(key) {
            bare.insert(key.to_owned(), value.clone());
        }
    }
    let mut canary = canary::canary(&Value::Object(bare)).unwrap_or_else(|_| Canary {
        steps: Vec::new(),
        max_surge: Count::Percent(25),
        max_unavailable: Count::Percent(25),
        canary_service: text(strategy, "canaryService"),
        stable_service: text(strategy, "stableService"),
        background: None,
        routing: strategy
            .get("trafficRouting")
            .filter(|value| value.is_object())
            .map(|written| salvage_routing(strategy, written)),
        anti_affinity: None,
        canary_metadata: PodMetadata::default(),
        stable_metadata: PodMetadata::default(),
        progress_threshold: None,
        pod_health: PodHealth::default(),
        abort_policy: AbortPolicy::Instant,
        bake: None,
        initial: Initial::Skip,
    });
    // Where nobody can say what the user wants, nothing is aborted.
    canary.pod_health = pod_health::pod_health(strategy)
        .unwrap_or(PodHealth { action: Some(PodHealthAction::Off), ..PodHealth::default() });
    canary.steps = salvage_steps(strategy, &canary);
    canary.background =
        canary::background(strategy).or_else(|_| canary::background(&pausing(strategy))).ok().flatten();
    canary.abort_policy = canary::abort_policy(strategy, canary.routing.is_some()).unwrap_or_default();
    canary
}

fn salvage_steps(strategy: &Value, canary: &Canary) -> Vec<Step> {
    let read = |step: &Value| {
        let one = Value::Array(vec![step.clone()]);
        steps::steps(Some(&one), canary.total(), canary.routing.as_ref()).ok()?.pop()
    };
    let steps = strategy.get("steps").and_then(Value::as_array).into_iter().flatten();
    let salvaged = steps.map(|step| read(step).or_else(|| read(&pausing(step))));
    salvaged.map(|step| step.unwrap_or(Step::Pause(PauseEnd::Promotion(None)))).collect()
}

/// The same with an analysis whose `onFailure` is `pause`, where it has one. A word that can't be read is not meant to be
/// `abort`, which nobody has to write; a pause harms least, and ends by a user.
fn pausing(holder: &Value) -> Value {
    let mut holder = holder.clone();
    if let Some(word) = holder.pointer_mut("/analysis/onFailure") {
        *word = Value::from("pause");
    }
    holder
}

fn text(strategy: &Value, key: &str) -> Option<String> {
    strategy.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Without routers where one of them can't be read: nobody can say what the canary gets then.
fn salvage_routing(strategy: &Value, written: &Value) -> Routing {
    let number = |key: &str| canary::not_negative(strategy, key).ok().flatten();
    let routers = routers::routers(written, "").map(|(routers, _)| routers);
    Routing {
        routers: routers.unwrap_or_default(),
        total: total_weight(written),
        scale_down_delay_seconds: number("scaleDownDelaySeconds").unwrap_or(30),
        abort_delay: AbortDelay::new(number("abortScaleDownDelaySeconds")),
        scale_down_delay_revision_limit: None,
        dynamic_stable_scale: false,
        min_pods_per_replica_set: number("minPodsPerReplicaSet"),
    }
}
