//! The bake: after the last step, with everything at the new version, the old one stands on with all its pods for a while,
//! so that whatever is found then leads back at once (`bake`).
//!
//! When it began is remembered in the record. A server that drops it, and a process that has begun since, make it begin
//! again: a bake may last longer than asked for, never shorter.

use crate::analysis::{self, Role};
use crate::initial;
use crate::progress;
use crate::replicas;
use crate::scene::{Scene, after_duration, memory, stored};
use crate::steps::{self, Stage};
use headgate_api::{BakeStatus, RolloutStatus};
use headgate_model::spec::Bake;
use headgate_model::{ReplicaSetView, Timestamp};

/// The bake that this release is to have, or has, now.
pub(crate) fn wanted<'a>(scene: &Scene<'a>, record: &RolloutStatus) -> Option<&'a Bake> {
    let is_skipped =
        record.promote_full || initial::is_under_way(record) || scene.is_recent_rollback(&record.stable_rs);
    let bake = scene.spec.canary.bake.as_ref()?;
    (steps::stage(record, scene.spec) == Stage::Finishing && !is_skipped).then_some(bake)
}

/// Since when it goes on; `None` before it.
pub(crate) fn since(record: &RolloutStatus) -> Option<Timestamp> {
    let known = record.headgate.as_ref()?.bake.as_ref()?;
    (known.hash == record.current_pod_hash).then_some(known.since.as_ref()?.0)
}

/// True when this record begins it.
pub(crate) fn has_begun(old: &RolloutStatus, record: &RolloutStatus) -> bool {
    since(old).is_none() && since(record).is_some()
}

/// When it will have lasted long enough; `None` before and without it.
pub(crate) fn until(scene: &Scene<'_>, record: &RolloutStatus) -> Option<Timestamp> {
    Some(after_duration(since(record)?, wanted(scene, record)?.duration))
}

/// True while a failure leads back at once.
pub(crate) fn is_under_way(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    until(scene, record).is_some()
}

/// Begins the bake once the new version has everything and its pods; `is_reached`: pods and routes are as the end of the
/// steps wants them.
pub(crate) fn begin(scene: &Scene<'_>, record: &mut RolloutStatus, is_reached: bool) {
    if is_reached && has_pods(scene) && wanted(scene, record).is_some() && since(record).is_none() {
        let hash = record.current_pod_hash.clone();
        memory(record).bake = Some(BakeStatus { hash, since: stored(scene.now) });
    }
}

/// Forgets a bake that this release no longer has.
pub(crate) fn forget_unless_wanted(scene: &Scene<'_>, record: &mut RolloutStatus) {
    if wanted(scene, record).is_none()
        && let Some(memory) = &mut record.headgate
    {
        memory.bake = None;
    }
}

/// True when there is nothing to bake, or it has lasted long enough and its analysis does not stand against it.
pub(crate) fn is_over(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let Some(bake) = wanted(scene, record) else { return true };
    let is_time = until(scene, record).is_some_and(|until| until <= scene.now);
    has_pods(scene) && is_time && !awaits_verdict(scene, record, bake)
}

/// As many as the end of any release asks for (`replicaProgressThreshold`).
fn has_pods(scene: &Scene<'_>) -> bool {
    let available = scene.current.map_or(0, ReplicaSetView::available);
    replicas::enough_available(available, scene.spec.replicas, scene.spec.canary.progress_threshold)
}

/// True while its analysis has to say something yet: one that ends by itself is awaited, any other must have begun.
fn awaits_verdict(scene: &Scene<'_>, record: &RolloutStatus, bake: &Bake) -> bool {
    use headgate_api::AnalysisPhase::{Running, Successful};
    let Some(wanted) = &bake.analysis else { return false };
    let run = analysis::run_of(record, Role::Bake);
    match run.and_then(|run| run.status) {
        Some(Successful) => false,
        // Its templates may have changed since it began.
        Some(Running) => run
            .and_then(|run| analysis::find(scene, &run.name)?.ends_by_itself)
            .unwrap_or_else(|| analysis::ends_by_itself(scene, record, wanted)),
        _ => true,
    }
}

/// True when the verdict that was awaited has just come, longer after than the deadline allows for pods: it counts from now.
pub(crate) fn has_its_verdict(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    waits_for_verdict(scene, scene.old)
        && !waits_for_verdict(scene, record)
        && progress::has_passed(scene, record)
}

/// True when only the verdict of its analysis is missing: time that is not held against the release.
pub(crate) fn waits_for_verdict(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    wanted(scene, record).is_some_and(|bake| since(record).is_some() && awaits_verdict(scene, record, bake))
}
