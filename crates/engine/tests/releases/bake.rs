//! The bake: everything at the new version, and the old one stands by.

use crate::world::{World, routed, spec};
use headgate_api::AnalysisPhase;
use serde_json::{Value, json};

fn template(metric: Value) -> Value {
    let mut whole = json!({"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "errors"}},
        "successCondition": "result < 1"});
    whole.as_object_mut().unwrap().extend(metric.as_object().unwrap().clone());
    json!({"metrics": [whole]})
}

fn canary(bake: Value) -> Value {
    let mut canary = routed(json!([{"setWeight": 50}]));
    canary["bake"] = bake;
    canary
}

/// Version 2 bakes for an hour.
fn baking(canary: Value, metric: Value) -> World {
    let mut world = World::new(spec(4, canary));
    world.add_template("errors", template(metric));
    world.settle();
    world.pass(10);
    world.release(2);
    world.settle();
    bakes(&world);
    world
}

fn bakes(world: &World) {
    assert_eq!((world.phase(), world.weight(), world.waits_for()), ("Progressing", 100, "Bake"));
    assert_eq!((world.status().current_step_index, &world.status().stable_rs), (Some(1), &world.hash(1)));
    assert_eq!((world.pods(1), world.pods(2)), (4, 4), "the old pods stand by");
}

fn plain() -> World {
    baking(canary(json!({"duration": "1h"})), json!({}))
}

#[test]
fn a_version_bakes_until_its_time_is_over_and_is_promoted_then() {
    let mut world = plain();
    let until = world.status().waiting.as_ref().unwrap().until.clone().unwrap().0;
    assert_eq!(until.duration_since(world.now).as_secs(), 3_600);
    assert!(world.status().message.starts_with("the new version bakes until "), "{}", world.status().message);
    assert_eq!(world.decide().wake_at, Some(until));
    world.pass(3_599);
    world.settle();
    bakes(&world);
    world.pass(1);
    world.settle_over_time();
    assert_eq!((world.phase(), world.status().stable_rs.clone()), ("Healthy", world.hash(2)));
    assert_eq!(
        (world.pods(1), world.status().headgate.as_ref().and_then(|memory| memory.bake.clone())),
        (0, None)
    );
}

#[test]
fn a_bake_begins_and_ends_with_as_many_pods_as_the_threshold_of_the_release_wants() {
    for (percent, is_enough) in [(75, true), (100, false)] {
        let mut canary = canary(json!({"duration": "1h"}));
        canary["replicaProgressThreshold"] = json!({"type": "Percent", "value": percent});
        let mut world = World::running(spec(4, canary));
        world.weak.insert(world.hash(2), 3);
        world.release(2);
        world.settle();
        assert_eq!(world.waits_for() == "Bake", is_enough, "{percent} %");
        world.pass(3_600);
        world.settle();
        assert_eq!(world.status().stable_rs == world.hash(2), is_enough, "{percent} %");
    }
}

#[test]
fn a_full_promotion_ends_a_bake_at_once_and_an_abort_leads_back() {
    let mut world = plain();
    world.promote_full();
    world.settle();
    assert_eq!(world.status().stable_rs, world.hash(2));
    let mut world = plain();
    world.abort();
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.pods(1)), ("Degraded", 0, 4));
}

#[test]
fn the_deadline_does_not_count_while_a_version_bakes() {
    let mut world = plain();
    world.edit(|spec| {
        spec["progressDeadlineSeconds"] = json!(60);
        spec["progressDeadlineAbort"] = json!(true);
    });
    world.settle();
    world.pass(1_800);
    world.settle();
    bakes(&world);
}

#[test]
fn a_record_that_was_dropped_makes_the_bake_begin_again() {
    let mut world = plain();
    world.pass(3_000);
    world.settle();
    world.snapshot.rollout.status.headgate = None;
    world.settle();
    world.pass(3_599);
    world.settle();
    bakes(&world);
}

#[test]
fn a_bake_waits_for_an_analysis_that_ends_by_itself() {
    let bake = json!({"duration": "1h", "analysis": {"templates": [{"templateName": "errors"}]}});
    let start = || baking(canary(bake.clone()), json!({}));
    let mut world = start();
    let name = format!("shop-{}-2-bake", world.hash(2));
    assert!(world.runs_mut().iter().map(|run| &run.name).eq([&name]));
    world.pass(7_200);
    world.settle();
    bakes(&world);
    world.verdict(&name, AnalysisPhase::Successful, "");
    world.settle();
    assert_eq!(world.status().stable_rs, world.hash(2));
    let mut world = start();
    world.verdict(&name, AnalysisPhase::Successful, "");
    world.settle();
    bakes(&world);
}

