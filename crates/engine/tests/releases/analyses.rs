//! Analyses of a release: named before they are created, and heeded.

use crate::world::{World, routed, spec};
use headgate_api::{AnalysisPhase, labels};
use headgate_model::{AnalysisRunView, Effect};
use jiff::SignedDuration;
use serde_json::{Value, json};

#[test]
fn a_step_analysis_is_named_before_it_is_created_and_judged_after() {
    let steps =
        json!([{"setWeight": 25}, {"analysis": {"templates": [{"templateName": "errors"}]}}, {"pause": {}}]);
    let start = |verdict, message: &str| {
        let mut world = World::new(spec(4, routed(steps.clone())));
        world.add_template("errors", template());
        world.settle();
        world.release(2);
        world.settle();
        let name = format!("shop-{}-2-1", world.hash(2));
        assert_eq!(world.waits_for(), "Analysis");
        assert!(world.runs_mut().iter().map(|run| &run.name).eq([&name]));
        world.events.clear();
        world.verdict(&name, verdict, message);
        world.settle();
        let told = format!(
            "AnalysisRun{verdict}: Step Analysis Run '{name}' Status New: '{verdict}' Previous: 'Pending'"
        );
        assert_eq!(world.events.iter().filter(|event| **event == told).count(), 1, "{:?}", world.events);
        (world, name)
    };
    let (world, _) = start(AnalysisPhase::Successful, "");
    assert_eq!((world.phase(), world.status().current_step_index), ("Paused", Some(2)));
    let (world, _) = start(AnalysisPhase::Failed, "too many errors");
    assert!(
        world.events[0].starts_with("AnalysisRunFailed: ") && world.events[1].starts_with("RolloutAborted: ")
    );
    assert_eq!(
        world.status().message,
        "RolloutAborted: Rollout aborted update to revision 2 at step 2/3, weight 25: Step-based analysis phase \
         error/failed: too many errors"
    );
    let why = &world.status().waiting.as_ref().unwrap().message;
    let expected = "was aborted at step 2/3, weight 25: Step-based analysis phase error/failed: too many errors; the stable";
    assert!(why.contains(expected), "{why}");
    let (mut world, name) = start(AnalysisPhase::Inconclusive, "");
    assert_eq!((world.phase(), world.status().message.as_str()), ("Paused", "InconclusiveAnalysisRun"));
    assert_eq!(world.waits_for(), "InconclusiveAnalysis");
    // Clearing the condition by hand asks again; the plugin's promotion goes on.
    world.snapshot.rollout.status.pause_conditions.clear();
    world.settle();
    assert_eq!(world.runs_mut().last().map(|run| run.name.clone()), Some(format!("{name}.1")));
    let (mut world, _) = start(AnalysisPhase::Inconclusive, "");
    world.promote();
    world.settle();
    assert_eq!((world.status().current_step_index, world.waits_for()), (Some(2), "UserPromotion"));
}

#[test]
fn who_goes_on_past_one_analysis_without_a_verdict_is_paused_by_another_that_has_none_either() {
    let analysis = json!({"templates": [{"templateName": "errors"}]});
    let mut canary = routed(json!([{"setWeight": 25}, { "analysis": analysis }, {"pause": {}}]));
    canary["analysis"] = analysis;
    let mut world = World::new(spec(4, canary));
    world.add_template("errors", template());
    world.settle();
    world.release(2);
    world.settle();
    let (step, background) = (format!("shop-{}-2-1", world.hash(2)), format!("shop-{}-2", world.hash(2)));
    world.verdict(&step, AnalysisPhase::Inconclusive, "");
    world.settle();
    assert_eq!(world.phase(), "Paused");
    // Argo CD's button clears the conditions and leaves the flag.
    world.snapshot.rollout.status.pause_conditions.clear();
    world.verdict(&background, AnalysisPhase::Inconclusive, "");
    let record = world.decide().record;
    assert_eq!((record.pause_conditions.len(), record.controller_pause), (1, true));
}

