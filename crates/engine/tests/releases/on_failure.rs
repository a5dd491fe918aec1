//! What becomes of a release whose analysis has failed: `onFailure`.

use crate::world::{World, routed, spec};
use headgate_api::AnalysisPhase;
use headgate_model::{EffectKey, Failure, FailureClass, Verb};
use serde_json::{Value, json};

const WHY: &str = "Metric \"errors\" assessed Failed due to failed (1) > failureLimit (0)";

fn template() -> Value {
    json!({"metrics": [{"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "errors"}},
        "successCondition": "result < 1"}]})
}

fn analysis(word: Option<&str>) -> Value {
    json!({"templates": [{"templateName": "errors"}], "onFailure": word.map_or(Value::Null, Value::from)})
}

fn world(canary: Value) -> World {
    let mut world = World::new(spec(4, canary));
    world.add_template("errors", template());
    world.settle();
    world.release(2);
    world.settle();
    world
}

/// Version 2 stands at an analysis step, with this `onFailure`.
fn at_step(word: Option<&str>) -> (World, String) {
    let steps = json!([{"setWeight": 25}, {"analysis": analysis(word)}, {"setWeight": 50}, {"pause": {}}]);
    let world = world(routed(steps));
    assert_eq!(world.waits_for(), "Analysis");
    let name = format!("shop-{}-2-1", world.hash(2));
    (world, name)
}

/// Version 2 stands at a pause of an hour, with an analysis with this `onFailure` in the background.
fn in_background(word: &str) -> (World, String) {
    let mut canary =
        routed(json!([{"setWeight": 25}, {"pause": {"duration": "1h"}}, {"setWeight": 50}, {"pause": {}}]));
    canary["analysis"] = analysis(Some(word));
    let world = world(canary);
    let name = format!("shop-{}-2", world.hash(2));
    (world, name)
}

fn fail(world: &mut World, name: &str) {
    world.verdict(name, AnalysisPhase::Failed, WHY);
    world.settle();
}

fn last_run(world: &mut World) -> String {
    world.runs_mut().last().map(|run| run.name.clone()).unwrap()
}

#[test]
fn without_a_word_and_with_abort_a_failed_analysis_leads_back() {
    for word in [None, Some("abort")] {
        let (mut world, name) = at_step(word);
        fail(&mut world, &name);
        assert_eq!((world.phase(), world.weight()), ("Degraded", 0), "{word:?}");
    }
}

#[test]
fn a_failed_analysis_pauses_where_it_stands_and_says_which_metric_until_a_user_goes_on() {
    for phase in [AnalysisPhase::Failed, AnalysisPhase::Error] {
        let (mut world, name) = at_step(Some("pause"));
        world.verdict(&name, phase, WHY);
        world.settle();
        assert_eq!((world.phase(), world.weight(), world.waits_for()), ("Paused", 25, "AnalysisFailed"));
        assert_eq!(world.status().message, format!("AnalysisFailed: {WHY}"));
        assert!(world.status().waiting.as_ref().unwrap().message.ends_with(WHY));
        let told =
            |world: &World| world.events.iter().filter(|event| event.starts_with("AnalysisFailed")).count();
        assert_eq!(told(&world), 1);
        world.pass(7_200);
        world.settle();
        assert_eq!((world.phase(), world.status().current_step_index, told(&world)), ("Paused", Some(1), 1));
        world.promote();
        world.settle();
        assert_eq!((world.weight(), world.waits_for()), (50, "UserPromotion"));
    }
}

#[test]
fn a_failed_analysis_is_told_although_a_right_is_lacking_elsewhere() {
    let (mut world, name) = at_step(Some("pause"));
    world.verdict(&name, AnalysisPhase::Failed, WHY);
    let failure = Failure {
        class: FailureClass::Forbidden,
        message: "no right to delete analysisruns".into(),
        since: world.now,
        attempts: 1,
        told: false,
        held: Vec::new(),
    };
    world.snapshot.failures.insert(EffectKey::new(Verb::DeleteAnalysisRun, "old"), failure);
    world.settle();
    assert_eq!(world.waits_for(), "ApiServer");
    let told: Vec<_> = world.events.iter().filter(|event| event.starts_with("AnalysisFailed")).collect();
    assert_eq!(told.len(), 1, "{:?}", world.events);
    assert!(told[0].contains(WHY));
}

