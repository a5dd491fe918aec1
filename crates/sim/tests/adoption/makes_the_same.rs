//! What Headgate makes is what Argo Rollouts has made: for a ReplicaSet that is gone it makes the same one again.

use crate::fleet::{carried_out, changes, objects, rollout, take_over};
use headgate_api::labels::{REVISION, REVISION_HISTORY, SCALE_DOWN_DEADLINE};
use headgate_driver::resources::REPLICA_SETS;
use headgate_sim::world::server::reference;
use jiff::SignedDuration;
use serde_json::{Value, json};

/// By then it is made.
const IS_MADE_WITHIN: SignedDuration = SignedDuration::from_mins(1);

fn is_owned_by(object: &Value, owner: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| owners.iter().any(|one| one["uid"] == owner["metadata"]["uid"]))
}

fn revision(set: &Value) -> i64 {
    set["metadata"]["annotations"][REVISION].as_str().unwrap().parse().unwrap()
}

/// The newest ReplicaSet of the Rollout. A Deployment beside it may have some, too.
fn newest(objects: &[Value]) -> Value {
    let sets = objects.iter().filter(|object| object["kind"] == "ReplicaSet");
    let own = sets.filter(|set| is_owned_by(set, rollout(objects)));
    own.max_by_key(|set| revision(set)).unwrap().clone()
}

/// The objects without this ReplicaSet and its pods.
fn without(objects: &[Value], set: &Value) -> Vec<Value> {
    let is_gone =
        |object: &&Value| object["metadata"]["uid"] == set["metadata"]["uid"] || is_owned_by(object, set);
    objects.iter().filter(|object| !is_gone(object)).cloned().collect()
}

/// What was decided when it was made. Its size follows from the step, and the time at which an aborted version may go from
/// the abort; earlier revisions are those of an object that has come back.
fn as_made(set: &Value) -> Value {
    let mut made = json!({
        "apiVersion": set["apiVersion"],
        "kind": set["kind"],
        "metadata": {},
        "spec": set["spec"],
    });
    for field in ["name", "namespace", "labels", "annotations", "ownerReferences"] {
        made["metadata"][field] = set["metadata"][field].clone();
    }
    let annotations = made["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.retain(|key, _| key != SCALE_DOWN_DEADLINE && key != REVISION_HISTORY);
    made["spec"].as_object_mut().unwrap().remove("replicas");
    made
}

/// Without its ReplicaSet requests would be lost before Headgate has seen anything: the world would end there.
fn is_given_requests(rollout: &Value) -> bool {
    let share = rollout["status"]["canary"]["weights"]["canary"]["weight"].as_i64();
    share.is_some_and(|share| share > 0)
}

#[test]
fn the_replica_set_of_a_version_is_made_as_argo_rollouts_has_made_it() {
    let mut compared = Vec::new();
    for name in carried_out() {
        let recorded = objects(&name);
        let rollout = rollout(&recorded);
        if is_given_requests(rollout) {
            continue;
        }
        let before = newest(&recorded);
        let mut world = take_over(&without(&recorded, &before));
        world.pass(IS_MADE_WITHIN);
        assert_eq!(world.broken_rule(), None, "{name}");
        let after = world.get(&reference(REPLICA_SETS, &before));
        let after = after.unwrap_or_else(|| panic!("{name}: none is made: {}", world.rollout()["status"]));
        assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"], "{name}");
        assert_eq!(changes(&as_made(&before), &as_made(after)), Vec::<String>::new(), "{name}");
        compared.push(name);
    }
    assert_eq!(compared.len(), 19, "{compared:?}");
}
