//! From a seed to a scenario: a row of the covering plan, and chance.

use super::{
    FAULTS_END, Focus, IMAGE, NAMESPACE, ROLLOUT, Row, Scenario, additions, ambushes, analysis, faults,
    objects, steps,
};
use crate::coverage;
use crate::edits::{self, Edit};
use crate::faults::{Ailment, Disturbance, Fate};
use crate::kinds::{Fault, Router, Step, Strategy, UserAct};
use crate::random::Random;
use crate::user::Act;
use crate::world::metrics::Source;
use crate::world::patch;
use crate::world::pods::{Budget, Health};
use crate::world::prune::UNKNOWN;
use crate::world::routes;
use crate::world::webhooks;
use headgate_driver::io::Resource;
use headgate_driver::resources::{
    ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES, DEPLOYMENTS, POD_TEMPLATES, PODS, WORKLOAD_REPLICA_SETS,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The scenario of a seed.
pub(super) fn of(seed: u64) -> Scenario {
    let mut luck = Random::new(seed, "scenario");
    let row = coverage::row(seed);
    let intensity = luck.pick(0, &[1, 1, 2, 3]);
    let rows = coverage::rows(seed);
    let needs = Needs {
        services: rows.iter().any(|row| row.fault == Fault::MissingService),
        metrics: rows.iter().any(|row| is_of_metrics(row.fault) && row.step != Step::Analysis),
    };
    let mut scenario = Scenario {
        seed,
        strategy: row.strategy,
        router: row.router,
        rollout: rollout(&row, needs, &mut luck),
        doors: Vec::new(),
        surroundings: Vec::new(),
        image: IMAGE.to_owned(),
        health: health(&row, seed, &mut luck),
        pruned: if row.fault == Fault::Pruned || luck.percent(8) { &UNKNOWN } else { &[] },
        nodes: luck.pick(3, &[2, 5]),
        proxies: 3,
        proxy_delay: luck.pick(500, &[1_500, 3_000]),
        watch_delay: luck.pick(50, &[300, 2_000]),
        drain: luck.pick(5_000, &[15_000, 30_000]),
        metrics: Source::Traffic {
            interval: luck.pick(5_000, &[1_000, 15_000]),
            window: 30_000,
            per_minute: requests_per_minute(seed),
        },
        budget: budget(&mut Random::new(seed, "budget")),
        restarts_in: Random::new(seed, "restarts").pick(0, &[0, 30_000]),
        // Before the garbage collector has taken its children, or when they are gone.
        recreated_in: Random::new(seed, "recreation").pick(8_000, &[200]),
        from_the_start: Random::new(seed, "from the start").percent(8),
        retires: Random::new(seed, "retires").percent(10),
        webhooks: webhooks::of(seed),
        focuses: focuses(&rows, &mut luck),
        disturbances: Vec::new(),
        fates: BTreeMap::new(),
        ambushes: Vec::new(),
    };
    let mut chance = Random::new(seed, "additions");
    additions::plan(&mut scenario.rollout, scenario.router, &mut chance);
    plan_user(&mut scenario, &mut luck);
    // Often the first release is left alone until it has come to where the row wants it.
    let is_early = luck.percent(40);
    plan_disturbances(&mut scenario, intensity, is_early, &mut luck);
    plan_fates(&mut scenario, intensity, is_early, &mut luck);
    plan_pod_metadata(&mut scenario, &mut Random::new(seed, "pod metadata"));
    plan_pod_health(&mut scenario, row.fault, &mut Random::new(seed, "pod health"));
    plan_way_back(&mut scenario, &mut Random::new(seed, "way back"));
    plan_dynamic(&mut scenario, &mut Random::new(seed, "dynamic"));
    plan_edits(&mut scenario, edits::any, &mut Random::new(seed, "edits"));
    // These rows come about in few seeds, and need the strategy that they have.
    if rows.iter().all(|row| row.step != Step::ScaleMatch) {
        plan_edits(&mut scenario, edits::later, &mut Random::new(seed, "later edits"));
    }
    plan_watches(&mut scenario, &mut Random::new(seed, "other watches"));
    if Random::new(seed, "finalizers").percent(8) {
        patch::merge(&mut scenario.rollout, &json!({ "metadata": { "finalizers": ["example.com/keep"] } }));
    }
    additions::whole(&mut scenario.rollout, scenario.router, &mut Random::new(seed, "whole"));
    additions::forms(&mut scenario.rollout, &row, &mut Random::new(seed, "forms"));
    scenario.disturbances.sort_by_key(|(time, _)| *time);
    scenario.doors = doors(&scenario);
    scenario.surroundings = objects::surroundings(scenario.router, &scenario.doors);
    plan_templates(&mut scenario, &rows, seed);
    refer_to_workload(&mut scenario, &mut Random::new(seed, "workload"));
    scenario.ambushes = ambushes::plan(&scenario, &mut Random::new(seed, "ambushes"));
    scenario
}

/// Templates of the cluster, and conditions that leave something between them.
fn plan_templates(scenario: &mut Scenario, rows: &[Row], seed: u64) {
    let has = |fault| rows.iter().any(|row| row.fault == fault);
    // What is missing is one of the namespace.
    if !has(Fault::MissingTemplate) && Random::new(seed, "clusterwide").percent(10) {
        additions::name_clusterwide(&mut scenario.rollout);
        objects::make_clusterwide(&mut scenario.surroundings);
    }
    // A version of the row's is to be found bad, and a first one good or bad: there a middle ground would leave it open.
    let is_judged =
        has(Fault::BadVersion) || scenario.rollout.pointer("/spec/strategy/canary/initial").is_some();
    if !is_judged && Random::new(seed, "middle").percent(15) {
        objects::leave_a_middle(&mut scenario.surroundings);
    }
}

/// Some Rollouts take their template from a Deployment, which gives way to them, or has done so; or from another object.
fn refer_to_workload(scenario: &mut Scenario, luck: &mut Random) {
    if !luck.percent(15) {
        return;
    }
    let scale_down = luck.pick("progressively", &["onsuccess", "never"]);
    let replicas = luck.pick(4, &[0, 1, 10]);
    let kind = luck.pick(DEPLOYMENTS, &[DEPLOYMENTS, DEPLOYMENTS, WORKLOAD_REPLICA_SETS, POD_TEMPLATES]);
    scenario.surroundings.extend(objects::workload(&mut scenario.rollout, kind, scale_down, replicas));
}

/// The kinds of routes of the router, and of those that the user changes to.
fn doors(scenario: &Scenario) -> Vec<Resource> {
    let planned = scenario.focuses.iter().flat_map(|focus| &focus.acts).chain(&scenario.disturbances);
    let others = planned.filter_map(|(_, disturbance)| match disturbance {
        Disturbance::User(Act::Router(Router::None)) => None,
        Disturbance::User(Act::Router(other)) => Some(*other),
        _ => None,
    });
    let mut doors = Vec::new();
    for kind in std::iter::once(scenario.router).chain(others).flat_map(routes::kinds) {
        if !doors.contains(kind) {
            doors.push(*kind);
        }
    }
    doors
}

/// What is done about unhealthy pods, and pods of new versions that are unhealthy. By a chance of its own, so that all else
/// of a seed is as it would be without.
fn plan_pod_health(scenario: &mut Scenario, fault: Fault, luck: &mut Random) {
    let action = luck.pick("abort", &["abort", "pause", "off", ""]);
    if let (Some(Value::Object(canary)), false) =
        (scenario.rollout.pointer_mut("/spec/strategy/canary"), action.is_empty())
    {
        canary.insert("podHealth".to_owned(), json!({ "action": action }));
    }
    for health in scenario.health.values_mut().filter(|health| health.ready_after.is_none()) {
        health.has_image = fault != Fault::NeverReady && luck.percent(50);
    }
    let releases = scenario.disturbances.iter().filter_map(|(time, disturbance)| match disturbance {
        Disturbance::User(Act::Release(version)) => Some((*time, *version)),
        _ => None,
    });
    let mut hurt = Vec::new();
    for (time, version) in releases {
        // The first release is left alone until it has come to where the row wants it.
        let (from, to) = if version == 2 { (100_000, 150_000) } else { (15_000, 90_000) };
        if luck.percent(20) {
            let how = luck.pick(Ailment::OomKilled, &[Ailment::Unready, Ailment::Crashing]);
            let seconds = luck.pick(20, &[90, 400]);
            let time = time + luck.between(from, to);
            hurt.push((time, Disturbance::PodsHurt { version, how, seconds }));
        }
    }
    scenario.disturbances.extend(hurt);
}

/// How the weight goes back after an abort.
fn plan_way_back(scenario: &mut Scenario, luck: &mut Random) {
    let policy = luck.pick("stepped", &["", "instant", "stepped", "asCapacityAllows"]);
    if let Some(canary) = routed_canary(scenario).filter(|_| !policy.is_empty()) {
        canary.insert("abort".to_owned(), json!({ "policy": policy }));
    }
}

/// Often stable shrinks as the canary grows, and sometimes the user changes that in the middle.
fn plan_dynamic(scenario: &mut Scenario, luck: &mut Random) {
    let (is_dynamic, follows_weight) = (luck.percent(40), luck.percent(60));
    if let Some(canary) = routed_canary(scenario).filter(|_| is_dynamic) {
        canary.insert("dynamicStableScale".to_owned(), json!(true));
        canary.remove("scaleDownDelaySeconds");
        canary.remove("bake");
        if follows_weight {
            canary.remove("abortScaleDownDelaySeconds");
        }
    }
    if scenario.router != Router::None && luck.percent(10) {
        let time = luck.between(20_000, FAULTS_END / 2);
        scenario.disturbances.push((time, Disturbance::User(Act::Dynamic(!is_dynamic))));
    }
}

/// Some users change more in the middle than versions, pods and steps.
fn plan_edits(scenario: &mut Scenario, edit: fn(&mut Random) -> Edit, luck: &mut Random) {
    if !luck.percent(15) {
        return;
    }
    for _ in 0..luck.between(1, 3) {
        let time = luck.between(20_000, FAULTS_END / 2);
        scenario.disturbances.push((time, Disturbance::User(Act::Edit(edit(luck)))));
    }
}

/// Kinds whose watches no row of the covering plan asks for are late, or break off, too.
fn plan_watches(scenario: &mut Scenario, luck: &mut Random) {
    if !luck.percent(8) {
        return;
    }
    let kind = luck.pick(PODS, &[PODS, ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES, DEPLOYMENTS]);
    let disturbance = if luck.percent(50) {
        faults::slow_watch(kind, luck)
    } else {
        Disturbance::BrokenWatch { kind, seconds: luck.between(1, 20), lag: 0 }
    };
    scenario.disturbances.push((luck.between(5_000, FAULTS_END / 2), disturbance));
}

/// The canary strategy, where there is a router.
fn routed_canary(scenario: &mut Scenario) -> Option<&mut serde_json::Map<String, Value>> {
    let canary = scenario.rollout.pointer_mut("/spec/strategy/canary")?.as_object_mut()?;
    canary.contains_key("trafficRouting").then_some(canary)
}

/// Half of the Rollouts have labels and annotations for roles, some of them in place of the template's own.
fn plan_pod_metadata(scenario: &mut Scenario, luck: &mut Random) {
    let role = |role: &str| json!({ "labels": { "role": role } });
    let noted = json!({ "labels": { "role": "canary" }, "annotations": { "note": "new" } });
    let front = json!({ "labels": { "tier": "canary" } });
    let (canary, stable) = match luck.between(0, 7) {
        0 | 1 => (role("canary"), role("stable")),
        2 => (noted, Value::Null),
        3 => (front, role("stable")),
        _ => return,
    };
    if let Some(labels) = scenario.rollout.pointer_mut("/spec/template/metadata/labels") {
        patch::merge(labels, &json!({ "tier": "front" }));
    }
    if let Some(strategy) = scenario.rollout.pointer_mut("/spec/strategy/canary") {
        patch::merge(strategy, &json!({ "canaryMetadata": canary, "stableMetadata": stable }));
    }
}

/// Often there is a PodDisruptionBudget, and some allow nothing until somebody takes them away.
fn budget(luck: &mut Random) -> Option<Budget> {
    let max_unavailable = luck.pick(None, &[None, Some(1), Some(0)]);
    max_unavailable.map(|max_unavailable| {
        let until = if max_unavailable == 0 { luck.between(100_000, FAULTS_END) } else { i64::MAX };
        Budget { max_unavailable, until }
    })
}

/// Which row of a seed is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Second,
}

