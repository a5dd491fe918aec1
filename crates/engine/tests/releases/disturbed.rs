//! Releases while something that they rest on is gone, late or moved by others.

use crate::world::{World, routed, spec};
use headgate_api::{AnalysisPhase, labels};
use headgate_model::{Direction, Effect, EffectKey, Failure, FailureClass, Observed, TemplateKey, Verb};
use serde_json::{Value, json};

/// The first version is out, and there is a template "errors".
fn with_template(spec: Value) -> World {
    let mut world = World::new(spec);
    let metric = json!({"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "q"}}});
    world.add_template("errors", json!({"metrics": [metric]}));
    world.settle();
    world
}

/// A release at half of the traffic, with an analysis beside it.
fn half_way_with_analysis() -> World {
    let mut canary = routed(json!([{"setWeight": 50}, {"pause": {}}]));
    canary["analysis"] = json!({"templates": [{"templateName": "errors"}]});
    let mut world = with_template(spec(4, canary));
    world.release(2);
    world.settle();
    assert_eq!((world.phase(), world.weight(), world.runs_mut().len()), ("Paused", 50, 1));
    world
}

#[test]
fn an_analysis_that_fails_aborts_although_its_template_is_gone_by_then() {
    let mut world = half_way_with_analysis();
    world.snapshot.templates.insert(TemplateKey::Namespaced("errors".into()), Observed::Absent);
    world.settle();
    assert_eq!((world.waits_for(), world.weight()), ("MendSpec", 50));
    let name = format!("shop-{}-2", world.hash(2));
    world.verdict(&name, AnalysisPhase::Failed, "too many errors");
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (0, 4, 0));
    let aborted = "RolloutAborted: Rollout aborted update to revision 2 at step 2/2, weight 50: Background analysis phase \
                   error/failed: too many errors";
    assert!(world.events.contains(&aborted.to_owned()), "{:?}", world.events);
}

#[test]
fn without_a_router_an_abort_leads_back_although_a_service_is_gone() {
    let mut world = World::half_way_with_services();
    assert_eq!((world.pods(1), world.pods(2)), (2, 2));
    world.lose_service("shop-canary");
    world.abort();
    world.settle_over_time();
    assert_eq!((world.waits_for(), world.pods(1), world.pods(2)), ("MendSpec", 4, 0));
}

#[test]
fn without_a_router_an_abort_leads_the_stable_service_back_although_the_other_one_is_gone() {
    let canary = json!({
        "steps": [{"setWeight": 100}, {"pause": {}}],
        "canaryService": "shop-canary", "stableService": "shop-stable",
    });
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    assert_eq!((world.selected("shop-stable"), world.pods(1)), (Some(world.hash(2)), 0));
    world.lose_service("shop-canary");
    world.abort();
    world.settle_over_time();
    let Observed::Present(stable) = &world.snapshot.services["shop-stable"] else { panic!("it is there") };
    assert_eq!(stable.selector[labels::POD_TEMPLATE_HASH], world.hash(1));
    assert_eq!((world.pods(1), world.pods(2)), (4, 0));
}

#[test]
fn weight_leaves_a_version_whose_pods_have_died_although_its_template_is_gone() {
    for (dead, weight) in [(2, 0), (1, 100)] {
        let mut world = half_way_with_analysis();
        world.snapshot.templates.insert(TemplateKey::Namespaced("errors".into()), Observed::Absent);
        world.settle();
        let hash = world.hash(dead);
        world.kill_pods(&hash, 1);
        let decision = world.decide();
        assert!(decision.effects.is_empty(), "one pod is left: {:?}", decision.effects);
        world.kill_pods(&hash, 0);
        let decision = world.decide();
        world.carry_out(&decision, usize::MAX);
        assert_eq!((world.waits_for(), world.weight()), ("MendSpec", weight), "version {dead} is dead");
        world.kubelet();
        world.settle();
        let back = if dead == 1 { 50 } else { 0 };
        assert_eq!(
            (world.waits_for(), world.weight()),
            ("MendSpec", back),
            "version {dead} is back: nothing is raised"
        );
    }
}

#[test]
fn pods_follow_the_autoscaler_although_something_that_the_spec_names_is_gone() {
    for missing in ["shop-canary", "errors"] {
        let mut world = half_way_with_analysis();
        world.snapshot.templates.insert(TemplateKey::Namespaced("errors".into()), Observed::Absent);
        world.snapshot.services.insert(missing.into(), Observed::Absent);
        world.settle();
        world.scale(8);
        world.settle();
        assert_eq!((world.waits_for(), world.weight()), ("MendSpec", 50));
        assert_eq!((world.pods(1), world.pods(2)), (8, 4), "{missing}");
        world.scale(2);
        world.settle();
        assert_eq!((world.pods(1), world.pods(2)), (2, 1), "{missing}");
    }
}

#[test]
fn new_steps_that_cannot_be_taken_up_move_no_pods_of_a_release() {
    let canary = json!({"steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}], "canaryService": "shop-canary"});
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2)), (3, 1));
    world.snapshot.services.insert("shop-canary".into(), Observed::Absent);
    world.edit(|spec| {
        spec["strategy"]["canary"]["steps"] = json!([{"setWeight": 10}]);
        spec["replicas"] = json!(8);
    });
    world.settle();
    assert_eq!((world.pods(1), world.pods(2), world.waits_for()), (3, 1, "MendSpec"));
}

