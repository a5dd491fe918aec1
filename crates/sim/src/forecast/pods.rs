//! How pods behave, as far as the pod template tells.

use crate::world::pods::Health;
use jiff::SignedDuration;
use serde_json::Value;

/// Applications serve for so long at most after they were told to end, in milliseconds. How long they really do is up
/// to them; never longer than `terminationGracePeriodSeconds`.
const DRAIN: i64 = 5_000;
/// `terminationGracePeriodSeconds` where it is left out.
const GRACE_PERIOD: i64 = 30;
/// `periodSeconds` of a probe where it is left out.
const PROBE_PERIOD: i64 = 10;

/// Pods that run so long after they were created, and are ready when the slowest of their probes has said so.
pub(super) fn health(rollout: &Value, start: SignedDuration) -> Health {
    let containers = rollout.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let ready_after = containers.into_iter().flatten().map(ready_after).max().unwrap_or(0);
    Health::good(i64::try_from(start.as_millis()).unwrap_or(i64::MAX / 4), ready_after * 1_000)
}

/// The same, but they never become ready.
pub(super) fn never_ready(health: Health) -> Health {
    Health { ready_after: None, ..health }
}

/// How long pods serve after they were told to end, in milliseconds.
pub(super) fn drain(rollout: &Value) -> i64 {
    let written =
        rollout.pointer("/spec/template/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    DRAIN.min(written.unwrap_or(GRACE_PERIOD) * 1_000)
}

/// Seconds from a container's start to its readiness, when each of its probes answers well at once.
fn ready_after(container: &Value) -> i64 {
    let takes = |probe: &Value| {
        let number = |field: &str, default: i64| probe.get(field).and_then(Value::as_i64).unwrap_or(default);
        let period = number("periodSeconds", PROBE_PERIOD).max(1);
        number("initialDelaySeconds", 0) + period * number("successThreshold", 1).max(1)
    };
    ["startupProbe", "readinessProbe"].into_iter().filter_map(|name| container.get(name)).map(takes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rollout(spec: &Value) -> Value {
        json!({ "spec": { "template": { "spec": spec } } })
    }

    #[test]
    fn pods_are_ready_when_the_probes_of_their_slowest_container_have_said_so() {
        let five_seconds = json!({ "readinessProbe": { "periodSeconds": 5 } });
        for (case, containers, seconds) in [
            ("no probe", json!([{}]), 0),
            ("one period, 10 s unless said", json!([{ "readinessProbe": {} }]), 10),
            (
                "the initial delay",
                json!([{ "readinessProbe": { "initialDelaySeconds": 3, "periodSeconds": 5 } }]),
                8,
            ),
            (
                "several successes",
                json!([{ "readinessProbe": { "periodSeconds": 2, "successThreshold": 3 } }]),
                6,
            ),
            (
                "the startup probe, and then readiness",
                json!([{
                    "startupProbe": { "initialDelaySeconds": 4, "periodSeconds": 2 },
                    "readinessProbe": { "initialDelaySeconds": 1, "periodSeconds": 5 },
                }]),
                12,
            ),
            ("liveness says nothing", json!([{ "livenessProbe": { "initialDelaySeconds": 60 } }]), 0),
            ("the slowest container", json!([{}, five_seconds, {}]), 5),
        ] {
            let told = health(&rollout(&json!({ "containers": containers })), SignedDuration::from_secs(7));
            assert_eq!(told, Health::good(7_000, seconds * 1_000), "{case}");
        }
    }

    #[test]
    fn pods_serve_for_five_seconds_more_or_for_a_shorter_grace_period() {
        for (written, milliseconds) in
            [(json!({}), 5_000), (json!(60), 5_000), (json!(2), 2_000), (json!(0), 0)]
        {
            let told = drain(&rollout(&json!({ "terminationGracePeriodSeconds": written })));
            assert_eq!(told, milliseconds, "{written}");
        }
    }
}