#[test]
fn a_release_that_waits_for_a_person_after_a_failure_gets_no_larger_share_although_its_pods_start() {
    let (mut world, name) = in_background("pause");
    let second = world.hash(2);
    world.weak.insert(second, 1);
    world.promote();
    world.settle();
    assert_eq!((world.weight(), world.pods(2)), (25, 2), "its pods for 50 % start");
    fail(&mut world, &name);
    world.weak.clear();
    world.kubelet();
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (25, "AnalysisFailed"));
    world.promote();
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (50, "UserPromotion"));
}

#[test]
fn a_release_that_is_held_gets_no_larger_share_by_being_scaled_to_nothing_and_back() {
    let (mut world, name) = in_background("hold");
    let second = world.hash(2);
    world.weak.insert(second, 1);
    world.promote();
    world.settle();
    fail(&mut world, &name);
    world.weak.clear();
    assert_eq!((world.weight(), world.waits_for()), (25, "AnalysisHold"));
    for replicas in [0, 4] {
        world.scale(replicas);
        world.settle();
        world.kubelet();
        world.settle();
        assert_eq!(world.weight(), 25, "{replicas}");
    }
}

#[test]
fn a_release_that_is_held_gets_no_larger_share_although_its_pods_start() {
    for routed_by in [true, false] {
        let mut canary = routed(
            json!([{"setWeight": 25}, {"pause": {"duration": "1h"}}, {"setWeight": 50}, {"pause": {}}]),
        );
        if !routed_by {
            canary.as_object_mut().unwrap().remove("trafficRouting");
        }
        canary["analysis"] = analysis(Some("hold"));
        let mut world = world(canary);
        let (name, second) = (last_run(&mut world), world.hash(2));
        world.weak.insert(second, 1);
        world.promote();
        world.step();
        let pods = world.pods(2);
        world.verdict(&name, AnalysisPhase::Failed, WHY);
        world.step();
        world.weak.clear();
        world.kubelet();
        world.settle();
        assert_eq!((world.waits_for(), world.pods(2)), ("AnalysisHold", pods), "routed: {routed_by}");
        if routed_by {
            assert_eq!(world.weight(), 25);
        }
    }
}

/// Nobody goes on past what he cannot have seen.
#[test]
fn a_promotion_that_was_given_before_a_verdict_is_no_answer_to_it() {
    for paused in [false, true] {
        let mut canary = routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]));
        canary["analysis"] = analysis(Some("pause"));
        let mut world = world(canary);
        let name = last_run(&mut world);
        world.pause(paused);
        world.settle();
        world.promote();
        world.verdict(&name, AnalysisPhase::Failed, WHY);
        world.settle();
        world.pause(false);
        world.settle();
        assert_eq!((world.weight(), world.waits_for()), (25, "AnalysisFailed"), "paused: {paused}");
    }
}

#[test]
fn a_promotion_past_a_failure_is_kept_while_the_spec_waits_to_be_mended() {
    let (mut world, name) = at_step(Some("pause"));
    fail(&mut world, &name);
    world.edit(|spec| spec["minReadySeconds"] = json!(-1));
    world.settle();
    world.snapshot.rollout.status.pause_conditions.clear();
    world.settle();
    assert_eq!((world.waits_for(), &world.status().pause_conditions), ("MendSpec", &Vec::new()));
    world.edit(|spec| spec["minReadySeconds"] = json!(0));
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (50, "UserPromotion"));
}

#[test]
fn a_promotion_past_a_failure_is_kept_also_when_a_pod_is_unhealthy_meanwhile() {
    let steps =
        json!([{"setWeight": 25}, {"analysis": analysis(Some("pause"))}, {"setWeight": 50}, {"pause": {}}]);
    let mut canary = routed(steps);
    canary["podHealth"] = json!({ "action": "pause" });
    let mut world = world(canary);
    let name = format!("shop-{}-2-1", world.hash(2));
    fail(&mut world, &name);
    world.edit(|spec| spec["minReadySeconds"] = json!(-1));
    world.settle();
    world.snapshot.rollout.status.pause_conditions.clear();
    world.settle();
    let pod = crate::pod_health::oom_killed(&world);
    crate::pod_health::show(&mut world, pod);
    world.settle_over_time();
    assert_eq!((world.waits_for(), &world.status().pause_conditions), ("MendSpec", &Vec::new()));
    world.edit(|spec| spec["minReadySeconds"] = json!(0));
    world.settle();
    assert_eq!((world.status().current_step_index, world.waits_for()), (Some(2), "PodHealth"));
    world.snapshot.pods = headgate_model::Observed::Present(std::collections::BTreeMap::new());
    world.promote();
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (50, "UserPromotion"));
}

