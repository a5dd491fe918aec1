//! Fields of ours that a Rollout of Argo Rollouts does not have: by a chance of their own, so that all else of a seed is as
//! it would be without them.

use super::{Row, analysis};
use crate::kinds::{Router, Step};
use crate::random::Random;
use crate::world::patch;
use serde_json::{Value, json};

/// A pause for a user: some wait no longer than so.
pub(super) fn pause(luck: &mut Random) -> Value {
    if !luck.percent(30) {
        return json!({ "pause": {} });
    }
    let then = luck.pick("stay", &["abort", "promote"]);
    json!({ "pause": { "maxDuration": format!("{}s", luck.between(90, 240)), "onTimeout": then } })
}

/// What analyses that fail lead to, and a bake. A version that never gets better may be held for ever.
pub(super) fn plan(rollout: &mut Value, router: Router, luck: &mut Random) {
    let Some(canary) = rollout.pointer_mut("/spec/strategy/canary").and_then(Value::as_object_mut) else {
        return;
    };
    let then = luck.pick("hold", &["hold", "pause"]);
    let steps = canary.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten();
    for analysis in steps.filter_map(|step| step.get_mut("analysis")?.as_object_mut()) {
        if luck.percent(40) {
            analysis.insert("onFailure".to_owned(), json!(then));
        }
    }
    if let Some(Value::Object(background)) = canary.get_mut("analysis")
        && luck.percent(30)
    {
        background.insert("onFailure".to_owned(), json!(luck.pick("pause", &["abort", "hold"])));
    }
    if router != Router::None && luck.percent(25) {
        let mut bake = json!({ "duration": format!("{}s", luck.between(15, 90)) });
        if let (Some(bake), true) = (bake.as_object_mut(), luck.percent(50)) {
            bake.insert("analysis".to_owned(), analysis(luck.pick("success", &["watch"])));
        }
        canary.insert("bake".to_owned(), bake);
    }
}

/// Fields of the whole Rollout, most of which Argo Rollouts has, too: by a chance of their own, as they came later.
pub(super) fn whole(rollout: &mut Value, router: Router, luck: &mut Random) {
    let mut canary = json!({});
    if luck.percent(30) {
        canary["initial"] = json!("analyse");
    }
    if luck.percent(15) {
        let way =
            json!({ "preferredDuringSchedulingIgnoredDuringExecution": { "weight": luck.between(1, 100) } });
        canary["antiAffinity"] = way;
    }
    if router != Router::None && luck.percent(20) {
        canary["scaleDownDelayRevisionLimit"] = json!(luck.between(0, 2));
    }
    let mut spec = json!({ "strategy": { "canary": canary } });
    if luck.percent(20) {
        spec["rollbackWindow"] = json!({ "revisions": luck.between(1, 3) });
    }
    if luck.percent(30) {
        let limits = (luck.between(0, 3), luck.between(0, 3));
        spec["analysis"] =
            json!({ "successfulRunHistoryLimit": limits.0, "unsuccessfulRunHistoryLimit": limits.1 });
    }
    patch::merge(rollout, &json!({ "spec": spec }));
}

/// Other forms of what the plan writes in one form only: by a chance of their own, as they came later.
pub(super) fn forms(rollout: &mut Value, row: &Row, luck: &mut Random) {
    if luck.percent(15) {
        let (kind, value) = if luck.percent(50) {
            ("Pods", luck.between(1, 3))
        } else {
            ("Percent", luck.pick(25, &[75, 100]))
        };
        set(rollout, &json!({ "replicaProgressThreshold": { "type": kind, "value": value } }));
    }
    if luck.percent(8) {
        let required = json!({
            "preferredDuringSchedulingIgnoredDuringExecution": null,
            "requiredDuringSchedulingIgnoredDuringExecution": {},
        });
        set(rollout, &json!({ "antiAffinity": required }));
    }
    let is_dynamic = rollout.pointer("/spec/strategy/canary/dynamicStableScale") == Some(&json!(true));
    if row.router != Router::None && !is_dynamic && luck.percent(15) {
        // 30 seconds each.
        set(rollout, &json!({ "scaleDownDelaySeconds": null, "abortScaleDownDelaySeconds": null }));
    }
    if luck.percent(10) && rollout.pointer("/spec/strategy/canary/analysis").is_some() {
        set(rollout, &json!({ "analysis": { "startingStep": luck.between(0, 2) } }));
    }
    // Its rows need the pods and the sizes that they have.
    if row.step != Step::ScaleMatch {
        none_at_all(rollout, luck);
    }
}

/// No pods of a canary, or none at all from the start, or a number that is left out.
fn none_at_all(rollout: &mut Value, luck: &mut Random) {
    if luck.percent(10) {
        let steps = rollout.pointer_mut("/spec/strategy/canary/steps").and_then(Value::as_array_mut);
        let mut steps = steps.into_iter().flatten();
        if let Some(replicas) = steps.find_map(|step| step.pointer_mut("/setCanaryScale/replicas")) {
            *replicas = json!(0);
        }
    }
    if luck.percent(4) {
        // A first version without pods has nothing to analyse.
        let is_analysed = rollout.pointer("/spec/strategy/canary/initial").is_some();
        let replicas = if luck.percent(50) && !is_analysed { json!(0) } else { Value::Null };
        patch::merge(rollout, &json!({ "spec": { "replicas": replicas } }));
    }
}

fn set(rollout: &mut Value, fields: &Value) {
    patch::merge(rollout, &json!({ "spec": { "strategy": { "canary": fields } } }));
}

/// The analyses of the Rollout name templates of the cluster.
pub(super) fn name_clusterwide(rollout: &mut Value) {
    let Some(canary) = rollout.pointer_mut("/spec/strategy/canary") else { return };
    for field in ["/analysis", "/bake/analysis"] {
        canary.pointer_mut(field).into_iter().for_each(of_cluster);
    }
    let steps = canary.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten();
    steps.filter_map(|step| step.get_mut("analysis")).for_each(of_cluster);
}

fn of_cluster(analysis: &mut Value) {
    let templates = analysis.get_mut("templates").and_then(Value::as_array_mut).into_iter().flatten();
    templates.for_each(|template| patch::merge(template, &json!({ "clusterScope": true })));
}
