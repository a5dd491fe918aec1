//! Fields of ours that a Rollout of Argo Rollouts does not have: by a chance of their own, so that all else of a seed is as
//! it would be without them.

use crate::kinds::Router;
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
            let arguments = json!([{ "name": "hash", "valueFrom": { "podTemplateHashValue": "Latest" } }]);
            let template = luck.pick("success", &["watch"]);
            let analysis = json!({ "templates": [{ "templateName": template }], "args": arguments });
            bake.insert("analysis".to_owned(), analysis);
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
