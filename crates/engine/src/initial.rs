//! The very first version of a Rollout, where it is analysed before it is stable (`initial: analyse`).
//!
//! Nobody else is there to serve, so pods and routes are those of a stable version from the start, and stay so when it is
//! found to be bad: to take them away would help nobody. Steps that share traffic or wait pass; analyses do not.

use crate::analysis::{self, Role};
use crate::on_failure;
use crate::progress;
use crate::scene::Scene;
use headgate_api::RolloutStatus;
use headgate_model::ReplicaSetView;
use headgate_model::spec::{Initial, Step};

/// What is said of a first version that was aborted.
pub(crate) const NO_WAY_BACK: &str =
    "there is no earlier version to go back to, so its pods and its traffic stay as they are";

/// True while no version has ever been stable, and one is on its way.
pub(crate) fn is_under_way(record: &RolloutStatus) -> bool {
    record.stable_rs.is_empty() && !record.current_pod_hash.is_empty()
}

/// True when a first version has to be analysed.
pub(crate) fn is_wanted(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    scene.spec.canary.initial == Initial::Analyse && record.stable_rs.is_empty()
}

/// True when all of its pods are available.
pub(crate) fn has_pods(scene: &Scene<'_>) -> bool {
    let is_full = |set: &ReplicaSetView| set.is_observed() && set.available() >= scene.spec.replicas;
    scene.current.is_some_and(is_full)
}

/// True when a first version that was analysed with all of its pods has just lost one: the time before is not held against
/// it. Pods that are lost again and again do not put the deadline off: it counts as long as it has not passed.
pub(crate) fn has_lost_pods(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    is_under_way(record)
        && progress::had_pods(scene)
        && !has_pods(scene)
        && progress::has_passed(scene, record)
}

/// True when the current step, or at the end the whole release, is done.
pub(crate) fn is_done(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    step: Option<&Step>,
    has_succeeded: bool,
) -> bool {
    has_pods(scene)
        && match step {
            Some(Step::Analysis(..)) => has_succeeded,
            Some(Step::Pause(_) | Step::SetWeight(_) | Step::SetCanaryScale(_)) => true,
            None => record.promote_full || !awaits_background(scene, record),
        }
}

/// True while the analysis in the background has not found anything good yet.
fn awaits_background(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    let run = analysis::run_of(record, Role::Background);
    scene.spec.canary.background.is_some() && !run.is_some_and(|run| on_failure::is_good(scene, run))
}

/// Has this done as if the first version were stable already: that is what its pods and routes are like.
pub(crate) fn as_if_stable<T>(record: &mut RolloutStatus, done: impl FnOnce(&mut RolloutStatus) -> T) -> T {
    if !is_under_way(record) {
        return done(record);
    }
    record.stable_rs.clone_from(&record.current_pod_hash);
    let result = done(record);
    record.stable_rs.clear();
    result
}