/// What happens at the step of a seed's rows: at first that of its own row, which the world's router is of.
fn focuses(rows: &[Row], luck: &mut Random) -> Vec<Focus> {
    let turns = [Turn::First, Turn::Second].into_iter().cycle();
    let router = rows.first().map_or(Router::None, |first| first.router);
    rows.iter().zip(turns).map(|(row, turn)| focus(row, turn, router, luck)).collect()
}

/// A controller has sent a request after so long, in milliseconds.
const MET_WITHIN: i64 = 8_000;
/// And asked for a measurement, which it does every ten seconds, from the last answer on.
const MEASURED_WITHIN: i64 = 14_000;

fn focus(row: &Row, turn: Turn, router: Router, luck: &mut Random) -> Focus {
    let mut acts = row.acts;
    // What ends a release comes last, or the other act would not be of this release. In the second row of a seed it comes
    // first: the other act may take the release to another step.
    acts.sort_by_key(|act| ends_release(*act));
    if turn == Turn::Second {
        acts.reverse();
    }
    if needs(acts[0]) == Some(acts[1]) {
        acts.swap(0, 1);
    }
    // What is met by a request has the time to be, before an act takes the release elsewhere.
    let mut delay = match row.fault {
        fault if is_of_metrics(fault) => MEASURED_WITHIN,
        fault if coverage::is_met_by_request(fault) => MET_WITHIN,
        _ => 0,
    };
    let mut planned = Vec::new();
    for act in acts {
        let needed = needs(act).filter(|needed| !acts.contains(needed));
        let made = |act, luck: &mut Random| Disturbance::User(faults::act(act, 2, router, luck));
        planned.extend(needed.map(|needed| (delay, made(needed, luck))));
        // Often both at once, so that the release still stands at the step when the second one comes.
        let least = if planned.is_empty() { 0 } else { -1_500 };
        delay += luck.between(least, 2_500).max(0);
        planned.push((delay, made(act, luck)));
    }
    Focus { step: row.step, fault: faults::made(row.fault, router, luck), acts: planned }
}

