//! What Argo Rollouts can read of a status, so that a team may go back to it at any time.

use serde_json::Value;

/// What Argo Rollouts reads a field as. Anything else makes it fail to read the whole object.
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
    /// Texts by names that are free.
    Texts,
    /// What a plugin has written.
    Anything,
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

/// The status of a kind.
struct Shape {
    /// Every field that Argo Rollouts has, by its path without the places in lists. Release 1.10.1 passes over `duration`,
    /// which is newer.
    fields: &'static [(&'static str, Form)],
    /// Members that its CRD asks for wherever their parent is there.
    required: &'static [(&'static str, &'static [&'static str])],
    /// Fields that only Headgate has: Argo Rollouts passes over them.
    ours: &'static [&'static str],
}

const ROLLOUT: Shape = Shape {
    fields: &[
        ("/HPAReplicas", Form::Number),
        ("/abort", Form::Flag),
        ("/abortedAt", Form::Time),
        ("/alb/canaryTargetGroup/arn", Form::Text),
        ("/alb/canaryTargetGroup/fullName", Form::Text),
        ("/alb/canaryTargetGroup/name", Form::Text),
        ("/alb/ingress", Form::Text),
        ("/alb/loadBalancer/arn", Form::Text),
        ("/alb/loadBalancer/fullName", Form::Text),
        ("/alb/loadBalancer/name", Form::Text),
        ("/alb/stableTargetGroup/arn", Form::Text),
        ("/alb/stableTargetGroup/fullName", Form::Text),
        ("/alb/stableTargetGroup/name", Form::Text),
        ("/albs/canaryTargetGroup/arn", Form::Text),
        ("/albs/canaryTargetGroup/fullName", Form::Text),
        ("/albs/canaryTargetGroup/name", Form::Text),
        ("/albs/ingress", Form::Text),
        ("/albs/loadBalancer/arn", Form::Text),
        ("/albs/loadBalancer/fullName", Form::Text),
        ("/albs/loadBalancer/name", Form::Text),
        ("/albs/stableTargetGroup/arn", Form::Text),
        ("/albs/stableTargetGroup/fullName", Form::Text),
        ("/albs/stableTargetGroup/name", Form::Text),
        ("/availableReplicas", Form::Number),
        ("/blueGreen/activeSelector", Form::Text),
        ("/blueGreen/postPromotionAnalysisRunStatus/message", Form::Text),
        ("/blueGreen/postPromotionAnalysisRunStatus/name", Form::Text),
        ("/blueGreen/postPromotionAnalysisRunStatus/status", RUN_PHASES),
        ("/blueGreen/prePromotionAnalysisRunStatus/message", Form::Text),
        ("/blueGreen/prePromotionAnalysisRunStatus/name", Form::Text),
        ("/blueGreen/prePromotionAnalysisRunStatus/status", RUN_PHASES),
        ("/blueGreen/previewSelector", Form::Text),
        ("/blueGreen/scaleUpPreviewCheckPoint", Form::Flag),
        ("/canary/currentBackgroundAnalysisRunStatus/message", Form::Text),
        ("/canary/currentBackgroundAnalysisRunStatus/name", Form::Text),
        ("/canary/currentBackgroundAnalysisRunStatus/status", RUN_PHASES),
        ("/canary/currentExperiment", Form::Text),
        ("/canary/currentStepAnalysisRunStatus/message", Form::Text),
        ("/canary/currentStepAnalysisRunStatus/name", Form::Text),
        ("/canary/currentStepAnalysisRunStatus/status", RUN_PHASES),
        ("/canary/stablePingPong", Form::OneOf(&["ping", "pong"])),
        ("/canary/stepPluginStatuses/backoff", Form::Text),
        ("/canary/stepPluginStatuses/disabled", Form::Flag),
        ("/canary/stepPluginStatuses/executions", Form::Number),
        ("/canary/stepPluginStatuses/finishedAt", Form::Time),
        ("/canary/stepPluginStatuses/index", Form::Number),
        ("/canary/stepPluginStatuses/message", Form::Text),
        ("/canary/stepPluginStatuses/name", Form::Text),
        ("/canary/stepPluginStatuses/operation", Form::Text),
        ("/canary/stepPluginStatuses/phase", Form::Text),
        ("/canary/stepPluginStatuses/startedAt", Form::Time),
        ("/canary/stepPluginStatuses/status", Form::Anything),
        ("/canary/stepPluginStatuses/updatedAt", Form::Time),
        ("/canary/weights/additional/podTemplateHash", Form::Text),
        ("/canary/weights/additional/serviceName", Form::Text),
        ("/canary/weights/additional/weight", Form::Number),
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
        ("/promoteFull", Form::Flag),
        ("/readyReplicas", Form::Number),
        ("/replicas", Form::Number),
        ("/restartedAt", Form::Time),
        ("/selector", Form::Text),
        ("/stableRS", Form::Text),
        ("/updatedReplicas", Form::Number),
        ("/workloadObservedGeneration", Form::Generation),
    ],
    required: &[
        ("/alb/canaryTargetGroup", &["arn", "name"]),
        ("/alb/loadBalancer", &["arn", "name"]),
        ("/alb/stableTargetGroup", &["arn", "name"]),
        ("/albs/canaryTargetGroup", &["arn", "name"]),
        ("/albs/loadBalancer", &["arn", "name"]),
        ("/albs/stableTargetGroup", &["arn", "name"]),
        ("/blueGreen/postPromotionAnalysisRunStatus", &["name", "status"]),
        ("/blueGreen/prePromotionAnalysisRunStatus", &["name", "status"]),
        ("/canary/currentBackgroundAnalysisRunStatus", &["name", "status"]),
        ("/canary/currentStepAnalysisRunStatus", &["name", "status"]),
        ("/canary/stepPluginStatuses", &["index", "name", "operation"]),
        ("/canary/weights", &["canary", "stable"]),
        ("/canary/weights/additional", &["weight"]),
        ("/canary/weights/canary", &["weight"]),
        ("/canary/weights/stable", &["weight"]),
        ("/conditions", &["lastTransitionTime", "lastUpdateTime", "message", "reason", "status", "type"]),
        ("/pauseConditions", &["reason", "startTime"]),
    ],
    ours: &["headgate", "waiting"],
};

