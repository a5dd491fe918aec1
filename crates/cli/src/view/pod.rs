//! A pod as a line: the state that `kubectl get pods` shows.

use super::Detail;
use super::paint::{Icon, State};
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod, PodSpec, PodStatus};

/// How a pod stands: the word that matters most, from its deletion down to its phase.
pub(crate) fn state(pod: &Pod) -> State {
    let word = word(pod);
    State::new(icon(&word), word)
}

/// How many of its containers are ready, and how often they were restarted; in detail also where it runs.
pub(crate) fn info(pod: &Pod, detail: Detail) -> String {
    let statuses = containers(pod);
    let ready = statuses.iter().filter(|status| status.ready && is_running(status)).count();
    let total = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let restarts: i32 = match initialising(pod) {
        Some((_, restarts)) => restarts,
        None => statuses.iter().map(|status| status.restart_count).sum(),
    };
    let restarts = if restarts > 0 { format!(",restarts:{restarts}") } else { String::new() };
    let ready = if initialising(pod).is_some() { 0 } else { ready };
    let place = match detail {
        Detail::Normal => String::new(),
        Detail::Wide => place(pod),
    };
    format!("ready:{ready}/{total}{restarts}{place}")
}

/// Its node and its address, as far as it has them.
fn place(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref());
    let parts = [("node", node), ("ip", address)];
    parts.iter().filter_map(|(key, value)| Some(format!(",{key}:{}", (*value)?))).collect()
}

fn word(pod: &Pod) -> String {
    let default = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&default);
    let reason = status.reason.clone().filter(|reason| !reason.is_empty());
    if pod.metadata.deletion_timestamp.is_some() {
        return if reason.as_deref() == Some("NodeLost") { "Unknown" } else { "Terminating" }.to_owned();
    }
    if let Some((word, _)) = initialising(pod) {
        return word;
    }
    let statuses = containers(pod);
    // The first container's word wins over those behind it.
    let container = statuses.iter().find_map(container_word);
    let phase = || reason.clone().or_else(|| status.phase.clone()).unwrap_or_default();
    match container {
        Some(word) if word == "Completed" && statuses.iter().any(is_running) => "Running".to_owned(),
        Some(word) => word,
        None => phase(),
    }
}

/// The word of an init container that is not done, and the restarts of those up to it.
fn initialising(pod: &Pod) -> Option<(String, i32)> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_deref()?;
    let specs = pod.spec.as_ref().and_then(|spec: &PodSpec| spec.init_containers.as_deref());
    let specs = specs.unwrap_or_default();
    let mut restarts = 0;
    for (index, status) in statuses.iter().enumerate() {
        restarts += status.restart_count;
        let spec = specs.iter().find(|container| container.name == status.name);
        if !is_initialised(status, spec) {
            let word = match container_word(status) {
                Some(word) if word != "PodInitializing" => format!("Init:{word}"),
                _ => format!("Init:{index}/{}", specs.len()),
            };
            return Some((word, restarts));
        }
    }
    None
}

fn is_initialised(status: &ContainerStatus, spec: Option<&Container>) -> bool {
    let is_sidecar = spec.and_then(|spec| spec.restart_policy.as_deref()) == Some("Always");
    let has_succeeded = state_of(status)
        .and_then(|state| state.terminated.as_ref())
        .is_some_and(|terminated| terminated.exit_code == 0);
    has_succeeded || is_sidecar && status.started == Some(true)
}

/// Why a container does not run, if it does not.
fn container_word(status: &ContainerStatus) -> Option<String> {
    let state = state_of(status)?;
    let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
    if let Some(reason) = waiting.filter(|reason| !reason.is_empty()) {
        return Some(reason);
    }
    let terminated = state.terminated.as_ref()?;
    let reason = terminated.reason.clone().filter(|reason| !reason.is_empty());
    Some(reason.unwrap_or_else(|| match terminated.signal {
        Some(signal) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", terminated.exit_code),
    }))
}

