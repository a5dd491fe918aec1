//! Patches: what fits, what does not, and what they demand.

use super::{a_rollout, at, create, delete, get, merge, merge_status, operations, rollout};
use crate::conformance::Case;
use crate::world::routes::VIRTUAL_SERVICES;
use headgate_driver::resources::ROLLOUTS;
use serde_json::{Value, json};

pub(super) fn all() -> Vec<Case> {
    vec![merge_patches(), json_patches(), lists_in_objects(), preconditions(), preconditions_of_a_record()]
}

fn merge_patches() -> Case {
    let a = || a_rollout("a");
    let notes = |notes: Value| json!({ "metadata": { "annotations": notes } });
    Case::new(
        "merge-patches",
        vec![
            create("made", ROLLOUTS, rollout("a")),
            merge("removal of what is not there is no change", a(), notes(json!({ "x": null }))),
            merge("a value", a(), notes(json!({ "x": "1", "y": "2" }))),
            merge("the same value is no change", a(), notes(json!({ "x": "1" }))),
            merge("removal", a(), notes(json!({ "x": null }))),
            merge("removal of the last one", a(), notes(json!({ "y": null }))),
            merge(
                "a list is replaced as a whole",
                a(),
                json!({ "spec": { "strategy": { "canary": { "steps": [{ "setWeight": 30 }] } } } }),
            ),
            merge(
                "a null within a new object is left out",
                a(),
                json!({ "spec": { "analysis": { "successfulRunHistoryLimit": 1, "unsuccessfulRunHistoryLimit": null } } }),
            ),
            merge("an object within objects is removed", a(), json!({ "spec": { "analysis": null } })),
            merge("nothing", a(), json!({})),
        ],
    )
}

fn json_patches() -> Case {
    let a = || a_rollout("a");
    let table = [
        (
            "a test that holds, and a change",
            json!([
                test("/metadata/uid", "@made/metadata/uid"),
                test("/spec/replicas", 3),
                replace("/spec/replicas", 5)
            ]),
        ),
        ("a test that fails", json!([test("/spec/replicas", 3), replace("/spec/replicas", 7)])),
        (
            "a test that fails after a change",
            json!([replace("/spec/replicas", 7), test("/spec/replicas", 5)]),
        ),
        ("a test of what is not there", json!([test("/spec/paused", true)])),
        ("a test for null of what is not there", json!([test("/spec/paused", Value::Null)])),
        ("a test below what is not there", json!([test("/spec/none/of/it", Value::Null)])),
        ("replacement of what is not there", json!([replace("/spec/paused", true)])),
        ("replacement below what is not there", json!([replace("/spec/none/of/it", true)])),
        ("removal below what is not there", json!([remove("/spec/none/of/it")])),
        ("addition of what is there", json!([add("/spec/paused", false)])),
        ("addition of what is not there", json!([add("/spec/revisionHistoryLimit", 3)])),
        ("addition below what is not there", json!([add("/metadata/annotations/x", "1")])),
        (
            "addition of its parent first",
            json!([
                add("/metadata/annotations", json!({})),
                add("/metadata/annotations/example.org~1key", "1")
            ]),
        ),
        ("removal, with a slash in the key", json!([remove("/metadata/annotations/example.org~1key")])),
        ("removal of what is not there", json!([remove("/metadata/annotations/x")])),
        ("the same value is no change", json!([replace("/spec/replicas", 5)])),
        ("no operations", json!([])),
        (
            "an operation that does not exist",
            json!([{ "op": "increase", "path": "/spec/replicas", "value": 1 }]),
        ),
        ("no list", json!({ "op": "test" })),
    ];
    let mut steps = vec![create("made", ROLLOUTS, rollout("a"))];
    steps.extend(table.map(|(name, body)| operations(name, a(), body)));
    steps.push(get("what has come of it", a()));
    Case::new("json-patches", steps)
}

fn test(path: &str, value: impl Into<Value>) -> Value {
    json!({ "op": "test", "path": path, "value": value.into() })
}

fn replace(path: &str, value: impl Into<Value>) -> Value {
    json!({ "op": "replace", "path": path, "value": value.into() })
}

fn add(path: &str, value: impl Into<Value>) -> Value {
    json!({ "op": "add", "path": path, "value": value.into() })
}

fn remove(path: &str) -> Value {
    json!({ "op": "remove", "path": path })
}

