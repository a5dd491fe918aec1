//! What Headgate writes can be read by Argo Rollouts, so that a team may go back at any time.

use crate::fleet::carried_out;
use crate::goes_on::to_the_end;
use headgate_sim::adoption::unreadable;
use serde_json::json;

#[test]
fn every_status_on_the_way_can_be_read_by_argo_rollouts() {
    let mut seen = 0;
    for name in carried_out() {
        let (world, _) = to_the_end(&name);
        for rollout in world.course() {
            assert_eq!(unreadable(&rollout["status"]), Vec::<String>::new(), "{name}: {}", rollout["status"]);
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn a_status_that_it_cannot_read_is_noticed() {
    let condition = json!({ "type": "Well", "status": "True", "reason": "r", "message": "m",
        "lastUpdateTime": "2026-11-21T09:00:00Z" });
    let status = json!({ "observedGeneration": 3, "replicas": 3_000_000_000_i64, "ours": true,
        "conditions": [condition], "headgate": { "anything": [1] } });
    assert_eq!(
        unreadable(&status),
        [
            "/conditions lacks lastTransitionTime",
            "/conditions/type is \"Well\", which is no OneOf([\"InvalidSpec\", \"Available\", \"Progressing\", \
             \"ReplicaFailure\", \"Paused\", \"Completed\", \"Healthy\"])",
            "/observedGeneration is 3, which is no Generation",
            "/ours is a field that Argo Rollouts does not have",
            "/replicas is 3000000000, which is no Number",
        ]
    );
}
