use crate::support::{Brings, at, bring, key, measured, metric, phase_of, run, run_of, step};
use Brings::{Failure as F, Neither as N, Outage as E, Success as S};
use headgate_analysis::notices;
use headgate_api::AnalysisPhase::{Error, Failed, Inconclusive, Running, Successful};
use headgate_api::{AnalysisPhase, RunSummary};
use headgate_model::NoticeKind;
use serde_json::{Value, json};

/// Fields of the metric, what its measurements bring, the phase that follows, and the message of the run.
type Row = (Value, &'static [Brings], AnalysisPhase, &'static str);

#[test]
fn limits_decide_over_a_metric() {
    let both = "result >= 0.9";
    let low = "result < 0.5";
    let refused = "http://prometheus:9090/: connection refused";
    let rows: Vec<Row> = vec![
        (json!({}), &[S], Successful, ""),
        (json!({}), &[F], Failed, "failed (1) > failureLimit (0)"),
        (json!({"count": 3, "interval": "5s"}), &[S, S], Running, ""),
        (json!({"count": 3, "interval": "5s"}), &[S, S, S], Successful, ""),
        (json!({"count": "3", "interval": "5s"}), &[S, S, S], Successful, ""),
        (json!({"interval": "5s"}), &[S, S, S, S, S], Running, ""),
        (json!({"count": 3, "interval": "5s", "failureLimit": 1}), &[S, F, S], Successful, ""),
        (
            json!({"count": 3, "interval": "5s", "failureLimit": 1}),
            &[F, F],
            Failed,
            "failed (2) > failureLimit (1)",
        ),
        (
            json!({"count": 3, "interval": "5s", "failureLimit": "1"}),
            &[F, F],
            Failed,
            "failed (2) > failureLimit (1)",
        ),
        (
            json!({"count": 3, "interval": "5s", "failureLimit": -1, "consecutiveSuccessLimit": 1}),
            &[F, F, S],
            Successful,
            "",
        ),
        (
            json!({"successCondition": both, "failureCondition": low}),
            &[N],
            Inconclusive,
            "inconclusive (1) > inconclusiveLimit (0)",
        ),
        (
            json!({"successCondition": both, "failureCondition": low, "count": 3, "interval": "5s", "inconclusiveLimit": 2}),
            &[N, N, S],
            Successful,
            "",
        ),
        (json!({"failureCondition": low, "successCondition": ""}), &[N], Successful, ""),
        (json!({"successCondition": ""}), &[F], Successful, ""),
        (json!({}), &[E, E, E, E], Running, ""),
        (json!({}), &[E, E, E, E, S], Successful, ""),
        (json!({}), &[E, E, E, E, E], Error, "consecutiveErrors (5) > consecutiveErrorLimit (4)"),
        (
            json!({"consecutiveErrorLimit": 0}),
            &[E],
            Error,
            "consecutiveErrors (1) > consecutiveErrorLimit (0)",
        ),
        (
            json!({"count": 9, "interval": "5s", "consecutiveErrorLimit": 1}),
            &[E, S, E, S, E, E],
            Error,
            "consecutiveErrors (2) > consecutiveErrorLimit (1)",
        ),
        // Errors don't count towards count.
        (json!({"count": 2, "interval": "5s"}), &[S, E], Running, ""),
        (json!({"count": 2, "interval": "5s"}), &[S, E, S], Successful, ""),
        (json!({"interval": "5s", "consecutiveSuccessLimit": 2}), &[S, S], Successful, ""),
        (json!({"interval": "5s", "consecutiveSuccessLimit": 2, "failureLimit": 3}), &[S, F, S], Running, ""),
        (
            json!({"interval": "5s", "consecutiveSuccessLimit": 2, "failureLimit": 3}),
            &[S, F, S, S],
            Successful,
            "",
        ),
        (json!({"interval": "5s", "consecutiveSuccessLimit": 2}), &[S, E, S], Running, ""),
        (
            json!({"interval": "5s", "count": 3, "consecutiveSuccessLimit": 2, "failureLimit": 1}),
            &[S, F, S],
            Inconclusive,
            "consecutiveSuccesses (1) < consecutiveSuccessLimit (2) after count (3)",
        ),
        (
            json!({"interval": "5s", "count": 3, "consecutiveSuccessLimit": 2, "failureLimit": -1}),
            &[S, F, S],
            Failed,
            "consecutiveSuccesses (1) < consecutiveSuccessLimit (2) after count (3)",
        ),
    ];
    for (fields, brings, phase, reason) in rows {
        let mut run = run_of([metric("m", fields.clone())]);
        let decision = measured(&mut run, "m", brings);
        assert_eq!(decision.record.phase, Some(phase), "{fields} {brings:?}");
        let mut message = match reason {
            "" => String::new(),
            reason => format!("Metric \"m\" assessed {phase} due to {reason}"),
        };
        if phase == Error {
            message.push_str(&format!(": \"Error Message: {refused}\""));
        }
        assert_eq!(decision.record.message, message, "{fields} {brings:?}");
        assert_eq!(phase_of(&decision, "m"), Some(phase), "{fields} {brings:?}");
        assert_eq!(decision.record.completed_at.is_some(), phase.is_completed());
    }
}

