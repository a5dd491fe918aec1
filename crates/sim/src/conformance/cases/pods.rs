//! Pods: lists as a restart reads them, evictions, and patches of their metadata.

use super::{at, create, merge, replica_set, step};
use crate::conformance::pods::{BUDGETS, PodAct, Uid, Version};
use crate::conformance::{Act, Case, Program, Step};
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::resources::REPLICA_SETS;
use serde_json::{Value, json};

pub(super) fn all() -> Vec<Case> {
    vec![pods_listed(), pods_evicted(), pods_evicted_beside_a_budget(), pods_patched()]
}

fn of_pods(name: &'static str, steps: Vec<Step>) -> Case {
    // What becomes of a ReplicaSet, other cases say; a budget's status only a real cluster has.
    Case { ignored: &["/spec/template", "/status"], ..Case::new(name, steps) }
}

/// A ReplicaSet of a version, as a Rollout makes it.
fn set(name: &'static str, program: Program, replicas: i64) -> Step {
    let mut set = replica_set(name, &json!({ "name": "app", "image": program.image() }));
    let labels = json!({ "app": name, "group": "g", POD_TEMPLATE_HASH: name });
    set["metadata"]["labels"] = labels.clone();
    set["spec"]["replicas"] = json!(replicas);
    set["spec"]["selector"]["matchLabels"][POD_TEMPLATE_HASH] = json!(name);
    set["spec"]["template"]["metadata"] =
        json!({ "labels": labels, "annotations": { "conformance/of": name } });
    create(name, REPLICA_SETS, set)
}

fn of(name: &'static str, act: PodAct) -> Step {
    step(name, Act::Pods(act))
}

fn list(name: &'static str, labels: &'static str) -> Step {
    of(name, PodAct::List(labels))
}

fn evict(name: &'static str, pod: usize, uid: Uid) -> Step {
    of(name, PodAct::Evict(pod, uid))
}

fn is_of(pod: &Value, set: &str) -> bool {
    pod["labels"]["app"] == set
}

fn is_ready(pod: &Value) -> bool {
    pod["conditions"]["Ready"]["status"] == "True" && pod["containers"][0]["ready"] == true
}

/// It runs and is not ready, and its kubelet has said so in all places.
fn is_unready(pod: &Value) -> bool {
    let is_false = |condition: &str| pod["conditions"][condition]["status"] == "False";
    is_false("Ready") && is_false("ContainersReady") && pod["containers"][0]["state"] == "running"
}

fn lacks_its_image(pod: &Value) -> bool {
    pod["containers"][0]["state"] == "waiting: no image"
}

/// So many pods of the set that serves are ready, and none leaves.
fn are_ready(pods: &[Value], count: usize) -> bool {
    let mut of_it = pods.iter().filter(|pod| is_of(pod, "s"));
    of_it.clone().count() == count && of_it.all(is_ready)
}

/// Each pod of the sets beside it is as it will stay, and none leaves.
fn are_others_settled(pods: &[Value]) -> bool {
    let settled = |set: &str, is_settled: fn(&Value) -> bool| {
        let mut of_it = pods.iter().filter(|pod| is_of(pod, set));
        of_it.clone().count() == 1 && of_it.all(is_settled)
    };
    settled("i", lacks_its_image) && settled("n", is_unready)
}

fn one_is_ready(pods: &[Value]) -> bool {
    are_ready(pods, 1)
}

fn two_are_ready(pods: &[Value]) -> bool {
    are_ready(pods, 2)
}

fn pods_listed() -> Case {
    let mut unmarked = replica_set("u", &json!({ "name": "app", "image": Program::NeverReady.image() }));
    unmarked["spec"]["replicas"] = json!(1);
    let is_complete = |pods: &[Value]| {
        let is_there = |pod: &Value| is_of(pod, "u") && is_unready(pod);
        are_ready(pods, 1) && are_others_settled(pods) && pods.iter().any(is_there)
    };
    let loses_readiness = |pods: &[Value]| pods.iter().any(|pod| is_of(pod, "s") && is_unready(pod));
    of_pods(
        "pods-listed",
        vec![
            list("nothing yet", ""),
            set("i", Program::NoImage, 1),
            set("n", Program::NeverReady, 1),
            set("s", Program::Serves, 1),
            create("a set without a hash", REPLICA_SETS, unmarked),
            of("one without its image, two that do not get ready, one that is", PodAct::Await(is_complete)),
            list("those of versions", POD_TEMPLATE_HASH),
            list("those of one version, as a restart asks", "app=s,rollouts-pod-template-hash"),
            list("those of none", "!rollouts-pod-template-hash"),
            list("those of a version that is not there", "rollouts-pod-template-hash=none"),
            step("the one that is ready fails its probe", Act::FailProbe(60)),
            of("and is not ready any more", PodAct::Await(loses_readiness)),
        ],
    )
}

