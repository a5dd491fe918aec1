//! R8: a Service that no Rollout uses any more loses what we added to it.
//!
//! We mark a Service with an annotation that names its Rollout, and add the pod template hash to its selector.
//! When that Rollout is gone, or names the Service nowhere, both are taken away again:
//!
//! ```text
//! seen with the mark, ──> no user in the cache ──> read the Rollout live ──> no user ──> patch the Service
//! Rollout changed,               │                        │                              as it was seen
//! every ten minutes              └─ in use: nothing       └─ in use, or unclear: nothing
//! ```
//!
//! Invariants, each with a test:
//! - without a live answer that says so, no Rollout counts as gone;
//! - a Rollout of another instance, or one whose spec is invalid, uses every Service that is marked for it;
//! - a Service without the mark is never touched; one that changes meanwhile is looked at again;
//! - nothing is kept but one small entry for each marked Service.

use crate::backoff::{Failures, is_ahead, is_recent};
use crate::io::{Call, ObjectRef, Observation, Patch, Reply};
use crate::object::{self, Age};
use crate::outbox::{Addressee, Context};
use crate::outcome::{Outcome, Refusal, outcome};
use crate::references::Name;
use crate::resources::{ROLLOUTS, SERVICES};
use crate::store::Store;
use crate::workload;
use headgate_api::At;
use headgate_api::labels::{MANAGED_BY_ROLLOUTS, POD_TEMPLATE_HASH};
use headgate_model::{EffectKey, FailureClass, Timestamp, Verb, validate};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// All marked Services are looked at again after so long, whatever happened or did not.
const PASS_SECONDS: i64 = 600;

/// So many Services are swept at the same time: when a whole namespace goes, nothing of it is urgent.
const AT_ONCE_MAX: usize = 8;

/// The answer that a Rollout is gone is good for so long. A process that was frozen in between asks again.
const ANSWER_SECONDS: i64 = 10;

/// From this attempt on, an administrator may want to know.
const WARN_AT_ATTEMPT: u32 = 3;

/// A marked Service, as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    uid: String,
    resource_version: String,
    /// Name of the Rollout that the mark names; it lives in the Service's namespace.
    rollout: String,
}

impl Mark {
    /// The mark of a Service, if it has one that can be undone.
    fn of(service: &Value) -> Option<Self> {
        let annotations = service.at("/metadata/annotations")?;
        let rollout = annotations.get(MANAGED_BY_ROLLOUTS)?.as_str().filter(|name| !name.is_empty())?;
        (!object::is_deleting(service)).then(|| Self {
            uid: object::uid(service).to_owned(),
            resource_version: object::resource_version(service).to_owned(),
            rollout: rollout.to_owned(),
        })
    }
}

/// Why the sweep has sent a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SweepErrand {
    /// Read the Rollout that this mark names. `seen`: its resourceVersion in the store when it was asked for.
    Ask { mark: Mark, seen: String, asked_at: Timestamp },
    /// Take the mark away.
    Undo,
}

/// All marked Services, and how far the sweep is with them. Services are named by namespace and name.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    marked: BTreeMap<Name, Mark>,
    /// Which Services are marked for a Rollout.
    by_rollout: BTreeSet<(Name, String)>,
    /// To be looked at with the next step.
    due: BTreeSet<Name>,
    in_flight: BTreeSet<Name>,
    /// Attempts, the successful ones too: where somebody puts the mark back, it is undone ever more slowly.
    attempts: Failures,
    next_pass: Option<Timestamp>,
}

