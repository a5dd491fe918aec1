//! Where a Rollout may be when a command comes, or anything else.

use crate::server::{Author, refused};
use crate::workload::deployment;
use crate::world::{VIRTUAL_SERVICES, World, at, routed, service, template, virtual_service};
use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Resource};
use headgate_driver::resources::{DEPLOYMENTS, PODS, ROLLOUTS, SERVICES};
use headgate_model::Reply as Measured;
use serde_json::{Value, json};

pub(crate) const TEMPLATES: Resource = Resource {
    group: "argoproj.io",
    version: "v1alpha1",
    kind: "AnalysisTemplate",
    plural: "analysistemplates",
    namespaced: true,
};

/// Makes the states, the list of all and their titles from one list: no state is left out of what is tried at each.
macro_rules! states {
    ($($state:ident = $title:literal),+ $(,)?) => {
        /// Where a Rollout may be when a command comes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum State {
            $( $state, )+
        }

        impl State {
            pub(crate) const ALL: [Self; [$($title),+].len()] = [$(Self::$state),+];

            pub(crate) fn title(self) -> &'static str {
                match self {
                    $( Self::$state => $title, )+
                }
            }
        }
    };
}

states! {
    Healthy = "Nothing is released",
    Restarting = "Restarting, nothing is released",
    PausedWithoutRelease = "Paused by the user, nothing is released",
    HeldBack = "Paused by the user before the release begins",
    PodsAwaited = "A step waits for pods",
    Paused = "Paused by a step",
    PausedForATime = "Paused by a step, for two minutes",
    PausedForTooLong = "Paused by a step, for longer than its `maxDuration` (`onTimeout: stay`)",
    ScaledToNothing = "Paused by a step, and scaled to nothing",
    ThirdVersion = "Version 4 in the middle of the release of version 2",
    PausedByUser = "Paused by the user, at a pause of the steps",
    PausedByUserBetweenPauses = "Paused by the user, at a step that is no pause",
    AnalysisRunning = "A step waits for its analysis",
    Inconclusive = "Paused by an inconclusive analysis",
    AnalysisFailed = "Paused by a failed analysis (`onFailure: pause`)",
    PodUnhealthy = "Paused for an unhealthy pod (`podHealth.action: pause`), in an analysis",
    Aborted = "Aborted",
    GoingBack = "Aborted, on the way back (`abort.policy: stepped`)",
    FirstAborted = "The first version is analysed (`initial: analyse`), and aborted",
    AbortedWithoutRouter = "Aborted, without a router",
    Overdue = "The progress deadline has passed",
    PromotedInFull = "Promoted in full, pods awaited",
    OldPodsWait = "Promoted, the old pods wait (`scaleDownDelaySeconds`)",
    RollingBack = "Going back to version 1 within `rollbackWindow`, pods awaited",
    InvalidSpec = "The spec cannot be carried out",
    FirstAwaited = "The first version waits for its pods",
    FirstAnalysed = "The first version is analysed (`initial: analyse`)",
    Baking = "The new version bakes (`bake`)",
    Held = "Held by a failed analysis (`onFailure: hold`)",
    WithoutSteps = "Without steps, pods awaited",
    WithoutRouter = "Without a router, a step waits for pods",
    PausedWithoutRouter = "Without a router, paused by a step",
    Dynamic = "Paused by a step, stable goes with its weight (`dynamicStableScale`)",
    BackgroundRunning = "Paused by a step, with an analysis in the background",
    Referring = "Paused by a step, with the template of a Deployment (`workloadRef`)",
}

impl State {
    /// Whether a run is under way, or belongs to its step.
    pub(crate) fn has_run(self) -> bool {
        self.is_about_analysis() && self != Self::FirstAborted || self == Self::BackgroundRunning
    }

    fn is_about_analysis(self) -> bool {
        matches!(
            self,
            Self::AnalysisRunning
                | Self::Inconclusive
                | Self::AnalysisFailed
                | Self::PodUnhealthy
                | Self::FirstAnalysed
                | Self::FirstAborted
                | Self::Held
        )
    }

