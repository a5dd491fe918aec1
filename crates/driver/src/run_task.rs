//! One AnalysisRun: take measurements, keep the replies until they are in the status, write the status (R9).

use crate::backoff::{Failures, is_ahead, whole_seconds};
use crate::io::{Call, ObjectRef, Reply, RequestId};
use crate::notices::{self, Told};
use crate::object;
use crate::outbox::{Context, Errand, Subresource, TaskKey, fenced_patch};
use crate::outcome::{Outcome, Refusal, outcome};
use crate::places::Lane;
use crate::record::{self, Weight};
use crate::recording::Expected;
use crate::references::Name;
use crate::resources::ANALYSIS_RUNS;
use crate::rollout_task::{Rest, read_key};
use crate::view::{self, lenient};
use headgate_analysis::{Measure, RunDecision, RunSnapshot};
use headgate_api::{AnalysisPhase, AnalysisRunSpec, AnalysisRunStatus};
use headgate_model::{EffectKey, FailureClass, MeasurementKey, Notice, Timestamp, Verb};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The state of one AnalysisRun between events.
#[derive(Debug)]
pub(crate) struct RunTask {
    pub(crate) key: TaskKey,
    pub(crate) uid: String,
    reference: ObjectRef,
    outcomes: BTreeMap<MeasurementKey, headgate_analysis::Outcome>,
    measuring: BTreeMap<MeasurementKey, Timestamp>,
    writing: Option<Writing>,
    /// What a record without an answer tells, if it was stored all the same.
    unanswered: Option<Writing>,
    looking: BTreeSet<RequestId>,
    pub(crate) in_flight: BTreeSet<RequestId>,
    written_at: Option<Timestamp>,
    failures: Failures,
    told: Told,
}

/// A write on its way.
#[derive(Debug)]
struct Writing {
    id: RequestId,
    notices: Vec<Notice>,
    written: Map<String, Value>,
    expected: Expected,
}

/// Writing the status of an AnalysisRun, as metrics count it: apart from that of a Rollout.
const RUN_RECORD: &str = "RunRecord";

fn delete_key() -> EffectKey {
    EffectKey::of(Verb::DeleteAnalysisRun)
}

fn decide_key() -> EffectKey {
    EffectKey::of(Verb::Decide)
}

impl RunTask {
    pub(crate) fn new(run: &Value) -> Self {
        let name: Name = view::name_of(run);
        Self {
            key: TaskKey::Run(name),
            uid: object::uid(run).to_owned(),
            reference: object::reference(ANALYSIS_RUNS, run),
            outcomes: BTreeMap::new(),
            measuring: BTreeMap::new(),
            writing: None,
            unanswered: None,
            looking: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            written_at: None,
            failures: Failures::default(),
            told: Told::default(),
        }
    }

    /// Decides, unless a write or a live read is on its way.
    pub(crate) fn step(&mut self, context: &mut Context<'_>) -> Rest {
        if self.writing.is_some() || !self.looking.is_empty() {
            return Rest::Busy;
        }
        let Some(run) =
            context.store.get(&self.reference).filter(|run| object::uid(run) == self.uid).cloned()
        else {
            return Rest::Until(None);
        };
        if object::is_deleting(&run) {
            return Rest::Until(None);
        }
        self.find_unanswered(&run, context);
        self.failures.expire(context.now);
        if [read_key(), decide_key()].iter().any(|key| self.failures.holds(key, context.now)) {
            return Rest::Until(self.failures.next_retry(context.now));
        }
        let snapshot = self.snapshot(&run, context);
        let Some(decision) = self.decided(&snapshot, context) else {
            return Rest::Until(self.failures.next_retry(context.now));
        };
        self.proceed(&run, &snapshot, decision, context)
    }

    fn snapshot(&mut self, run: &Value, context: &Context<'_>) -> RunSnapshot {
        let status: AnalysisRunStatus = lenient(run.get("status"));
        self.forget_recorded(&status);
        let (namespace, name) = view::name_of(run);
        let spec = run.get("spec").unwrap_or(&Value::Null);
        RunSnapshot {
            namespace,
            name,
            uid: self.uid.clone(),
            created_at: object::created_at(run),
            spec: AnalysisRunSpec::deserialize(spec).map_err(|error| error.to_string()),
            status,
            outcomes: self.outcomes.clone(),
            in_flight: self.measuring.clone(),
            prometheus_address: context.options.prometheus_address.clone(),
        }
    }

    /// Replies that are in the status, or that nobody asks for any more, are let go.
    fn forget_recorded(&mut self, status: &AnalysisRunStatus) {
        if status.phase.is_some_and(AnalysisPhase::is_completed) {
            self.outcomes.clear();
        }
        for result in &status.metric_results {
            let recorded = u32::try_from(result.count.saturating_add(result.error)).unwrap_or(0);
            let over = result.phase.is_some_and(AnalysisPhase::is_completed);
            self.outcomes.retain(|key, _| key.metric != result.name || (key.ordinal >= recorded && !over));
        }
    }

