//! Worlds in which a defect of ours was found, cut down to what it needed.

use headgate_sim::faults::{Ailment, Disturbance};
use headgate_sim::kinds::{Router, Strategy};
use headgate_sim::user::Act;
use headgate_sim::world::patch;
use headgate_sim::world::webhooks::Webhook;
use headgate_sim::{Defect, Scenario, trace};
use serde_json::{Value, json};

/// A world with a router in which nothing happens but this, to a Rollout with this spec.
fn world(spec: &Value, disturbances: Vec<(i64, Disturbance)>) -> Scenario {
    let seeds = (1..).map(Scenario::new);
    let is_fit =
        |scenario: &Scenario| scenario.router == Router::Istio && scenario.strategy == Strategy::Steps;
    let Some(seed) = seeds.into_iter().find(is_fit) else { unreachable!("there are seeds without end") };
    let mut scenario = seed.without(&(0..seed.pieces()).collect());
    patch::merge(&mut scenario.rollout, &json!({ "spec": spec }));
    scenario.disturbances = disturbances;
    scenario
}

fn user(at: i64, act: Act) -> (i64, Disturbance) {
    (at, Disturbance::User(act))
}

#[track_caller]
fn holds(scenario: Scenario) {
    let outcome = trace(scenario, Defect::None);
    assert!(outcome.violations.is_empty(), "{:#?}\n{}", outcome.violations, outcome.trace.lines().join("\n"));
}

#[test]
fn the_stable_service_leads_to_pods_when_the_router_is_taken_away_and_no_pod_may_be_added() {
    for steps in
        [json!([{ "setWeight": 40 }, { "pause": {} }]), json!([{ "setWeight": 100 }, { "pause": {} }])]
    {
        let canary = json!({ "maxSurge": 0, "maxUnavailable": 1, "steps": steps, "analysis": null });
        let spec = json!({ "replicas": 2, "minReadySeconds": 0, "strategy": { "canary": canary } });
        let acts = vec![
            user(5_000, Act::Release(2)),
            user(60_000, Act::Router(Router::None)),
            user(300_000, Act::PromoteFull),
        ];
        holds(world(&spec, acts));
    }
}

/// Seed 11001113: retried, and aborted once more with the record that takes the retry up.
#[test]
fn webhooks_are_told_of_each_abort_when_a_retry_is_aborted_at_once() {
    let steps = json!([{ "setWeight": 40 }, { "pause": {} }]);
    let spec = json!({ "replicas": 2, "strategy": { "canary": { "steps": steps, "analysis": null } } });
    let acts = vec![
        user(5_000, Act::Release(2)),
        (60_000, Disturbance::PodsHurt { version: 2, how: Ailment::OomKilled, seconds: 400 }),
        user(62_000, Act::Retry),
    ];
    let mut scenario = world(&spec, acts);
    scenario.webhooks = vec![Webhook { name: "hook", troubles: Vec::new() }];
    holds(scenario);
}
