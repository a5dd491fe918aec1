//! Whether a release makes progress, and what happens when it does not.

use crate::bake;
use crate::cutover;
use crate::initial;
use crate::on_failure;
use crate::replicas;
use crate::restart;
use crate::scene::{Scene, after, memory};
use crate::steps::{self, Stage};
use headgate_api::conditions::{reasons, types};
use headgate_api::{ReleaseProgress, RolloutStatus};
use headgate_model::spec::Step;
use headgate_model::{ReplicaSetView, Timestamp};

/// How far the release, or a restart, is now.
fn here(scene: &Scene<'_>, record: &RolloutStatus) -> ReleaseProgress {
    let all = replicas::sum(scene.replica_sets.iter().map(|set| set.current));
    let of_current = |number: fn(&headgate_model::ReplicaSetView) -> i32| scene.current.map_or(0, number);
    let updated = of_current(|set| set.current);
    ReleaseProgress {
        desired: scene.spec.replicas,
        updated,
        ready: of_current(|set| set.ready),
        available: of_current(|set| set.available_reported),
        old: all - updated,
        outdated: restart::outdated_pods(scene, record),
        step: record.current_step_index,
    }
}

/// The furthest point so far. A status that Argo Rollouts has left knows the numbers of pods only.
fn furthest(scene: &Scene<'_>) -> ReleaseProgress {
    let noted = scene.old.headgate.as_ref().and_then(|memory| memory.progress.clone());
    noted.unwrap_or_else(|| ReleaseProgress {
        updated: scene.old.updated_replicas,
        old: scene.old.replicas.saturating_sub(scene.old.updated_replicas),
        outdated: None,
        ..here(scene, scene.old)
    })
}

/// True when all pods of this version were available at its furthest point.
pub(crate) fn had_pods(scene: &Scene<'_>) -> bool {
    furthest(scene).available >= scene.spec.replicas
}

/// True when a first version that had all of its pods is to have another number of them: what it waits for begins anew.
fn is_first_scaled(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let furthest = furthest(scene);
    let was_full = furthest.available >= furthest.desired;
    initial::is_under_way(record) && was_full && furthest.desired != scene.spec.replicas
}

/// True when the release is at another point of its way than the stored record says. Time that it could not move in,
/// because its spec was invalid, is not held against it.
fn is_elsewhere(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let old = scene.old;
    crate::conditions::get(old, types::INVALID_SPEC).is_some()
        || old.current_pod_hash != record.current_pod_hash
        || old.current_step_hash != record.current_step_hash
        || old.current_step_index != record.current_step_index
        || old.stable_rs != record.stable_rs
        || on_failure::has_let_go(old, record)
        || bake::has_begun(old, record)
        || bake::has_its_verdict(scene, record)
        || initial::has_lost_pods(scene, record)
        || is_first_scaled(scene, record)
        || furthest(scene).step != record.current_step_index
}

/// True when something has got further than ever before. Pods that come and go are no progress.
pub(crate) fn is_made(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let (here, furthest) = (here(scene, record), furthest(scene));
    let are_fewer_outdated =
        here.outdated.zip(furthest.outdated).is_some_and(|(here, furthest)| here < furthest);
    is_elsewhere(scene, record)
        || are_fewer_outdated
        || here.updated > furthest.updated
        || here.ready > furthest.ready
        || here.available > furthest.available
        || here.old < furthest.old
}

/// Whether the marks of the way so far still count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    /// They do.
    Keep,
    /// A new way begins here.
    Restart,
}

/// Notes how far the release has come.
pub(crate) fn note(scene: &Scene<'_>, record: &mut RolloutStatus, marks: Marks) {
    let (here, furthest) = (here(scene, record), furthest(scene));
    // Pods are read only now and then.
    let known = furthest.outdated.filter(|_| restart::is_due(scene, record));
    // `setCanaryScale` may want more pods of this version than are wanted in the end.
    let wanted = scene.current.map_or(0, |set| set.replicas).max(here.desired);
    let noted = if marks == Marks::Restart || is_elsewhere(scene, record) {
        here
    } else {
        ReleaseProgress {
            desired: here.desired,
            updated: here.updated.max(furthest.updated),
            // Who wants fewer pods takes ready ones away; those that come back later have got further again.
            ready: here.ready.max(furthest.ready.min(wanted)),
            available: here.available.max(furthest.available.min(wanted)),
            old: here.old.min(furthest.old),
            outdated: here.outdated.into_iter().chain(known).min(),
            step: here.step,
        }
    };
    memory(record).progress = Some(noted);
}

