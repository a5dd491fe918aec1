//! The forecast of a release tells what the controller would do.
#![cfg(test)]

use headgate_sim::forecast::{Forecast, Options, Problem, Verdict, forecast};
use serde_json::{Value, json};
use std::path::Path;

/// docs/examples/canary-istio, without its Gateway.
fn example() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/canary-istio");
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
fn plain(steps: Value) -> Vec<Value> {
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

#[test]
fn a_good_release_of_the_example_is_promoted() {
    let told = forecast(example(), &options(&[], &[])).unwrap();
    assert_eq!(told.verdict, Verdict::Promoted);
    println!("{}", lines(&told));
    let told = forecast(example(), &options(&["success-rate=0.7"], &[])).unwrap();
    println!("{}", lines(&told));
}