fn pods_evicted() -> Case {
    let role = json!({ "labels": { "role": "stable" } });
    of_pods(
        "pods-evicted",
        vec![
            set("s", Program::Lingers, 2),
            of("two are ready", PodAct::Await(two_are_ready)),
            evict("with another uid", 1, Uid::Another),
            of("nothing has become of it", PodAct::Look(1)),
            evict("with the right uid", 1, Uid::Own),
            of("it leaves", PodAct::Look(1)),
            evict("again, while it leaves", 1, Uid::Own),
            // Not with another uid: of a pod that leaves the real one tries that again and again, for as long as we wait.
            of("another one has taken its place", PodAct::Await(two_are_ready)),
            of("and it is gone", PodAct::Look(1)),
            evict("what is gone", 1, Uid::Own),
            evict("what is gone, with another uid", 1, Uid::Another),
            of("its metadata", PodAct::Patch(1, Uid::Own, Version::Last, role)),
        ],
    )
}

/// The steps in which a budget changes, and has counted its pods.
fn allows(name: &'static str, missing: i64, counted: &'static str, needed: i64, healthy: i64) -> [Step; 2] {
    let budget = at(BUDGETS, "b");
    let spec = json!({ "spec": { "maxUnavailable": missing } });
    [merge(name, budget.clone(), spec), step(counted, Act::AwaitBudget { target: budget, needed, healthy })]
}

fn pods_evicted_beside_a_budget() -> Case {
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "b" },
        "spec": { "maxUnavailable": 0, "selector": { "matchLabels": { "group": "g" } } },
    });
    let are_there = |pods: &[Value]| are_ready(pods, 2) && are_others_settled(pods);
    let mut steps = vec![
        set("i", Program::NoImage, 1),
        set("n", Program::NeverReady, 1),
        set("s", Program::Lingers, 2),
        of("two are ready, 3 and 4; 1 lacks its image, 2 never gets ready", PodAct::Await(are_there)),
        create("a budget", BUDGETS, budget),
    ];
    steps.extend(allows("it wants more than there are", 1, "two are healthy and three needed", 3, 2));
    steps.extend([
        evict("one that is ready", 3, Uid::Own),
        evict("with another uid: the budget is asked first", 3, Uid::Another),
        evict("one that is not ready", 2, Uid::Own),
        evict("one that has never run", 1, Uid::Own),
    ]);
    steps.extend(allows("it wants all that there are", 2, "two are healthy and needed", 2, 2));
    steps.extend([
        evict("one that is not ready, when enough are", 2, Uid::Own),
        evict("one that is ready, when no more are than needed", 3, Uid::Own),
    ]);
    steps.extend(allows("it can do without one", 3, "two are healthy and one needed", 1, 2));
    steps.extend([
        evict("the first", 3, Uid::Own),
        evict("the second", 4, Uid::Own),
        evict("the first again, while it leaves", 3, Uid::Own),
        of("the first", PodAct::Look(3)),
        of("the second is still there", PodAct::Look(4)),
    ]);
    let is_replaced = "another one has taken the place of the first";
    let is_back = |pods: &[Value]| are_ready(pods, 2) && are_others_settled(pods);
    steps.extend([
        of(is_replaced, PodAct::Await(is_back)),
        step(
            "the budget has counted it",
            Act::AwaitBudget { target: at(BUDGETS, "b"), needed: 1, healthy: 2 },
        ),
        // The last step: in a real cluster the budget counts this as an eviction for two minutes.
        evict("with another uid, when the budget allows it", 4, Uid::Another),
    ]);
    of_pods("pods-evicted-beside-a-budget", steps)
}

fn pods_patched() -> Case {
    use Uid::{Another, Own};
    use Version::{Any, First, Last};
    let role =
        |role: Value| json!({ "labels": { "role": role }, "annotations": { "conformance/role": role } });
    let (canary, stable, none) = (role(json!("canary")), role(json!("stable")), role(Value::Null));
    let patch =
        |name, uid, version, metadata: &Value| of(name, PodAct::Patch(1, uid, version, metadata.clone()));
    of_pods(
        "pods-patched",
        vec![
            set("s", Program::Lingers, 1),
            of("one is ready", PodAct::Await(one_is_ready)),
            patch("the version of now", Own, Last, &canary),
            patch("a version of before", Own, First, &stable),
            patch("a version of before, and no change", Own, First, &canary),
            patch("the version of the answer", Own, Last, &stable),
            patch("no change", Own, Last, &stable),
            patch("another uid and the version of now", Another, Last, &canary),
            patch("another uid and a version of before", Another, First, &canary),
            patch("another uid and any version", Another, Any, &canary),
            of("nothing has come of these", PodAct::Look(1)),
            patch("removal", Own, Last, &none),
            list("those of the set still", "app=s,rollouts-pod-template-hash=s"),
            evict("it leaves", 1, Own),
            patch("the version before it left", Own, Last, &stable),
            patch("any version, while it leaves", Own, Any, &canary),
            of("another one has taken its place, as the template says", PodAct::Await(one_is_ready)),
            patch("what is gone", Own, Last, &stable),
        ],
    )
}