#[test]
fn an_abort_of_a_spec_with_a_wrong_number_of_pods_keeps_those_of_stable() {
    let mut world = half_way_with_analysis();
    world.edit(|spec| spec["replicas"] = json!(-1));
    world.abort();
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(1), world.pods(2)), (0, 4, 0));
}

#[test]
fn an_abort_of_a_wrong_spec_leads_back_to_stable_although_the_new_versions_pods_are_gone() {
    let mut world = World::running(spec(4, json!({"steps": [{"setWeight": 50}, {"pause": {}}]})));
    world.release(2);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2)), (2, 2));
    world.edit(|spec| spec["strategy"]["canary"]["steps"] = json!([{"setCanaryScale": {"replicas": 1}}]));
    let second = world.hash(2);
    world.sets_mut().retain(|set| set.hash() != second);
    world.abort();
    world.settle_over_time();
    assert_eq!((world.pods(1), world.waits_for()), (4, "MendSpec"));
}

#[test]
fn no_service_stays_with_a_version_without_pods_although_the_spec_waits_to_be_mended() {
    let canary = json!({
        "steps": [{"setWeight": 50}, {"pause": {}}],
        "canaryService": "shop-canary", "stableService": "shop-stable",
    });
    let mut world = World::running(spec(4, canary));
    world.edit(|spec| spec["strategy"]["canary"]["steps"] = json!([{"setCanaryScale": {"replicas": 1}}]));
    for service in ["shop-canary", "shop-stable"] {
        world.repoint(service, "of-another-time");
    }
    world.settle();
    assert_eq!(world.waits_for(), "MendSpec");
    for service in ["shop-canary", "shop-stable"] {
        assert_eq!(world.selected(service), Some(world.hash(1)), "{service}");
    }
}

#[test]
fn an_abort_or_a_full_promotion_that_comes_with_new_steps_is_not_lost() {
    let new_steps = |world: &mut World| {
        world.edit(|spec| spec["strategy"]["canary"]["steps"] = json!([{"setWeight": 75}, {"pause": {}}]));
    };
    let mut world = half_way_with_analysis();
    world.abort();
    new_steps(&mut world);
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight(), world.pods(2)), ("Degraded", 0, 0));
    let mut world = half_way_with_analysis();
    world.promote_full();
    new_steps(&mut world);
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(2)), ("Healthy", 4));
    // What was taken up before is about the old steps: the release begins anew.
    let mut world = half_way_with_analysis();
    world.abort();
    world.settle_over_time();
    new_steps(&mut world);
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight(), world.pods(2)), ("Paused", 75, 3));
}

