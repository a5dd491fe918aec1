//! `spec.strategy.canary.podHealth`.

use super::SpecProblem;
use super::read::{invalid, optional};
use crate::spec::{PodHealth, PodHealthAction};
use headgate_api::PodHealthAction as Word;
use serde_json::Value;

const PATH: &str = "spec.strategy.canary.podHealth";

/// Reads when a pod is unhealthy, and what is done then.
pub(super) fn pod_health(canary: &Value) -> Result<PodHealth, SpecProblem> {
    let default = PodHealth::default();
    let written = match canary.get("podHealth") {
        None | Some(Value::Null) => return Ok(default),
        Some(written @ Value::Object(_)) => written,
        Some(other) => return Err(invalid(PATH, other, "must be an object, such as {action: pause}")),
    };
    let number = |key: &str, default: i32, least: i32, most: i32| {
        let number = optional::<i32>(written, PATH, key)?.unwrap_or(default);
        if (least..=most).contains(&number) {
            return Ok(number);
        }
        Err(invalid(&format!("{PATH}.{key}"), number, format!("must be between {least} and {most}")))
    };
    Ok(PodHealth {
        action: action(written)?,
        failed_probes: number("failedProbes", default.failed_probes, 1, 1_000)?,
        max_restarts: number("maxRestarts", default.max_restarts, 0, 30)?,
        restart_window_seconds: number("restartWindowSeconds", default.restart_window_seconds, 1, 86_400)?,
        max_oom_kills: number("maxOomKills", default.max_oom_kills, 0, 30)?,
        image_pull_seconds: number("imagePullSeconds", default.image_pull_seconds, 1, 86_400)?,
    })
}

fn action(written: &Value) -> Result<Option<PodHealthAction>, SpecProblem> {
    Ok(match optional::<Word>(written, PATH, "action")? {
        None => None,
        Some(Word::Abort) => Some(PodHealthAction::Abort),
        Some(Word::Pause) => Some(PodHealthAction::Pause),
        Some(Word::Off) => Some(PodHealthAction::Off),
        Some(Word::Other(word)) => {
            return Err(SpecProblem {
                field: format!("{PATH}.action"),
                problem: format!(
                    "Unsupported value: \"{word}\": supported values: \"abort\", \"pause\", \"off\" (in quotes: YAML \
                     takes a bare off for false)"
                ),
            });
        }
    })
}
