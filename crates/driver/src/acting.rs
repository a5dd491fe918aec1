//! Carrying out the effects of one decision: class by class, two effects on one object never at the same
//! time, and nothing more of it once the world turns out to be another (R2, R6).

use crate::backoff::is_recent;
use crate::guard::{self, InTheWay, Subject};
use crate::io::{Call, ObjectRef, Reply};
use crate::object;
use crate::outbox::{Context, Errand};
use crate::outcome::{Outcome, Refusal, outcome};
use crate::quiet::Breaker;
use crate::resources::{ROLLOUTS, SERVICES, is_foreign};
use crate::rollout_task::{Rest, RolloutTask, Stage};
use headgate_model::{Effect, EffectClass, EffectKey, FailureClass, Notice, Timestamp};
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::BTreeSet;

/// A proof that nobody else has written the Rollout is good for so long: less than a lease lasts, so that an
/// ex-leader that was frozen in between reads the Rollout again before it acts.
const FENCE_SECONDS: i64 = 10;

/// What is answered so soon after the decision has happened when its record says so, times being stored as whole seconds.
const PROMPT_SECONDS: i64 = 2;

/// One decision on its way.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The Rollout's resourceVersion that everything rests on.
    pub(crate) fence: String,
    /// When it was asked for last.
    pub(crate) fenced_at: Timestamp,
    pub(crate) effects: Vec<Part>,
    /// When it was decided. The decision rests on which effects wait for their next attempt: these go out with a later one,
    /// also when their time comes in between.
    decided_at: Timestamp,
    /// When to decide again if nothing of this can be carried out.
    wake_at: Option<Timestamp>,
    /// A record is due that cannot be written now.
    is_unrecorded: bool,
    /// Pods are to be read then, because a decision that knows them could do more.
    wants_pods: bool,
    /// Whether anything came of it.
    moved: bool,
}

/// One effect and how far it is.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) effect: Effect,
    /// Told once it was carried out.
    told: Vec<Notice>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    /// So many replies are missing; `failed`: one of those that came says no.
    Sent {
        missing: usize,
        failed: bool,
    },
    Over,
}

impl Part {
    /// What is to be told now that this object was changed, and the whole effect carried out with it or not. What others
    /// have changed meanwhile is not told: this process did not do it.
    fn take_due(&mut self, changed: &str, is_whole: bool) -> Vec<Notice> {
        let is_due = |notice: &mut Notice| match &notice.change_of {
            Some(object) => object == changed,
            None => is_whole,
        };
        self.told.extract_if(.., is_due).collect()
    }
}

/// Which effects may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All: the record is stored.
    All,
    /// The record could not be written: only what adds, and what leads traffic back to stable. Of AnalysisRuns none is made
    /// that no record may name (R5), and one whose end, or verdict, no record has taken up stays as it is: the next process
    /// knows of it by nothing else.
    Safe,
    /// Writes are held back: only what leads traffic back to stable.
    ToStable,
}

impl Scope {
    pub(crate) fn allows(self, effect: &Effect) -> bool {
        match self {
            Self::All => true,
            Self::Safe => effect.leads_back() || effect.class() == EffectClass::Grow && !is_of_a_run(effect),
            Self::ToStable => effect.leads_back(),
        }
    }
}

fn is_of_a_run(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::CreateAnalysisRun { .. }
            | Effect::TerminateAnalysisRun { .. }
            | Effect::DeleteAnalysisRun { .. }
    )
}

impl Plan {
    pub(crate) fn new(
        rollout: &Value,
        effects: Vec<(Effect, Vec<Notice>)>,
        wake_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let part = |(effect, told)| Part { effect, told, progress: Progress::Waiting };
        let mut effects: Vec<Part> = effects.into_iter().map(part).collect();
        // A patch of a ReplicaSet carries its resourceVersion, a change of its size does not: the patch first.
        effects.sort_by_key(|part| (part.effect.class(), matches!(part.effect, Effect::Scale { .. })));
        Self {
            fence: object::resource_version(rollout).to_owned(),
            fenced_at: now,
            effects,
            decided_at: now,
            wake_at,
            is_unrecorded: false,
            wants_pods: false,
            moved: false,
        }
    }