#[test]
fn the_wait_for_a_person_after_a_failed_analysis_counts_as_a_manual_pause() {
    let (mut world, name) = at_step(Some("pause"));
    fail(&mut world, &name);
    world.pass(60);
    world.promote();
    world.settle();
    let duration = world.status().duration.as_ref().unwrap();
    assert_eq!(duration.total_manual_pause_duration_seconds, Some(60));
}

#[test]
fn going_on_past_a_failed_analysis_ends_one_step_however_short_the_next_one_is() {
    let next = json!({"setCanaryScale": {"matchTrafficWeight": true}});
    let steps = json!([{"setWeight": 25}, {"analysis": analysis(Some("pause"))}, next, {"pause": {}}]);
    let mut world = world(routed(steps));
    let name = format!("shop-{}-2-1", world.hash(2));
    fail(&mut world, &name);
    world.promote();
    let decision = world.decide();
    assert_eq!(decision.record.current_step_index, Some(2));
    world.settle();
    assert_eq!(world.waits_for(), "UserPromotion");
}

#[test]
fn a_user_who_goes_on_after_a_failure_in_the_background_gets_a_fresh_run() {
    let (mut world, name) = in_background("pause");
    fail(&mut world, &name);
    assert_eq!((world.phase(), world.waits_for()), ("Paused", "AnalysisFailed"));
    world.pass(7_200);
    world.settle();
    assert_eq!((world.weight(), world.status().current_step_index), (25, Some(1)), "no step ends meanwhile");
    world.promote();
    world.settle();
    assert_eq!(last_run(&mut world), format!("{name}.1"));
    assert_ne!(world.waits_for(), "AnalysisFailed");
}

#[test]
fn a_release_that_is_paused_for_a_failed_analysis_can_be_aborted() {
    let (mut world, name) = at_step(Some("pause"));
    fail(&mut world, &name);
    world.abort();
    world.settle();
    assert_eq!((world.phase(), world.weight()), ("Degraded", 0));
}

#[test]
fn a_held_step_tries_again_a_minute_later_and_goes_on_by_itself() {
    let (mut world, name) = at_step(Some("hold"));
    fail(&mut world, &name);
    assert_eq!((world.phase(), world.weight(), world.waits_for()), ("Progressing", 25, "AnalysisHold"));
    assert!(world.status().waiting.as_ref().unwrap().message.contains(WHY));
    world.pass(59);
    world.settle();
    assert_eq!(last_run(&mut world), name);
    world.pass(1);
    world.settle();
    assert_eq!(last_run(&mut world), format!("{name}.1"));
    fail(&mut world, &format!("{name}.1"));
    world.pass(60);
    world.settle();
    assert_eq!((last_run(&mut world), world.weight()), (format!("{name}.2"), 25));
    world.verdict(&format!("{name}.2"), AnalysisPhase::Successful, "");
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (50, "UserPromotion"));
}

#[test]
fn no_name_of_a_run_is_used_twice_however_few_are_kept() {
    let (mut world, name) = at_step(Some("hold"));
    world.edit(|spec| spec["analysis"] = json!({"unsuccessfulRunHistoryLimit": 0}));
    let mut names = vec![name];
    for _ in 0..4 {
        let last = names.last().unwrap().clone();
        fail(&mut world, &last);
        world.pass(60);
        world.settle();
        let next = last_run(&mut world);
        assert!(!names.contains(&next), "{next}");
        assert_eq!(world.runs_mut().len(), 1, "old ones are gone");
        names.push(next);
    }
}

