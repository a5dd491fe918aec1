//! What a Rollout's spec may be, and what is said of one that can't be carried out.

#![expect(clippy::unwrap_used, reason = "the specs of these tests have the fields that they change")]

use headgate_model::spec::{
    AbortDelay, AbortPolicy, Count, Initial, OnFailure, PauseEnd, PauseLimit, PauseTimeout, PodHealth,
    PodHealthAction, Step,
};
use headgate_model::{salvage, validate};
use serde_json::{Value, json};

fn spec(canary: &Value) -> Value {
    json!({
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "app", "image": "shop:1"}]},
        },
        "strategy": {"canary": canary},
    })
}

fn routed(more: &Value) -> Value {
    let mut canary = json!({
        "canaryService": "shop-canary",
        "stableService": "shop-stable",
        "trafficRouting": {"istio": {"virtualService": {"name": "shop"}}},
    });
    canary.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    canary
}

/// The spec with the value at this pointer replaced.
fn with(mut spec: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[key] = value;
    spec
}

#[test]
fn defaults_are_those_of_argo_rollouts() {
    let spec = validate(&spec(&json!({}))).unwrap();
    assert_eq!((spec.replicas, spec.replicas_unset, spec.revision_history_limit), (1, true, 10));
    assert_eq!((spec.progress_deadline_seconds, spec.progress_deadline_abort), (600, false));
    assert_eq!(
        (spec.canary.max_surge, spec.canary.max_unavailable),
        (Count::Percent(25), Count::Percent(25))
    );
    assert_eq!((spec.successful_runs_kept, spec.unsuccessful_runs_kept), (5, 5));
    let routed = validate(&self::spec(&routed(&json!({})))).unwrap().canary.routing.unwrap();
    assert_eq!((routed.total, routed.scale_down_delay_seconds), (100, 30));
    assert_eq!((routed.abort_delay, routed.abort_delay.seconds()), (AbortDelay::Default, Some(30)));
    let never = validate(&self::spec(&self::routed(&json!({"abortScaleDownDelaySeconds": 0})))).unwrap();
    let never = never.canary.routing.unwrap().abort_delay;
    assert_eq!((never, never.seconds()), (AbortDelay::Stay, None));
}

#[test]
fn steps_are_read_in_all_their_forms() {
    let steps = json!([{"setWeight": 5}, {"pause": {}}, {"pause": {"duration": 30}}, {"pause": {"duration": "1m"}},
        {"pause": {"duration": "15"}}]);
    let seconds = |step: &Step| match step {
        Step::Pause(PauseEnd::After(duration)) => Some(duration.as_secs()),
        _ => None,
    };
    let steps = validate(&spec(&json!({"steps": steps}))).unwrap().canary.steps;
    assert_eq!(steps[..2], [Step::SetWeight(5), Step::Pause(PauseEnd::Promotion(None))]);
    assert_eq!(steps.iter().filter_map(seconds).collect::<Vec<_>>(), [30, 60, 15]);
}

#[test]
fn how_long_a_pause_waits_for_a_user_is_read_and_refused_where_it_says_nothing() {
    let read = |pause: Value| validate(&spec(&json!({ "steps": [{ "pause": pause }] })));
    for (word, then) in [
        (json!("abort"), PauseTimeout::Abort),
        (json!("promote"), PauseTimeout::Promote),
        (json!("stay"), PauseTimeout::Stay),
        (Value::Null, PauseTimeout::Stay),
    ] {
        let steps = read(json!({ "maxDuration": "2h", "onTimeout": word })).unwrap().canary.steps;
        let limit = PauseLimit { after: jiff::SignedDuration::from_hours(2), then };
        assert_eq!(steps, [Step::Pause(PauseEnd::Promotion(Some(limit)))]);
    }
    for (pause, field, said) in [
        (json!({"duration": "1h", "maxDuration": "2h"}), "maxDuration", "remove one of the two"),
        (json!({"onTimeout": "abort"}), "onTimeout", "needs maxDuration"),
        (json!({"maxDuration": "1h", "onTimeout": "panic"}), "onTimeout", "\"abort\", \"promote\", \"stay\""),
        (json!({"maxDuration": "soon"}), "maxDuration", "soon"),
    ] {
        let problem = read(pause).unwrap_err();
        assert_eq!(problem.field, format!("spec.strategy.canary.steps[0].pause.{field}"));
        assert!(problem.problem.contains(said), "{problem:?}");
    }
}