impl Sweep {
    /// Takes in what a watch has delivered.
    pub(crate) fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Applied(SERVICES, service) | Observation::Listed(SERVICES, service) => {
                self.seen(service);
            }
            Observation::Deleted(SERVICES, service) => {
                let name = crate::view::name_of(service);
                if self.marked.get(&name).is_some_and(|mark| mark.uid == object::uid(service)) {
                    self.forget(&name);
                }
            }
            // The list delivers every marked Service again.
            Observation::ListStarted(SERVICES) => {
                self.marked.clear();
                self.by_rollout.clear();
                self.due.clear();
            }
            _ => {}
        }
    }

    fn seen(&mut self, service: &Value) {
        let name = crate::view::name_of(service);
        let mark = Mark::of(service);
        if let Some(known) = self.marked.get(&name)
            && (mark.as_ref() == Some(known)
                || object::age(object::resource_version(service), &known.resource_version) == Age::Older)
        {
            return;
        }
        self.forget(&name);
        if let Some(mark) = mark {
            self.by_rollout.insert(((name.0.clone(), mark.rollout.clone()), name.1.clone()));
            self.due.insert(name.clone());
            self.marked.insert(name, mark);
        }
    }

    fn forget(&mut self, service: &Name) {
        if let Some(mark) = self.marked.remove(service) {
            self.by_rollout.remove(&((service.0.clone(), mark.rollout), service.1.clone()));
        }
        self.due.remove(service);
    }

    /// A Rollout has changed or is gone.
    pub(crate) fn rollout_touched(&mut self, rollout: &Name) {
        let services = self.by_rollout.range((rollout.clone(), String::new())..);
        let services = services.take_while(|(user, _)| user == rollout);
        self.due.extend(services.map(|(_, service)| (rollout.0.clone(), service.clone())));
    }

    /// Looks at what is due, and asks about Services whose user the cache does not know.
    pub(crate) fn step(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        if !context.store.is_listed(ROLLOUTS) {
            return;
        }
        if self.is_pass_due(now) {
            self.due.extend(self.marked.keys().cloned());
            self.next_pass = now.checked_add(SignedDuration::from_secs(PASS_SECONDS)).ok();
        }
        self.attempts.expire(now);
        for service in std::mem::take(&mut self.due) {
            let Some(mark) = self.marked.get(&service).cloned() else { continue };
            let cached = context.store.get(&rollout_of(&service, &mark));
            if cached.is_some_and(|rollout| uses(rollout, &service.1, context)) {
                continue;
            }
            if self.may_ask(&service, now) {
                self.ask(service, mark, context);
            } else {
                self.due.insert(service);
            }
        }
    }

    /// When [`Sweep::step`] would do something by itself.
    pub(crate) fn wake_at(&self, store: &Store, now: Timestamp) -> Option<Timestamp> {
        if self.marked.is_empty() || !store.is_listed(ROLLOUTS) {
            return None;
        }
        if self.is_pass_due(now) || self.due.iter().any(|service| self.may_ask(service, now)) {
            return Some(now);
        }
        let retry = self.attempts.next_retry(now).filter(|_| !self.due.is_empty());
        self.next_pass.into_iter().chain(retry).min()
    }

    fn is_pass_due(&self, now: Timestamp) -> bool {
        !self.marked.is_empty() && self.next_pass.is_none_or(|pass| !is_ahead(pass, PASS_SECONDS, now))
    }

    fn may_ask(&self, service: &Name, now: Timestamp) -> bool {
        self.in_flight.len() < AT_ONCE_MAX
            && !self.in_flight.contains(service)
            && !self.attempts.holds(&key(service), now)
    }

    fn ask(&mut self, service: Name, mark: Mark, context: &mut Context<'_>) {
        let target = rollout_of(&service, &mark);
        let seen = context.store.get(&target).map(object::resource_version).unwrap_or_default().to_owned();
        let errand = SweepErrand::Ask { mark, seen, asked_at: context.now };
        self.send(service, errand, Call::Get(target), context);
    }

    fn send(&mut self, service: Name, errand: SweepErrand, call: Call, context: &mut Context<'_>) {
        context.counters.requests += 1;
        self.in_flight.insert(service.clone());
        let owner = reference(&service);
        context.outbox.send(Addressee::Sweep { service, errand }, owner, call);
    }

    /// Takes the reply to one of the sweep's requests.
    pub(crate) fn reply(
        &mut self,
        service: &Name,
        errand: SweepErrand,
        reply: Reply,
        context: &mut Context<'_>,
    ) {
        self.in_flight.remove(service);
        match errand {
            SweepErrand::Ask { mark, seen, asked_at } => match user(service, &mark, &seen, reply, context) {
                Ok(User::Living) => {}
                Ok(User::None) => self.undo(service, &mark, asked_at, context),
                Err(refusal) => self.failed(service, refusal, context),
            },
            SweepErrand::Undo => self.undone(service, reply, context),
        }
    }

    /// Takes the mark away, if the Service is still the one that was asked about.
    fn undo(&mut self, service: &Name, mark: &Mark, asked_at: Timestamp, context: &mut Context<'_>) {
        if self.marked.get(service) != Some(mark) || !is_recent(asked_at, ANSWER_SECONDS, context.now) {
            return self.look_again(service);
        }
        let body = json!({
            "metadata": {
                "uid": mark.uid,
                "resourceVersion": mark.resource_version,
                "annotations": { MANAGED_BY_ROLLOUTS: null },
            },
            "spec": { "selector": { POD_TEMPLATE_HASH: null } },
        });
        let call = Call::Patch { target: reference(service), status: false, patch: Patch::Merge(body) };
        tracing::info!(
            namespace = service.0,
            service = service.1,
            rollout = mark.rollout,
            "no Rollout uses this Service any more: taking our selector and annotation away"
        );
        self.send(service.clone(), SweepErrand::Undo, call, context);
    }

    fn undone(&mut self, service: &Name, reply: Reply, context: &mut Context<'_>) {
        match outcome(reply) {
            Outcome::Done(answer) => {
                context.counters.effect(Verb::Sweep.as_str(), "Done");
                self.attempted(
                    service,
                    Refusal::new(FailureClass::Conflict, "the mark was put back"),
                    context,
                );
                self.seen(&answer);
                context.answered(SERVICES, answer);
            }
            Outcome::Refused(refusal) if refusal.class == FailureClass::NotFound => self.forget(service),
            Outcome::Refused(refusal) | Outcome::Unclear(refusal) => self.failed(service, refusal, context),
        }
    }

    fn failed(&mut self, service: &Name, refusal: Refusal, context: &mut Context<'_>) {
        context.counters.effect(Verb::Sweep.as_str(), refusal.class.as_str());
        if refusal.class == FailureClass::Conflict {
            context.counters.conflicts += 1;
        }
        self.attempted(service, refusal, context);
        self.look_again(service);
    }

    fn attempted(&mut self, service: &Name, refusal: Refusal, context: &Context<'_>) {
        let failure = self.attempts.add(key(service), refusal, &service.0, context.now);
        if failure.attempts == WARN_AT_ATTEMPT {
            tracing::warn!(
                namespace = service.0,
                service = service.1,
                message = failure.message,
                "cannot take our selector and annotation away from a Service that no Rollout uses: trying on"
            );
        }
    }

    fn look_again(&mut self, service: &Name) {
        if self.marked.contains_key(service) {
            self.due.insert(service.clone());
        }
    }
}

