//! From a snapshot to a decision.

use crate::scene::Scene;
use crate::steps::{self, Stage};
use crate::{
    adoption, analysis, bake, conditions, cutover, duration, history, initial, intent, on_failure, phase,
    pod_health, pod_metadata, progress, references, release, restart, revision, waiting, workload,
};
use headgate_api::conditions::types;
use headgate_api::{HeadgateStatus, RolloutStatus};
use headgate_model::spec::RolloutSpec;
use headgate_model::{
    AnalysisRunView, Decision, Effect, EffectClass, ReplicaSetView, Snapshot, SpecProblem, Timestamp, salvage,
};

/// Decides what to record and what to do for one Rollout.
///
/// A function of what is observed and of `now` (whole seconds) and of nothing else. Who carries it out asks
/// [`Decision::check`] first.
pub fn decide(snapshot: &Snapshot, now: Timestamp) -> Decision {
    let (Some(sets), Some(runs)) = (snapshot.replica_sets.present(), snapshot.analysis_runs.present()) else {
        // Not looked at yet: nothing can be said, and nothing is.
        return Decision { record: snapshot.rollout.status.clone(), effects: Vec::new(), wake_at: None };
    };
    if workload::is_awaited(&snapshot.rollout) {
        return Decision { record: snapshot.rollout.status.clone(), effects: Vec::new(), wake_at: None };
    }
    match &snapshot.rollout.spec {
        Ok(spec) => {
            let adoptions = adoption::plan(snapshot);
            if adoption::is_awaited(snapshot) {
                let record = snapshot.rollout.status.clone();
                return Decision { record, effects: adoptions, wake_at: None };
            }
            let scene = Scene::new(snapshot, spec, sets, runs, now);
            let mut decision = match references::check(&scene, scene.old) {
                Ok(()) => carry_out(&scene),
                Err(problem) => hold(snapshot, spec, sets, runs, &problem, now),
            };
            decision.effects.splice(0..0, adoptions);
            decision
        }
        Err(problem) => match salvaged(snapshot, sets) {
            Some(spec) => hold(snapshot, &spec, sets, runs, problem, now),
            None => stand_still(snapshot, sets, problem, now),
        },
    }
}

/// What can be read of a spec that is wrong. Steps that came with it are not those that the stored index is about.
fn salvaged(snapshot: &Snapshot, sets: &[ReplicaSetView]) -> Option<RolloutSpec> {
    let mut spec = salvage(&snapshot.rollout.spec_raw, stable_size(snapshot, sets))?;
    if snapshot.rollout.status.current_step_hash != snapshot.rollout.step_hash {
        spec.canary.steps.clear();
    }
    Some(spec)
}

/// A spec that is right.
fn carry_out(scene: &Scene<'_>) -> Decision {
    let mut record = scene.old.clone();
    if revision::name_is_taken(scene) {
        record.collision_count = Some(record.collision_count.unwrap_or(0).saturating_add(1));
        record.waiting = Some(waiting::name_taken(scene).record(scene.old.waiting.as_ref(), scene.now));
        return Decision { record, effects: Vec::new(), wake_at: None };
    }
    revision::count(scene, &mut record);
    intent::take_up(scene, &mut record);
    analysis::observe(scene, &mut record);
    pod_health::heed(scene, &mut record);
    release::advance(scene, &mut record);
    // What has just come to its end is not overdue, although nobody has looked in time.
    progress::abort_if_overdue(scene, &mut record);
    duration::count(scene, &mut record);
    conditions::remove(&mut record, types::INVALID_SPEC);
    let mut effects = Vec::new();
    analysis::plan(scene, &mut record, &mut effects);
    revision::plan(scene, &record, &mut effects);
    pod_metadata::plan(scene, &record, &mut effects);
    history::plan(scene, &record, &mut effects);
    let mut plan = cutover::plan(scene, &mut record);
    restart::plan(scene, &mut record, &mut plan);
    workload::hand_over(scene, &mut record, &mut plan);
    phase::describe(scene, &mut record);
    let wait = waiting::wait(scene, &record, &plan);
    record.waiting = wait.map(|wait| {
        let began = waiting::began(scene, &record, wait.on).unwrap_or(scene.now);
        wait.record(scene.old.waiting.as_ref(), began)
    });
    let wake_at = wake_at(scene, &record, &plan);
    finish(scene, record, effects, plan, wake_at)
}

/// A spec that can't be carried out: all stays as it is, but an abort, by a user or by the analyses that were begun,
/// leads back to stable all the same, and pods follow `spec.replicas` where it can be trusted.
fn hold(
    snapshot: &Snapshot,
    spec: &RolloutSpec,
    sets: &[ReplicaSetView],
    runs: &[AnalysisRunView],
    problem: &SpecProblem,
    now: Timestamp,
) -> Decision {
    let mut scene = Scene::new(snapshot, spec, sets, runs, now);
    scene.stay_with_stored_version();
    let mut record = scene.old.clone();
    revision::count(&scene, &mut record);
    let is_under_way = matches!(steps::stage(&record, spec), Stage::Step(_) | Stage::Finishing);
    if is_under_way && !record.promote_full {
        analysis::heed_bad_verdicts(&scene, &mut record);
        pod_health::heed(&scene, &mut record);
    }
    let mut effects = Vec::new();
    let knows_stable = scene.has_stable(&record.stable_rs) || initial::is_under_way(&record);
    let stage = steps::stage(&record, spec);
    let leads_back = record.abort && knows_stable;
    let plan = if leads_back && stage == Stage::Promoted {
        // What an undo has begun may not be over: the version that it gave up may still get requests.
        cutover::plan(&scene, &mut record)
    } else if leads_back && stage == Stage::Aborted {
        if record.aborted_at.is_none() {
            // Once. What the user wants later, such as a promotion, waits until the spec can be carried out.
            intent::abort(&scene, &mut record);
        }
        analysis::plan(&scene, &mut record, &mut effects);
        let plan = cutover::plan(&scene, &mut record);
        duration::count(&scene, &mut record);
        phase::describe(&scene, &mut record);
        plan
    } else if stage == Stage::Promoted || snapshot.rollout.spec.is_ok() && knows_its_place(&scene, &record) {
        // Between releases the number of pods is all that their size depends on.
        cutover::follow_user(&scene, &mut record)
    } else {
        cutover::leave_the_dead(&scene, &mut record)
    };
    phase::describe_invalid(&snapshot.rollout.name, problem, &mut record, now);
    record.waiting = Some(waiting::mend(problem).record(scene.old.waiting.as_ref(), now));
    let wakes = plan.wake.iter().copied().chain(pod_health::due(&scene, &record));
    let wake_at = wakes.filter(|wake| *wake > now).min();
    finish(&scene, record, effects, plan, wake_at)
}