#[test]
fn an_analysis_in_the_background_that_names_no_template_is_none() {
    for analysis in [json!({}), json!({"templates": []}), json!({"args": [{"name": "a", "value": "1"}]})] {
        let spec = validate(&spec(&json!({"analysis": analysis}))).unwrap();
        assert_eq!(spec.canary.background, None, "{analysis}");
    }
}

#[test]
fn what_a_failed_analysis_leads_to_is_read_in_steps_and_in_the_background() {
    let analysis = |word: &str| json!({"templates": [{"templateName": "t"}], "onFailure": word});
    for (word, then) in [("abort", OnFailure::Abort), ("pause", OnFailure::Pause), ("hold", OnFailure::Hold)]
    {
        let canary = json!({"steps": [{"analysis": analysis(word)}], "analysis": analysis(word)});
        let canary = validate(&spec(&canary)).unwrap().canary;
        assert!(matches!(&canary.steps[..], [Step::Analysis(_, on)] if *on == then));
        assert_eq!(canary.background.unwrap().on_failure, then);
    }
    let problem = validate(&spec(&json!({"analysis": analysis("panic")}))).unwrap_err();
    assert_eq!(problem.field, "spec.strategy.canary.analysis.onFailure");
    assert!(problem.problem.contains("\"abort\", \"pause\", \"hold\""), "{problem:?}");
}

#[test]
fn a_bake_is_read_and_refused_where_no_old_pods_would_stand() {
    let read = |bake: Value, routed: bool| {
        let mut canary = json!({"canaryService": "c", "stableService": "s", "bake": bake});
        if routed {
            canary["trafficRouting"] = json!({"istio": {"virtualService": {"name": "v"}}});
        }
        validate(&spec(&canary))
    };
    let bake = read(json!({"duration": "2h", "onFailure": "rollback"}), true).unwrap().canary.bake.unwrap();
    assert_eq!((bake.duration, bake.analysis), (jiff::SignedDuration::from_hours(2), None));
    let analysis = json!({"templates": [{"templateName": "t"}], "onFailure": "hold"});
    for (bake, routed, field, said) in [
        (json!({"duration": "1h"}), false, "", "add trafficRouting"),
        (json!({}), true, ".duration", "say how long"),
        (json!({"duration": "soon"}), true, ".duration", "soon"),
        (json!({"duration": 1, "onFailure": "pause"}), true, ".onFailure", "must be \"rollback\""),
        (json!({"duration": 1, "analysis": {}}), true, ".analysis.templates", "at least one"),
        (json!({"duration": 1, "analysis": analysis}), true, ".analysis.onFailure", "always rolls back"),
    ] {
        let problem = read(bake, routed).unwrap_err();
        assert_eq!(problem.field, format!("spec.strategy.canary.bake{field}"));
        assert!(problem.problem.contains(said), "{problem:?}");
    }
    let routed = json!({"canaryService": "c", "stableService": "s", "dynamicStableScale": true,
        "trafficRouting": {"istio": {"virtualService": {"name": "v"}}}, "bake": {"duration": 1}});
    validate(&spec(&routed)).unwrap_err();
}

