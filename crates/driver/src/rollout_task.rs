//! One rollout: decide, write the record, then carry out the effects, one step at a time (R1).
//!
//! ```text
//!          ┌────────────────────────── 409, lost: look ───────────────────────────┐
//!  Idle ── decide ──> Recording ── stored ──> Acting ── class by class ──> Idle   Looking ──> Idle
//!            └─ record unchanged, or refused ──> Confirming ── same version ──┘
//! ```

use crate::acting::{Plan, Scope};
use crate::backoff::{Failures, whole_seconds};
use crate::filing::filed;
use crate::io::{Call, ObjectRef, Reply, RequestId};
use crate::notices::{self, Told};
use crate::object;
use crate::outbox::{Context, Errand, Subresource, TaskKey, fenced_patch};
use crate::outcome::{Outcome, Refusal, outcome};
use crate::quiet::{Breaker, MovesPods, Permit, Quiet};
use crate::record::{self, RecordPatch, Unstored, Weight};
use crate::recording::{Recording, Sent};
use crate::references::{Name, named};
use crate::resources::ROLLOUTS;
use crate::restart::{Pods, Restart};
use crate::store::Store;
use crate::view::{self, lenient};
use headgate_api::At;
use headgate_api::conditions::{reasons, types};
use headgate_api::{OutboxEntry, RolloutCondition, RolloutStatus};
use headgate_engine::PodsWanted;
use headgate_model::{Decision, Effect, EffectKey, Failure, FailureClass, Notice, Observed, Timestamp, Verb};
use jiff::SignedDuration;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The state of one rollout between events.
#[derive(Debug)]
pub(crate) struct RolloutTask {
    pub(crate) key: TaskKey,
    pub(crate) name: Name,
    pub(crate) reference: ObjectRef,
    pub(crate) uid: String,
    pub(crate) stage: Stage,
    pub(crate) in_flight: BTreeSet<RequestId>,
    pub(crate) failures: Failures,
    pub(crate) quiet: Quiet,
    pub(crate) told: Told,
    pub(crate) trust: Trust,
    /// What the status said of versions and routes when all was read, or when we wrote it.
    told_by_us: Vec<Option<Value>>,
    pub(crate) restart: Restart,
    /// What the server drops of the record.
    pub(crate) unstored: Unstored,
    /// The last record of which nobody knows whether it was stored.
    pub(crate) unanswered: Option<Box<Sent>>,
    /// See [`Snapshot::unrecorded_shift_at`].
    pub(crate) unrecorded_shift_at: Option<Timestamp>,
    /// Something happened while replies were awaited, and nothing has been decided since.
    pub(crate) is_woken: bool,
}

/// What the task is doing.
#[derive(Debug)]
pub(crate) enum Stage {
    Idle,
    /// Reading live what may have changed; afterwards decide again.
    Looking(Proves),
    /// The record of the plan is being written.
    Recording(Box<Plan>, Box<Sent>),
    /// The Rollout is being read before the effects of the plan go out.
    Confirming(Box<Plan>),
    /// Effects of the plan are on their way.
    Acting(Box<Plan>),
}

/// Whether the stored objects may be acted on (R3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// We have just taken over: somebody else may have written what our watches have not delivered yet.
    Unproven,
    /// The Rollout has no status: nobody has acted for it, and its first record is fenced. Once a status shows
    /// up that is not ours, nothing is proven.
    Untouched,
    Proven,
}

/// What a live look proves when nothing goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proves {
    /// Everything that the rollout's decisions rest on was read.
    All,
    /// Only some objects are read, or some could not be.
    Some,
}

/// What is to be done with a task after it has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Wait for replies.
    Busy,
    /// Step again at once.
    Again,
    /// Wait for events, at most until this time.
    Until(Option<Timestamp>),
}

/// A decision, and what is told of it.
struct Decided {
    /// What was understood of the stored status.
    known: RolloutStatus,
    decision: Decision,
    /// Told once the record is stored.
    notices: Vec<Notice>,
    /// For each effect, what is told once it was carried out.
    told: Vec<Vec<Notice>>,
    pods: Pods,
}

