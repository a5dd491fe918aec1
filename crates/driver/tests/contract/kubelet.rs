//! Pods as objects, for those who are to see more of them than numbers in ReplicaSets.

use crate::server::{Author, Server};
use headgate_driver::io::{Call, ObjectRef};
use headgate_driver::resources::{PODS, REPLICA_SETS};
use headgate_model::Timestamp;
use serde_json::{Value, json};

/// Every ReplicaSet has as many pods as it wants, and they are ready.
pub(crate) fn make_pods(server: &mut Server, now: Timestamp) {
    let sets = server.objects.iter().filter(|(target, _)| target.resource == REPLICA_SETS);
    let sets: Vec<Value> = sets.map(|(_, set)| set.clone()).collect();
    for set in sets {
        let wanted = set["spec"]["replicas"].as_u64().unwrap_or(0);
        let wanted = usize::try_from(wanted).unwrap();
        let pods = pods_of(server, &set);
        pods.iter().skip(wanted).for_each(|pod| server.remove(pod));
        let missing = wanted.saturating_sub(pods.len());
        let names = (0..).map(|number| format!("{}-{number}", set["metadata"]["name"].as_str().unwrap()));
        let is_free = |name: &String| pods.iter().all(|pod| pod.name != *name);
        for name in names.filter(is_free).take(missing) {
            server.call(&creation(&set, name), Author::Other, now);
        }
    }
}

fn pods_of(server: &Server, set: &Value) -> Vec<ObjectRef> {
    let is_ours = |pod: &Value| pod["metadata"]["ownerReferences"][0]["uid"] == set["metadata"]["uid"];
    let pods = server.objects.iter().filter(|(target, pod)| target.resource == PODS && is_ours(pod));
    pods.map(|(target, _)| target.clone()).collect()
}

fn creation(set: &Value, name: String) -> Call {
    let of_set = &set["metadata"];
    let body = json!({
        "metadata": {
            "name": name, "labels": of_set["labels"],
            "ownerReferences": [
                { "kind": "ReplicaSet", "name": of_set["name"], "uid": of_set["uid"], "controller": true },
            ],
        },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    let namespace = of_set["namespace"].as_str().unwrap().to_owned();
    Call::Create { target: ObjectRef { resource: PODS, namespace, name }, body }
}
