//! What is refused when it is applied, with which words, and what is not.

use crate::support::{manifests, schemas};
use headgate_api::DurationOrSeconds;
use kube_cel::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What the rules say of a Rollout's spec: `path: message`, one a line.
fn answers(spec: &Value, old_spec: Option<&Value>) -> Vec<String> {
    let object = json!({ "spec": spec });
    let old_object = old_spec.map(|spec| json!({ "spec": spec }));
    let errors = Validator::new().validate(&schemas()["Rollout"], &object, old_object.as_ref()).err();
    let errors = errors.map(kube_cel::ValidationErrors::into_vec).unwrap_or_default();
    errors.into_iter().map(|error| format!("{}: {}", error.field_path, error.message)).collect()
}

fn check(strategy: &str, wanted: &[&str]) {
    let strategy: Value = serde_saphyr::from_str(strategy).unwrap();
    assert_eq!(answers(&json!({ "strategy": strategy }), None), wanted, "{strategy:#}");
}

#[test]
fn a_strategy_is_exactly_one_of_two() {
    let message = "spec.strategy: write exactly one of canary and blueGreen";
    check("{}", &[message]);
    check("{canary: {}, blueGreen: {activeService: a}}", &[message]);
    check("{canary: {}}", &[]);
    check("{blueGreen: {activeService: a}}", &[]);
}

#[test]
fn blue_green_names_two_services() {
    check(
        "{blueGreen: {activeService: a, previewService: a}}",
        &[
            "spec.strategy.blueGreen: previewService and activeService are the same: name two Services, or leave previewService out",
        ],
    );
    check("{blueGreen: {activeService: a, previewService: ''}}", &[]);
    check("{blueGreen: {activeService: a, previewService: b}}", &[]);
}

#[test]
fn canary_names_two_services() {
    check(
        "{canary: {canaryService: a, stableService: a}}",
        &["spec.strategy.canary: canaryService and stableService are the same: name two Services"],
    );
    check("{canary: {canaryService: '', stableService: ''}}", &[]);
    check(
        "{canary: {pingPong: {pingService: a, pongService: a}}}",
        &["spec.strategy.canary.pingPong: pingService and pongService must name two different Services"],
    );
}

#[test]
fn a_step_does_one_thing() {
    let nothing = "the step does nothing: write one of setWeight, pause, analysis, experiment, setCanaryScale, setHeaderRoute, setMirrorRoute and plugin";
    let several = "the step does several things: write setWeight, pause, analysis and experiment as steps of their own, each with its own dash";
    check("{canary: {steps: [{}]}}", &[&format!("spec.strategy.canary.steps[0]: {nothing}")]);
    check(
        "{canary: {steps: [{pause: {}}, {setWeight: 5, pause: {}}]}}",
        &[&format!("spec.strategy.canary.steps[1]: {several}")],
    );
    check(
        "{canary: {steps: [{setWeight: 0}, {pause: {}}, {analysis: {}}, {experiment: {templates: []}}, {plugin: {name: a}}]}}",
        &[],
    );
}

#[test]
fn a_weight_is_at_most_the_maximum() {
    check(
        "{canary: {steps: [{setWeight: 101}]}}",
        &[
            "spec.strategy.canary: a setWeight step is above 100: write 0 to 100, or set trafficRouting.maxTrafficWeight",
        ],
    );
    check(
        "{canary: {trafficRouting: {nginx: {stableIngress: a}, maxTrafficWeight: 1000}, steps: [{setWeight: 1001}]}}",
        &[
            "spec.strategy.canary: a setWeight step is above trafficRouting.maxTrafficWeight: lower the step or raise the maximum",
        ],
    );
    check(
        "{canary: {trafficRouting: {nginx: {stableIngress: a}, maxTrafficWeight: 1000}, steps: [{setWeight: 1000}]}}",
        &[],
    );
    check(
        "{canary: {trafficRouting: {istio: {virtualService: {name: a}}, maxTrafficWeight: 1000}}}",
        &[
            "spec.strategy.canary.trafficRouting: maxTrafficWeight works with nginx and plugins only: remove it and write weights of 0 to 100",
        ],
    );
    check("{canary: {trafficRouting: {plugins: {}, maxTrafficWeight: 1000}}}", &[]);
}

#[test]
fn what_needs_traffic_routing_is_refused_without_it() {
    let steps = "spec.strategy.canary: setCanaryScale, setHeaderRoute and setMirrorRoute steps need trafficRouting: remove them, or say what routes the traffic";
    check("{canary: {steps: [{pause: {}}, {setCanaryScale: {replicas: 1}}]}}", &[steps]);
    check("{canary: {steps: [{setHeaderRoute: {name: a}}]}}", &[steps]);
    check("{canary: {trafficRouting: {}, steps: [{setCanaryScale: {replicas: 1}}]}}", &[]);
    check(
        "{canary: {scaleDownDelaySeconds: 0}}",
        &[
            "spec.strategy.canary: scaleDownDelaySeconds needs trafficRouting: remove it, or say what routes the traffic",
        ],
    );
    check(
        "{canary: {dynamicStableScale: true}}",
        &[
            "spec.strategy.canary: dynamicStableScale needs trafficRouting: remove it, or say what routes the traffic",
        ],
    );
    check("{canary: {dynamicStableScale: false}}", &[]);
    check(
        "{canary: {trafficRouting: {}, dynamicStableScale: true, scaleDownDelaySeconds: 30}}",
        &[
            "spec.strategy.canary: dynamicStableScale scales down with the traffic: remove scaleDownDelaySeconds, or dynamicStableScale",
        ],
    );
    check("{canary: {trafficRouting: {}, dynamicStableScale: false, scaleDownDelaySeconds: 30}}", &[]);
}

