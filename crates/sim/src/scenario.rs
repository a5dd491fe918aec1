//! What a seed is: a Rollout and its surroundings, how pods behave, and everything that will go wrong, all made in
//! advance, so that single faults can be left out when a failure is to be understood.

use crate::faults::{Disturbance, Fate, Outage, ThirdParty, Whose};
use crate::random::Random;
use crate::user::Act;
use crate::world::pods::Health;
use crate::world::proxies::VIRTUAL_SERVICES;
use crate::world::server::reference;
use headgate_driver::io::{ObjectRef, Resource};
use headgate_driver::resources::{ANALYSIS_RUNS, ANALYSIS_TEMPLATES, REPLICA_SETS, ROLLOUTS, SERVICES};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Namespace of everything.
pub const NAMESPACE: &str = "store";
/// Name of the Rollout.
pub const ROLLOUT: &str = "shop";
/// Images are this and the number of the version.
const IMAGE: &str = "shop:";

/// Names an object of the scenario.
pub fn at(resource: Resource, name: &str) -> ObjectRef {
    ObjectRef { resource, namespace: NAMESPACE.to_owned(), name: name.to_owned() }
}

/// How a version's pods are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Router {
    /// Numbers of pods only.
    None,
    /// A VirtualService with two Services.
    Istio,
}

/// Everything about a seed.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// The router.
    pub router: Router,
    /// The Rollout as the user first applies it, with the pod template of version 1.
    pub rollout: Value,
    /// Objects that are there before the Rollout.
    pub surroundings: Vec<(ObjectRef, Value)>,
    /// Images are this and the number of the version.
    pub image: String,
    /// Images by number, and how their pods behave.
    pub health: BTreeMap<String, Health>,
    /// Fields of a Rollout's status that the installed CRD drops.
    pub pruned: &'static [&'static str],
    /// Proxies.
    pub proxies: usize,
    /// The longest that a proxy takes to learn something, in milliseconds.
    pub proxy_delay: i64,
    /// The longest usual delay of a watch event, in milliseconds.
    pub watch_delay: i64,
    /// Pods serve for so long after they were told to end, in milliseconds.
    pub drain: i64,
    /// What happens in the world, at this many milliseconds after the first version is out.
    pub disturbances: Vec<(i64, Disturbance)>,
    /// What happens to requests, by their number.
    pub fates: BTreeMap<u64, Fate>,
}

/// Until then, in milliseconds, faults happen.
pub const FAULTS_END: i64 = 600_000;

impl Scenario {
    /// The scenario of a seed.
    pub fn new(seed: u64) -> Self {
        let mut luck = Random::new(seed, "scenario");
        let router = luck.pick(Router::Istio, &[Router::Istio, Router::None]);
        let rollout = rollout(&mut luck, router);
        let mut health = BTreeMap::new();
        for number in 1..=9 {
            health.insert(format!("{IMAGE}{number}"), health_of(number, &mut luck));
        }
        let intensity = luck.pick(0, &[1, 1, 2, 3]);
        let mut scenario = Self {
            seed,
            router,
            rollout,
            surroundings: surroundings(router),
            image: IMAGE.to_owned(),
            health,
            pruned: if luck.percent(10) { &["headgate", "waiting"] } else { &[] },
            proxies: 3,
            proxy_delay: luck.pick(500, &[1_500, 3_000]),
            watch_delay: luck.pick(50, &[300, 2_000]),
            drain: luck.pick(5_000, &[15_000, 30_000]),
            disturbances: Vec::new(),
            fates: BTreeMap::new(),
        };
        scenario.plan_user(&mut luck);
        scenario.plan_disturbances(intensity, &mut luck);
        scenario.plan_fates(intensity, &mut luck);
        scenario.disturbances.sort_by_key(|(time, _)| *time);
        scenario
    }

    /// Leaves out faults by their numbers: disturbances first, then fates, as [`Scenario::faults`] lists them.
    pub fn without(&self, numbers: &BTreeSet<usize>) -> Self {
        let mut scenario = self.clone();
        let kept = |number: usize| !numbers.contains(&number);
        let disturbances = self.disturbances.iter().enumerate();
        scenario.disturbances =
            disturbances.filter(|(number, _)| kept(*number)).map(|(_, one)| one.clone()).collect();
        let fates = self.fates.iter().enumerate();
        let first = self.disturbances.len();
        scenario.fates =
            fates.filter(|(number, _)| kept(first + number)).map(|(_, (at, fate))| (*at, *fate)).collect();
        scenario
    }

