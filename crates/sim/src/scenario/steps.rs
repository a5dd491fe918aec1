//! Steps of a canary, as users write them.

use super::additions;
use crate::kinds::{Router, Step};
use crate::random::Random;
use serde_json::{Value, json};

/// Some steps, made by chance.
pub fn steps(luck: &mut Random, router: Router) -> Value {
    let count = luck.pick(3, &[2, 4, 6]);
    made(count, luck, router, Vec::new(), 0)
}

/// Steps that begin so that a release soon stands at one of this kind.
pub(super) fn leading_to(step: Step, luck: &mut Random, router: Router) -> Value {
    let mut steps = Vec::new();
    let mut weight = 0;
    let early = |steps: &mut Vec<Value>, weight: &mut i64, luck: &mut Random| {
        *weight = luck.between(10, 40);
        steps.push(set_weight(*weight, router));
    };
    match step {
        Step::SetWeight => early(&mut steps, &mut weight, luck),
        Step::Finishing => {}
        // An analysis needs requests to look at.
        Step::Analysis => {
            early(&mut steps, &mut weight, luck);
            steps.push(json!({ "pause": { "duration": "10s" } }));
            steps.push(written(step, luck));
        }
        Step::PauseFor | Step::Pause => {
            if luck.percent(70) {
                early(&mut steps, &mut weight, luck);
            }
            steps.push(written(step, luck));
        }
        Step::ScaleReplicas | Step::ScaleWeight => steps.push(written(step, luck)),
        // It scales to what the weight needs, and so waits for pods only where a step before it has scaled otherwise.
        Step::ScaleMatch => {
            steps.push(json!({ "setCanaryScale": { "replicas": 1 } }));
            weight = 100;
            steps.push(set_weight(60, router));
            steps.push(written(step, luck));
        }
    }
    let more = luck.pick(1, &[0, 2, 4]);
    let all = made(more, luck, router, steps, weight);
    if all.as_array().is_some_and(Vec::is_empty) { made(2, luck, router, Vec::new(), 0) } else { all }
}

fn made(count: i64, luck: &mut Random, router: Router, mut steps: Vec<Value>, mut weight: i64) -> Value {
    for _ in 0..count {
        let step = match luck.between(0, 9) {
            0..=3 => {
                weight = (weight + luck.between(5, 40)).min(100);
                set_weight(weight, router)
            }
            4 | 5 => written(Step::PauseFor, luck),
            6 | 7 => written(Step::Pause, luck),
            8 if router != Router::None => {
                let kind = luck.pick(Step::ScaleReplicas, &[Step::ScaleWeight, Step::ScaleMatch]);
                written(kind, luck)
            }
            _ => written(Step::Analysis, luck),
        };
        steps.push(step);
    }
    json!(steps)
}

/// So many hundredths of the traffic; where weights are finer, not a whole number of them.
fn set_weight(hundredths: i64, router: Router) -> Value {
    let total = router.total();
    let weight = if total == 100 { hundredths } else { (hundredths * total / 100 + 3).min(total) };
    json!({ "setWeight": weight })
}

fn written(step: Step, luck: &mut Random) -> Value {
    match step {
        Step::SetWeight => json!({ "setWeight": luck.between(5, 100) }),
        Step::PauseFor => json!({ "pause": { "duration": format!("{}s", luck.between(1, 40)) } }),
        Step::Pause | Step::Finishing => additions::pause(luck),
        Step::ScaleReplicas => json!({ "setCanaryScale": { "replicas": luck.between(1, 4) } }),
        Step::ScaleWeight => json!({ "setCanaryScale": { "weight": luck.between(10, 100) } }),
        Step::ScaleMatch => json!({ "setCanaryScale": { "matchTrafficWeight": true } }),
        Step::Analysis => json!({ "analysis": analysis("success") }),
    }
}

/// An analysis of the newest version by this template.
pub(crate) fn analysis(template: &str) -> Value {
    json!({
        "templates": [{ "templateName": template }],
        "args": [{ "name": "hash", "valueFrom": { "podTemplateHashValue": "Latest" } }],
    })
}
