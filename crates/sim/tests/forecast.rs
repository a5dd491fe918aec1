//! The forecast of a release tells what the controller would do.
#![cfg(test)]

use headgate_sim::forecast::{EventKind, Fault, Forecast, GivenMetric, Options, Problem, Verdict, forecast};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::path::Path;

/// docs/examples/canary-istio, without its Gateway.
fn example() -> Vec<Value> {
    example_of("canary-istio")
}

/// An example of docs/examples, without its Gateway.
fn example_of(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    let objects = texts.flat_map(|text| serde_saphyr::from_multiple::<Value>(&text).unwrap());
    objects.filter(|object| object["kind"] != "Gateway").collect()
}

/// Changes the Rollout among the objects.
fn with(mut objects: Vec<Value>, change: impl Fn(&mut Value)) -> Vec<Value> {
    objects.iter_mut().filter(|object| object["kind"] == "Rollout").for_each(change);
    objects
}

fn without(objects: Vec<Value>, kind: &str) -> Vec<Value> {
    objects.into_iter().filter(|object| object["kind"] != kind).collect()
}

/// Two pods, these steps, no router and no analysis.
fn plain(steps: &Value) -> Vec<Value> {
    let only = example().into_iter().filter(|object| object["kind"] == "Rollout").collect();
    with(only, |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        rollout["spec"]["strategy"]["canary"] = json!({ "steps": steps });
    })
}

/// The same, with an analysis `checked` of these metrics.
fn checked(steps: &Value, metrics: &[Value]) -> Vec<Value> {
    let mut objects = plain(steps);
    objects.push(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": { "name": "checked" },
        "spec": { "metrics": metrics },
    }));
    objects
}

/// Three measurements of one query, 20 s apart.
fn metric(name: &str, host: &str, condition: &str) -> Value {
    json!({
        "name": name, "interval": "20s", "count": 3, "successCondition": condition,
        "provider": { "prometheus": { "address": format!("http://{host}:9090"), "query": "sum(up)" } },
    })
}

/// A step that is this analysis.
fn analysis_step() -> Value {
    json!({ "analysis": { "templates": [{ "templateName": "checked" }] } })
}

fn options(metrics: &[&str], faults: &[&str]) -> Options {
    Options {
        metrics: metrics.iter().map(|metric| metric.parse().unwrap()).collect(),
        faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
        traffic: Some(200),
        ..Options::default()
    }
}

fn lines(forecast: &Forecast) -> String {
    let events = forecast.events.iter().map(|event| {
        let step = event.step.map_or("-".to_owned(), |step| step.to_string());
        format!(
            "{:>6.1} {step:>2} {:>3} {}/{} {}/{} {:?}: {}",
            event.seconds,
            event.weight,
            event.old.available,
            event.old.desired,
            event.new.available,
            event.new.desired,
            event.kind,
            event.message
        )
    });
    let head = format!(
        "{:?} after {} s at step {:?}, weight {}: {}\n{:?}\n{:#?}",
        forecast.verdict,
        forecast.seconds,
        forecast.step,
        forecast.weight,
        forecast.message,
        forecast.traffic,
        forecast.notes
    );
    std::iter::once(head).chain(events).collect::<Vec<_>>().join("\n")
}

fn promotions(forecast: &Forecast) -> usize {
    forecast.events.iter().filter(|event| event.kind == EventKind::Promotion).count()
}

/// The values that were assumed, by metric.
fn assumed(forecast: &Forecast) -> Vec<(&str, Option<&str>)> {
    let metrics = forecast.analyses.iter().flat_map(|analysis| &analysis.metrics);
    metrics.map(|metric| (metric.name.as_str(), metric.assumed.as_deref())).collect()
}

fn names(forecast: &Forecast) -> Vec<&str> {
    forecast.steps.iter().map(|step| step.does.as_str()).collect()
}

