use super::{
    AnalysisProblem, ArgumentContext, Versions, blind_metrics, check_finite, field_path, reachable, resolve,
    valid_metrics,
};
use crate::{Observed, TemplateKey};
use headgate_api::{AnalysisRunSpec, AnalysisTemplateSpec, RolloutAnalysis};
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Templates = BTreeMap<TemplateKey, Observed<AnalysisTemplateSpec>>;

fn namespaced(name: &str) -> TemplateKey {
    TemplateKey::Namespaced(name.to_owned())
}

fn cluster(name: &str) -> TemplateKey {
    TemplateKey::Cluster(name.to_owned())
}

fn templates(all: impl IntoIterator<Item = (TemplateKey, Value)>) -> Templates {
    all.into_iter()
        .map(|(key, spec)| (key, Observed::Present(serde_json::from_value(spec).unwrap())))
        .collect()
}

fn metric(name: &str) -> Value {
    json!({"name": name, "provider": {"prometheus": {"query": "up"}}})
}

fn analysis(spec: Value) -> RolloutAnalysis {
    serde_json::from_value(spec).unwrap()
}

fn rollout() -> Value {
    json!({
        "metadata": {
            "name": "cart", "namespace": "shop", "uid": "u1",
            "labels": {"env": "prod", "app.kubernetes.io/name": "cart"}, "annotations": {"note": "x"},
        },
        "spec": {"replicas": 3, "paused": false, "template": {"spec": {"containers": [{"image": "cart:2"}]}}},
        "status": {"stableRS": "aaa"},
    })
}

fn resolved(analysis_spec: Value, templates: &Templates) -> Result<AnalysisRunSpec, AnalysisProblem> {
    let rollout = rollout();
    let context = ArgumentContext { stable_hash: "aaa", latest_hash: "bbb", rollout: &|| rollout.clone() };
    resolve(&analysis(analysis_spec), templates, &context)
}

fn names(spec: &AnalysisRunSpec) -> Vec<&str> {
    spec.metrics.iter().map(|metric| metric.name.as_str()).collect()
}

/// Name and value of each argument.
fn values(spec: &AnalysisRunSpec) -> BTreeMap<&str, Option<&str>> {
    spec.args.iter().flatten().map(|arg| (arg.name.as_str(), arg.value.as_deref())).collect()
}

#[test]
fn templates_are_merged_with_those_that_they_name_each_once_and_rings_end() {
    let templates = templates([
        (
            namespaced("a"),
            json!({"metrics": [metric("a")], "templates": [{"templateName": "b"}, {"templateName": "c", "clusterScope": true}]}),
        ),
        (namespaced("b"), json!({"metrics": [metric("b")], "templates": [{"templateName": "a"}]})),
        (cluster("c"), json!({"metrics": [metric("c")], "templates": [{"templateName": "d"}]})),
        (namespaced("d"), json!({"metrics": [metric("d")]})),
        (namespaced("unused"), json!({"metrics": [metric("unused")]})),
    ]);
    let named = json!({"templates": [{"templateName": "c", "clusterScope": true}, {"templateName": "a"}]});
    let spec = resolved(named.clone(), &templates).unwrap();
    assert_eq!(names(&spec), ["d", "a", "b", "c"]);
    let reached = reachable(&analysis(named), &templates);
    assert_eq!(
        reached.into_iter().collect::<Vec<_>>(),
        [namespaced("a"), namespaced("b"), namespaced("d"), cluster("c")]
    );
}

#[test]
fn what_is_not_there_and_what_was_not_read_are_told_apart() {
    let named = json!({"templates": [{"templateName": "a"}]});
    let mut templates = templates([(
        namespaced("a"),
        json!({"metrics": [metric("a")], "templates": [{"templateName": "b"}]}),
    )]);
    assert_eq!(resolved(named.clone(), &templates), Err(AnalysisProblem::TemplateUnknown(namespaced("b"))));
    assert_eq!(reachable(&analysis(named.clone()), &templates).len(), 2);
    templates.insert(namespaced("b"), Observed::Unknown);
    assert_eq!(resolved(named.clone(), &templates), Err(AnalysisProblem::TemplateUnknown(namespaced("b"))));
    templates.insert(namespaced("b"), Observed::Absent);
    let problem = resolved(named, &templates).unwrap_err();
    assert_eq!(
        problem.to_string(),
        "AnalysisTemplate \"b\", which templates[0] of AnalysisTemplate \"a\" names, does not exist: create it, or \
         correct the name"
    );
}