    fn decided(&mut self, snapshot: &RunSnapshot, context: &mut Context<'_>) -> Option<RunDecision> {
        context.counters.decisions += 1;
        let now = whole_seconds(context.now);
        let decide = std::panic::AssertUnwindSafe(|| (context.deciders.run)(snapshot, now));
        if let Ok(decision) = std::panic::catch_unwind(decide) {
            self.failures.clear(&decide_key());
            return Some(decision);
        }
        context.counters.broken_decisions += 1;
        let message = "the analysis engine panicked: this is a defect of Headgate, please report it";
        self.failed(&decide_key(), Refusal::new(FailureClass::Bug, message), context);
        None
    }

    fn proceed(
        &mut self,
        run: &Value,
        snapshot: &RunSnapshot,
        decision: RunDecision,
        context: &mut Context<'_>,
    ) -> Rest {
        let now = context.now;
        let patch = record::patch(
            ANALYSIS_RUNS,
            run.get("status"),
            &snapshot.status,
            &decision.record,
            context.pruned,
        );
        if patch.weight != Weight::Unchanged {
            let earliest = self.written_at.and_then(|at| at.checked_add(SignedDuration::from_secs(1)).ok());
            if let Some(earliest) = earliest.filter(|earliest| is_ahead(*earliest, 1, now)) {
                return Rest::Until(Some(earliest));
            }
            if self.failures.holds(&EffectKey::record(), now) {
                return Rest::Until(self.failures.next_retry(now));
            }
            let notices = (context.deciders.run_notices)(snapshot, &decision.record);
            let written = patch.status;
            let status = Value::Object(written.clone());
            let call = fenced_patch(self.reference.clone(), run, &status, Subresource::None);
            let id = self.send(Errand::Record { sent_at: now }, call, context);
            self.written_at = Some(now);
            let expected = Expected::new(ANALYSIS_RUNS, run, &written, context.pruned);
            self.writing = Some(Writing { id, notices, written, expected });
            return Rest::Busy;
        }
        self.failures.clear(&EffectKey::record());
        if decision.delete && !self.failures.holds(&delete_key(), now) {
            let call = Call::Delete { target: self.reference.clone(), uid: self.uid.clone() };
            let id = self.send(Errand::Delete, call, context);
            self.looking.insert(id);
            return Rest::Busy;
        }
        for measure in decision.measure {
            self.measure(measure, context);
        }
        let soon = whole_seconds(now).saturating_add(SignedDuration::from_secs(1)).unwrap_or(now);
        let times = [decision.wake_at.map(|time| time.max(soon)), self.failures.next_retry(now)];
        Rest::Until(times.into_iter().flatten().min())
    }

    fn send(&mut self, errand: Errand, call: Call, context: &mut Context<'_>) -> RequestId {
        let id = context.send(&self.key, errand, call);
        self.in_flight.insert(id);
        id
    }

    fn look(&mut self, context: &mut Context<'_>) {
        let id = context.look(&self.key, self.reference.clone());
        self.in_flight.insert(id);
        self.looking.insert(id);
    }

    fn measure(&mut self, measure: Measure, context: &mut Context<'_>) {
        let limits = &context.options.limits;
        let known = self.measuring.contains_key(&measure.key) || self.outcomes.contains_key(&measure.key);
        // A reply of this run wakes it again, so it needs no place in the queue for its own limit.
        if known || self.measuring.len() >= limits.measurements_per_run {
            return;
        }
        let namespace = self.reference.namespace.clone();
        let lane = Lane::new(&namespace, &measure.query);
        if !context.places.take(&lane, limits, &self.key) {
            return;
        }
        let errand = Errand::Measure { key: measure.key.clone(), asked_at: context.now, lane };
        context.counters.measurements += 1;
        self.send(errand, Call::Measure { namespace, query: measure.query }, context);
        self.measuring.insert(measure.key, whole_seconds(context.now));
    }

    /// Takes the reply to one of this task's requests.
    pub(crate) fn reply(
        &mut self,
        id: RequestId,
        errand: Errand,
        reply: Reply,
        context: &mut Context<'_>,
    ) -> Rest {
        self.looking.remove(&id);
        self.in_flight.remove(&id);
        match errand {
            Errand::Measure { key, asked_at, lane: _ } => self.measured(key, asked_at, reply, context.now),
            Errand::Record { .. } => self.recorded(id, reply, context),
            Errand::Look { target, seen } => self.looked(&target, &seen, reply, context),
            Errand::Delete => self.deleted(reply, context),
            Errand::Confirm { .. }
            | Errand::Act { .. }
            | Errand::LookAtOccupant { .. }
            | Errand::List { .. }
            | Errand::ListPods => {}
        }
        if self.writing.is_some() || !self.looking.is_empty() { Rest::Busy } else { Rest::Again }
    }

