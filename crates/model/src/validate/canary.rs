//! `spec.strategy.canary` without its steps.

use super::SpecProblem;
use super::read::{forbidden, invalid, optional};
use super::{bake, pod_metadata, routers, steps};
use crate::spec::{
    AbortDelay, AbortPolicy, AntiAffinity, BackgroundAnalysis, Canary, Count, Initial, Routing,
};
use headgate_api::{
    AbortPolicy as Word, InitialRelease, IntOrString, ProgressThresholdType, ReplicaProgressThreshold,
    RolloutAnalysisBackground,
};
use serde_json::Value;

const PATH: &str = "spec.strategy.canary";

/// Reads the canary strategy.
pub(super) fn canary(canary: &Value) -> Result<Canary, SpecProblem> {
    refuse_unsupported(canary)?;
    let canary_service = name(canary, "canaryService")?;
    let stable_service = name(canary, "stableService")?;
    if let (Some(same), true) = (&canary_service, canary_service == stable_service) {
        return Err(invalid(
            "spec.strategy.stableService",
            same,
            "This rollout uses the same service for the stable and canary services, but two different services are required.",
        ));
    }
    let routing = routing(canary)?;
    if routing.is_some() {
        for (key, service) in [("canaryService", &canary_service), ("stableService", &stable_service)] {
            if service.is_none() {
                let problem = "Canary service and Stable service must be set together with traffic routing: name a Service";
                return Err(invalid(&format!("{PATH}.{key}"), "\"\"", problem));
            }
        }
    }
    let total = routing.as_ref().map_or(100, |routing| routing.total);
    let is_routed = routing.is_some();
    let (max_surge, max_unavailable) = surge_and_unavailable(canary)?;
    Ok(Canary {
        steps: steps::steps(canary.get("steps"), total, routing.as_ref())?,
        max_surge,
        max_unavailable,
        bake: bake::bake(canary, routing.as_ref())?,
        initial: initial(canary)?,
        canary_service,
        stable_service,
        background: background(canary)?,
        routing,
        anti_affinity: anti_affinity(canary)?,
        canary_metadata: pod_metadata::read(canary, "canaryMetadata")?,
        stable_metadata: pod_metadata::read(canary, "stableMetadata")?,
        progress_threshold: progress_threshold(canary)?,
        pod_health: super::pod_health::pod_health(canary)?,
        abort_policy: abort_policy(canary, is_routed)?,
    })
}

fn refuse_unsupported(canary: &Value) -> Result<(), SpecProblem> {
    if canary.get("pingPong").is_some_and(|value| !value.is_null()) {
        let how = "remove it and name canaryService and stableService";
        return Err(forbidden(&format!("{PATH}.pingPong"), how));
    }
    Ok(())
}

/// Whether stable shrinks as the canary grows. Its pods go with their weight, so that a delay of theirs makes no sense.
fn dynamic_stable_scale(canary: &Value) -> Result<bool, SpecProblem> {
    let is_wanted = optional::<bool>(canary, PATH, "dynamicStableScale")? == Some(true);
    let has = |key: &str| canary.get(key).is_some_and(|value| !value.is_null());
    let problem = if !has("trafficRouting") {
        "Canary dynamicStableScale can only be used with traffic routing: remove it or add trafficRouting"
    } else if has("scaleDownDelaySeconds") {
        "Canary dynamicStableScale cannot be used with scaleDownDelaySeconds: remove one of the two"
    } else {
        return Ok(is_wanted);
    };
    if is_wanted { Err(invalid(&format!("{PATH}.dynamicStableScale"), true, problem)) } else { Ok(false) }
}

