//! Statuses as Argo Rollouts stored them.

use crate::support::{Brings, at, bring, key, metric, reply, run, run_of, step};
use headgate_analysis::Outcome;
use headgate_api::{AnalysisPhase, AnalysisRunStatus};
use serde_json::{Value, json};

/// A status as it was recorded from Argo Rollouts, with a Job that failed.
fn recorded_failure() -> Value {
    json!({
        "completedAt": "2026-11-21T08:14:32Z",
        "dryRunSummary": {},
        "message": "Metric \"bad\" assessed Failed due to failed (1) > failureLimit (0)",
        "metricResults": [{
            "count": 1,
            "failed": 1,
            "measurements": [{
                "finishedAt": "2026-11-21T08:14:32Z",
                "metadata": {"job-name": "1631eb85.bad.1", "job-namespace": "fleet"},
                "phase": "Failed",
                "resumeAt": "2026-11-21T08:14:32Z",
                "startedAt": "2026-11-21T08:14:23Z",
            }],
            "name": "bad",
            "phase": "Failed",
        }],
        "phase": "Failed",
        "runSummary": {"count": 1, "failed": 1},
        "startedAt": "2026-11-21T08:14:23Z",
    })
}

/// A status as it was recorded from Argo Rollouts while a Job ran.
fn recorded_running() -> Value {
    json!({
        "dryRunSummary": {},
        "metricResults": [{
            "measurements": [{
                "metadata": {"job-name": "5be62121.slow.1", "job-namespace": "fleet"},
                "phase": "Running",
                "resumeAt": "2026-11-21T08:15:41Z",
                "startedAt": "2026-11-21T08:14:26Z",
            }],
            "name": "slow",
            "phase": "Running",
        }],
        "phase": "Running",
        "runSummary": {"count": 1},
        "startedAt": "2026-11-21T08:14:26Z",
    })
}

#[test]
fn a_finished_run_of_argo_rollouts_stays_as_it_is() {
    let mut run = run_of([metric("bad", json!({"provider": {"job": {"spec": {}}}}))]);
    run.status = serde_json::from_value(recorded_failure()).unwrap();
    let decision = step(&mut run, at(0));
    assert_eq!(serde_json::to_value(&decision.record).unwrap(), recorded_failure());
}

#[test]
fn a_failure_is_recorded_in_the_words_of_argo_rollouts() {
    let mut run = run_of([metric("bad", json!({}))]);
    step(&mut run, at(0));
    bring(&mut run, "bad", Brings::Failure, 9);
    let ours = serde_json::to_value(step(&mut run, at(9)).record).unwrap();
    let mut theirs = recorded_failure();
    // What differs is the provider's: the value, the query, and what Jobs need.
    theirs["startedAt"] = json!("2026-11-21T09:00:00Z");
    theirs["completedAt"] = json!("2026-11-21T09:00:09Z");
    theirs["metricResults"][0]["metadata"] = json!({"ResolvedPrometheusQuery": "rate"});
    theirs["metricResults"][0]["measurements"] = json!([{
        "finishedAt": "2026-11-21T09:00:09Z", "phase": "Failed", "startedAt": "2026-11-21T09:00:09Z", "value": "[0.1]",
    }]);
    assert_eq!(ours, theirs);
}

#[test]
fn a_job_that_argo_rollouts_left_running_is_left_as_it_is_until_its_end_is_asked_for() {
    let mut run = run_of([metric("slow", json!({"provider": {"job": {"spec": {}}}}))]);
    let before: AnalysisRunStatus = serde_json::from_value(recorded_running()).unwrap();
    run.status = before.clone();
    let decision = step(&mut run, at(0));
    assert!(decision.record.message.starts_with("provider job is not supported"), "{decision:?}");
    assert_eq!(AnalysisRunStatus { message: before.message.clone(), ..decision.record }, before);
    assert_eq!((decision.measure.len(), decision.wake_at), (0, None));
    run.spec.as_mut().unwrap().terminate = Some(true);
    assert!(step(&mut run, at(1)).record.phase.is_some_and(AnalysisPhase::is_completed));
}

#[test]
fn a_run_without_an_end_gets_one_when_its_time_to_live_needs_it() {
    let mut run = run(json!({"metrics": [], "ttlStrategy": {"secondsAfterCompletion": 60}}));
    run.status =
        serde_json::from_value(json!({"phase": "Error", "message": "Analysis spec invalid: x"})).unwrap();
    let decision = step(&mut run, at(0));
    assert_eq!((decision.delete, decision.wake_at), (false, Some(at(60))));
    assert_eq!(step(&mut run, at(30)).record, decision.record);
    assert!(step(&mut run, at(60)).delete);
}

#[test]
fn counts_that_somebody_has_edited_harm_nobody() {
    for (edited, counted) in [(-1_000, 1), (i32::MIN, 1), (i32::MAX, 1_000_000_001)] {
        let mut run = run_of([metric("rate", json!({"interval": "10s"}))]);
        step(&mut run, at(0));
        bring(&mut run, "rate", Brings::Success, 1);
        step(&mut run, at(1));
        run.status.metric_results[0].count = edited;
        run.status.metric_results[0].successful = edited;
        let ordinal = u32::try_from(edited.clamp(0, 1_000_000_000)).unwrap();
        let outcome = Outcome { started_at: at(11), finished_at: at(11), reply: reply(Brings::Success) };
        run.outcomes.insert(key("rate", ordinal), outcome);
        let decision = step(&mut run, at(11));
        let result = &decision.record.metric_results[0];
        assert_eq!((result.count, result.measurements.len()), (counted, 2));
    }
}
