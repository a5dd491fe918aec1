//! Fields that the installed CRD does not know: the API server drops them.

use serde_json::Value;

/// What the CRD of release 1.10.1 of Argo Rollouts does not know of a Rollout. `*` is each item of a list.
pub const UNKNOWN: [&str; 11] = [
    "status/duration",
    "status/headgate",
    "status/waiting",
    "spec/strategy/canary/abort",
    "spec/strategy/canary/bake",
    "spec/strategy/canary/initial",
    "spec/strategy/canary/podHealth",
    "spec/strategy/canary/analysis/onFailure",
    "spec/strategy/canary/steps/*/analysis/onFailure",
    "spec/strategy/canary/steps/*/pause/maxDuration",
    "spec/strategy/canary/steps/*/pause/onTimeout",
];

/// What no CRD of Argo Rollouts knows: the fleet was recorded with one that knows the first of those.
pub const OURS: &[&str] = UNKNOWN.split_at(1).1;

/// Drops the fields at these paths.
pub fn prune(object: &mut Value, paths: &[&str]) {
    for path in paths {
        let names: Vec<&str> = path.split('/').collect();
        drop_at(object, &names);
    }
}

fn drop_at(object: &mut Value, path: &[&str]) {
    match (path, object) {
        ([last], Value::Object(fields)) => {
            fields.remove(*last);
        }
        (["*", rest @ ..], Value::Array(items)) => items.iter_mut().for_each(|item| drop_at(item, rest)),
        ([first, rest @ ..], Value::Object(fields)) => {
            if let Some(inner) = fields.get_mut(*first) {
                drop_at(inner, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_crd_does_not_know_is_dropped_from_every_step_and_all_else_stays() {
        let mut rollout = json!({
            "spec": { "strategy": { "canary": { "bake": { "duration": "1m" }, "steps": [
                { "setWeight": 5 }, { "pause": { "duration": "1m", "maxDuration": "5m", "onTimeout": "abort" } },
            ] } } },
            "status": { "phase": "Paused", "waiting": {} },
        });
        prune(&mut rollout, OURS);
        let left = json!({
            "spec": { "strategy": { "canary": { "steps": [{ "setWeight": 5 }, { "pause": { "duration": "1m" } }] } } },
            "status": { "phase": "Paused" },
        });
        assert_eq!(rollout, left);
    }
}
