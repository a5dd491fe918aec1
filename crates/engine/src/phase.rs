//! Conditions, phase and message: how a Rollout stands, in Argo Rollouts' words.

use crate::bake;
use crate::conditions::{Is, get, has_reason, keep_transitions, remove, renew, set};
use crate::initial;
use crate::intent::place_of_abort;
use crate::on_failure;
use crate::progress::{self, Marks};
use crate::restart;
use crate::revision;
use crate::scene::Scene;
use crate::steps;
use headgate_api::conditions::{TRUE, reasons, types};
use headgate_api::{PauseCondition, RolloutPhase, RolloutStatus};
use headgate_model::{ReplicaSetView, SpecProblem};

/// True when a Rollout is as it should be in the end, and nothing is paused.
pub(crate) fn is_healthy(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    !is_paused(scene, record) && is_rolled_out(scene, record)
}

/// True when the user pauses the Rollout, or the release is paused for a reason of its own.
pub(crate) fn is_paused(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    scene.spec.paused || !record.pause_conditions.is_empty()
}

fn is_promoted(record: &RolloutStatus) -> bool {
    record.stable_rs == record.current_pod_hash
}

/// Argo Rollouts: all steps done, the newest version stable, and exactly the wanted pods, all of them new and available.
fn is_rolled_out(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let desired = scene.spec.replicas;
    let pods = [record.updated_replicas, record.available_replicas, record.replicas];
    is_promoted(record)
        && record.current_step_index == steps::end(scene.spec)
        && pods.into_iter().all(|number| number == desired)
        && scene.old.observed_generation == record.observed_generation
}

/// Sets all conditions but InvalidSpec, then phase and message.
pub(crate) fn describe(scene: &Scene<'_>, record: &mut RolloutStatus) {
    health(scene, record);
    progressing(scene, record);
    let available = record.available_replicas >= scene.spec.replicas;
    let message = if available { AVAILABLE } else { NOT_AVAILABLE };
    set(record, types::AVAILABLE, available.into(), reasons::AVAILABLE, message, scene.now);
    match revision::reported_failure(&scene.versions(&record.stable_rs)) {
        Some((reason, message)) => set(record, types::REPLICA_FAILURE, Is::True, reason, message, scene.now),
        None => remove(record, types::REPLICA_FAILURE),
    }
    keep_transitions(scene.old, record);
    let (phase, message) = phase(scene, record);
    record.phase = Some(phase);
    record.message = message;
}

const AVAILABLE: &str = "Rollout has minimum availability";
const NOT_AVAILABLE: &str = "Rollout does not have minimum availability";
const PAUSED: &str = "Rollout is paused";

fn health(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let now = scene.now;
    if is_healthy(scene, record) {
        set(record, types::HEALTHY, Is::True, reasons::ROLLOUT_HEALTHY, "Rollout is healthy", now);
    } else if get(record, types::HEALTHY).is_some() {
        set(record, types::HEALTHY, Is::False, reasons::ROLLOUT_HEALTHY, "Rollout is not healthy", now);
    }
    let completed = is_promoted(record).into();
    set(record, types::COMPLETED, completed, reasons::ROLLOUT_COMPLETED, reasons::ROLLOUT_COMPLETED, now);
}

fn progressing(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let now = scene.now;
    let name = revision::name(scene);
    if record.abort {
        let reason = record.headgate.as_ref().and_then(|memory| memory.abort_reason.clone());
        let cause = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let first = initial::is_under_way(record).then(|| format!("; {}", initial::NO_WAY_BACK));
        let message = format!(
            "Rollout aborted update to revision {}{}{cause}{}",
            scene.revision,
            place_of_abort(record),
            first.unwrap_or_default()
        );
        let tell = if record.is_another_abort(scene.old) { renew } else { set };
        tell(record, types::PROGRESSING, Is::False, reasons::ROLLOUT_ABORTED, &message, now);
        progress::note(scene, record, Marks::Keep);
        return;
    }
    let mut marks = Marks::Keep;
    if record.current_pod_hash != scene.old.current_pod_hash {
        let (reason, message) = match scene.current {
            None => (reasons::NEW_REPLICA_SET_CREATED, format!("Created new replica set \"{name}\"")),
            Some(_) => (reasons::FOUND_NEW_REPLICA_SET, format!("Found new replica set \"{name}\"")),
        };
        renew(record, types::PROGRESSING, Is::True, reason, &message, now);
    } else if has_reason(record, types::PROGRESSING, reasons::ROLLOUT_ABORTED) {
        let message = "Retrying Rollout after abort";
        set(record, types::PROGRESSING, Is::Unknown, reasons::ROLLOUT_RETRY, message, now);
        marks = Marks::Restart;
    }
    let is_paused = is_paused(scene, record);
    let was_paused = get(record, types::PAUSED).is_some_and(|condition| condition.status == TRUE);
    if is_paused != was_paused {
        set(record, types::PAUSED, is_paused.into(), reasons::ROLLOUT_PAUSED, PAUSED, now);
    }
    // What has been released in full makes no progress that a pause could hold up.
    if is_paused && !is_promoted(record) {
        set(record, types::PROGRESSING, Is::Unknown, reasons::ROLLOUT_PAUSED, PAUSED, now);
        progress::note(scene, record, marks);
        return;
    }
    if has_reason(record, types::PROGRESSING, reasons::ROLLOUT_PAUSED) {
        let message = "Rollout is resumed";
        set(record, types::PROGRESSING, Is::Unknown, reasons::ROLLOUT_RESUMED, message, now);
    }
    moving(scene, record, &name, marks);
}