fn lists_in_objects() -> Case {
    let route = |weight: i64| {
        json!([
            { "destination": { "host": "stable" }, "weight": 100 - weight },
            { "destination": { "host": "canary" }, "weight": weight },
        ])
    };
    let routes = |weight: i64| json!([{ "name": "primary", "route": route(weight) }]);
    let made = json!({
        "metadata": { "name": "v" },
        "spec": { "hosts": ["shop.example"], "http": routes(0) },
    });
    let v = || at(VIRTUAL_SERVICES, "v");
    let other = || json!({ "name": "other", "route": [{ "destination": { "host": "other" } }] });
    let table = [
        ("a member of an item", json!([replace("/spec/http/0/route/1/weight", 10)])),
        ("insertion before", json!([add("/spec/http/0", other())])),
        ("insertion at the end", json!([add("/spec/http/-", other())])),
        ("removal", json!([remove("/spec/http/0")])),
        ("a test of an item", json!([test("/spec/http/1", other())])),
        ("a test behind the end", json!([test("/spec/http/7", Value::Null)])),
        ("replacement behind the end", json!([replace("/spec/http/7", other())])),
        ("insertion behind the end", json!([add("/spec/http/7", other())])),
    ];
    let fenced = json!({
        "metadata": { "resourceVersion": "@made/metadata/resourceVersion" },
        "spec": { "http": routes(50) },
    });
    let mut steps = vec![create("made", VIRTUAL_SERVICES, made)];
    steps.extend(table.map(|(name, body)| operations(name, v(), body)));
    steps.push(merge("a merge patch with a version of before", v(), fenced));
    steps.push(merge("a merge patch replaces the list", v(), json!({ "spec": { "http": routes(50) } })));
    Case::new("lists-in-objects", steps)
}

/// Of an object that was never there.
const ANOTHER: &str = "00000000-0000-0000-0000-000000000000";

fn preconditions() -> Case {
    let a = || a_rollout("a");
    let (uid, before) = ("@made/metadata/uid", "@made/metadata/resourceVersion");
    let now = "@now/metadata/resourceVersion";
    let guarded = |metadata: Value| json!({ "metadata": metadata, "spec": { "paused": true } });
    let table = [
        ("a version of before", guarded(json!({ "resourceVersion": before }))),
        ("a version of before, and no change", json!({ "metadata": { "resourceVersion": before } })),
        ("the right uid", guarded(json!({ "uid": uid }))),
        ("another uid", json!({ "metadata": { "uid": ANOTHER }, "spec": { "paused": false } })),
        (
            "another uid and a version of before",
            guarded(json!({ "uid": ANOTHER, "resourceVersion": before })),
        ),
        ("another uid and the version of now", guarded(json!({ "uid": ANOTHER, "resourceVersion": now }))),
    ];
    let mut steps = vec![
        create("made", ROLLOUTS, rollout("a")),
        merge("the version of now", a(), guarded(json!({ "resourceVersion": before }))),
        get("now", a()),
    ];
    steps.extend(table.map(|(name, body)| merge(name, a(), body)));
    let replicas = replace("/spec/replicas", 1);
    steps.extend([
        operations(
            "a test of a version of before",
            a(),
            json!([test("/metadata/resourceVersion", before), replicas]),
        ),
        operations("a test of another uid", a(), json!([test("/metadata/uid", ANOTHER), replicas])),
        delete("deletion with another uid", a(), ANOTHER),
        get("it is still there", a()),
        delete("deletion with the right uid", a(), uid),
        delete("deletion again", a(), uid),
        create("another one of this name", ROLLOUTS, rollout("a")),
        delete("deletion with the uid of the one before", a(), uid),
        merge("its version", a(), guarded(json!({ "uid": uid, "resourceVersion": now }))),
        operations("its uid", a(), json!([test("/metadata/uid", uid), replicas])),
    ]);
    Case::new("preconditions", steps)
}

fn preconditions_of_a_record() -> Case {
    let a = || a_rollout("a");
    let record = |metadata: Value, phase: &str| json!({ "metadata": metadata, "status": { "phase": phase } });
    let (uid, before) = ("@made/metadata/uid", "@made/metadata/resourceVersion");
    let now = "@now/metadata/resourceVersion";
    Case::new(
        "preconditions-of-a-record",
        vec![
            create("made", ROLLOUTS, rollout("a")),
            merge_status(
                "uid and version of now",
                a(),
                record(json!({ "uid": uid, "resourceVersion": before }), "Healthy"),
            ),
            merge_status(
                "a version of before",
                a(),
                record(json!({ "uid": uid, "resourceVersion": before }), "Paused"),
            ),
            get("now", a()),
            merge_status(
                "another uid and the version of now",
                a(),
                record(json!({ "uid": ANOTHER, "resourceVersion": now }), "Paused"),
            ),
            merge_status("another uid", a(), record(json!({ "uid": ANOTHER }), "Degraded")),
            delete("deletion", a(), uid),
            create("another one of this name", ROLLOUTS, rollout("a")),
            merge_status(
                "the version of the one before",
                a(),
                record(json!({ "uid": uid, "resourceVersion": now }), "Paused"),
            ),
        ],
    )
}
