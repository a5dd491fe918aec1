//! What the ReplicaSet controller, the kubelet and the Job controller make of objects.

use super::{a_set, at, create, get, is_observed, merge, operations, replica_set, step};
use crate::conformance::relations::{self, ALWAYS};
use crate::conformance::{Act, Case, Program, Step};
use crate::world::jobs::JOBS;
use crate::world::server::number;
use headgate_driver::resources::REPLICA_SETS;
use serde_json::{Value, json};

pub(super) fn all() -> Vec<Case> {
    vec![
        growth(),
        min_ready(),
        shrinking(),
        shrinking_of_the_unready(),
        shrinking_of_the_starting(),
        never_ready(),
        lost_pod(),
        unready_pod(),
        job_that_succeeds(),
        job_that_fails(),
        job_that_is_tried_again(),
    ]
}

/// What containers do is written differently in the two worlds, and nobody reads it back.
const TEMPLATE: &[&str] = &["/spec/template"];

fn of_pods(name: &'static str, steps: Vec<Step>) -> Case {
    Case { ignored: TEMPLATE, ..Case::new(name, steps) }
}

fn set(program: Program, replicas: i64) -> Value {
    let mut set = replica_set("s", &json!({ "name": "app", "image": program.image() }));
    set["spec"]["replicas"] = json!(replicas);
    set
}

fn s() -> headgate_driver::io::ObjectRef {
    a_set("s")
}

/// As the driver scales.
fn scale(name: &'static str, from: i64, to: i64) -> Step {
    let body = json!([
        { "op": "test", "path": "/metadata/uid", "value": "@made/metadata/uid" },
        { "op": "test", "path": "/spec/replicas", "value": from },
        { "op": "replace", "path": "/spec/replicas", "value": to },
    ]);
    operations(name, s(), body)
}

fn count(set: &Value, field: &str) -> i64 {
    number(set, &format!("/status/{field}"))
}

/// As many as are wanted are there and available, and nothing more, and it is known.
fn is_complete(set: &Value) -> bool {
    let wanted = number(set, "/spec/replicas");
    let counts = ["replicas", "readyReplicas", "availableReplicas"];
    is_observed(set)
        && counts.iter().all(|field| count(set, field) == wanted)
        && count(set, "terminatingReplicas") == 0
}

fn has_two_ready(set: &Value) -> bool {
    count(set, "readyReplicas") == 2
}

fn has_two_available(set: &Value) -> bool {
    count(set, "availableReplicas") == 2
}

fn is_ready_too_short(set: &Value) -> bool {
    is_observed(set) && has_two_ready(set) && count(set, "availableReplicas") == 0
}

fn has_one_to_come(set: &Value) -> bool {
    count(set, "replicas") == 3 && has_two_available(set)
}

fn growth() -> Case {
    of_pods(
        "growth",
        vec![
            create("made", REPLICA_SETS, set(Program::Serves, 0)),
            step("it is observed", Act::Await(s(), is_complete)),
            scale("up", 0, 3),
            step("three are available", Act::Await(s(), is_complete)),
            scale("a repeated request is refused", 0, 3),
            step("at all times", Act::Relations(s(), ALWAYS)),
        ],
    )
}

fn min_ready() -> Case {
    let mut made = set(Program::Serves, 2);
    made["spec"]["minReadySeconds"] = json!(6);
    of_pods(
        "min-ready",
        vec![
            create("made", REPLICA_SETS, made),
            step("two are available in time", Act::Await(s(), is_complete)),
            merge("more is asked for", s(), json!({ "spec": { "minReadySeconds": 100_000 } })),
            step("they are ready and no longer available", Act::Await(s(), is_ready_too_short)),
            merge("nothing is asked for", s(), json!({ "spec": { "minReadySeconds": 0 } })),
            step("they are available at once", Act::Await(s(), is_complete)),
            step("at all times", Act::Relations(s(), ALWAYS)),
        ],
    )
}

fn shrinking() -> Case {
    of_pods(
        "shrinking",
        vec![
            create("made", REPLICA_SETS, set(Program::Serves, 3)),
            step("three are available", Act::Await(s(), is_complete)),
            scale("down", 3, 1),
            step("one is left", Act::Await(s(), is_complete)),
            step("at all times", Act::Relations(s(), ALWAYS)),
            step("on the way", Act::Relations(s(), relations::COUNTED_BEFORE)),
            scale("to nothing", 1, 0),
            step("none is left", Act::Await(s(), is_complete)),
        ],
    )
}