fn moving(scene: &Scene<'_>, record: &mut RolloutStatus, name: &str, mut marks: Marks) {
    let now = scene.now;
    let is_new = record.current_pod_hash != scene.old.current_pod_hash;
    let was_healthy = has_reason(record, types::PROGRESSING, reasons::NEW_REPLICA_SET_AVAILABLE);
    let created = revision::create_failure(scene);
    // Asked before the clock of the deadline is set again.
    if initial::has_lost_pods(scene, record) {
        marks = Marks::Restart;
    }
    if is_rolled_out(scene, record) {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        set(record, types::PROGRESSING, Is::True, reasons::NEW_REPLICA_SET_AVAILABLE, &message, now);
    } else if was_healthy && is_promoted(record) {
        renew(record, types::PROGRESSING, Is::True, reasons::REPLICA_SET_NOT_AVAILABLE, NOT_AVAILABLE, now);
        marks = Marks::Restart;
    } else if !is_new
        && (progress::is_made(scene, record)
            || progress::has_begun_late(scene, record)
            || get(record, types::PROGRESSING).is_none())
    {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        renew(record, types::PROGRESSING, Is::True, reasons::REPLICA_SET_UPDATED, &message, now);
    } else if progress::is_overdue(scene, record) {
        let message = progress::overdue_message(scene);
        set(record, types::PROGRESSING, Is::False, reasons::PROGRESS_DEADLINE_EXCEEDED, &message, now);
    } else if let Some(failure) = created {
        // The clock of the deadline goes on: its start stays.
        let last = get(record, types::PROGRESSING).and_then(|condition| condition.last_update_time.clone());
        let message = format!("Failed to create new replica set \"{name}\": {}", failure.message);
        set(record, types::PROGRESSING, Is::False, reasons::REPLICA_SET_CREATE_ERROR, &message, now);
        if let (Some(condition), Some(last)) =
            (record.conditions.iter_mut().find(|condition| condition.type_ == types::PROGRESSING), last)
        {
            condition.last_update_time = Some(last);
        }
    }
    progress::note(scene, record, marks);
}

/// The first that fits, as in Argo Rollouts.
fn phase(scene: &Scene<'_>, record: &RolloutStatus) -> (RolloutPhase, String) {
    let desired = scene.spec.replicas;
    for reason in [reasons::ROLLOUT_ABORTED, reasons::PROGRESS_DEADLINE_EXCEEDED] {
        if let Some(condition) = record.conditions.iter().find(|condition| condition.reason == reason) {
            return (RolloutPhase::Degraded, format!("{reason}: {}", condition.message));
        }
    }
    if scene.spec.paused {
        return (RolloutPhase::Paused, "manually paused".to_owned());
    }
    if let Some(condition) = record.pause_conditions.first() {
        let failed =
            on_failure::failed(record).filter(|_| condition.reason == PauseCondition::ANALYSIS_FAILED);
        let why = failed.map_or_else(String::new, |run| on_failure::clause(&run.message));
        return (RolloutPhase::Paused, format!("{}{why}", condition.reason));
    }
    if restart::is_due(scene, record) {
        return (RolloutPhase::Progressing, "rollout is restarting".to_owned());
    }
    let basic = scene.spec.canary.routing.is_none();
    // `status.availableReplicas` counts all versions: a pod of an old one is no substitute for one that the new one lacks.
    let available = scene.current.map_or(0, ReplicaSetView::available).min(record.available_replicas);
    let progressing = if record.updated_replicas < desired {
        "more replicas need to be updated"
    } else if available < record.updated_replicas {
        "updated replicas are still becoming available"
    } else if basic && record.replicas > record.updated_replicas {
        "old replicas are pending termination"
    } else if let Some(until) = bake::until(scene, record) {
        return (RolloutPhase::Progressing, format!("the new version bakes until {until}"));
    } else if initial::is_under_way(record) {
        "the first version is being analysed"
    } else if record.stable_rs != record.current_pod_hash {
        "waiting for all steps to complete"
    } else {
        return (RolloutPhase::Healthy, String::new());
    };
    (RolloutPhase::Progressing, progressing.to_owned())
}

/// Marks the record of a Rollout whose spec cannot be carried out.
pub(crate) fn describe_invalid(
    name: &str,
    problem: &SpecProblem,
    record: &mut RolloutStatus,
    now: headgate_model::Timestamp,
) {
    let message = format!("The Rollout \"{name}\" is invalid: {problem}");
    if get(record, types::INVALID_SPEC).is_none_or(|known| known.status != TRUE || known.message != message) {
        renew(record, types::INVALID_SPEC, Is::True, reasons::INVALID_SPEC, &message, now);
    }
    let aborted = get(record, types::PROGRESSING)
        .filter(|condition| record.abort && condition.reason == reasons::ROLLOUT_ABORTED)
        .map_or_else(String::new, |condition| format!("; {}", condition.message));
    record.phase = Some(RolloutPhase::Degraded);
    record.message = format!("{}: {message}{aborted}", reasons::INVALID_SPEC);
}
