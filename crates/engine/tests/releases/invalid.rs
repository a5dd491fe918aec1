//! Specs that can't be carried out: nothing moves, it is said what to mend, and it heals by itself.

use crate::world::{World, pod_template, routed, spec};
use headgate_model::{Effect, EffectKey, Failure, FailureClass, Observed, RouterProblem, TemplateKey, Verb};
use serde_json::json;

fn running() -> World {
    World::running(spec(4, routed(json!([{"setWeight": 25}, {"pause": {}}]))))
}

fn invalid(world: &World) -> &str {
    assert_eq!((world.phase(), world.waits_for()), ("Degraded", "MendSpec"));
    assert_eq!(world.condition("InvalidSpec"), ("True".to_owned(), "InvalidSpec".to_owned()));
    assert_eq!(world.status().observed_generation, world.snapshot.rollout.generation.to_string());
    &world.status().message
}

#[test]
fn a_wrong_spec_is_told_and_heals_when_mended() {
    let mut world = running();
    world.release(2);
    world.edit(|spec| spec["strategy"]["canary"]["steps"][0]["setWeight"] = json!(150));
    world.settle();
    assert_eq!(
        invalid(&world),
        "InvalidSpec: The Rollout \"shop\" is invalid: spec.strategy.canary.steps[0].setWeight: Invalid value: 150: \
         SetWeight needs to be between 0 and 100"
    );
    assert!(world.events.iter().any(|event| event.starts_with("InvalidSpec: ")));
    assert_eq!(world.sets().len(), 1, "nothing moves");
    world.edit(|spec| spec["strategy"]["canary"]["steps"][0]["setWeight"] = json!(25));
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.pods(2)), ("Paused", 25, 1));
    assert_eq!(world.condition("InvalidSpec"), Default::default());
}

#[test]
fn a_missing_service_is_named_and_the_release_goes_on_when_it_is_there() {
    let mut world = running();
    world.snapshot.services.insert("shop-canary".into(), Observed::Absent);
    world.release(2);
    world.settle();
    assert!(
        invalid(&world)
            .contains("spec.strategy.canary.canaryService: Invalid value: \"shop-canary\": service")
    );
    // The template that came with the invalid spec is not lost, although its generation counts as observed.
    world.add_service("shop-canary");
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.pods(2)), ("Paused", 25, 1));
}

#[test]
fn a_full_promotion_that_waits_for_the_spec_to_be_mended_is_not_lost() {
    let steps = json!([{"setWeight": 25}, {"analysis": {"templates": [{"templateName": "errors"}]}}]);
    let key = TemplateKey::Namespaced("errors".into());
    for is_aborted in [true, false] {
        let mut world = World::running(spec(4, routed(steps.clone())));
        world.add_template(
            "errors",
            json!({"metrics": [{"name": "a", "provider": {"prometheus": {"query": "a"}}}]}),
        );
        world.release(2);
        world.settle();
        let run = format!("shop-{}-2-1", world.hash(2));
        if is_aborted {
            world.abort();
            world.settle();
        }
        let template = world.snapshot.templates.insert(key.clone(), Observed::Absent).unwrap();
        world.settle();
        invalid(&world);
        world.promote_full();
        world.settle();
        if !is_aborted {
            world.verdict(&run, headgate_api::AnalysisPhase::Failed, "too many errors");
            world.settle();
        }
        world.snapshot.templates.insert(key.clone(), template);
        world.settle_over_time();
        assert_eq!(world.status().stable_rs, world.hash(2), "aborted: {is_aborted}");
    }
}