#[test]
fn a_good_release_of_the_example_is_promoted() {
    let told = forecast(example(), &options(&[], &[])).unwrap();
    assert_eq!((told.verdict, told.step, told.weight), (Verdict::Promoted, Some(9), 100));
    assert_eq!(told.traffic.as_ref().map(|traffic| traffic.lost), Some(0));
    insta::assert_snapshot!("good", lines(&told));
}

#[test]
fn the_same_release_goes_the_same_way_through_every_router() {
    for (metrics, end) in
        [(&[][..], (Verdict::Promoted, 100)), (&["success-rate=0.7"], (Verdict::Aborted, 25))]
    {
        let istio = forecast(example(), &options(metrics, &[])).unwrap();
        for name in ["canary-nginx", "canary-gateway"] {
            let told = forecast(example_of(name), &options(metrics, &[])).unwrap();
            assert_eq!((told.verdict, told.weight), end, "{name}: {}", lines(&told));
            assert_eq!(names(&told), names(&istio), "{name}");
            assert_eq!(
                told.traffic.map(|traffic| (traffic.lost, traffic.new > 0)),
                Some((0, true)),
                "{name}"
            );
        }
    }
}

#[test]
fn routes_that_are_not_in_the_files_are_made_up_for_every_router() {
    for (name, kind) in
        [("canary-istio", "VirtualService"), ("canary-nginx", "Ingress"), ("canary-gateway", "HTTPRoute")]
    {
        let told = forecast(without(example_of(name), kind), &options(&[], &[])).unwrap();
        assert_eq!((told.verdict, told.weight), (Verdict::Promoted, 100), "{name}: {}", lines(&told));
        assert!(
            told.notes.contains(&format!("{kind} shop is not in the files: made up")),
            "{:?}",
            told.notes
        );
    }
}

#[test]
fn a_bad_release_of_the_example_is_aborted() {
    let told =
        forecast(example(), &options(&["success-rate/success-rate=0.7", "latency-p95=0.2"], &[])).unwrap();
    assert_eq!((told.verdict, told.step, told.weight), (Verdict::Aborted, Some(4), 25));
    assert!(told.message.contains("\"success-rate\" assessed Failed"), "{}", told.message);
    insta::assert_snapshot!("bad", lines(&told));
}

#[test]
fn a_metric_that_gets_worse_in_time_aborts_later() {
    let told = forecast(example(), &options(&["success-rate=1", "success-rate=0.5@40s"], &[])).unwrap();
    assert_eq!(told.verdict, Verdict::Aborted);
    assert!(told.seconds > 40.0, "{}", lines(&told));
}

#[test]
fn no_data_no_number_and_no_answer_are_told_apart() {
    for (value, word) in
        [("none", "no data returned"), ("nan", "assessed Failed"), ("error", "connection refused")]
    {
        let told = forecast(example(), &options(&[&format!("success-rate={value}")], &[])).unwrap();
        assert_eq!(told.verdict, Verdict::Aborted, "{value}");
        assert!(told.message.contains(word), "{value}: {}", told.message);
    }
}

#[test]
fn controllers_that_die_or_freeze_and_an_api_server_that_is_away_cost_time_and_no_request() {
    let calm = forecast(example(), &options(&[], &[])).unwrap();
    for fault in ["crash@20s", "freeze@20s", "api@20s+30s"] {
        let told = forecast(example(), &options(&[], &[fault])).unwrap();
        assert_eq!(told.verdict, Verdict::Promoted, "{fault}");
        assert!(told.seconds > calm.seconds, "{fault}");
        assert_eq!(names(&told), names(&calm), "{fault}");
        assert_eq!(told.traffic.map(|traffic| traffic.lost), Some(0), "{fault}");
    }
}

#[test]
fn pods_that_never_get_ready_end_at_the_deadline_and_get_no_traffic() {
    let told = forecast(example(), &options(&[], &["unready@0s"])).unwrap();
    assert_eq!((told.verdict, told.step, told.weight), (Verdict::Degraded, Some(1), 0));
    assert!(told.message.contains("ProgressDeadlineExceeded"), "{}", told.message);
    assert_eq!(told.traffic.map(|traffic| (traffic.new, traffic.lost)), Some((0, 0)));
}

