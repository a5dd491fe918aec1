//! What a spec names beyond itself: Services, routes, analysis templates. Missing or wrong ones make the spec invalid
//! until they are mended; unknown ones are waited for.

use crate::analysis;
use crate::scene::Scene;
use crate::steps::{self, Stage};
use headgate_api::{RolloutAnalysis, RolloutStatus};
use headgate_model::analysis::{AnalysisProblem, check_finite, check_supported};
use headgate_model::spec::Step;
use headgate_model::{Observed, RouterProblem, SpecProblem};

/// Checks everything that the spec names.
///
/// # Errors
/// The first problem, with the field that names what is missing or wrong.
pub(crate) fn check(scene: &Scene<'_>, record: &RolloutStatus) -> Result<(), SpecProblem> {
    let canary = &scene.spec.canary;
    service(scene, "spec.strategy.canary.canaryService", canary.canary_service.as_ref())?;
    service(scene, "spec.strategy.canary.stableService", canary.stable_service.as_ref())?;
    // Nobody measures for steps that are behind, or between releases.
    let next = match steps::stage(record, scene.spec) {
        Stage::Step(index) => Some(index),
        Stage::Finishing => Some(canary.steps.len()),
        Stage::Promoted | Stage::Aborted => None,
    };
    for (index, step) in canary.steps.iter().enumerate() {
        if let Step::Analysis(analysis, _) = step {
            let field = format!("spec.strategy.canary.steps[{index}].analysis");
            let is_ahead = next.is_some_and(|next| index >= next);
            Place { field: &field, ends: Ends::ByItself, is_ahead }.check(scene, record, analysis)?;
        }
    }
    let beside = |field| Place { field, ends: Ends::WithRelease, is_ahead: next.is_some() };
    if let Some(background) = &canary.background {
        beside("spec.strategy.canary.analysis").check(scene, record, &background.analysis)?;
    }
    if let Some(analysis) = canary.bake.as_ref().and_then(|bake| bake.analysis.as_ref()) {
        beside("spec.strategy.canary.bake.analysis").check(scene, record, analysis)?;
    }
    scene.snapshot.routers.iter().try_for_each(|router| match &router.state {
        Ok(_) | Err(RouterProblem::Unknown(_) | RouterProblem::Leaving(_)) => Ok(()),
        Err(RouterProblem::Missing { field, message, object }) => Err(SpecProblem {
            field: field.clone(),
            problem: format!("Invalid value: \"{}\": {message}", object.name),
        }),
        Err(RouterProblem::Invalid { field, message }) => {
            Err(SpecProblem { field: field.clone(), problem: format!("Invalid value: {message}") })
        }
    })
}

fn service(scene: &Scene<'_>, field: &str, name: Option<&String>) -> Result<(), SpecProblem> {
    let Some(name) = name else { return Ok(()) };
    let problem = |problem: String| SpecProblem {
        field: field.to_owned(),
        problem: format!("Invalid value: \"{name}\": {problem}"),
    };
    match scene.snapshot.services.get(name) {
        Some(Observed::Absent) => Err(problem(format!(
            "service \"{name}\" not found: create it in namespace {}, or correct the name",
            scene.rollout.namespace
        ))),
        Some(Observed::Present(service)) => {
            service.check_fits(name, &scene.rollout.name, &scene.spec.template).map_err(problem)?;
            service.check_finds_roles(name, &scene.spec.canary)
        }
        Some(Observed::Unknown) | None => Ok(()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    ByItself,
    WithRelease,
}

/// Where an analysis stands.
struct Place<'a> {
    field: &'a str,
    ends: Ends,
    /// Whether the release that goes on will measure it.
    is_ahead: bool,
}

impl Place<'_> {
    fn check(
        &self,
        scene: &Scene<'_>,
        record: &RolloutStatus,
        analysis: &RolloutAnalysis,
    ) -> Result<(), SpecProblem> {
        let resolved = analysis::resolve(scene, record, analysis).and_then(|spec| {
            if self.is_ahead {
                check_supported(&spec)?;
            }
            match self.ends {
                Ends::ByItself => check_finite(&spec),
                Ends::WithRelease => Ok(()),
            }
        });
        let mut names =
            analysis.templates.iter().flatten().filter_map(|template| template.template_name.as_deref());
        match resolved {
            Ok(()) | Err(AnalysisProblem::TemplateUnknown(_) | AnalysisProblem::FieldUnset(_)) => Ok(()),
            Err(problem) => Err(SpecProblem {
                field: format!("{}.templates", self.field),
                problem: format!("Invalid value: \"{}\": {problem}", names.next().unwrap_or_default()),
            }),
        }
    }
}
