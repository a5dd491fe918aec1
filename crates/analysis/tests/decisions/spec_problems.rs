use crate::support::{Brings, at, bring, key, metric, run, run_of, step};
use headgate_api::AnalysisPhase::{Error, Running, Successful};
use headgate_model::Query;
use serde_json::{Value, json};

/// Decides twice over a run with this spec, and gives its message.
fn message(spec: Value) -> String {
    let mut run = run(spec);
    let decision = step(&mut run, at(5));
    assert_eq!(decision.record.phase, Some(Error));
    assert!(decision.record.started_at.is_some() && decision.record.completed_at.is_some());
    assert_eq!((decision.measure.len(), decision.delete), (0, false));
    assert_eq!(step(&mut run, at(500)).record, decision.record);
    decision.record.message
}

#[test]
fn a_spec_that_cannot_run_ends_the_run_and_says_why() {
    let arg = |argument: Value| json!({"metrics": [metric("m", json!({"count": "{{args.n}}"}))], "args": [argument]});
    let secret = json!({"name": "n", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
    let prometheus = json!({"prometheus": {"query": "up"}, "web": {"url": "http://x"}});
    let messages = [
        message(json!({})),
        message(json!({"metrics": [metric("m", json!({"count": 3}))]})),
        message(json!({"metrics": [metric("m", json!({"interval": "5"}))]})),
        message(json!({"metrics": [metric("m", json!({"initialDelay": "-5s"}))]})),
        message(json!({"metrics": [metric("m", json!({"interval": "5s", "count": 2, "failureLimit": 3}))]})),
        message(json!({"metrics": [metric("m", json!({"failureLimit": -2}))]})),
        message(json!({"metrics": [metric("m", json!({"count": "many"}))]})),
        message(json!({"metrics": [metric("m", json!({"provider": {}}))]})),
        message(json!({"metrics": [metric("m", json!({"provider": prometheus}))]})),
        message(json!({"metrics": [metric("m", json!({})), metric("m", json!({}))]})),
        message(json!({"metrics": [metric("m", json!({}))], "dryRun": [{"metricName": "x"}]})),
        message(json!({"metrics": [metric("m", json!({}))], "dryRun": [{"metricName": "("}]})),
        message(
            json!({"metrics": [metric("m", json!({}))], "measurementRetention": [{"metricName": "x", "limit": 1}]}),
        ),
        message(json!({"metrics": [metric("m", json!({"successCondition": "result > {{args.limit}}"}))]})),
        message(json!({"metrics": [metric("m", json!({"successCondition": "result > {{args.limit"}))]})),
        message(arg(json!({"name": "n"}))),
        message(arg(secret)),
        message(json!({"metrics": 5})),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

/// What a run of one metric with these fields says, if its spec is wrong.
fn refusal(fields: &Value) -> Option<String> {
    let mut run = run_of([metric("m", fields.clone())]);
    let record = step(&mut run, at(0)).record;
    (record.phase == Some(Error)).then_some(record.message)
}

#[test]
fn limits_that_argo_rollouts_refuses_are_refused() {
    let with = |failure: i64, success: i64, count: i64| {
        json!({
            "interval": "5s", "failureLimit": failure, "consecutiveSuccessLimit": success, "count": count,
        })
    };
    let both = "failureLimit and consecutiveSuccessLimit cannot both be disabled";
    let sum = "must be >= failureLimit + consecutiveSuccessLimit";
    for (fields, expected) in [
        (json!({"failureLimit": -1}), Some(both)),
        (json!({"failureLimit": "-1", "interval": "5s"}), Some(both)),
        (with(-1, 0, 3), Some(both)),
        (with(-1, 1, 3), None),
        (with(-1, 3, 3), None),
        (with(-1, 4, 3), Some("count must be >= consecutiveSuccessLimit, but 3 < 4")),
        (with(0, 3, 3), None),
        (with(1, 2, 3), None),
        (with(2, 2, 3), Some(sum)),
        (with(0, 4, 3), Some(sum)),
        (with(3, 0, 3), None),
        (with(4, 0, 3), Some("count must be >= failureLimit, but 3 < 4")),
        // Without a count nothing is too much for it.
        (with(4, 4, 0), None),
        (with(i64::from(i32::MAX), i64::from(i32::MAX), 3), Some(sum)),
        (
            json!({"interval": "5s", "count": 2, "inconclusiveLimit": 3}),
            Some("count must be >= inconclusiveLimit"),
        ),
        (json!({"consecutiveSuccessLimit": -1}), Some("consecutiveSuccessLimit must be >= 0")),
        (json!({"failureLimit": -2}), Some("failureLimit must be >= 0, or -1 to be disabled")),
    ] {
        let got = refusal(&fields);
        let is_right = match (&got, expected) {
            (Some(message), Some(part)) => message.contains(part),
            (got, expected) => got.is_none() && expected.is_none(),
        };
        assert!(is_right, "{fields} gave {got:?}");
    }
}

#[test]
fn arguments_are_filled_in_everywhere_and_numbers_may_be_text() {
    let provider = json!({"prometheus": {"address": "http://{{ args.host }}:9090", "query": "up{app=\"{{args.app}}\"}"}});
    let mut run = run(json!({
        "metrics": [metric("m", json!({
            "provider": provider, "count": "{{args.count}}", "interval": "{{args.interval}}",
            "successCondition": "result >= {{args.least}}",
        }))],
        "args": [
            {"name": "host", "value": "prom"}, {"name": "app", "value": "a \"b\"\n"}, {"name": "count", "value": "2"},
            {"name": "interval", "value": "7s"}, {"name": "least", "value": "0.5"},
        ],
    }));
    let decision = step(&mut run, at(0));
    let Query::Http(query) = &decision.measure[0].query;
    assert_eq!(
        query.url,
        "http://prom:9090/api/v1/query?query=up%7Bapp%3D%22a%20%22b%22%0A%22%7D&time=1795251600"
    );
    bring(&mut run, "m", Brings::Neither, 1);
    let decision = step(&mut run, at(1));
    assert_eq!((decision.record.phase, decision.wake_at), (Some(Running), Some(at(8))));
    bring(&mut run, "m", Brings::Neither, 8);
    let decision = step(&mut run, at(8));
    assert_eq!(decision.record.phase, Some(Successful));
    let shown = &decision.record.metric_results[0].metadata["ResolvedPrometheusQuery"];
    assert_eq!(shown, "up{app=\"a \"b\"\n\"}");
}

#[test]
fn a_provider_of_another_version_is_an_error_at_once_and_names_itself() {
    let job = json!({"job": {"spec": {"template": {}}}});
    let mut run = run_of([metric("m", json!({"provider": job}))]);
    let decision = step(&mut run, at(0));
    assert_eq!(decision.record.phase, Some(Error));
    assert_eq!(
        decision.record.message,
        "Metric \"m\" assessed Error due to an unsupported provider: \"Error Message: provider job is not supported by \
         this version of Headgate yet\""
    );
    let result = &decision.record.metric_results[0];
    assert_eq!((result.phase, result.error, result.measurements.len()), (Some(Error), 1, 1));
}

#[test]
fn an_unsupported_provider_of_a_dry_run_metric_harms_nothing() {
    let mut run = run(json!({
        "metrics": [metric("m", json!({})), metric("dry", json!({"provider": {"job": {"spec": {}}}}))],
        "dryRun": [{"metricName": "dry"}],
    }));
    let decision = step(&mut run, at(0));
    assert_eq!(decision.record.phase, Some(Running));
    assert_eq!(decision.measure.len(), 1);
    bring(&mut run, "m", Brings::Success, 1);
    assert_eq!(step(&mut run, at(1)).record.phase, Some(Successful));
}

#[test]
fn a_metric_that_cannot_be_asked_is_retried_within_its_error_limit() {
    let mut run = run_of([metric(
        "m",
        json!({"provider": {"prometheus": {"query": "up"}}, "consecutiveErrorLimit": 1}),
    )]);
    let decision = step(&mut run, at(0));
    assert_eq!((decision.record.phase, decision.wake_at), (Some(Running), Some(at(10))));
    let message = decision.record.metric_results[0].measurements[0].message.clone();
    assert!(message.starts_with("prometheus address is not configured: set"), "{message}");
    // Nothing moves before the retry.
    assert_eq!(step(&mut run, at(9)).record, decision.record);
    // It heals when the controller is given an address.
    let mut healed = run.clone();
    healed.prometheus_address = Some("http://prom:9090".to_owned());
    assert_eq!(step(&mut healed, at(10)).measure[0].key, key("m", 1));
    let decision = step(&mut run, at(10));
    assert_eq!(decision.record.phase, Some(Error));
}

#[test]
fn a_metric_that_cannot_be_measured_ends_a_run_at_once_also_where_it_is_to_begin_later() {
    let job = json!({
        "name": "later", "initialDelay": "30s",
        "provider": {"job": {"spec": {"template": {"spec": {"containers": []}}}}},
    });
    let mut run = run_of([metric("now", json!({})), job]);
    assert_eq!(step(&mut run, at(0)).record.phase, Some(Error));
}
