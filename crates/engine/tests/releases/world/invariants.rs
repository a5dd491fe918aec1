//! What must hold at every decision, checked on what is seen and what is about to be done.

use super::World;
use headgate_model::{
    Decision, Effect, ReplicaSetView, RouterProblem, RouterView, TrafficIntent, WeightRange,
};

/// Panics when a decision breaks an invariant.
pub(super) fn check(world: &World, decision: &Decision) {
    decision.check().expect("R6");
    let Ok(spec) = &world.snapshot.rollout.spec else { return };
    let desired = spec.replicas;
    let surge = spec.canary.max_surge.rounded_up(desired);
    let unavailable =
        spec.canary.max_unavailable.rounded_down(desired).max(i32::from(surge == 0)).min(desired);
    let mut after: i32 = world.sets().iter().map(ReplicaSetView::available).sum();
    let before = after;
    let (mut wanted, mut grown): (i32, bool) = (world.sets().iter().map(|set| set.replicas).sum(), false);
    for effect in &decision.effects {
        match effect {
            Effect::Route { config, intent, .. } => {
                let former = world.snapshot.former_routers.iter().find(|router| router.config == *config);
                let router = world.snapshot.routers.iter().find(|router| router.config == *config).or(former);
                let router = router.unwrap();
                if is_gone(world, router) {
                    continue;
                }
                let state = router.state.as_ref().expect("only a route that can be read is changed");
                assert!((0..=intent.total).contains(&intent.canary_weight), "invariant 8: {intent:?}");
                if let Some(range) = state.weights {
                    raised(world, decision, range, intent, former.is_some());
                }
                for wish in [&intent.stable, &intent.canary] {
                    let (Some(service), Some(hash)) = (&wish.service, &wish.hash) else { continue };
                    if state.selectors.get(service).is_some_and(|selected| selected.as_ref() != Some(hash)) {
                        assert!(
                            available(world, hash) >= 1 || desired == 0,
                            "{service} is pointed at {hash}, which has no available pod"
                        );
                    }
                }
            }
            Effect::Scale { name, from, to, .. } => {
                let set = world.sets().iter().find(|set| set.name == *name).expect("it exists");
                assert_eq!(set.replicas, *from);
                wanted += to - from;
                grown |= to > from;
                after -= (set.available() - set.available().min(*to)).max(0);
                if to < from {
                    shrunk(world, set, *to, desired);
                }
            }
            Effect::ScaleWorkload { from, to, .. } if to < from => {
                let serving = world.sets().iter().map(ReplicaSetView::available).sum::<i32>() + to;
                assert!(serving >= desired.min(*from), "{serving} of {desired} pods are left: {decision:#?}");
            }
            _ => {}
        }
    }
    let scaled_by_user = world.sets().iter().any(|set| {
        set.annotations
            .get(headgate_api::labels::DESIRED_REPLICAS)
            .is_some_and(|noted| *noted != desired.to_string())
    });
    assert!(
        after >= before.min(desired - unavailable),
        "invariant 3: {after} of {before} available pods are left, {desired} are wanted: {decision:#?}"
    );
    let routed = spec.canary.routing.is_some() || left(world).next().is_some();
    assert!(
        routed || !grown || scaled_by_user || wanted <= desired + surge,
        "invariant 3: {wanted} pods: {decision:#?}"
    );
}

/// What routers give that the spec no longer names. One counts as long as it gives the canary something.
fn left(world: &World) -> impl Iterator<Item = WeightRange> {
    let weights =
        world.snapshot.former_routers.iter().filter_map(|router| router.state.as_ref().ok()?.weights);
    weights.filter(|range| range.canary_max > 0)
}

fn available(world: &World, hash: &str) -> i32 {
    world.sets().iter().find(|set| set.hash() == hash).map_or(0, ReplicaSetView::available)
}

fn selected<'a>(world: &'a World, service: Option<&String>) -> Option<&'a str> {
    let services = world.snapshot.routers.iter().find(|router| router.config.router == "services")?;
    services.state.as_ref().ok()?.selectors.get(service?)?.as_deref()
}

