//! Pods that are older than `spec.restartAt` are replaced: they are evicted, a few at a time, and their ReplicaSets make
//! others. A restart goes on beside a release, and through pauses and aborts, as in Argo Rollouts; it never comes before
//! what a release or an abort wants, because each decision about pods is first taken without it.
//!
//! Evictions need the pods as they were just read: one that was decided on an old view could take a pod too many.

use crate::cutover::{self, Plan};
use crate::replicas::sum;
use crate::scene::{Scene, stored};
use crate::waiting::may_be_said;
use headgate_api::RolloutStatus;
use headgate_api::conditions::types;
use headgate_model::{
    Effect, EffectKey, Failure, FailureClass, ReplicaSetView, RunningPod, Snapshot, Timestamp, Verb, Wait,
    WaitFor,
};

/// Evictions of one decision at most (R7).
const AT_ONCE_MAX: usize = 10;

/// True when a decision that knows the pods could do more than the one that made this record: the pods of this rollout are
/// to be read live, and it is to be decided again.
pub(crate) fn wants_pods(snapshot: &Snapshot, record: &RolloutStatus, now: Timestamp) -> bool {
    let is_invalid = crate::conditions::get(record, types::INVALID_SPEC).is_some();
    let wanted = snapshot.rollout.spec.as_ref().ok().and_then(|spec| spec.restart_at);
    !is_invalid && wanted.is_some_and(|at| at <= now && !is_done(record, at))
}

fn is_done(record: &RolloutStatus, at: Timestamp) -> bool {
    record.restarted_at.as_ref().is_some_and(|done| done.0 == at)
}

/// The time before which pods must not have been created, while that has passed and is not done.
fn due(scene: &Scene<'_>, record: &RolloutStatus) -> Option<Timestamp> {
    scene.spec.restart_at.filter(|at| *at <= scene.now && !is_done(record, *at))
}

/// True while pods are being replaced.
pub(crate) fn is_due(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    due(scene, record).is_some()
}

/// When a restart begins that is still to come.
pub(crate) fn begins(scene: &Scene<'_>, record: &RolloutStatus) -> Option<Timestamp> {
    scene.spec.restart_at.filter(|at| *at > scene.now && !is_done(record, *at))
}

/// A new version ends a restart: its pods are new anyway. One that is still to come stays.
pub(crate) fn end(scene: &Scene<'_>, record: &mut RolloutStatus) {
    if let Some(at) = due(scene, record) {
        record.restarted_at = stored(at);
    }
}

/// Evicts pods that are too old, or notes that there are none any more. To be called once everything else is planned:
/// evictions wait for shifts and for other acts that take pods away.
pub(crate) fn plan(scene: &Scene<'_>, record: &mut RolloutStatus, plan: &mut Plan) {
    let (Some(at), Some(pods)) = (due(scene, record), scene.snapshot.running.present()) else { return };
    let versions = versions(scene, &record.stable_rs, pods);
    if versions.iter().flat_map(|version| &version.pods).all(|pod| pod.created_at >= at) {
        record.restarted_at = stored(at);
    } else if plan.shift.is_empty() && plan.shrink.is_empty() && cutover::routes_are_known(scene) {
        plan.shrink = evictions(scene, &record.stable_rs, at, &versions);
    }
}

/// How many pods have still to be replaced; `None` while nobody has just read them, and without a restart.
pub(crate) fn outdated_pods(scene: &Scene<'_>, record: &RolloutStatus) -> Option<i32> {
    let (at, pods) = (due(scene, record)?, scene.snapshot.running.present()?);
    let is_ours = |pod: &RunningPod| scene.replica_sets.iter().any(|set| set.uid == pod.set_uid);
    let count = pods.iter().filter(|pod| pod.created_at < at && is_ours(pod)).count();
    i32::try_from(count).ok()
}

/// A ReplicaSet and its pods.
struct Version<'a> {
    set: &'a ReplicaSetView,
    pods: Vec<&'a RunningPod>,
    /// Available pods by both accounts, the list of pods and the ReplicaSet's.
    available: i32,
}

/// In the order in which they are restarted: stable, newest, and the others from the oldest on.
fn versions<'a>(scene: &Scene<'a>, stable_hash: &str, pods: &'a [RunningPod]) -> Vec<Version<'a>> {
    let roles = scene.versions(stable_hash);
    let sets = [roles.stable, roles.current].into_iter().flatten().chain(roles.others.into_iter().rev());
    let version = |set: &'a ReplicaSetView| {
        let pods: Vec<&RunningPod> = pods.iter().filter(|pod| pod.set_uid == set.uid).collect();
        let available = pods.iter().filter(|pod| is_available(scene, set, pod)).count();
        let available = i32::try_from(available).unwrap_or(i32::MAX).min(set.available());
        Version { set, pods, available }
    };
    sets.map(version).collect()
}

