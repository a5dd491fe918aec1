//! `canaryMetadata` and `stableMetadata`: labels and annotations that pods carry as long as their version has a role.
//!
//! A ReplicaSet's template comes first, so that pods made from then on are right; the patch that changes it notes on the
//! ReplicaSet what its pods may still carry ([`labels::FORMER_POD_METADATA`]). While that note is there, and once the
//! ReplicaSet controller has seen the new template, pods are read live and those that differ are patched, a few at a time;
//! when none differs the note goes. So a crash in between forgets nothing, and a settled rollout reads nothing.

use crate::conditions;
use crate::scene::Scene;
use headgate_api::conditions::types;
use headgate_api::{RolloutStatus, labels};
use headgate_model::template::{MetadataChange, PodMetadata, inject, strip_injected};
use headgate_model::{Effect, ReplicaSetPatch, ReplicaSetView, RunningPod, Snapshot};
use serde_json::Value;
use std::collections::BTreeMap;

/// Pods that one decision patches at most (R7).
const AT_ONCE_MAX: usize = 10;

/// True when pods of a ReplicaSet may carry what they should not, and only a look at them can tell.
pub(crate) fn wants_pods(snapshot: &Snapshot, record: &RolloutStatus) -> bool {
    let is_invalid = conditions::get(record, types::INVALID_SPEC).is_some();
    let mut sets = snapshot.replica_sets.present().into_iter().flatten();
    !is_invalid && sets.any(|set| !set.deleting && is_to_be_looked_at(set))
}

fn is_noted(set: &ReplicaSetView) -> bool {
    set.annotations.contains_key(labels::FORMER_POD_METADATA)
}

/// Before its controller has seen a new template it may still make pods of the old one.
fn is_to_be_looked_at(set: &ReplicaSetView) -> bool {
    is_noted(set) && set.is_observed() && has_pods(set)
}

fn has_pods(set: &ReplicaSetView) -> bool {
    set.replicas > 0 || set.current > 0 || !set.is_observed()
}

/// Puts what pods of a new version carry into the template of its ReplicaSet, and says so in its annotations.
pub(crate) fn equip(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    template: &mut Value,
    annotations: &mut BTreeMap<String, String>,
) {
    let wanted = of_role(scene, record, &scene.current_hash);
    let own = own(template).under_keys_of(wanted);
    inject(template, wanted);
    let notes = [(labels::EPHEMERAL_METADATA, wanted.json()), (labels::OWN_POD_METADATA, own.json())];
    annotations.extend(notes.into_iter().filter_map(|(key, note)| Some((key.to_owned(), note?))));
}

/// What pods of this version carry.
fn of_role<'a>(scene: &Scene<'a>, record: &RolloutStatus, hash: &str) -> &'a PodMetadata {
    static NONE: PodMetadata = PodMetadata { labels: BTreeMap::new(), annotations: BTreeMap::new() };
    if hash == record.stable_rs {
        &scene.spec.canary.stable_metadata
    } else if hash == scene.current_hash {
        &scene.spec.canary.canary_metadata
    } else {
        &NONE
    }
}

/// What a template has of itself.
fn own(template: &Value) -> PodMetadata {
    template.get("metadata").map(PodMetadata::of).unwrap_or_default()
}

/// The same for that of a ReplicaSet.
fn own_of(scene: &Scene<'_>, set: &ReplicaSetView) -> PodMetadata {
    if scene.current.is_some_and(|current| current.uid == set.uid) {
        own(&scene.spec.template)
    } else {
        own(&strip_injected(&set.template, &set.annotations))
    }
}

/// Brings templates and pods into line with the roles of their versions.
pub(crate) fn plan(scene: &Scene<'_>, record: &RolloutStatus, effects: &mut Vec<Effect>) {
    let versions = scene.versions(&record.stable_rs);
    let sets = [versions.current, versions.stable].into_iter().flatten().chain(versions.others);
    let mut pods = Vec::new();
    for set in sets {
        let wanted = of_role(scene, record, set.hash());
        let former = PodMetadata::told(&set.annotations, labels::EPHEMERAL_METADATA);
        if wanted.is_empty() && former.is_empty() && !is_noted(set) {
            continue;
        }
        let own = own_of(scene, set);
        if let Some(patch) = template_patch(set, &former, &own, wanted) {
            effects.push(patch);
        } else if is_noted(set) {
            let changes = pod_patches(scene, set, &own, wanted);
            match changes {
                Some(changes) if changes.is_empty() => effects.push(noted(set, None)),
                changes => pods.extend(changes.into_iter().flatten()),
            }
        }
    }
    pods.truncate(AT_ONCE_MAX);
    effects.extend(pods);
}

/// What changes a ReplicaSet's template, and the notes that go with it.
fn template_patch(
    set: &ReplicaSetView,
    former: &PodMetadata,
    own: &PodMetadata,
    wanted: &PodMetadata,
) -> Option<Effect> {
    let present = self::own(&set.template);
    let change = MetadataChange::between(&present, former, own, wanted);
    let kept = own.under_keys_of(wanted);
    let is_told = former == wanted && PodMetadata::told(&set.annotations, labels::OWN_POD_METADATA) == kept;
    if is_told && change.is_empty() {
        return None;
    }
    let mut annotations = BTreeMap::from([
        (labels::EPHEMERAL_METADATA.to_owned(), wanted.json()),
        (labels::OWN_POD_METADATA.to_owned(), kept.json()),
    ]);
    if !change.is_empty() && has_pods(set) {
        let carried = former.clone().with(&PodMetadata::told(&set.annotations, labels::FORMER_POD_METADATA));
        let note = carried.json().unwrap_or_else(|| "{}".to_owned());
        annotations.insert(labels::FORMER_POD_METADATA.to_owned(), Some(note));
    }
    annotations.retain(|key, note| set.annotations.get(key) != note.as_ref());
    let patch = ReplicaSetPatch { annotations, pod_metadata: change, ..ReplicaSetPatch::of(set) };
    Some(Effect::PatchReplicaSet(patch))
}

/// The note is this from now on.
fn noted(set: &ReplicaSetView, note: Option<String>) -> Effect {
    let annotations = BTreeMap::from([(labels::FORMER_POD_METADATA.to_owned(), note)]);
    Effect::PatchReplicaSet(ReplicaSetPatch { annotations, ..ReplicaSetPatch::of(set) })
}

/// What changes the pods of a ReplicaSet whose template is right already; `None` as long as they are not known.
fn pod_patches(
    scene: &Scene<'_>,
    set: &ReplicaSetView,
    own: &PodMetadata,
    wanted: &PodMetadata,
) -> Option<Vec<Effect>> {
    if !has_pods(set) {
        return Some(Vec::new());
    }
    let pods = scene.snapshot.running.present().filter(|_| set.is_observed())?;
    let former = PodMetadata::told(&set.annotations, labels::FORMER_POD_METADATA);
    let of_set = pods.iter().filter(|pod| pod.set_uid == set.uid && !pod.is_leaving);
    let patch = |pod: &RunningPod| {
        let metadata = MetadataChange::between(&pod.metadata, &former, own, wanted);
        (!metadata.is_empty()).then(|| Effect::PatchPod {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            resource_version: pod.resource_version.clone(),
            replica_set: set.name.clone(),
            metadata,
        })
    };
    Some(of_set.filter_map(patch).collect())
}