/// True unless new steps came with the spec that can't be carried out: then the stored index says nothing of them.
fn knows_its_place(scene: &Scene<'_>, record: &RolloutStatus) -> bool {
    record.current_step_hash == scene.rollout.step_hash
}

/// Pods that the version which serves has now.
fn stable_size(snapshot: &Snapshot, sets: &[ReplicaSetView]) -> i32 {
    let status = &snapshot.rollout.status;
    // A first version that is analysed stands in for the stable one.
    let serving = if status.stable_rs.is_empty() { &status.current_pod_hash } else { &status.stable_rs };
    sets.iter().find(|set| !serving.is_empty() && set.hash() == serving).map_or(0, |set| set.replicas)
}

/// A spec of which nothing can be read: only what was seen is recorded.
fn stand_still(
    snapshot: &Snapshot,
    sets: &[ReplicaSetView],
    problem: &SpecProblem,
    now: Timestamp,
) -> Decision {
    let mut record = snapshot.rollout.status.clone();
    if !is_blue_green(snapshot) {
        let alive: Vec<&ReplicaSetView> = sets.iter().filter(|set| !set.deleting).collect();
        revision::count_pods(&alive, &snapshot.rollout.status.current_pod_hash, &mut record);
    }
    record.observed_generation = snapshot.rollout.generation.to_string();
    phase::describe_invalid(&snapshot.rollout.name, problem, &mut record, now);
    record.waiting = Some(waiting::mend(problem).record(snapshot.rollout.status.waiting.as_ref(), now));
    Decision { record, effects: Vec::new(), wake_at: None }
}

/// The counters of a blue-green Rollout, which autoscalers read, are about its active version alone: what Argo Rollouts has
/// counted stays.
fn is_blue_green(snapshot: &Snapshot) -> bool {
    snapshot.rollout.spec_raw.pointer("/strategy/blueGreen").is_some_and(|strategy| !strategy.is_null())
}

/// The next time at which something ends by itself.
fn wake_at(scene: &Scene<'_>, record: &RolloutStatus, plan: &cutover::Plan) -> Option<Timestamp> {
    let ends = [
        release::pause_ends(scene, record),
        release::pause_limit(scene, record).map(|limit| limit.at),
        progress::due(scene, record),
        pod_health::due(scene, record),
        on_failure::due(scene, record),
        bake::until(scene, record),
        restart::begins(scene, record),
    ];
    plan.wake.iter().copied().chain(ends.into_iter().flatten()).filter(|wake| *wake > scene.now).min()
}

/// Puts the effects in the order of R6. A shrink must see what a shift has done, so it waits for the next decision; not for
/// one that is refused and not tried now, which leaves it the way: what shrinks is judged by the routes as they are.
fn finish(
    scene: &Scene<'_>,
    mut record: RolloutStatus,
    mut effects: Vec<Effect>,
    mut plan: cutover::Plan,
    wake_at: Option<Timestamp>,
) -> Decision {
    if !plan.shrink.is_empty() && plan.shift.iter().all(|shift| cutover::is_refused(scene, shift)) {
        plan.shift.clear();
    }
    let shifts = !plan.shift.is_empty();
    effects.extend(plan.grow);
    effects.extend(plan.shift);
    effects.extend(plan.shrink);
    effects.retain(|effect| !shifts || effect.class() != EffectClass::Shrink);
    let mut effects = merged(effects);
    effects.sort_by_key(|effect| (effect.class(), matches!(effect, Effect::Scale { .. })));
    tidy(scene, &mut record);
    Decision { record, effects, wake_at }
}

/// All that patches one ReplicaSet becomes one patch.
fn merged(effects: Vec<Effect>) -> Vec<Effect> {
    let mut all: Vec<Effect> = Vec::new();
    for effect in effects {
        let Effect::PatchReplicaSet(patch) = effect else {
            all.push(effect);
            continue;
        };
        let known = all.iter_mut().find_map(|earlier| match earlier {
            Effect::PatchReplicaSet(known) if known.name == patch.name => Some(known),
            _ => None,
        });
        match known {
            Some(known) => known.merge(patch),
            None => all.push(Effect::PatchReplicaSet(patch)),
        }
    }
    all
}

/// What remembers nothing is left out, so that a quiet record equals its stored form.
fn tidy(scene: &Scene<'_>, record: &mut RolloutStatus) {
    if record.headgate.as_ref() == Some(&HeadgateStatus::default()) {
        record.headgate = None;
    }
    if record.canary.as_ref() == Some(&headgate_api::CanaryStatus::default()) && scene.old.canary.is_none() {
        record.canary = None;
    }
}