    pub(crate) fn reached(self) -> World {
        let mut world = World::new();
        world.provider = match self {
            Self::Inconclusive => Box::new(|_| Some(measured("0.5"))),
            Self::Held | Self::AnalysisFailed => Box::new(|_| Some(measured("0"))),
            _ => Box::new(|_| None),
        };
        world.server.makes_pods = true;
        world.pods_start = self != Self::FirstAwaited;
        world.create(SERVICES, service("web-stable"));
        world.create(SERVICES, service("web-canary"));
        world.create(VIRTUAL_SERVICES, virtual_service());
        world.create(TEMPLATES, analysis());
        let mut rollout = routed();
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = self.steps();
        match self {
            Self::FirstAnalysed | Self::FirstAborted => canary["initial"] = json!("analyse"),
            Self::Dynamic => canary["dynamicStableScale"] = json!(true),
            Self::Baking => canary["bake"] = json!({ "duration": "1h" }),
            Self::PodUnhealthy => canary["podHealth"] = json!({ "action": "pause" }),
            Self::GoingBack => canary["abort"] = json!({ "policy": "stepped" }),
            Self::RollingBack => rollout["spec"]["rollbackWindow"] = json!({ "revisions": 1 }),
            Self::WithoutRouter | Self::PausedWithoutRouter | Self::AbortedWithoutRouter => {
                take_router_out(canary);
            }
            Self::BackgroundRunning => {
                canary["analysis"] = json!({ "templates": [{ "templateName": "watch" }] });
            }
            Self::Referring => {
                world.create(DEPLOYMENTS, deployment(0));
                refer(&mut rollout["spec"]);
            }
            _ => {}
        }
        world.create(ROLLOUTS, rollout);
        world.run(60);
        self.lead_to(&mut world);
        world
    }

    /// 25 %, then what the state is about, 50 % and a pause.
    fn steps(self) -> Value {
        if let Self::WithoutSteps = self {
            return json!([]);
        }
        let analysis = |on_failure: &str| json!({ "analysis": { "templates": [{ "templateName": "watch" }], "onFailure": on_failure } });
        let middle = match self {
            Self::Held => analysis("hold"),
            Self::AnalysisFailed => analysis("pause"),
            _ if self.is_about_analysis() => analysis("abort"),
            Self::Baking => json!({ "setWeight": 30 }),
            Self::PausedForTooLong => json!({ "pause": { "maxDuration": "20s", "onTimeout": "stay" } }),
            Self::PausedForATime => json!({ "pause": { "duration": "2m" } }),
            _ => json!({ "pause": {} }),
        };
        let last = if let Self::Baking = self { json!({ "setWeight": 60 }) } else { json!({ "pause": {} }) };
        json!([{ "setWeight": 25 }, middle, { "setWeight": 50 }, last])
    }

    fn lead_to(self, world: &mut World) {
        let rollout = || at(ROLLOUTS, "web");
        world.pods_start = !matches!(
            self,
            Self::PodsAwaited
                | Self::FirstAwaited
                | Self::Overdue
                | Self::PromotedInFull
                | Self::PausedByUserBetweenPauses
                | Self::WithoutSteps
        );
        if let Self::Overdue = self {
            world.edit(rollout(), json!({ "spec": { "progressDeadlineSeconds": 20 } }));
        }
        match self {
            Self::Healthy | Self::FirstAwaited | Self::FirstAnalysed => return,
            Self::FirstAborted => {
                world.edit(rollout(), json!({ "status": { "abort": true } }));
                return world.run(5);
            }
            Self::PausedWithoutRelease => {
                world.edit(rollout(), json!({ "spec": { "paused": true } }));
                return world.run(5);
            }
            Self::HeldBack => {
                world.edit(rollout(), json!({ "spec": { "paused": true, "template": template("2") } }));
            }
            Self::Restarting => return restart(world),
            Self::InvalidSpec => {
                world.edit(rollout(), json!({ "spec": { "template": template("2") } }));
                world.run(10);
                world.edit(rollout(), json!({ "spec": { "strategy": { "canary": { "maxSurge": "x" } } } }));
            }
            _ => world.edit(templated(world), json!({ "spec": { "template": template("2") } })),
        }
        world.run(30);
        match self {
            Self::PausedByUser => world.edit(rollout(), json!({ "spec": { "paused": true } })),
            Self::PausedByUserBetweenPauses => {
                world.edit(rollout(), json!({ "spec": { "paused": true } }));
                world.pods_start = true;
            }
            Self::Aborted | Self::AbortedWithoutRouter => {
                world.edit(rollout(), json!({ "status": { "abort": true } }));
            }
            Self::ScaledToNothing => world.edit(rollout(), json!({ "spec": { "replicas": 0 } })),
            Self::ThirdVersion => {
                world.edit(rollout(), json!({ "spec": { "template": template("4") } }));
            }
            Self::GoingBack => return abort_after_half(world),
            Self::RollingBack => release_and_go_back(world),
            Self::WithoutRouter => {
                world.pods_start = false;
                end_pause(world);
            }
            Self::PromotedInFull | Self::OldPodsWait => promote_full(world),
            Self::PodUnhealthy => kill_for_memory(world),
            _ => {}
        }
        world.run(5);
    }
}

