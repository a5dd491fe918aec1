//! What a user changes in the spec in the middle of a release, apart from versions, pods, steps, limits and routers.

use crate::random::Random;
use crate::scenario;
use headgate_api::At;
use serde_json::{Value, json};

/// A change of the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Sets `progressDeadlineSeconds` and `progressDeadlineAbort`.
    Deadline(i64, bool),
    /// Sets `scaleDownDelaySeconds` and `abortScaleDownDelaySeconds`, where there is a router; the first one only where
    /// stable does not shrink with its weight, which forbids it.
    Delays(i64, i64),
    /// Sets `minReadySeconds`.
    MinReady(i64),
    /// Takes the analysis in the background out, or puts one in where there is none.
    Background,
    /// Sets `podHealth.action`.
    PodHealth(&'static str),
    /// Sets `rollbackWindow.revisions`, or takes it out.
    RollbackWindow(Option<i64>),
    /// Sets how many runs are kept that were successful, and others.
    RunsKept(i64, i64),
}

/// One of them.
pub(crate) fn any(luck: &mut Random) -> Edit {
    match luck.between(0, 7) {
        0 | 1 => Edit::Deadline(luck.pick(60, &[30, 120, 600]), luck.percent(50)),
        2 => Edit::Delays(luck.pick(5, &[10, 30]), luck.pick(0, &[5, 30])),
        3 => Edit::MinReady(luck.pick(0, &[5, 10])),
        4 => Edit::Background,
        5 => Edit::PodHealth(luck.pick("abort", &["pause", "off"])),
        6 => Edit::RollbackWindow(luck.pick(None, &[Some(1), Some(3)])),
        _ => Edit::RunsKept(luck.between(0, 2), luck.between(0, 2)),
    }
}

/// The patch of the spec; `None` where there is nothing that it could change.
pub(crate) fn patch(edit: Edit, rollout: &Value, clusterwide: bool) -> Option<Value> {
    let in_canary = |canary: Value| json!({ "strategy": { "canary": canary } });
    let canary = |field: &str| rollout.at(&format!("/spec/strategy/canary/{field}"));
    Some(match edit {
        Edit::Deadline(seconds, aborts) => {
            json!({ "progressDeadlineSeconds": seconds, "progressDeadlineAbort": aborts })
        }
        Edit::Delays(..) if canary("trafficRouting").is_none() => return None,
        Edit::Delays(_, abort) if canary("dynamicStableScale") == Some(&json!(true)) => {
            in_canary(json!({ "abortScaleDownDelaySeconds": abort }))
        }
        Edit::Delays(old, abort) => {
            in_canary(json!({ "scaleDownDelaySeconds": old, "abortScaleDownDelaySeconds": abort }))
        }
        Edit::MinReady(seconds) => json!({ "minReadySeconds": seconds }),
        Edit::Background if canary("analysis").is_some() => in_canary(json!({ "analysis": null })),
        Edit::Background => {
            let mut analysis = scenario::analysis("watch");
            analysis["templates"][0]["clusterScope"] = json!(clusterwide);
            in_canary(json!({ "analysis": analysis }))
        }
        Edit::PodHealth(action) => in_canary(json!({ "podHealth": { "action": action } })),
        Edit::RollbackWindow(revisions) => {
            json!({ "rollbackWindow": revisions.map(|revisions| json!({ "revisions": revisions })) })
        }
        Edit::RunsKept(good, bad) => {
            json!({ "analysis": { "successfulRunHistoryLimit": good, "unsuccessfulRunHistoryLimit": bad } })
        }
    })
}