#[test]
fn pods_or_a_node_that_are_away_lose_requests_and_unready_pods_or_a_provider_that_is_away_abort() {
    for (fault, verdict, loses) in [
        ("pods@30s+20s", Verdict::Promoted, true),
        ("pods@30s+40s", Verdict::Aborted, true),
        ("node@30s+60s", Verdict::Promoted, true),
        ("prometheus@20s+60s", Verdict::Aborted, false),
    ] {
        let told = forecast(example(), &options(&[], &[fault])).unwrap();
        assert_eq!(told.verdict, verdict, "{fault}");
        let lost = told.traffic.map_or(0, |traffic| traffic.lost);
        assert_eq!(lost > 0, loses, "{fault} loses {lost}");
    }
}

#[test]
fn a_fault_after_the_end_is_noted() {
    let told = forecast(example(), &options(&[], &["crash@10m"])).unwrap();
    assert!(told.notes.iter().any(|note| note.contains("after the end")), "{:?}", told.notes);
}

#[test]
fn somebody_promotes_a_pause_without_end_or_nobody_does() {
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }, { "setWeight": 100 }]);
    let told = forecast(plain(&steps), &options(&[], &[])).unwrap();
    assert_eq!(told.verdict, Verdict::Promoted);
    assert!(told.seconds > 60.0 && told.seconds < 90.0, "{}", lines(&told));
    insta::assert_snapshot!("pause", lines(&told));
    let alone = Options { promote_after: None, ..Options::default() };
    let told = forecast(plain(&steps), &alone).unwrap();
    assert_eq!((told.verdict, told.step, told.weight), (Verdict::Waits, Some(2), 50));
    assert!(told.verdict.is_good());
}

#[test]
fn a_pause_that_ends_by_itself_is_not_promoted_and_the_analysis_after_it_is_not_skipped() {
    let pause = json!({ "pause": { "maxDuration": "30s", "onTimeout": "promote" } });
    let steps = json!([{ "setWeight": 50 }, pause, analysis_step(), { "setWeight": 100 }]);
    let objects = checked(&steps, &[metric("checked", "prometheus", "result >= 0.95")]);
    // The last of the three measurements comes after somebody would have promoted.
    let told = forecast(objects, &options(&["checked=1", "checked=0.5@70s"], &[])).unwrap();
    assert_eq!(
        (told.verdict, told.step, promotions(&told)),
        (Verdict::Aborted, Some(3), 0),
        "{}",
        lines(&told)
    );
}

#[test]
fn a_pause_that_is_overdue_is_promoted_once_and_the_pause_after_it_lasts() {
    let pause = json!({ "pause": { "maxDuration": "30s" } });
    let steps = json!([{ "setWeight": 50 }, pause, { "pause": { "duration": "2m" } }, { "setWeight": 100 }]);
    let told = forecast(plain(&steps), &options(&[], &[])).unwrap();
    assert_eq!((told.verdict, promotions(&told)), (Verdict::Promoted, 1), "{}", lines(&told));
    assert!(told.seconds > 180.0, "{}", lines(&told));
}

#[test]
fn a_pause_is_not_promoted_while_an_analysis_holds_the_release() {
    let held = with(example(), |rollout| {
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["analysis"]["onFailure"] = json!("hold");
        canary["steps"][1] = json!({ "pause": {} });
    });
    let metrics = ["success-rate=1", "success-rate=0.7@30s", "success-rate=1@5m"];
    let told = forecast(held, &options(&metrics, &[])).unwrap();
    assert_eq!((told.verdict, promotions(&told)), (Verdict::Promoted, 1), "{}", lines(&told));
    let promotion = told.events.iter().find(|event| event.kind == EventKind::Promotion).unwrap();
    assert!(promotion.seconds > 300.0, "{}", lines(&told));
}

