//! Releases while something that they rest on is gone, late or moved by others.

use crate::world::{World, routed, spec};
use headgate_api::AnalysisPhase;
use headgate_model::{Observed, TemplateKey};
use serde_json::json;

/// A release at half of the traffic, with an analysis beside it.
fn half_way_with_analysis() -> World {
    let mut canary = routed(json!([{"setWeight": 50}, {"pause": {}}]));
    canary["analysis"] = json!({"templates": [{"templateName": "errors"}]});
    let mut world = World::new(spec(4, canary));
    let metric = json!({"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "q"}}});
    world.add_template("errors", json!({"metrics": [metric]}));
    world.settle();
    world.release(2);
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.runs_mut().len()), ("Paused", 50, 1));
    world
}

#[test]
fn an_analysis_that_fails_aborts_although_its_template_is_gone_by_then() {
    let mut world = half_way_with_analysis();
    world.snapshot.templates.insert(TemplateKey::Namespaced("errors".into()), Observed::Absent);
    world.settle();
    assert_eq!((world.waits_for(), world.weight()), ("MendSpec", 50));
    let name = format!("shop-{}-2", world.hash(2));
    world.verdict(&name, AnalysisPhase::Failed, "too many errors");
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (0, 4, 0));
    let aborted = "RolloutAborted: Rollout aborted update to revision 2: Background analysis phase error/failed: too many \
                   errors";
    assert!(world.events.contains(&aborted.to_owned()), "{:?}", world.events);
}