/// What must come before an act, or it would change nothing.
fn needs(act: UserAct) -> Option<UserAct> {
    match act {
        UserAct::Retry => Some(UserAct::Abort),
        UserAct::Unpause => Some(UserAct::Pause),
        _ => None,
    }
}

fn ends_release(act: UserAct) -> u8 {
    match act {
        UserAct::Recreate => 3,
        UserAct::Release | UserAct::Undo => 2,
        UserAct::Abort | UserAct::Retry | UserAct::PromoteFull | UserAct::Steps => 1,
        _ => 0,
    }
}

fn plan_user(scenario: &mut Scenario, luck: &mut Random) {
    let mut version = 1;
    let mut time = luck.between(1_000, 20_000);
    for _ in 0..luck.between(2, 4) {
        version += 1;
        scenario.disturbances.push((time, Disturbance::User(Act::Release(version))));
        let length = luck.between(20_000, 200_000);
        let mut at = time;
        // The first release is left alone for a while, so that it gets to where the plan wants it.
        if version == 2 {
            at += luck.between(30_000, 70_000);
        }
        for _ in 0..luck.between(0, 6) {
            // Often one act follows the other at once: people are impatient, and scripts are fast.
            at += if luck.percent(30) { luck.between(0, 2_000) } else { luck.between(0, length / 3) };
            scenario.disturbances.push((at, Disturbance::User(act(luck, version, scenario.router))));
        }
        time += length + if version == 2 { 40_000 } else { 0 };
    }
    scenario.disturbances.retain(|(time, _)| *time < FAULTS_END - 30_000);
}

