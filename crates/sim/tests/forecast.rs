//! The forecast of a release tells what the controller would do.
#![cfg(test)]

use headgate_sim::forecast::{Fault, Forecast, GivenMetric, Options, Problem, Verdict, forecast};
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
