//! What Headgate writes can be read by Argo Rollouts, so that a team may go back at any time.

use crate::fleet::{STANDS_FOR, carried_out, names, objects, take_over};
use crate::goes_on::to_the_end;
use headgate_driver::resources::ANALYSIS_RUNS;
use headgate_sim::adoption::{World, unreadable};
use headgate_sim::user::Act;
use serde_json::{Value, json};

#[track_caller]
fn assert_is_readable(name: &str, object: &Value) {
    assert_eq!(unreadable(object), Vec::<String>::new(), "{name}: {}", object["status"]);
}

/// How many statuses there were.
#[track_caller]
fn assert_all_are_readable(name: &str, world: &World) -> usize {
    let told: Vec<&Value> = world.course().chain(world.all(ANALYSIS_RUNS)).collect();
    for object in &told {
        assert_is_readable(name, object);
    }
    told.len()
}

#[test]
fn every_status_on_the_way_can_be_read_by_argo_rollouts() {
    let seen: usize = carried_out().map(|name| assert_all_are_readable(&name, &to_the_end(&name).0)).sum();
    assert!(seen > 200, "{seen}");
}

#[test]
fn every_status_after_a_full_promotion_and_a_restart_can_be_read_too() {
    for name in ["midpause", "istio"] {
        let mut world = take_over(&objects(name));
        for act in [Act::PromoteFull, Act::Restart] {
            world.act(act);
            world.pass(STANDS_FOR);
        }
        assert_all_are_readable(name, &world);
        assert!(world.course().any(|rollout| rollout["status"]["promoteFull"] == json!(true)), "{name}");
        assert!(
            world.rollout()["status"]["restartedAt"].is_string(),
            "{name}: {}",
            world.rollout()["status"]
        );
    }
}

#[test]
fn what_argo_rollouts_has_written_itself_can_be_read() {
    for name in names() {
        for object in objects(&name) {
            if object["kind"] == "Rollout" || object["kind"] == "AnalysisRun" {
                assert_is_readable(&name, &object);
            }
        }
    }
}

#[test]
fn a_status_that_it_cannot_read_is_noticed() {
    let condition = json!({ "type": "Well", "status": "True", "reason": "r", "message": "m",
        "lastUpdateTime": "2026-11-21T09:00:00Z" });
    let status = json!({ "observedGeneration": 3, "replicas": 3_000_000_000_i64, "ours": true,
        "conditions": [condition], "headgate": { "anything": [1] } });
    assert_eq!(
        unreadable(&json!({ "kind": "Rollout", "status": status })),
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

#[test]
fn a_status_of_a_run_that_it_cannot_read_is_noticed() {
    let measurement = json!({ "value": 1, "metadata": { "query": ["up"] } });
    let result = json!({ "name": "m", "phase": "Running", "measurements": [measurement] });
    assert_eq!(
        unreadable(
            &json!({ "kind": "AnalysisRun", "status": { "metricResults": [result], "headgate": { "a": 1 } } })
        ),
        [
            "/ lacks phase",
            "/headgate/a is a field that Argo Rollouts does not have",
            "/metricResults/measurements lacks phase",
            "/metricResults/measurements/metadata is {\"query\":[\"up\"]}, which is no Texts",
            "/metricResults/measurements/value is 1, which is no Text",
        ]
    );
}