#[test]
fn a_first_version_is_analysed_or_not_and_nothing_else() {
    for (word, initial) in
        [(json!("analyse"), Initial::Analyse), (json!("skip"), Initial::Skip), (Value::Null, Initial::Skip)]
    {
        assert_eq!(validate(&spec(&json!({"initial": word}))).unwrap().canary.initial, initial);
    }
    let problem = validate(&spec(&json!({"initial": "analyze"}))).unwrap_err();
    assert!(problem.problem.contains("\"analyse\", \"skip\""), "{problem:?}");
}

#[test]
fn every_mistake_gets_its_field_and_how_to_mend_it() {
    let plain = || spec(&json!({"steps": [{"setWeight": 5}]}));
    let mut answers = Vec::new();
    for broken in [
        with(plain(), "/replicas", json!(-1)),
        with(plain(), "/replicas", json!("many")),
        with(plain(), "/selector", Value::Null),
        with(with(plain(), "/selector", Value::Null), "/template/metadata", json!({})),
        with(plain(), "/selector", json!({})),
        with(plain(), "/selector", json!({"matchLabels": {"app": "other"}})),
        with(plain(), "/template", Value::Null),
        with(plain(), "/template/spec/containers", json!([])),
        with(plain(), "/template/spec/containers", json!([{"name": "app"}])),
        with(plain(), "/template/spec/restartPolicy", json!("Never")),
        with(plain(), "/minReadySeconds", json!(-5)),
        with(plain(), "/progressDeadlineSeconds", json!(0)),
        with(plain(), "/revisionHistoryLimit", json!(-1)),
        with(plain(), "/strategy", json!({})),
        with(plain(), "/strategy/blueGreen", json!({"activeService": "a"})),
        with(plain(), "/strategy", json!({"blueGreen": {"activeService": "a"}})),
        with(plain(), "/workloadRef", json!({"name": "shop", "scaleDown": "slowly"})),
        spec(&json!({"maxSurge": 0, "maxUnavailable": "0%"})),
        spec(&json!({"maxSurge": "lots"})),
        spec(&json!({"canaryService": "a", "stableService": "a"})),
        spec(&json!({"scaleDownDelaySeconds": 30})),
        spec(&json!({"trafficRouting": {"istio": {"virtualService": {"name": "shop"}}}})),
        spec(&routed(&json!({"trafficRouting": {}}))),
        spec(&routed(&json!({"trafficRouting": {"alb": {"ingress": "shop", "servicePort": 80}}}))),
        spec(&routed(&json!({"trafficRouting": {"nginx": {"canaryIngressAnnotations": {"a": true}}}}))),
        spec(&routed(&json!({"trafficRouting": {"plugins": {"shop/router": {}}}}))),
        spec(&routed(
            &json!({"trafficRouting": {"plugins": {"argoproj-labs/gatewayAPI": {"grpcRoute": "shop"}}}}),
        )),
        spec(&routed(
            &json!({"trafficRouting": {"plugins": {"argoproj-labs/gatewayAPI": {"httpRouteSelector": {}}}}}),
        )),
        spec(&routed(&json!({"trafficRouting": {"plugins": {"argoproj-labs/gatewayAPI": null}}}))),
        spec(&routed(&json!({"trafficRouting": {"maxTrafficWeight": 1000}}))),
        spec(&routed(
            &json!({"trafficRouting": {"nginx": {"stableIngress": "shop"}, "maxTrafficWeight": 0}}),
        )),
        spec(&routed(&json!({"trafficRouting": {
            "istio": {"virtualService": {"name": "shop"}}, "nginx": {"stableIngress": "shop"}, "maxTrafficWeight": 1000,
        }}))),
        spec(&routed(&json!({"trafficRouting": {"istio": {"destinationRule": {"name": "shop"}}}}))),
        spec(&json!({"antiAffinity": {}})),
        spec(&json!({"antiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": {"weight": 0}}})),
        spec(&json!({"dynamicStableScale": true})),
        spec(&routed(&json!({"dynamicStableScale": true, "scaleDownDelaySeconds": 30}))),
        spec(&json!({"abort": {"policy": "stepped"}})),
        spec(&json!({"abort": "stepped"})),
        spec(&routed(&json!({"abort": {"policy": "slowly"}}))),
        spec(&json!({"canaryMetadata": {"labels": {"role!": "canary"}}})),
        spec(&json!({"canaryMetadata": {"labels": {"role": "the canary"}}})),
        spec(&json!({"canaryMetadata": {"labels": {"role": 1}}})),
        spec(&json!({"stableMetadata": {"annotations": {"example..com/note": "n"}}})),
        spec(&json!({"stableMetadata": {"annotations": {"note": "n".repeat(300_000)}}})),
        spec(&json!({"stableMetadata": {"labels": {"rollouts-pod-template-hash": "x"}}})),
        spec(&json!({"stableMetadata": {"labels": {"app": "stable"}}})),
        spec(&json!({"steps": [{"setWeight": 101}]})),
        spec(&json!({"steps": [{"setWeight": "5"}]})),
        spec(&json!({"steps": [{}]})),
        spec(&json!({"steps": [{"setWeight": 5, "pause": {}}]})),
        spec(&json!({"steps": [{"pause": {"duration": "5 minutes"}}]})),
        spec(&json!({"steps": [{"pause": {"duration": -1}}]})),
        spec(&json!({"steps": [{"setCanaryScale": {"replicas": 1}}]})),
        spec(&routed(&json!({"steps": [{"setCanaryScale": {"replicas": -1}}]}))),
        spec(&routed(&json!({"steps": [{"setCanaryScale": {"weight": -5}}]}))),
        spec(&json!({"steps": [{"setHeaderRoute": {"name": "x"}}]})),
        spec(&json!({"steps": [{"setMirrorRoute": {"name": "x"}}]})),
        spec(&json!({"steps": [{"experiment": {"templates": []}}]})),
        spec(
            &json!({"steps": [{"plugin": {"name": "argoproj-labs/step-exec", "config": {"command": "true"}}}]}),
        ),
        spec(&json!({"steps": [{"analysis": {}}]})),
        spec(&json!({"steps": [{"analysis": {"templates": [{}]}}]})),
        spec(&json!({"analysis": {"templates": [{"templateName": "x"}], "startingStep": -1}})),
        spec(&json!({"replicaProgressThreshold": {"type": "Percent", "value": 0}})),
        spec(&json!({"replicaProgressThreshold": {"type": "Share", "value": 1}})),
    ] {
        answers.push(validate(&broken).unwrap_err().to_string());
    }
    insta::assert_snapshot!(answers.join("\n\n"));
}

