//! What users ask for through `status`, and what a new version makes of it.
//!
//! An intent is never overwritten before it is consumed. It is about the version that `currentPodHash` names; when the
//! template moves on it is dropped, which [`crate::notices`] tells.

use crate::initial;
use crate::pauses;
use crate::pod_health;
use crate::restart;
use crate::scene::{Scene, memory, stored};
use crate::steps::{self, Stage};
use headgate_api::{AbortPlace, CanaryStatus, RolloutStatus};
use headgate_model::{RolloutView, template};

/// Takes up a new version or new steps, and what the user has asked for.
pub(crate) fn take_up(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let template_changed = record.current_pod_hash != scene.current_hash;
    let steps_changed = record.current_step_hash != scene.rollout.step_hash;
    let is_renamed =
        template_changed && has_another_name(scene.rollout, record.collision_count, &record.current_pod_hash);
    record.current_pod_hash.clone_from(&scene.current_hash);
    record.current_step_hash.clone_from(&scene.rollout.step_hash);
    if is_renamed {
        // What users have asked for is about the version, whatever it is called, and its pods are watched.
        let memory = memory(record);
        memory.promote_hash = memory.promote_hash.is_some().then(|| scene.current_hash.clone());
        if let Some(watched) = &mut memory.pod_health {
            watched.hash.clone_from(&scene.current_hash);
        }
    } else if template_changed {
        start_over(scene, record, Occasion::NewVersion);
    } else if steps_changed {
        start_over(scene, record, Occasion::NewSteps);
    }
    if !scene.has_stable(&record.stable_rs) && !initial::is_wanted(scene, record) {
        // Nothing else runs: the first version, or the only one that is left, is stable at once.
        record.stable_rs.clone_from(&scene.current_hash);
    }
    if record.stable_rs == record.current_pod_hash {
        settle(scene, record);
    } else {
        abort_or_promote(scene, record);
    }
}

/// True when the version `known` is still the one of the template, and only its name was taken by something else: then it
/// has another one from now on, with this count.
pub(crate) fn has_another_name(rollout: &RolloutView, collision_count: Option<i32>, known: &str) -> bool {
    let (Some(template), Some(count)) = (rollout.spec_raw.get("template"), collision_count) else {
        return false;
    };
    let before = Some(count.saturating_sub(1)).filter(|before| *before > 0);
    template::pod_template_hash(template, before) == known
}

/// Why a release begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    NewVersion,
    NewSteps,
}

/// From the first step, without pauses and intents that were about what was before. Intents that are not taken up yet
/// are about the version: new steps alone do not end them.
fn start_over(scene: &Scene<'_>, record: &mut RolloutStatus, occasion: Occasion) {
    pauses::clear(record);
    clear_runs(record);
    if occasion == Occasion::NewVersion || record.aborted_at.is_some() {
        clear_abort(scene, record);
    }
    if occasion == Occasion::NewVersion {
        pod_health::begin(scene, record);
        restart::end(scene, record);
    }
    if occasion == Occasion::NewVersion || memory(record).promote_hash.is_some() {
        record.promote_full = false;
        memory(record).promote_hash = None;
    }
    go_to_start(scene, record);
}

/// To the first step, or past all of them where a version comes back that was replaced a short while ago.
fn go_to_start(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let skips_steps = scene.is_recent_rollback(&record.stable_rs);
    record.current_step_index = if skips_steps { steps::end(scene.spec) } else { steps::start(scene.spec) };
}

/// Nothing is being released: what would hold or abort a release is void.
fn settle(scene: &Scene<'_>, record: &mut RolloutStatus) {
    pauses::clear(record);
    clear_abort(scene, record);
    clear_runs(record);
    pod_health::end(record);
    record.promote_full = false;
    memory(record).promote_hash = None;
    record.current_step_index = steps::end(scene.spec);
}

