//! Releases under whatever users and clusters do, in any order: the invariants hold at every decision, and when the
//! disturbance is over every rollout comes to rest.

use crate::world::{World, routed, spec};
use headgate_api::AnalysisPhase;
use headgate_model::Observed;
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug)]
enum Act {
    Release(u32),
    Abort,
    Retry,
    Promote,
    PromoteFull,
    Pause(bool),
    Scale(i32),
    Break(u32),
    Mend(u32),
    Kill(u32, i32),
    Delete(u32),
    Verdict(AnalysisPhase),
    /// Somebody else edits the route: smallest and largest share of the canary.
    Drift(i32, i32),
    /// A router's objects can't be read, or can be again.
    Hide(usize, bool),
    /// The data plane says that it follows the route, or that it does not.
    Confirm(Option<bool>),
    /// Another router in the spec; the one before can be read.
    Reroute,
    /// Stable shrinks as the canary grows, from now on, or no longer. Only with a router.
    Dynamic(bool),
    /// A Service is there, or is not.
    Service(bool),
    /// The steps are wrong, or right.
    Mistake(bool),
    Pass(i64),
    Kubelet,
    /// One decision of which only so many effects are carried out.
    Decide(usize),
    /// One decision whose record could not be written.
    Refuse,
    Settle,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..4u32).prop_map(Act::Release),
        2 => Just(Act::Abort),
        2 => Just(Act::Retry),
        4 => Just(Act::Promote),
        1 => Just(Act::PromoteFull),
        1 => any::<bool>().prop_map(Act::Pause),
        2 => (0..7i32).prop_map(Act::Scale),
        2 => (1..4u32).prop_map(Act::Break),
        2 => (1..4u32).prop_map(Act::Mend),
        2 => (1..4u32, 0..3i32).prop_map(|(version, left)| Act::Kill(version, left)),
        1 => (1..4u32).prop_map(Act::Delete),
        2 => prop_oneof![
            Just(AnalysisPhase::Successful), Just(AnalysisPhase::Failed), Just(AnalysisPhase::Inconclusive)
        ].prop_map(Act::Verdict),
        1 => (0..=100i32, 0..=100i32).prop_map(|(one, other)| Act::Drift(one.min(other), one.max(other))),
        1 => (0..2usize, any::<bool>()).prop_map(|(index, hidden)| Act::Hide(index, hidden)),
        1 => any::<Option<bool>>().prop_map(Act::Confirm),
        1 => Just(Act::Reroute),
        1 => any::<bool>().prop_map(Act::Dynamic),
        1 => any::<bool>().prop_map(Act::Service),
        1 => any::<bool>().prop_map(Act::Mistake),
        3 => (1..40i64).prop_map(Act::Pass),
        6 => Just(Act::Kubelet),
        10 => (0..4usize).prop_map(Act::Decide),
        2 => Just(Act::Refuse),
        2 => Just(Act::Settle),
    ]
}

fn strategy() -> impl Strategy<Value = Value> {
    let steps = prop_oneof![
        Just(json!([])),
        Just(json!([{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {"duration": 20}}])),
        Just(
            json!([{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "errors"}]}}, {"setWeight": 10}])
        ),
        Just(
            json!([{"pause": {}}, {"setWeight": 34}, {"pause": {"duration": 5}}, {"setWeight": 67}, {"setWeight": 0}])
        ),
    ];
    let plain =
        (steps.clone(), 0..3i32, 0..3i32, any::<bool>()).prop_map(|(steps, surge, unavailable, services)| {
            let surge = if unavailable == 0 { surge.max(1) } else { surge };
            let mut canary = json!({"steps": steps, "maxSurge": surge, "maxUnavailable": unavailable});
            if services {
                canary["canaryService"] = json!("shop-canary");
                canary["stableService"] = json!("shop-stable");
            }
            canary
        });
    let through_router = (
        steps,
        prop_oneof![Just(0), Just(30), Just(50)],
        prop_oneof![Just(0), Just(10), Just(30)],
        prop_oneof![3 => Just("25%"), 1 => Just("0%"), 1 => Just("100%")],
        prop_oneof![2 => Just("instant"), 1 => Just("stepped"), 1 => Just("asCapacityAllows")],
        (any::<bool>(), any::<bool>(), prop_oneof![3 => Just(None), 1 => Just(Some(2))]),
    )
        .prop_map(|(steps, delay, abort_delay, unavailable, policy, (dynamic, has_delay, least))| {
            let mut canary = routed(steps);
            if dynamic {
                canary["dynamicStableScale"] = json!(true);
            } else {
                canary["scaleDownDelaySeconds"] = json!(delay);
            }
            if has_delay || !dynamic {
                canary["abortScaleDownDelaySeconds"] = json!(abort_delay);
            }
            canary["minPodsPerReplicaSet"] = json!(least);
            canary["maxUnavailable"] = json!(unavailable);
            canary["abort"] = json!({ "policy": policy });
            canary
        });
    let word = prop_oneof![3 => Just(Value::Null), 1 => Just(json!("pause")), 2 => Just(json!("hold"))];
    let bake = prop_oneof![3 => Just(Value::Null), 1 => Just(json!({"duration": 15})), 1 => Just(bake())];
    let initial = prop_oneof![3 => Just("skip"), 1 => Just("analyse")];
    (prop_oneof![plain, through_router], word, any::<bool>(), bake, initial).prop_map(with_additions)
}

fn bake() -> Value {
    json!({"duration": 15, "analysis": {"templates": [{"templateName": "errors"}]}})
}