const RUN: Shape = Shape {
    fields: &[
        ("/completedAt", Form::Time),
        ("/dryRunSummary/count", Form::Number),
        ("/dryRunSummary/error", Form::Number),
        ("/dryRunSummary/failed", Form::Number),
        ("/dryRunSummary/inconclusive", Form::Number),
        ("/dryRunSummary/successful", Form::Number),
        ("/message", Form::Text),
        ("/metricResults/consecutiveError", Form::Number),
        ("/metricResults/consecutiveSuccess", Form::Number),
        ("/metricResults/count", Form::Number),
        ("/metricResults/dryRun", Form::Flag),
        ("/metricResults/error", Form::Number),
        ("/metricResults/failed", Form::Number),
        ("/metricResults/inconclusive", Form::Number),
        ("/metricResults/measurements/finishedAt", Form::Time),
        ("/metricResults/measurements/message", Form::Text),
        ("/metricResults/measurements/metadata", Form::Texts),
        ("/metricResults/measurements/phase", RUN_PHASES),
        ("/metricResults/measurements/resumeAt", Form::Time),
        ("/metricResults/measurements/startedAt", Form::Time),
        ("/metricResults/measurements/value", Form::Text),
        ("/metricResults/message", Form::Text),
        ("/metricResults/metadata", Form::Texts),
        ("/metricResults/name", Form::Text),
        ("/metricResults/phase", RUN_PHASES),
        ("/metricResults/successful", Form::Number),
        ("/phase", RUN_PHASES),
        ("/runSummary/count", Form::Number),
        ("/runSummary/error", Form::Number),
        ("/runSummary/failed", Form::Number),
        ("/runSummary/inconclusive", Form::Number),
        ("/runSummary/successful", Form::Number),
        ("/startedAt", Form::Time),
    ],
    required: &[
        ("", &["phase"]),
        ("/metricResults", &["name", "phase"]),
        ("/metricResults/measurements", &["phase"]),
    ],
    ours: &[],
};

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
            Self::Texts => value.as_object().is_some_and(|members| members.values().all(Value::is_string)),
            Self::Anything => true,
        }
    }
}

impl Shape {
    fn check(&self, value: &Value, path: &str, wrong: &mut Vec<String>) {
        let form = self.fields.iter().find(|(field, _)| *field == path).map(|(_, form)| form);
        match (value, form) {
            (value, Some(form)) if form.fits(value) => {}
            (value, Some(form)) => wrong.push(format!("{path} is {value}, which is no {form:?}")),
            (Value::Object(members), None) => {
                for (_, required) in self.required.iter().filter(|(parent, _)| *parent == path) {
                    let missing = required.iter().filter(|name| !members.contains_key(**name));
                    let parent = if path.is_empty() { "/" } else { path };
                    wrong.extend(missing.map(|name| format!("{parent} lacks {name}")));
                }
                for (name, member) in members {
                    if !(path.is_empty() && self.ours.contains(&name.as_str())) {
                        self.check(member, &format!("{path}/{name}"), wrong);
                    }
                }
            }
            (Value::Array(items), None) => items.iter().for_each(|item| self.check(item, path, wrong)),
            (_, None) => wrong.push(format!("{path} is a field that Argo Rollouts does not have")),
        }
    }
}

/// What Argo Rollouts could not read of the status of a Rollout or an AnalysisRun: each field that it does not have, or has
/// in another form. `status.headgate` and `status.waiting` are none of them: it passes over them.
pub fn unreadable(object: &Value) -> Vec<String> {
    let shape = if object["kind"] == "AnalysisRun" { RUN } else { ROLLOUT };
    let mut wrong = Vec::new();
    if let Some(status) = object.get("status") {
        shape.check(status, "", &mut wrong);
    }
    wrong
}