/// What a live read says about the Rollout that a mark names.
enum User {
    /// It uses the Service.
    Living,
    /// It is gone, or names the Service nowhere.
    None,
}

/// Reads the answer about a Rollout. Only the API server's own "NotFound" means that it is gone: a plain 404 comes
/// from one that does not serve Rollouts at the moment, or from a proxy.
fn user(
    service: &Name,
    mark: &Mark,
    seen: &str,
    reply: Reply,
    context: &mut Context<'_>,
) -> Result<User, Refusal> {
    if let Reply::Refused { code: 404, reason, message } = &reply
        && reason != "NotFound"
    {
        return Err(Refusal::new(FailureClass::Transient, message));
    }
    match context.looked(&rollout_of(service, mark), seen, reply) {
        Outcome::Done(live) if uses(&live, &service.1, context) => Ok(User::Living),
        Outcome::Done(_) => Ok(User::None),
        Outcome::Refused(refusal) if refusal.class == FailureClass::NotFound => Ok(User::None),
        Outcome::Refused(refusal) | Outcome::Unclear(refusal) => Err(refusal),
    }
}

/// Whether a Rollout that exists may use this Service. One of another instance is not ours to judge, and an
/// invalid spec does not say what its user wants.
fn uses(rollout: &Value, service: &str, context: &Context<'_>) -> bool {
    let is_valid = || {
        let filled = workload::filled_in(rollout, context.store);
        validate(filled.get("spec").unwrap_or(&Value::Null)).is_ok()
    };
    !object::is_of_instance(rollout, &context.options.instance_id)
        || rollout.at("/spec/strategy").is_some_and(|strategy| holds(strategy, service))
        || !is_valid()
}

/// Whether this text is a value anywhere. Services are named in many places of a strategy, and a place that we do
/// not know counts too.
fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(items) => items.iter().any(|item| holds(item, text)),
        Value::Object(fields) => fields.values().any(|field| holds(field, text)),
        _ => false,
    }
}

fn reference((namespace, name): &Name) -> ObjectRef {
    ObjectRef { resource: SERVICES, namespace: namespace.clone(), name: name.clone() }
}

fn rollout_of((namespace, _): &Name, mark: &Mark) -> ObjectRef {
    ObjectRef { resource: ROLLOUTS, namespace: namespace.clone(), name: mark.rollout.clone() }
}

