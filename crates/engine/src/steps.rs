//! Where a release stands in its steps, and what that asks for.

use crate::pauses;
use headgate_api::{PauseCondition, RolloutStatus};
use headgate_model::spec::{CanaryScale, RolloutSpec, Step};
use serde_json::Value;

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
    let index = step_index(record);
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

/// The weight of a release before its stage gave it another one: that of the steps that are over. A full promotion says that
/// all are, wherever it was made: `None`.
pub(crate) fn weight_before(record: &RolloutStatus, spec: &RolloutSpec) -> Option<i32> {
    let last = step_index(record).checked_sub(1);
    (!record.promote_full).then(|| last.map_or(0, |last| spec.canary.weight_at(last)))
}

/// The index of the step at which the record stands; 0 where it says none, or none that can be.
pub(crate) fn step_index(record: &RolloutStatus) -> usize {
    record.current_step_index.and_then(|index| usize::try_from(index).ok()).unwrap_or(0)
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

/// True when a user, an analysis without a verdict or one that has failed, or an unhealthy pod holds the release: neither steps nor pods of it move.
pub(crate) fn is_held(record: &RolloutStatus, spec: &RolloutSpec) -> bool {
    spec.paused
        || [
            PauseCondition::INCONCLUSIVE_ANALYSIS_RUN,
            PauseCondition::ANALYSIS_FAILED,
            PauseCondition::POD_HEALTH,
        ]
        .into_iter()
        .any(|reason| pauses::holds(record, reason))
}

/// A step as Argo Rollouts names it in events, a duration as it is `written` in the spec.
pub(crate) fn describe(step: &Step, written: Option<&Value>) -> String {
    match step {
        Step::SetWeight(weight) => format!("setWeight: {weight}"),
        Step::Pause(_) => match written.and_then(|step| step.pointer("/pause/duration")) {
            Some(Value::String(duration)) => format!("pause: {duration}"),
            Some(duration @ Value::Number(_)) => format!("pause: {duration}"),
            _ => "pause".to_owned(),
        },
        Step::Analysis(..) => "analysis".to_owned(),
        Step::SetCanaryScale(CanaryScale::Weight(weight)) => format!("setCanaryScale{{weight: {weight}}}"),
        Step::SetCanaryScale(CanaryScale::Replicas(replicas)) => {
            format!("setCanaryScale{{replicas: {replicas}}}")
        }
        Step::SetCanaryScale(CanaryScale::MatchTrafficWeight) => {
            "setCanaryScale{matchTrafficWeight: true}".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_model::spec::{OnFailure, PauseEnd};
    use serde_json::json;

    #[test]
    fn steps_are_named_as_argo_rollouts_names_them_in_events() {
        let pause = Step::Pause(PauseEnd::Promotion(None));
        let named = |step: &Step, written: Value| describe(step, Some(&written));
        assert_eq!(named(&pause, json!({"pause": {}})), "pause");
        assert_eq!(named(&pause, json!({"pause": {"duration": "1m"}})), "pause: 1m");
        assert_eq!(named(&pause, json!({"pause": {"duration": 90}})), "pause: 90");
        let analysis = Step::Analysis(Box::default(), OnFailure::Abort);
        assert_eq!(named(&analysis, json!({"analysis": {}})), "analysis");
        for (scale, name) in [
            (CanaryScale::Weight(20), "setCanaryScale{weight: 20}"),
            (CanaryScale::Replicas(2), "setCanaryScale{replicas: 2}"),
            (CanaryScale::MatchTrafficWeight, "setCanaryScale{matchTrafficWeight: true}"),
        ] {
            assert_eq!(describe(&Step::SetCanaryScale(scale), None), name);
        }
    }
}