#[test]
fn a_missing_template_is_named_and_an_unknown_one_is_waited_for() {
    let steps = json!([{"setWeight": 25}, {"analysis": {"templates": [{"templateName": "errors"}]}}]);
    let mut world = World::new(spec(2, routed(steps)));
    let key = TemplateKey::Namespaced("errors".into());
    world.snapshot.templates.insert(key.clone(), Observed::Unknown);
    world.settle();
    assert_eq!(world.phase(), "Healthy");
    world.snapshot.templates.insert(key, Observed::Absent);
    world.settle();
    assert!(invalid(&world).contains("\"errors\""), "{}", world.status().message);
    assert!(invalid(&world).contains("spec.strategy.canary.steps[1].analysis.templates"));
    let metric = json!({"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "q"}}});
    world.add_template("errors", json!({"metrics": [metric]}));
    world.settle();
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn a_service_must_select_the_pods_and_belong_to_nobody_else() {
    let mut world = running();
    let service = |world: &mut World, key: &str, value: &str, manager: Option<&str>| {
        world.add_service("shop-stable");
        let Some(Observed::Present(service)) = world.snapshot.services.get_mut("shop-stable") else {
            panic!("added")
        };
        service.selector.insert(key.into(), value.into());
        service.managed_by = manager.map(str::to_owned);
    };
    service(&mut world, "tier", "web", None);
    world.settle();
    assert!(invalid(&world).contains("asks for tier=web, the pods have no such label"));
    service(&mut world, "app", "shop", Some("other"));
    world.settle();
    assert!(invalid(&world).contains("already managed by another Rollout \"other\""));
    service(&mut world, "app", "shop", Some("shop"));
    world.settle();
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn an_abort_works_although_the_spec_is_invalid() {
    let mut world = running();
    world.release(2);
    world.settle();
    assert_eq!(world.weight(), 25);
    // A later template and wrong steps at once: the abort is about the version that is out.
    world.release(3);
    world.edit(|spec| spec["strategy"]["canary"]["steps"][0] = json!({}));
    world.abort();
    world.settle_over_time();
    assert!(invalid(&world).contains("Step must have exactly one of the following set"));
    assert!(
        invalid(&world).ends_with("; Rollout aborted update to revision 2 at weight 25"),
        "{}",
        invalid(&world)
    );
    assert_eq!((world.weight(), world.pods(1), world.pods(2), world.pods(3)), (0, 4, 0, 0));
    world.edit(|spec| spec["strategy"]["canary"]["steps"][0] = json!({"setWeight": 50}));
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.pods(3)), ("Paused", 50, 2));
}

#[test]
fn an_abort_ends_the_way_back_that_an_undo_has_begun_although_the_spec_is_invalid() {
    let mut world = running();
    world.release(2);
    world.settle();
    world.release(1);
    let undo = world.decide();
    world.carry_out(&undo, 0);
    world.edit(|spec| spec["strategy"]["canary"]["steps"][0]["setWeight"] = json!(150));
    world.settle_over_time();
    assert_eq!((world.weight(), world.waits_for()), (25, "MendSpec"), "all stays as it is");
    world.abort();
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(2), world.waits_for()), (0, 0, "MendSpec"));
    world.edit(|spec| spec["strategy"]["canary"]["steps"][0]["setWeight"] = json!(25));
    world.settle_over_time();
    assert_eq!((world.phase(), world.status().abort), ("Healthy", false));
}

#[test]
fn a_broken_router_is_named_and_a_route_that_is_not_read_yet_is_waited_for() {
    let mut world = running();
    world.release(2);
    world.settle();
    let good = world.snapshot.routers[1].state.clone();
    world.snapshot.routers[1].state = Err(RouterProblem::Invalid {
        field: "spec.strategy.canary.trafficRouting.istio.virtualService".into(),
        message: "VirtualService shop has no route".into(),
    });
    world.settle();
    assert!(invalid(&world).ends_with("VirtualService shop has no route"));
    let kind = headgate_model::Kind { group: "", version: "v1", kind: "Service", plural: "services" };
    let object = headgate_model::ObjectKey { kind, namespace: "store".into(), name: "shop".into() };
    world.snapshot.routers[1].state = Err(RouterProblem::Unknown(object));
    world.promote();
    world.settle();
    assert_eq!((world.phase(), world.waits_for()), ("Progressing", "RouteConfirmed"));
    assert!(world.status().stable_rs != world.status().current_pod_hash, "nobody knows what the route gives");
    world.snapshot.routers[1].state = good;
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight()), ("Healthy", 0));
}

#[test]
fn what_was_not_looked_at_changes_nothing() {
    let mut world = running();
    let before = world.status().clone();
    world.release(2);
    let sets = std::mem::take(&mut world.snapshot.replica_sets);
    let decision = world.snapshot.clone();
    let decision = headgate_engine::decide(&decision, world.now);
    assert_eq!((decision.record, decision.effects, decision.wake_at), (before, vec![], None));
    world.snapshot.replica_sets = sets;
    world.settle();
    assert_eq!(world.phase(), "Paused");
}

