//! Each verb against what the API's other clients would write.

#![expect(clippy::needless_pass_by_value, reason = "tables of JSON read better without references")]

use super::*;

fn rollout(spec: Value, status: Value) -> Rollout {
    serde_json::from_value(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "shop" },
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn canary_with(steps: Value, more: Value) -> Value {
    let mut spec = json!({ "strategy": { "canary": { "steps": steps } } });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// An intent as text: `status {…}` and `spec {…}` in order, or why not.
fn told(intent: Intent) -> String {
    match intent {
        Intent::Send(patches) => patches
            .iter()
            .map(|patch| format!("{:?} to {:?} {}", patch.binds, patch.part, patch.body))
            .collect::<Vec<_>>()
            .join("; "),
        Intent::Nothing(why) => format!("nothing: {why}"),
        Intent::Refuse(why) => format!("refuse: {why}"),
    }
}

const UPDATING: &str = r#"{ "currentPodHash": "new", "stableRS": "old", "currentStepIndex": 1 }"#;

fn updating(more: Value) -> Value {
    let mut status: Value = serde_json::from_str(UPDATING).unwrap();
    status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    status
}

fn steps() -> Value {
    json!([{ "setWeight": 20 }, { "pause": {} }, { "setWeight": 50 }, { "analysis": {} }])
}

#[test]
fn promote_writes_what_ends_the_pause_or_the_step() {
    let paused = json!({ "pauseConditions": [{ "reason": "CanaryPauseStep" }], "controllerPause": true });
    let inconclusive = json!({
        "pauseConditions": [{ "reason": "InconclusiveAnalysisRun" }], "controllerPause": true,
        "currentStepIndex": 3,
        "canary": { "currentStepAnalysisRunStatus": { "name": "a", "status": "Inconclusive" } },
    });
    let inconclusive_behind = json!({
        "pauseConditions": [{ "reason": "InconclusiveAnalysisRun" }], "controllerPause": true,
        "currentStepIndex": 3,
        "canary": {
            "currentStepAnalysisRunStatus": { "name": "a", "status": "Running" },
            "currentBackgroundAnalysisRunStatus": { "name": "b", "status": "Inconclusive" },
        },
    });
    let none = json!({});
    let spec_paused = json!({ "paused": true });
    let blue_green = json!({ "strategy": { "blueGreen": { "activeService": "a" } } });
    let promoted = json!({ "currentPodHash": "new", "stableRS": "new", "currentStepIndex": 4 });
    for (name, spec, status, expected) in [
        (
            "at a pause step",
            canary_with(steps(), none.clone()),
            updating(paused.clone()),
            r#"Step to Status {"status":{"pauseConditions":null}}"#,
        ),
        (
            "at a pause step and paused by hand: the status first, as the stock plugin does",
            canary_with(steps(), spec_paused.clone()),
            updating(paused.clone()),
            r#"Step to Status {"status":{"pauseConditions":null}}; Version to Spec {"spec":{"paused":false}}"#,
        ),
        (
            "in the middle of a step: skips it",
            canary_with(steps(), none.clone()),
            updating(json!({ "currentStepIndex": 3 })),
            r#"Step to Status {"status":{"currentStepIndex":4,"pauseConditions":null}}"#,
        ),
        (
            "without an index the release is at the first step",
            canary_with(steps(), none.clone()),
            json!({ "currentPodHash": "new", "stableRS": "old" }),
            r#"Step to Status {"status":{"currentStepIndex":1,"pauseConditions":null}}"#,
        ),
        (
            "after an inconclusive analysis: all three, or it would pause again",
            canary_with(steps(), none.clone()),
            updating(inconclusive),
            r#"Step to Status {"status":{"controllerPause":false,"currentStepIndex":4,"pauseConditions":null}}"#,
        ),
        (
            "the analysis in the background is inconclusive: that of the step goes on",
            canary_with(steps(), none.clone()),
            updating(inconclusive_behind),
            r#"Step to Status {"status":{"pauseConditions":null}}"#,
        ),
        (
            "resumed, not consumed: a second promote must not skip a step",
            canary_with(steps(), none.clone()),
            updating(json!({ "controllerPause": true })),
            "nothing: was promoted already; its controller has not acted on it yet",
        ),
        (
            "all steps done and stable",
            canary_with(steps(), none.clone()),
            promoted.clone(),
            "nothing: has nothing to promote: all 4 steps are done",
        ),
        (
            "all steps done, paused by hand",
            canary_with(steps(), spec_paused.clone()),
            promoted.clone(),
            r#"Version to Spec {"spec":{"paused":false}}"#,
        ),
        (
            "no steps",
            canary_with(json!([]), none.clone()),
            updating(none.clone()),
            "nothing: has no steps that could be promoted: it goes on by itself",
        ),
        (
            "blue-green at its pause",
            blue_green.clone(),
            updating(json!({ "pauseConditions": [{ "reason": "BlueGreenPause" }], "controllerPause": true })),
            r#"Step to Status {"status":{"pauseConditions":null}}"#,
        ),
        (
            "blue-green without a pause",
            blue_green,
            updating(none.clone()),
            "nothing: is not paused: it goes on by itself",
        ),
        (
            "aborted",
            canary_with(steps(), none.clone()),
            updating(json!({ "abort": true })),
            "refuse: was aborted: there is no step to promote it from. Start the release again with `retry`, \
             go back with `undo`, or skip all steps with `promote --full`",
        ),
    ] {
        assert_eq!(told(promote(&rollout(spec, status), Promotion::Step)), expected, "{name}");
    }
}

#[test]
fn promote_during_a_bake_says_until_when_it_bakes_and_what_ends_it() {
    let baking = json!({
        "currentStepIndex": 4, "waiting": { "kind": "Bake", "until": "2026-11-21T10:00:00Z" },
    });
    for (steps, place) in [(steps(), "has done all 4 steps and bakes"), (json!([]), "bakes")] {
        let rollout = rollout(canary_with(steps, json!({})), updating(baking.clone()));
        let expected = format!("nothing: {place} until 2026-11-21T10:00:00Z: `promote --full` ends the bake");
        assert_eq!(told(promote(&rollout, Promotion::Step)), expected);
        let full = r#"Version to Status {"status":{"promoteFull":true}}"#;
        assert_eq!(told(promote(&rollout, Promotion::Full)), full);
    }
    let after_it = updating(json!({ "currentStepIndex": 4 }));
    let expected = "nothing: has done all 4 steps: its last pods are on their way";
    assert_eq!(told(promote(&rollout(canary_with(steps(), json!({})), after_it), Promotion::Step)), expected);
}

#[test]
fn promote_while_an_analysis_holds_the_release_after_its_steps_says_what_goes_on() {
    let held =
        |index: i32| updating(json!({ "currentStepIndex": index, "waiting": { "kind": "AnalysisHold" } }));
    for (steps, place) in [(steps(), "has done all 4 steps and is held"), (json!([]), "is held")] {
        let rollout = rollout(canary_with(steps, json!({})), held(4));
        let expected = format!(
            "nothing: {place} by an analysis that has failed: it goes on when a fresh run is successful, or at once with \
             `promote --full`"
        );
        assert_eq!(told(promote(&rollout, Promotion::Step)), expected);
    }
    let within = rollout(canary_with(steps(), json!({})), held(2));
    let next = r#"Step to Status {"status":{"currentStepIndex":3,"pauseConditions":null}}"#;
    assert_eq!(told(promote(&within, Promotion::Step)), next, "a step on, all the same");
}

#[test]
fn promote_full_asks_for_it_only_when_there_is_something_to_promote() {
    let spec = || canary_with(steps(), json!({}));
    let paused = || canary_with(steps(), json!({ "paused": true }));
    let promoted = || json!({ "currentPodHash": "new", "stableRS": "new" });
    for (spec, status, expected) in [
        (spec(), updating(json!({})), r#"Version to Status {"status":{"promoteFull":true}}"#),
        (spec(), updating(json!({ "abort": true })), r#"Version to Status {"status":{"promoteFull":true}}"#),
        (
            paused(),
            updating(json!({})),
            r#"Version to Status {"status":{"promoteFull":true}}; Version to Spec {"spec":{"paused":false}}"#,
        ),
        (spec(), promoted(), "nothing: has nothing to promote: the newest version is stable"),
        (paused(), promoted(), r#"Version to Spec {"spec":{"paused":false}}"#),
    ] {
        assert_eq!(told(promote(&rollout(spec, status), Promotion::Full)), expected);
    }
}

#[test]
fn the_deprecated_flags_move_the_index_and_never_past_the_end() {
    let spec = || canary_with(steps(), json!({}));
    let at = |index: i32| updating(json!({ "currentStepIndex": index }));
    for (status, promotion, expected) in [
        (at(1), Promotion::SkipCurrentStep, r#"Step to Status {"status":{"currentStepIndex":2}}"#),
        (at(4), Promotion::SkipCurrentStep, r#"Step to Status {"status":{"currentStepIndex":4}}"#),
        (at(1), Promotion::SkipAllSteps, r#"Step to Status {"status":{"currentStepIndex":4}}"#),
    ] {
        assert_eq!(told(promote(&rollout(spec(), status), promotion)), expected);
    }
    let aborted = rollout(spec(), updating(json!({ "abort": true })));
    for promotion in [Promotion::SkipCurrentStep, Promotion::SkipAllSteps] {
        // The engine would set the index back.
        assert_eq!(told(promote(&aborted, promotion)), told(promote(&aborted, Promotion::Step)));
    }
    let blue_green = rollout(json!({ "strategy": { "blueGreen": { "activeService": "a" } } }), at(0));
    let expected = "refuse: is blue-green and has no steps to skip: promote it without flags";
    assert_eq!(told(promote(&blue_green, Promotion::SkipAllSteps)), expected);
    let no_steps = rollout(canary_with(json!([]), json!({})), at(0));
    assert_eq!(told(promote(&no_steps, Promotion::SkipCurrentStep)), "refuse: has no steps to skip");
}

#[test]
fn abort_retry_pause_and_restart_write_one_field() {
    let spec = || canary_with(steps(), json!({}));
    let running = rollout(spec(), updating(json!({})));
    let aborted = rollout(spec(), updating(json!({ "abort": true })));
    let stable = rollout(spec(), json!({ "currentPodHash": "new", "stableRS": "new" }));
    let unseen = rollout(spec(), Value::Null);
    let abort_patch = r#"Version to Status {"status":{"abort":true}}"#;
    assert_eq!(told(abort(&running)), abort_patch);
    assert_eq!(told(abort(&unseen)), abort_patch, "abort works from every state");
    assert_eq!(told(abort(&aborted)), "nothing: was aborted already");
    assert_eq!(told(abort(&stable)), "nothing: has nothing to abort: the newest version is stable");
    assert_eq!(told(retry(&aborted)), r#"Version to Status {"status":{"abort":false}}"#);
    assert_eq!(told(retry(&running)), "nothing: is not aborted: there is nothing to retry");
    assert_eq!(told(pause(&running)), r#"Nothing to Spec {"spec":{"paused":true}}"#);
    let paused = rollout(canary_with(steps(), json!({ "paused": true })), updating(json!({})));
    assert_eq!(told(pause(&paused)), "nothing: is paused already");
    assert_eq!(
        told(restart("2026-11-21T10:00:00Z")),
        r#"Nothing to Spec {"spec":{"restartAt":"2026-11-21T10:00:00Z"}}"#
    );
}