#[test]
fn a_run_carries_the_labels_and_annotations_that_argo_rollouts_gives_it() {
    let metadata = json!({"labels": {"team": "shop"}, "annotations": {"runbook": "https://example.com"}});
    let mut canary = routed(json!([
        {"setWeight": 25},
        {"analysis": {"templates": [{"templateName": "errors"}], "analysisRunMetadata": metadata}},
    ]));
    canary["analysis"] = json!({"templates": [{"templateName": "errors"}]});
    let mut world = World::new(spec(4, canary));
    world.snapshot.rollout.labels.insert(labels::CONTROLLER_INSTANCE_ID.into(), "blue".into());
    world.add_template("errors", template());
    world.settle();
    world.release(2);
    let mut made: Vec<Value> = Vec::new();
    while world.waits_for() != "Analysis" {
        for effect in world.decide().effects {
            if let Effect::CreateAnalysisRun { manifest, .. } = effect {
                made.push(manifest["metadata"].clone());
            }
        }
        world.step();
        world.kubelet();
    }
    let labels = |more: Value| {
        let mut labels = json!({
            "app": "shop",
            "argo-rollouts.argoproj.io/controller-instance-id": "blue",
            "rollouts-pod-template-hash": world.hash(2),
        });
        labels.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        labels
    };
    let background = labels(json!({"rollout-type": "Background"}));
    let step = labels(json!({"rollout-type": "Step", "step-index": "1", "team": "shop"}));
    let found: Vec<_> = made.iter().map(|made| (&made["labels"], &made["annotations"])).collect();
    assert_eq!(
        found,
        [
            (&background, &json!({"rollout.argoproj.io/revision": "2"})),
            (&step, &json!({"rollout.argoproj.io/revision": "2", "runbook": "https://example.com"})),
        ]
    );
    assert!(made.iter().all(|made| made["ownerReferences"][0]["kind"] == "Rollout"), "{made:#?}");
}

/// Argo Rollouts: the status has no such field before the first version is out, and may lack it between releases.
#[test]
fn an_argument_whose_field_has_no_value_yet_holds_up_its_run_and_nothing_else() {
    let argument = |path: &str| json!([{"name": "w", "valueFrom": {"fieldRef": {"fieldPath": path}}}]);
    let start = |path: &str| {
        let analysis = json!({"templates": [{"templateName": "errors"}], "args": argument(path)});
        let mut world =
            World::new(spec(4, routed(json!([{"setWeight": 25}, {"analysis": analysis}, {"pause": {}}]))));
        let mut template = template();
        template["args"] = json!([{"name": "w"}]);
        world.add_template("errors", template);
        world.settle();
        assert_eq!((world.phase(), world.pods(1)), ("Healthy", 4), "{path}: {}", world.status().message);
        world.release(2);
        world.settle();
        assert_eq!((world.weight(), world.waits_for()), (25, "Analysis"));
        world
    };
    let mut world = start("status.canary.weights.canary.weight");
    assert_eq!(world.runs_mut().len(), 1);
    let mut world = start("status.nothing");
    assert!(world.runs_mut().is_empty());
    let waiting = world.status().waiting.clone().unwrap();
    let expected = "cannot be made: args.w: fieldPath \"status.nothing\" leads nowhere";
    assert!(waiting.message.contains(expected), "{waiting:?}");
    world.promote();
    world.settle();
    assert_eq!((world.status().current_step_index, world.waits_for()), (Some(2), "UserPromotion"));
}

#[test]
fn no_step_ends_while_the_analysis_in_the_background_cannot_be_made() {
    let mut canary = routed(json!([{"setWeight": 20}, {"pause": {"duration": "5m"}}, {"setWeight": 60}]));
    canary["analysis"] = json!({"templates": [{"templateName": "errors"}]});
    let mut world = World::new(spec(4, canary));
    world.add_template("errors", template());
    world.settle();
    world.refused = Some(|effect| matches!(effect, Effect::CreateAnalysisRun { .. }));
    world.release(2);
    for _ in 0..60 {
        world.step();
        world.kubelet();
        world.pass(60);
    }
    let status = world.status();
    assert_eq!((status.current_step_index, &status.stable_rs), (Some(0), &world.hash(1)));
    assert_eq!(world.waits_for(), "ApiServer");
    world.refused = None;
    world.snapshot.failures.clear();
    world.settle();
    assert_eq!(world.status().current_step_index, Some(1));
    assert_eq!(world.waits_for(), "PauseDuration");
}

#[test]
fn an_abort_tells_what_was_measured_last() {
    let steps = json!([{"setWeight": 25}, {"analysis": {"templates": [{"templateName": "errors"}]}}]);
    let mut world = World::new(spec(4, routed(steps)));
    world.add_template("errors", template());
    world.settle();
    world.release(2);
    world.settle();
    let name = format!("shop-{}-2-1", world.hash(2));
    world.runs_mut()[0].last_value = Some("[0.265]".to_owned());
    world.verdict(
        &name,
        AnalysisPhase::Failed,
        "Metric \"errors\" assessed Failed due to failed (3) > failureLimit (2)",
    );
    world.settle();
    let expected = "at step 2/2, weight 25: Step-based analysis phase error/failed: Metric \"errors\" assessed Failed due \
                    to failed (3) > failureLimit (2); its last value was [0.265]";
    assert!(world.status().message.ends_with(expected), "{}", world.status().message);
}