fn is_running(status: &ContainerStatus) -> bool {
    status.ready && state_of(status).is_some_and(|state| state.running.is_some())
}

fn state_of(status: &ContainerStatus) -> Option<&ContainerState> {
    status.state.as_ref()
}

fn containers(pod: &Pod) -> &[ContainerStatus] {
    pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default()
}

fn icon(word: &str) -> Icon {
    if word.starts_with("Init:") {
        return Icon::Progressing;
    }
    if word.starts_with("Signal:") || word.starts_with("ExitCode:") {
        return Icon::Bad;
    }
    if word.ends_with("Error") || word.starts_with("Err") {
        return Icon::Warning;
    }
    match word {
        "Pending" | "Terminating" | "ContainerCreating" => Icon::Progressing,
        "Running" | "Completed" => Icon::Ok,
        "Failed" | "InvalidImageName" | "CrashLoopBackOff" | "OOMKilled" | "Evicted" => Icon::Bad,
        "ImagePullBackOff" | "RegistryUnavailable" => Icon::Warning,
        "Unknown" => Icon::Unknown,
        _ => Icon::None,
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of JSON read better without references")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(metadata: Value, spec: Value, status: Value) -> String {
        let pod = json!({ "metadata": metadata, "spec": spec, "status": status });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        format!("{} {}", state(&pod).word, info(&pod, Detail::Normal))
    }

    fn container(name: &str, ready: bool, restarts: i32, state: Value) -> Value {
        json!({ "name": name, "image": "i", "imageID": "", "ready": ready, "restartCount": restarts, "state": state })
    }

    #[test]
    fn the_word_that_matters_most_is_shown() {
        let one = json!({ "containers": [{ "name": "a" }] });
        let two =
            json!({ "containers": [{ "name": "a" }], "initContainers": [{ "name": "i" }, { "name": "j" }] });
        let running = json!({ "running": {} });
        let deleted = json!({ "deletionTimestamp": "2026-11-21T08:00:00Z" });
        for (metadata, spec, status, expected) in [
            (json!({}), &one, json!({ "phase": "Pending" }), "Pending ready:0/1"),
            (
                json!({}),
                &one,
                json!({ "phase": "Running", "containerStatuses": [container("a", true, 0, running.clone())] }),
                "Running ready:1/1",
            ),
            (
                deleted,
                &one,
                json!({ "phase": "Running", "containerStatuses": [container("a", true, 0, running.clone())] }),
                "Terminating ready:1/1",
            ),
            (
                json!({}),
                &one,
                json!({ "phase": "Running", "containerStatuses": [
                    container("a", false, 7, json!({ "waiting": { "reason": "CrashLoopBackOff" } })),
                ] }),
                "CrashLoopBackOff ready:0/1,restarts:7",
            ),
            (json!({}), &one, json!({ "phase": "Failed", "reason": "Evicted" }), "Evicted ready:0/1"),
            (
                json!({}),
                &one,
                json!({ "phase": "Running", "containerStatuses": [
                    container("a", false, 0, json!({ "terminated": { "exitCode": 3 } })),
                ] }),
                "ExitCode:3 ready:0/1",
            ),
            (
                json!({}),
                &two,
                json!({ "phase": "Pending", "initContainerStatuses": [
                    container("i", true, 0, json!({ "terminated": { "exitCode": 0, "reason": "Completed" } })),
                    container("j", false, 2, running),
                ] }),
                "Init:1/2 ready:0/1,restarts:2",
            ),
            (
                json!({}),
                &two,
                json!({ "phase": "Pending", "initContainerStatuses": [
                    container("i", false, 0, json!({ "waiting": { "reason": "ImagePullBackOff" } })),
                ] }),
                "Init:ImagePullBackOff ready:0/1",
            ),
        ] {
            assert_eq!(seen(metadata, spec.clone(), status.clone()), expected, "{status}");
        }
    }
}