#[test]
fn a_second_try_that_gets_on_slowly_is_not_measured_by_the_first() {
    let mut spec = spec(10, routed(json!([{"setWeight": 100}, {"pause": {}}])));
    spec["progressDeadlineSeconds"] = json!(100);
    spec["progressDeadlineAbort"] = json!(true);
    let mut world = World::running(spec);
    world.release(2);
    world.settle();
    world.abort();
    world.settle_over_time();
    assert_eq!(world.pods(2), 0);
    world.retry();
    world.step();
    world.step();
    let second = world.hash(2);
    for available in 1..10 {
        world.pass(60);
        let sets = world.sets_mut();
        for set in sets.iter_mut().filter(|set| set.hash() == second) {
            set.observed_generation = set.generation;
            (set.current, set.ready, set.available_reported) = (set.replicas, available, available);
        }
        world.step();
        assert!(!world.status().abort, "with {available} pods: {}", world.status().message);
    }
    world.settle();
    assert_eq!((world.phase(), world.weight()), ("Paused", 100));
}

#[test]
fn an_abort_that_must_lean_on_the_canary_does_not_pass_for_a_way_back() {
    let mut world = half_way_with_analysis();
    world.break_pods(1);
    world.abort();
    let decision = world.decide();
    let routes: Vec<_> = decision
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Route { intent, direction, .. } => Some((intent.canary_weight, *direction)),
            _ => None,
        })
        .collect();
    assert_eq!(routes, [(100, Direction::TowardsCanary)]);
}

#[test]
fn an_abort_leans_on_a_canary_whose_pods_are_there_only_after_it() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}, {"pause": {}}]))));
    world.release(2);
    let (first, second) = (world.hash(1), world.hash(2));
    world.broken.insert(second.clone());
    world.settle();
    world.broken.insert(first.clone());
    world.kill_pods(&first, 0);
    world.abort();
    world.settle();
    assert_eq!((world.weight(), world.selected("shop-canary")), (0, Some(first.clone())));
    world.broken.remove(&second);
    world.kubelet();
    let decision = world.decide();
    let routes = decision.effects.iter().filter_map(|effect| match effect {
        Effect::Route { direction, .. } => Some(*direction),
        _ => None,
    });
    assert_eq!(routes.collect::<Vec<_>>(), [Direction::TowardsCanary]);
    world.settle_over_time();
    assert_eq!((world.weight(), world.selected("shop-canary")), (100, Some(second)));
    world.broken.remove(&first);
    world.settle_over_time();
    assert_eq!((world.weight(), world.selected("shop-canary")), (0, Some(first)));
    assert_eq!((world.pods(1), world.pods(2)), (4, 0));
}

#[test]
fn an_abort_gives_nothing_to_a_stable_service_that_does_not_exist() {
    let mut world = half_way_with_analysis();
    world.snapshot.services.insert("shop-stable".into(), Observed::Absent);
    world.abort();
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(2)), (50, 2));
    world.add_service("shop-stable");
    world.settle_over_time();
    assert_eq!((world.weight(), world.pods(2)), (0, 0));
}