#[test]
fn a_background_analysis_that_fails_aborts_and_one_that_is_not_needed_ends() {
    let mut canary = routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]));
    canary["analysis"] = json!({"templates": [{"templateName": "errors"}], "startingStep": 2});
    let mut world = World::new(spec(4, canary));
    world.add_template("errors", template());
    world.settle();
    world.release(2);
    world.settle();
    assert!(world.runs_mut().is_empty());
    world.promote();
    world.settle();
    let name = format!("shop-{}-2", world.hash(2));
    assert_eq!(world.runs_mut().len(), 1);
    world.verdict(&name, AnalysisPhase::Error, "no answer");
    world.settle_over_time();
    let told = |event: &&String| event.starts_with("AnalysisRunError: Background Analysis Run 'shop-");
    assert_eq!(world.events.iter().filter(told).count(), 1, "{:?}", world.events);
    assert!(world.status().message.ends_with("Background analysis phase error/failed: no answer"));
    world.retry();
    world.settle();
    world.promote();
    world.settle();
    assert_eq!(world.runs_mut().last().map(|run| run.name.clone()), Some(format!("{name}.1")));
    world.promote_full();
    world.settle_over_time();
    assert!(world.runs_mut().iter().all(|run| run.phase.is_completed()));
    assert_eq!(world.phase(), "Healthy");
}

/// Version 2 waits at its first step, and is watched in the background.
fn watched() -> (World, String) {
    let mut canary = routed(json!([{"setWeight": 25}, {"pause": {}}]));
    canary["analysis"] = json!({"templates": [{"templateName": "errors"}]});
    let mut world = World::new(spec(4, canary));
    world.add_template("errors", template());
    world.settle();
    world.release(2);
    world.settle();
    let name = format!("shop-{}-2", world.hash(2));
    (world, name)
}

/// The runs that there are, and whether they are to end.
fn runs(world: &mut World) -> Vec<(String, bool)> {
    world.runs_mut().iter().map(|run| (run.name.clone(), run.terminate)).collect()
}

/// A leader is gone whose request to end the run comes through only when the release is tried again.
#[test]
fn a_release_that_is_tried_again_is_not_watched_by_a_run_that_may_be_ended_any_moment() {
    let (mut world, name) = watched();
    world.abort();
    let decision = world.decide();
    assert!(decision.effects.iter().any(|effect| matches!(effect, Effect::TerminateAnalysisRun { .. })));
    world.carry_out(&decision, 0);
    // Nobody is watched while a user holds the Rollout.
    world.pause(true);
    world.retry();
    let decision = world.decide();
    world.carry_out(&decision, 0);
    world.pause(false);
    world.settle();
    assert_eq!(runs(&mut world), [(name.clone(), true), (format!("{name}.1"), false)]);
    let canary = world.status().canary.as_ref();
    let watched_by = canary.and_then(|canary| canary.current_background_analysis_run_status.as_ref());
    assert_eq!(watched_by.map(|run| run.name.clone()), Some(format!("{name}.1")));
}

#[test]
fn a_background_analysis_goes_on_when_the_steps_change() {
    let (mut world, name) = watched();
    world.edit(|spec| spec["strategy"]["canary"]["steps"] = json!([{"setWeight": 50}, {"pause": {}}]));
    world.settle();
    assert_eq!(runs(&mut world), [(name, false)]);
}

#[test]
fn an_analysis_that_is_mended_at_its_step_is_run_anew() {
    let template = |limit: &str| {
        json!({"metrics": [{"name": "errors", "successCondition": format!("result < {limit}"),
            "provider": {"prometheus": {"address": "http://p", "query": "errors"}}}]})
    };
    let steps = |name: &str| json!([{"analysis": {"templates": [{"templateName": name}]}}, {"pause": {}}]);
    let mut world = World::new(spec(4, routed(steps("wrong"))));
    world.add_template("wrong", template("1"));
    world.add_template("right", template("2"));
    world.settle();
    world.release(2);
    world.settle();
    let name = format!("shop-{}-2-0", world.hash(2));
    world.edit(|spec| spec["strategy"]["canary"]["steps"] = steps("right"));
    world.settle();
    assert_eq!(runs(&mut world), [(name.clone(), true), (format!("{name}.1"), false)]);
}