#[test]
fn features_that_are_not_carried_out_yet_are_refused_and_touch_nothing() {
    let mut world = running();
    let before = world.sets().to_vec();
    for (pointer, value) in [
        ("/strategy/canary/pingPong", json!({"pingService": "a", "pongService": "b"})),
        ("/strategy/canary/trafficRouting/alb", json!({"ingress": "shop", "servicePort": 80})),
        ("/strategy/canary/steps/0", json!({"setHeaderRoute": {"name": "x"}})),
    ] {
        let original = world.snapshot.rollout.spec_raw.clone();
        world.edit(|spec| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let parent = spec.pointer_mut(parent).unwrap();
            match parent {
                serde_json::Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
                other => other[key] = value,
            }
        });
        world.settle();
        assert!(invalid(&world).contains("Forbidden: not supported by this version of Headgate yet: remove"));
        world.edit(|spec| *spec = original);
        world.settle();
        assert_eq!((world.phase(), world.sets()), ("Healthy", before.as_slice()), "{pointer}");
    }
}

#[test]
fn a_strategy_that_becomes_blue_green_in_the_middle_moves_nothing_and_the_release_goes_on_when_it_is_back() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}, {"pause": {}}]))));
    world.release(2);
    world.settle();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (50, 4, 2));
    let canary = world.snapshot.rollout.spec_raw["strategy"].clone();
    world.edit(|spec| spec["strategy"] = json!({"blueGreen": {"activeService": "shop-stable"}}));
    world.settle_over_time();
    assert!(invalid(&world).contains("spec.strategy.blueGreen"), "{}", world.status().message);
    world.abort();
    world.settle_over_time();
    assert!(invalid(&world).contains("spec.strategy.blueGreen"), "{}", world.status().message);
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (50, 4, 2));
    // The abort is not lost: it is what comes of the release as soon as somebody can carry it out.
    world.edit(|spec| spec["strategy"] = canary);
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight(), world.pods(1), world.pods(2)), ("Degraded", 0, 4, 0));
}

#[test]
fn time_with_an_invalid_spec_does_not_count_towards_the_deadline() {
    let mut world = running();
    world.edit(|spec| spec["progressDeadlineAbort"] = json!(true));
    let second = world.hash(2);
    world.broken.insert(second);
    world.release(2);
    world.settle();
    world.snapshot.services.insert("shop-canary".into(), Observed::Absent);
    world.settle();
    world.pass(3_600);
    world.add_service("shop-canary");
    world.settle();
    assert_eq!((world.phase(), world.waits_for()), ("Progressing", "PodsAvailable"));
    world.broken.clear();
    world.settle();
    assert_eq!(world.phase(), "Paused");
}

/// Version 2's ReplicaSet is refused from the start until ten minutes have passed.
fn refused(world: &mut World) -> EffectKey {
    world.release(2);
    let key = EffectKey { verb: Verb::CreateReplicaSet, object: format!("shop-{}", world.hash(2)) };
    let decision = world.decide();
    world.carry_out(&decision, 0);
    let failure = Failure {
        class: FailureClass::Forbidden,
        message: "exceeded quota: replicasets".to_owned(),
        since: world.now,
        attempts: 1,
        told: false,
        held: Vec::new(),
    };
    world.snapshot.failures.insert(key.clone(), failure);
    // The API server refuses: nothing but the record is carried out.
    for seconds in [0, 1, 600] {
        world.pass(seconds);
        let decision = world.decide();
        world.carry_out(&decision, 0);
    }
    key
}

#[test]
fn a_replica_set_that_is_refused_is_told_and_overdue_at_the_deadline() {
    let mut world = running();
    let key = refused(&mut world);
    assert_eq!((world.phase(), world.waits_for()), ("Degraded", "ApiServer"));
    assert!(
        world.events.iter().any(|event| event.starts_with("ReplicaSetCreateError: ")),
        "{:?}",
        world.events
    );
    world.snapshot.failures.remove(&key);
    world.settle();
    assert_eq!(world.phase(), "Paused");
}

#[test]
fn stable_follows_the_number_while_the_new_replica_set_is_refused() {
    for canary in [routed(json!([{"setWeight": 50}, {"pause": {}}])), json!({"steps": [{"setWeight": 50}]})] {
        let mut world = World::running(spec(4, canary));
        let key = refused(&mut world);
        world.snapshot.failures.remove(&key);
        let refused_again = |world: &mut World| {
            let mut decision = world.decide();
            decision.effects.retain(|effect| !matches!(effect, Effect::CreateReplicaSet { .. }));
            world.carry_out(&decision, decision.effects.len());
            world.kubelet();
        };
        for replicas in [8, 3] {
            world.scale(replicas);
            (0..20).for_each(|_| refused_again(&mut world));
            assert_eq!(world.pods(1), replicas);
        }
    }
}