pub(super) fn abort_policy(canary: &Value, is_routed: bool) -> Result<AbortPolicy, SpecProblem> {
    let written = match canary.get("abort") {
        None | Some(Value::Null) => return Ok(AbortPolicy::Instant),
        Some(written @ Value::Object(_)) => written,
        Some(other) => {
            return Err(invalid(
                &format!("{PATH}.abort"),
                other,
                "must be an object, such as {policy: stepped}",
            ));
        }
    };
    let (path, field) = (format!("{PATH}.abort"), format!("{PATH}.abort.policy"));
    let policy = match optional::<Word>(written, &path, "policy")? {
        None | Some(Word::Instant) => return Ok(AbortPolicy::Instant),
        Some(Word::Stepped) => AbortPolicy::Stepped,
        Some(Word::AsCapacityAllows) => AbortPolicy::AsCapacityAllows,
        Some(Word::Other(word)) => {
            let words = Word::KNOWN.join("\", \"");
            return Err(SpecProblem {
                field,
                problem: format!("Unsupported value: \"{word}\": supported values: \"{words}\""),
            });
        }
    };
    if is_routed {
        return Ok(policy);
    }
    let word = written.get("policy").unwrap_or(&Value::Null);
    Err(invalid(&field, word, "can only be used with traffic routing: remove it or add trafficRouting"))
}

fn initial(canary: &Value) -> Result<Initial, SpecProblem> {
    Ok(match optional::<InitialRelease>(canary, PATH, "initial")? {
        None | Some(InitialRelease::Skip) => Initial::Skip,
        Some(InitialRelease::Analyse) => Initial::Analyse,
        Some(InitialRelease::Other(word)) => {
            let words = InitialRelease::KNOWN.join("\", \"");
            return Err(invalid(&format!("{PATH}.initial"), word, format!("must be one of \"{words}\"")));
        }
    })
}

fn anti_affinity(canary: &Value) -> Result<Option<AntiAffinity>, SpecProblem> {
    let Some(written) = optional::<headgate_api::AntiAffinity>(canary, PATH, "antiAffinity")? else {
        return Ok(None);
    };
    let field = format!("{PATH}.antiAffinity");
    let preferred = written.preferred_during_scheduling_ignored_during_execution;
    let required = written.required_during_scheduling_ignored_during_execution;
    match (preferred, required) {
        (Some(preferred), None) if (1..=100).contains(&preferred.weight) => {
            Ok(Some(AntiAffinity::Preferred { weight: preferred.weight }))
        }
        (Some(preferred), None) => Err(invalid(
            &format!("{field}.preferredDuringSchedulingIgnoredDuringExecution.weight"),
            preferred.weight,
            "must be between 1 and 100",
        )),
        (None, Some(_)) => Ok(Some(AntiAffinity::Required)),
        (_, _) => Err(invalid(
            &field,
            canary.get("antiAffinity").unwrap_or(&Value::Null),
            "write exactly one of preferredDuringSchedulingIgnoredDuringExecution and \
             requiredDuringSchedulingIgnoredDuringExecution",
        )),
    }
}

fn name(canary: &Value, key: &str) -> Result<Option<String>, SpecProblem> {
    Ok(optional::<String>(canary, PATH, key)?.filter(|name| !name.is_empty()))
}

fn surge_and_unavailable(canary: &Value) -> Result<(Count, Count), SpecProblem> {
    let surge = count(canary, "maxSurge")?.unwrap_or(Count::Percent(25));
    let unavailable = count(canary, "maxUnavailable")?.unwrap_or(Count::Percent(25));
    let is_zero = |count| matches!(count, Count::Pods(0) | Count::Percent(0));
    if is_zero(surge) && is_zero(unavailable) {
        return Err(invalid(
            "spec.strategy.maxSurge",
            0,
            "MaxSurge and MaxUnavailable both can not be zero: set one of them to 1 or more",
        ));
    }
    // More than all can't be missing.
    let unavailable = match unavailable {
        Count::Percent(percent) => Count::Percent(percent.min(100)),
        Count::Pods(pods) => Count::Pods(pods),
    };
    Ok((surge, unavailable))
}

/// A text is a percentage with or without its sign, as Argo Rollouts reads it.
fn count(canary: &Value, key: &str) -> Result<Option<Count>, SpecProblem> {
    let field = format!("{PATH}.{key}");
    let Some(value) = optional::<IntOrString>(canary, PATH, key)? else { return Ok(None) };
    let count = match value {
        IntOrString::Int(pods) if pods >= 0 => Some(Count::Pods(pods)),
        IntOrString::Int(_) => None,
        IntOrString::String(ref text) => {
            text.trim_end_matches('%').parse().ok().filter(|percent| *percent >= 0).map(Count::Percent)
        }
    };
    count.map(Some).ok_or_else(|| {
        let written = canary.get(key).map(Value::to_string).unwrap_or_default();
        invalid(
            &field,
            written,
            "write a number of pods that is not negative, such as 1, or a percentage, such as 25%",
        )
    })
}