/// Undoing the mark of a Service, as an act that can fail.
fn key((namespace, name): &Name) -> EffectKey {
    EffectKey { verb: Verb::Sweep, object: format!("{namespace}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::Courier;
    use crate::facts::Counters;
    use crate::outbox::Outbox;
    use crate::places::Places;
    use crate::record::Pruned;
    use crate::{Deciders, Options};

    fn service(name: &str, version: &str, rollout: Option<&str>) -> Value {
        json!({ "metadata": {
            "name": name, "namespace": "n", "uid": name, "resourceVersion": version,
            "annotations": { MANAGED_BY_ROLLOUTS: rollout },
        }})
    }

    fn applied(name: &str, version: &str, rollout: Option<&str>) -> Observation {
        Observation::Applied(SERVICES, service(name, version, rollout))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The Rollouts that one step asks for.
    fn asked(sweep: &mut Sweep, store: &mut Store, now: Timestamp) -> Vec<String> {
        let mut outbox = Outbox::default();
        let (options, deciders) = (Options::default(), Deciders::default());
        sweep.step(&mut Context {
            store,
            outbox: &mut outbox,
            counters: &mut Counters::default(),
            pruned: &mut Pruned::default(),
            courier: &Courier::default(),
            subscriptions: None,
            places: &mut Places::default(),
            touched: &mut Vec::new(),
            unread: &mut Vec::new(),
            options: &options,
            deciders: &deciders,
            now,
        });
        let name = |call| if let Call::Get(target) = call { target.name } else { String::new() };
        outbox.requests.into_iter().map(|request| name(request.call)).collect()
    }

    #[test]
    fn all_marked_services_are_looked_at_every_ten_minutes_whatever_happened() {
        let (mut sweep, mut store) = (Sweep::default(), Store::default());
        store.synced(ROLLOUTS);
        assert_eq!(sweep.wake_at(&store, at(0)), None, "without marks there is nothing to wake for");
        sweep.observe(&applied("a", "1", Some("r")));
        assert_eq!(asked(&mut sweep, &mut store, at(0)), ["r"]);
        // The answer says that it lives, and the events that should follow never come.
        sweep.in_flight.clear();
        assert_eq!(sweep.wake_at(&store, at(1)), Some(at(600)));
        assert_eq!(asked(&mut sweep, &mut store, at(599)), Vec::<String>::new());
        assert_eq!(asked(&mut sweep, &mut store, at(600)), ["r"]);
        sweep.in_flight.clear();
        assert_eq!(asked(&mut sweep, &mut store, at(-3000)), ["r"], "the clock was set back");
    }

    #[test]
    fn nothing_is_kept_for_services_without_the_mark_or_gone() {
        let mut sweep = Sweep::default();
        for observation in [
            applied("a", "1", Some("r")),
            applied("a", "2", None),
            applied("b", "3", Some("r")),
            Observation::Deleted(SERVICES, service("b", "4", Some("r"))),
            applied("c", "5", Some("r")),
            applied("c", "6", Some("s")),
            Observation::ListStarted(SERVICES),
        ] {
            sweep.observe(&observation);
            assert_eq!(sweep.marked.len(), sweep.by_rollout.len());
            assert!(sweep.marked.len() <= 1 && sweep.due.len() <= 1);
        }
        assert!(sweep.marked.is_empty() && sweep.by_rollout.is_empty() && sweep.due.is_empty());
    }

    #[test]
    fn an_event_from_before_our_answer_changes_nothing() {
        let mut sweep = Sweep::default();
        sweep.observe(&applied("a", "7", Some("r")));
        sweep.observe(&applied("a", "6", None));
        sweep.observe(&Observation::Deleted(
            SERVICES,
            json!({ "metadata": {
                "name": "a", "namespace": "n", "uid": "another", "resourceVersion": "5",
            }}),
        ));
        assert_eq!(sweep.marked.len(), 1);
    }

    #[test]
    fn a_name_counts_as_a_whole_and_only_as_a_value() {
        let strategy = json!({ "canary": { "x": [{ "y": "shop" }], "z": "shop-stable", "key": 1 } });
        assert!(holds(&strategy, "shop"));
        assert!(holds(&strategy, "shop-stable"));
        assert!(!holds(&strategy, "stable"));
        assert!(!holds(&strategy, "key"));
    }
}
