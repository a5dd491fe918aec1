//! `spec.strategy.canary.steps`.

use super::SpecProblem;
use super::read::{forbidden, invalid, optional, required};
use crate::spec::{CanaryScale, OnFailure, PauseEnd, PauseLimit, PauseTimeout, Routing, Step};
use headgate_api::{
    AnalysisFailure, DurationOrSeconds, PauseTimeout as Word, RolloutAnalysis, RolloutPause, SetCanaryScale,
};
use serde_json::Value;

const ACTIONS: &[&str] = &[
    "setWeight",
    "pause",
    "experiment",
    "analysis",
    "setCanaryScale",
    "setHeaderRoute",
    "setMirrorRoute",
    "plugin",
];

/// Reads the steps.
pub(super) fn steps(
    written: Option<&Value>,
    total: i32,
    routing: Option<&Routing>,
) -> Result<Vec<Step>, SpecProblem> {
    let path = "spec.strategy.canary.steps";
    match written {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(steps)) => steps
            .iter()
            .enumerate()
            .map(|(index, written)| step(written, &format!("{path}[{index}]"), total, routing))
            .collect(),
        Some(other) => Err(invalid(path, other, "must be a list of steps")),
    }
}

fn step(written: &Value, path: &str, total: i32, routing: Option<&Routing>) -> Result<Step, SpecProblem> {
    let mut actions = ACTIONS.iter().filter(|key| written.get(**key).is_some_and(|value| !value.is_null()));
    let (Some(action), None) = (actions.next(), actions.next()) else {
        let problem = format!("Step must have exactly one of the following set: {}", ACTIONS.join(", "));
        return Err(invalid(path, written, problem));
    };
    let field = format!("{path}.{action}");
    match *action {
        "setWeight" => {
            let weight = optional::<i32>(written, path, action)?.unwrap_or(0);
            match (0..=total).contains(&weight) {
                true => Ok(Step::SetWeight(weight)),
                false => Err(invalid(&field, weight, format!("SetWeight needs to be between 0 and {total}"))),
            }
        }
        "pause" => pause(&optional::<RolloutPause>(written, path, action)?.unwrap_or_default(), &field),
        "analysis" => {
            let analysis: RolloutAnalysis = optional(written, path, action)?.unwrap_or_default();
            check_analysis(&analysis, &field)?;
            let on_failure = on_failure(&analysis, &field)?;
            Ok(Step::Analysis(Box::new(analysis), on_failure))
        }
        "setCanaryScale" if routing.is_none() => Err(invalid(
            &field,
            written.get(*action).unwrap_or(&Value::Null),
            "SetCanaryScale can only be used with traffic routing: remove this step or add trafficRouting",
        )),
        "setCanaryScale" => {
            canary_scale(&optional::<SetCanaryScale>(written, path, action)?.unwrap_or_default(), &field)
        }
        _ => Err(forbidden(&field, "remove this step, or leave this Rollout to Argo Rollouts")),
    }
}

fn pause(pause: &RolloutPause, field: &str) -> Result<Step, SpecProblem> {
    let parsed = |name: &str, written: &DurationOrSeconds| {
        written.parse().map_err(|error| invalid(&format!("{field}.{name}"), written, error.to_string()))
    };
    match (&pause.duration, &pause.max_duration) {
        (Some(_), Some(_)) => Err(forbidden(
            &format!("{field}.maxDuration"),
            "a pause with a duration ends by itself: remove one of the two",
        )),
        (Some(duration), None) => Ok(Step::Pause(PauseEnd::After(parsed("duration", duration)?))),
        (None, Some(longest)) => {
            let (after, then) = (parsed("maxDuration", longest)?, timeout(pause, field)?);
            Ok(Step::Pause(PauseEnd::Promotion(Some(PauseLimit { after, then }))))
        }
        (None, None) if pause.on_timeout.is_some() => {
            Err(forbidden(&format!("{field}.onTimeout"), "needs maxDuration: add it, or remove this"))
        }
        (None, None) => Ok(Step::Pause(PauseEnd::Promotion(None))),
    }
}

fn timeout(pause: &RolloutPause, field: &str) -> Result<PauseTimeout, SpecProblem> {
    Ok(match &pause.on_timeout {
        Some(Word::Abort) => PauseTimeout::Abort,
        Some(Word::Promote) => PauseTimeout::Promote,
        None | Some(Word::Stay) => PauseTimeout::Stay,
        Some(Word::Other(word)) => {
            let words = Word::KNOWN.join("\", \"");
            let problem = format!("must be one of \"{words}\"");
            return Err(invalid(&format!("{field}.onTimeout"), word, problem));
        }
    })
}

/// Of several the first counts in this order, and without any the weight, as in Argo Rollouts.
fn canary_scale(scale: &SetCanaryScale, field: &str) -> Result<Step, SpecProblem> {
    let not_negative = |name: &str, number: i32| {
        let problem = "must be greater than or equal to 0";
        if number < 0 { Err(invalid(&format!("{field}.{name}"), number, problem)) } else { Ok(number) }
    };
    Ok(Step::SetCanaryScale(match scale {
        SetCanaryScale { match_traffic_weight: Some(true), .. } => CanaryScale::MatchTrafficWeight,
        SetCanaryScale { replicas: Some(replicas), .. } => {
            CanaryScale::Replicas(not_negative("replicas", *replicas)?)
        }
        SetCanaryScale { weight: Some(weight), .. } => CanaryScale::Weight(not_negative("weight", *weight)?),
        SetCanaryScale { weight: None, replicas: None, .. } => CanaryScale::MatchTrafficWeight,
    }))
}

/// What is to happen when an analysis has failed.
pub(super) fn on_failure(analysis: &RolloutAnalysis, field: &str) -> Result<OnFailure, SpecProblem> {
    Ok(match &analysis.on_failure {
        None | Some(AnalysisFailure::Abort) => OnFailure::Abort,
        Some(AnalysisFailure::Pause) => OnFailure::Pause,
        Some(AnalysisFailure::Hold) => OnFailure::Hold,
        Some(AnalysisFailure::Other(word)) => {
            let words = AnalysisFailure::KNOWN.join("\", \"");
            return Err(invalid(&format!("{field}.onFailure"), word, format!("must be one of \"{words}\"")));
        }
    })
}

/// What can be said of an analysis without its templates.
pub(super) fn check_analysis(analysis: &RolloutAnalysis, field: &str) -> Result<(), SpecProblem> {
    let templates = analysis.templates.as_deref().unwrap_or_default();
    if templates.is_empty() {
        return Err(required(&format!("{field}.templates"), "name at least one AnalysisTemplate"));
    }
    for (index, template) in templates.iter().enumerate() {
        if template.template_name.as_deref().unwrap_or_default().is_empty() {
            return Err(required(
                &format!("{field}.templates[{index}].templateName"),
                "name an AnalysisTemplate",
            ));
        }
    }
    Ok(())
}