/// What a failed analysis leads to, an analysis in the background, a bake where there is a router, and a first version
/// that is analysed.
fn with_additions((mut canary, word, background, bake, initial): (Value, Value, bool, Value, &str)) -> Value {
    let analysis = json!({"templates": [{"templateName": "errors"}], "onFailure": word});
    for step in canary["steps"].as_array_mut().unwrap().iter_mut().filter(|step| step["analysis"].is_object())
    {
        step["analysis"] = analysis.clone();
    }
    if background {
        canary["analysis"] = analysis;
    }
    if canary["trafficRouting"].is_object() && canary["dynamicStableScale"].is_null() {
        canary["bake"] = bake;
    }
    canary["initial"] = json!(initial);
    canary
}

fn start(replicas: i32, canary: Value) -> World {
    let mut world = World::new(spec(replicas, canary));
    let metric = json!({"name": "errors", "provider": {"prometheus": {"address": "http://p", "query": "q"}}});
    world.add_template("errors", json!({"metrics": [metric]}));
    world.settle_over_time();
    world
}

fn perform(world: &mut World, act: Act) {
    match act {
        Act::Release(version) => world.release(version),
        Act::Abort => world.abort(),
        Act::Retry => world.retry(),
        Act::Promote => world.promote(),
        Act::PromoteFull => world.promote_full(),
        Act::Pause(paused) => world.pause(paused),
        Act::Scale(replicas) => world.scale(replicas),
        Act::Break(version) => drop(world.break_pods(version)),
        Act::Mend(version) => {
            let hash = world.hash(version);
            world.broken.remove(&hash);
        }
        Act::Kill(version, left) => {
            let hash = world.hash(version);
            world.kill_pods(&hash, left);
        }
        Act::Delete(version) => {
            let hash = world.hash(version);
            world.sets_mut().retain(|set| set.hash() != hash);
        }
        Act::Verdict(phase) => {
            let open = world.runs_mut().iter_mut().filter(|run| !run.phase.is_completed());
            open.for_each(|run| run.phase = phase);
        }
        Act::Drift(least, most) => world.drift(least, most),
        Act::Hide(index, hidden) => world.hide_route(index, hidden),
        Act::Confirm(word) => world.confirm(word),
        Act::Reroute => {
            world.hide_route(1, false);
            let router = world.snapshot.routers.iter().find(|router| router.capabilities.weights);
            if let Some(router) = router {
                let other = if router.config.router == "istio" { "nginx" } else { "istio" };
                world.change_router(Some(other));
            }
        }
        Act::Dynamic(is_wanted) => world.edit(|spec| {
            let canary = &mut spec["strategy"]["canary"];
            if canary["trafficRouting"].is_object() {
                canary["dynamicStableScale"] = json!(is_wanted);
                canary["scaleDownDelaySeconds"] = if is_wanted { Value::Null } else { json!(10) };
                canary["bake"] = if is_wanted { Value::Null } else { canary["bake"].take() };
            }
        }),
        Act::Service(present) if world.snapshot.services.contains_key("shop-canary") => match present {
            true => world.add_service("shop-canary"),
            false => drop(world.snapshot.services.insert("shop-canary".into(), Observed::Absent)),
        },
        Act::Service(_) => {}
        Act::Mistake(wrong) => world.edit(|spec| spec["minReadySeconds"] = json!(if wrong { -1 } else { 0 })),
        Act::Pass(seconds) => world.pass(seconds),
        Act::Kubelet => world.kubelet(),
        Act::Decide(effects) => {
            let decision = world.decide();
            world.carry_out(&decision, effects);
        }
        Act::Refuse => {
            let decision = world.decide();
            world.carry_out_without_record(&decision);
        }
        Act::Settle => world.settle(),
    }
}

/// All is well again: pods start, nobody pauses, analyses succeed. Whatever happened, the rollout must come to rest.
fn calm_down(world: &mut World) {
    world.broken.clear();
    for act in [
        Act::Pause(false),
        Act::Hide(0, false),
        Act::Hide(1, false),
        Act::Confirm(None),
        Act::Service(true),
        Act::Mistake(false),
    ] {
        perform(world, act);
    }
    for _ in 0..20 {
        world.settle_over_time();
        let open = world.runs_mut().iter_mut().filter(|run| !run.phase.is_completed());
        let mut judged = 0;
        open.for_each(|run| {
            run.phase = AnalysisPhase::Successful;
            judged += 1;
        });
        if judged == 0 {
            break;
        }
    }
    let phase = world.phase();
    assert!(["Healthy", "Paused", "Degraded"].contains(&phase), "{phase}: {:?}", world.status().waiting);
    if phase == "Degraded" {
        assert!(world.status().abort, "{}", world.status().message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold_and_the_rollout_comes_to_rest(
        replicas in 1..6i32, canary in strategy(), acts in prop::collection::vec(act(), 1..40),
    ) {
        let mut world = start(replicas, canary);
        for act in acts {
            perform(&mut world, act);
        }
        calm_down(&mut world);
        // From rest, one more version gets out when every pause is promoted.
        world.release(9);
        for _ in 0..12 {
            calm_down(&mut world);
            world.promote();
        }
        calm_down(&mut world);
        prop_assert_eq!(world.phase(), "Healthy");
        prop_assert!(world.former().is_empty());
        let replicas = world.snapshot.rollout.spec.as_ref().unwrap().replicas;
        prop_assert_eq!(world.pods(9), replicas);
    }
}
