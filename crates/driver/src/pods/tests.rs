//! Pods as the kubelet describes them.

use super::{Pods, cut};
use crate::io::Observation;
use crate::resources::{PODS, REPLICA_SETS};
use headgate_model::{ContainerView, ENDS_MAX, End, PodView, Timestamp, Unpulled, Unready};
use serde_json::{Value, json};

fn at(time: &str) -> Timestamp {
    format!("2026-11-26T{time}Z").parse().unwrap()
}

/// A pod that was created at 12:00:00, with this status of its container `app` and these more fields of its status.
fn pod(container: &Value, more: &Value) -> Value {
    let mut status =
        json!({ "phase": "Running", "startTime": at("12:00:01"), "containerStatuses": [container] });
    crate_merge(&mut status, more);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "shop-2-a", "namespace": "store", "uid": "pod-uid", "creationTimestamp": at("12:00:00"),
            "labels": { "app": "shop", "rollouts-pod-template-hash": "2" },
            "annotations": { "sidecar.istio.io/status": "{}" },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": "shop-2", "uid": "set-uid", "controller": true }],
        },
        "spec": { "nodeName": "one", "containers": [{
            "name": "app", "image": "registry/shop:2", "env": [{ "name": "A", "value": "b" }],
            "readinessProbe": { "periodSeconds": 2, "failureThreshold": 3 },
            "resources": { "limits": { "memory": "64Mi" } },
        }]},
        "status": status,
    })
}

fn crate_merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        into[key] = value.clone();
    }
}

fn running(restarts: i64, started: &str, last: &Value, is_ready: bool) -> Value {
    json!({ "name": "app", "image": "registry/shop:2", "restartCount": restarts, "ready": is_ready,
        "state": { "running": { "startedAt": at(started) } }, "lastState": last })
}

fn waiting(restarts: i64, reason: &str, last: &Value) -> Value {
    json!({ "name": "app", "image": "registry/shop:2", "restartCount": restarts, "ready": false,
        "state": { "waiting": { "reason": reason, "message": "…" } }, "lastState": last })
}

fn terminated(reason: &str, exit_code: i64, finished: &str) -> Value {
    json!({ "terminated": { "reason": reason, "exitCode": exit_code, "finishedAt": at(finished) } })
}

fn unready_since(time: &str) -> Value {
    json!({ "conditions": [
        { "type": "Ready", "status": "False", "lastTransitionTime": at(time), "reason": "ContainersNotReady" },
        { "type": "ContainersReady", "status": "False", "lastTransitionTime": at(time) },
    ]})
}

fn end(time: &str, exit_code: i32, oom_killed: bool) -> End {
    End { at: at(time), exit_code, oom_killed }
}

/// Shows one pod after the other, and says what is known in the end.
fn seen(pods: &mut Pods, shown: &[(Value, &str)]) -> PodView {
    for (pod, time) in shown {
        pods.observe(Observation::Applied(PODS, cut(PODS, pod.clone())), at(time));
    }
    pods.of("store", "set-uid").pop().unwrap()
}

fn only(pod: &Value) -> PodView {
    seen(&mut Pods::default(), &[(pod.clone(), "12:10:00")])
}

fn app(pod: &Value) -> ContainerView {
    only(pod).containers.pop().unwrap()
}

#[test]
fn a_pod_that_runs_well_has_nothing_to_say() {
    let view = only(&pod(&running(0, "12:00:02", &json!({}), true), &json!({})));
    let app = ContainerView {
        name: "app".into(),
        ends: 0,
        last_ends: Vec::new(),
        unready: None,
        unpulled: None,
        memory_limit: None,
    };
    let wanted = PodView {
        name: "shop-2-a".into(),
        created_at: at("12:00:00"),
        started_at: Some(at("12:00:01")),
        is_excused: false,
        containers: vec![app],
    };
    assert_eq!(view, wanted);
}

#[test]
fn a_kill_for_want_of_memory_is_seen_while_it_waits_to_be_started_and_afterwards() {
    let killed = terminated("OOMKilled", 137, "12:05:00");
    let ended = json!({ "name": "app", "restartCount": 0, "ready": false, "state": killed, "lastState": {} });
    for status in [ended, waiting(0, "CrashLoopBackOff", &killed), running(1, "12:05:10", &killed, true)] {
        let app = app(&pod(&status, &json!({})));
        assert_eq!((app.ends, app.last_ends), (1, vec![end("12:05:00", 137, true)]), "{status}");
        assert_eq!(app.memory_limit.as_deref(), Some("64Mi"));
    }
}