impl Decided {
    fn new(
        rollout: &Value,
        failures: BTreeMap<EffectKey, Failure>,
        unrecorded_shift_at: Option<Timestamp>,
        restart: &mut Restart,
        context: &Context<'_>,
        now: Timestamp,
    ) -> Self {
        let (store, deciders) = (&*context.store, context.deciders);
        let mut snapshot =
            view::snapshot(rollout, &named(rollout, store), store, context.options.pod_health, failures);
        snapshot.unrecorded_shift_at = unrecorded_shift_at;
        restart.lay_over(&mut snapshot, context.now);
        let mut decision = (deciders.rollout)(&snapshot, now);
        let mut notices = (deciders.notices)(&snapshot, &decision.record);
        let over = context.courier.over(&view::name_of(rollout));
        let record = &mut decision.record;
        notices.extend(filed(&snapshot, record, deciders, context.subscriptions, &over, now));
        let told = decision.effects.iter().map(|effect| (deciders.outcome)(&snapshot, effect)).collect();
        let wanted = headgate_engine::wants_pods(&snapshot, &decision.record, now);
        let pods = match (&snapshot.running, wanted) {
            (_, PodsWanted::No) | (Observed::Present(_), PodsWanted::Once) => Pods::Unwanted,
            (Observed::Present(_), PodsWanted::Again) => Pods::Known,
            (_, PodsWanted::Once | PodsWanted::Again) => Pods::Wanted,
        };
        Self { known: snapshot.rollout.status, decision, notices, told, pods }
    }
}

/// Live reads, as an act that can fail.
pub(crate) fn read_key() -> EffectKey {
    EffectKey::of(Verb::Read)
}

/// Deciding, as an act that can fail: only by a defect of ours.
fn decide_key() -> EffectKey {
    EffectKey::of(Verb::Decide)
}

impl RolloutTask {
    /// A task for a Rollout seen for the first time.
    pub(crate) fn new(rollout: &Value) -> Self {
        let name = view::name_of(rollout);
        Self {
            key: TaskKey::Rollout(name.clone()),
            name,
            reference: object::reference(ROLLOUTS, rollout),
            uid: object::uid(rollout).to_owned(),
            stage: Stage::Idle,
            in_flight: BTreeSet::new(),
            failures: Failures::default(),
            quiet: Quiet::default(),
            told: Told::default(),
            trust: if is_untouched(rollout) { Trust::Untouched } else { Trust::Unproven },
            told_by_us: copies(told(rollout)),
            restart: Restart::default(),
            unstored: Unstored::default(),
            unanswered: None,
            unrecorded_shift_at: None,
            is_woken: false,
        }
    }

    /// Decides, unless replies are awaited.
    pub(crate) fn step(&mut self, context: &mut Context<'_>) -> Rest {
        self.is_woken = !self.in_flight.is_empty();
        if self.is_woken {
            return Rest::Busy;
        }
        let Some(rollout) = self.rollout(context) else { return Rest::Until(None) };
        if object::is_deleting(&rollout) {
            return Rest::Until(None);
        }
        if self.failures.holds(&read_key(), context.now) {
            return Rest::Until(self.failures.next_retry(context.now));
        }
        self.find_unanswered(&rollout, context);
        if self.trust == Trust::Untouched && !is_untouched(&rollout) {
            self.trust = Trust::Unproven;
        }
        // Somebody else leads, or has led: its ReplicaSets, and what it has told routers, may be missing in what our watches
        // have delivered.
        if self.trust == Trust::Proven && !self.is_told_by_us(&rollout) {
            self.trust = Trust::Unproven;
        }
        let rollout = self.remembered(Cow::Owned(rollout));
        self.failures.expire(context.now);
        let mut failures = self.failures.view(context.now);
        if !self.failures.holds(&decide_key(), context.now) {
            failures.remove(&decide_key());
        }
        let decided = self.decided(&rollout, failures, context);
        self.proceed(&rollout, decided, context)
    }