#[test]
fn pods_that_are_only_reported_from_before_a_scale_down_bear_no_weight() {
    let steps = json!([{"setWeight": 50}, {"pause": {}}, {"setWeight": 100}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.release(2);
    world.settle();
    world.promote();
    world.step();
    // The canary had four pods, was scaled to two and to four again before its ReplicaSet controller looked.
    let second = world.hash(2);
    let reports = |world: &mut World| {
        for set in world.sets_mut().iter_mut().filter(|set| set.hash() == second) {
            (set.replicas, set.current, set.ready, set.available_reported) = (4, 4, 4, 4);
            (set.generation, set.observed_generation) = (9, 7);
        }
    };
    reports(&mut world);
    for _ in 0..5 {
        world.step();
    }
    assert_eq!((world.weight(), world.status().current_step_index), (50, Some(2)));
    world.settle();
    assert_eq!((world.weight(), world.status().current_step_index), (100, Some(3)));
}

#[test]
fn a_version_that_the_stable_service_leads_to_keeps_its_pods_although_it_is_the_canary_again() {
    let mut canary = routed(json!([{"setWeight": 25}, {"pause": {}}]));
    canary["maxUnavailable"] = json!("100%");
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    world.promote();
    // The second version is stable by the record; before any Service is repointed its pods die and it is undone.
    while world.status().stable_rs != world.hash(2) {
        let decision = world.decide();
        world.carry_out(&decision, usize::MAX);
        world.kubelet();
    }
    let (first, second) = (world.hash(1), world.hash(2));
    world.repoint("shop-stable", &first);
    world.broken.insert(second.clone());
    world.kill_pods(&second, 0);
    world.release(1);
    for _ in 0..20 {
        world.pass(20);
        world.step();
        world.kubelet();
        assert_eq!(world.selected("shop-stable"), Some(first.clone()));
        assert!(world.pods(1) == 4 || world.weight() == 100, "{} pods at {}", world.pods(1), world.weight());
    }
}

#[test]
fn a_promotion_that_a_new_version_overtakes_is_dropped_with_a_word() {
    let mut world = half_way_with_analysis();
    world.promote();
    world.release(3);
    world.step();
    let dropped = |event: &String| event.starts_with("IntentDropped: The promotion was meant for version ");
    assert!(world.events.iter().any(dropped), "{:?}", world.events);
}

#[test]
fn an_object_that_others_keep_changing_is_named_in_what_is_waited_for() {
    let mut world = half_way_with_analysis();
    world.promote();
    for (attempts, expected) in [(2, "PodsAvailable"), (3, "ApiServer")] {
        let failure = Failure {
            class: FailureClass::Conflict,
            message: "field manager \"other\" writes the same fields".into(),
            since: world.now,
            attempts,
            told: false,
            held: Vec::new(),
        };
        world.snapshot.failures.insert(EffectKey::new(Verb::Route, "istio"), failure);
        let decision = world.decide();
        world.carry_out(&decision, 0);
        assert_eq!(world.waits_for(), expected);
    }
    assert!(world.status().waiting.as_ref().unwrap().message.contains("field manager"));
}

#[test]
fn a_refusal_that_another_process_overwrites_is_not_told_again_until_it_is_refused_again() {
    let mut world = half_way_with_analysis();
    world.promote();
    let key = EffectKey::of(Verb::Read);
    for (told, overwritten, expected) in [
        (false, false, "ApiServer"),
        (true, false, "ApiServer"),
        (true, true, "PodsAvailable"),
        (false, true, "ApiServer"),
    ] {
        let failure = Failure {
            class: FailureClass::Forbidden,
            message: "no right to get rollouts".into(),
            since: world.now,
            attempts: 1,
            told,
            held: Vec::new(),
        };
        world.snapshot.failures.insert(key.clone(), failure);
        if overwritten {
            world.snapshot.rollout.status.waiting.as_mut().unwrap().message =
                "4 pods are to be available".into();
        }
        let decision = world.decide();
        world.carry_out(&decision, 0);
        assert_eq!(world.waits_for(), expected, "told {told}, overwritten {overwritten}");
    }
}

/// Version 2 is promoted; one pod of version 1 has come back although its time is over, and a pod of version 2 is gone.
fn promoted_with_a_pod_of_the_old_version() -> World {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}]))));
    world.release(2);
    world.settle_over_time();
    assert_eq!(world.phase(), "Healthy");
    let (first, second) = (world.hash(1), world.hash(2));
    let over = world.now.to_string();
    world.broken.insert(second.clone());
    world.kill_pods(&second, 3);
    let old = world.sets_mut().iter_mut().find(|set| set.hash() == first).unwrap();
    (old.replicas, old.current, old.ready, old.available_reported) = (1, 1, 1, 1);
    old.annotations.insert("scale-down-deadline".to_owned(), over);
    world.pass(1);
    world
}