/// When the release is overdue if nothing moves until then; `None` while that time is not counted: in a pause, at a step
/// that waits by its nature, after an abort. The time for which old pods wait by their delay, or the new version bakes, does not count either.
pub(crate) fn due(scene: &Scene<'_>, record: &RolloutStatus) -> Option<Timestamp> {
    let stage = steps::stage(record, scene.spec);
    // Until their controller has taken them away pods are there, although none is wanted any more.
    let has_pods = |set: &&ReplicaSetView| set.replicas > 0 || set.current > 0;
    let old_pods =
        scene.replica_sets.iter().copied().filter(|set| set.hash() != scene.current_hash).filter(has_pods);
    let old_pods_wait_until = old_pods.filter_map(cutover::deadline).max();
    let progressing = crate::conditions::get(record, types::PROGRESSING)?;
    let counts = !matches!(
        progressing.reason.as_str(),
        reasons::ROLLOUT_ABORTED | reasons::ROLLOUT_PAUSED | reasons::NEW_REPLICA_SET_AVAILABLE
    );
    if !counts
        || waits_by_nature(scene, record)
        || crate::phase::is_paused(scene, record)
        || stage == Stage::Aborted
    {
        return None;
    }
    let last = Some(progressing.last_update_time.as_ref()?.0)
        .max(old_pods_wait_until)
        .max(bake::until(scene, record))?;
    Some(after(last, scene.spec.progress_deadline_seconds))
}

/// True while nothing is missing that could be late: of a first version its pods, of any other one its ReplicaSet.
fn waits_by_nature(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    if initial::is_under_way(record) {
        return initial::has_pods(scene);
    }
    let is_at_a_wait =
        matches!(steps::current_step(record, scene.spec), Some(Step::Pause(_) | Step::Analysis(..)));
    scene.current.is_some() && is_at_a_wait
        || on_failure::held_by(record).is_some()
        || bake::waits_for_verdict(scene, record)
}

/// True when what was overdue is there at last. What only waits from then on shows no other progress, and its time does not
/// count, so that it would be overdue for ever.
pub(crate) fn has_begun_late(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let has = |reason| crate::conditions::has_reason(record, types::PROGRESSING, reason);
    let is_overdue = has(reasons::PROGRESS_DEADLINE_EXCEEDED) && waits_by_nature(scene, record);
    scene.current.is_some() && (has(reasons::REPLICA_SET_CREATE_ERROR) || is_overdue)
}

/// True when the deadline has passed, whatever has moved since.
pub(crate) fn has_passed(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    due(scene, record).is_some_and(|due| due <= scene.now)
}

/// True when nothing has moved for too long.
pub(crate) fn is_overdue(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let overdue =
        crate::conditions::has_reason(record, types::PROGRESSING, reasons::PROGRESS_DEADLINE_EXCEEDED)
            || has_passed(scene, record);
    overdue
        && due(scene, record).is_some()
        && !is_made(scene, record)
        && !crate::phase::is_healthy(scene, record)
}

/// What is said of an overdue release.
pub(crate) fn overdue_message(scene: &Scene<'_>) -> String {
    format!("ReplicaSet \"{}\" has timed out progressing.", crate::revision::name(scene))
}

/// Aborts an overdue release where the spec asks for that.
pub(crate) fn abort_if_overdue(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let under_way = matches!(steps::stage(record, scene.spec), Stage::Step(_) | Stage::Finishing);
    if scene.spec.progress_deadline_abort && under_way && is_overdue(scene, record) {
        crate::intent::condemn(scene, record, overdue_message(scene));
    }
}