#[test]
fn what_argo_rollouts_takes_without_a_word_counts_as_it_does_there() {
    use headgate_model::spec::CanaryScale;
    let scales = json!([
        {"setCanaryScale": {"weight": 5, "replicas": 1}},
        {"setCanaryScale": {"matchTrafficWeight": true, "replicas": 1}},
        {"setCanaryScale": {"weight": 150}},
        {"setCanaryScale": {"matchTrafficWeight": false}},
        {"setCanaryScale": {}},
    ]);
    let analysis = json!({"templates": [{"templateName": "x"}], "startingStep": 9});
    let canary = json!({"steps": scales, "maxUnavailable": "120%", "analysis": analysis});
    let spec = validate(&spec(&routed(&canary))).unwrap();
    let scales = [
        CanaryScale::Replicas(1),
        CanaryScale::MatchTrafficWeight,
        CanaryScale::Weight(150),
        CanaryScale::MatchTrafficWeight,
        CanaryScale::MatchTrafficWeight,
    ];
    assert_eq!(spec.canary.steps, scales.map(Step::SetCanaryScale));
    assert_eq!(spec.canary.max_unavailable, Count::Percent(100));
    assert_eq!(spec.canary.background.unwrap().starting_step, 9);
}

#[test]
fn the_weight_that_means_all_traffic_bounds_the_steps() {
    let gateway = json!({"argoproj-labs/gatewayAPI": {"httpRoute": "shop"}});
    let canary = routed(&json!({
        "trafficRouting": {"plugins": gateway, "nginx": {"stableIngress": "shop"}, "maxTrafficWeight": 1000},
        "steps": [{"setWeight": 5}, {"setWeight": 1000}],
    }));
    let read = validate(&spec(&canary)).unwrap().canary;
    let routing = read.routing.unwrap();
    assert_eq!(routing.total, 1000);
    assert_eq!(routing.routers.keys().copied().collect::<Vec<_>>(), ["gateway-api", "nginx"]);
    let salvaged =
        salvage(&with(spec(&canary), "/strategy/canary/minPodsPerReplicaSet", json!(-1)), 3).unwrap();
    assert_eq!(salvaged.canary.routing.unwrap().total, 1000, "also of a spec that is invalid elsewhere");
}