#[test]
fn a_pod_of_an_old_version_is_no_substitute_for_one_of_the_new() {
    let mut world = promoted_with_a_pod_of_the_old_version();
    let decision = world.decide();
    world.carry_out(&decision, 0);
    assert_eq!(world.status().available_replicas, 4);
    assert_eq!((world.phase(), world.waits_for()), ("Progressing", "PodsAvailable"));
}

#[test]
fn the_delay_of_old_pods_does_not_count_towards_the_deadline_and_does_not_stop_it() {
    let mut world = promoted_with_a_pod_of_the_old_version();
    let until = world.now.saturating_add(jiff::SignedDuration::from_secs(30)).unwrap();
    for set in world.sets_mut() {
        set.annotations.insert("scale-down-deadline".to_owned(), until.to_string());
    }
    let decision = world.decide();
    world.carry_out(&decision, 0);
    let overdue = until.saturating_add(jiff::SignedDuration::from_secs(600)).unwrap();
    assert_eq!(world.status().waiting.as_ref().unwrap().until.as_ref().map(|time| time.0), Some(overdue));
    assert_eq!(decision.wake_at.map(|at| at <= overdue), Some(true));
}

#[test]
fn a_delay_longer_than_the_deadline_makes_no_release_degraded_at_its_end() {
    let mut canary = routed(json!([]));
    canary["scaleDownDelaySeconds"] = json!(700);
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    world.pass(700);
    world.step();
    let first = world.hash(1);
    let old = world.sets_mut().iter().find(|set| set.hash() == first).unwrap();
    assert_eq!((old.replicas, old.current), (0, 4), "their controller has not taken them away yet");
    world.step();
    assert_ne!(world.phase(), "Degraded", "{}", world.status().message);
    world.settle();
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn a_step_to_which_a_user_leads_has_its_own_deadline() {
    let analysis = json!({"analysis": {"templates": [{"templateName": "errors"}]}});
    let mut spec = spec(4, routed(json!([{"setWeight": 50}, analysis, {"setWeight": 75}, {"pause": {}}])));
    spec["progressDeadlineSeconds"] = json!(60);
    spec["progressDeadlineAbort"] = json!(true);
    let mut world = with_template(spec);
    world.release(2);
    world.settle();
    assert_eq!((world.weight(), world.runs_mut().len()), (50, 1));
    world.pass(3_600);
    world.settle();
    world.promote();
    world.settle();
    assert!(!world.status().abort, "{}", world.status().message);
    assert_eq!((world.phase(), world.weight()), ("Paused", 75));
}

#[test]
fn a_pod_of_an_old_version_whose_time_is_over_does_not_stop_the_deadline() {
    let mut world = promoted_with_a_pod_of_the_old_version();
    world.step();
    let waiting = world.status().waiting.as_ref().unwrap();
    assert!(waiting.until.is_some(), "{waiting:?}");
    world.pass(601);
    world.step();
    assert_eq!(world.phase(), "Degraded");
}

#[test]
fn proxies_get_their_time_although_the_spec_gives_old_pods_none() {
    let mut canary = routed(json!([]));
    canary["scaleDownDelaySeconds"] = json!(0);
    let mut world = World::running(spec(4, canary));
    world.release(2);
    world.settle();
    assert_eq!(world.selected("shop-stable"), Some(world.hash(2)));
    assert_eq!((world.weight(), world.pods(1)), (0, 4), "a proxy may still send to the old pods");
    world.pass(5);
    world.settle();
    assert_eq!((world.phase(), world.pods(1)), ("Healthy", 0));
}

#[test]
fn the_largest_numbers_break_nothing() {
    let plain = json!({"steps": [{"setWeight": 50}, {"pause": {}}], "maxSurge": i32::MAX});
    for (replicas, canary) in [
        (4, plain.clone()),
        (i32::MAX, plain),
        (
            i32::MAX,
            routed(json!([{"setCanaryScale": {"replicas": i32::MAX}}, {"setWeight": 50}, {"pause": {}}])),
        ),
    ] {
        let mut world = World::new(spec(replicas, canary));
        world.step();
        for (version, act) in
            [(1, World::retry as fn(&mut World)), (2, World::abort), (3, World::promote_full)]
        {
            world.release(version);
            for _ in 0..10 {
                world.unchecked_step();
            }
            act(&mut world);
            world.snapshot.rollout.status.current_step_index = Some(i32::MAX);
            world.unchecked_step();
        }
        world.sets_mut()[0].annotations.insert("rollout.argoproj.io/revision".into(), i64::MAX.to_string());
        world.release(4);
        world.unchecked_step();
        assert_ne!(world.condition("Progressing").1, "InternalError");
    }
}

#[test]
fn a_size_of_its_own_does_not_take_pods_that_the_stable_service_needs() {
    let steps = json!([{"setCanaryScale": {"weight": 50}}, {"setWeight": 25}, {"pause": {}}]);
    let mut canary = routed(steps);
    canary["maxUnavailable"] = json!(2);
    let mut world = World::running(spec(4, canary));
    world.pass(10);
    world.release(2);
    world.settle();
    let second = world.hash(2);
    // The stable version is lost for good, and its Service leads to the newest.
    world.break_pods(1);
    world.sets_mut().iter_mut().filter(|set| set.hash() == second).for_each(|set| set.replicas = 4);
    world.repoint("shop-stable", &second);
    world.kubelet();
    world.settle();
    world.pass(600);
    world.settle();
    assert_eq!(world.pods(2), 4, "it gets everything, through both Services");
}

#[test]
fn a_number_that_is_taken_back_while_no_one_knows_the_route_takes_what_was_added_for_it_later() {
    let steps = json!([{"setWeight": 50}, {"pause": {}}]);
    let mut world = World::running(spec(2, routed(steps)));
    world.hide_route(0, true);
    world.scale(3);
    world.release(2);
    for _ in 0..2 {
        let decision = world.decide();
        world.carry_out(&decision, 2);
        world.promote();
    }
    assert_eq!(world.pods(1), 3);
    world.scale(2);
    world.settle();
    world.hide_route(0, false);
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(1) + world.pods(2)), ("Healthy", 2));
}