#[test]
fn a_failed_metric_ends_the_others_and_the_run_at_once() {
    let endless = || metric("endless", json!({"interval": "1m"}));
    let mut run =
        run_of([endless(), metric("once", json!({})), metric("late", json!({"initialDelay": "1h"}))]);
    step(&mut run, at(0));
    bring(&mut run, "endless", S, 1);
    bring(&mut run, "once", F, 1);
    let decision = step(&mut run, at(1));
    assert_eq!(decision.record.phase, Some(Failed));
    assert_eq!(
        decision.record.message,
        "Metric \"once\" assessed Failed due to failed (1) > failureLimit (0)"
    );
    assert_eq!(phase_of(&decision, "endless"), Some(Successful));
    assert_eq!(phase_of(&decision, "late"), None);
    assert_eq!((decision.measure.len(), decision.wake_at), (0, None));
    let summary = RunSummary { count: 3, successful: 1, failed: 1, ..RunSummary::default() };
    assert_eq!(decision.record.run_summary, Some(summary));
}

#[test]
fn of_metrics_that_were_asked_together_the_worst_decides_and_not_the_fastest() {
    let both = json!({"failureCondition": "result < 0.5"});
    for (later, phase) in [(F, Failed), (S, Inconclusive), (E, Inconclusive)] {
        let mut run = run_of([metric("a", both.clone()), metric("b", json!({}))]);
        step(&mut run, at(0));
        bring(&mut run, "a", N, 1);
        run.in_flight.insert(key("b", 0), at(0));
        let decision = step(&mut run, at(1));
        assert_eq!(decision.record.phase, Some(Running));
        assert!(decision.measure.is_empty(), "nothing more is asked");
        run.in_flight.clear();
        bring(&mut run, "b", later, 3);
        assert_eq!(step(&mut run, at(3)).record.phase, Some(phase), "{later:?}");
    }
}

#[test]
fn of_several_bad_metrics_the_worst_decides() {
    let both = json!({"failureCondition": "result < 0.5"});
    let erring = json!({"consecutiveErrorLimit": 0});
    let mut run = run_of([metric("a", both), metric("b", json!({})), metric("c", erring)]);
    step(&mut run, at(0));
    bring(&mut run, "a", N, 1);
    bring(&mut run, "b", F, 1);
    bring(&mut run, "c", E, 1);
    let decision = step(&mut run, at(1));
    assert_eq!(decision.record.phase, Some(Failed));
    assert!(
        decision.record.message.starts_with("Metric \"b\" assessed Failed"),
        "{}",
        decision.record.message
    );
    let summary = RunSummary { count: 3, failed: 1, inconclusive: 1, error: 1, ..RunSummary::default() };
    assert_eq!(decision.record.run_summary, Some(summary));
}