#[test]
fn each_end_is_remembered_once_and_not_without_bound() {
    let mut pods = Pods::default();
    let mut shown = Vec::new();
    for number in 0..50 {
        let time = format!("12:{number:02}:00");
        let last = terminated("Error", 1, &time);
        shown.push(pod(&waiting(number, "CrashLoopBackOff", &last), &json!({})));
        shown.push(pod(&running(number + 1, &time, &last, false), &json!({})));
    }
    let shown: Vec<(Value, &str)> = shown.into_iter().map(|pod| (pod, "12:59:00")).collect();
    let app = seen(&mut pods, &shown).containers.pop().unwrap();
    assert_eq!((app.ends, app.last_ends.len()), (50, ENDS_MAX));
    assert_eq!(app.last_ends.last(), Some(&end("12:49:00", 1, false)));
    assert_eq!(app.last_ends.first(), Some(&end("12:19:00", 1, false)));
}

#[test]
fn readiness_counts_as_lost_only_by_a_container_that_had_it_in_this_run() {
    let status = |started: &str| running(0, started, &json!({}), false);
    let lost = |status: &Value, more: &Value| app(&pod(status, more)).unready;
    let since = Unready { since: at("12:03:00"), period_seconds: 2, failure_threshold: 3 };
    assert_eq!(lost(&status("12:00:02"), &unready_since("12:03:00")), Some(since));
    let starting = lost(&status("12:00:02"), &unready_since("12:00:01"));
    assert_eq!(starting, None, "it has not been ready yet");
    let crashed = running(1, "12:03:01", &terminated("Error", 1, "12:03:00"), false);
    assert_eq!(lost(&crashed, &unready_since("12:03:00")), None, "it has ended, which is counted as such");
    let killed = running(1, "12:02:57", &terminated("Error", 137, "12:02:57"), false);
    assert_eq!(lost(&killed, &unready_since("12:03:00")), None, "three probes take 4 s: none of this run's");
    assert!(lost(&killed, &unready_since("12:03:01")).is_some());
    let healthy = running(0, "12:00:02", &json!({}), true);
    assert_eq!(lost(&healthy, &unready_since("12:03:00")), None, "another container of the pod has lost it");
    let mut without_probe = pod(&status("12:00:02"), &unready_since("12:03:00"));
    without_probe["spec"]["containers"][0]["readinessProbe"] = Value::Null;
    assert_eq!(app(&without_probe).unready, None);
    let node_lost = json!({ "conditions": [
        { "type": "Ready", "status": "False", "lastTransitionTime": at("12:03:00") },
        { "type": "ContainersReady", "status": "True", "lastTransitionTime": at("12:00:05") },
    ]});
    assert_eq!(lost(&healthy, &node_lost), None, "only its node cannot be reached");
}

#[test]
fn a_probe_whose_numbers_are_left_out_has_those_of_the_kubelet() {
    let mut unready = pod(&running(0, "12:00:02", &json!({}), false), &unready_since("12:03:00"));
    unready["spec"]["containers"][0]["readinessProbe"] = json!({ "httpGet": { "port": 80 } });
    let since = at("12:03:00");
    assert_eq!(app(&unready).unready, Some(Unready { since, period_seconds: 10, failure_threshold: 3 }));
}

#[test]
fn an_image_is_missing_since_that_was_first_seen_under_any_of_its_names() {
    let mut pods = Pods::default();
    let none = json!({});
    let shown = |reason: &str| pod(&waiting(0, reason, &none), &json!({ "phase": "Pending" }));
    let since = |view: PodView| view.containers[0].unpulled.clone();
    assert_eq!(since(seen(&mut pods, &[(shown("ContainerCreating"), "12:00:05")])), None);
    let first =
        Unpulled { since: at("12:01:00"), reason: "ErrImagePull".into(), image: "registry/shop:2".into() };
    let missing = since(seen(
        &mut pods,
        &[
            (shown("ErrImagePull"), "12:01:00"),
            (shown("ImagePullBackOff"), "12:01:10"),
            (shown("ErrImagePull"), "12:01:40"),
        ],
    ));
    assert_eq!(missing, Some(first));
    let pulled = pod(&running(0, "12:02:00", &none, true), &none);
    assert_eq!(since(seen(&mut pods, &[(pulled, "12:02:01")])), None);
}

