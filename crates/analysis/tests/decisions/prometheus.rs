use crate::support::{answer, at, key, metric, run, run_of, step};
use headgate_analysis::{Measured, MetricProvider, MetricValue, Outcome, PROVIDERS};
use headgate_model::analysis::{ValidMetric, valid_metrics};
use headgate_model::{Method, Query, Reply};
use serde_json::{Value, json};

/// What is asked for a metric with this provider, or why nothing is.
fn asked(prometheus: Value, args: Value) -> String {
    let mut run = run(json!({
        "metrics": [metric("m", json!({"provider": {"prometheus": prometheus}}))], "args": args,
    }));
    run.prometheus_address = Some("http://default:9090".to_owned());
    let decision = step(&mut run, at(0));
    match decision.measure.first() {
        Some(measure) => {
            let Query::Http(query) = &measure.query;
            format!("{query:#?}")
        }
        None => decision.record.metric_results[0].measurements[0].message.clone(),
    }
}

#[test]
fn queries_as_they_are_sent() {
    let secrets = json!([
        {"name": "password", "valueFrom": {"secretKeyRef": {"name": "prom", "key": "password"}}},
        {"name": "token", "valueFrom": {"secretKeyRef": {"name": "prom", "key": "token"}}},
    ]);
    let range = |start: &str, step: &str| {
        json!({
            "query": "up", "rangeQuery": {"start": start, "end": "now()", "step": step},
        })
    };
    let cases = [
        (
            "instant",
            asked(json!({"address": "http://prom:9090/base/", "query": "sum(rate(x[1m])) / 2"}), json!([])),
        ),
        ("default address", asked(json!({"query": "up"}), json!([]))),
        (
            "headers, insecure, timeout",
            asked(
                json!({
                    "address": "https://prom?tenant=a", "query": "up", "timeout": 5, "insecure": true,
                    "headers": [{"key": "X-Scope-OrgID", "value": "shop"}, {"key": "Authorization", "value": "Bearer {{args.token}}"}],
                }),
                secrets.clone(),
            ),
        ),
        (
            "basic auth",
            asked(
                json!({
                    "address": "https://old@prom:9090/x", "query": "up{t=\"{{args.token}}\"}",
                    "authentication": {"basicAuth": {"username": "me:", "password": "{{args.password}}"}},
                }),
                secrets,
            ),
        ),
        ("range", asked(range("now() - duration(\"1h\")", "1m30s"), json!([]))),
    ];
    for (name, query) in cases {
        insta::assert_snapshot!(format!("query {name}"), query);
    }
    let refused = [
        asked(json!({"address": "prom:9090", "query": "up"}), json!([])),
        asked(json!({"query": "up", "timeout": -1}), json!([])),
        asked(json!({"query": "up", "authentication": {"oauth2": {"tokenUrl": "http://x"}}}), json!([])),
        asked(json!({"query": "up", "authentication": {"sigv4": {"region": "eu-central-1"}}}), json!([])),
        asked(range("now() - duration(\"??\")", "1m"), json!([])),
        asked(range("5", "1m"), json!([])),
        asked(range("now()", "soon"), json!([])),
        asked(range("now()", "0s"), json!([])),
    ];
    insta::assert_snapshot!("queries refused", refused.join("\n"));
}

#[test]
fn a_query_that_is_too_long_for_the_url_of_a_proxy_is_posted() {
    let long = format!("up{{t=\"{{{{args.token}}}}\",pod=~\"{}\"}}", "web-1|".repeat(900));
    let args = json!([{"name": "token", "valueFrom": {"secretKeyRef": {"name": "prom", "key": "token"}}}]);
    let range = json!({"start": "now() - duration(\"1h\")", "end": "now()", "step": "1m"});
    for (range, path) in [(Value::Null, "query"), (range, "query_range")] {
        let headers = json!([{"key": "content-type", "value": "text/plain"}]);
        let metric = metric(
            "m",
            json!({"provider": {"prometheus": {
                "address": "http://prom?tenant=a", "query": long, "headers": headers, "rangeQuery": range,
            }}}),
        );
        let mut run = run(json!({"metrics": [metric], "args": args}));
        let Query::Http(query) = step(&mut run, at(0)).measure.remove(0).query;
        assert_eq!((query.method, query.url), (Method::Post, format!("http://prom/api/v1/{path}?tenant=a")));
        let form = "application/x-www-form-urlencoded".to_owned();
        assert_eq!(query.headers, [("Content-Type".to_owned(), form)]);
        let body = query.body.unwrap();
        assert!(body.starts_with("query=up%7Bt%3D%22"), "{body}");
        assert_eq!(query.secrets.len(), 1, "the token stands in the body: {:?}", query.secrets);
        assert!(query.secrets.keys().all(|placeholder| body.contains(placeholder)));
    }
}

