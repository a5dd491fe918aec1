//! What the objects at the API server say at an instant, as far as rules are about it.

use super::Names;
use super::conditions;
use super::counted::Known;
use crate::world::server::{Server, controller, number, text};
use crate::world::workload;
use headgate_api::At;
use headgate_api::conditions::types::INVALID_SPEC;
use headgate_api::labels::{DESIRED_REPLICAS, POD_TEMPLATE_HASH, REVISION};
use headgate_driver::io::{ObjectRef, Resource};
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS};
use headgate_model::template::pod_template_hash;
use serde_json::Value;
use std::collections::BTreeMap;

/// A ReplicaSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its version.
    pub hash: String,
    /// Its revision.
    pub revision: i64,
    /// Desired pods.
    pub replicas: i64,
    /// Available pods, at most as many as are desired.
    pub available: i64,
    /// Available pods as reported.
    pub available_reported: i64,
    /// Ready pods.
    pub ready: i64,
    /// Pods that exist.
    pub current: i64,
    /// `spec.replicas` of the Rollout for which it was sized last, as annotated.
    pub sized_for: Option<i64>,
    /// The pods that it reports as available, by their numbers.
    pub counted: Vec<u64>,
    /// Its pods that are ready in truth; none unless pods were evicted lately.
    pub truly_ready: Vec<u64>,
}

/// As many of the pods that are needed as count as enough (`replicaProgressThreshold`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threshold {
    Percent(i64),
    Pods(i64),
}

/// How the weight goes back after an abort (`abort.policy`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayBack {
    /// At once.
    Instant,
    /// Through these weights.
    Stepped(Vec<i64>),
    /// With the available pods of stable.
    AsCapacityAllows,
}

/// All that rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Desired pods of the Rollout.
    pub desired: i64,
    /// Pods that may be missing.
    pub max_unavailable: i64,
    /// Pods that may be added.
    pub max_surge: i64,
    /// Pods that count as enough.
    threshold: Threshold,
    /// Pods that a `setCanaryScale` in force asks for.
    pub canary_scale: Option<i64>,
    /// Pods of a version that gets less stay for so many seconds.
    pub drain: i64,
    /// How many versions may wait until they are drained for so long; without an end when nothing is said.
    pub waiting_max: i64,
    /// `drain` after an abort; without an end when they are to stay.
    pub abort_drain: i64,
    /// How the weight goes back after an abort.
    pub way_back: WayBack,
    /// True when the spec names a router.
    pub is_routed: bool,
    /// `spec.paused`.
    pub is_paused: bool,
    /// Hash of the version that keeps a share of the pods while the release is held; empty without one.
    pub held_share: String,
    /// `status.abort`.
    pub is_aborted: bool,
    /// An analysis that the status names has failed: the release is over, also while a record that says so is refused.
    pub is_failed: bool,
    /// The spec cannot be carried out, and the status says so.
    pub is_invalid: bool,
    /// The status speaks of the spec as it is now.
    pub is_observed: bool,
    /// `status.stableRS`.
    pub stable: String,
    /// `status.currentPodHash`.
    pub current: String,
    /// `spec.template`, or that of the Deployment that the spec refers to.
    template: Value,
    /// `status.collisionCount`.
    collisions: Option<i32>,
    /// The Rollout's ReplicaSets.
    pub sets: Vec<Set>,
    /// The Services and routes that the spec names.
    pub names: Names,
    /// The largest share of the canary Service in any route, of the total; `None` without a router, or while all of its
    /// objects are gone.
    pub canary_weight: Option<i64>,
    /// The same of the routes of each kind.
    pub canary_weights: BTreeMap<Resource, i64>,
    /// The smallest such share.
    pub canary_weight_least: Option<i64>,
    /// No step is left, the release is not aborted, and it does not bake yet.
    pub is_at_its_end: bool,
    /// The share that the canary keeps as long as one of its pods is available: what was recorded, as far as the step wants
    /// as much. `None` where the status does not speak of these steps.
    pub kept_weight: Option<i64>,
    /// What the stable and the canary Service select.
    pub stable_selects: Option<String>,
    /// See `stable_selects`.
    pub canary_selects: Option<String>,
}

