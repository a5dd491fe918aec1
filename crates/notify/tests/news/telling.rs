use crate::world::{
    all, at, failed_run, outbox, snapshot, status, stored, subscribed, told, told_with, triggers,
};
use headgate_api::OutboxEntry;
use headgate_notify::{About, News, OUTBOX_MAX, Subscriptions, Trigger, file, news, post, taken};
use serde_json::{Value, json};

/// In the middle of the release of version `b`.
fn releasing() -> Value {
    json!({ "phase": "Progressing", "stableRS": "a", "currentPodHash": "b", "currentStepIndex": 1,
        "conditions": [{ "type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated" }] })
}

fn with(status: &Value, changes: &Value) -> Value {
    let mut status = status.clone();
    for (field, value) in changes.as_object().unwrap() {
        status[field] = value.clone();
    }
    status
}

/// The same with routes at 20 %, and an analysis of whose verdict the record knows nothing yet.
fn analysed() -> Value {
    with(
        &releasing(),
        &json!({ "canary": {
            "currentStepAnalysisRunStatus": { "name": "web-b-2-1", "status": "Running" },
            "weights": { "canary": { "weight": 20 }, "stable": { "weight": 80 } },
        }}),
    )
}

/// As the engine leaves it: at the first step, without runs and weight; where that was stands in its memory.
fn aborted() -> Value {
    let message =
        "Rollout aborted update to revision 2 at step 2/4, weight 20: Step-based analysis phase error/failed";
    with(
        &releasing(),
        &json!({ "phase": "Degraded", "abort": true, "abortedAt": "2026-11-21T09:01:00Z", "currentStepIndex": 0,
            "message": format!("RolloutAborted: {message}"),
            "canary": { "weights": { "canary": { "weight": 0 }, "stable": { "weight": 100 } } },
            "headgate": { "abortPlace": { "stepIndex": 1, "stepCount": 4, "weight": 20 } },
            "conditions": [{ "type": "Progressing", "status": "False", "reason": "RolloutAborted", "message": message }] }),
    )
}

fn paused(reason: &str, step: i32) -> Value {
    with(
        &releasing(),
        &json!({ "phase": "Paused", "message": reason, "currentStepIndex": step, "controllerPause": true,
            "pauseConditions": [{ "reason": reason, "startTime": "2026-11-21T09:01:00Z" }],
            "waiting": { "kind": "UserPromotion", "message": "the pause of step 2 ends when a user promotes" } }),
    )
}

#[test]
fn an_abort_is_told_once_and_not_as_degraded() {
    assert_eq!(triggers(&releasing(), &aborted()), ["aborted"]);
    assert_eq!(triggers(&aborted(), &aborted()), Vec::<String>::new());
    let already = with(&releasing(), &json!({ "phase": "Degraded" }));
    assert_eq!(triggers(&already, &aborted()), ["aborted"]);
}

#[test]
fn a_pause_for_a_person_that_began_while_the_spec_was_wrong_is_told_once_it_is_mended() {
    let waits = paused("AnalysisFailed", 1);
    let invalid = |since: &str| {
        let condition = json!({ "type": "InvalidSpec", "status": "True", "reason": "InvalidSpec",
            "lastTransitionTime": since });
        with(&waits, &json!({ "phase": "Degraded", "conditions": [condition] }))
    };
    assert_eq!(triggers(&invalid("2026-11-21T09:00:30Z"), &waits), ["paused"]);
    assert_eq!(
        triggers(&invalid("2026-11-21T09:01:30Z"), &waits),
        Vec::<String>::new(),
        "it was told before"
    );
}

#[test]
fn a_retry_that_is_aborted_in_the_same_record_is_told_as_another_abort() {
    let again = with(&aborted(), &json!({ "abortedAt": "2026-11-21T09:05:00Z" }));
    assert_eq!(triggers(&aborted(), &again), ["aborted"]);
}