fn is_available(scene: &Scene<'_>, set: &ReplicaSetView, pod: &RunningPod) -> bool {
    pod.is_available(set.min_ready_seconds, scene.now)
}

/// Never more than `maxUnavailable`, and at least one, of the wanted pods are unavailable. One that is unavailable already
/// costs nothing, as long as the others suffice: a restart heals it, or replaces it by one that is no better.
fn evictions(scene: &Scene<'_>, stable_hash: &str, at: Timestamp, versions: &[Version<'_>]) -> Vec<Effect> {
    let wanted = sum(versions.iter().map(|version| version.set.replicas)).max(scene.spec.replicas);
    let available = sum(versions.iter().map(|version| version.available));
    let mut spare = available - (wanted - scene.max_unavailable().max(1));
    if spare < 0 {
        return Vec::new();
    }
    let mut effects = Vec::new();
    for version in versions {
        let mut free = version.available - least(scene, stable_hash, version.set);
        for (pod, is_available) in outdated(scene, at, version) {
            if is_available && (spare == 0 || free <= 0) {
                continue;
            }
            spare -= i32::from(is_available);
            free -= i32::from(is_available);
            effects.push(Effect::EvictPod {
                name: pod.name.clone(),
                uid: pod.uid.clone(),
                replica_set: version.set.name.clone(),
                is_available,
            });
        }
    }
    effects.truncate(AT_ONCE_MAX);
    effects
}

/// Pods that are to be replaced, and whether each is available: those that are not come first.
fn outdated<'a>(
    scene: &Scene<'_>,
    at: Timestamp,
    version: &Version<'a>,
) -> impl Iterator<Item = (&'a RunningPod, bool)> {
    let old = version.pods.iter().filter(|pod| pod.created_at < at && !pod.is_leaving);
    let mut old: Vec<(&RunningPod, bool)> =
        old.map(|pod| (*pod, is_available(scene, version.set, pod))).collect();
    old.sort_by(|(one, is_one), (other, is_other)| {
        let key = |pod: &RunningPod| (pod.created_at, pod.name.clone());
        is_one.cmp(is_other).then_with(|| key(one).cmp(&key(other)))
    });
    old.into_iter()
}

/// The last available pod of a version to which a Service leads stays until the version has another one, or nobody is led
/// to it any more. Only a rollout of a single pod has no other way.
fn least(scene: &Scene<'_>, stable_hash: &str, set: &ReplicaSetView) -> i32 {
    let is_single = scene.spec.replicas <= 1 && set.hash() == stable_hash;
    i32::from(cutover::is_selected(scene, set) && !is_single)
}

/// What a restart waits for.
pub(crate) fn wait(scene: &Scene<'_>, record: &RolloutStatus) -> Option<Wait> {
    let at = due(scene, record)?;
    let going_on = Wait {
        on: WaitFor::Restart,
        message: format!("pods that were created before {at} are replaced, as maxUnavailable allows"),
        until: None,
        ends_with: "the end of the last of these pods".to_owned(),
    };
    let held_up = |budget: String| Wait {
        on: WaitFor::Restart,
        message: format!("{budget} keeps pods that were created before {at} from being evicted"),
        until: None,
        ends_with: "the budget letting one go; it is tried again and again".to_owned(),
    };
    let mut budgets = scene.snapshot.failures.iter().filter_map(|(key, failure)| {
        let wait = held_up(budget(key, failure)?);
        may_be_said(scene, failure, &wait).then_some(wait)
    });
    Some(budgets.next().unwrap_or(going_on))
}

/// The PodDisruptionBudget that has refused an eviction. The API server says which one it is ("The disruption budget NAME
/// needs …"), beside numbers that move.
pub(crate) fn budget(key: &EffectKey, failure: &Failure) -> Option<String> {
    const NAMED: &str = "The disruption budget ";
    let is_refusal = key.verb == Verb::EvictPod
        && failure.class == FailureClass::Transient
        && failure.message.contains("disruption budget");
    let name = failure.message.split_once(NAMED).and_then(|(_, rest)| rest.split(' ').next());
    is_refusal.then(|| {
        name.map_or_else(|| "a PodDisruptionBudget".to_owned(), |name| format!("PodDisruptionBudget {name}"))
    })
}