#[test]
fn a_release_that_somebody_has_to_look_at_is_inconclusive() {
    let failed = with(example(), |rollout| {
        rollout["spec"]["strategy"]["canary"]["analysis"]["onFailure"] = json!("pause");
    });
    let unhealthy = with(example(), |rollout| {
        rollout["spec"]["strategy"]["canary"]["podHealth"] = json!({ "action": "pause" });
    });
    let mut undecided = example();
    for template in undecided.iter_mut().filter(|object| object["kind"] == "AnalysisTemplate") {
        template["spec"]["metrics"][0]["failureCondition"] = json!("result < 0.5");
    }
    for (objects, options, step, message) in [
        (failed, options(&["success-rate=0.7"], &[]), 4, "has failed: Metric \"success-rate\""),
        (unhealthy, options(&[], &["pods@30s+40s"]), 5, "3 readiness probes failed in a row"),
        (undecided, options(&["success-rate=0.7"], &[]), 2, "an analysis came to no verdict"),
    ] {
        let told = forecast(objects, &options).unwrap();
        assert_eq!((told.verdict, told.step), (Verdict::Inconclusive, Some(step)), "{}", lines(&told));
        assert!(!told.verdict.is_good());
        assert!(told.message.contains(message), "{}", told.message);
    }
}

#[test]
fn a_release_that_is_held_goes_on_when_its_metric_does_and_hangs_when_it_never_will() {
    let held = with(example(), |rollout| {
        rollout["spec"]["strategy"]["canary"]["analysis"]["onFailure"] = json!("hold");
    });
    let told = forecast(held.clone(), &options(&["success-rate=0.7", "success-rate=1@10m"], &[])).unwrap();
    assert_eq!(told.verdict, Verdict::Promoted, "{}", lines(&told));
    let told = forecast(held, &options(&["success-rate=0.7"], &[])).unwrap();
    assert_eq!(told.verdict, Verdict::Hangs);
    assert!(told.message.contains("the release is held"), "{}", told.message);
    assert!(told.seconds < 7_200.0, "{} s", told.seconds);
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    let problem =
        |objects: Vec<Value>, options: &Options| forecast(objects, options).unwrap_err().to_string();
    let none = Options::default();
    let strict = Options { strict: true, ..Options::default() };
    assert_eq!(problem(without(example(), "Rollout"), &none), Problem::NoRollout.to_string());
    let twice = [example(), example()].concat();
    assert!(problem(twice, &none).contains("2 Rollouts (shop, shop)"));
    let message = problem(without(example(), "AnalysisTemplate"), &none);
    assert!(message.starts_with("InvalidSpec: ") && message.contains("with another -f"), "{message}");
    let message = problem(without(example(), "Service"), &strict);
    assert!(message.contains("service \"shop-canary\" not found"), "{message}");
    let message = problem(with(example(), |rollout| rollout["spec"]["strategy"] = json!({})), &none);
    assert!(message.starts_with("InvalidSpec: "), "{message}");
    let message = problem(example(), &options(&["errors=1"], &[]));
    assert!(message.contains("\"errors\"") && message.contains("latency-p95/latency-p95"), "{message}");
    let mut odd = example();
    for template in odd.iter_mut().filter(|object| object["kind"] == "AnalysisTemplate") {
        template["spec"]["metrics"][0]["successCondition"] = json!("result > 3 && result < 4");
    }
    assert!(problem(odd, &none).contains("--metric success-rate=VALUE"));
}

#[test]
fn services_and_routes_that_are_not_there_are_made_up_and_noted() {
    let told =
        forecast(without(without(example(), "Service"), "VirtualService"), &options(&[], &[])).unwrap();
    assert_eq!(told.verdict, Verdict::Promoted);
    let made_up = told.notes.iter().filter(|note| note.contains("made up")).count();
    assert_eq!(made_up, 3, "{:?}", told.notes);
}