fn act(luck: &mut Random, version: i64, router: Router) -> Act {
    let kind = match luck.between(0, 21) {
        0..=3 => UserAct::Promote,
        4 | 5 => UserAct::PromoteFull,
        6..=9 => UserAct::Abort,
        10 | 11 => UserAct::Retry,
        12 => UserAct::Undo,
        13 => UserAct::Pause,
        14 => UserAct::Unpause,
        15 | 16 => UserAct::Scale,
        17 => UserAct::Steps,
        18 => UserAct::Limits,
        19 if luck.percent(40) => UserAct::Router,
        20 => UserAct::Restart,
        21 if luck.percent(30) => UserAct::Recreate,
        _ => luck.pick(UserAct::Promote, &[UserAct::ScaleToZero]),
    };
    faults::act(kind, version, router, luck)
}

fn plan_disturbances(scenario: &mut Scenario, intensity: i64, is_early: bool, luck: &mut Random) {
    let from = if is_early { 0 } else { 70_000 };
    for _ in 0..luck.between(0, intensity * 4) {
        let time = luck.between(from, FAULTS_END * 2 / 3);
        let fault = luck.pick(Fault::Crash, &Fault::ALL);
        if coverage::impossible(scenario.router.into(), fault.into()).is_none()
            && let Some(disturbance) = faults::made(fault, scenario.router, luck)
        {
            scenario.disturbances.push((time, disturbance));
        }
    }
}

fn plan_fates(scenario: &mut Scenario, intensity: i64, is_early: bool, luck: &mut Random) {
    let from = if is_early { 1 } else { 25 };
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
        let number = u64::try_from(luck.between(from, 100)).unwrap_or(1);
        scenario.fates.insert(number, fate);
    }
}

