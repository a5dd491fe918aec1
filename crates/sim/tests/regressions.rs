//! Worlds in which a defect of ours was found, cut down to what it needed.

use headgate_driver::io::Resource;
use headgate_driver::resources::SERVICES;
use headgate_sim::faults::{Ailment, Disturbance};
use headgate_sim::kinds::Router;
use headgate_sim::scenario::{NAMESPACE, ROLLOUT, at};
use headgate_sim::user::Act;
use headgate_sim::world::metrics::Source;
use headgate_sim::world::patch;
use headgate_sim::world::pods::Health;
use headgate_sim::world::routes::VIRTUAL_SERVICES;
use headgate_sim::world::webhooks::Webhook;
use headgate_sim::{Defect, Scenario, trace};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How pods of both versions behave.
const HEALTHY: Health = Health {
    scheduled_after: 50,
    pulled_after: 1_000,
    ready_after: Some(3_000),
    has_image: true,
    crashes: false,
    spread: 200,
    errors_percent: 0,
    latency: 80,
};

/// A world with a router in which nothing happens but this, to a Rollout of two pods with this strategy. No seed draws any of
/// it: seeds that make other worlds leave this one as it is.
fn world(canary: &Value, disturbances: Vec<(i64, Disturbance)>) -> Scenario {
    let mut rollout = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": ROLLOUT, "namespace": NAMESPACE },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "shop" } },
            "template": {
                "metadata": { "labels": { "app": "shop" } },
                "spec": { "containers": [{ "name": "app", "image": "shop:1" }] },
            },
            "strategy": { "canary": {
                "stableService": "shop-stable", "canaryService": "shop-canary",
                "trafficRouting": { "istio": { "virtualService": { "name": ROLLOUT, "routes": ["primary"] } } },
            }},
        },
    });
    patch::merge(&mut rollout, &json!({ "spec": { "strategy": { "canary": canary } } }));
    let object = |resource: Resource, name: &str, spec: Value| {
        (at(resource, name), json!({ "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec }))
    };
    let service = |name: &str| object(SERVICES, name, json!({ "selector": { "app": "shop" } }));
    let route = json!([
        { "destination": { "host": "shop-stable" }, "weight": 100 },
        { "destination": { "host": "shop-canary" }, "weight": 0 },
    ]);
    let route = json!({ "hosts": ["shop.example"], "http": [{ "name": "primary", "route": route }] });
    Scenario {
        surroundings: vec![
            service("shop-stable"),
            service("shop-canary"),
            object(VIRTUAL_SERVICES, ROLLOUT, route),
        ],
        image: "shop:".to_owned(),
        health: BTreeMap::from(["shop:1", "shop:2"].map(|image| (image.to_owned(), HEALTHY))),
        drain: 5_000,
        // Counted as in a seed's world, so that all rules hold: where metrics are given, none does.
        metrics: Source::Traffic { interval: 5_000, window: 30_000, per_minute: 12_000 },
        webhooks: vec![Webhook { name: "hook", troubles: Vec::new() }],
        // So that times count from the beginning.
        from_the_start: true,
        disturbances,
        ..Scenario::calm(rollout)
    }
}

fn user(at: i64, act: Act) -> (i64, Disturbance) {
    (at, Disturbance::User(act))
}

/// What happens in a world in which no rule is broken, line by line.
#[track_caller]
fn told(scenario: Scenario) -> Vec<String> {
    let outcome = trace(scenario, Defect::None);
    assert!(outcome.violations.is_empty(), "{:#?}\n{}", outcome.violations, outcome.trace.lines().join("\n"));
    outcome.trace.lines().to_vec()
}

/// What is told before a line that holds this, and from it on.
#[track_caller]
fn split<'a>(lines: &'a [String], at: &str) -> (&'a [String], &'a [String]) {
    let number = lines.iter().position(|line| line.contains(at));
    assert!(number.is_some(), "{at:?} is not in\n{}", lines.join("\n"));
    lines.split_at(number.unwrap_or(0))
}

fn count(lines: &[String], what: &str) -> usize {
    lines.iter().filter(|line| line.contains(what)).count()
}

#[test]
fn the_stable_service_leads_to_pods_when_the_router_is_taken_away_and_no_pod_may_be_added() {
    // Only where stable has no pods left it leads to the new version before that is promoted.
    for (weight, switched) in [(40, (0, 1)), (100, (1, 0))] {
        let steps = json!([{ "setWeight": weight }, { "pause": {} }]);
        let acts = vec![
            user(30_000, Act::Release(2)),
            user(90_000, Act::Router(Router::None)),
            user(300_000, Act::PromoteFull),
        ];
        let lines = told(world(&json!({ "maxSurge": 0, "maxUnavailable": 1, "steps": steps }), acts));
        let (_, release) = split(&lines, "Release(2)");
        let (before, promoted) = split(release, "PromoteFull");
        let switches = |lines| count(lines, "sends patch Service shop-stable");
        assert_eq!((switches(before), switches(promoted)), switched, "{weight}:\n{}", lines.join("\n"));
    }
}

/// Seed 11001113: retried, and aborted once more with the record that takes the retry up, as a container was killed in the very
/// second of the retry.
#[test]
fn webhooks_are_told_of_each_abort_when_a_retry_is_aborted_at_once() {
    let kill = || Disturbance::PodsHurt { version: 2, how: Ailment::OomKilled, seconds: 0 };
    let acts =
        vec![user(30_000, Act::Release(2)), (60_000, kill()), (70_000, kill()), user(70_100, Act::Retry)];
    let steps = json!([{ "setWeight": 40 }, { "pause": {} }]);
    let lines = told(world(&json!({ "steps": steps, "podHealth": { "action": "abort" } }), acts));
    let (before, retried) = split(&lines, "Retry");
    for lines in [before, retried] {
        assert_eq!(count(lines, r#"sends notify hook {"event":"aborted""#), 1, "{}", lines.join("\n"));
    }
    assert_eq!(count(retried, "RolloutResumed"), 0, "it goes on first:\n{}", retried.join("\n"));
}
