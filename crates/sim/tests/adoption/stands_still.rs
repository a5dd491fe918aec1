//! While nobody acts, nothing moves.

use crate::fleet::{KINDS, LEFT_OUT, STANDS_FOR, before_and_after, carried_out, objects, take_over};
use headgate_driver::resources::ANALYSIS_RUNS;
use headgate_sim::adoption::World;
use headgate_sim::world::server::is_of;
use serde_json::Value;
use std::fmt::Write;

#[test]
fn what_changes_when_headgate_takes_over() {
    let mut table = String::new();
    for name in carried_out() {
        let objects = objects(&name);
        let mut world = take_over(&objects);
        world.pass(STANDS_FOR);
        assert_eq!(world.broken_rule(), None, "{name}");
        assert_eq!(count(&world), count_of(&objects), "{name}");
        for (before, after) in before_and_after(&objects, &world) {
            for change in changes(&before, &after) {
                let is_ours =
                    ["/status/headgate:", "/status/waiting:"].iter().any(|ours| change.starts_with(ours));
                assert!(
                    before["kind"] == "Rollout" && is_ours,
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
fn what_is_left_out_cannot_be_taken_over_yet() {
    for (name, why) in LEFT_OUT {
        let mut world = take_over(&objects(name));
        world.pass(STANDS_FOR);
        let runs = world.all(ANALYSIS_RUNS).map(|run| &run["status"]["message"]);
        let says = [&world.rollout()["status"]["message"]]
            .into_iter()
            .chain(runs)
            .any(|message| message.as_str().is_some_and(|message| message.contains(why)));
        assert!(says, "{name} can be taken over: test it with the others ({})", world.rollout()["status"]);
    }
}

/// How many objects of each kind there are.
fn count(world: &World) -> Vec<usize> {
    KINDS.iter().map(|kind| world.all(*kind).count()).collect()
}

fn count_of(objects: &[Value]) -> Vec<usize> {
    KINDS.iter().map(|kind| objects.iter().filter(|object| is_of(object, *kind)).count()).collect()
}

/// Fields that differ, with what they were and are. The server's own counter is none of them.
fn changes(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(before, after, "", &mut found);
    found.retain(|change| !change.starts_with("/metadata/resourceVersion:"));
    found
}

fn compare(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    let (one, other) = (by_type(before), by_type(after));
    match (one.as_ref().unwrap_or(before), other.as_ref().unwrap_or(after)) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                compare(&of(one), &of(other), &format!("{path}/{key}"), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(one, other, &format!("{path}/{index}"), found);
            }
        }
        _ if before != after => found.push(format!("{path}: {before} -> {after}")),
        _ => {}
    }
}

/// Conditions are told apart by their types, not by their places.
fn by_type(conditions: &Value) -> Option<Value> {
    let entry = |condition: &Value| Some((condition.get("type")?.as_str()?.to_owned(), condition.clone()));
    let entries: Option<serde_json::Map<String, Value>> = conditions.as_array()?.iter().map(entry).collect();
    entries.filter(|entries| !entries.is_empty()).map(Value::Object)
}
