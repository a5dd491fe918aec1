//! A HorizontalPodAutoscaler on the scale subresource of a Rollout, as kube-controller-manager computes its number.

use super::pods::Pods;
use super::server::{Server, number, text};
use headgate_api::At;
use serde_json::Value;

/// What it knows of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// An average over the pods that the selector in the status finds (`type: Pods`, `Resource`).
    OfPods,
    /// A number from elsewhere, divided by the number of pods in the status (`type: External` with `averageValue`, KEDA).
    External,
}

/// A load that is nearer than this to what the pods bear is left to them, in a hundred
/// (`--horizontal-pod-autoscaler-tolerance`).
const TOLERANCE: i64 = 10;

/// The `spec.replicas` that it asks for; `None` where it can't tell. `load` is in pods that would just bear it.
pub fn asks_for(metric: Metric, load: i64, rollout: &Value, pods: &Pods, server: &Server) -> Option<i64> {
    let wanted = rollout.at("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let selector = text(rollout, "/status/selector");
    if wanted == 0 || selector.is_empty() {
        // `ScalingDisabled`, `InvalidSelector`.
        return None;
    }
    let bears = |pods: i64| (load - pods).abs() * 100 <= pods * TOLERANCE;
    Some(match metric {
        Metric::OfPods => match pods.ready_selected(selector, server) {
            0 => return None,
            ready if bears(ready) => wanted,
            _ => load,
        },
        Metric::External => match number(rollout, "/status/HPAReplicas") {
            all if bears(all) => all,
            _ => load,
        },
    })
}