    /// This is what the Rollout said when all else was read, or what we have written.
    pub(crate) fn knows(&mut self, rollout: &Value) {
        self.told_by_us = copies(told(rollout));
    }

    fn is_told_by_us(&self, rollout: &Value) -> bool {
        told(rollout).eq(self.told_by_us.iter().map(Option::as_ref))
    }

    /// The Rollout, if it is still the same one.
    pub(crate) fn rollout(&self, context: &Context<'_>) -> Option<Value> {
        context.store.get(&self.reference).filter(|rollout| object::uid(rollout) == self.uid).cloned()
    }

    /// A Rollout with what the server drops of its record.
    pub(crate) fn remembered<'a>(&self, mut rollout: Cow<'a, Value>) -> Cow<'a, Value> {
        if !self.unstored.is_empty() {
            self.unstored.lay_under(rollout.to_mut());
        }
        rollout
    }

    /// What webhooks are to be told: what is stored, or would be if the server did not drop it.
    pub(crate) fn outbox(&self, store: &Store) -> Vec<OutboxEntry> {
        let stored = store.get(&self.reference).filter(|rollout| object::uid(rollout) == self.uid);
        let stored = stored.and_then(|rollout| rollout.at("/status/headgate/outbox"));
        lenient(stored.or_else(|| self.unstored.get(&["headgate", "outbox"])))
    }

    /// The engine's decision. A decision that breaks our rules, or a panic, holds this rollout alone.
    fn decided(
        &mut self,
        rollout: &Value,
        failures: BTreeMap<EffectKey, Failure>,
        context: &mut Context<'_>,
    ) -> Decided {
        context.counters.decisions += 1;
        let now = whole_seconds(context.now);
        let shift = self.unrecorded_shift_at.map(whole_seconds);
        let restart = &mut self.restart;
        let decide =
            std::panic::AssertUnwindSafe(|| Decided::new(rollout, failures, shift, restart, context, now));
        let broken = match std::panic::catch_unwind(decide) {
            Ok(decided) => match decided.decision.check() {
                Ok(()) => {
                    if !self.failures.holds(&decide_key(), context.now) {
                        self.failures.clear(&decide_key());
                    }
                    return decided;
                }
                Err(broken) => broken.to_string(),
            },
            Err(_) => "the step engine panicked; its log says where".to_owned(),
        };
        context.counters.broken_decisions += 1;
        let message =
            format!("{broken}. This is a defect of Headgate; please report it with this Rollout's YAML");
        tracing::error!(rollout = %self.label(), message, "decision refused");
        let refusal = Refusal::new(FailureClass::Bug, &message);
        if !self.failures.holds(&decide_key(), context.now) {
            self.failed(&decide_key(), refusal, context);
        }
        let known: RolloutStatus = lenient(rollout.get("status"));
        let record = internal_error(known.clone(), &message, now);
        let decision = Decision { record, effects: Vec::new(), wake_at: None };
        Decided { known, decision, notices: Vec::new(), told: Vec::new(), pods: Pods::Unwanted }
    }

    fn proceed(&mut self, rollout: &Value, decided: Decided, context: &mut Context<'_>) -> Rest {
        let now = context.now;
        let Decided { known, decision, notices, told, pods } = decided;
        let patch = record::patch(ROLLOUTS, rollout.get("status"), &known, &decision.record, context.pruned);
        self.quiet.asked_for(rollout.at("/spec/replicas").and_then(Value::as_i64).unwrap_or(1), now);
        if patch.weight == Weight::Unchanged {
            self.record_stands(&decision.record);
        }
        let permit = self.quiet.record(patch.weight, now);
        let refused = self.failures.holds(&EffectKey::record(), now);
        let writes = patch.weight != Weight::Unchanged && permit == Permit::Go && !refused;
        let is_unrecorded = patch.weight > Weight::Counters && !writes;
        if !writes && !is_unrecorded {
            self.remember(rollout, &decision.record, &notices, context);
        }
        let scope = self.scope(patch.weight, is_unrecorded, now);
        let decided_at = decision.wake_at.map(|time| not_at_once(time, now));
        let decided_at = decided_at.into_iter().chain(self.restart.next(pods, now)).min();
        let all = decision.effects.len();
        let allowed = decision.effects.into_iter().zip(told).filter(|(effect, _)| scope.allows(effect));
        let allowed: Vec<_> = allowed.collect();
        let is_held_back = patch.weight != Weight::Unchanged || allowed.len() < all;
        let permitted_at = match permit {
            Permit::NotBefore(time) if is_held_back => Some(time),
            _ => None,
        };
        let wake_at = [decided_at, permitted_at].into_iter().flatten().min();
        let plan = Plan::new(rollout, allowed, wake_at, now).wanting_pods(pods == Pods::Wanted);
        let plan = plan.unrecorded(is_unrecorded);
        if !writes && plan.effects.iter().all(|part| self.failures.holds_effect(&part.effect, now)) {
            return self.nothing_to_send(rollout, pods, wake_at, context);
        }
        if self.trust == Trust::Unproven {
            self.look_at_everything(rollout, context);
            return Rest::Busy;
        }
        if writes {
            let ended = headgate_engine::ended_release(&known, &decision.record);
            let recording = Recording { record: decision.record, notices, ended };
            self.write_record(rollout, patch, recording, plan, context);
        } else {
            self.confirm(plan, context);
        }
        Rest::Busy
    }

    /// The stored record says what was decided, and so what people are told of failures.
    fn record_stands(&mut self, record: &RolloutStatus) {
        let waiting = record.waiting.as_ref();
        if !self.failures.is_awaited(&self.name.1, &EffectKey::record(), waiting) {
            self.failures.clear(&EffectKey::record());
        }
        self.failures.told(&self.name.1, waiting);
    }

    /// Which effects of a decision may go out, by what its record changes, and whether that is stored.
    fn scope(&self, weight: Weight, is_unrecorded: bool, now: Timestamp) -> Scope {
        if weight != Weight::Progress && self.quiet.hold(now) != Permit::Go {
            Scope::ToStable
        } else if is_unrecorded {
            Scope::Safe
        } else {
            Scope::All
        }
    }

    /// Neither the record nor any effect goes out now: pods are read if they are wanted, else something is waited for.
    fn nothing_to_send(
        &mut self,
        rollout: &Value,
        pods: Pods,
        wake_at: Option<Timestamp>,
        context: &mut Context<'_>,
    ) -> Rest {
        if pods == Pods::Wanted && self.list_pods(rollout, context) {
            return Rest::Busy;
        }
        let times = [wake_at, self.failures.next_retry(context.now)];
        Rest::Until(times.into_iter().flatten().min())
    }

    fn write_record(
        &mut self,
        rollout: &Value,
        patch: RecordPatch,
        recording: Recording,
        plan: Plan,
        context: &mut Context<'_>,
    ) {
        let moves_pods = if record::moves_pods(&patch) { MovesPods::Yes } else { MovesPods::No };
        if self.quiet.record_sent(patch.weight, moves_pods, context.now) == Breaker::Tripped {
            self.breaker_tripped(rollout, context);
        }
        let stored = context.store.get(&self.reference).unwrap_or(rollout);
        let sent = Sent::new(recording, patch.status.clone(), stored, context.pruned);
        let status = Value::Object(patch.status);
        let call = fenced_patch(self.reference.clone(), rollout, &status, Subresource::Status);
        let id = context.send(&self.key, Errand::Record { sent_at: context.now }, call);
        self.in_flight.insert(id);
        self.stage = Stage::Recording(Box::new(plan.after_record()), Box::new(sent));
    }

    pub(crate) fn breaker_tripped(&mut self, rollout: &Value, context: &mut Context<'_>) {
        context.counters.breaker_trips += 1;
        tracing::warn!(rollout = %self.label(), "too many writes without progress: holding back");
        let message = "more than ten writes in a minute without a change of phase, step, weight or spec.replicas: \
                       holding back. Something may revert what Headgate writes; look at the managedFields of this \
                       Rollout and of the objects that it names";
        let notice = Notice::warning(notices::TOO_MANY_WRITES, message);
        context.tell(ROLLOUTS, rollout, &mut self.told, &notice);
    }

    /// Reads the Rollout live: the effects of the plan go out only if it is still the one decided on.
    pub(crate) fn confirm(&mut self, plan: Plan, context: &mut Context<'_>) {
        let id = context.send(
            &self.key,
            Errand::Confirm { sent_at: context.now },
            Call::Get(self.reference.clone()),
        );
        self.in_flight.insert(id);
        self.stage = Stage::Confirming(Box::new(plan));
    }

    /// Takes the reply to one of this task's requests.
    pub(crate) fn reply(
        &mut self,
        id: RequestId,
        errand: Errand,
        reply: Reply,
        context: &mut Context<'_>,
    ) -> Rest {
        self.in_flight.remove(&id);
        match errand {
            Errand::Record { sent_at } => self.recorded(sent_at, reply, context),
            Errand::Confirm { sent_at } => self.confirmed(sent_at, reply, context),
            Errand::Act { effect, target } => self.acted(effect, &target, reply, context),
            Errand::Look { target, seen } => self.looked(&target, &seen, reply, context),
            Errand::LookAtOccupant { effect, target } => self.occupied(effect, &target, reply, context),
            Errand::List { resource, labels, seen } => self.listed(resource, &labels, &seen, reply, context),
            Errand::ListPods => self.pods_listed(reply, context),
            Errand::Measure { .. } | Errand::Delete => {}
        }
        self.settle(context)
    }

    /// Goes on when all replies are there.
    fn settle(&mut self, context: &mut Context<'_>) -> Rest {
        if !self.in_flight.is_empty() {
            return Rest::Busy;
        }
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Acting(plan) => self.send_batch(*plan, context),
            Stage::Looking(Proves::All) => {
                self.failures.clear(&read_key());
                self.trust = Trust::Proven;
                Rest::Again
            }
            Stage::Idle | Stage::Looking(_) | Stage::Recording(..) | Stage::Confirming(_) => Rest::Again,
        }
    }

    /// The reply to the write of the record.
    fn recorded(&mut self, sent_at: Timestamp, reply: Reply, context: &mut Context<'_>) {
        let Stage::Recording(mut plan, sent) = std::mem::replace(&mut self.stage, Stage::Idle) else {
            return;
        };
        let refusal = match outcome(reply) {
            Outcome::Done(rollout) => {
                context.counters.effect(Verb::Record.as_str(), "Done");
                self.notice_pruned(&sent.written, &rollout, context);
                self.stored(*sent, &rollout, context);
                plan.fence(object::resource_version(&rollout), sent_at);
                context.answered(ROLLOUTS, rollout);
                self.stage = Stage::Acting(plan);
                return;
            }
            Outcome::Refused(refusal) if is_final(refusal.class) => refusal,
            Outcome::Refused(refusal) => {
                self.look_again(context);
                refusal
            }
            Outcome::Unclear(refusal) => {
                self.unanswered = Some(sent);
                self.look_again(context);
                refusal
            }
        };
        self.failed(&EffectKey::record(), refusal, context);
    }

    fn look_again(&mut self, context: &mut Context<'_>) {
        let id = context.look(&self.key, self.reference.clone());
        self.in_flight.insert(id);
        self.stage = Stage::Looking(Proves::Some);
    }

    /// The reply to the live read before effects go out.
    fn confirmed(&mut self, sent_at: Timestamp, reply: Reply, context: &mut Context<'_>) {
        let Stage::Confirming(mut plan) = std::mem::replace(&mut self.stage, Stage::Idle) else { return };
        let seen =
            context.store.get(&self.reference).map(object::resource_version).unwrap_or_default().to_owned();
        let reference = self.reference.clone();
        match context.looked(&reference, &seen, reply) {
            Outcome::Done(live) => {
                self.failures.clear(&read_key());
                if object::resource_version(&live) == plan.fence && object::uid(&live) == self.uid {
                    plan.fenced_at = sent_at;
                    self.stage = Stage::Acting(plan);
                } else {
                    context.counters.stale_decisions += 1;
                }
            }
            Outcome::Refused(refusal) if refusal.class == FailureClass::NotFound => {}
            Outcome::Refused(refusal) | Outcome::Unclear(refusal) => {
                self.failed(&read_key(), refusal, context);
            }
        }
    }

    /// Remembers a failure, counts it, and tells about it when it is time.
    pub(crate) fn failed(&mut self, key: &EffectKey, refusal: Refusal, context: &mut Context<'_>) {
        context.counters.effect(key.verb.as_str(), refusal.class.as_str());
        if refusal.class == FailureClass::Conflict {
            context.counters.conflicts += 1;
        }
        tracing::debug!(rollout = %self.label(), verb = key.verb.as_str(), object = key.object,
            class = refusal.class.as_str(), message = refusal.message, "failed");
        let failure = self.failures.add(key.clone(), refusal, &self.uid, context.now);
        if let (Some(notice), Some(rollout)) = (notices::failed(key, &failure), self.rollout(context)) {
            context.tell(ROLLOUTS, &rollout, &mut self.told, &notice);
        }
    }

    /// As [`Self::failed`], of one effect.
    pub(crate) fn effect_failed(&mut self, effect: &Effect, refusal: Refusal, context: &mut Context<'_>) {
        self.failed(&effect.key(), refusal, context);
        self.failures.is_of(effect);
    }

    pub(crate) fn label(&self) -> String {
        format!("{}/{}", self.name.0, self.name.1)
    }
}