impl View {
    /// The view of now; `None` without a Rollout.
    pub fn of(server: &Server) -> Option<Self> {
        let (target, rollout) = rollout(server)?;
        let names = Names::of(rollout);
        let desired = whole(rollout, "/spec/replicas").unwrap_or(1);
        let canary = rollout.at("/spec/strategy/canary").unwrap_or(&Value::Null);
        let (max_surge, max_unavailable) = limits(canary, desired);
        let (drain, abort_drain) = drains(canary);
        let is = |field: &str| rollout.at(field) == Some(&Value::Bool(true));
        let is_observed = is_observed(rollout, server);
        let shares = shares(&names, server);
        let canary_weights = largest(&shares);
        let uid = text(rollout, "/metadata/uid");
        let owned = |set: &&Value| controller(set, "/uid") == uid;
        Some(Self {
            desired,
            max_unavailable,
            max_surge,
            threshold: threshold(canary),
            canary_scale: canary_scale(rollout, desired, names.total, is_observed),
            drain,
            waiting_max: whole(canary, "/scaleDownDelayRevisionLimit").unwrap_or(i64::MAX),
            abort_drain,
            way_back: way_back(canary),
            is_routed: canary.get("trafficRouting").is_some(),
            is_paused: is("/spec/paused"),
            held_share: text(rollout, "/status/headgate/heldShare/hash").to_owned(),
            is_aborted: is("/status/abort"),
            is_failed: runs(rollout).any(|name| has_failed(server, &target.namespace, name)),
            is_invalid: conditions::of_type(rollout, INVALID_SPEC).is_some(),
            is_observed,
            stable: text(rollout, "/status/stableRS").to_owned(),
            current: text(rollout, "/status/currentPodHash").to_owned(),
            template: workload::template(rollout, server).cloned().unwrap_or_default(),
            collisions: whole(rollout, "/status/collisionCount").and_then(|count| count.try_into().ok()),
            sets: server.all(REPLICA_SETS).map(|(_, set)| set).filter(owned).map(set).collect(),
            canary_weight: canary_weights.values().max().copied(),
            canary_weights,
            is_at_its_end: is_at_its_end(rollout),
            canary_weight_least: shares.iter().map(|(_, (least, _))| *least).min(),
            kept_weight: kept_weight(rollout, names.total).filter(|_| is_observed),
            stable_selects: names.selects(&names.stable, server),
            canary_selects: names.selects(&names.canary, server),
            names,
        })
    }

    /// Adds what was named before. While the strategy is not the canary that is what counts.
    pub(super) fn remember(&mut self, before: &Names, server: &Server) {
        self.names.remember(before);
        self.stable_selects = self.names.selects(&self.names.stable, server);
        self.canary_selects = self.names.selects(&self.names.canary, server);
    }

    /// Adds which pods its ReplicaSets count.
    pub(super) fn know_pods(&mut self, known: &Known) {
        for set in &mut self.sets {
            let of_set = |pods: &BTreeMap<String, Vec<u64>>| pods.get(&set.name).cloned().unwrap_or_default();
            (set.counted, set.truly_ready) = (of_set(&known.counted), of_set(&known.ready));
        }
    }

    /// This view with the ReplicaSets of another instant.
    pub fn with_sets_of(&self, other: &Self) -> Self {
        Self { sets: other.sets.clone(), ..self.clone() }
    }

    /// The newest view, with the ReplicaSets of each instant, of which one of these is as it was at a later one.
    pub fn with_one_set_ahead(views: &[&Self], these: &[String]) -> impl Iterator<Item = Self> {
        let newest = views.first().copied();
        views.iter().enumerate().flat_map(move |(later, behind)| {
            let ahead = views[..later].iter().flat_map(|view| &view.sets);
            ahead.filter(|set| these.contains(&set.name)).filter_map(move |set| {
                let mut mixed = newest?.with_sets_of(behind);
                *mixed.sets.iter_mut().find(|other| other.name == set.name)? = set.clone();
                Some(mixed)
            })
        })
    }

    /// This view as far as no record says otherwise that could not be stored, such as that of an abort.
    pub fn unrecorded(&self) -> Self {
        Self { kept_weight: None, ..self.clone() }
    }