    /// How many faults and acts there are.
    pub fn faults(&self) -> usize {
        self.disturbances.len() + self.fates.len()
    }

    fn plan_user(&mut self, luck: &mut Random) {
        let mut version = 1;
        let mut time = luck.between(1_000, 20_000);
        for _ in 0..luck.between(1, 4) {
            version += 1;
            self.disturbances.push((time, Disturbance::User(Act::Release(version))));
            let length = luck.between(20_000, 200_000);
            let mut at = time;
            for _ in 0..luck.between(0, 6) {
                // Often one act follows the other at once: people are impatient, and scripts are fast.
                at += if luck.percent(30) { luck.between(0, 2_000) } else { luck.between(0, length / 3) };
                self.disturbances.push((at, Disturbance::User(act(luck, version))));
            }
            time += length;
        }
        self.disturbances.retain(|(time, _)| *time < FAULTS_END - 30_000);
    }

    fn plan_disturbances(&mut self, intensity: i64, luck: &mut Random) {
        for _ in 0..luck.between(0, intensity * 4) {
            let time = luck.between(0, FAULTS_END * 2 / 3);
            let disturbance = disturbance(self.router, luck);
            self.disturbances.push((time, disturbance));
        }
    }

    fn plan_fates(&mut self, intensity: i64, luck: &mut Random) {
        for _ in 0..luck.between(0, intensity * 8) {
            let fate = luck.pick(
                Fate::CrashAfter,
                &[
                    Fate::CrashBefore,
                    Fate::AnswerLost,
                    Fate::RequestLost,
                    Fate::Refused(409, "Conflict"),
                    Fate::Refused(429, "TooManyRequests"),
                    Fate::Refused(500, "InternalError"),
                    Fate::Refused(503, "ServiceUnavailable"),
                    Fate::Refused(403, "Forbidden"),
                    Fate::Refused(422, "Invalid"),
                    Fate::Slow(4_000),
                    Fate::Slow(9_000),
                    Fate::Freeze,
                    Fate::Freeze,
                    Fate::Raced,
                    Fate::Raced,
                    Fate::Raced,
                ],
            );
            let number = u64::try_from(luck.between(1, 120)).unwrap_or(1);
            self.fates.insert(number, fate);
        }
    }

    /// The Rollout's reference.
    pub fn target(&self) -> ObjectRef {
        reference(ROLLOUTS, &self.rollout)
    }

    /// Names an object beside the Rollout.
    pub fn at(&self, resource: Resource, name: &str) -> ObjectRef {
        ObjectRef { resource, namespace: self.target().namespace, name: name.to_owned() }
    }

    /// The pod template of a version: the first one with another image.
    pub fn pod_template(&self, version: i64) -> Value {
        let mut template = self.rollout.pointer("/spec/template").cloned().unwrap_or_default();
        if let Some(image) = template.pointer_mut("/spec/containers/0/image") {
            *image = json!(self.image_of(version));
        }
        template
    }

    /// The image of a version.
    pub fn image_of(&self, version: i64) -> String {
        format!("{}{version}", self.image)
    }
}

fn surroundings(router: Router) -> Vec<(ObjectRef, Value)> {
    let mut objects = vec![
        (at(ANALYSIS_TEMPLATES, "success"), template("success", json!(3))),
        (at(ANALYSIS_TEMPLATES, "watch"), template("watch", Value::Null)),
        (at(SERVICES, "shop-stable"), service("shop-stable")),
        (at(SERVICES, "shop-canary"), service("shop-canary")),
    ];
    if router == Router::Istio {
        objects.push((at(VIRTUAL_SERVICES, ROLLOUT), virtual_service()));
    } else {
        let mut route = virtual_service();
        let all = json!([{ "name": "primary", "route": [{ "destination": { "host": "shop-all" }, "weight": 100 }] }]);
        if let Some(http) = route.pointer_mut("/spec/http") {
            *http = all;
        }
        objects.push((at(VIRTUAL_SERVICES, ROLLOUT), route));
        objects.push((at(SERVICES, "shop-all"), service("shop-all")));
    }
    objects
}

fn health_of(version: i64, luck: &mut Random) -> Health {
    let ready_after = luck.pick(500, &[3_000, 12_000]);
    let spread = luck.pick(200, &[5_000, 20_000]);
    let errors_percent = if version > 1 && luck.percent(20) { 30 } else { 0 };
    let is_broken = version > 1 && luck.percent(15);
    Health { ready_after: Some(ready_after).filter(|_| !is_broken), spread, errors_percent }
}