#[test]
fn an_abort_names_the_run_whose_verdict_came_last_or_none() {
    let run = |old: &Value, runs: &[&str]| {
        let runs = runs.iter().map(|name| failed_run(name)).collect();
        told_with(old, &aborted(), runs).entries.remove(0).analysis_run
    };
    assert_eq!(run(&analysed(), &[]), "", "it was still running");
    assert_eq!(run(&analysed(), &["web-b-2-1", "web-a-1-1"]), "web-b-2-1");
    let mut both = analysed();
    both["canary"]["currentBackgroundAnalysisRunStatus"] = json!({ "name": "web-b-2", "status": "Running" });
    assert_eq!(run(&both, &["web-b-2"]), "web-b-2");
    both["canary"]["currentStepAnalysisRunStatus"]["status"] = json!("Failed");
    assert_eq!(run(&both, &["web-b-2-1", "web-b-2"]), "web-b-2", "the other one was held, or paused for");
    assert_eq!(run(&both, &[]), "web-b-2-1", "a user has looked at it");
}

#[test]
fn degraded_is_told_when_the_phase_becomes_so() {
    let overdue =
        with(&releasing(), &json!({ "phase": "Degraded", "message": "ProgressDeadlineExceeded: late" }));
    assert_eq!(triggers(&releasing(), &overdue), ["degraded"]);
    assert_eq!(triggers(&overdue, &overdue), Vec::<String>::new());
    assert_eq!(triggers(&json!({}), &overdue), ["degraded"]);
    assert_eq!(told(&releasing(), &overdue).entries[0].message, "ProgressDeadlineExceeded: late");
}

#[test]
fn a_pause_for_a_person_is_told_and_a_timed_one_is_not() {
    assert_eq!(triggers(&releasing(), &paused("CanaryPauseStep", 1)), ["paused"]);
    assert_eq!(triggers(&releasing(), &paused("CanaryPauseStep", 3)), Vec::<String>::new());
    assert_eq!(triggers(&releasing(), &paused("InconclusiveAnalysisRun", 3)), ["paused"]);
    assert_eq!(triggers(&releasing(), &paused("PodHealth", 3)), ["paused"]);
    let by_hand = with(&releasing(), &json!({ "phase": "Paused", "message": "manually paused" }));
    assert_eq!(triggers(&releasing(), &by_hand), Vec::<String>::new());
}

#[test]
fn a_pause_that_goes_on_is_not_told_again_and_the_next_one_is() {
    let first = paused("InconclusiveAnalysisRun", 1);
    assert_eq!(triggers(&first, &first), Vec::<String>::new());
    let next = paused("InconclusiveAnalysisRun", 2);
    assert_eq!(triggers(&first, &next), ["paused"]);
    let key = |before: &Value, after: &Value| told(before, after).entries[0].key.clone();
    assert_ne!(key(&releasing(), &first), key(&first, &next), "in the same second, too");
}

#[test]
fn a_second_reason_to_wait_for_a_person_is_told_too() {
    let first = paused("CanaryPauseStep", 1);
    let mut second = first.clone();
    let reasons = second["pauseConditions"].as_array_mut().unwrap();
    reasons.push(json!({ "reason": "PodHealth", "startTime": "2026-11-21T09:02:00Z" }));
    assert_eq!(triggers(&first, &second), ["paused"]);
}

#[test]
fn completed_is_told_when_the_version_is_healthy_for_the_first_time() {
    let before = status(releasing());
    let promoted =
        json!({ "phase": "Progressing", "stableRS": "b", "currentPodHash": "b", "currentStepIndex": 4 });
    let promoted = stored(&before, status(promoted), 1);
    assert!(outbox(&promoted).is_empty());
    let healthy =
        status(json!({ "phase": "Healthy", "stableRS": "b", "currentPodHash": "b", "currentStepIndex": 4 }));
    let healthy = stored(&promoted, healthy, 2);
    assert_eq!(outbox(&healthy).len(), 1);
    assert_eq!(outbox(&healthy)[0].key, "6b1c/2/b/completed/4/1795251602");
    let mut flapping = healthy.clone();
    flapping.phase = Some(headgate_api::RolloutPhase::Progressing);
    let flapping = stored(&healthy, flapping, 3);
    let again = stored(&flapping, healthy.clone(), 4);
    assert_eq!(outbox(&again).len(), 1);
}

#[test]
fn a_rollout_that_was_healthy_before_us_has_nothing_to_tell() {
    let healthy = json!({ "phase": "Healthy", "stableRS": "b", "currentPodHash": "b" });
    let flapping = with(&healthy, &json!({ "phase": "Progressing" }));
    assert_eq!(triggers(&healthy, &flapping), Vec::<String>::new());
    assert_eq!(triggers(&flapping, &healthy), Vec::<String>::new());
}