#[test]
fn arguments_get_their_values_from_the_rollout_before_the_template() {
    let templates = templates([(
        namespaced("a"),
        json!({
            "metrics": [metric("a")],
            "args": [
                {"name": "given"}, {"name": "default", "value": "template"}, {"name": "overridden", "value": "template"},
                {"name": "stable"}, {"name": "latest"}, {"name": "env"}, {"name": "image"},
                {"name": "unset", "value": "template"},
                {"name": "secret", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "open", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "own", "valueFrom": {"fieldRef": {"fieldPath": "status.stableRS"}}},
            ],
        }),
    )]);
    let spec = resolved(
        json!({
            "templates": [{"templateName": "a"}],
            "args": [
                {"name": "given", "value": "rollout"}, {"name": "overridden", "value": ""}, {"name": "nobody's", "value": "x"},
                {"name": "stable", "valueFrom": {"podTemplateHashValue": "Stable"}},
                {"name": "latest", "valueFrom": {"podTemplateHashValue": "Latest"}},
                {"name": "env", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['env']"}}},
                {"name": "image", "valueFrom": {"fieldRef": {"fieldPath": "spec.template.spec.containers[0].image"}}},
                {"name": "unset"}, {"name": "open", "value": "plain"},
            ],
        }),
        &templates,
    )
    .unwrap();
    let expected = BTreeMap::from([
        ("given", Some("rollout")),
        ("default", Some("template")),
        ("overridden", Some("")),
        ("stable", Some("aaa")),
        ("latest", Some("bbb")),
        ("env", Some("prod")),
        ("image", Some("cart:2")),
        ("unset", Some("template")),
        ("secret", None),
        ("open", Some("plain")),
        ("own", Some("aaa")),
    ]);
    assert_eq!(values(&spec), expected);
    let references = spec.args.iter().flatten().filter(|arg| arg.value_from.is_some());
    assert_eq!(references.map(|arg| arg.name.as_str()).collect::<Vec<_>>(), ["secret"]);
}

#[test]
fn fields_are_found_by_their_paths() {
    for (path, value) in [
        ("metadata.name", Ok("cart")),
        ("metadata.namespace", Ok("shop")),
        ("metadata.uid", Ok("u1")),
        ("metadata.labels['app.kubernetes.io/name']", Ok("cart")),
        ("metadata.labels[\"env\"]", Ok("prod")),
        ("metadata.labels['none']", Ok("")),
        ("metadata.annotations['note']", Ok("x")),
        ("metadata.labels", Ok("app.kubernetes.io/name=\"cart\"\nenv=\"prod\"")),
        ("spec.replicas", Ok("3")),
        ("spec.paused", Ok("false")),
        ("spec['replicas']", Ok("3")),
        ("metadata.generation", Err("is not supported: write metadata.name")),
        ("metadata.labels.env", Err("is not supported")),
        ("spec.template.spec.containers[1].image", Err("leads nowhere: the Rollout has no \"1\" there")),
        ("spec.nothing.there", Err("leads nowhere: the Rollout has no \"nothing\" there")),
        ("spec.template", Err("leads to no text, number or truth value")),
        ("", Err("leads to no text")),
    ] {
        let found = field_path::value("x", path, &rollout());
        match value {
            Ok(value) => assert_eq!(found.as_deref(), Ok(value), "{path}"),
            Err(part) => {
                let is_told = found.as_ref().is_err_and(|why| why.to_string().contains(part));
                assert!(is_told, "{path}: {found:?}");
                // What is not there yet may come; a path that nobody supports never does.
                let may_come = matches!(found, Err(AnalysisProblem::FieldUnset(_)));
                assert_eq!(may_come, !path.starts_with("metadata"), "{path}");
            }
        }
    }
}

#[test]
fn what_cannot_be_merged_or_run_is_refused_with_a_reason() {
    let one = json!([{"templateName": "a"}]);
    let two = json!([{"templateName": "a"}, {"templateName": "b"}]);
    let args = |value: Value| json!({"metrics": [metric("a")], "args": [value]});
    let with = |metric: &str, value: &str| json!({"metrics": [{"name": metric, "provider": {"prometheus": {}}}], "args": [{"name": "x", "value": value}]});
    let cases = [
        (json!({"templates": []}), json!({}), json!({})),
        (json!({"templates": [{}]}), json!({}), json!({})),
        (json!({"templates": two}), json!({"metrics": [metric("m")]}), json!({"metrics": [metric("m")]})),
        (json!({"templates": two}), with("m", "1"), with("n", "2")),
        (json!({"templates": one}), args(json!({"name": "x"})), json!({})),
        (
            json!({"templates": one, "args": [{"name": "x", "valueFrom": {"podTemplateHashValue": "Newest"}}]}),
            args(json!({"name": "x"})),
            json!({}),
        ),
        (
            json!({"templates": one, "args": [{"name": "x", "valueFrom": {"fieldRef": {"fieldPath": "spec.no"}}}]}),
            args(json!({"name": "x"})),
            json!({}),
        ),
        (
            json!({"templates": one, "dryRun": [{"metricName": "^b$"}]}),
            json!({"metrics": [metric("a")]}),
            json!({}),
        ),
    ];
    let messages: Vec<String> = cases
        .into_iter()
        .map(|(analysis, a, b)| {
            resolved(analysis, &templates([(namespaced("a"), a), (namespaced("b"), b)]))
                .unwrap_err()
                .to_string()
        })
        .collect();
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_dry_run_rule_is_held_against_its_own_analysis_alone() {
    let templates = templates([
        (namespaced("a"), json!({"metrics": [metric("latency")]})),
        (namespaced("b"), json!({"metrics": [metric("errors")], "dryRun": [{"metricName": "err.*"}]})),
    ]);
    let first = resolved(
        json!({"templates": [{"templateName": "a"}], "dryRun": [{"metricName": "latency"}]}),
        &templates,
    );
    let second = resolved(json!({"templates": [{"templateName": "b"}]}), &templates);
    for spec in [first.unwrap(), second.unwrap()] {
        assert!(valid_metrics(&spec).unwrap().iter().all(|metric| metric.dry_run));
    }
}

#[test]
fn the_same_value_twice_is_no_conflict_and_a_value_fills_a_gap() {
    let with = |name: &str, args: Value| json!({"metrics": [metric(name)], "args": args});
    let templates = templates([
        (namespaced("a"), with("a", json!([{"name": "same", "value": "1"}, {"name": "gap"}]))),
        (namespaced("b"), with("b", json!([{"name": "same", "value": "1"}, {"name": "gap", "value": "2"}]))),
        (namespaced("c"), with("c", json!([{"name": "same"}, {"name": "gap"}]))),
    ]);
    let named = ["a", "b", "c"].map(|name| json!({"templateName": name}));
    let spec = resolved(json!({"templates": named}), &templates).unwrap();
    assert_eq!(values(&spec), BTreeMap::from([("same", Some("1")), ("gap", Some("2"))]));
}

#[test]
fn a_metric_that_never_ends_is_for_the_background_alone() {
    let with = |fields: Value| {
        let mut metric = metric("m");
        for (key, value) in fields.as_object().unwrap() {
            metric[key] = value.clone();
        }
        let spec = json!({"metrics": [metric], "args": [{"name": "n", "value": "3"}]});
        check_finite(&serde_json::from_value(spec).unwrap())
    };
    for finite in
        [json!({}), json!({"interval": "1m", "count": 2}), json!({"interval": "1m", "count": "{{args.n}}"})]
    {
        assert_eq!(with(finite.clone()), Ok(()), "{finite}");
    }
    for endless in [json!({"interval": "1m"}), json!({"interval": "1m", "count": 0})] {
        let problem = with(endless.clone()).unwrap_err().to_string();
        assert!(problem.starts_with("metric \"m\" runs indefinitely"), "{endless}: {problem}");
    }
}

#[test]
fn a_spec_that_was_resolved_is_one_that_can_be_run() {
    let templates = templates([(
        namespaced("a"),
        json!({
            "metrics": [{
                "name": "m", "interval": "{{args.every}}", "count": "{{args.n}}", "provider": {"prometheus": {"query": "up"}},
            }],
            "args": [{"name": "every", "value": "soon"}, {"name": "n", "value": "2"}],
        }),
    )]);
    let problem =
        resolved(json!({"templates": [{"templateName": "a"}]}), &templates).unwrap_err().to_string();
    assert!(problem.contains("metrics[0] (m): interval: \"soon\" is not a duration"), "{problem}");
    let mended = json!({"templates": [{"templateName": "a"}], "args": [{"name": "every", "value": "5s"}]});
    let spec = resolved(mended, &templates).unwrap();
    let metric = valid_metrics(&spec).unwrap().remove(0);
    assert_eq!((metric.count, metric.interval), (Some(2), Some(jiff::SignedDuration::from_secs(5))));
}

/// What is said of one metric with these fields, in an analysis with one argument `a`.
fn blindness(metric: Value, argument: Value, weights: &[i32]) -> Option<String> {
    let mut metric = metric;
    metric["name"] = json!("rate");
    let query = metric["query"].take();
    metric.as_object_mut().unwrap().remove("query");
    metric["provider"] = json!({"prometheus": {"address": "http://canary/", "query": query}});
    let templates = templates([(namespaced("t"), json!({"args": [{"name": "a"}], "metrics": [metric]}))]);
    let mut argument = argument;
    argument["name"] = json!("a");
    let analysis = analysis(json!({"templates": [{"templateName": "t"}], "args": [argument]}));
    let rollout = rollout();
    let versions =
        Versions { canary_service: Some("shop"), stable_service: Some("shop-stable"), rollout: &rollout };
    let blind = blind_metrics(&analysis, &templates, &versions).unwrap();
    blind.first().map(|metric| metric.message(weights, 100))
}

#[test]
fn a_query_that_something_ties_to_the_canary_is_not_blind() {
    let with = |argument: Value, query: &str| {
        blindness(json!({"query": query, "successCondition": "result >= 0.95"}), argument, &[5])
    };
    let value = json!({"value": "v"});
    let latest = json!({"valueFrom": {"podTemplateHashValue": "Latest"}});
    let field = |path: &str| json!({"valueFrom": {"fieldRef": {"fieldPath": path}}});
    assert_eq!(with(latest.clone(), "x{hash=\"{{args.a}}\"}"), None);
    assert_eq!(with(field("status.currentPodHash"), "x{hash=\"{{args.a}}\"}"), None);
    assert_eq!(with(field("spec.template.spec.containers[0].image"), "x{image=\"{{args.a}}\"}"), None);
    assert_eq!(with(value.clone(), "x{service=\"shop\"}"), None);
    assert_eq!(with(value.clone(), "x{track=\"canary\"}"), None);
    // An argument that is given and not used ties nothing; neither does the name of the stable Service.
    assert!(with(latest, "x").unwrap().contains("does not tell canary and stable apart"));
    for query in ["x{service=\"shop-stable\"}", "x{hash=\"{{args.a}}\"}"] {
        let stable = json!({"valueFrom": {"podTemplateHashValue": "Stable"}});
        assert!(with(stable, query).unwrap().contains("looks at the stable version only"), "{query}");
    }
    assert!(with(field("metadata.labels['env']"), "x{env=\"{{args.a}}\"}").is_some());
}

#[test]
fn how_bad_the_canary_must_be_is_derived_from_weight_and_condition() {
    let rate = "sum(rate(e[1m])) / sum(rate(r[1m]))";
    let said = |metric: Value, weights: &[i32]| blindness(metric, json!({"value": "v"}), weights).unwrap();
    assert_eq!(
        said(json!({"query": rate, "successCondition": "result[0] >= 0.95"}), &[5, 10, 40]),
        "metric \"rate\" does not tell canary and stable apart. Beside a good stable version the canary trips it only \
         with more than this part of its requests failing: 50 % at weight 10, 12.5 % at weight 40, not at all at weight \
         5; use an argument with podTemplateHashValue: Latest, or the canary Service, in its query"
    );
    let at_20 = |metric: Value| {
        let text = said(metric, &[20]);
        let needs = text.split_once("requests ").map(|(_, rest)| rest.split(';').next().unwrap().to_owned());
        needs.unwrap_or_default()
    };
    let fail = |share: &str| format!("failing: {share} % at weight 20");
    assert_eq!(at_20(json!({"query": rate, "successCondition": "result < 0.01"})), fail("5"));
    assert_eq!(at_20(json!({"query": rate, "failureCondition": "asFloat(result) > 0.02"})), fail("10"));
    assert_eq!(
        at_20(
            json!({"query": rate, "failureCondition": "result < 0.9", "successCondition": "result > 0.99"})
        ),
        fail("50"),
        "only the failure condition fails a measurement when both are written"
    );
    assert_eq!(
        at_20(json!({"query": format!("100 * {rate}"), "successCondition": "result >= 99"})),
        fail("5")
    );
    assert_eq!(
        at_20(
            json!({"query": "histogram_quantile(0.95, sum by (le) (rate(d_bucket[1m])))", "successCondition": "result <= 0.5"})
        ),
        "slower than 0.5: 25 % at weight 20"
    );
    // No share of requests, or no plain comparison: nothing can be said.
    for metric in [
        json!({"query": "sum(errors)", "successCondition": "result < 0.1"}),
        json!({"query": rate, "successCondition": "len(result) > 0 && result[0] >= 0.95"}),
        json!({"query": rate}),
    ] {
        assert_eq!(at_20(metric), "");
    }
}