    pub(crate) fn wanting_pods(self, wants_pods: bool) -> Self {
        Self { wants_pods, ..self }
    }

    pub(crate) fn unrecorded(self, is_unrecorded: bool) -> Self {
        Self { is_unrecorded, ..self }
    }

    /// A record is stored first: something has come of it then in any case.
    pub(crate) fn after_record(self) -> Self {
        Self { moved: true, ..self }
    }

    pub(crate) fn fence(&mut self, resource_version: &str, at: Timestamp) {
        resource_version.clone_into(&mut self.fence);
        self.fenced_at = at;
    }

    /// Nothing more of this plan is carried out.
    fn drop_rest(&mut self) {
        for part in &mut self.effects {
            if part.progress == Progress::Waiting {
                part.progress = Progress::Over;
            }
        }
    }

    /// The next effects that may go out together.
    fn next_batch(&self, task: &RolloutTask) -> Vec<usize> {
        let waiting =
            || self.effects.iter().enumerate().filter(|(_, part)| part.progress == Progress::Waiting);
        let Some(class) = waiting().map(|(_, part)| part.effect.class()).min() else { return Vec::new() };
        let mut subjects: BTreeSet<Subject> = BTreeSet::new();
        waiting()
            .filter(|(_, part)| part.effect.class() == class)
            .filter(|(_, part)| subjects.insert(guard::subject(&part.effect, &task.name)))
            .map(|(index, _)| index)
            .collect()
    }
}

impl RolloutTask {
    /// Sends the next effects of the plan; when none is left, decides again.
    pub(crate) fn send_batch(&mut self, mut plan: Plan, context: &mut Context<'_>) -> Rest {
        loop {
            let batch = plan.next_batch(self);
            let Some(rollout) = self.rollout(context) else { return Rest::Until(None) };
            let is_outdated =
                object::age(object::resource_version(&rollout), &plan.fence) == object::Age::Newer;
            // What happened while replies were awaited counts, also when nothing is left to be done for this decision.
            if is_outdated || (batch.is_empty() && (plan.moved || self.is_woken)) {
                return Rest::Again;
            }
            if batch.is_empty() && plan.wants_pods && self.list_pods(&rollout, context) {
                return Rest::Busy;
            }
            if batch.is_empty() {
                let times = [plan.wake_at, self.failures.next_retry(plan.decided_at)];
                return Rest::Until(times.into_iter().flatten().min());
            }
            if !is_recent(plan.fenced_at, FENCE_SECONDS, context.now) {
                // A process that stood still meanwhile knows of pods and routes by now what the plan does not.
                return Rest::Again;
            }
            for index in batch {
                self.send_effect(index, &mut plan, &rollout, context);
            }
            if !self.in_flight.is_empty() {
                self.stage = Stage::Acting(Box::new(plan));
                return Rest::Busy;
            }
        }
    }

