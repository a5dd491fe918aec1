//! `spec.strategy.canary.bake`.

use super::SpecProblem;
use super::read::{invalid, optional, required};
use super::steps;
use crate::spec::{Bake, OnFailure, Routing};
use headgate_api::{Bake as Written, BakeFailure};
use serde_json::Value;

const PATH: &str = "spec.strategy.canary";

/// Reads for how long a new version bakes.
pub(super) fn bake(canary: &Value, routing: Option<&Routing>) -> Result<Option<Bake>, SpecProblem> {
    let Some(written) = optional::<Written>(canary, PATH, "bake")? else { return Ok(None) };
    let field = format!("{PATH}.bake");
    if routing.is_none() {
        let problem =
            "without trafficRouting the old pods are gone by then: add trafficRouting, or remove bake";
        return Err(invalid(&field, canary.get("bake").unwrap_or(&Value::Null), problem));
    }
    if canary.get("dynamicStableScale") == Some(&Value::Bool(true)) {
        let problem = "with dynamicStableScale the old pods are gone by then: remove one of the two";
        return Err(invalid(&field, canary.get("bake").unwrap_or(&Value::Null), problem));
    }
    let Some(duration) = &written.duration else {
        return Err(required(&format!("{field}.duration"), "say how long, such as 10m"));
    };
    let parsed = duration
        .parse()
        .map_err(|error| invalid(&format!("{field}.duration"), duration, error.to_string()))?;
    if let Some(BakeFailure::Other(word)) = &written.on_failure {
        return Err(invalid(&format!("{field}.onFailure"), word, "must be \"rollback\""));
    }
    if let Some(analysis) = &written.analysis {
        let field = format!("{field}.analysis");
        steps::check_analysis(analysis, &field)?;
        if steps::on_failure(analysis, &field)? != OnFailure::Abort {
            let word = analysis.on_failure.as_ref().map_or("", headgate_api::AnalysisFailure::as_str);
            let problem = "a failure in a bake always rolls back: remove this";
            return Err(invalid(&format!("{field}.onFailure"), word, problem));
        }
    }
    Ok(Some(Bake { duration: parsed, analysis: written.analysis }))
}