fn rollout(luck: &mut Random, router: Router) -> Value {
    let (surge, unavailable) =
        luck.pick(Pair(-1, -1), &[Pair(1, 0), Pair(0, 1), Pair(2, 1), Pair(0, 2)]).values();
    let mut canary =
        json!({ "maxSurge": surge, "maxUnavailable": unavailable, "steps": steps(luck, router) });
    let mut set = |key: &str, value: Value| {
        if let Some(fields) = canary.as_object_mut() {
            fields.insert(key.to_owned(), value);
        }
    };
    if router == Router::Istio {
        set("canaryService", json!("shop-canary"));
        set("stableService", json!("shop-stable"));
        set(
            "trafficRouting",
            json!({ "istio": { "virtualService": { "name": ROLLOUT, "routes": ["primary"] } } }),
        );
        set("scaleDownDelaySeconds", json!(luck.pick(5, &[10, 30])));
        set("abortScaleDownDelaySeconds", json!(luck.pick(0, &[5, 30])));
        if luck.percent(15) {
            set("minPodsPerReplicaSet", json!(2));
        }
    }
    if luck.percent(20) {
        let arguments = json!([{ "name": "hash", "valueFrom": { "podTemplateHashValue": "Latest" } }]);
        set("analysis", json!({ "templates": [{ "templateName": "watch" }], "args": arguments }));
    }
    if luck.percent(15) {
        set("replicaProgressThreshold", json!({ "type": "Percent", "value": 50 }));
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": ROLLOUT, "namespace": NAMESPACE, "annotations": { "owner": "the shop's team" } },
        "spec": {
            "replicas": luck.pick(4, &[1, 2, 3, 5, 10]),
            "minReadySeconds": luck.pick(0, &[0, 5]),
            "revisionHistoryLimit": luck.pick(10, &[0, 1]),
            "progressDeadlineSeconds": luck.pick(60, &[120, 600]),
            "progressDeadlineAbort": luck.percent(40),
            "selector": { "matchLabels": { "app": "shop" } },
            "template": {
                "metadata": { "labels": { "app": "shop" } },
                "spec": { "containers": [{ "name": "app", "image": format!("{IMAGE}1") }] },
            },
            "strategy": { "canary": canary },
        },
    })
}

/// maxSurge and maxUnavailable as numbers; (-1, -1) are the defaults.
#[derive(Clone, Copy)]
struct Pair(i64, i64);

impl Pair {
    fn values(self) -> (Value, Value) {
        if self.0 < 0 { (json!("25%"), json!("25%")) } else { (json!(self.0), json!(self.1)) }
    }
}

/// Steps of a canary.
pub fn steps(luck: &mut Random, router: Router) -> Value {
    let mut steps = Vec::new();
    let mut weight = 0;
    for _ in 0..luck.pick(3, &[0, 2, 4, 6]) {
        let step = match luck.between(0, 9) {
            0..=3 => {
                weight = (weight + luck.between(5, 40)).min(100);
                json!({ "setWeight": weight })
            }
            4 | 5 => json!({ "pause": { "duration": format!("{}s", luck.between(1, 40)) } }),
            6 | 7 => json!({ "pause": {} }),
            8 if router == Router::Istio => match luck.between(0, 2) {
                0 => json!({ "setCanaryScale": { "replicas": luck.between(1, 4) } }),
                1 => json!({ "setCanaryScale": { "weight": luck.between(10, 100) } }),
                _ => json!({ "setCanaryScale": { "matchTrafficWeight": true } }),
            },
            _ => json!({ "analysis": {
                "templates": [{ "templateName": "success" }],
                "args": [{ "name": "hash", "valueFrom": { "podTemplateHashValue": "Latest" } }],
            }}),
        };
        steps.push(step);
    }
    json!(steps)
}

fn act(luck: &mut Random, version: i64) -> Act {
    match luck.between(0, 18) {
        18 => Act::Abort,
        0..=3 => Act::Promote,
        4 | 5 => Act::PromoteFull,
        6..=8 => Act::Abort,
        9 | 10 => Act::Retry,
        11 => Act::Release((version - 1).max(1)),
        12 => Act::Pause,
        13 => Act::Unpause,
        14 | 15 => Act::Scale(luck.pick(2, &[1, 3, 6, 8, 0])),
        16 => Act::Steps(luck.between(0, 1_000_000)),
        _ if luck.percent(30) => Act::Recreate,
        _ => Act::Promote,
    }
}