/// How long requests take on average, in milliseconds. The 95th percentile of the slow ones lies in the middle ground of the
/// metric of latencies, where it has one.
const FAST: i64 = 80;
const SLOW: i64 = 850;

/// Most shops have enough requests for each measurement to see some, and a few have not.
fn requests_per_minute(seed: u64) -> i64 {
    const MANY: i64 = 12_000;
    Random::new(seed, "clients").pick(MANY, &[MANY, MANY, MANY, MANY, MANY, MANY, 300])
}

/// How versions 1 to 9 behave. The second one is as the row wants it.
fn health(row: &Row, seed: u64, luck: &mut Random) -> BTreeMap<String, Health> {
    let mut crashes = Random::new(seed, "crashes");
    let one = |version: i64| {
        let mut health = Health {
            scheduled_after: luck.pick(50, &[500]),
            pulled_after: luck.pick(0, &[1_000, 8_000]),
            ready_after: Some(luck.pick(500, &[3_000, 12_000])),
            has_image: true,
            crashes: false,
            spread: luck.pick(200, &[5_000, 20_000]),
            errors_percent: if luck.percent(15) { 30 } else { 0 },
            latency: if luck.percent(10) { SLOW } else { FAST },
        };
        let is_broken = luck.percent(15);
        if version > 2 && is_broken && crashes.percent(50) {
            health.crashes = true;
        } else if version > 2 && is_broken {
            health.ready_after = None;
        }
        if version <= 2 {
            (health.errors_percent, health.latency) = (0, FAST);
        }
        if version == 2 && row.fault == Fault::NeverReady {
            health.ready_after = None;
        }
        if version == 2 && row.fault == Fault::BadVersion {
            (health.errors_percent, health.latency) = luck.pick((30, FAST), &[(0, SLOW)]);
        }
        (format!("{IMAGE}{version}"), health)
    };
    (1..=9).map(one).collect()
}

/// What a Rollout must have for the faults of its seed's rows.
#[derive(Clone, Copy)]
struct Needs {
    services: bool,
    metrics: bool,
}

fn rollout(row: &Row, needs: Needs, luck: &mut Random) -> Value {
    let router = row.router;
    let has_services = needs.services || luck.percent(50);
    let (surge, unavailable) =
        luck.pick(Pair(-1, -1), &[Pair(1, 0), Pair(0, 1), Pair(2, 1), Pair(0, 2)]).values();
    let steps = match row.strategy {
        Strategy::NoSteps => json!([]),
        Strategy::Steps | Strategy::Watched => steps::leading_to(row.step, luck, router),
    };
    let mut canary = json!({ "maxSurge": surge, "maxUnavailable": unavailable, "steps": steps });
    let mut set = |key: &str, value: Value| {
        if let Some(fields) = canary.as_object_mut() {
            fields.insert(key.to_owned(), value);
        }
    };
    // Without a router Services may lead to the versions all the same.
    if router != Router::None || has_services {
        set("canaryService", json!("shop-canary"));
        set("stableService", json!("shop-stable"));
    }
    if router != Router::None {
        set("trafficRouting", objects::traffic_routing(router, router.total()));
        set("scaleDownDelaySeconds", json!(luck.pick(5, &[10, 30])));
        set("abortScaleDownDelaySeconds", json!(luck.pick(0, &[5, 30])));
        if luck.percent(15) {
            set("minPodsPerReplicaSet", json!(2));
        }
    }
    if row.strategy == Strategy::Watched || needs.metrics {
        set("analysis", analysis("watch"));
    }
    if luck.percent(15) {
        set("replicaProgressThreshold", json!({ "type": "Percent", "value": 50 }));
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": ROLLOUT, "namespace": NAMESPACE, "annotations": { "owner": "the shop's team" } },
        "spec": {
            // With few pods a scale that follows the weight has nothing to wait for.
            "replicas": if row.step == Step::ScaleMatch { 5 } else { luck.pick(4, &[1, 2, 3, 5, 10]) },
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

pub(crate) fn is_of_metrics(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::MetricEmpty
            | Fault::MetricNaN
            | Fault::MetricDown
            | Fault::MetricUnavailable
            | Fault::MetricSlow
            | Fault::MetricStale
            | Fault::MetricWrongType
    )
}

/// maxSurge and maxUnavailable as numbers; (-1, -1) are the defaults.
#[derive(Clone, Copy)]
struct Pair(i64, i64);

impl Pair {
    fn values(self) -> (Value, Value) {
        if self.0 < 0 { (json!("25%"), json!("25%")) } else { (json!(self.0), json!(self.1)) }
    }
}
