//! The workload that a Rollout takes its template from, and how the pods of a referenced Deployment give way
//! (`workloadRef.scaleDown`).
//!
//! The Deployment belongs to somebody else: only its number of pods is written, and only while it hands over, which it does
//! once: when the Rollout is first released, and again when a new version is released while it has pods. One that another
//! controller has begun is ended. Who scales it meanwhile, such as an autoscaler, is answered once for each pod that can go,
//! never in a loop.

use crate::conditions;
use crate::cutover::{self, Plan};
use crate::initial;
use crate::scene::{Scene, after, memory};
use headgate_api::conditions::{TRUE, types};
use headgate_api::{HandOver, RolloutStatus};
use headgate_model::spec::WorkloadScaleDown;
use headgate_model::{Effect, Observed, RolloutView, Timestamp, WorkloadView};

/// The workload, when it is there.
pub(crate) fn seen(rollout: &RolloutView) -> Option<&WorkloadView> {
    rollout.workload.as_ref()?.present()
}

/// True while nobody has read it: nothing can be said of the template.
pub(crate) fn is_awaited(rollout: &RolloutView) -> bool {
    rollout.workload.as_ref().is_some_and(Observed::is_unknown)
}

/// Whether the status is about the workload as it is now.
pub(crate) fn is_observed(rollout: &RolloutView) -> bool {
    let observed = &rollout.status.workload_observed_generation;
    seen(rollout).is_none_or(|workload| *observed == workload.generation.to_string())
}

/// Enters the generation of the workload that the record is about.
pub(crate) fn observe(rollout: &RolloutView, record: &mut RolloutStatus) {
    match (&rollout.workload, seen(rollout)) {
        (None, _) if rollout.spec.is_ok() => record.workload_observed_generation.clear(),
        (_, Some(workload)) => record.workload_observed_generation = workload.generation.to_string(),
        _ => {}
    }
}

/// True while a first version is analysed beside a Deployment that has pods (`initial: analyse`): until it has passed, they
/// are the version that works, so they stay, and so does the Service that leads to them.
pub(crate) fn is_way_back(scene: &Scene<'_>) -> bool {
    let has_pods = |workload: &WorkloadView| workload.replicas.is_some_and(|pods| pods > 0);
    initial::is_wanted(scene, scene.old) && seen(scene.rollout).is_some_and(has_pods)
}

/// Decides how many pods the Deployment keeps.
pub(crate) fn hand_over(scene: &Scene<'_>, record: &mut RolloutStatus, plan: &mut Plan) {
    let is_wanted = scene.spec.workload_scale_down != WorkloadScaleDown::Never;
    let deployment = seen(scene.rollout).filter(|_| is_wanted);
    let (Some(deployment), Some(has)) = (deployment, deployment.and_then(|seen| seen.replicas)) else {
        return forget(record);
    };
    let is_first = scene.old.stable_rs.is_empty();
    let begins = has > 0 && (is_first || record.stable_rs != scene.old.stable_rs || was_begun(scene));
    let known = record.headgate.as_ref().and_then(|memory| memory.hand_over.clone());
    let under_way = known.filter(|known| !known.ended);
    let fresh = || begins.then_some(HandOver { from: has, reached: has, ended: false });
    let Some(mut hand_over) = under_way.or_else(fresh) else { return };
    let wants = match wanted(scene, &hand_over, plan) {
        Some(0) if has == 0 => {
            memory(record).hand_over = Some(HandOver { ended: true, ..HandOver::default() });
            return;
        }
        Some(wants) => wants,
        None => hand_over.reached,
    };
    if wants == has {
        hand_over.reached = has;
    } else if wants < has && wants < hand_over.reached && cutover::routes_are_known(scene) && !evicts(plan) {
        plan.shrink.push(scale(deployment, has, wants));
    } else if wants > has && wants > hand_over.reached {
        plan.grow.push(scale(deployment, has, wants));
    }
    memory(record).hand_over = Some(hand_over);
}

/// True when a restart evicts pods of the Rollout in this decision: those of the Deployment may be needed in their place.
fn evicts(plan: &Plan) -> bool {
    plan.shrink.iter().any(|effect| matches!(effect, Effect::EvictPod { .. }))
}

/// True for the first revision of a Rollout that we see for the first time: Argo Rollouts, or a process whose memory the
/// installed CRD drops, may have left its hand-over half done. Argo Rollouts goes on with it for as long as that revision
/// stays.
fn was_begun(scene: &Scene<'_>) -> bool {
    scene.revision == 1 && scene.old.headgate.is_none() && !scene.old.stable_rs.is_empty()
}

fn forget(record: &mut RolloutStatus) {
    if let Some(memory) = &mut record.headgate {
        memory.hand_over = None;
    }
}

/// The pods that the Deployment is to have; `None`: as many as it was left with.
///
/// One stays until the Rollout has been healthy for as long as proxies need to follow it. Before, with `progressively`,
/// one goes for each pod of the Rollout that is available, and comes back for each that no longer is.
fn wanted(scene: &Scene<'_>, hand_over: &HandOver, plan: &mut Plan) -> Option<i32> {
    // Nobody has written yet how many pods the Rollout shall have in the end, or whether they are any good.
    if scene.spec.replicas_unset || scene.spec.replicas == 0 || is_way_back(scene) {
        return None;
    }
    let current = scene.current.filter(|current| current.is_observed())?;
    let missing = scene.spec.replicas.saturating_sub(current.available()).max(0);
    if missing == 0
        && let Some(since) = healthy_since(scene)
    {
        let settled_at = after(since, cutover::settle_seconds(scene));
        if settled_at <= scene.now {
            return Some(0);
        }
        plan.wake.push(settled_at);
    }
    let is_first = scene.old.stable_rs.is_empty() || scene.old.stable_rs == scene.old.current_pod_hash;
    let one_by_one = scene.spec.workload_scale_down == WorkloadScaleDown::Progressively && is_first;
    let least = missing.clamp(1.min(hand_over.from), hand_over.from);
    // Without an available pod of the Rollout nothing has been handed over: the Deployment may have more than it wants.
    (one_by_one && (current.available() > 0 || hand_over.reached < hand_over.from)).then_some(least)
}

/// Since when the newest version is out and healthy, as the record says.
fn healthy_since(scene: &Scene<'_>) -> Option<Timestamp> {
    let is_out =
        scene.old.stable_rs == scene.current_hash && scene.old.current_pod_hash == scene.current_hash;
    let condition = conditions::get(scene.old, types::HEALTHY).filter(|_| is_out)?;
    (condition.status == TRUE).then_some(condition.last_transition_time.as_ref()?.0)
}

fn scale(deployment: &WorkloadView, from: i32, to: i32) -> Effect {
    Effect::ScaleWorkload { name: deployment.reference.name.clone(), uid: deployment.uid.clone(), from, to }
}
