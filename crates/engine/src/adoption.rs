//! ReplicaSets that a deleted Rollout has left behind, with its pods, become the new one's: nothing is made a second time.

use crate::revision;
use headgate_model::{Effect, EffectKey, OrphanView, RolloutView, Snapshot};

/// An adoption that has failed so often may never succeed: the Rollout goes on without that ReplicaSet.
const ATTEMPTS_MAX: u32 = 3;

/// All adoptions that are due.
pub(crate) fn plan(snapshot: &Snapshot) -> Vec<Effect> {
    snapshot.orphans.iter().map(|orphan| adopt(&snapshot.rollout, orphan)).collect()
}

/// True while one of them may still succeed, so that everything else waits for it: what it brings decides what is missing.
pub(crate) fn is_awaited(snapshot: &Snapshot) -> bool {
    snapshot.orphans.iter().any(|orphan| !is_given_up(snapshot, &orphan.name))
}

fn is_given_up(snapshot: &Snapshot, name: &str) -> bool {
    snapshot
        .failures
        .get(&EffectKey::adoption(name))
        .is_some_and(|failure| failure.class.is_refused() || failure.attempts >= ATTEMPTS_MAX)
}

fn adopt(rollout: &RolloutView, orphan: &OrphanView) -> Effect {
    let owners = orphan.owners.iter().cloned().chain([revision::owner(rollout)]);
    Effect::AdoptReplicaSet {
        name: orphan.name.clone(),
        uid: orphan.uid.clone(),
        resource_version: orphan.resource_version.clone(),
        owners: owners.collect(),
    }
}