fn shrinking_of_the_unready() -> Case {
    of_pods(
        "shrinking-of-the-unready",
        vec![
            create("made", REPLICA_SETS, set(Program::Serves, 3)),
            step("three are available", Act::Await(s(), is_complete)),
            step("one fails its probe", Act::FailProbe(60)),
            step("two are ready", Act::Await(s(), has_two_ready)),
            scale("down", 3, 2),
            step("two are left", Act::Await(s(), is_complete)),
            step("at all times", Act::Relations(s(), ALWAYS)),
            step("on the way", Act::Relations(s(), relations::UNREADY_FIRST)),
        ],
    )
}

fn shrinking_of_the_starting() -> Case {
    of_pods(
        "shrinking-of-the-starting",
        vec![
            create("made", REPLICA_SETS, set(Program::ServesLate, 2)),
            step("two are available", Act::Await(s(), is_complete)),
            scale("up", 2, 3),
            step("three are counted", Act::Await(s(), |set| count(set, "replicas") == 3)),
            scale("down", 3, 2),
            step("two are left", Act::Await(s(), is_complete)),
            step("on the way", Act::Relations(s(), relations::UNREADY_FIRST)),
        ],
    )
}

fn never_ready() -> Case {
    let mut other = set(Program::ServesLate, 1);
    other["metadata"]["name"] = json!("other");
    other["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    other["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
    of_pods(
        "never-ready",
        vec![
            create("made", REPLICA_SETS, set(Program::NeverReady, 2)),
            step("two are counted", Act::Await(s(), |set| count(set, "replicas") == 2)),
            create("another set, made later", REPLICA_SETS, other),
            step("is available", Act::Await(a_set("other"), is_complete)),
            get("the first is not", s()),
            step("at all times", Act::Relations(s(), ALWAYS)),
        ],
    )
}

fn lost_pod() -> Case {
    // On a busy machine the deleted pod may have gone before the watch that awaits the next one begins; the next one
    // is late, so that it is awaited before it serves.
    let ignored = &["/spec/template", "/status/terminatingReplicas"];
    let case = of_pods(
        "lost-pod",
        vec![
            create("made", REPLICA_SETS, set(Program::ServesLate, 3)),
            step("three are available", Act::Await(s(), is_complete)),
            step("a pod is deleted", Act::DeletePod),
            step("another is counted, and not available yet", Act::Await(s(), has_one_to_come)),
            step("it is replaced", Act::Await(s(), is_complete)),
            step("at all times", Act::Relations(s(), ALWAYS)),
            step("never less than two", Act::Relations(s(), relations::ONE_LESS)),
            step("and its drain is not counted", Act::Relations(s(), relations::NOT_COUNTED)),
        ],
    );
    Case { ignored, ..case }
}

fn unready_pod() -> Case {
    of_pods(
        "unready-pod",
        vec![
            create("made", REPLICA_SETS, set(Program::Serves, 3)),
            step("three are available", Act::Await(s(), is_complete)),
            step("one fails its probe", Act::FailProbe(20)),
            step("two are available", Act::Await(s(), has_two_available)),
            step("it recovers", Act::Await(s(), is_complete)),
            step("at all times", Act::Relations(s(), ALWAYS)),
            step("never less than two", Act::Relations(s(), relations::ONE_LESS)),
            step("and it was not replaced", Act::Relations(s(), relations::COUNTED)),
        ],
    )
}

/// What is between creation and the end is the Job controller's own affair; a template and its labels name the Job's uid.
const JOB: &[&str] = &["/spec/template", "/spec/selector", "/metadata/labels", "/metadata/resourceVersion"];

fn job(program: Program, backoff_limit: i64) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": "j" },
        "spec": {
            "backoffLimit": backoff_limit,
            "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{ "name": "app", "image": program.image() }],
            }},
        },
    })
}

fn has_ended(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ends = |condition: &Value| condition["type"] == "Complete" || condition["type"] == "Failed";
    conditions.filter(|condition| condition["status"] == "True").any(ends)
}

fn of_job(name: &'static str, program: Program, backoff_limit: i64) -> Case {
    let j = || at(JOBS, "j");
    let steps = vec![
        create("made", JOBS, job(program, backoff_limit)),
        step("a pod of it is active", Act::Await(j(), |job| count(job, "active") == 1)),
        step("it ends", Act::Await(j(), has_ended)),
    ];
    Case { ignored: JOB, ..Case::new(name, steps) }
}

fn job_that_succeeds() -> Case {
    of_job("job-that-succeeds", Program::Succeeds, 0)
}

fn job_that_fails() -> Case {
    of_job("job-that-fails", Program::Fails, 0)
}

fn job_that_is_tried_again() -> Case {
    of_job("job-that-is-tried-again", Program::Fails, 1)
}