fn abort_or_promote(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let abort_is_new = record.abort && record.aborted_at.is_none();
    let promotion_is_new =
        record.promote_full && scene.old.headgate.as_ref().is_none_or(|memory| memory.promote_hash.is_none());
    if record.promote_full && promotion_is_new && !abort_is_new {
        // The later of two wishes counts; of two at once, the safe one.
        clear_abort(scene, record);
        memory(record).promote_hash = Some(record.current_pod_hash.clone());
    }
    if record.abort {
        abort(scene, record);
    } else if record.aborted_at.is_some() {
        clear_abort(scene, record);
        clear_runs(record);
        go_to_start(scene, record);
    } else if record.promote_full {
        pauses::clear(record);
        clear_runs(record);
        record.current_step_index = steps::end(scene.spec);
    }
    keep_index_in_range(scene, record);
}

/// Users move the index too: it stays within the steps.
fn keep_index_in_range(scene: &Scene<'_>, record: &mut RolloutStatus) {
    record.current_step_index = match (steps::end(scene.spec), record.current_step_index) {
        (None, _) => None,
        (Some(end), index) => Some(index.unwrap_or(0).clamp(0, end)),
    };
}

/// Back to stable: steps start over, pauses and analyses end.
pub(crate) fn abort(scene: &Scene<'_>, record: &mut RolloutStatus) {
    if record.aborted_at.is_none() {
        memory(record).abort_place = place(scene, record);
    }
    record.abort = true;
    record.aborted_at = record.aborted_at.take().or_else(|| stored(scene.now));
    record.promote_full = false;
    memory(record).promote_hash = None;
    record.current_step_index = steps::start(scene.spec);
    pauses::clear(record);
    clear_runs(record);
    pod_health::forget_problem(record);
}

/// Aborts a release that was found to be bad.
pub(crate) fn condemn(scene: &Scene<'_>, record: &mut RolloutStatus, reason: String) {
    abort(scene, record);
    memory(record).abort_reason = Some(reason);
}

/// How far the release has come; `None` where there are neither steps nor weights.
fn place(scene: &Scene<'_>, record: &RolloutStatus) -> Option<AbortPlace> {
    let steps = record.current_step_index.zip(steps::end(scene.spec));
    let sent = record.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    let weight = match (sent, steps) {
        _ if initial::is_under_way(record) => steps::total(scene.spec),
        (Some(weights), _) => weights.canary.weight,
        (None, Some((index, count))) if index >= count => steps::wish(Stage::Finishing, scene.spec).weight,
        (None, Some((index, _))) => {
            steps::wish(Stage::Step(usize::try_from(index).unwrap_or(0)), scene.spec).weight
        }
        (None, None) => return None,
    };
    let (step_index, step_count) = steps.unwrap_or_default();
    Some(AbortPlace { step_index, step_count, weight })
}

/// How far an aborted release had come, as a clause; empty when that is not known.
pub(crate) fn place_of_abort(record: &RolloutStatus) -> String {
    let place = record.headgate.as_ref().and_then(|memory| memory.abort_place.as_ref());
    place.map_or_else(String::new, |place| {
        let count = place.step_count;
        if count == 0 {
            return format!(" at weight {}", place.weight);
        }
        let (word, step) = if place.step_index < count {
            ("at", place.step_index.saturating_add(1))
        } else {
            ("after", count)
        };
        format!(" {word} step {step}/{count}, weight {}", place.weight)
    })
}

/// Ends an abort. The version that was aborted may try again.
fn clear_abort(scene: &Scene<'_>, record: &mut RolloutStatus) {
    if record.aborted_at.take().is_some() {
        pod_health::begin_again(scene, record);
    }
    record.abort = false;
    let memory = memory(record);
    (memory.abort_reason, memory.abort_place) = (None, None);
}

fn clear_runs(record: &mut RolloutStatus) {
    let canary = canary(record);
    canary.current_step_analysis_run_status = None;
    canary.current_background_analysis_run_status = None;
    if let Some(memory) = &mut record.headgate {
        (memory.analysis_hold, memory.bake) = (None, None);
    }
}

/// The canary part of the record.
pub(crate) fn canary(record: &mut RolloutStatus) -> &mut CanaryStatus {
    record.canary.get_or_insert_default()
}