fn valid() -> ValidMetric {
    let run = run_of([metric("m", json!({}))]);
    valid_metrics(run.spec.as_ref().unwrap()).unwrap().remove(0)
}

fn interpreted(reply: &Reply) -> Result<Measured, String> {
    let provider: &dyn MetricProvider = PROVIDERS[0];
    provider.interpret(&valid(), reply)
}

fn success(result_type: &str, result: Value) -> Reply {
    answer(200, json!({"status": "success", "data": {"resultType": result_type, "result": result}}))
}

#[test]
fn replies_become_values_with_the_text_of_argo_rollouts() {
    let series = |value: &str| json!({"metric": {"pod": "a"}, "value": [1.5, value]});
    let matrix =
        json!([{"metric": {}, "values": [[1, "11"], [2, "12"]]}, {"metric": {}, "values": [[1, "13"]]}]);
    for (reply, value, text) in [
        (success("scalar", json!([1.5, "0.5"])), MetricValue::Number(0.5), "0.5"),
        (success("scalar", json!([1.5, "1e21"])), MetricValue::Number(1e21), "1000000000000000000000"),
        (success("scalar", json!([1.5, "+Inf"])), MetricValue::Number(f64::INFINITY), "+Inf"),
        (success("vector", json!([series("0.5")])), MetricValue::List(vec![0.5]), "[0.5]"),
        (
            success("vector", json!([series("0.5"), series("1")])),
            MetricValue::List(vec![0.5, 1.0]),
            "[0.5,1]",
        ),
        (success("vector", json!([series("-Inf")])), MetricValue::List(vec![f64::NEG_INFINITY]), "[-Inf]"),
        (success("vector", json!([])), MetricValue::List(vec![]), "[]"),
        (success("matrix", matrix), MetricValue::List(vec![11.0, 12.0, 13.0]), "[11,12,13]"),
    ] {
        let measured = interpreted(&reply).unwrap();
        assert_eq!((measured.value, measured.text.as_str()), (value, text));
    }
    let measured = interpreted(&success("vector", json!([series("NaN")]))).unwrap();
    assert_eq!(measured.text, "[NaN]");
    assert!(matches!(measured.value, MetricValue::List(numbers) if numbers[0].is_nan()));
}

#[test]
fn every_way_to_get_no_value_reads_differently() {
    let text = |status: u16, body: &str| Reply::Http { status, body: body.to_owned(), truncated: false };
    let bad = json!({"status": "error", "errorType": "bad_data", "error": "invalid parameter \"query\": 1:5: parse error"});
    let replies = [
        Reply::Failed("http://prom:9090/api/v1/query: no answer within 30s".to_owned()),
        Reply::Http { status: 200, body: "{\"status\":\"suc".to_owned(), truncated: true },
        text(200, "<html>Login</html>"),
        text(200, "{}"),
        text(502, "<html>Bad Gateway</html>"),
        text(404, ""),
        answer(400, bad),
        answer(503, json!({"status": "error", "errorType": "timeout", "error": "query timed out"})),
        answer(200, json!({"status": "success"})),
        success("string", json!([1, "x"])),
        success("vector", json!([{"metric": {}, "histogram": [1, {"count": "2"}]}])),
        success("vector", json!({"metric": {}, "value": [1, "0.1"]})),
        text(500, &"x".repeat(5000)),
    ];
    let messages: Vec<String> = replies.iter().map(|reply| interpreted(reply).unwrap_err()).collect();
    insta::assert_snapshot!(messages.join("\n"));
    let distinct: std::collections::BTreeSet<&String> = messages.iter().collect();
    assert_eq!(distinct.len(), messages.len());
}

