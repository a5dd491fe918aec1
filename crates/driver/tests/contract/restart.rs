//! Restarts: pods are read live for each decision that may evict some, and evicted by their uid.

use crate::made::two_pods;
use crate::script::calls_since;
use crate::server::refused;
use crate::world::{World, at};
use headgate_driver::io::{Call, Reply};
use headgate_driver::resources::{PODS, ROLLOUTS};
use serde_json::{Value, json};

/// Asks for a restart; returns how many calls there were before.
fn ask(world: &mut World) -> usize {
    let at_once = world.now.to_string();
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "restartAt": at_once } }));
    world.log.len()
}

fn pods(world: &World) -> Vec<&str> {
    let pods = world.server.objects.keys().filter(|target| target.resource == PODS);
    pods.map(|target| target.name.as_str()).collect()
}

fn status<'a>(world: &'a World, pointer: &str) -> &'a Value {
    world.rollout().pointer(pointer).unwrap_or(&Value::Null)
}

#[test]
fn pods_are_replaced_one_by_one_each_after_a_look_at_all_of_them_and_at_the_rollout() {
    let mut world = two_pods();
    let start = ask(&mut world);
    world.settle();
    let calls = calls_since(&world, start);
    let listed = calls.iter().position(|call| call == "list pods").unwrap();
    let (before, after) = calls.split_at(listed);
    assert!(
        !before.is_empty() && before.iter().all(|call| call == "record web"),
        "that comes first: {calls:?}"
    );
    assert_eq!(after[..3], ["list pods", "get web", "evict pod-0"]);
    assert!(!after[3..].iter().any(|call| call.starts_with("evict")), "{calls:?}");
    assert_eq!(status(&world, "/status/message"), "rollout is restarting");
    assert_eq!(status(&world, "/status/waiting/kind"), "Restart");
    world.run(60);
    assert_eq!(pods(&world), ["pod-0-again", "pod-1-again"]);
    assert_eq!(status(&world, "/status/restartedAt"), status(&world, "/spec/restartAt"));
    assert_eq!(world.phase(), "Healthy");
    let start = world.log.len();
    world.run(600);
    assert_eq!(calls_since(&world, start), [""; 0]);
}

#[test]
fn a_budget_that_refuses_is_named_and_asked_again_and_again_but_ever_more_rarely() {
    let mut world = two_pods();
    let refusal = Reply::Refused {
        code: 429,
        reason: "TooManyRequests".to_owned(),
        message: "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget web needs 2 \
                  healthy pods and has 2 currently"
            .to_owned(),
    };
    world.refuse(|call| matches!(call, Call::Evict { .. }), refusal);
    let start = ask(&mut world);
    world.run(300);
    let calls = calls_since(&world, start);
    let count = |what: &str| calls.iter().filter(|call| call.starts_with(what)).count();
    assert!((6..=15).contains(&count("evict")), "{calls:?}");
    assert!(count("list pods") <= 45 && count("record") <= 4, "{calls:?}");
    let message = status(&world, "/status/waiting/message").as_str().unwrap();
    assert!(message.starts_with("PodDisruptionBudget web keeps pods"), "{message}");
    assert_eq!(pods(&world), ["pod-0", "pod-1"]);
    world.server.refusals.clear();
    world.run(150);
    assert_eq!(pods(&world), ["pod-0-again", "pod-1-again"]);
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn who_may_not_read_pods_says_so_and_does_all_the_rest() {
    let mut world = two_pods();
    world.refuse(
        |call| matches!(call, Call::List { resource, .. } if *resource == PODS),
        refused(403, "Forbidden"),
    );
    ask(&mut world);
    world.run(30);
    assert_eq!(status(&world, "/status/waiting/kind"), "ApiServer");
    let message = status(&world, "/status/waiting/message").as_str().unwrap();
    assert!(message.starts_with("ReadPods of web is refused"), "{message}");
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "replicas": 5 } }));
    world.run(30);
    assert_eq!(status(&world, "/status/availableReplicas"), 5);
}

#[test]
fn an_eviction_without_an_answer_takes_no_second_pod() {
    let mut world = two_pods();
    ask(&mut world);
    world.refuse(|call| matches!(call, Call::Evict { .. }), Reply::Lost("no answer".to_owned()));
    world.settle();
    world.server.refusals.clear();
    let start = world.log.len();
    world.run(2);
    let calls = calls_since(&world, start);
    assert_eq!(calls.iter().find(|call| call.starts_with("evict")).unwrap(), "evict pod-0", "{calls:?}");
    world.run(60);
    assert_eq!(world.phase(), "Healthy");
}
