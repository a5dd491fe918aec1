//! How objects come and go: finalizers, owners, and what watches tell of it.

use super::{a_rollout, a_run, analysis_run, create, delete, get, merge, merge_status, rollout, step};
use crate::conformance::{Act, Case};
use headgate_driver::resources::{ANALYSIS_RUNS, ROLLOUTS};
use serde_json::{Value, json};

pub(super) fn all() -> Vec<Case> {
    vec![finalizers(), finalizers_of_a_run(), owners(), owners_that_never_were(), watches()]
}

const HOLD: &str = "example.org/hold";

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body["metadata"][field] = value;
    body
}

fn finalizers() -> Case {
    let a = || a_rollout("a");
    let hold = |finalizers: Value| json!({ "metadata": { "finalizers": finalizers } });
    Case::new(
        "finalizers",
        vec![
            create("made", ROLLOUTS, with(rollout("a"), "finalizers", json!([HOLD]))),
            delete("another uid", a(), "00000000-0000-0000-0000-000000000000"),
            delete("deletion", a(), "@made/metadata/uid"),
            get("it is still there", a()),
            delete("deletion again", a(), "@made/metadata/uid"),
            create("another of this name", ROLLOUTS, rollout("a")),
            merge("its spec still changes", a(), json!({ "spec": { "replicas": 4 } })),
            merge_status("its status still changes", a(), json!({ "status": { "phase": "Degraded" } })),
            merge("a finalizer more", a(), hold(json!([HOLD, "example.org/another"]))),
            merge("another finalizer instead", a(), hold(json!(["example.org/another"]))),
            merge(
                "its deletion cannot be taken back",
                a(),
                json!({ "metadata": { "deletionTimestamp": null } }),
            ),
            merge("the end of the last finalizer", a(), hold(Value::Null)),
            get("it is gone", a()),
            create("a new one", ROLLOUTS, rollout("a")),
            merge("a finalizer later", a(), hold(json!([HOLD]))),
            merge("and away", a(), hold(json!([]))),
            step("what watches tell", Act::History(a())),
            delete("without finalizers it goes at once", a(), "@a new one/metadata/uid"),
            get("it is gone", a()),
        ],
    )
}

fn finalizers_of_a_run() -> Case {
    let r = || a_run("r");
    Case::new(
        "finalizers-of-a-run",
        vec![
            create("made", ANALYSIS_RUNS, with(analysis_run("r"), "finalizers", json!([HOLD]))),
            delete("deletion", r(), "@made/metadata/uid"),
            merge(
                "status and the end of the finalizer at once",
                r(),
                json!({
                    "metadata": { "finalizers": null }, "status": { "phase": "Successful" },
                }),
            ),
            get("it is gone", r()),
            step("what watches tell", Act::History(r())),
        ],
    )
}

fn owner(name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": name, "uid": uid, "controller": true,
    })
}

fn co_owner(name: &str, uid: &str) -> Value {
    json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": name, "uid": uid })
}

fn owned(name: &str, owners: Value) -> Value {
    with(analysis_run(name), "ownerReferences", owners)
}

fn has_one_owner(object: &Value) -> bool {
    object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .is_some_and(|owners| owners.len() == 1)
}

fn is_leaving(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

fn owners() -> Case {
    let uid = "@parent/metadata/uid";
    let run_of_child = json!([{
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "name": "child", "uid": "@child/metadata/uid", "controller": true,
    }]);
    let held = with(owned("held", json!([owner("a", uid)])), "finalizers", json!([HOLD]));
    let both = json!([owner("a", uid), co_owner("b", "@other parent/metadata/uid")]);
    Case::new(
        "owners",
        vec![
            create("parent", ROLLOUTS, rollout("a")),
            create("other parent", ROLLOUTS, rollout("b")),
            create("child", ANALYSIS_RUNS, owned("child", json!([owner("a", uid)]))),
            create("child of the child", ANALYSIS_RUNS, owned("grandchild", run_of_child)),
            create("child with a finalizer", ANALYSIS_RUNS, held),
            create("child of two", ANALYSIS_RUNS, owned("shared", both)),
            delete("the parent goes", a_rollout("a"), uid),
            step("the child follows", Act::AwaitGone(a_run("child"))),
            step("and its child", Act::AwaitGone(a_run("grandchild"))),
            step("one with a finalizer waits", Act::Await(a_run("held"), is_leaving)),
            step("one with another owner stays", Act::Await(a_run("shared"), has_one_owner)),
            merge("the finalizer ends", a_run("held"), json!({ "metadata": { "finalizers": null } })),
            step("then it goes", Act::AwaitGone(a_run("held"))),
            delete("the other parent goes", a_rollout("b"), "@other parent/metadata/uid"),
            step("now the shared one follows", Act::AwaitGone(a_run("shared"))),
        ],
    )
}

fn owners_that_never_were() -> Case {
    let nobody = "00000000-0000-0000-0000-000000000000";
    Case::new(
        "owners-that-never-were",
        vec![
            create("parent", ROLLOUTS, rollout("a")),
            create("child of nobody", ANALYSIS_RUNS, owned("stray", json!([owner("ghost", nobody)]))),
            create(
                "child of nobody and somebody",
                ANALYSIS_RUNS,
                owned("half", json!([owner("ghost", nobody), co_owner("a", "@parent/metadata/uid")])),
            ),
            create(
                "child whose owner has this name and another uid",
                ANALYSIS_RUNS,
                owned("mistaken", json!([owner("a", nobody)])),
            ),
            create(
                "child of the parent",
                ANALYSIS_RUNS,
                owned("adopted", json!([owner("a", "@parent/metadata/uid")])),
            ),
            step("that of nobody goes", Act::AwaitGone(a_run("stray"))),
            step("that of a mistaken one too", Act::AwaitGone(a_run("mistaken"))),
            step("that of somebody stays, without nobody", Act::Await(a_run("half"), has_one_owner)),
            get("that of the parent is untouched", a_run("adopted")),
            merge(
                "it is given to nobody",
                a_run("adopted"),
                json!({ "metadata": { "ownerReferences": [owner("ghost", nobody)] } }),
            ),
            step("then it goes", Act::AwaitGone(a_run("adopted"))),
        ],
    )
}

fn watches() -> Case {
    let a = || a_rollout("a");
    Case::new(
        "watches",
        vec![
            create("made", ROLLOUTS, rollout("a")),
            merge("its spec", a(), json!({ "spec": { "replicas": 4 } })),
            merge_status("its status", a(), json!({ "status": { "phase": "Progressing" } })),
            merge("no change", a(), json!({ "spec": { "replicas": 4 } })),
            merge(
                "a refused one",
                a(),
                json!({ "metadata": { "resourceVersion": "@made/metadata/resourceVersion" }, "spec": { "replicas": 9 } }),
            ),
            merge("a label", a(), json!({ "metadata": { "labels": { "x": "1" } } })),
            create("another object", ROLLOUTS, rollout("b")),
            delete("deletion", a(), "@made/metadata/uid"),
            step("what watches tell", Act::History(a())),
            step("of the other", Act::History(a_rollout("b"))),
        ],
    )
}
