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
    Health {
        scheduled_after: i64::try_from(start.as_millis()).unwrap_or(i64::MAX / 4),
        pulled_after: 0,
        ready_after: Some(ready_after * 1_000),
        has_image: true,
        crashes: false,
        spread: 0,
        errors_percent: 0,
        latency: 0,
    }
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
