//! What is kept of the past: old ReplicaSets and finished AnalysisRuns.

use crate::analysis;
use crate::cutover;
use crate::scene::Scene;
use headgate_api::{AnalysisPhase, RolloutStatus, labels};
use headgate_model::{AnalysisRunView, Effect, ReplicaSetView};
use std::collections::BTreeSet;

/// Deletes what the limits no longer keep.
pub(crate) fn plan(scene: &Scene<'_>, record: &RolloutStatus, effects: &mut Vec<Effect>) {
    let surplus = surplus_replica_sets(scene, record);
    let gone: BTreeSet<&str> = surplus.iter().map(|set| set.hash()).collect();
    effects.extend(surplus_runs(scene, record, &gone));
    effects.extend(
        surplus
            .into_iter()
            .map(|set| Effect::DeleteReplicaSet { name: set.name.clone(), uid: set.uid.clone() }),
    );
}

/// Old ReplicaSets that are too many: the oldest first, and only such without pods that no Service leads to.
fn surplus_replica_sets<'a>(scene: &Scene<'a>, record: &RolloutStatus) -> Vec<&'a ReplicaSetView> {
    let mut old = scene.versions(&record.stable_rs).others;
    old.reverse();
    let limit = usize::try_from(scene.spec.revision_history_limit).unwrap_or(0);
    let too_many = old.len().saturating_sub(limit);
    let is_empty = |set: &&ReplicaSetView| set.replicas == 0 && set.current == 0 && set.is_observed();
    let oldest = old.into_iter().take(too_many);
    oldest.filter(is_empty).filter(|set| !cutover::is_selected(scene, set)).collect()
}

/// Runs that no version needs any more: those of versions that are gone, and of the finished ones all but the newest.
fn surplus_runs<'a>(scene: &Scene<'a>, record: &RolloutStatus, gone: &BTreeSet<&str>) -> Vec<Effect> {
    let needed = analysis::needed_names(record);
    let alive: BTreeSet<&str> = scene
        .replica_sets
        .iter()
        .map(|set| set.hash())
        .chain([scene.current_hash.as_str()])
        .filter(|hash| !gone.contains(hash))
        .collect();
    let mut past: Vec<&'a AnalysisRunView> =
        scene.runs.iter().filter(|run| !run.deleting && !needed.contains(&run.name.as_str())).collect();
    past.sort_by_key(|run| std::cmp::Reverse((run.created_at, run.name.clone())));
    let mut kept = (scene.spec.successful_runs_kept, scene.spec.unsuccessful_runs_kept);
    let surplus = past.into_iter().filter(|run| {
        let has_version =
            run.labels.get(labels::POD_TEMPLATE_HASH).is_some_and(|hash| alive.contains(hash.as_str()));
        if !has_version {
            return true;
        }
        let left = match run.phase {
            AnalysisPhase::Pending | AnalysisPhase::Running => return false,
            AnalysisPhase::Successful => &mut kept.0,
            AnalysisPhase::Failed | AnalysisPhase::Error | AnalysisPhase::Inconclusive => &mut kept.1,
        };
        *left = left.saturating_sub(1);
        *left < 0
    });
    surplus.map(|run| Effect::DeleteAnalysisRun { name: run.name.clone(), uid: run.uid.clone() }).collect()
}
