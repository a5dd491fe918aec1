//! What a pod costs: alone in its process, because it measures the memory of the process.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy.toml excuses functions marked as tests only"
)]

use headgate_driver::io::Observation;
use headgate_driver::resources::PODS;
use headgate_driver::{Driver, Options, cut};
use headgate_model::Timestamp;
use serde_json::{Value, json};

const PODS_SHOWN: usize = 5_000;
/// What a pod with two containers may cost, in bytes.
const BYTES_MAX: usize = 1_200;

/// Memory of this process that is in use, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

/// A pod of a service mesh, as usual in a fleet: with a sidecar, volumes and variables.
fn pod(number: usize) -> Value {
    let set = number / 10;
    let variables: Vec<Value> =
        (0..30).map(|one| json!({ "name": format!("VARIABLE_{one}"), "value": "x".repeat(40) })).collect();
    let container = |name: &str| {
        json!({ "name": name, "image": format!("registry.example/team/{name}:v1.2.3"), "env": variables,
            "readinessProbe": { "httpGet": { "path": "/readyz", "port": 8080 }, "periodSeconds": 5 },
            "resources": { "limits": { "memory": "256Mi" }, "requests": { "cpu": "100m" } } })
    };
    let status = |name: &str| {
        json!({ "name": name, "ready": true, "restartCount": 1, "image": format!("registry.example/team/{name}:v1.2.3"),
            "state": { "running": { "startedAt": "2026-11-26T12:00:00Z" } },
            "lastState": { "terminated": { "exitCode": 1, "finishedAt": "2026-11-26T11:59:00Z" } } })
    };
    json!({
        "metadata": {
            "name": format!("some-service-of-a-fleet-6d4cf56db6-{number:05}"), "namespace": format!("namespace-{}", set / 10),
            "uid": format!("00000000-0000-0000-0000-{number:012}"), "resourceVersion": number.to_string(),
            "creationTimestamp": "2026-11-26T11:00:00Z",
            "labels": { "app": "some-service", "rollouts-pod-template-hash": "6d4cf56db6" },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": format!("some-service-{set}"),
                "uid": format!("11111111-0000-0000-0000-{set:012}"), "controller": true }],
        },
        "spec": { "containers": [container("app"), container("istio-proxy")] },
        "status": { "phase": "Running", "startTime": "2026-11-26T11:00:01Z",
            "containerStatuses": [status("app"), status("istio-proxy")] },
    })
}

#[test]
fn a_pod_costs_about_a_kilobyte() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut driver = Driver::new(Options::default());
    driver.observe(Observation::ListStarted(PODS), now);
    // What parsing needs is got from the system before it is measured.
    driver.observe(Observation::Listed(PODS, cut(PODS, pod(0))), now);
    let before = resident();
    for number in 1..PODS_SHOWN {
        driver.observe(Observation::Listed(PODS, cut(PODS, pod(number))), now);
    }
    driver.observe(Observation::Synced(PODS), now);
    let bytes = resident().saturating_sub(before) / PODS_SHOWN;
    eprintln!("{bytes} bytes a pod, {} in JSON", pod(1).to_string().len());
    assert_eq!(driver.facts().objects[&PODS], PODS_SHOWN);
    assert!((1..BYTES_MAX).contains(&bytes), "{bytes} bytes a pod");
}