#[test]
fn a_version_that_is_replaced_before_it_is_healthy_is_not_completed() {
    let promoted = json!({ "phase": "Progressing", "stableRS": "a", "currentPodHash": "a",
        "headgate": { "completing": "a" } });
    let replaced = told(&promoted, &releasing());
    assert_eq!(replaced, News::default());
}

#[test]
fn what_nobody_wants_to_know_is_not_filed() {
    let hook = subscribed("hook", &[Trigger::Completed], &["shop"]);
    let subscriptions = Subscriptions { cluster: None, services: vec![hook] };
    let told = |subscriptions: &Subscriptions| {
        news(&snapshot(status(releasing())), &status(aborted()), subscriptions, at(0))
    };
    assert_eq!(told(&subscriptions), News::default());
    assert_eq!(told(&Subscriptions::default()), News::default());
    let elsewhere = subscribed("hook", &Trigger::ALL, &["billing", "team-*"]);
    assert_eq!(told(&Subscriptions { cluster: None, services: vec![elsewhere] }), News::default());
    let here = subscribed("hook", &Trigger::ALL, &["sh*"]);
    assert_eq!(told(&Subscriptions { cluster: None, services: vec![here] }).entries.len(), 1);
}

#[test]
fn the_message_has_the_documented_fields() {
    let entry = told_with(&analysed(), &aborted(), vec![failed_run("web-b-2-1")]).entries.remove(0);
    let about = About { namespace: "shop".to_owned(), name: "web".to_owned(), uid: "6b1c".to_owned() };
    let post = post(&entry, &about, Some("prod-eu"));
    assert_eq!(post.headers[1], ("Idempotency-Key", "6b1c/2/b/aborted/1/1795251660".to_owned()));
    let pretty: Value = serde_json::from_str(&post.body).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&pretty).unwrap());
}

#[test]
fn a_message_of_a_plain_rollout_leaves_out_what_it_has_not() {
    let overdue =
        with(&releasing(), &json!({ "phase": "Degraded", "message": "late", "currentStepIndex": null }));
    let entry = told(&releasing(), &overdue).entries.remove(0);
    let body: Value = serde_json::from_str(&post(&entry, &About::default(), None).body).unwrap();
    for field in ["cluster", "weight", "analysisRun", "step"] {
        assert_eq!(body.get(field), None, "{field}");
    }
}

#[test]
fn an_entry_is_of_bounded_size_whatever_the_status_says() {
    let endless = with(&releasing(), &json!({ "phase": "Degraded", "message": "ä".repeat(100_000) }));
    let entry = told(&releasing(), &endless).entries.remove(0);
    assert_eq!(entry.message.len(), 512);
}

#[test]
fn the_oldest_entries_go_when_there_are_too_many() {
    let mut record = status(releasing());
    let entry = |number: usize| OutboxEntry { key: number.to_string(), ..OutboxEntry::default() };
    let news = News { entries: (0..OUTBOX_MAX + 3).map(entry).collect(), completing: None };
    let dropped = file(&mut record, news, |_| false);
    assert_eq!(dropped.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["0", "1", "2"]);
    assert_eq!(outbox(&record).len(), OUTBOX_MAX);
}

#[test]
fn what_is_over_is_removed_and_nothing_is_left_of_it() {
    let mut record = stored(&status(releasing()), status(aborted()), 60);
    let key = outbox(&record)[0].key.clone();
    let news = news(&snapshot(record.clone()), &record, &all(), at(70));
    assert!(file(&mut record, news, |entry| entry.key == key).is_empty());
    assert_eq!(record, status(aborted()));
}

#[test]
fn only_an_answer_of_2xx_means_taken_and_the_others_say_what_to_do() {
    for status in [200, 201, 202, 204] {
        assert_eq!(taken(status), Ok(()));
    }
    for (status, hint) in
        [(302, "redirects"), (401, "credentials"), (404, "address"), (500, "500"), (429, "429")]
    {
        assert!(taken(status).unwrap_err().contains(hint), "{status}");
    }
}