#[test]
fn an_analysis_without_an_end_runs_as_long_as_the_bake_does() {
    let bake = json!({"duration": "1h", "analysis": {"templates": [{"templateName": "errors"}]}});
    let mut world = baking(canary(bake), json!({"interval": "10s"}));
    let name = format!("shop-{}-2-bake", world.hash(2));
    world.pass(3_600);
    world.settle();
    bakes(&world);
    world.verdict(&name, AnalysisPhase::Running, "");
    world.settle();
    assert_eq!(world.status().stable_rs, world.hash(2));
    assert!(world.runs_mut().iter().all(|run| run.terminate));
}

#[test]
fn whatever_fails_in_a_bake_leads_back_at_once() {
    let bake = json!({"duration": "1h", "analysis": {"templates": [{"templateName": "errors"}]}});
    let mut with_background = canary(bake.clone());
    with_background["analysis"] = json!({"templates": [{"templateName": "errors"}], "onFailure": "pause"});
    for (canary, ending) in [(canary(bake), "-bake"), (with_background, "")] {
        let mut world = baking(canary, json!({"interval": "10s"}));
        let name = format!("shop-{}-2{ending}", world.hash(2));
        world.verdict(&name, AnalysisPhase::Failed, "too many errors");
        assert!(world.step());
        assert_eq!(world.weight(), 0, "{name}: in one decision");
        world.settle();
        assert_eq!((world.phase(), world.pods(1)), ("Degraded", 4));
        let message = &world.status().message;
        assert!(
            message.contains("after step 1/1, weight 100") && message.contains("too many errors"),
            "{message}"
        );
    }
}

#[test]
fn whether_the_analysis_of_a_bake_ends_is_a_matter_of_its_run_and_not_of_a_template_that_has_changed_since() {
    let (endless, finite) = (json!({"interval": "10s"}), json!({"interval": "10s", "count": 1000}));
    for (begun, changed, stable) in [(&endless, &finite, 2), (&finite, &endless, 1)] {
        let bake = json!({"duration": "1h", "analysis": {"templates": [{"templateName": "errors"}]}});
        let mut world = baking(canary(bake), begun.clone());
        let name = format!("shop-{}-2-bake", world.hash(2));
        world.verdict(&name, AnalysisPhase::Running, "");
        world.add_template("errors", template(changed.clone()));
        world.settle();
        world.pass(3600);
        world.settle();
        assert_eq!(world.status().stable_rs, world.hash(stable), "begun as {begun}");
    }
}

#[test]
fn an_inconclusive_analysis_of_a_bake_runs_anew_when_a_user_goes_on() {
    let bake = json!({"duration": "1h", "analysis": {"templates": [{"templateName": "errors"}]}});
    let mut world = baking(canary(bake), json!({}));
    let name = format!("shop-{}-2-bake", world.hash(2));
    world.verdict(&name, AnalysisPhase::Inconclusive, "");
    world.settle();
    assert_eq!(world.waits_for(), "InconclusiveAnalysis");
    world.promote();
    world.settle();
    assert_eq!(world.runs_mut().last().map(|run| run.name.clone()), Some(format!("{name}.1")));
    bakes(&world);
}

#[test]
fn a_rollback_to_the_stable_version_does_not_bake_nor_does_one_within_the_window() {
    let mut world = plain();
    world.release(1);
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight()), ("Healthy", 0));
    let mut world = plain();
    world.promote_full();
    world.settle_over_time();
    world.edit(|spec| spec["rollbackWindow"] = json!({"revisions": 3}));
    world.pass(10);
    world.release(1);
    world.settle();
    assert_eq!(world.status().stable_rs, world.hash(1));
}

#[test]
fn a_verdict_that_comes_later_than_the_deadline_promotes_all_the_same() {
    let mut canary =
        canary(json!({"duration": "1m", "analysis": {"templates": [{"templateName": "errors"}]}}));
    canary["steps"] = json!([{"setWeight": 50}]);
    let mut world = World::new(spec(4, canary));
    world.edit(|spec| spec["progressDeadlineAbort"] = json!(true));
    world.add_template("errors", template(json!({"count": 20, "interval": "1m"})));
    world.settle();
    world.pass(10);
    world.release(2);
    world.settle();
    bakes(&world);
    world.pass(1_200);
    world.settle();
    bakes(&world);
    let name = world.runs_mut().last().map(|run| run.name.clone()).unwrap();
    world.verdict(&name, AnalysisPhase::Successful, "");
    world.settle_over_time();
    assert_eq!((world.phase(), world.status().stable_rs.clone()), ("Healthy", world.hash(2)));
}

#[test]
fn a_bake_that_begins_after_the_deadline_is_no_lack_of_progress() {
    let mut canary = canary(json!({"duration": "1h"}));
    canary["steps"] = json!([{"setWeight": 50}, {"pause": {}}]);
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    world.confirm(Some(false));
    world.promote();
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (100, "RouteConfirmed"));
    world.pass(601);
    world.settle();
    assert_eq!(world.phase(), "Degraded");
    world.confirm(Some(true));
    world.settle();
    assert_eq!((world.phase(), world.waits_for()), ("Progressing", "Bake"), "{}", world.status().message);
}