    /// This view with one available pod less in a ReplicaSet.
    pub fn without_pod_of(&self, name: &str) -> Self {
        let mut without = self.clone();
        if let Some(set) = without.sets.iter_mut().find(|set| set.name == name) {
            set.available = (set.available - 1).max(0);
        }
        without
    }

    /// This view for a process that knows these pods to be evicted: they do not count, unless others have come in their
    /// places. Which are ready by now, a list may have told it, however late its watches are.
    pub(super) fn without(&self, evicted: &[u64], now: &Known) -> Self {
        let mut without = self.clone();
        let is_gone = |pod: &&u64| evicted.contains(pod);
        for set in &mut without.sets {
            let gone = count_of(set.counted.iter().filter(is_gone));
            let ready = |pods: &[u64]| count_of(pods.iter().filter(|pod| !is_gone(pod)));
            let ready_now = now.ready.get(&set.name).map_or(0, |pods| ready(pods));
            let there = ready(&set.truly_ready).max(ready_now);
            let left = (set.available_reported - gone).max(there.min(set.available_reported));
            set.available = set.available.min(left);
        }
        without
    }

    /// The newest view, with the fewest desired and the most available pods that each ReplicaSet had, and as many pods in
    /// all as the Rollout allowed, in any of them.
    pub fn most_favourable(views: &[&Self]) -> Option<Self> {
        let mut mixed = (*views.first()?).clone();
        let most = views.iter().map(|view| view.desired + view.max_surge).max().unwrap_or(0);
        mixed.max_surge = most - mixed.desired;
        for set in &mut mixed.sets {
            for other in views.iter().filter_map(|view| view.set(&set.name)) {
                set.replicas = set.replicas.min(other.replicas);
                set.available = set.available.max(other.available);
            }
        }
        Some(mixed)
    }

    /// True when neither the stable nor the newest version has an available pod.
    pub fn is_without_pods(&self) -> bool {
        self.available(&self.stable) == 0 && self.available(&self.current) == 0
    }

    /// True when this version has a ReplicaSet.
    pub fn has(&self, hash: &str) -> bool {
        self.sets.iter().any(|set| set.hash == hash)
    }

    /// True when the stable version cannot be made again: its ReplicaSet is gone, with the only copy of its template,
    /// and the spec waits to be mended.
    pub fn is_stable_beyond_repair(&self) -> bool {
        self.is_invalid && !self.has(&self.stable)
    }

    /// The same of either version. While the spec cannot be carried out nobody may lead requests elsewhere either.
    pub fn is_beyond_repair(&self) -> bool {
        self.is_invalid && !(self.has(&self.stable) && self.has(&self.current))
    }

    /// True unless the user wants no pods, or allows all of them to be missing where no router could lead requests elsewhere.
    pub fn must_serve(&self) -> bool {
        self.desired > if self.is_routed { 0 } else { self.max_unavailable }
    }

    /// True when the user holds a Rollout, or its spec waits to be mended, whose stable ReplicaSet somebody has deleted: made
    /// again it has no pods. One that was scaled to nothing comes back.
    pub fn is_held_empty(&self) -> bool {
        let is_empty = |set: &Set| set.replicas == 0 && set.sized_for != Some(0);
        (self.is_paused || self.is_invalid)
            && self.sets.iter().all(|set| set.hash != self.stable || is_empty(set))
    }

    /// True when the user wants pods that serve, and the Rollout is free to make them.
    pub fn needs_pods(&self) -> bool {
        self.must_serve() && !self.is_held_empty() && !self.is_beyond_repair()
    }

    /// True while the user's change of `spec.replicas` has not reached all ReplicaSets.
    pub fn is_scaled_by_user(&self) -> bool {
        self.sets.iter().any(|set| set.sized_for.is_some_and(|sized_for| sized_for != self.desired))
    }

    /// True where pods may go whatever the routes give: no router, no pods wanted, or a number of the user's on its way.
    pub fn lets_pods_go(&self) -> bool {
        self.canary_weight.is_none() || self.desired == 0 || self.is_scaled_by_user()
    }