#[test]
fn pods_that_leave_or_whose_node_is_lost_are_excused() {
    let status = running(0, "12:00:02", &json!({}), true);
    let mut deleted = pod(&status, &json!({}));
    deleted["metadata"]["deletionTimestamp"] = json!(at("12:09:00"));
    let evicted = pod(&status, &json!({ "phase": "Failed", "reason": "Evicted" }));
    let preempted =
        json!([{ "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler" }]);
    let lost = pod(&status, &json!({ "reason": "NodeLost" }));
    for pod in [deleted, evicted, pod(&status, &json!({ "conditions": preempted })), lost] {
        assert!(only(&pod).is_excused, "{pod}");
    }
}

#[test]
fn an_init_container_that_has_done_its_work_has_not_ended_and_one_that_fails_has() {
    let with_init = |status: Value| {
        let mut pod = pod(&waiting(0, "PodInitializing", &json!({})), &json!({ "phase": "Pending" }));
        pod["spec"]["initContainers"] = json!([{ "name": "migrate", "image": "migrate:2" }]);
        pod["status"]["initContainerStatuses"] = json!([status]);
        only(&pod).containers.remove(0)
    };
    let done =
        json!({ "name": "migrate", "restartCount": 0, "state": terminated("Completed", 0, "12:00:09") });
    assert_eq!((with_init(done).name.as_str(), with_init_ends(&with_init, "Completed", 0)), ("migrate", 0));
    assert_eq!(with_init_ends(&with_init, "Error", 1), 1);
}

fn with_init_ends(with_init: &impl Fn(Value) -> ContainerView, reason: &str, exit_code: i64) -> i32 {
    let state = terminated(reason, exit_code, "12:00:09");
    with_init(json!({ "name": "migrate", "restartCount": 0, "state": state })).ends
}

#[test]
fn only_a_change_that_matters_is_told() {
    let mut pods = Pods::default();
    let mut observe =
        |pod: &Value| pods.observe(Observation::Applied(PODS, pod.clone()), at("12:10:00")).is_some();
    let mut well = pod(&running(0, "12:00:02", &json!({}), true), &json!({}));
    assert!(observe(&well), "it is new");
    well["metadata"]["annotations"]["note"] = json!("changed");
    well["metadata"]["resourceVersion"] = json!("99");
    well["status"]["podIP"] = json!("10.0.0.9");
    assert!(!observe(&well));
    let ended = pod(&running(1, "12:05:10", &terminated("Error", 1, "12:05:00"), true), &json!({}));
    assert!(observe(&ended));
    assert!(!observe(&ended));
}

#[test]
fn nothing_is_kept_of_pods_that_are_gone_or_taken_away_from_their_set() {
    let well = pod(&running(0, "12:00:02", &json!({}), true), &json!({}));
    let mut orphan = well.clone();
    orphan["metadata"]["ownerReferences"] = json!([]);
    let relist = [Observation::ListStarted(PODS), Observation::Synced(PODS)];
    let ends = [
        vec![Observation::Deleted(PODS, well.clone())],
        vec![Observation::Applied(PODS, orphan)],
        relist.to_vec(),
    ];
    for events in ends {
        let mut pods = Pods::default();
        pods.observe(Observation::Listed(PODS, well.clone()), at("12:10:00"));
        pods.observe(Observation::Synced(PODS), at("12:10:00"));
        assert_eq!(pods.len(), 1);
        for event in events {
            pods.observe(event, at("12:10:01"));
        }
        assert!(pods.sets.is_empty(), "{pods:?}");
    }
}

#[test]
fn of_a_pod_only_what_is_read_is_passed_on_and_of_other_kinds_everything() {
    let well = pod(&running(0, "12:00:02", &json!({}), true), &json!({ "podIP": "10.0.0.9" }));
    let short = cut(PODS, well.clone());
    for pointer in ["/metadata/annotations", "/spec/nodeName", "/spec/containers/0/env", "/status/podIP"] {
        assert!(well.pointer(pointer).is_some() && short.pointer(pointer).is_none(), "{pointer}");
    }
    assert_eq!(cut(PODS, short.clone()), short);
    assert_eq!(cut(REPLICA_SETS, well.clone()), well);
}