fn is_untouched(rollout: &Value) -> bool {
    rollout.get("status").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty)
}

/// What only a controller writes into a status, of versions and routes.
fn told(rollout: &Value) -> impl Iterator<Item = Option<&Value>> {
    let status = rollout.get("status");
    let of_status = move |field: &str| status.and_then(|status| status.get(field));
    let weights = of_status("canary").and_then(|canary| canary.get("weights"));
    [of_status("currentPodHash"), of_status("stableRS"), weights, of_status("headgate")].into_iter()
}

fn copies<'a>(parts: impl Iterator<Item = Option<&'a Value>>) -> Vec<Option<Value>> {
    parts.map(Option::<&Value>::cloned).collect()
}

/// Whether a refusal says for sure that nothing was written, and that what we know is not at fault.
fn is_final(class: FailureClass) -> bool {
    !matches!(class, FailureClass::Conflict | FailureClass::NotFound)
}

/// A deadline that has passed already must not make us spin: once a second is enough.
fn not_at_once(time: Timestamp, now: Timestamp) -> Timestamp {
    let soon = whole_seconds(now).saturating_add(SignedDuration::from_secs(1)).unwrap_or(now);
    time.max(soon)
}

/// The stored status with the defect written into it, for a rollout that cannot be decided. The reason stands in
/// the condition Progressing, where people look and alert.
fn internal_error(stored: RolloutStatus, message: &str, now: Timestamp) -> RolloutStatus {
    let mut record = stored;
    let message = format!("{}: {message}", reasons::INTERNAL_ERROR);
    let stands =
        |condition: &RolloutCondition| condition.type_ == types::PROGRESSING && condition.message == message;
    if !record.conditions.iter().any(stands) {
        let time = Some(headgate_api::Time(now));
        record.conditions.retain(|condition| condition.type_ != types::PROGRESSING);
        record.conditions.push(RolloutCondition {
            type_: types::PROGRESSING.to_owned(),
            status: "False".to_owned(),
            last_update_time: time.clone(),
            last_transition_time: time,
            reason: reasons::INTERNAL_ERROR.to_owned(),
            message: message.clone(),
        });
    }
    record.phase = Some(headgate_api::RolloutPhase::Degraded);
    record.message = message;
    record
}
