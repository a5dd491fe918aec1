//! What the API server writes into objects that leave it out. Of the many fields of a pod template those that users
//! write: containers with ports, variables and probes.

use super::jobs::JOBS;
use headgate_driver::io::Resource;
use headgate_driver::resources::{DEPLOYMENTS, POD_TEMPLATES, REPLICA_SETS, WORKLOAD_REPLICA_SETS};
use serde_json::{Map, Value, json};

/// Fills in an object that is being created.
pub(super) fn fill_in(resource: Resource, object: &mut Value) {
    leave_out_zeros(resource, object);
    if resource == POD_TEMPLATES {
        let pod = object.pointer_mut("/template/spec").and_then(Value::as_object_mut);
        pod.into_iter().for_each(fill_in_pod);
    }
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    match resource {
        REPLICA_SETS | DEPLOYMENTS | WORKLOAD_REPLICA_SETS => {
            spec.entry("replicas").or_insert(json!(1));
            let pod = spec.get_mut("template").and_then(|template| template.get_mut("spec")?.as_object_mut());
            pod.into_iter().for_each(fill_in_pod);
        }
        JOBS => fill_in_job(spec),
        _ => {}
    }
}

/// Numbers that mean nothing when they are 0 are not kept.
pub(super) fn leave_out_zeros(resource: Resource, object: &mut Value) {
    if resource == REPLICA_SETS
        && let Some(Value::Object(spec)) = object.get_mut("spec")
        && spec.get("minReadySeconds") == Some(&json!(0))
    {
        spec.remove("minReadySeconds");
    }
}

fn fill_in_job(spec: &mut Map<String, Value>) {
    for (field, value) in [
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("completions", json!(1)),
        ("manualSelector", json!(false)),
        ("parallelism", json!(1)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
        ("suspend", json!(false)),
    ] {
        spec.entry(field).or_insert(value);
    }
}

fn fill_in_pod(pod: &mut Map<String, Value>) {
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
    ] {
        pod.entry(field).or_insert(value);
    }
    if let Some(account) = pod.get("serviceAccountName").cloned() {
        pod.insert("serviceAccount".to_owned(), account);
    }
    for field in ["initContainers", "containers"] {
        let containers = pod.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        containers.filter_map(Value::as_object_mut).for_each(fill_in_container);
    }
}

fn fill_in_container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    for (field, value) in [
        ("imagePullPolicy", json!(pull_policy(image))),
        ("resources", json!({})),
        ("terminationMessagePath", json!("/dev/termination-log")),
        ("terminationMessagePolicy", json!("File")),
    ] {
        container.entry(field).or_insert(value);
    }
    for port in objects(container.get_mut("ports")) {
        port.entry("protocol").or_insert(json!("TCP"));
    }
    for variable in objects(container.get_mut("env")) {
        if let Some(Value::Object(field)) =
            variable.get_mut("valueFrom").and_then(|from| from.get_mut("fieldRef"))
        {
            field.entry("apiVersion").or_insert(json!("v1"));
        }
    }
    for field in ["readinessProbe", "livenessProbe", "startupProbe"] {
        if let Some(Value::Object(probe)) = container.get_mut(field) {
            fill_in_probe(probe);
        }
    }
}

fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// `Always` for an image that may move: without a tag or with `latest`.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let is_pinned = name.contains('@') || name.split_once(':').is_some_and(|(_, tag)| tag != "latest");
    if is_pinned { "IfNotPresent" } else { "Always" }
}

fn fill_in_probe(probe: &mut Map<String, Value>) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        probe.entry(field).or_insert(json!(value));
    }
    if let Some(Value::Object(request)) = probe.get_mut("httpGet") {
        request.entry("path").or_insert(json!("/"));
        request.entry("scheme").or_insert(json!("HTTP"));
    }
}