/// Invariant 1: no version's weight is raised beyond what its available pods bear.
fn raised(world: &World, decision: &Decision, range: WeightRange, intent: &TrafficIntent, is_former: bool) {
    let spec = world.snapshot.rollout.spec.as_ref().unwrap();
    let status = &decision.record;
    let Some(canary) = selected(world, intent.canary.service.as_ref()) else { return };
    let Some(stable) = selected(world, intent.stable.service.as_ref()) else { return };
    let only_version = canary == stable || status.stable_rs == status.current_pod_hash;
    if only_version || spec.replicas == 0 {
        return;
    }
    let (canary_pods, stable_pods) = (available(world, canary), available(world, stable));
    let needs = |weight: i32| (spec.replicas * weight + intent.total - 1) / intent.total;
    // A canary scale may give it fewer pods than its weight would, and a threshold do with fewer.
    let written = world.snapshot.rollout.spec_raw.to_string();
    let scaled = ["setCanaryScale", "replicaProgressThreshold"].iter().any(|key| written.contains(key));
    if intent.canary_weight > range.canary_max && stable_pods > 0 {
        assert!(canary_pods >= 1, "invariant 1: canary without pods gets {}", intent.canary_weight);
        assert!(
            scaled || canary_pods >= needs(intent.canary_weight),
            "invariant 1: {canary_pods} pods for {intent:?}"
        );
    }
    let is_abort = is_former || status.abort || canary != status.current_pod_hash;
    if intent.canary_weight < range.canary_min && canary_pods > 0 && !is_abort {
        let (surge, desired) = (spec.canary.max_surge.rounded_up(spec.replicas), spec.replicas);
        let unavailable = spec.canary.max_unavailable.rounded_down(desired).max(i32::from(surge == 0));
        let needed = needs(intent.total - intent.canary_weight).min(desired - unavailable);
        assert!(stable_pods >= needed.max(1), "invariant 1: {stable_pods} stable pods for {intent:?}");
    }
    if intent.canary_weight < range.canary_min && canary_pods > 0 {
        assert!(stable_pods > 0, "invariant 4: stable has no pods and gets {intent:?}");
    }
}

/// Without a router a Service that is gone sends nothing to anybody.
fn is_gone(world: &World, router: &RouterView) -> bool {
    let is_routed = world.snapshot.rollout.spec.as_ref().is_ok_and(|spec| spec.canary.routing.is_some());
    !is_routed && matches!(router.state, Err(RouterProblem::Missing { .. }))
}

/// Invariant 2: what is left bears what the observed routes still give.
fn shrunk(world: &World, set: &ReplicaSetView, to: i32, desired: i32) {
    let spec = world.snapshot.rollout.spec.as_ref().unwrap();
    let noted = set.annotations.get(headgate_api::labels::DESIRED_REPLICAS);
    // A number of nothing is noted before the pods go.
    let by_user =
        desired == 0 || noted.is_some_and(|noted| noted.parse::<i32>().is_ok_and(|number| number > desired));
    let named = &world.snapshot.routers;
    let mut routers = named.iter().chain(&world.snapshot.former_routers);
    let is_known = routers.all(|router| router.state.is_ok() || is_gone(world, router));
    assert!(by_user || is_known, "invariant 2: {} shrinks to {to} while no one knows the route", set.name);
    if spec.canary.routing.is_none() {
        return;
    }
    let ranges = named.iter().filter_map(|router| router.state.as_ref().ok()?.weights).chain(left(world));
    let wider = |one: WeightRange, other: WeightRange| WeightRange {
        canary_min: one.canary_min.min(other.canary_min),
        canary_max: one.canary_max.max(other.canary_max),
        ..one
    };
    let Some(range) = ranges.reduce(wider) else { return };
    let canary = selected(world, spec.canary.canary_service.as_ref());
    let stable = selected(world, spec.canary.stable_service.as_ref());
    let given = i32::from(canary == Some(set.hash())) * range.canary_max
        + i32::from(stable == Some(set.hash())) * (range.total - range.canary_min);
    let scaled = world.snapshot.rollout.spec_raw.to_string().contains("setCanaryScale");
    let needed = if scaled && stable != Some(set.hash()) {
        i32::from(given > 0)
    } else {
        (desired * given.min(range.total) + range.total - 1) / range.total
    };
    assert!(by_user || to >= needed, "invariant 2: {} shrinks to {to} while it gets {given}", set.name);
    assert!(to > 0 || given == 0 || desired == 0, "invariant 2: {} goes while it gets {given}", set.name);
    // The canary itself may go while only its own Service leads to it: at weight 0 that is what the user asked for.
    let is_canary = set.hash() == world.status().current_pod_hash && !world.status().abort;
    let is_selected = stable == Some(set.hash()) || (canary == Some(set.hash()) && !is_canary);
    assert!(
        to > 0 || desired == 0 || !is_selected,
        "invariant 2: {} goes while a Service leads to it",
        set.name
    );
}