#[test]
fn a_pod_must_be_replaceable() {
    let message = "spec.strategy.canary: maxSurge and maxUnavailable are both 0, so that no pod could be replaced: raise one of them";
    check("{canary: {maxSurge: 0, maxUnavailable: 0%}}", &[message]);
    check("{canary: {maxSurge: '0', maxUnavailable: 0}}", &[message]);
    check("{canary: {maxSurge: 0}}", &[]);
    check("{canary: {maxSurge: 0, maxUnavailable: 1}}", &[]);
}

#[test]
fn a_router_has_one_way_to_name_its_objects() {
    let at = "spec.strategy.canary.trafficRouting";
    let istio = format!("{at}.istio: write exactly one of virtualService and virtualServices");
    check("{canary: {trafficRouting: {istio: {}}}}", &[&istio]);
    check(
        "{canary: {trafficRouting: {istio: {virtualService: {name: a}, virtualServices: [{name: b}]}}}}",
        &[&istio],
    );
    check("{canary: {trafficRouting: {istio: {virtualService: {name: a}, virtualServices: []}}}}", &[]);
    check("{canary: {trafficRouting: {istio: {virtualServices: [{name: b}]}}}}", &[]);
    let nginx = format!("{at}.nginx: write exactly one of stableIngress and stableIngresses");
    check("{canary: {trafficRouting: {nginx: {}}}}", &[&nginx]);
    check("{canary: {trafficRouting: {nginx: {stableIngress: a, stableIngresses: [b]}}}}", &[&nginx]);
    check("{canary: {trafficRouting: {nginx: {stableIngress: '', stableIngresses: [b]}}}}", &[]);
    let alb = format!("{at}.alb: write exactly one of ingress and ingresses");
    check("{canary: {trafficRouting: {alb: {servicePort: 80}}}}", &[&alb]);
    check("{canary: {trafficRouting: {alb: {servicePort: 80, ingress: a}}}}", &[]);
}

#[test]
fn anti_affinity_is_preferred_or_required() {
    let message = "write exactly one of preferredDuringSchedulingIgnoredDuringExecution and requiredDuringSchedulingIgnoredDuringExecution";
    check("{canary: {antiAffinity: {}}}", &[&format!("spec.strategy.canary.antiAffinity: {message}")]);
    check(
        "{blueGreen: {activeService: a, antiAffinity: {}}}",
        &[&format!("spec.strategy.blueGreen.antiAffinity: {message}")],
    );
    check("{canary: {antiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}}}}", &[]);
}

#[test]
fn the_deadline_is_longer_than_the_time_to_be_ready() {
    let message = "spec: progressDeadlineSeconds (default 600) must be greater than minReadySeconds: raise the one or lower the other";
    assert_eq!(answers(&json!({"minReadySeconds": 600}), None), [message]);
    assert_eq!(answers(&json!({"progressDeadlineSeconds": 0}), None), [message]);
    assert_eq!(answers(&json!({"minReadySeconds": 599}), None), [""; 0]);
}

#[test]
fn a_selector_stays_as_it_is_but_may_be_left_out() {
    let old = json!({"selector": {"matchLabels": {"app": "a"}}});
    let new = json!({"selector": {"matchLabels": {"app": "b"}}});
    let message = "spec.selector: the selector can't be changed: it says which pods are this Rollout's; create a Rollout with another name instead";
    assert_eq!(answers(&new, Some(&old)), [message]);
    assert_eq!(answers(&old, Some(&old)), [""; 0]);
    assert_eq!(answers(&json!({}), Some(&old)), [""; 0], "on the way to a workloadRef");
    assert_eq!(answers(&new, Some(&json!({}))), [""; 0], "mending a Rollout without one");
}

/// The controller answers these in the status, naming the lines to add.
#[test]
fn a_rollout_as_tutorials_print_it_is_accepted() {
    let spec = json!({"replicas": 5, "strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}}, "template": {}});
    assert_eq!(answers(&spec, None), [""; 0]);
}

#[test]
fn what_argo_rollouts_has_accepted_is_accepted() {
    for manifest in manifests() {
        let kind = manifest["kind"].as_str().unwrap();
        // The fixture that has every field contradicts itself.
        if manifest["metadata"]["name"] != "everything" {
            Validator::new().validate(&schemas()[kind], &manifest, None).unwrap();
        }
    }
}

/// The text of a pause's duration and whether the schema accepts it.
fn duration_matches(text: &str) -> bool {
    let schema =
        &schemas()["Rollout"]["properties"]["spec"]["properties"]["strategy"]["properties"]["canary"];
    let duration = &schema["properties"]["steps"]["items"]["properties"]["pause"]["properties"]["duration"];
    regex::Regex::new(duration["pattern"].as_str().unwrap()).unwrap().is_match(text)
}

#[test]
fn the_schema_knows_which_durations_a_pause_may_have() {
    for good in ["0", "30", "+30", "30s", "1h30m", "1.5h", ".5s", "1.s", "100ms", "1µs", "+2m"] {
        assert!(duration_matches(good), "{good}");
    }
    for bad in ["", "s", "30 s", "-5s", "-5", "1d", "1h30", "5M", "forever"] {
        assert!(!duration_matches(bad), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_schema_and_the_parser_agree_on_durations(text in r"[+-]?([0-9]{0,3}(\.[0-9]{0,2})?(ns|us|µs|ms|s|m|h|d|)){0,3}") {
        let parsed = DurationOrSeconds::Text(text.clone()).parse();
        // -0 and -0.1s are 0 seconds to the parser, as in Go; nobody writes them.
        prop_assume!(!text.starts_with('-') || parsed.is_err());
        prop_assert_eq!(duration_matches(&text), parsed.is_ok(), "{:?}: {:?}", text, parsed);
    }
}
