//! After the take-over a release goes on as it would have.

use crate::fleet::{STANDS_FOR, carried_out, objects, take_over};
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::ANALYSIS_TEMPLATES;
use headgate_sim::adoption::World;
use headgate_sim::user::Act;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::fmt::Write;

/// More than any step of theirs takes.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// None of them takes more acts of a user.
const ACTS_MAX: usize = 3;
/// The new version.
const NEXT: i64 = 2;

/// What a user does next, by what the Rollout says.
fn next_act(rollout: &Value) -> Act {
    match (rollout["status"]["phase"].as_str().unwrap(), rollout["status"]["abort"].as_bool()) {
        (_, Some(true)) => Act::Retry,
        ("Paused", _) if rollout["spec"]["paused"] == json!(true) => Act::Unpause,
        ("Paused", _) => Act::Promote,
        ("Healthy" | "Degraded", _) => Act::Release(NEXT),
        (phase, _) => panic!("nothing to do while {phase}: {}", rollout["status"]),
    }
}

fn is_healthy(rollout: &Value) -> bool {
    rollout["status"]["phase"] == "Healthy"
        && rollout["status"]["observedGeneration"] == json!(rollout["metadata"]["generation"].to_string())
}

fn is_settled(rollout: &Value) -> bool {
    is_healthy(rollout) || rollout["status"]["phase"] == "Paused"
}

/// Step and phase as they follow each other.
fn course(world: &World, since: jiff::Timestamp) -> String {
    let mut told: Vec<String> = world
        .course(since)
        .map(|rollout| {
            let status = &rollout["status"];
            format!("{} {}", status["currentStepIndex"], status["phase"].as_str().unwrap())
        })
        .collect();
    told.dedup();
    told.join(", ")
}

#[test]
fn a_release_that_was_taken_over_goes_on_to_its_end() {
    let mut told = String::new();
    for name in carried_out() {
        let mut world = take_over(&objects(&name));
        world.pass(STANDS_FOR);
        replace_metrics(&mut world);
        let since = world.now();
        let mut acts = Vec::new();
        loop {
            let act = next_act(world.rollout());
            acts.push(format!("{act:?}"));
            world.act(act);
            // By then it is taken up.
            world.pass(SignedDuration::from_secs(2));
            world.pass_until(PATIENCE, is_settled);
            assert_eq!(world.broken_rule(), None, "{name} after {acts:?}");
            if is_healthy(world.rollout()) || acts.len() == ACTS_MAX {
                break;
            }
        }
        assert!(is_healthy(world.rollout()), "{name} after {acts:?}: {}", world.rollout()["status"]);
        writeln!(told, "{name}: {}: {}", acts.join(" "), course(&world, since)).unwrap();
    }
    insta::assert_snapshot!(told);
}

/// As docs/differences.md says of providers that this version does not have.
fn replace_metrics(world: &mut World) {
    for name in ["ok", "bad"] {
        let target =
            ObjectRef { resource: ANALYSIS_TEMPLATES, namespace: "fleet".to_owned(), name: name.to_owned() };
        let metric = json!({ "name": name, "count": 1, "successCondition": "result[0] == 1",
            "provider": { "prometheus": { "address": "http://prometheus:9090", "query": "up" } } });
        world.edit(&target, json!({ "spec": { "metrics": [metric] } }));
    }
}