    fn send_effect(&mut self, index: usize, plan: &mut Plan, rollout: &Value, context: &mut Context<'_>) {
        let Some(part) = plan.effects.get_mut(index) else { return };
        part.progress = Progress::Over;
        let is_outdated = matches!(part.effect, Effect::EvictPod { .. } | Effect::PatchPod { .. })
            && !self.restart.is_list_good(context.now);
        if is_outdated {
            // With a new list, which takes its time: not at once.
            let soon = context.now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(context.now);
            plan.wake_at = plan.wake_at.into_iter().chain([soon]).min();
            return;
        }
        if self.failures.holds_effect(&part.effect, plan.decided_at) {
            return;
        }
        if matches!(part.effect, Effect::Route { .. }) && self.quiet.is_reverted(&part.effect, context.now) {
            plan.moved = true;
            let refusal = Refusal::new(FailureClass::Conflict, &reverted(&part.effect, context));
            self.effect_failed(&part.effect, refusal, context);
            return;
        }
        match guard::calls(&part.effect, rollout, &plan.fence, context.store) {
            Ok(calls) => {
                self.count_eviction(&part.effect, context);
                if plan.is_unrecorded && matches!(part.effect, Effect::Route { .. }) && !calls.is_empty() {
                    self.unrecorded_shift_at = Some(context.now);
                }
                part.progress = Progress::Sent { missing: calls.len(), failed: false };
                if calls.is_empty() {
                    part.progress = Progress::Over;
                    self.failures.clear(&part.effect.key());
                }
                for call in calls {
                    plan.moved = true;
                    let target = target(&call);
                    let id = context.send(&self.key, Errand::Act { effect: index, target }, call);
                    self.in_flight.insert(id);
                }
            }
            Err(refusal) => {
                plan.moved = true;
                let stale = refusal.class == FailureClass::Conflict;
                let subject = guard::subject(&part.effect, &self.name);
                self.effect_failed(&part.effect, refusal, context);
                if let (true, Subject::Object(target)) = (stale, subject) {
                    self.look_at(target, context);
                    plan.drop_rest();
                }
            }
        }
    }

    /// The reply to one call of an effect.
    pub(crate) fn acted(
        &mut self,
        index: usize,
        target: &ObjectRef,
        reply: Reply,
        context: &mut Context<'_>,
    ) {
        let Stage::Acting(mut plan) = std::mem::replace(&mut self.stage, Stage::Idle) else { return };
        if let Some(part) = plan.effects.get(index) {
            let effect = part.effect.clone();
            let outcome = outcome(reply);
            self.eviction_answered(&effect, &outcome, context.now);
            if target.resource == SERVICES && !matches!(outcome, Outcome::Refused(_)) {
                self.switched(&plan, context.now);
            }
            match meaning(&effect, outcome) {
                Outcome::Done(object) => self.done(index, &effect, target, object, &mut plan, context),
                Outcome::Refused(refusal) if refusal.class == FailureClass::AlreadyExists => {
                    let errand = Errand::LookAtOccupant { effect: index, target: target.clone() };
                    let id = context.send(&self.key, errand, Call::Get(target.clone()));
                    self.in_flight.insert(id);
                }
                Outcome::Refused(refusal) => {
                    if matches!(refusal.class, FailureClass::Conflict | FailureClass::NotFound) {
                        self.look_at(target.clone(), context);
                        plan.drop_rest();
                    }
                    self.part_failed(index, refusal, &mut plan, context);
                }
                Outcome::Unclear(refusal) => {
                    self.look_at(target.clone(), context);
                    plan.drop_rest();
                    self.part_failed(index, refusal, &mut plan, context);
                }
            }
        }
        self.stage = Stage::Acting(plan);
    }

    /// A Service leads elsewhere now. Where the answer came late it may do so since just now, although the record says since
    /// before it was asked for: drain time is counted anew.
    fn switched(&mut self, plan: &Plan, now: Timestamp) {
        if !is_recent(plan.decided_at, PROMPT_SECONDS, now) {
            self.unrecorded_shift_at = Some(now);
        }
    }

    fn look_at(&mut self, target: ObjectRef, context: &mut Context<'_>) {
        let id = context.look(&self.key, target);
        self.in_flight.insert(id);
    }