/// Then pods are the only weights.
fn take_router_out(canary: &mut Value) {
    let canary = canary.as_object_mut().unwrap();
    for written in ["trafficRouting", "canaryService", "stableService"] {
        canary.remove(written);
    }
}

fn end_pause(world: &mut World) {
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "pauseConditions": null } }));
}

fn promote_full(world: &mut World) {
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "promoteFull": true } }));
}

/// Aborted at 50 %, on the way to 0 by 25, where proxies are given a moment.
fn abort_after_half(world: &mut World) {
    end_pause(world);
    world.run(30);
    world.edit(at(ROLLOUTS, "web"), json!({ "status": { "abort": true } }));
    world.run(1);
}

/// Version 2 is stable and the old pods are gone when version 1 comes back.
fn release_and_go_back(world: &mut World) {
    promote_full(world);
    world.run(60);
    world.pods_start = false;
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("1") } }));
}

/// Its template becomes that of a Deployment.
fn refer(spec: &mut Value) {
    let spec = spec.as_object_mut().unwrap();
    for written in ["template", "selector"] {
        spec.remove(written);
    }
    let reference = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    spec.insert("workloadRef".to_owned(), reference);
}

/// The object that the template of the Rollout is written in.
pub(crate) fn templated(world: &World) -> ObjectRef {
    let refers = world.rollout()["spec"].get("workloadRef").is_some();
    at(if refers { DEPLOYMENTS } else { ROLLOUTS }, "web")
}

/// Begun, and held up by a PodDisruptionBudget.
fn restart(world: &mut World) {
    world.refuse(|call| matches!(call, Call::Evict { .. }), refused(429, "TooManyRequests"));
    let now = world.now.to_string();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "restartAt": now } }));
    world.run(5);
}

/// A pod of the new version is.
fn kill_for_memory(world: &mut World) {
    let hash = &world.rollout()["status"]["currentPodHash"];
    let is_new = |pod: &Value| pod["metadata"]["labels"]["rollouts-pod-template-hash"] == *hash;
    let mut pods = world.server.objects.iter().filter(|(target, _)| target.resource == PODS);
    let target = pods.find(|(_, pod)| is_new(pod)).unwrap().0.clone();
    let end = json!({ "reason": "OOMKilled", "exitCode": 137, "finishedAt": world.now.to_string() });
    let container = json!({
        "name": "web", "restartCount": 1, "ready": true,
        "state": { "running": {} }, "lastState": { "terminated": end },
    });
    let patch = Patch::Merge(json!({ "status": { "containerStatuses": [container] } }));
    let reply = world.server.call(&Call::Patch { target, status: false, patch }, Author::Other, world.now);
    assert!(matches!(reply, Reply::Object(_)), "{reply:?}");
}

pub(crate) fn analysis() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": { "name": "watch", "namespace": "shop" },
        "spec": { "metrics": [{
            "name": "success", "count": 1,
            "successCondition": "result[0] > 0.9", "failureCondition": "result[0] < 0.1",
            "provider": { "prometheus": { "address": "http://prometheus", "query": "up" } },
        }]},
    })
}

pub(crate) fn measured(value: &str) -> Measured {
    let body = json!({ "status": "success",
        "data": { "resultType": "vector", "result": [{ "metric": {}, "value": [0, value] }] } });
    Measured::Http { status: 200, body: body.to_string(), truncated: false }
}
