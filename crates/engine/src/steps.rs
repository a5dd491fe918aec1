//! Where a release stands in its steps, and what that asks for.

use headgate_api::{PauseCondition, RolloutStatus};
use headgate_model::spec::{CanaryScale, RolloutSpec, Step};

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The newest version is the stable one: nothing is being released.
    Promoted,
    /// Back to stable.
    Aborted,
    /// At the step with this index.
    Step(usize),
    /// All steps are done, or there are none, or a full promotion is wanted.
    Finishing,
}

/// What the stage asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Share of the canary.
    pub(crate) weight: i32,
    /// Size of the canary where it does not follow the weight.
    pub(crate) scale: Option<CanaryScale>,
}

/// The stage that the record describes.
pub(crate) fn stage(record: &RolloutStatus, spec: &RolloutSpec) -> Stage {
    if record.stable_rs == record.current_pod_hash {
        return Stage::Promoted;
    }
    if record.abort {
        return Stage::Aborted;
    }
    let index = record.current_step_index.and_then(|index| usize::try_from(index).ok()).unwrap_or(0);
    if record.promote_full || index >= spec.canary.steps.len() {
        Stage::Finishing
    } else {
        Stage::Step(index)
    }
}

/// What a stage asks for.
pub(crate) fn wish(stage: Stage, spec: &RolloutSpec) -> Wish {
    let total = total(spec);
    match stage {
        Stage::Promoted | Stage::Aborted => Wish { weight: 0, scale: None },
        Stage::Finishing => Wish { weight: total, scale: None },
        Stage::Step(index) => {
            let done = spec.canary.steps.get(..=index).unwrap_or(&spec.canary.steps);
            let scale = done.iter().rev().find_map(|step| match step {
                Step::SetCanaryScale(scale) => Some(*scale),
                _ => None,
            });
            let scale = scale.filter(|scale| *scale != CanaryScale::MatchTrafficWeight);
            Wish { weight: spec.canary.weight_at(index), scale }
        }
    }
}

/// The sum of the weights.
pub(crate) fn total(spec: &RolloutSpec) -> i32 {
    spec.canary.total()
}

/// The step at which the record stands.
pub(crate) fn current_step<'a>(record: &RolloutStatus, spec: &'a RolloutSpec) -> Option<&'a Step> {
    match stage(record, spec) {
        Stage::Step(index) => spec.canary.steps.get(index),
        Stage::Promoted | Stage::Aborted | Stage::Finishing => None,
    }
}

/// The index that stands for "all steps done"; absent without steps.
pub(crate) fn end(spec: &RolloutSpec) -> Option<i32> {
    match spec.canary.steps.len() {
        0 => None,
        steps => i32::try_from(steps).ok(),
    }
}

/// The index of the first step; absent without steps.
pub(crate) fn start(spec: &RolloutSpec) -> Option<i32> {
    end(spec).map(|_| 0)
}

/// True when the record holds a pause for this reason.
pub(crate) fn paused_for(record: &RolloutStatus, reason: &str) -> bool {
    record.pause_conditions.iter().any(|condition| condition.reason == reason)
}

/// True when a user, an analysis without a verdict or one that has failed, or an unhealthy pod holds the release: neither steps nor pods of it move.
pub(crate) fn is_held(record: &RolloutStatus, spec: &RolloutSpec) -> bool {
    spec.paused
        || [
            PauseCondition::INCONCLUSIVE_ANALYSIS_RUN,
            PauseCondition::ANALYSIS_FAILED,
            PauseCondition::POD_HEALTH,
        ]
        .into_iter()
        .any(|reason| paused_for(record, reason))
}

/// A step as people write it, for events.
pub(crate) fn describe(step: &Step) -> String {
    match step {
        Step::SetWeight(weight) => format!("setWeight: {weight}"),
        Step::Pause(headgate_model::spec::PauseEnd::Promotion(_)) => "pause: {}".to_owned(),
        Step::Pause(headgate_model::spec::PauseEnd::After(duration)) => {
            format!("pause: {}s", duration.as_secs())
        }
        Step::Analysis(analysis, _) => {
            let names =
                analysis.templates.iter().flatten().filter_map(|template| template.template_name.as_deref());
            format!("analysis: {}", names.collect::<Vec<_>>().join(", "))
        }
        Step::SetCanaryScale(CanaryScale::Weight(weight)) => format!("setCanaryScale: weight {weight}"),
        Step::SetCanaryScale(CanaryScale::Replicas(replicas)) => {
            format!("setCanaryScale: replicas {replicas}")
        }
        Step::SetCanaryScale(CanaryScale::MatchTrafficWeight) => {
            "setCanaryScale: matchTrafficWeight".to_owned()
        }
    }
}