    fn done(
        &mut self,
        index: usize,
        effect: &Effect,
        target: &ObjectRef,
        answer: Value,
        plan: &mut Plan,
        context: &mut Context<'_>,
    ) {
        if target.resource == ROLLOUTS {
            let fenced_at = plan.fenced_at;
            plan.fence(object::resource_version(&answer), fenced_at);
        }
        match effect {
            Effect::DeleteReplicaSet { uid, .. } | Effect::DeleteAnalysisRun { uid, .. } => {
                context.deleted(target, uid, answer);
            }
            // What is known of pods comes by their watch, and by the next list.
            Effect::PatchPod { .. } => {}
            _ => context.answered(target.resource, answer),
        }
        let is_whole = self.part_done(index, plan);
        if is_whole {
            self.failures.clear(&effect.key());
            context.counters.effect(effect.key().verb.as_str(), "Done");
        }
        let Some(rollout) = self.rollout(context) else { return };
        let told = plan.effects.get_mut(index).map(|part| part.take_due(&target.name, is_whole));
        for notice in told.unwrap_or_default() {
            context.tell(ROLLOUTS, &rollout, &mut self.told, &notice);
        }
        if is_whole && self.quiet.effect_done(effect, context.now) == Breaker::Tripped {
            self.breaker_tripped(&rollout, context);
        }
    }

    /// One call has succeeded; true when with it the whole effect has.
    fn part_done(&mut self, index: usize, plan: &mut Plan) -> bool {
        let Some(part) = plan.effects.get_mut(index) else { return false };
        let Progress::Sent { missing, failed } = part.progress else { return false };
        part.progress =
            if missing <= 1 { Progress::Over } else { Progress::Sent { missing: missing - 1, failed } };
        missing <= 1 && !failed
    }

    fn part_failed(&mut self, index: usize, refusal: Refusal, plan: &mut Plan, context: &mut Context<'_>) {
        let Some(part) = plan.effects.get_mut(index) else { return };
        let Progress::Sent { missing, failed: failed_before } = part.progress else { return };
        part.progress =
            if missing <= 1 { Progress::Over } else { Progress::Sent { missing: missing - 1, failed: true } };
        // Several objects of one router that fail together are one failure of it.
        if !failed_before {
            self.effect_failed(&part.effect, refusal, context);
        }
    }

    fn in_the_way(&self, existing: &Value, rollout: &Value, context: &Context<'_>) -> InTheWay {
        // One that could not be adopted stays somebody else's.
        let is_tried = self.failures.has(&EffectKey::adoption(object::meta(existing, "name")));
        let filled = crate::workload::filled_in(rollout, context.store);
        match guard::orphan_in_the_way(existing, &filled).filter(|_| !is_tried) {
            Some(refusal) => InTheWay::Orphan(refusal),
            None => guard::in_the_way(existing, rollout, context.store),
        }
    }

    /// The reply to the look at the object whose name a create wanted (R5).
    pub(crate) fn occupied(
        &mut self,
        index: usize,
        target: &ObjectRef,
        reply: Reply,
        context: &mut Context<'_>,
    ) {
        let Stage::Acting(mut plan) = std::mem::replace(&mut self.stage, Stage::Idle) else { return };
        let rollout = self.rollout(context);
        if let (Some(part), Some(rollout)) = (plan.effects.get(index), rollout) {
            let effect = part.effect.clone();
            let answer = outcome(reply);
            if let (Outcome::Done(existing), true) = (&answer, is_foreign(target.resource)) {
                // Its router says what is to be done about it.
                context.answered(target.resource, existing.clone());
            }
            match answer {
                Outcome::Done(existing) => match self.in_the_way(&existing, &rollout, context) {
                    InTheWay::Ours => self.done(index, &effect, target, existing, &mut plan, context),
                    InTheWay::Orphan(refusal) => {
                        context.answered(target.resource, existing);
                        plan.drop_rest();
                        self.part_failed(index, refusal, &mut plan, context);
                    }
                    InTheWay::Leaving(refusal) => self.part_failed(index, refusal, &mut plan, context),
                    InTheWay::Foreign(refusal) => {
                        plan.drop_rest();
                        self.part_failed(index, refusal, &mut plan, context);
                    }
                },
                Outcome::Refused(refusal) if refusal.class == FailureClass::NotFound => {
                    let refusal = Refusal::new(FailureClass::Conflict, "the object in the way has just gone");
                    self.part_failed(index, refusal, &mut plan, context);
                }
                Outcome::Refused(refusal) | Outcome::Unclear(refusal) => {
                    self.part_failed(index, refusal, &mut plan, context);
                }
            }
        }
        self.stage = Stage::Acting(plan);
    }
}