#[test]
fn a_forecast_as_data_has_what_scripts_ask_for() {
    let told =
        serde_json::to_value(forecast(example(), &options(&["success-rate=0.7"], &[])).unwrap()).unwrap();
    assert_eq!(
        (&told["verdict"], &told["step"], &told["weight"]),
        (&json!("aborted"), &json!(4), &json!(25))
    );
    let fields: Vec<&String> = told.as_object().unwrap().keys().collect();
    insta::assert_json_snapshot!(
        "fields",
        json!({
            "forecast": fields,
            "step": told["steps"][0],
            "event": told["events"][0],
            "measurement": told["analyses"][0]["metrics"][0]["measurements"][0],
            "traffic": told["traffic"],
        })
    );
}

#[test]
fn the_same_input_gives_the_same_forecast() {
    let options = options(&[], &["crash@20s", "node@30s+60s"]);
    assert_eq!(forecast(example(), &options).unwrap(), forecast(example(), &options).unwrap());
}

#[test]
fn faults_and_metrics_that_are_written_wrongly_say_how_to_write_them() {
    for written in ["bla@1s", "crash", "crash@1s+1s", "pods@3s", "unready@5s", "pods@x+1s"] {
        assert!(written.parse::<Fault>().is_err(), "{written}");
    }
    for written in ["a", "=1", "a=x", "/a=1", "a=1@x"] {
        assert!(written.parse::<GivenMetric>().is_err(), "{written}");
    }
}

#[test]
fn metrics_that_ask_one_query_of_two_providers_are_told_apart() {
    let metrics = [metric("first", "one", "result >= 0.95"), metric("second", "two", "result >= 0.95")];
    let objects = checked(&json!([{ "setWeight": 50 }, analysis_step()]), &metrics);
    let told = forecast(objects, &options(&["second=0.7"], &[])).unwrap();
    assert_eq!(told.verdict, Verdict::Aborted);
    assert!(told.message.contains("\"second\" assessed Failed"), "{}", told.message);
    assert_eq!(assumed(&told), [("first", Some("1")), ("second", None)]);
}

#[test]
fn metrics_that_ask_the_same_have_one_value() {
    let told = |conditions: [&str; 2], given: &[&str]| {
        let [first, second] = conditions;
        let metrics = [metric("first", "one", first), metric("second", "one", second)];
        forecast(checked(&json!([{ "setWeight": 50 }, analysis_step()]), &metrics), &options(given, &[]))
    };
    let thresholds = ["result < 5", "result < 1"];
    let assumes = told(thresholds, &[]).unwrap();
    assert_eq!(assumes.verdict, Verdict::Promoted, "{}", lines(&assumes));
    assert_eq!(assumed(&assumes), [("first", Some("0")), ("second", Some("0"))]);
    let given = told(thresholds, &["second=2"]).unwrap();
    assert_eq!((given.verdict, assumed(&given)), (Verdict::Aborted, vec![("first", None), ("second", None)]));
    assert!(given.message.contains("\"second\" assessed Failed"), "{}", given.message);
    let problem = told(["result < 1", "result > 2"], &[]).unwrap_err().to_string();
    assert!(
        problem.contains("first, second ask the same query") && problem.contains("--metric first=VALUE"),
        "{problem}"
    );
}

#[test]
fn objects_that_the_rollout_does_not_name_change_nothing_and_are_noted() {
    for (name, kind) in
        [("canary-istio", "VirtualService"), ("canary-nginx", "Ingress"), ("canary-gateway", "HTTPRoute")]
    {
        let alone = forecast(example_of(name), &options(&[], &[])).unwrap();
        // Those of another application in the same folder.
        let theirs = without(example_of(name), "Rollout").into_iter().map(|object| {
            let text = object.to_string().replace("shop", "blog").replace("success-rate", "errors");
            serde_json::from_str(&text.replace("latency-p95", "latency")).unwrap()
        });
        let told =
            forecast(example_of(name).into_iter().chain(theirs).collect(), &options(&[], &[])).unwrap();
        let note = format!(
            "not needed for a forecast: Service blog-stable, Service blog-canary, {kind} blog, \
             AnalysisTemplate errors, AnalysisTemplate latency"
        );
        assert_eq!((told.traffic, told.events), (alone.traffic, alone.events), "{name}");
        assert_eq!(told.notes, [vec![note], alone.notes].concat());
    }
}