#[test]
fn a_result_that_is_no_list_is_an_error_and_not_an_answer_without_data() {
    for (kind, result) in [
        ("vector", json!({"metric": {}, "value": [1, "0.1"]})),
        ("vector", json!("hunter2")),
        ("vector", json!(5)),
        ("vector", json!([5])),
        ("vector", json!([null])),
        ("matrix", json!({"metric": {}, "values": [[1, "0.1"]]})),
        ("matrix", json!("hunter2")),
        ("matrix", json!(["hunter2"])),
        ("matrix", json!([null])),
        ("matrix", json!([[[1, "0.1"]]])),
        ("matrix", json!([{"metric": {}, "values": "hunter2"}])),
        ("matrix", json!([{"metric": {}, "values": {"1": "0.1"}}])),
        ("scalar", json!(null)),
    ] {
        let message = interpreted(&success(kind, result.clone())).unwrap_err();
        assert!(!message.contains("hunter2"), "{kind} {result}: {message}");
    }
    // Go's null is an empty list.
    for (kind, result) in [
        ("vector", json!(null)),
        ("matrix", json!(null)),
        ("matrix", json!([{"metric": {}}])),
        ("matrix", json!([{"metric": {}, "values": null}])),
    ] {
        let measured = interpreted(&success(kind, result.clone()));
        assert_eq!(measured.map(|measured| measured.value), Ok(MetricValue::List(vec![])), "{kind} {result}");
    }
}

#[test]
fn warnings_are_kept_with_the_measurement() {
    let mut run = run_of([metric("m", json!({}))]);
    step(&mut run, at(0));
    let reply = answer(
        200,
        json!({
            "status": "success", "warnings": ["slow store", "partial"],
            "data": {"resultType": "scalar", "result": [1, "1"]},
        }),
    );
    run.outcomes.insert(key("m", 0), Outcome { started_at: at(1), finished_at: at(2), reply });
    let record = step(&mut run, at(2)).record;
    let measurement = &record.metric_results[0].measurements[0];
    assert_eq!(measurement.metadata["warnings"], "\"slow store\", \"partial\"");
    assert_eq!(
        (measurement.started_at.as_ref().unwrap().0, measurement.finished_at.as_ref().unwrap().0),
        (at(1), at(2))
    );
}

#[test]
fn warnings_and_infos_may_be_null() {
    let reply = answer(
        200,
        json!({
            "status": "success", "warnings": null, "infos": null,
            "data": {"resultType": "scalar", "result": [1, "1"]},
        }),
    );
    let measured = interpreted(&reply).unwrap();
    assert_eq!((measured.value, measured.metadata.len()), (MetricValue::Number(1.0), 0));
}

/// The shell masks secrets in everything but the data of a success.
#[test]
fn the_data_of_an_answer_is_never_quoted() {
    let data = |result_type: &str| json!({"resultType": result_type, "result": [1, "hunter2"]});
    for body in [
        json!({"status": "success", "data": data("hunter2")}),
        json!({"status": "success", "data": data("scalar")}),
        json!({"data": data("vector"), "status": "success", "warnings": "all"}),
        json!({"status": "success", "data": "hunter2"}),
        json!({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"key": "hunter2"}}]}}),
    ] {
        for status in [200, 502] {
            let message = interpreted(&answer(status, body.clone())).unwrap_err();
            assert!(!message.contains("hunter2"), "{body}: {message}");
        }
    }
}

#[test]
fn no_secret_is_shown() {
    let mut run = run(json!({
        "metrics": [metric("m", json!({"provider": {"prometheus": {
            "address": "http://prom", "query": "up{token=\"{{args.token}}\"}",
        }}}))],
        "args": [{"name": "token", "valueFrom": {"secretKeyRef": {"name": "prom", "key": "token"}}}],
    }));
    step(&mut run, at(0));
    crate::support::bring(&mut run, "m", crate::support::Brings::Success, 1);
    let record = step(&mut run, at(1)).record;
    assert_eq!(record.metric_results[0].metadata["ResolvedPrometheusQuery"], "up{token=\"*****\"}");
}

#[test]
fn very_many_warnings_do_not_make_a_record_that_cannot_be_stored() {
    let warnings = vec!["a store did not answer"; 100_000];
    let body = json!({
        "status": "success", "warnings": warnings,
        "data": {"resultType": "vector", "result": [{"metric": {}, "value": [0, "1"]}]},
    });
    let mut run = run_of([metric("m", json!({}))]);
    step(&mut run, at(0));
    let outcome = Outcome { started_at: at(1), finished_at: at(1), reply: answer(200, body) };
    run.outcomes.insert(key("m", 0), outcome);
    let record = step(&mut run, at(1)).record;
    let said = &record.metric_results[0].measurements[0].metadata["warnings"];
    assert!(said.starts_with("\"a store did not answer\"") && said.chars().count() <= 4097, "{}", said.len());
}