    /// True when this is the version of the spec's template, whatever the record says of it.
    pub fn is_wanted(&self, hash: &str) -> bool {
        let counts = (1..=self.collisions.unwrap_or(0)).map(Some);
        std::iter::once(None).chain(counts).any(|count| pod_template_hash(&self.template, count) == hash)
    }

    /// Available pods of stable that bear everything after an abort.
    pub fn bears_all(&self) -> i64 {
        match self.way_back {
            WayBack::AsCapacityAllows => self.desired.max(1),
            WayBack::Instant | WayBack::Stepped(_) => (self.desired - self.max_unavailable).max(1),
        }
    }

    /// How long this version drains at least: the oldest of those that wait go early when there are more than may be.
    pub fn drain_at_least(&self, hash: &str) -> i64 {
        let waits = |set: &&Set| set.hash != self.stable && set.hash != self.current && set.replicas > 0;
        let Some(one) = self.sets.iter().filter(waits).find(|set| set.hash == hash) else { return i64::MAX };
        let newer = self.sets.iter().filter(waits).filter(|set| set.revision > one.revision).count();
        let is_beyond = i64::try_from(newer).is_ok_and(|newer| newer >= self.waiting_max);
        if is_beyond { PROXIES_FOLLOW } else { i64::MAX }
    }

    /// A ReplicaSet by its name.
    pub fn set(&self, name: &str) -> Option<&Set> {
        self.sets.iter().find(|set| set.name == name)
    }

    /// Available pods of a version.
    pub fn available(&self, hash: &str) -> i64 {
        self.sets.iter().filter(|set| set.hash == hash).map(|set| set.available).sum()
    }

    /// True when so many available pods count as enough of those that are needed, and one is there at least.
    pub fn is_enough(&self, available: i64, needed: i64) -> bool {
        let least = match self.threshold {
            Threshold::Percent(percent) => needed * percent,
            Threshold::Pods(pods) => pods.min(needed) * 100,
        };
        available >= 1 && available * 100 >= least
    }

    /// Pods that a weight needs.
    pub fn needed(&self, weight: i64) -> i64 {
        share(self.desired, weight, self.names.total)
    }

    /// The share that the route gives to a version.
    pub fn given(&self, hash: &str) -> i64 {
        let (Some(least), Some(most)) = (self.canary_weight_least, self.canary_weight) else { return 0 };
        let is = |selects: &Option<String>| selects.as_deref() == Some(hash);
        let to_canary = if is(&self.canary_selects) { most } else { 0 };
        let total = self.names.total;
        let to_stable = if is(&self.stable_selects) { total - least } else { 0 };
        (to_canary + to_stable).min(total)
    }
}

/// The smallest and the largest share that each route gives the canary. A route that is gone gives nothing; the others do.
fn shares(names: &Names, server: &Server) -> Vec<(Resource, (i64, i64))> {
    let share = |route: &ObjectRef| Some((route.resource, names.canary_shares(route, server.get(route))?));
    let mut shares: Vec<_> = names.routes().filter_map(share).collect();
    if !shares.is_empty() {
        // One that has been led back counts as forgotten, though it is watched for a while.
        shares.extend(names.former().filter_map(share).filter(|(_, (_, most))| *most > 0));
    }
    shares
}

/// The largest share of each kind of routes.
fn largest(shares: &[(Resource, (i64, i64))]) -> BTreeMap<Resource, i64> {
    let mut largest = BTreeMap::new();
    for (kind, (_, most)) in shares {
        let weight = largest.entry(*kind).or_insert(*most);
        *weight = (*weight).max(*most);
    }
    largest
}

/// Pods that may be added, and that may be missing: where none may be added, one at least.
fn limits(canary: &Value, desired: i64) -> (i64, i64) {
    let surge = count(canary.get("maxSurge"), desired, 99);
    let least = i64::from(surge == 0);
    (surge, count(canary.get("maxUnavailable"), desired, 0).max(least).min(desired))
}

/// Seconds that proxies are given where pods go with their weight.
const PROXIES_FOLLOW: i64 = 5;