#[test]
fn while_the_background_holds_no_step_ends_and_no_deadline_counts() {
    let (mut world, name) = in_background("hold");
    fail(&mut world, &name);
    assert_eq!((world.weight(), world.waits_for()), (25, "AnalysisHold"));
    world.pass(7_200);
    world.settle();
    assert_eq!(last_run(&mut world), format!("{name}.1"));
    assert_eq!((world.weight(), world.status().current_step_index), (25, Some(1)));
    assert_ne!(world.phase(), "Degraded");
    // A run that has begun has said nothing yet.
    world.verdict(&format!("{name}.1"), AnalysisPhase::Running, "");
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (25, "AnalysisHold"));
    world.verdict(&format!("{name}.1"), AnalysisPhase::Successful, "");
    world.settle();
    assert_eq!((world.weight(), world.status().current_step_index), (50, Some(3)));
}

#[test]
fn an_analysis_without_an_end_lets_go_once_all_of_its_metrics_stand_well() {
    let (mut world, name) = in_background("hold");
    fail(&mut world, &name);
    world.pass(7_200);
    world.settle();
    world.verdict(&format!("{name}.1"), AnalysisPhase::Running, "");
    world.settle();
    assert_eq!(world.weight(), 25);
    world.runs_mut().last_mut().unwrap().stands_well = true;
    world.settle();
    assert_eq!(world.weight(), 50);
}

#[test]
fn a_hold_after_the_last_step_names_the_promotion_that_ends_it() {
    let (mut world, name) = in_background("hold");
    fail(&mut world, &name);
    let told = |world: &World| world.status().waiting.clone().unwrap_or_default().ends_with;
    assert!(told(&world).contains("`kubectl headgate promote shop"), "{}", told(&world));
    while world.status().current_step_index < Some(4) {
        world.promote();
        world.settle();
    }
    assert_eq!((world.status().stable_rs.clone(), world.waits_for()), (world.hash(1), "AnalysisHold"));
    assert_eq!(world.weight(), 50, "what is held is not given everything");
    assert!(told(&world).contains("`kubectl headgate promote --full shop"), "{}", told(&world));
    world.promote_full();
    world.settle_over_time();
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn a_user_may_promote_past_a_hold_or_abort_it() {
    let (mut world, name) = at_step(Some("hold"));
    fail(&mut world, &name);
    world.promote();
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (50, "UserPromotion"));
    let (mut world, name) = in_background("hold");
    fail(&mut world, &name);
    world.promote();
    world.settle();
    assert_eq!((world.weight(), world.waits_for()), (50, "AnalysisHold"), "a step on, and held there");
    world.promote_full();
    world.settle_over_time();
    assert_eq!(world.phase(), "Healthy");
    let (mut world, name) = in_background("hold");
    fail(&mut world, &name);
    world.abort();
    world.settle();
    assert_eq!((world.phase(), world.weight()), ("Degraded", 0));
    world.retry();
    world.settle();
    assert_eq!(last_run(&mut world), format!("{name}.1"));
}

#[test]
fn a_word_that_is_changed_is_about_the_next_verdict() {
    let (mut world, name) = at_step(Some("hold"));
    fail(&mut world, &name);
    world.edit(|spec| spec["strategy"]["canary"]["steps"][1]["analysis"]["onFailure"] = json!("abort"));
    world.settle();
    assert_eq!((world.phase(), world.weight()), ("Progressing", 25));
    world.pass(60);
    world.settle();
    fail(&mut world, &format!("{name}.1"));
    assert_eq!((world.phase(), world.weight()), ("Degraded", 0));
    let (mut world, name) = at_step(Some("pause"));
    fail(&mut world, &name);
    world.edit(|spec| spec["strategy"]["canary"]["steps"][1]["analysis"]["onFailure"] = Value::Null);
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.waits_for()), ("Paused", 25, "AnalysisFailed"));
}

#[test]
fn a_failure_that_was_heeded_is_not_heeded_again_when_the_spec_breaks() {
    let (mut world, name) = at_step(Some("hold"));
    fail(&mut world, &name);
    world.edit(|spec| spec["strategy"]["canary"]["steps"][0]["setWeight"] = json!(150));
    world.settle();
    assert_eq!((world.waits_for(), world.weight(), world.status().abort), ("MendSpec", 25, false));
}

#[test]
fn the_decision_is_taken_just_when_a_fresh_run_is_due() {
    let (mut world, name) = at_step(Some("hold"));
    fail(&mut world, &name);
    let wake = world.decide().wake_at.unwrap();
    assert_eq!(wake.duration_since(world.now).as_secs(), 60);
}