fn disturbance(router: Router, luck: &mut Random) -> Disturbance {
    let kind = luck.pick(ROLLOUTS, &[REPLICA_SETS, SERVICES, ANALYSIS_RUNS, VIRTUAL_SERVICES]);
    let outage = luck.pick(Outage::Empty, &[Outage::NotANumber, Outage::Down, Outage::Unavailable]);
    match luck.between(0, 26) {
        22 | 23 => Disturbance::Forbidden {
            kind: luck.pick(REPLICA_SETS, &[ROLLOUTS, SERVICES, VIRTUAL_SERVICES, ANALYSIS_RUNS]),
            seconds: luck.pick(5, &[30, 90]),
        },
        24 | 25 => Disturbance::Clock(luck.between(-40_000, 40_000)),
        26 => Disturbance::ThirdParty(ThirdParty::DeleteSet(luck.pick(Whose::Stable, &[Whose::Newest]))),
        18..=21 => {
            Disturbance::Race { kind: luck.pick(VIRTUAL_SERVICES, &[ROLLOUTS, REPLICA_SETS, REPLICA_SETS]) }
        }
        0 | 1 => Disturbance::Crash,
        2 => Disturbance::Freeze,
        3..=5 => {
            Disturbance::SlowWatch { kind, seconds: luck.between(5, 60), late: luck.between(2_000, 20_000) }
        }
        6 | 7 => Disturbance::BrokenWatch {
            kind,
            seconds: luck.between(1, 20),
            lag: usize::try_from(luck.between(0, 30)).unwrap_or(0),
        },
        8 => Disturbance::Metrics { outage, seconds: luck.between(10, 120) },
        9 if router == Router::Istio => Disturbance::ThirdParty(ThirdParty::Weights(luck.between(0, 100))),
        10 if router == Router::Istio => Disturbance::ThirdParty(ThirdParty::ForeignRoute),
        11 => Disturbance::ThirdParty(ThirdParty::DeletePod),
        12 => Disturbance::ThirdParty(ThirdParty::ScaleSet(luck.between(0, 6))),
        13..=15 => Disturbance::PodsCrash {
            of: luck.pick(Whose::All, &[Whose::Stable, Whose::Newest]),
            share: luck.pick(30, &[100]),
            seconds: luck.pick(5, &[30, 200]),
        },
        16 if router == Router::Istio => {
            let (kind, name) = luck
                .pick((SERVICES, "shop-stable"), &[(SERVICES, "shop-canary"), (VIRTUAL_SERVICES, ROLLOUT)]);
            Disturbance::Missing { kind, name, seconds: luck.between(2, 60) }
        }
        17 => {
            let name = luck.pick("success", &["watch"]);
            Disturbance::Missing { kind: ANALYSIS_TEMPLATES, name, seconds: luck.between(2, 60) }
        }
        _ => Disturbance::ApiOutage { seconds: luck.between(2, 40) },
    }
}

fn service(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "team": "shop" } },
        "spec": { "selector": { "app": "shop" }, "ports": [{ "port": 80, "name": "http" }] },
    })
}

fn virtual_service() -> Value {
    json!({
        "metadata": { "name": ROLLOUT, "namespace": NAMESPACE, "annotations": { "note": "by the mesh's team" } },
        "spec": {
            "hosts": ["shop.example"],
            "http": [
                { "name": "health", "match": [{ "uri": { "exact": "/healthz" } }],
                  "route": [{ "destination": { "host": "probe" } }] },
                { "name": "primary", "timeout": "5s", "route": [
                    { "destination": { "host": "shop-stable", "port": { "number": 80 } }, "weight": 100,
                      "headers": { "response": { "set": { "x-version": "stable" } } } },
                    { "destination": { "host": "shop-canary" }, "weight": 0 },
                ]},
            ],
        },
    })
}

fn template(name: &str, count: Value) -> Value {
    let mut metric = json!({
        "name": "success-rate", "interval": "10s", "failureLimit": 1, "consecutiveErrorLimit": 4,
        "successCondition": "result[0] >= 0.95",
        "provider": { "prometheus": {
            "address": "http://prometheus:9090", "query": "success{hash=\"{{args.hash}}\"}",
        }},
    });
    if let (Some(fields), false) = (metric.as_object_mut(), count.is_null()) {
        fields.insert("count".to_owned(), count);
    }
    json!({
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "args": [{ "name": "hash" }], "metrics": [metric] },
    })
}
