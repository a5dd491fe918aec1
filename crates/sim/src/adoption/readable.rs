//! What Argo Rollouts can read of a status, so that a team may go back to it at any time.

use serde_json::Value;

/// What Argo Rollouts reads a field as. Anything else makes it fail to read the whole Rollout.
#[derive(Clone, Copy, Debug)]
enum Form {
    Text,
    /// A whole number of 32 bits.
    Number,
    Flag,
    /// As RFC 3339 writes it.
    Time,
    /// A number, written as text.
    Generation,
    OneOf(&'static [&'static str]),
}

const PHASES: Form = Form::OneOf(&["Healthy", "Degraded", "Progressing", "Paused"]);
const RUN_PHASES: Form =
    Form::OneOf(&["Pending", "Running", "Successful", "Failed", "Error", "Inconclusive"]);
const CONDITIONS: Form = Form::OneOf(&[
    "InvalidSpec",
    "Available",
    "Progressing",
    "ReplicaFailure",
    "Paused",
    "Completed",
    "Healthy",
]);

/// Every field of the status that Argo Rollouts has and Headgate may write, by its path without the places in lists.
const FIELDS: [(&str, Form); 44] = [
    ("/HPAReplicas", Form::Number),
    ("/abort", Form::Flag),
    ("/abortedAt", Form::Time),
    ("/availableReplicas", Form::Number),
    ("/canary/currentBackgroundAnalysisRunStatus/message", Form::Text),
    ("/canary/currentBackgroundAnalysisRunStatus/name", Form::Text),
    ("/canary/currentBackgroundAnalysisRunStatus/status", RUN_PHASES),
    ("/canary/currentStepAnalysisRunStatus/message", Form::Text),
    ("/canary/currentStepAnalysisRunStatus/name", Form::Text),
    ("/canary/currentStepAnalysisRunStatus/status", RUN_PHASES),
    ("/canary/weights/canary/podTemplateHash", Form::Text),
    ("/canary/weights/canary/serviceName", Form::Text),
    ("/canary/weights/canary/weight", Form::Number),
    ("/canary/weights/stable/podTemplateHash", Form::Text),
    ("/canary/weights/stable/serviceName", Form::Text),
    ("/canary/weights/stable/weight", Form::Number),
    ("/canary/weights/verified", Form::Flag),
    ("/collisionCount", Form::Number),
    ("/conditions/lastTransitionTime", Form::Time),
    ("/conditions/lastUpdateTime", Form::Time),
    ("/conditions/message", Form::Text),
    ("/conditions/reason", Form::Text),
    ("/conditions/status", Form::OneOf(&["True", "False", "Unknown"])),
    ("/conditions/type", CONDITIONS),
    ("/controllerPause", Form::Flag),
    ("/currentPodHash", Form::Text),
    ("/currentStepHash", Form::Text),
    ("/currentStepIndex", Form::Number),
    ("/duration/completionStatus", Form::Text),
    ("/duration/finishedAt", Form::Time),
    ("/duration/manualPauseStartedAt", Form::Time),
    ("/duration/rolloutStartedAt", Form::Time),
    ("/duration/totalManualPauseDurationSeconds", Form::Number),
    ("/message", Form::Text),
    ("/observedGeneration", Form::Generation),
    ("/pauseConditions/reason", Form::Text),
    ("/pauseConditions/startTime", Form::Time),
    ("/phase", PHASES),
    ("/readyReplicas", Form::Number),
    ("/replicas", Form::Number),
    ("/selector", Form::Text),
    ("/stableRS", Form::Text),
    ("/updatedReplicas", Form::Number),
    ("/workloadObservedGeneration", Form::Generation),
];

/// Members that its CRD asks for wherever their parent is there.
const REQUIRED: [(&str, &[&str]); 6] = [
    ("/conditions", &["lastTransitionTime", "lastUpdateTime", "message", "reason", "status", "type"]),
    ("/pauseConditions", &["reason", "startTime"]),
    ("/canary/weights", &["canary", "stable"]),
    ("/canary/weights/canary", &["weight"]),
    ("/canary/weights/stable", &["weight"]),
    ("/canary/currentStepAnalysisRunStatus", &["name", "status"]),
];

/// Fields that only Headgate has: Argo Rollouts passes over them.
const OURS: [&str; 2] = ["headgate", "waiting"];

impl Form {
    fn fits(self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Self::Text => text.is_some(),
            Self::Number => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            Self::Flag => value.is_boolean(),
            Self::Time => text.is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
            Self::Generation => text.is_some_and(|text| text.parse::<u32>().is_ok()),
            Self::OneOf(words) => text.is_some_and(|text| words.contains(&text)),
        }
    }
}

fn check(value: &Value, path: &str, wrong: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (_, required) in REQUIRED.iter().filter(|(parent, _)| *parent == path) {
                let missing = required.iter().filter(|name| !members.contains_key(**name));
                wrong.extend(missing.map(|name| format!("{path} lacks {name}")));
            }
            for (name, member) in members {
                if !(path.is_empty() && OURS.contains(&name.as_str())) {
                    check(member, &format!("{path}/{name}"), wrong);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check(item, path, wrong)),
        leaf => match FIELDS.iter().find(|(field, _)| *field == path) {
            Some((_, form)) if form.fits(leaf) => {}
            Some((_, form)) => wrong.push(format!("{path} is {leaf}, which is no {form:?}")),
            None => wrong.push(format!("{path} is a field that Argo Rollouts does not have")),
        },
    }
}

/// What Argo Rollouts could not read of the status of a Rollout: each field that it does not have, or has in another form.
/// `status.headgate` and `status.waiting` are none of them: it passes over them.
pub fn unreadable(status: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    check(status, "", &mut wrong);
    wrong
}