pub(super) fn background(canary: &Value) -> Result<Option<BackgroundAnalysis>, SpecProblem> {
    // One that names no template is none, as in Argo Rollouts.
    let names_any = |written: &RolloutAnalysisBackground| {
        written.analysis.templates.as_ref().is_some_and(|templates| !templates.is_empty())
    };
    let Some(written) = optional::<RolloutAnalysisBackground>(canary, PATH, "analysis")?.filter(names_any)
    else {
        return Ok(None);
    };
    let field = format!("{PATH}.analysis");
    steps::check_analysis(&written.analysis, &field)?;
    let starting_step = written.starting_step.unwrap_or(0);
    let starting_step = usize::try_from(starting_step).map_err(|_| {
        invalid(&format!("{field}.startingStep"), starting_step, "must be the index of a step, from 0")
    })?;
    let on_failure = steps::on_failure(&written.analysis, &field)?;
    Ok(Some(BackgroundAnalysis { starting_step, analysis: written.analysis, on_failure }))
}

fn progress_threshold(canary: &Value) -> Result<Option<Count>, SpecProblem> {
    let Some(threshold) = optional::<ReplicaProgressThreshold>(canary, PATH, "replicaProgressThreshold")?
    else {
        return Ok(None);
    };
    let field = format!("{PATH}.replicaProgressThreshold");
    match threshold.type_ {
        ProgressThresholdType::Percent if (1..=100).contains(&threshold.value) => {
            Ok(Some(Count::Percent(threshold.value)))
        }
        ProgressThresholdType::Percent => Err(invalid(
            &format!("{field}.value"),
            threshold.value,
            "must be between 1 and 100 for type Percent",
        )),
        ProgressThresholdType::Pods if threshold.value >= 1 => Ok(Some(Count::Pods(threshold.value))),
        ProgressThresholdType::Pods => {
            Err(invalid(&format!("{field}.value"), threshold.value, "must be 1 or more"))
        }
        ProgressThresholdType::Other(word) => Err(SpecProblem {
            field: format!("{field}.type"),
            problem: format!("Unsupported value: \"{word}\": supported values: \"Percent\", \"Pods\""),
        }),
    }
}

fn routing(canary: &Value) -> Result<Option<Routing>, SpecProblem> {
    let path = format!("{PATH}.trafficRouting");
    let dynamic_stable_scale = dynamic_stable_scale(canary)?;
    let Some(written) = canary.get("trafficRouting").filter(|value| !value.is_null()) else {
        // Argo Rollouts refuses this one and passes over the other settings of routed releases.
        if let Some(seconds) = optional::<i32>(canary, PATH, "scaleDownDelaySeconds")? {
            let problem = "Canary scaleDownDelaySeconds can only be used with traffic routing: remove it or add trafficRouting";
            return Err(invalid(&format!("{PATH}.scaleDownDelaySeconds"), seconds, problem));
        }
        return Ok(None);
    };
    let (routers, total) = routers::routers(written, &path)?;
    Ok(Some(Routing {
        routers,
        total,
        scale_down_delay_seconds: not_negative(canary, "scaleDownDelaySeconds")?
            .unwrap_or(if dynamic_stable_scale { 0 } else { 30 }),
        abort_delay: AbortDelay::new(not_negative(canary, "abortScaleDownDelaySeconds")?),
        scale_down_delay_revision_limit: not_negative(canary, "scaleDownDelayRevisionLimit")?,
        dynamic_stable_scale,
        min_pods_per_replica_set: not_negative(canary, "minPodsPerReplicaSet")?,
    }))
}

pub(super) fn not_negative(canary: &Value, key: &str) -> Result<Option<i32>, SpecProblem> {
    let value = optional::<i32>(canary, PATH, key)?;
    match value {
        Some(negative) if negative < 0 => {
            Err(invalid(&format!("{PATH}.{key}"), negative, "must be greater than or equal to 0"))
        }
        _ => Ok(value),
    }
}