#[test]
fn what_an_abort_needs_is_read_from_an_invalid_spec() {
    let analysis = json!({"templates": [{"templateName": "errors"}], "onFailure": "hold"});
    let broken = spec(&routed(&json!({
        "steps": [{"setWeight": 500}, {"analysis": analysis}],
        "analysis": analysis,
        "abortScaleDownDelaySeconds": 7,
        "abort": {"policy": "stepped"},
    })));
    let salvaged = salvage(&with(broken, "/replicas", json!(6)), 3).unwrap();
    assert_eq!(salvaged.replicas, 6);
    assert!(matches!(salvaged.canary.steps[..], [Step::Pause(_), Step::Analysis(_, OnFailure::Hold)]));
    assert_eq!(salvaged.canary.background.unwrap().on_failure, OnFailure::Hold);
    assert_eq!(salvaged.canary.abort_policy, AbortPolicy::Stepped);
    assert_eq!(salvaged.canary.canary_service.as_deref(), Some("shop-canary"));
    assert_eq!(salvaged.canary.routing.unwrap().abort_delay, AbortDelay::After(7));
    assert_eq!(salvaged.rollback_window, 0);
    assert_eq!(salvage(&json!({"strategy": {"blueGreen": {}}}), 3), None);
    for (window, expected) in [(json!({"revisions": 3}), 3), (json!({"revisions": "three"}), i32::MAX)] {
        let broken = with(with(spec(&routed(&json!({}))), "/replicas", json!(-1)), "/rollbackWindow", window);
        assert_eq!(salvage(&broken, 3).unwrap().rollback_window, expected);
    }
}

