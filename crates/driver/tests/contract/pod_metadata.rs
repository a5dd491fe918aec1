//! Labels and annotations of roles: pods are read only when a role has changed, patched on the version that was read, and
//! nothing is forgotten when the process dies in between.

use crate::made::two_pods;
use crate::script::calls_since;
use crate::server::refused;
use crate::world::{World, at};
use headgate_driver::io::{Call, Patch};
use headgate_driver::resources::{PODS, ROLLOUTS};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Stable pods are to have a role; returns how many calls there were before.
fn ask(world: &mut World) -> usize {
    let start = world.log.len();
    let metadata = json!({ "labels": { "role": "stable" }, "annotations": { "note": "n" } });
    let spec = json!({ "strategy": { "canary": { "stableMetadata": metadata } } });
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": spec }));
    start
}

fn pods(world: &World) -> impl Iterator<Item = &Value> {
    world.server.objects.iter().filter(|(target, _)| target.resource == PODS).map(|(_, pod)| pod)
}

fn roles(world: &World) -> Vec<&Value> {
    pods(world).map(|pod| &pod["metadata"]["labels"]["role"]).collect()
}

#[test]
fn the_template_comes_first_then_pods_are_read_once_and_patched_and_then_there_is_quiet() {
    let mut world = two_pods();
    let uids: Vec<Value> = pods(&world).map(|pod| pod["metadata"]["uid"].clone()).collect();
    let start = ask(&mut world);
    world.run(30);
    let calls = calls_since(&world, start);
    let place = |what: &str| calls.iter().position(|call| call.starts_with(what)).unwrap();
    assert!(
        place("patch web-") < place("list pods") && place("list pods") < place("patch pod-0"),
        "{calls:?}"
    );
    let count = |what: &str| calls.iter().filter(|call| call.starts_with(what)).count();
    assert_eq!((count("patch pod-"), count("list pods"), count("patch web-")), (2, 2, 2), "{calls:?}");
    assert_eq!(roles(&world), ["stable", "stable"]);
    for (pod, uid) in pods(&world).zip(uids) {
        assert_eq!(pod["metadata"]["annotations"], json!({ "by": "others", "note": "n" }));
        assert_eq!(pod["metadata"]["uid"], uid, "the same pod");
    }
    let patches = world.log[start..].iter().filter_map(|call| match call {
        Call::Patch { target, patch: Patch::Merge(body), .. } if target.resource == PODS => Some(body),
        _ => None,
    });
    for body in patches {
        let metadata = body["metadata"].as_object().unwrap();
        assert!(metadata.contains_key("uid") && metadata.contains_key("resourceVersion"), "{body}");
        assert_eq!(body.as_object().unwrap().len(), 1, "nothing but metadata: {body}");
    }
    let start = world.log.len();
    world.run(600);
    assert_eq!(calls_since(&world, start), [""; 0]);
}

#[test]
fn a_process_that_dies_in_between_leaves_a_note_for_the_next() {
    let mut world = two_pods();
    let is_pod = |call: &Call| matches!(call, Call::Patch { target, .. } if target.resource == PODS);
    world.refuse(is_pod, refused(503, "ServiceUnavailable"));
    ask(&mut world);
    world.run(3);
    assert_eq!(roles(&world), [&Value::Null, &Value::Null]);
    world.server.refusals.clear();
    world.restart();
    world.run(30);
    assert_eq!(roles(&world), ["stable", "stable"]);
    let start = world.log.len();
    world.run(600);
    assert_eq!(calls_since(&world, start), [""; 0]);
}

#[test]
fn a_list_that_was_too_old_to_be_acted_on_is_made_anew() {
    let mut world = two_pods();
    ask(&mut world);
    let mut lists = 0;
    for _ in 0..200 {
        world.deliver();
        for request in world.driver.poll(world.now) {
            let is_list = matches!(&request.call, Call::List { resource, .. } if *resource == PODS);
            if is_list && lists == 0 {
                lists += 1;
                let reply = world.execute(&request.call);
                world.now += SignedDuration::from_secs(11);
                world.driver.reply(request.id, reply, world.now);
            } else {
                world.carry_out(&request);
            }
        }
        if lists > 0 {
            break;
        }
    }
    assert_eq!(lists, 1);
    world.run(30);
    assert_eq!(roles(&world), ["stable", "stable"]);
}

#[test]
fn who_may_not_patch_pods_says_so_seldom_and_does_all_the_rest() {
    let mut world = two_pods();
    let is_pod = |call: &Call| matches!(call, Call::Patch { target, .. } if target.resource == PODS);
    world.refuse(is_pod, refused(403, "Forbidden"));
    let start = ask(&mut world);
    world.run(300);
    let message = world.rollout()["status"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("PatchPod of web-") && message.contains("is refused"), "{message}");
    let calls = calls_since(&world, start);
    let count = |what: &str| calls.iter().filter(|call| call.starts_with(what)).count();
    assert!(count("list pods") <= 30 && count("patch pod-") <= 30 && count("record") <= 4, "{calls:?}");
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "replicas": 5 } }));
    world.run(30);
    assert_eq!(world.rollout()["status"]["availableReplicas"], 5);
}