#[test]
fn a_dry_run_metric_never_decides_the_run() {
    let mut run = run(json!({
        "metrics": [metric("real", json!({})), metric("dry", json!({}))],
        "dryRun": [{"metricName": "d.*"}],
    }));
    step(&mut run, at(0));
    bring(&mut run, "dry", F, 1);
    let decision = step(&mut run, at(1));
    assert_eq!(decision.record.phase, Some(Running));
    bring(&mut run, "real", S, 2);
    let decision = step(&mut run, at(2));
    assert_eq!(decision.record.phase, Some(Successful));
    assert_eq!(decision.record.message, "");
    let dry = &decision.record.metric_results[1];
    assert_eq!((dry.phase, dry.dry_run), (Some(Failed), true));
    assert_eq!(dry.message, "Metric assessed Failed due to failed (1) > failureLimit (0)");
    let counted = RunSummary { count: 1, successful: 1, ..RunSummary::default() };
    let dried = RunSummary { count: 1, failed: 1, ..RunSummary::default() };
    assert_eq!((decision.record.run_summary, decision.record.dry_run_summary), (Some(counted), Some(dried)));
}

#[test]
fn a_terminated_run_is_successful_unless_something_failed() {
    let spec = json!({"metrics": [metric("m", json!({"interval": "5s"}))]});
    let mut run = run(spec);
    measured(&mut run, "m", &[S, S]);
    run.spec.as_mut().unwrap().terminate = Some(true);
    let decision = step(&mut run, at(100));
    assert_eq!(decision.record.phase, Some(Successful));
    assert_eq!(decision.record.message, "Run Terminated");
    assert_eq!(phase_of(&decision, "m"), Some(Successful));
    assert!(decision.measure.is_empty());
}

#[test]
fn a_run_that_is_terminated_before_its_first_measurement_is_successful() {
    let mut run = run(json!({"metrics": [metric("m", json!({}))], "terminate": true}));
    let decision = step(&mut run, at(0));
    assert_eq!(
        (decision.record.phase, decision.record.message.as_str()),
        (Some(Successful), "Run Terminated")
    );
    assert!(decision.measure.is_empty() && decision.record.metric_results.is_empty());
}

#[test]
fn no_data_an_outage_and_a_failing_canary_read_differently() {
    let messages: Vec<(AnalysisPhase, String)> = [
        crate::support::vector(&[]),
        crate::support::vector(&[0.1]),
        crate::support::vector(&[1.0, 1.0]),
        crate::support::reply(E),
    ]
    .into_iter()
    .map(|reply| {
        let mut run = run_of([metric("m", json!({}))]);
        step(&mut run, at(0));
        bring(&mut run, "m", S, 1);
        run.outcomes.values_mut().for_each(|outcome| outcome.reply = reply.clone());
        let measurement = step(&mut run, at(1)).record.metric_results[0].measurements[0].clone();
        (measurement.phase.unwrap(), measurement.message)
    })
    .collect();
    insta::assert_debug_snapshot!(messages);
}

#[test]
fn ten_measurements_are_kept_or_as_many_as_the_rule_says() {
    let long = json!({"interval": "5s", "count": 15});
    for (retention, kept) in [(json!([]), 10), (json!([{"metricName": "m", "limit": 3}]), 3)] {
        let mut run = run(json!({"metrics": [metric("m", long.clone())], "measurementRetention": retention}));
        let decision = measured(&mut run, "m", &[S; 15]);
        let result = &decision.record.metric_results[0];
        assert_eq!((result.measurements.len(), result.count, result.successful), (kept, 15, 15));
        assert_eq!(decision.record.phase, Some(Successful));
    }
}

#[test]
fn events_say_what_has_ended_and_nothing_is_said_twice() {
    let mut run = run_of([metric("good", json!({})), metric("bad", json!({}))]);
    let decision = step(&mut run, at(0));
    assert_eq!(notices(&run, &decision.record), vec![]);
    let before = run.clone();
    bring(&mut run, "good", S, 1);
    bring(&mut run, "bad", F, 1);
    let decision = step(&mut run, at(1));
    let said: Vec<(NoticeKind, &str, String)> = notices(&before, &decision.record)
        .into_iter()
        .map(|notice| (notice.kind, notice.reason, notice.message))
        .collect();
    insta::assert_debug_snapshot!(said);
    assert_eq!(notices(&run, &decision.record), vec![]);
}