#[test]
fn metadata_of_roles_is_read_and_may_repeat_what_the_selector_asks_for() {
    let canary = json!({
        "canaryMetadata": {"labels": {"example.com/role": "canary", "app": "shop", "empty": ""}, "annotations": null},
        "stableMetadata": {"annotations": {"note": "any text: \u{e9}"}},
    });
    let read = validate(&spec(&canary)).unwrap().canary;
    assert_eq!(
        read.canary_metadata.json().as_deref(),
        Some(r#"{"labels":{"app":"shop","empty":"","example.com/role":"canary"}}"#)
    );
    assert_eq!(read.stable_metadata.annotations["note"], "any text: \u{e9}");
    assert!(validate(&spec(&json!({"canaryMetadata": {}}))).unwrap().canary.canary_metadata.is_empty());
}

#[test]
fn pod_health_is_read_with_its_defaults_and_refused_out_of_its_ranges() {
    let read = |pod_health: Value| validate(&spec(&json!({ "podHealth": pod_health })));
    assert_eq!(read(Value::Null).unwrap().canary.pod_health, PodHealth::default());
    let all = json!({"action": "pause", "failedProbes": 10, "maxRestarts": 0, "restartWindowSeconds": 60,
        "maxOomKills": 2, "imagePullSeconds": 600});
    let wanted = PodHealth {
        action: Some(PodHealthAction::Pause),
        failed_probes: 10,
        max_restarts: 0,
        restart_window_seconds: 60,
        max_oom_kills: 2,
        image_pull_seconds: 600,
    };
    assert_eq!(read(all).unwrap().canary.pod_health, wanted);
    for (written, field, said) in [
        (json!({"action": "stop"}), "podHealth.action", "supported values: \"abort\", \"pause\", \"off\""),
        (json!({"action": false}), "podHealth.action", "expected a string"),
        (json!({"failedProbes": 0}), "podHealth.failedProbes", "must be between 1 and 1000"),
        (json!({"maxRestarts": 31}), "podHealth.maxRestarts", "must be between 0 and 30"),
        (json!({"restartWindowSeconds": 0}), "podHealth.restartWindowSeconds", "between 1 and 86400"),
        (json!({"maxOomKills": -1}), "podHealth.maxOomKills", "must be between 0 and 30"),
        (json!({"imagePullSeconds": "2m"}), "podHealth.imagePullSeconds", "invalid type"),
        (json!(true), "podHealth", "must be an object"),
    ] {
        let problem = read(written.clone()).unwrap_err();
        assert!(problem.field.ends_with(field), "{written}: {problem}");
        assert!(problem.problem.contains(said), "{written}: {problem}");
    }
}

#[test]
fn where_nobody_can_say_what_is_wanted_of_pods_an_invalid_spec_aborts_nothing() {
    let salvaged = |pod_health: Value| {
        let broken = with(spec(&routed(&json!({ "podHealth": pod_health }))), "/minReadySeconds", json!(-1));
        salvage(&broken, 1).unwrap().canary
    };
    assert_eq!(salvaged(json!({"maxRestarts": 2})).pod_health.max_restarts, 2);
    let unreadable = salvaged(json!({"action": "stop"}));
    assert_eq!(unreadable.pod_health.action, Some(PodHealthAction::Off));
    assert!(unreadable.routing.unwrap().routers.contains_key("istio"), "the rest is read all the same");
}

#[test]
fn a_stable_version_that_shrinks_with_its_weight_has_no_delay_of_its_own() {
    let routing = |canary: Value| validate(&spec(&routed(&canary))).unwrap().canary.routing.unwrap();
    let dynamic = routing(json!({"dynamicStableScale": true}));
    assert!(dynamic.dynamic_stable_scale);
    assert_eq!(dynamic.scale_down_delay_seconds, 0);
    let off = routing(json!({"dynamicStableScale": false, "scaleDownDelaySeconds": 30}));
    assert!(!off.dynamic_stable_scale);
    assert!(validate(&spec(&json!({"dynamicStableScale": false}))).is_ok());
    let broken = with(spec(&routed(&json!({"dynamicStableScale": true}))), "/minReadySeconds", json!(-1));
    assert!(salvage(&broken, 1).unwrap().canary.routing.unwrap().dynamic_stable_scale);
}

#[test]
fn each_way_back_after_an_abort_is_read_and_instant_is_the_default() {
    let policy =
        |abort: Value| validate(&spec(&routed(&json!({ "abort": abort })))).unwrap().canary.abort_policy;
    assert_eq!(policy(Value::Null), AbortPolicy::Instant);
    assert_eq!(policy(json!({})), AbortPolicy::Instant);
    assert_eq!(policy(json!({"policy": "instant"})), AbortPolicy::Instant);
    assert_eq!(policy(json!({"policy": "stepped"})), AbortPolicy::Stepped);
    assert_eq!(policy(json!({"policy": "asCapacityAllows"})), AbortPolicy::AsCapacityAllows);
    assert!(validate(&spec(&json!({"abort": {"policy": "instant"}}))).is_ok(), "it needs no router");
}