/// What an outcome means for this effect in particular.
fn meaning(effect: &Effect, outcome: Outcome) -> Outcome {
    match (effect, outcome) {
        // A `test` of the JSON patch has failed: somebody else has scaled, or the object is another one. A merge patch
        // of another object is refused in the same way when it names only the uid.
        (
            Effect::Scale { .. } | Effect::ScaleWorkload { .. } | Effect::TerminateAnalysisRun { .. },
            Outcome::Refused(refusal),
        ) if refusal.class == FailureClass::Invalid => {
            Outcome::Refused(Refusal { class: FailureClass::Conflict, ..refusal })
        }
        (
            Effect::DeleteReplicaSet { .. }
            | Effect::DeleteAnalysisRun { .. }
            | Effect::EvictPod { .. }
            | Effect::PatchPod { .. },
            Outcome::Refused(refusal),
        ) if refusal.class == FailureClass::NotFound => Outcome::Done(Value::Null),
        // The next list of pods will tell.
        (Effect::EvictPod { .. } | Effect::PatchPod { .. }, Outcome::Unclear(refusal)) => {
            Outcome::Refused(Refusal { class: FailureClass::Transient, ..refusal })
        }
        (Effect::EvictPod { .. } | Effect::PatchPod { .. }, Outcome::Refused(refusal))
            if refusal.class == FailureClass::Conflict =>
        {
            Outcome::Refused(Refusal { class: FailureClass::Transient, ..refusal })
        }
        (_, outcome) => outcome,
    }
}

fn target(call: &Call) -> ObjectRef {
    match call {
        Call::Get(target)
        | Call::Create { target, .. }
        | Call::Patch { target, .. }
        | Call::Delete { target, .. }
        | Call::Evict { target, .. } => target.clone(),
        Call::List { resource, namespace, .. } => {
            ObjectRef { resource: *resource, namespace: namespace.clone(), name: String::new() }
        }
        Call::Measure { namespace, .. } => {
            ObjectRef { resource: ROLLOUTS, namespace: namespace.clone(), name: String::new() }
        }
        Call::Notify { .. } => {
            ObjectRef { resource: ROLLOUTS, namespace: String::new(), name: String::new() }
        }
    }
}

/// Names the other writer of a router's paths, as far as its objects tell.
fn reverted(effect: &Effect, context: &Context<'_>) -> String {
    let Effect::Route { config, .. } = effect else { return String::new() };
    let state = crate::view::router_objects(config, context.store).ok().and_then(|objects| {
        headgate_traffic::router(config.router).and_then(|router| router.observe(config, &objects).ok())
    });
    let writer = state.and_then(|state| state.other_writer).map_or_else(
        || "somebody else writes the same fields".to_owned(),
        |writer| format!("field manager {writer:?} writes the same fields"),
    );
    format!(
        "what {} was told was reverted three times within a minute: {writer}. Let it ignore them (for Argo CD: \
         ignoreDifferences), or stop it",
        config.label()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_has_become_another_one_is_a_conflict_and_not_the_users_to_mend() {
        let effect = Effect::TerminateAnalysisRun { name: "run".to_owned(), uid: "u".to_owned() };
        let immutable = Refusal::new(FailureClass::Invalid, "metadata.uid: field is immutable");
        let conflict = Refusal::new(FailureClass::Conflict, "metadata.uid: field is immutable");
        assert_eq!(meaning(&effect, Outcome::Refused(immutable)), Outcome::Refused(conflict));
    }
}