/// How many seconds pods stay, and how many after an abort.
fn drains(canary: &Value) -> (i64, i64) {
    let is_dynamic = canary.get("dynamicStableScale") == Some(&Value::Bool(true));
    let default = if is_dynamic { PROXIES_FOLLOW } else { 30 };
    let after_abort = match whole(canary, "/abortScaleDownDelaySeconds").unwrap_or(default) {
        0 => i64::MAX,
        seconds => seconds,
    };
    (whole(canary, "/scaleDownDelaySeconds").unwrap_or(default), after_abort)
}

/// The status speaks of the spec, and of the template's object, as they are now.
fn is_observed(rollout: &Value, server: &Server) -> bool {
    text(rollout, "/status/observedGeneration").parse() == Ok(number(rollout, "/metadata/generation"))
        && workload::is_observed(rollout, server)
}

fn whole(object: &Value, pointer: &str) -> Option<i64> {
    object.at(pointer).and_then(Value::as_i64)
}

fn threshold(canary: &Value) -> Threshold {
    let Some(written) = canary.get("replicaProgressThreshold") else { return Threshold::Percent(100) };
    let value = number(written, "/value");
    if text(written, "/type") == "Pods" { Threshold::Pods(value) } else { Threshold::Percent(value) }
}

fn way_back(canary: &Value) -> WayBack {
    match text(canary, "/abort/policy") {
        "stepped" => {
            let steps = canary.get("steps").and_then(Value::as_array).into_iter().flatten();
            WayBack::Stepped(steps.filter_map(|step| step.get("setWeight")?.as_i64()).collect())
        }
        "asCapacityAllows" => WayBack::AsCapacityAllows,
        _ => WayBack::Instant,
    }
}

/// Argo Rollouts: the last `setCanaryScale` at or before the current step, unless it is `matchTrafficWeight`; none after the
/// steps, nor once all is given to one version. While the record speaks of an older spec, whose steps nobody here knows, any
/// of them may be in force: then a single pod.
fn canary_scale(rollout: &Value, desired: i64, total: i64, is_observed: bool) -> Option<i64> {
    let steps = rollout.at("/spec/strategy/canary/steps").and_then(Value::as_array)?;
    let scales = |steps: &'_ [Value]| steps.iter().rev().find_map(|step| step.get("setCanaryScale").cloned());
    if !is_observed {
        return scales(steps).map(|_| 1);
    }
    let is_at_a_step = text(rollout, "/status/stableRS") != text(rollout, "/status/currentPodHash")
        && ["/status/abort", "/status/promoteFull"]
            .iter()
            .all(|at| rollout.at(at) != Some(&Value::Bool(true)));
    let index = usize::try_from(number(rollout, "/status/currentStepIndex")).unwrap_or(0);
    let scale = scales(steps.get(..=index).filter(|_| is_at_a_step)?)?;
    let field = |name: &str| scale.get(name).and_then(Value::as_i64);
    let pods = field("replicas").or_else(|| field("weight").map(|weight| share(desired, weight, total)));
    pods.map(|pods| pods.max(1))
}

/// The share of the pods that a weight stands for, rounded up.
fn share(desired: i64, weight: i64, total: i64) -> i64 {
    (desired * weight + total - 1) / total
}

/// What the status names AnalysisRuns for.
pub(super) const RUN_ROLES: [&str; 2] =
    ["currentStepAnalysisRunStatus", "currentBackgroundAnalysisRunStatus"];

/// The names of the AnalysisRuns of the release.
pub(super) fn runs(rollout: &Value) -> impl Iterator<Item = &str> {
    RUN_ROLES.into_iter().map(|role| text(rollout, &format!("/status/canary/{role}/name")))
}

/// True of the phase of a run that has no verdict yet.
pub(super) fn is_going_on(phase: &str) -> bool {
    matches!(phase, "" | "Pending" | "Running")
}

fn has_failed(server: &Server, namespace: &str, run: &str) -> bool {
    let run = ObjectRef { resource: ANALYSIS_RUNS, namespace: namespace.to_owned(), name: run.to_owned() };
    server.get(&run).is_some_and(|run| matches!(text(run, "/status/phase"), "Failed" | "Error"))
}

