//! While nobody acts, nothing moves.

use crate::fleet::{
    KINDS, LEFT_OUT, STANDS_FOR, before_and_after, carried_out, changes, count, is_ours, objects, take_over,
};
use headgate_driver::resources::ANALYSIS_RUNS;
use headgate_sim::adoption::{Crds, World, refusal};
use headgate_sim::world::server::is_of;
use serde_json::Value;
use std::fmt::Write;

/// Time passes, no rule is broken, and the pods are as they were.
#[track_caller]
fn stands(name: &str, objects: &[Value], world: &mut World) {
    world.pass(STANDS_FOR);
    assert_eq!(world.broken_rule(), None, "{name}");
    assert_eq!(counts(world), counts_of(objects), "{name}");
}

#[test]
fn what_changes_when_headgate_takes_over() {
    let mut table = String::new();
    for name in carried_out() {
        let objects = objects(&name);
        assert_eq!(refusal(&objects), None, "{name}");
        let mut world = take_over(&objects);
        stands(&name, &objects, &mut world);
        for (before, after) in before_and_after(&objects, &world) {
            for change in changes(&before, &after) {
                assert!(
                    before["kind"] == "Rollout" && is_ours(&change),
                    "{name}: {}: {change}",
                    before["metadata"]["name"]
                );
                writeln!(table, "{name} {change}").unwrap();
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn with_the_crds_of_argo_rollouts_nothing_changes_at_all() {
    for name in carried_out() {
        let objects = objects(&name);
        let mut world = World::take_over(&objects, Vec::new(), Crds::Theirs).unwrap();
        stands(&name, &objects, &mut world);
        for (before, after) in before_and_after(&objects, &world) {
            assert_eq!(changes(&before, &after), Vec::<String>::new(), "{name}");
            assert_eq!(before["metadata"]["generation"], after["metadata"]["generation"], "{name}");
        }
    }
}

#[test]
fn what_is_left_out_cannot_be_taken_over_yet() {
    for (name, why) in LEFT_OUT {
        let mut world = take_over(&objects(name));
        world.pass(STANDS_FOR);
        let runs = world.all(ANALYSIS_RUNS).map(|run| &run["status"]["message"]);
        let says = [&world.rollout()["status"]["message"]]
            .into_iter()
            .chain(runs)
            .any(|message| message.as_str().is_some_and(|message| message.contains(why)));
        assert!(refusal(&objects(name)).is_some_and(|refusal| refusal.contains(why)), "{name}");
        assert!(says, "{name} can be taken over: test it with the others ({})", world.rollout()["status"]);
    }
}

#[test]
fn of_a_rollout_that_is_refused_nothing_changes_but_that_it_says_so() {
    const SAYS_SO: [&str; 3] = ["/status/phase:", "/status/message:", "/status/conditions/InvalidSpec:"];
    for (name, _) in LEFT_OUT {
        let objects = objects(name);
        let mut world = take_over(&objects);
        stands(name, &objects, &mut world);
        for (before, after) in before_and_after(&objects, &world) {
            for change in changes(&before, &after) {
                let is_told = SAYS_SO.iter().any(|told| change.starts_with(told)) || is_ours(&change);
                // A run has no status apart: each write makes a generation.
                let of_run = ["/status/message:", "/metadata/generation:"];
                let is_told_of_run = before["kind"] == "AnalysisRun"
                    && of_run.iter().any(|told| change.starts_with(told))
                    || change.contains("AnalysisRunStatus/message:");
                assert!(before["kind"] == "Rollout" && is_told || is_told_of_run, "{name}: {change}");
            }
        }
    }
}

/// How many objects of each kind there are.
fn counts(world: &World) -> Vec<usize> {
    KINDS.iter().map(|kind| count(world, *kind)).collect()
}

fn counts_of(objects: &[Value]) -> Vec<usize> {
    KINDS.iter().map(|kind| objects.iter().filter(|object| is_of(object, *kind)).count()).collect()
}
