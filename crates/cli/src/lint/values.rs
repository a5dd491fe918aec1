//! Values that a release takes, as Argo Rollouts does, and that hardly say what was meant.

use super::{CANARY, Notes};
use headgate_api::At;
use serde_json::Value;

/// Looks at the strategy of a Rollout whose spec is right.
pub(super) fn check(spec: &Value, notes: &mut Notes) {
    let canary = spec.at("/strategy/canary").unwrap_or(&Value::Null);
    let steps = canary.get("steps").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, step) in steps.iter().enumerate() {
        if let Some(scale) = step.get("setCanaryScale") {
            canary_scale(scale, total(canary), &format!("{CANARY}.steps[{index}].setCanaryScale"), notes);
        }
    }
    let written = canary.get("maxUnavailable").and_then(Value::as_str).map(|text| text.trim_end_matches('%'));
    if let Some(percent) = written.and_then(|text| text.parse::<i64>().ok()).filter(|percent| *percent > 100)
    {
        notes.warning(format!("{CANARY}.maxUnavailable"), format!("{percent}% counts as 100%"));
    }
    let starting_step = canary.at("/analysis/startingStep").and_then(Value::as_u64).unwrap_or(0);
    let is_step = usize::try_from(starting_step).is_ok_and(|index| index < steps.len());
    if starting_step > 0 && !is_step {
        let message = format!(
            "there are {} steps, the first is 0: the analysis begins when all are done, while pods and traffic follow",
            steps.len()
        );
        notes.warning(format!("{CANARY}.analysis.startingStep"), message);
    }
}

fn total(canary: &Value) -> i64 {
    i64::from(headgate_model::total_weight(canary.get("trafficRouting").unwrap_or(&Value::Null)))
}

fn canary_scale(scale: &Value, total: i64, field: &str, notes: &mut Notes) {
    let weight = scale.get("weight").and_then(Value::as_i64);
    let replicas = scale.get("replicas").and_then(Value::as_i64);
    let matches = scale.get("matchTrafficWeight") == Some(&Value::Bool(true));
    let message = match (matches, weight, replicas) {
        (true, Some(_), _) | (true, _, Some(_)) => {
            "matchTrafficWeight counts, and no number beside it".to_owned()
        }
        (false, Some(_), Some(_)) => "replicas counts, weight does not: write one of them".to_owned(),
        (false, None, None) => "says nothing, which counts as matchTrafficWeight: true".to_owned(),
        (false, Some(weight), None) if weight > total => {
            format!("weight {weight} of {total} gives more pods than spec.replicas")
        }
        _ => return,
    };
    notes.warning(field, message);
}