/// The Rollout, of which there is one.
pub(super) fn rollout(server: &Server) -> Option<(&ObjectRef, &Value)> {
    // One that is being deleted is left alone, like one that is gone.
    let is_there = |(_, rollout): &(_, &Value)| rollout.at("/metadata/deletionTimestamp").is_none();
    server.all(ROLLOUTS).find(is_there)
}

fn is_at_its_end(rollout: &Value) -> bool {
    let steps = rollout.at("/spec/strategy/canary/steps").and_then(Value::as_array).map_or(0, Vec::len);
    let index = rollout.at("/status/currentStepIndex").and_then(Value::as_i64).unwrap_or(0);
    let (stable, current) = (text(rollout, "/status/stableRS"), text(rollout, "/status/currentPodHash"));
    let is_release = !stable.is_empty() && stable != current;
    is_release
        && i64::try_from(steps).is_ok_and(|steps| index >= steps)
        && rollout.at("/status/abort") != Some(&Value::Bool(true))
        && rollout.at("/status/headgate/bake").is_none_or(Value::is_null)
}

/// True for an older version that comes back within `rollbackWindow`: its release is not judged again.
pub(super) fn is_recent_rollback(rollout: &Value, (stable, current): (&str, &str), server: &Server) -> bool {
    let window = number(rollout, "/spec/rollbackWindow/revisions");
    let made_at = |of: &str| {
        let mut sets = server.all(REPLICA_SETS).map(|(_, set)| set);
        sets.find(|set| hash_of(set) == of).map(|set| text(set, "/metadata/creationTimestamp").to_owned())
    };
    let (Some(from), Some(to)) = (made_at(current), made_at(stable)) else { return false };
    let times = server.all(REPLICA_SETS).map(|(_, set)| text(set, "/metadata/creationTimestamp"));
    let between = times.filter(|time| from.as_str() < *time && *time < to.as_str()).count();
    from < to && i64::try_from(between).is_ok_and(|between| between < window)
}

/// The version of a ReplicaSet.
pub(super) fn hash_of(set: &Value) -> &str {
    let labels = set.at("/metadata/labels");
    labels.and_then(|labels| labels.get(POD_TEMPLATE_HASH)?.as_str()).unwrap_or_default()
}

fn set(set: &Value) -> Set {
    let replicas = number(set, "/spec/replicas");
    let annotations = set.at("/metadata/annotations");
    Set {
        name: text(set, "/metadata/name").to_owned(),
        hash: hash_of(set).to_owned(),
        revision: annotations.and_then(|all| all.get(REVISION)?.as_str()?.parse().ok()).unwrap_or(0),
        replicas,
        available: number(set, "/status/availableReplicas").min(replicas),
        available_reported: number(set, "/status/availableReplicas"),
        ready: number(set, "/status/readyReplicas"),
        current: number(set, "/status/replicas"),
        sized_for: annotations.and_then(|all| all.get(DESIRED_REPLICAS)?.as_str()?.parse().ok()),
        counted: Vec::new(),
        truly_ready: Vec::new(),
    }
}

fn count_of<'a>(pods: impl Iterator<Item = &'a u64>) -> i64 {
    i64::try_from(pods.count()).unwrap_or(i64::MAX)
}

/// A number of pods or a percentage, 25 % where it is left out; `round` is 0 or 99.
fn count(written: Option<&Value>, desired: i64, round: i64) -> i64 {
    match written {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
        Some(Value::String(text)) => {
            (desired * text.trim_end_matches('%').parse::<i64>().unwrap_or(0) + round) / 100
        }
        _ => (desired * 25 + round) / 100,
    }
}

fn kept_weight(rollout: &Value, total: i64) -> Option<i64> {
    let recorded = rollout.at("/status/canary/weights/canary/weight").and_then(Value::as_i64)?;
    let index = rollout.at("/status/currentStepIndex").and_then(Value::as_u64)?;
    let steps = rollout.at("/spec/strategy/canary/steps").and_then(Value::as_array)?;
    let done = usize::try_from(index).ok()?;
    let weight = |step: &Value| step.get("setWeight").and_then(Value::as_i64);
    let wanted = match steps.get(..=done) {
        Some(begun) => begun.iter().rev().find_map(weight).unwrap_or(0),
        None => total,
    };
    Some(recorded.min(wanted))
}
