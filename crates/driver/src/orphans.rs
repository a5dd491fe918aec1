//! ReplicaSets that nobody controls: what `kubectl delete --cascade=orphan` leaves behind. They become the Rollout's for
//! which they were made: their selector is its own, and the hash. A broader selector takes nothing away from others.

use crate::object;
use crate::store::Store;
use headgate_api::At;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_model::{OrphanView, selector};
use serde_json::Value;

/// The orphans that were made for this Rollout.
pub(crate) fn of(rollout: &Value, store: &Store) -> Vec<OrphanView> {
    let orphans = store.orphans(object::meta(rollout, "namespace"));
    orphans.filter(|set| is_of(set, rollout)).map(view).collect()
}

/// Whether a ReplicaSet is nobody's, and was made for this Rollout.
pub(crate) fn is_of(set: &Value, rollout: &Value) -> bool {
    let selector_of = |object: &Value| object.at("/spec/selector").cloned().unwrap_or(Value::Null);
    let (theirs, ours) = (selector_of(set), selector_of(rollout));
    let mut labels = selector::match_labels(&theirs);
    let has_hash = labels.remove(POD_TEMPLATE_HASH).is_some_and(|hash| hash == object::hash(set));
    has_hash
        && object::controller(set).is_none()
        && !object::is_deleting(set)
        && !selector::is_empty(&ours)
        && labels == selector::match_labels(&ours)
        && expressions(&theirs) == expressions(&ours)
}

fn expressions(selector: &Value) -> &[Value] {
    selector.get("matchExpressions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn view(set: &Value) -> OrphanView {
    let owners = set.at("/metadata/ownerReferences").and_then(Value::as_array);
    OrphanView {
        name: object::meta(set, "name").to_owned(),
        uid: object::uid(set).to_owned(),
        resource_version: object::resource_version(set).to_owned(),
        owners: owners.cloned().unwrap_or_default(),
    }
}