#[test]
fn a_pod_template_may_be_another_objects() {
    let own = forecast(example(), &options(&[], &[])).unwrap();
    for (version, kind) in [("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "PodTemplate")] {
        let mut template = Value::Null;
        let mut objects = example();
        for rollout in objects.iter_mut().filter(|object| object["kind"] == "Rollout") {
            template = rollout["spec"]["template"].take();
            rollout["spec"]["workloadRef"] = json!({ "apiVersion": version, "kind": kind, "name": "shop" });
        }
        let mut workload = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "shop" } });
        let holder = if kind == "PodTemplate" { &mut workload } else { &mut workload["spec"] };
        holder["template"] = template;
        objects.push(workload);
        assert_eq!(forecast(objects, &options(&[], &[])).unwrap(), own, "{kind}");
    }
}

#[test]
fn a_rollout_that_takes_the_place_of_a_deployment_has_its_size_unless_it_says_another() {
    let pods = |scale_down: &str, own: Value, deployments: Value| {
        let mut template = Value::Null;
        let mut objects = with(plain(&json!([{ "setWeight": 50 }])), |rollout| {
            let spec = &mut rollout["spec"];
            spec["replicas"] = own.clone();
            let reference = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "scaleDown": scale_down });
            spec["workloadRef"] = reference;
        });
        for rollout in &mut objects {
            template = rollout["spec"]["template"].take();
        }
        objects.push(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" },
            "spec": { "replicas": deployments, "template": template },
        }));
        forecast(objects, &options(&[], &[])).unwrap().rollout.replicas
    };
    for (scale_down, own, deployments, expected) in [
        ("onsuccess", Value::Null, json!(4), 4),
        ("progressively", Value::Null, json!(4), 4),
        ("never", Value::Null, json!(4), 1),
        ("onsuccess", json!(3), json!(4), 3),
        ("onsuccess", Value::Null, json!(0), 1),
        ("onsuccess", Value::Null, Value::Null, 1),
    ] {
        assert_eq!(pods(scale_down, own, deployments), expected, "{scale_down}");
    }
}

#[test]
fn templates_may_be_the_clusters_and_name_others() {
    let templates = json!([
        { "templateName": "success-rate", "clusterScope": true },
        { "templateName": "latency-p95", "clusterScope": true },
    ]);
    let mut objects = with(example(), |rollout| {
        rollout["spec"]["strategy"]["canary"]["analysis"]["templates"] =
            json!([{ "templateName": "all", "clusterScope": true }]);
    });
    for template in objects.iter_mut().filter(|object| object["kind"] == "AnalysisTemplate") {
        template["kind"] = json!("ClusterAnalysisTemplate");
    }
    objects.push(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "ClusterAnalysisTemplate", "metadata": { "name": "all" },
        "spec": { "templates": templates },
    }));
    for (metrics, verdict) in [
        (&[][..], Verdict::Promoted),
        (&["success-rate/success-rate=0.7"], Verdict::Aborted),
        (&["latency-p95=2"], Verdict::Aborted),
    ] {
        let told = forecast(objects.clone(), &options(metrics, &[])).unwrap();
        assert_eq!(told.verdict, verdict, "{metrics:?}: {}", lines(&told));
    }
}

#[test]
fn pods_take_as_long_to_start_as_is_said() {
    let takes = |seconds: i64| {
        let options = Options { pod_start: SignedDuration::from_secs(seconds), ..Options::default() };
        forecast(example(), &options).unwrap().first_version_seconds
    };
    let longer = takes(32) - takes(2);
    assert!((longer - 30.0).abs() < 1.0, "{longer} s");
}
