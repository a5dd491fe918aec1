//! The driver: one plain value that a shell feeds and polls.

mod touched;

use crate::courier::{Courier, LetterKey};
use crate::facts::{Counters, Facts, rollout_facts, run_facts, template_facts};
use crate::io::{Call, ObjectRef, Observation, Reply, Request, RequestId, Resource, Watch};
use crate::object;
use crate::options::{Deciders, Options};
use crate::outbox::{Addressee, Context, Errand, Outbox, TaskKey};
use crate::outcome::Outcome;
use crate::places::Places;
use crate::pods::Touched;
use crate::record::Pruned;
use crate::references::{Name, References, named};
use crate::resources::{
    ANALYSIS_RUNS, ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES, PODS, REPLICA_SETS, ROLLOUTS, is_workload,
    watches,
};
use crate::rollout_task::{Rest, RolloutTask};
use crate::run_task::RunTask;
use crate::store::{Source, Store, Synced};
use crate::sweep::Sweep;
use crate::wake::WakeQueue;
use headgate_api::At;
use headgate_model::{FailureClass, Timestamp};
use headgate_notify::{About, Subscriptions};
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Smaller corrections of the clock than this need no attention.
const CLOCK_STEP_SECONDS: i64 = 2;

/// Whether this process may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Keeps what it is fed with, warm, and asks for nothing.
    Standby,
    /// Holds the lease.
    Leader,
}

/// Reading an object of others that failed, and when it is tried again.
#[derive(Debug, Default)]
struct Fetch {
    in_flight: bool,
    attempts: u32,
    retry_at: Option<Timestamp>,
}

/// See the crate's documentation. Not shared between threads: a shell owns one and calls it in turn.
pub struct Driver {
    options: Options,
    deciders: Deciders,
    role: Role,
    store: Store,
    references: References,
    rollouts: BTreeMap<Name, RolloutTask>,
    runs: BTreeMap<Name, RunTask>,
    names_by_uid: BTreeMap<String, Name>,
    fetches: BTreeMap<ObjectRef, Fetch>,
    sweep: Sweep,
    wakes: WakeQueue,
    outbox: Outbox,
    courier: Courier,
    subscriptions: Option<Subscriptions>,
    places: Places,
    pruned: Pruned,
    counters: Counters,
    touched: Vec<(ObjectRef, BTreeSet<String>)>,
    unread: Vec<ObjectRef>,
    now: Timestamp,
}

impl Driver {
    /// A driver on standby that knows nothing yet.
    pub fn new(options: Options) -> Self {
        Self::with_deciders(options, Deciders::default())
    }