#[test]
fn no_step_begins_before_there_is_a_replica_set() {
    let analysis = json!({"templates": [{"templateName": "errors"}]});
    for first in [json!({"pause": {}}), json!({"pause": {"duration": "1m"}}), json!({"analysis": analysis})] {
        let mut world = World::new(spec(4, routed(json!([first, {"setWeight": 50}, {"pause": {}}]))));
        let metric =
            json!({"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "errors"}}});
        world.add_template("errors", json!({ "metrics": [metric] }));
        world.settle_over_time();
        assert_eq!(world.phase(), "Healthy");
        let key = refused(&mut world);
        assert_eq!((world.phase(), world.status().current_step_index), ("Degraded", Some(0)), "{first}");
        assert!(
            world.status().pause_conditions.is_empty()
                && world.snapshot.analysis_runs.present().unwrap().is_empty()
        );
        world.snapshot.failures.remove(&key);
        world.settle();
        assert_ne!(world.phase(), "Degraded", "{first}");
    }
}

#[test]
fn while_a_spec_is_wrong_a_failed_analysis_does_what_its_step_says() {
    use headgate_api::AnalysisPhase;
    for (word, phase, weight) in
        [("pause", "Paused", 25), ("hold", "Progressing", 25), ("abort", "Degraded", 0)]
    {
        let analysis = json!({"templates": [{"templateName": "errors"}], "onFailure": word});
        let steps = json!([{"setWeight": 25}, {"analysis": analysis}, {"setWeight": 50}, {"pause": {}}]);
        let mut world = World::new(spec(4, routed(steps)));
        world.add_template(
            "errors",
            json!({"metrics": [{"name": "errors",
            "provider": {"prometheus": {"address": "http://p", "query": "errors"}}}]}),
        );
        world.settle();
        world.release(2);
        world.settle();
        world.edit(|spec| spec["minReadySeconds"] = json!(-1));
        world.settle();
        let name = format!("shop-{}-2-1", world.hash(2));
        world.verdict(&name, AnalysisPhase::Failed, "too many errors");
        world.settle();
        assert_eq!((world.phase(), world.weight()), ("Degraded", weight), "{word}");
        world.edit(|spec| spec["minReadySeconds"] = json!(0));
        world.settle();
        assert_eq!((world.phase(), world.weight()), (phase, weight), "{word}");
        let told = world.status().message.contains("at step 2/4, weight 25");
        assert_eq!(told, word == "abort", "{}", world.status().message);
    }
}

#[test]
fn a_word_under_on_failure_that_nobody_can_read_aborts_nothing() {
    use headgate_api::AnalysisPhase;
    let analysis = json!({"templates": [{"templateName": "errors"}], "onFailure": "pause"});
    for place in ["/strategy/canary/analysis/onFailure", "/strategy/canary/steps/1/analysis/onFailure"] {
        let mut canary = routed(json!([{"setWeight": 25}, {"pause": {}}]));
        if place.contains("steps") {
            canary["steps"][1] = json!({ "analysis": analysis });
        } else {
            canary["analysis"] = analysis.clone();
        }
        let mut world = World::new(spec(4, canary));
        let metric =
            json!({"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "errors"}}});
        world.add_template("errors", json!({ "metrics": [metric] }));
        world.settle();
        world.release(2);
        world.settle();
        let name = world.runs_mut().last().unwrap().name.clone();
        world.edit(|spec| *spec.pointer_mut(place).unwrap() = json!("paus"));
        world.settle();
        world.verdict(&name, AnalysisPhase::Failed, "too many errors");
        world.settle();
        assert_eq!(
            (world.waits_for(), world.status().abort, world.weight()),
            ("MendSpec", false, 25),
            "{place}"
        );
        world.edit(|spec| *spec.pointer_mut(place).unwrap() = json!("pause"));
        world.settle();
        assert_eq!((world.phase(), world.waits_for()), ("Paused", "AnalysisFailed"), "{place}");
    }
}

#[test]
fn of_a_template_with_a_malformed_quantity_what_can_be_read_is_rolled_out_and_the_user_is_told() {
    let mut world = World::running(spec(2, json!({"steps": [{"setWeight": 50}]})));
    let resources = json!({"limits": {"cpu": "1", "memory": "invalid"}});
    world.edit(|spec| {
        spec["template"] = pod_template(2);
        spec["template"]["spec"]["containers"][0]["resources"] = resources.clone();
    });
    world.settle_over_time();
    assert_eq!(
        (world.phase(), world.status().stable_rs.clone()),
        ("Healthy", world.status().current_pod_hash.clone())
    );
    let stable = world.status().stable_rs.clone();
    let set = world.sets().iter().find(|set| set.hash() == stable).unwrap();
    assert_eq!(set.template["spec"]["containers"][0]["resources"], json!({"limits": {"cpu": "1"}}));
    let told: Vec<_> = world.events.iter().filter(|event| event.starts_with("MalformedTemplate: ")).collect();
    assert_eq!(told.len(), 1, "{:?}", world.events);
    assert!(
        told[0].contains(
            "spec.template.spec.containers[0].resources.limits.memory: \"invalid\" is not a quantity"
        ),
        "{told:?}"
    );
}

/// A release at half of the traffic whose router turns into one that Headgate does not know.
fn behind_an_unknown_router() -> World {
    let mut canary = routed(json!([{"setWeight": 50}, {"pause": {}}]));
    canary["abortScaleDownDelaySeconds"] = json!(5);
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    assert_eq!((world.weight(), world.pods(2)), (50, 2));
    world.edit(|spec| {
        spec["strategy"]["canary"]["trafficRouting"] = json!({"alb": {"ingress": "shop", "servicePort": 80}});
    });
    world.snapshot.routers.retain(|router| !router.capabilities.weights);
    world.snapshot.former_routers.clear();
    world
}

#[test]
fn nobody_knows_what_a_router_gives_that_headgate_does_not_know() {
    let mut world = behind_an_unknown_router();
    let before = world.status().canary.clone().unwrap().weights;
    for abort in [false, true] {
        if abort {
            world.abort();
        }
        world.settle();
        world.pass(3_600);
        world.settle();
        assert!(invalid(&world).contains("not supported by this version of Headgate yet"));
        let status = world.status();
        assert_eq!(status.canary.clone().unwrap().weights, before, "the weights are what was stored");
        assert_eq!(world.selected("shop-canary"), Some(world.hash(2)));
        assert_eq!(world.pods(2), 2, "they may get half of the requests");
    }
}

#[test]
fn a_provider_that_headgate_lacks_is_refused_where_it_is_ahead_before_any_pod_is_made() {
    let analysis = json!({"analysis": {"templates": [{"templateName": "errors"}]}});
    let steps = json!([{"setWeight": 25}, analysis, {"setWeight": 50}, {"pause": {}}]);
    let with = |provider: &str| {
        let provider = if provider == "job" {
            json!({"job": {"spec": {"template": {}}}})
        } else {
            json!({"prometheus": {"address": "http://p", "query": "errors"}})
        };
        json!({"metrics": [{"name": "errors", "provider": provider}]})
    };
    let mut world = World::new(spec(4, routed(steps)));
    world.add_template("errors", with("job"));
    world.settle();
    assert_eq!(world.phase(), "Healthy", "nobody measures between releases");
    world.release(2);
    world.settle();
    let problem = "metric \"errors\": provider job is not supported by this version of Headgate yet";
    assert!(invalid(&world).contains(problem), "{}", invalid(&world));
    assert_eq!((world.pods(1), world.pods(2), world.weight()), (4, 0, 0));

    world.add_template("errors", with("prometheus"));
    world.settle();
    let name = format!("shop-{}-2-1", world.hash(2));
    world.verdict(&name, headgate_api::AnalysisPhase::Successful, "");
    world.settle();
    assert_eq!((world.phase(), world.weight()), ("Paused", 50));
    world.add_template("errors", with("job"));
    world.settle();
    assert_eq!(world.phase(), "Paused", "that step is behind");
}

#[test]
fn requests_leave_a_version_whose_pods_have_all_died_although_the_steps_are_wrong() {
    let services = json!({
        "steps": [{"setWeight": 50}, {"pause": {}}],
        "stableService": "shop-stable", "canaryService": "shop-canary",
    });
    for canary in [routed(json!([{"setWeight": 50}, {"pause": {}}])), services] {
        let is_routed = canary["trafficRouting"].is_object();
        let mut world = World::running(spec(4, canary));
        world.release(2);
        world.settle();
        world.edit(|spec| spec["strategy"]["canary"]["steps"][0] = json!({}));
        world.break_pods(1);
        world.settle();
        invalid(&world);
        if is_routed {
            assert_eq!(world.weight(), 100);
        } else {
            assert_eq!(world.selected("shop-stable"), Some(world.hash(2)));
        }
    }
}