    fn measured(&mut self, key: MeasurementKey, asked_at: Timestamp, reply: Reply, now: Timestamp) {
        if self.measuring.remove(&key).is_none() {
            return;
        }
        let reply = match reply {
            Reply::Measured(reply) => reply,
            Reply::Lost(message) | Reply::Refused { message, .. } => headgate_model::Reply::Failed(message),
            Reply::Object(_) | Reply::Objects(_) | Reply::Notified(_) => {
                headgate_model::Reply::Failed("the answer does not fit the question".to_owned())
            }
        };
        let outcome = headgate_analysis::Outcome {
            started_at: whole_seconds(asked_at),
            finished_at: whole_seconds(now),
            reply,
        };
        self.outcomes.insert(key, outcome);
    }

    fn recorded(&mut self, id: RequestId, reply: Reply, context: &mut Context<'_>) {
        let Some(writing) = self.writing.take_if(|writing| writing.id == id) else { return };
        match outcome(reply) {
            Outcome::Done(run) => {
                context.counters.effect(RUN_RECORD, "Done");
                self.failures.clear(&EffectKey::record());
                let answered = run.get("status").unwrap_or(&Value::Null);
                for field in context.pruned.learn(ANALYSIS_RUNS, &writing.written, answered) {
                    let message = format!(
                        "the installed CRD of AnalysisRun drops {field}. Install the CRDs of Headgate to have it"
                    );
                    let notice = Notice::warning(notices::FIELD_PRUNED, message);
                    context.tell(ANALYSIS_RUNS, &run, &mut self.told, &notice);
                }
                self.stored(&writing, &run, context);
                context.answered(ANALYSIS_RUNS, run);
            }
            Outcome::Refused(refusal)
                if !matches!(refusal.class, FailureClass::Conflict | FailureClass::NotFound) =>
            {
                self.failed(&EffectKey::record(), refusal, context);
            }
            Outcome::Refused(refusal) => {
                self.failed(&EffectKey::record(), refusal, context);
                self.look(context);
            }
            Outcome::Unclear(refusal) => {
                self.unanswered = Some(writing);
                self.failed(&EffectKey::record(), refusal, context);
                self.look(context);
            }
        }
    }

    /// The server has stored a record: `run` is with it.
    fn stored(&mut self, writing: &Writing, run: &Value, context: &mut Context<'_>) {
        self.unanswered = None;
        for notice in &writing.notices {
            context.tell(ANALYSIS_RUNS, run, &mut self.told, notice);
        }
    }

    /// A record without an answer may have been stored all the same: then what it tells is told now.
    fn find_unanswered(&mut self, run: &Value, context: &mut Context<'_>) {
        let Some(writing) = self.unanswered.take_if(|writing| writing.expected.is_past(run)) else { return };
        if writing.expected.is_met_by(run) {
            self.stored(&writing, run, context);
        }
    }

    fn looked(&mut self, target: &ObjectRef, seen: &str, reply: Reply, context: &mut Context<'_>) {
        match context.looked(target, seen, reply) {
            Outcome::Done(_) => self.failures.clear(&read_key()),
            Outcome::Refused(refusal) if refusal.class == FailureClass::NotFound => {}
            Outcome::Refused(refusal) | Outcome::Unclear(refusal) => {
                self.failed(&read_key(), refusal, context);
            }
        }
    }

    fn deleted(&mut self, reply: Reply, context: &mut Context<'_>) {
        let uid = self.uid.clone();
        match outcome(reply) {
            Outcome::Done(answer) => context.deleted(&self.reference, &uid, answer),
            Outcome::Refused(refusal) if refusal.class == FailureClass::NotFound => {
                context.deleted(&self.reference, &uid, Value::Null);
            }
            Outcome::Refused(refusal) | Outcome::Unclear(refusal) => {
                self.failed(&delete_key(), refusal, context);
                self.look(context);
            }
        }
    }

    fn failed(&mut self, key: &EffectKey, refusal: Refusal, context: &mut Context<'_>) {
        let verb = if *key == EffectKey::record() { RUN_RECORD } else { key.verb.as_str() };
        context.counters.effect(verb, refusal.class.as_str());
        if refusal.class == FailureClass::Conflict {
            context.counters.conflicts += 1;
        }
        let failure = self.failures.add(key.clone(), refusal, &self.uid, context.now);
        let run = context.store.get(&self.reference).cloned();
        if let (Some(notice), Some(run)) = (notices::failed(key, &failure), run) {
            context.tell(ANALYSIS_RUNS, &run, &mut self.told, &notice);
        }
    }
}
