//! What the conditions of a Rollout say, and since when, in each phase of its life: `kubectl wait`, Argo CD and alerts go by
//! them. `lastTransitionTime` moves with the status of a condition only (Argo Rollouts: `SetRolloutCondition`).

use crate::world::{World, routed, spec};
use headgate_api::Time;
use serde_json::json;
use std::fmt::Write;

/// Each condition, with its last transition and its last update in seconds since the beginning.
fn conditions(world: &World, begun: i64) -> String {
    let since = |time: &Option<Time>| time.as_ref().map_or(-1, |time| time.0.as_second() - begun);
    let mut lines = String::new();
    for one in &world.status().conditions {
        let (changed, updated) = (since(&one.last_transition_time), since(&one.last_update_time));
        writeln!(lines, "  {}={} {} {changed} {updated}", one.type_, one.status, one.reason).unwrap();
    }
    lines
}

#[test]
fn conditions_say_what_is_and_since_when_all_through_the_life_of_a_rollout() {
    let steps = json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]);
    let mut world = World::new(spec(4, routed(steps)));
    let begun = world.now.as_second();
    let mut told = String::new();
    let mut then = |world: &mut World, what: &str, act: &dyn Fn(&mut World)| {
        world.pass(100);
        act(world);
        let (seconds, phase) = (world.now.as_second() - begun, world.phase());
        write!(told, "{seconds} {what}: {phase}\n{}", conditions(world, begun)).unwrap();
    };
    let second = world.hash(2);
    then(&mut world, "applied, no pod yet", &|world| {
        world.step();
    });
    then(&mut world, "its pods are available", &World::settle);
    then(&mut world, "another version", &|world| {
        world.release(2);
        world.step();
    });
    then(&mut world, "at its pause", &World::settle);
    then(&mut world, "promoted to the next one", &|world| {
        world.promote();
        world.settle();
    });
    then(&mut world, "aborted", &|world| {
        world.abort();
        world.settle();
    });
    then(&mut world, "tried again", &|world| {
        world.retry();
        world.settle();
    });
    then(&mut world, "promoted in full", &|world| {
        world.promote_full();
        world.settle();
    });
    then(&mut world, "a pod is lost", &|world| {
        world.kill_pods(&second, 3);
        world.step();
    });
    then(&mut world, "it is back", &World::settle);
    then(&mut world, "the spec is wrong", &|world| {
        world.edit(|spec| spec["strategy"]["canary"]["steps"][0] = json!({"setWeight": 101}));
        world.settle();
    });
    then(&mut world, "it is mended", &|world| {
        world.edit(|spec| spec["strategy"]["canary"]["steps"][0] = json!({"setWeight": 10}));
        world.settle();
    });
    insta::assert_snapshot!(told);
}

#[test]
fn pods_that_flap_put_no_deadline_off_although_fewer_are_wanted_in_the_end() {
    let steps = json!([{"setCanaryScale": {"replicas": 2}}, {"setWeight": 50}, {"pause": {}}]);
    let mut world = World::running(spec(4, routed(steps)));
    world.scale(0);
    let second = world.hash(2);
    world.broken.insert(second.clone());
    world.release(2);
    world.settle();
    let updated = |world: &World| {
        let conditions = &world.status().conditions;
        conditions.iter().find(|condition| condition.type_ == "Progressing").unwrap().last_update_time.clone()
    };
    let flap = |world: &mut World| {
        for ready in [1, 0] {
            world.pass(20);
            let set = world.sets_mut().iter_mut().find(|set| set.hash() == second).unwrap();
            set.ready = ready;
            let decision = world.decide();
            world.carry_out(&decision, usize::MAX);
        }
    };
    flap(&mut world);
    let first = updated(&world);
    flap(&mut world);
    assert_eq!(updated(&world), first);
}