#[test]
fn a_number_that_rises_while_no_one_knows_what_the_services_select_takes_no_pod_of_the_version_behind_them() {
    let canary = json!({
        "canaryService": "shop-canary", "stableService": "shop-stable", "maxSurge": 1, "maxUnavailable": 0,
    });
    let mut world = World::running(spec(1, canary));
    world.release(2);
    world.pass(1);
    let decision = world.decide();
    world.carry_out(&decision, 2);
    world.scale(2);
    world.hide_route(0, true);
    world.settle();
    assert!(world.pods(1) > 0, "a Service may lead to it");
    world.hide_route(0, false);
    world.settle_over_time();
    assert_eq!((world.phase(), world.pods(1), world.pods(2)), ("Healthy", 0, 2));
}

#[test]
fn a_number_that_falls_while_no_one_knows_what_the_services_select_takes_no_more_than_a_share_of_a_version() {
    let steps = json!([{"setWeight": 50}, {"pause": {}}]);
    let services = json!({"canaryService": "shop-canary", "stableService": "shop-stable", "steps": steps});
    let mut world = World::running(spec(10, services));
    world.release(2);
    world.settle_over_time();
    assert_eq!((world.pods(1), world.pods(2)), (5, 5));
    world.hide_route(0, true);
    world.scale(7);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2)), (5, 4), "and of the other one once it is known");
    world.hide_route(0, false);
    world.settle();
    assert_eq!((world.pods(1), world.pods(2)), (4, 4));
}