    /// A driver with other deciders than ours, for tests.
    pub fn with_deciders(options: Options, deciders: Deciders) -> Self {
        Self {
            options,
            deciders,
            role: Role::Standby,
            store: Store::default(),
            references: References::default(),
            rollouts: BTreeMap::new(),
            runs: BTreeMap::new(),
            names_by_uid: BTreeMap::new(),
            fetches: BTreeMap::new(),
            sweep: Sweep::default(),
            wakes: WakeQueue::default(),
            outbox: Outbox::default(),
            courier: Courier::default(),
            subscriptions: Some(Subscriptions::default()),
            places: Places::default(),
            pruned: Pruned::default(),
            counters: Counters::default(),
            touched: Vec::new(),
            unread: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// The streams to feed the driver with. The set never changes.
    pub fn watches(&self) -> Vec<Watch> {
        watches()
    }

    /// The kinds whose streams are to begin by now although they begin on demand: some Rollout names an object of them.
    pub fn demanded(&self) -> BTreeSet<Resource> {
        let on_demand = watches().into_iter().filter(|watch| watch.on_demand).map(|watch| watch.resource);
        on_demand.filter(|resource| self.store.is_demanded(*resource)).collect()
    }

    /// Takes in what a watch has delivered.
    pub fn observe(&mut self, observation: Observation, now: Timestamp) {
        self.tick(now);
        if observation.resource() == PODS {
            return self.observe_pod(observation);
        }
        self.sweep.observe(&observation);
        match observation {
            Observation::Applied(resource, object) | Observation::Listed(resource, object) => {
                self.applied(resource, object);
            }
            Observation::Deleted(resource, object) => {
                let reference = object::reference(resource, &object);
                let change = self.store.deleted(resource, &object);
                self.touched.push((reference, change.owners));
            }
            Observation::ListStarted(resource) => self.store.list_started(resource),
            Observation::Synced(resource) => self.complete(resource, Store::synced),
            Observation::NotInstalled(resource) => self.complete(resource, Store::not_installed),
        }
        self.wake_touched();
    }

    /// Takes in what happened to a pod. Only pods of versions that are not stable matter to anybody, and only when what
    /// their health needs has changed: pods change often.
    fn observe_pod(&mut self, observation: Observation) {
        let was_synced = self.store.pods.is_synced();
        let touched = self.store.pods.observe(observation, self.now);
        if self.store.pods.is_synced() != was_synced {
            self.wake_all();
        }
        let Some(touched) = touched else { return };
        let Touched { namespace, set: name, set_uid } = touched;
        let set = self.store.get(&ObjectRef { resource: REPLICA_SETS, namespace, name });
        let set = set.filter(|set| object::uid(set) == set_uid);
        let owner = set.and_then(object::controller_uid).and_then(|uid| self.names_by_uid.get(uid));
        let (Some(set), Some(owner)) = (set, owner) else { return };
        let reference = ObjectRef { resource: ROLLOUTS, namespace: owner.0.clone(), name: owner.1.clone() };
        let stable = self.store.get(&reference).and_then(|rollout| rollout.at("/status/stableRS")?.as_str());
        if stable != Some(object::hash(set)) {
            self.wakes.now(&TaskKey::Rollout(owner.clone()));
        }
    }

    fn applied(&mut self, resource: Resource, object: Value) {
        if object::meta(&object, "name").is_empty() {
            return;
        }
        let reference = object::reference(resource, &object);
        let change = self.store.put(resource, object, Source::Watch);
        if change.is_doubtful {
            self.fetches.entry(reference.clone()).or_default();
        }
        if change.changed {
            self.touched.push((reference, change.owners));
        }
    }

    /// A kind is known as a whole.
    fn complete(&mut self, resource: Resource, how: fn(&mut Store, Resource) -> Synced) {
        let is_first = !self.store.is_synced(resource);
        let synced = how(&mut self.store, resource);
        for (reference, change) in synced.gone {
            self.touched.push((reference, change.owners));
        }
        for reference in synced.doubtful.into_iter().chain(self.store.unread(resource)) {
            self.fetches.entry(reference).or_default();
        }
        if is_first {
            self.wake_all();
        }
    }

    /// From now on this process holds the lease: it may write. What its watches have delivered may be older
    /// than what the leader before it has written, so each rollout is read live before it is first acted for.
    pub fn lead(&mut self, now: Timestamp) {
        self.tick(now);
        self.role = Role::Leader;
        self.wake_all();
    }

    /// From now on these want to know of Rollouts; before the first call nobody does. `None`: who does is not known
    /// (the configuration is wrong), so that what waits to be told stays, and nothing is added.
    pub fn notify(&mut self, subscriptions: Option<Subscriptions>, now: Timestamp) {
        self.tick(now);
        if self.subscriptions != subscriptions {
            self.subscriptions = subscriptions;
            self.wake_all();
        }
    }

    /// Takes in the time. When the clock was set back, what was planned by it is planned again.
    fn tick(&mut self, now: Timestamp) {
        let is_set_back = self.now.duration_since(now) > SignedDuration::from_secs(CLOCK_STEP_SECONDS);
        self.now = now;
        if is_set_back {
            for fetch in self.fetches.values_mut() {
                fetch.retry_at = None;
            }
            self.courier.clock_set_back(now);
            self.wake_all();
        }
    }

    fn wake_all(&mut self) {
        let rollouts = self.rollouts.keys().cloned().map(TaskKey::Rollout);
        for key in rollouts.chain(self.runs.keys().cloned().map(TaskKey::Run)) {
            self.wakes.now(&key);
        }
    }

    /// Decides what is due and returns the requests to send now. Their replies go to [`Driver::reply`].
    pub fn poll(&mut self, now: Timestamp) -> Vec<Request> {
        self.tick(now);
        if self.role == Role::Leader && self.is_synced() {
            self.send_fetches();
            for _ in 0..self.options.limits.decisions_per_poll {
                let Some(key) = self.next_due() else { break };
                self.step(&key);
                self.wake_touched();
            }
            self.sweeping(Sweep::step);
            self.delivering(Courier::step);
        }
        std::mem::take(&mut self.outbox.requests)
    }

    /// Those who wait for a place come before newcomers who would take it.
    fn next_due(&mut self) -> Option<TaskKey> {
        self.places.next(&self.options.limits).or_else(|| self.wakes.pop(self.now))
    }

    fn sweeping(&mut self, act: impl FnOnce(&mut Sweep, &mut Context<'_>)) {
        let mut sweep = std::mem::take(&mut self.sweep);
        act(&mut sweep, &mut self.context());
        self.sweep = sweep;
    }

    fn delivering<T>(&mut self, act: impl FnOnce(&mut Courier, &mut Context<'_>) -> T) -> T {
        let mut courier = std::mem::take(&mut self.courier);
        let result = act(&mut courier, &mut self.context());
        self.courier = courier;
        result
    }

    /// Shows the courier what is to be told of a Rollout.
    fn show_outbox(&mut self, name: &Name) {
        let Some(task) = self.rollouts.get(name) else { return };
        let outbox = task.outbox(&self.store);
        let about = About { namespace: name.0.clone(), name: name.1.clone(), uid: task.uid.clone() };
        let subscriptions = self.subscriptions.as_ref();
        self.courier.see(&about, &outbox, subscriptions, &mut self.counters, self.now);
    }

    /// A webhook has answered, or not.
    fn delivered(&mut self, letter: &LetterKey, service: &str, reply: Reply) {
        let given_up = self.delivering(|courier, context| courier.reply(letter, service, reply, context));
        let name = letter.rollout();
        if let Some(notice) = given_up
            && let Some(mut task) = self.rollouts.remove(name)
        {
            let mut context = self.context();
            if let Some(rollout) = task.rollout(&context) {
                context.tell(ROLLOUTS, &rollout, &mut task.told, &notice);
            }
            self.rollouts.insert(name.clone(), task);
        }
        if self.courier.is_over(letter) {
            self.wakes.now(&TaskKey::Rollout(name.clone()));
        }
    }

    fn step(&mut self, key: &TaskKey) {
        let rest = match key {
            TaskKey::Rollout(name) => {
                self.show_outbox(name);
                let Some(mut task) = self.rollouts.remove(name) else { return };
                let rest = task.step(&mut self.context());
                self.rollouts.insert(name.clone(), task);
                rest
            }
            TaskKey::Run(name) => {
                let Some(mut task) = self.runs.remove(name) else { return };
                let rest = task.step(&mut self.context());
                self.runs.insert(name.clone(), task);
                rest
            }
        };
        self.rest(key, rest);
    }

    fn rest(&mut self, key: &TaskKey, rest: Rest) {
        match rest {
            // Whatever happens meanwhile, the last reply makes the task decide again.
            Rest::Busy => self.wakes.at(key, None),
            Rest::Again => self.wakes.now(key),
            Rest::Until(time) => self.wakes.at(key, time),
        }
    }

    fn context(&mut self) -> Context<'_> {
        Context {
            store: &mut self.store,
            outbox: &mut self.outbox,
            counters: &mut self.counters,
            pruned: &mut self.pruned,
            courier: &self.courier,
            subscriptions: self.subscriptions.as_ref(),
            places: &mut self.places,
            touched: &mut self.touched,
            unread: &mut self.unread,
            options: &self.options,
            deciders: &self.deciders,
            now: self.now,
        }
    }

    /// Takes the reply to a request. Replies to requests that nobody waits for any more are dropped.
    pub fn reply(&mut self, id: RequestId, reply: Reply, now: Timestamp) {
        self.tick(now);
        match self.outbox.addressee(id) {
            Some(Addressee::Task(key, errand)) => self.task_reply(id, &key, errand, reply),
            Some(Addressee::Fetch { target, seen }) => self.fetched(&target, &seen, reply),
            Some(Addressee::Sweep { service, errand }) => {
                self.sweeping(|sweep, context| sweep.reply(&service, errand, reply, context));
            }
            Some(Addressee::Courier { letter, service }) => self.delivered(&letter, &service, reply),
            Some(Addressee::Nobody) | None => {}
        }
        self.wake_touched();
    }

    fn task_reply(&mut self, id: RequestId, key: &TaskKey, errand: Errand, reply: Reply) {
        if let Errand::Measure { lane, .. } = &errand {
            self.places.release(lane);
        }
        let rest = match key {
            TaskKey::Rollout(name) => {
                let Some(mut task) = self.rollouts.remove(name) else {
                    return self.orphaned(errand.resource(ROLLOUTS), reply);
                };
                let rest = if task.in_flight.contains(&id) {
                    task.reply(id, errand, reply, &mut self.context())
                } else {
                    self.orphaned(errand.resource(ROLLOUTS), reply);
                    Rest::Busy
                };
                self.rollouts.insert(name.clone(), task);
                rest
            }
            TaskKey::Run(name) => {
                let Some(mut task) = self.runs.remove(name) else {
                    return self.orphaned(errand.resource(ANALYSIS_RUNS), reply);
                };
                let rest = if task.in_flight.contains(&id) {
                    task.reply(id, errand, reply, &mut self.context())
                } else {
                    self.orphaned(errand.resource(ANALYSIS_RUNS), reply);
                    Rest::Busy
                };
                self.runs.insert(name.clone(), task);
                rest
            }
        };
        if let TaskKey::Rollout(name) = key {
            self.show_outbox(name);
        }
        if rest != Rest::Busy {
            self.rest(key, rest);
        }
    }

    /// The answer to a Rollout or a run that is gone by now, or was made anew: what it wrote or read goes on living, and others
    /// decide on it (R3).
    fn orphaned(&mut self, resource: Option<Resource>, reply: Reply) {
        let objects = match reply {
            Reply::Object(object) => vec![object],
            Reply::Objects(objects) => objects,
            Reply::Refused { .. } | Reply::Lost(_) | Reply::Measured(_) | Reply::Notified(_) => return,
        };
        let Some(resource) = resource else { return };
        for object in objects {
            if self.store.knows(resource, &object) && !object::is_deleting(&object) {
                self.context().answered(resource, object);
            }
        }
    }

    /// Reads live what some Rollout names and no list has shown.
    fn send_fetches(&mut self) {
        let now = self.now;
        for (target, fetch) in &mut self.fetches {
            if fetch.in_flight || fetch.retry_at.is_some_and(|retry_at| now < retry_at) {
                continue;
            }
            fetch.in_flight = true;
            let seen = self.store.get(target).map(object::resource_version).unwrap_or_default().to_owned();
            let to = Addressee::Fetch { target: target.clone(), seen };
            self.counters.requests += 1;
            self.outbox.send(to, target.clone(), Call::Get(target.clone()));
        }
    }

    fn fetched(&mut self, target: &ObjectRef, seen: &str, reply: Reply) {
        let now = self.now;
        let outcome = self.context().looked(target, seen, reply);
        let is_answer = match &outcome {
            Outcome::Done(_) => true,
            Outcome::Refused(refusal) => refusal.class == FailureClass::NotFound,
            Outcome::Unclear(_) => false,
        };
        let is_wanted = self.references.rollouts(target).next().is_some()
            || self.store.get(target).is_some()
            || self.store.is_doubted(target);
        if let Outcome::Refused(refusal) = &outcome
            && refusal.class.is_refused()
            && is_workload(target.resource)
            && self.store.refused(target, &refusal.message)
        {
            self.touched.push((target.clone(), BTreeSet::new()));
        }
        if is_answer || !is_wanted {
            self.fetches.remove(target);
            return;
        }
        if let Some(fetch) = self.fetches.get_mut(target) {
            fetch.in_flight = false;
            fetch.attempts = fetch.attempts.saturating_add(1);
            let seconds = 1_i64 << fetch.attempts.min(6);
            fetch.retry_at = now.checked_add(SignedDuration::from_secs(seconds.min(60))).ok();
        }
    }

    /// The earliest time at which [`Driver::poll`] would do something by itself. A time that has passed means
    /// at once; `None` means only after an observation or a reply.
    pub fn wake_at(&self) -> Option<Timestamp> {
        if !self.outbox.requests.is_empty() {
            return Some(self.now);
        }
        if self.role == Role::Standby || !self.is_synced() {
            return None;
        }
        if self.wakes.is_any_due() || self.places.is_any_due() {
            return Some(self.now);
        }
        let waiting = self.fetches.values().filter(|fetch| !fetch.in_flight);
        let fetches = waiting.map(|fetch| fetch.retry_at.unwrap_or(self.now)).min();
        let sweep = self.sweep.wake_at(&self.store, self.now);
        let letters = self.courier.wake_at(self.options.limits.notifications_per_service);
        fetches.into_iter().chain(self.wakes.next()).chain(sweep).chain(letters).min()
    }

    /// True once every kind that decisions rest on is known as a whole.
    pub fn is_synced(&self) -> bool {
        self.unsynced().is_empty()
    }

    /// The kinds that are not known as a whole yet: for readiness, and for messages about what is missing.
    pub fn unsynced(&self) -> Vec<Resource> {
        let watches = watches().into_iter().filter(|watch| watch.required);
        watches.map(|watch| watch.resource).filter(|resource| !self.store.is_synced(*resource)).collect()
    }

    /// What is known now, for metrics.
    pub fn facts(&self) -> Facts {
        let rollouts = self.rollouts.values().filter_map(|task| {
            let rollout = self.store.get(&task.reference)?;
            let routers = named(rollout, &self.store).routers;
            let with_weights = routers.iter().find(|config| {
                headgate_traffic::router(config.router).is_some_and(|router| router.capabilities().weights)
            });
            Some(rollout_facts(rollout, with_weights.map_or("", |config| config.router)))
        });
        let runs = self.store.all(ANALYSIS_RUNS).filter(|(_, run)| self.is_ours(run));
        let templates = [ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES];
        let templates = templates.into_iter().flat_map(|resource| self.store.all(resource));
        Facts {
            rollouts: rollouts.collect(),
            analysis_runs: runs.map(|(_, run)| run_facts(run)).collect(),
            templates: templates.map(|(_, template)| template_facts(template)).collect(),
            objects: self.store.sizes(),
            measurements_in_flight: self.places.taken(),
            measurements_waiting: self.places.waiting(),
            notifications_waiting: self.courier.waiting(),
        }
    }

    /// What was done since the driver was made, for metrics.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