#[test]
fn a_run_whose_query_does_not_see_the_canary_is_told_of_once_with_what_it_takes_to_trip_it() {
    let analysis = json!({"templates": [{"templateName": "rate"}],
        "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]});
    let start = |query: &str| {
        let mut canary =
            routed(json!([{"setWeight": 5}, {"pause": {}}, {"setWeight": 25}, {"analysis": analysis}]));
        canary["analysis"] = analysis.clone();
        let mut world = World::new(spec(4, canary));
        let metric = json!({"name": "rate", "successCondition": "result >= 0.9",
            "provider": {"prometheus": {"address": "http://p", "query": query}}});
        world.add_template("rate", json!({"args": [{"name": "hash", "value": "?"}], "metrics": [metric]}));
        world.settle();
        world.release(2);
        world.settle();
        world.promote();
        world.settle_over_time();
        world.events.retain(|event| event.starts_with("BlindAnalysis: "));
        world.events
    };
    assert_eq!(start("sum(good{hash='{{args.hash}}'}) / sum(all{hash='{{args.hash}}'})"), [] as [String; 0]);
    let told = start("sum(good) / sum(all)");
    assert_eq!(told.len(), 2, "once for each run: {told:?}");
    assert!(told[0].starts_with("BlindAnalysis: Background Analysis Run 'shop-"), "{told:?}");
    assert!(told[0].contains("failing: 40 % at weight 25, not at all at weight 5"), "{told:?}");
    assert!(told[1].starts_with("BlindAnalysis: Step Analysis Run 'shop-"), "{told:?}");
    assert!(told[1].contains("failing: 40 % at weight 25; use"), "{told:?}");
}

fn template() -> serde_json::Value {
    json!({"metrics": [{"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "errors"}},
        "successCondition": "result < 1"}]})
}

#[test]
fn a_verdict_that_was_taken_up_stands_although_the_run_is_seen_as_it_was_before() {
    let analysis = json!({"templates": [{"templateName": "errors"}], "onFailure": "pause"});
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}, {"analysis": analysis}]))));
    let metric =
        json!({"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "errors"}}});
    world.add_template("errors", json!({ "metrics": [metric] }));
    world.release(2);
    world.settle();
    let told = |world: &World| {
        let canary = world.status().canary.clone().unwrap();
        canary.current_step_analysis_run_status.and_then(|run| run.status)
    };
    assert_eq!(told(&world), Some(AnalysisPhase::Pending));
    world.runs_mut()[0].phase = AnalysisPhase::Failed;
    world.settle();
    assert_eq!(told(&world), Some(AnalysisPhase::Failed));
    world.runs_mut()[0].phase = AnalysisPhase::Running;
    world.settle();
    assert_eq!(told(&world), Some(AnalysisPhase::Failed));
}

#[test]
fn as_many_runs_of_each_outcome_are_kept_as_the_spec_says_and_five_by_default() {
    let limits = [
        (json!({}), (5, 5)),
        (json!({"successfulRunHistoryLimit": 2}), (2, 5)),
        (json!({"successfulRunHistoryLimit": 0, "unsuccessfulRunHistoryLimit": 3}), (0, 3)),
        (json!({"successfulRunHistoryLimit": 9, "unsuccessfulRunHistoryLimit": 1}), (7, 1)),
    ];
    for (analysis, kept) in limits {
        let steps = json!([{"setWeight": 25}, {"analysis": {"templates": [{"templateName": "errors"}]}}, {"pause": {}}]);
        let mut world = World::new(spec(4, routed(steps)));
        world.edit(|spec| spec["analysis"] = analysis.clone());
        world.add_template("errors", template());
        world.settle();
        world.release(2);
        world.settle();
        let present = world.runs_mut().last().expect("the step's run").clone();
        for age in 1..=7 {
            for (name, phase) in [("good", AnalysisPhase::Successful), ("bad", AnalysisPhase::Failed)] {
                let created_at = present.created_at - SignedDuration::from_secs(age);
                let past =
                    AnalysisRunView { name: format!("{name}-{age}"), created_at, phase, ..present.clone() };
                world.runs_mut().push(past);
            }
        }
        world.settle();
        let newest =
            |name: &str, count: i64| (1..=count).map(|age| format!("{name}-{age}")).collect::<Vec<_>>();
        let mut expected = [vec![present.name], newest("good", kept.0), newest("bad", kept.1)].concat();
        let mut left: Vec<String> = world.runs_mut().iter().map(|run| run.name.clone()).collect();
        left.sort();
        expected.sort();
        assert_eq!(left, expected, "{analysis}");
    }
}
