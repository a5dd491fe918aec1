//! What a user changes in the spec in the middle of a release, apart from versions, pods, steps, limits and routers.

use crate::random::Random;
use crate::scenario::{self, Scenario};
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
    /// Sets the type and the value of `replicaProgressThreshold`, or takes it out.
    Threshold(Option<(&'static str, i64)>),
    /// Prefers nodes without pods of another version with this weight, or takes `antiAffinity` out.
    AntiAffinity(Option<i64>),
    /// Sets the label `role` of the pods of new versions and of stable ones, or takes their metadata out.
    Roles(Option<&'static str>, Option<&'static str>),
    /// Puts `blueGreen` in place of the canary.
    BlueGreen,
    /// Puts the canary of the beginning back in its place.
    Canary,
}

impl Edit {
    /// What the user does about it later, and after how many milliseconds.
    pub fn follows(self) -> Option<(i64, Self)> {
        (self == Self::BlueGreen).then_some((40_000, Self::Canary))
    }
}

/// One that changes the whole Rollout, or what a release goes by.
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

/// One of those that came later: by a chance of their own, so that all else of a seed is as it would be without them.
pub(crate) fn later(luck: &mut Random) -> Edit {
    match luck.between(0, 6) {
        0 | 1 => Edit::Threshold(luck.pick(None, &[Some(("Pods", 1)), Some(("Percent", 50))])),
        2 => Edit::AntiAffinity(luck.pick(None, &[Some(50)])),
        3..=5 => {
            let role = |luck: &mut Random, name| luck.pick(None, &[Some(name), Some("any")]);
            Edit::Roles(role(luck, "canary"), role(luck, "stable"))
        }
        _ => Edit::BlueGreen,
    }
}

/// The patch of the spec; `None` where there is nothing that it could change.
pub(crate) fn patch(edit: Edit, rollout: &Value, scenario: &Scenario) -> Option<Value> {
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
            analysis["templates"][0]["clusterScope"] = json!(scenario.has_clusterwide_templates());
            in_canary(json!({ "analysis": analysis }))
        }
        Edit::PodHealth(action) => in_canary(json!({ "podHealth": { "action": action } })),
        Edit::RollbackWindow(revisions) => {
            json!({ "rollbackWindow": revisions.map(|revisions| json!({ "revisions": revisions })) })
        }
        Edit::RunsKept(good, bad) => {
            json!({ "analysis": { "successfulRunHistoryLimit": good, "unsuccessfulRunHistoryLimit": bad } })
        }
        Edit::Threshold(threshold) => {
            let threshold = threshold.map(|(kind, value)| json!({ "type": kind, "value": value }));
            in_canary(json!({ "replicaProgressThreshold": threshold }))
        }
        Edit::AntiAffinity(weight) => {
            let rule = weight.map(|weight| {
                json!({
                    "preferredDuringSchedulingIgnoredDuringExecution": { "weight": weight },
                    "requiredDuringSchedulingIgnoredDuringExecution": null,
                })
            });
            in_canary(json!({ "antiAffinity": rule }))
        }
        Edit::Roles(canary, stable) => {
            let metadata = |role: Option<&str>| role.map(|role| json!({ "labels": { "role": role } }));
            in_canary(json!({ "canaryMetadata": metadata(canary), "stableMetadata": metadata(stable) }))
        }
        Edit::BlueGreen => {
            json!({ "strategy": { "canary": null, "blueGreen": { "activeService": "shop-stable" } } })
        }
        Edit::Canary if rollout.at("/spec/strategy/blueGreen").is_none() => return None,
        Edit::Canary => {
            let canary = scenario.rollout.at("/spec/strategy/canary");
            json!({ "strategy": { "blueGreen": null, "canary": canary } })
        }
    })
}
