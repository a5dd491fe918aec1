//! The ReplicaSet controller and the kubelet: pods that take time to start, to become ready and to drain.

mod evictions;
mod metadata;
mod syncs;
mod troubles;

pub use evictions::{Budget, Truth, evicted};
pub use metadata::Carrier;

use super::kubelet::{Record, Told, Trouble};
use super::plus;
use super::server::{Change, Server, has_labels, number, text};
use crate::random::Random;
use headgate_api::At;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::io::{Call, ObjectRef, Patch};
use headgate_driver::resources::REPLICA_SETS;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use syncs::Syncs;

/// How pods of a version behave. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// They get a node after so long.
    pub scheduled_after: i64,
    /// A node that has not had the image yet pulls it for so long.
    pub pulled_after: i64,
    /// Then they become ready after so long at least; never, if `None`.
    pub ready_after: Option<i64>,
    /// Whether their image can be pulled; if not they never get ready either.
    pub has_image: bool,
    /// Whether their containers end by themselves, again and again, a moment after each start.
    pub crashes: bool,
    /// And so much later at most.
    pub spread: i64,
    /// Requests that they fail, in a hundred.
    pub errors_percent: i64,
    /// How long a request takes on average; times are distributed exponentially.
    pub latency: i64,
}

impl Health {
    /// Pods that get a node after so long and are ready so long after that, in milliseconds; nothing ails them.
    pub(crate) fn good(scheduled_after: i64, ready_after: i64) -> Self {
        Self {
            scheduled_after,
            pulled_after: 0,
            ready_after: Some(ready_after),
            has_image: true,
            crashes: false,
            spread: 0,
            errors_percent: 0,
            latency: 0,
        }
    }

    /// Nothing ails it any more.
    pub(crate) fn recover(&mut self) {
        self.ready_after.get_or_insert(3_000);
        (self.has_image, self.crashes, self.errors_percent, self.latency) = (true, false, 0, 80);
    }
}

/// The slowest proxy knows after so many milliseconds that a pod leaves.
const PROXIES_LEARN_WITHIN: i64 = 3_000;

/// Where a pod stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not ready; ready then, if ever.
    Starting(Option<Timestamp>),
    /// Ready since.
    Ready(Timestamp),
    /// Told to end; it is there until then, and answers those who still send to it.
    Terminating(Timestamp),
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    set: ObjectRef,
    set_uid: String,
    /// Its version: the label `rollouts-pod-template-hash`.
    pub hash: String,
    /// Where it stands.
    pub state: State,
    node: i64,
    /// Told to end, and some proxies may not know that until then: afterwards nobody sends to it.
    found_until: Option<Timestamp>,
    /// Its node cannot be reached until then: it serves nobody.
    dark_until: Option<Timestamp>,
    /// Since its node cannot be reached it is taken for unready from then on.
    doubted_at: Option<Timestamp>,
    fails: Option<Fails>,
    fails_at: Option<Timestamp>,
    /// What its status says.
    told: Told,
    /// What was last told of it.
    published: Option<Told>,
    /// Its resource version since then.
    version: usize,
}

/// Containers that end by themselves.
#[derive(Clone, Copy, Debug)]
struct Fails {
    until: Timestamp,
    /// The next restart waits so many milliseconds, and the one after it twice as long; 0 in a pod that flaps.
    back_off: i64,
}

/// All pods, and the controller that makes them.
pub struct Pods {
    pods: BTreeMap<u64, Pod>,
    made: u64,
    syncs: Syncs,
    seen: usize,
    luck: Random,
    /// By image; the behaviour of images that are not listed is the first one's.
    pub health: BTreeMap<String, Health>,
    /// Pods serve for so long after they were told to end, in milliseconds.
    pub drain: i64,
    nodes: i64,
    /// Which node has which image.
    pulled: BTreeSet<(i64, String)>,
    /// The pods that each ReplicaSet's status counts as available, by numbers.
    pub counted: BTreeMap<String, Vec<u64>>,
    /// What was told of pods.
    pub record: Record,
    /// The time up to which everything has happened.
    clock: Timestamp,
    /// A container of a version that cannot run has ended by itself, since somebody last looked.
    pub has_crashed: bool,
}

/// What goes wrong with the containers of a version, by their own doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hurt {
    /// One is killed for want of memory, and starts again.
    OomKilled,
    /// One fails its readiness probe, until then.
    Unready(Timestamp),
    /// All end again and again, until then, after 1 s, 2 s, 4 s and so on (the kubelet's shorter back-off).
    Crashing(Timestamp),
}

/// A node that cannot be reached counts as not ready after so long, and so do its pods, in milliseconds (the node
/// lifecycle controller's `--node-monitor-grace-period`).
const NODE_GRACE: i64 = 40_000;
/// The first restart of a container that ends by itself waits so long, in milliseconds (kubelet: 10 s, then twice that).
const BACK_OFF: i64 = 10_000;
/// And none waits longer (kubelet: five minutes).
const BACK_OFF_MAX: i64 = 300_000;
/// A container that was killed once is ready again after so long, in milliseconds.
const RESTART_TAKES: i64 = 3_000;

impl Pods {
    /// No pods yet.
    pub fn new(luck: Random, health: BTreeMap<String, Health>, drain: i64, nodes: i64) -> Self {
        let (pods, syncs, pulled, counted, record) = Default::default();
        let clock = Timestamp::UNIX_EPOCH;
        Self {
            pods,
            made: 0,
            syncs,
            seen: 0,
            luck,
            health,
            drain,
            nodes,
            pulled,
            counted,
            record,
            clock,
            has_crashed: false,
        }
    }

    /// A pod is as it was recorded elsewhere, with one container. One that is not ready stays so.
    pub fn adopt(&mut self, pod: &Value, server: &Server) {
        let of_pod = |field: &str| text(pod, &format!("/metadata/{field}"));
        let set = ObjectRef {
            resource: REPLICA_SETS,
            namespace: of_pod("namespace").to_owned(),
            name: of_pod("ownerReferences/0/name").to_owned(),
        };
        let Some(owner) = server.get(&set) else { return };
        let (image, has_image) =
            (text(pod, "/spec/containers/0/image"), text(pod, "/status/phase") == "Running");
        let conditions = pod.at("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let is_ready = |one: &&Value| text(one, "/type") == "Ready" && text(one, "/status") == "True";
        let ready_since =
            conditions.into_iter().find(is_ready).and_then(|one| time(one, "/lastTransitionTime"));
        let created = time(pod, "/metadata/creationTimestamp").unwrap_or(Timestamp::MIN);
        let mut told = Told::new(of_pod("name").to_owned(), owner, image, has_image, created);
        if let Some(since) = ready_since {
            told.becomes_ready(since);
        }
        told.merge_metadata(pod.get("metadata").unwrap_or(&Value::Null));
        let pod = Pod::new(set, owner, ready_since.map_or(State::Starting(None), State::Ready), 0, told);
        self.made += 1;
        self.pulled.insert((0, image.to_owned()));
        self.pods.insert(self.made, pod);
    }

    /// Lets everything happen that is due.
    pub fn advance(&mut self, server: &mut Server, now: Timestamp) {
        self.clock = now;
        self.take_up(server, now);
        self.age(now);
        // One at a time: whoever watches may see each of them without the next.
        if let Some(set) = self.syncs.take_due(now) {
            self.sync(&set, server, now);
        }
        self.take_up(server, now);
        self.publish(now);
    }

    fn publish(&mut self, now: Timestamp) {
        for pod in self.pods.values_mut() {
            pod.publish(&mut self.record, now);
        }
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Timestamp> {
        let changes = self.pods.values().flat_map(|pod| {
            let changes = match pod.state {
                State::Starting(ready) => ready,
                State::Ready(_) => pod.fails_at,
                State::Terminating(end) => Some(end),
            };
            [changes, pod.found_until, pod.dark_changes_at()]
        });
        changes.flatten().chain(self.syncs.next()).min()
    }

    /// Pods that get requests and answer them, by version: ready ones, and those of which some proxies do not know yet that
    /// they leave.
    pub fn serving_by_version(&self) -> BTreeMap<&str, i64> {
        let mut serving = BTreeMap::new();
        for pod in self.pods.values().filter(|pod| pod.serves()) {
            *serving.entry(pod.hash.as_str()).or_default() += 1;
        }
        serving
    }

    /// The versions that have ready pods.
    pub fn ready_versions(&self) -> BTreeSet<&str> {
        let ready = self.pods.values().filter(|pod| matches!(pod.state, State::Ready(_)));
        ready.map(|pod| pod.hash.as_str()).collect()
    }

    /// Ready pods of all versions.
    pub fn ready(&self) -> usize {
        self.pods.values().filter(|pod| matches!(pod.state, State::Ready(_))).count()
    }

    /// Ready pods of each ReplicaSet, by numbers.
    pub fn ready_by_set(&self) -> BTreeMap<String, Vec<u64>> {
        let mut ready: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (number, pod) in self.pods.iter().filter(|(_, pod)| matches!(pod.state, State::Ready(_))) {
            ready.entry(pod.set.name.clone()).or_default().push(*number);
        }
        ready
    }

    /// Ready pods with these labels.
    pub fn ready_selected(&self, selector: &str, server: &Server) -> i64 {
        let is_selected = |pod: &&Pod| {
            let template = server.get(&pod.set).and_then(|set| set.at("/spec/template"));
            template.is_some_and(|template| has_labels(template, selector))
        };
        let ready = self.pods.values().filter(|pod| matches!(pod.state, State::Ready(_)));
        ready.filter(is_selected).map(|_| 1).sum()
    }

    fn take_up(&mut self, server: &Server, now: Timestamp) {
        for (_, change) in server.history().iter().skip(self.seen) {
            match change {
                Change::Applied(REPLICA_SETS, set) => {
                    let target = super::server::reference(REPLICA_SETS, set);
                    if number(set, "/metadata/generation") != number(set, "/status/observedGeneration") {
                        let due = plus(now, self.luck.between(20, 1_500));
                        self.syncs.by(&target, due);
                    }
                }
                Change::Deleted(REPLICA_SETS, set) => {
                    let end = plus(now, self.drain);
                    for pod in self.pods.values_mut().filter(|pod| pod.set_uid == text(set, "/metadata/uid"))
                    {
                        pod.end(end, &mut self.record, now);
                    }
                }
                Change::Applied(..) | Change::Deleted(..) => {}
            }
        }
        self.seen = server.history().len();
    }

    fn age(&mut self, now: Timestamp) {
        for pod in self.pods.values_mut() {
            let is_doomed = pod.fails.is_some_and(|fails| fails.until == Timestamp::MAX);
            let was_up = matches!(pod.state, State::Ready(_));
            if pod.changes(&mut self.record, &mut self.luck, now) {
                self.has_crashed |= is_doomed && was_up;
                self.syncs.by(&pod.set, plus(now, self.luck.between(20, 800)));
            }
        }
        let has_ended = |pod: &Pod| matches!(pod.state, State::Terminating(end) if end <= now);
        for pod in self.pods.values().filter(|pod| has_ended(pod)) {
            self.syncs.by(&pod.set, plus(now, self.luck.between(20, 500)));
            self.record.gone(&pod.told, now);
        }
        self.pods.retain(|_, pod| !has_ended(pod));
    }

    /// One round of the ReplicaSet controller. As in the real one the counters that it writes are those from before
    /// this round's creations and deletions, under the generation of now.
    fn sync(&mut self, target: &ObjectRef, server: &mut Server, now: Timestamp) {
        let Some(set) = server.get(target).cloned() else { return };
        let uid = text(&set, "/metadata/uid").to_owned();
        let min_ready = number(&set, "/spec/minReadySeconds");
        let mut alive: Vec<(u64, State)> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.set_uid == uid && !matches!(pod.state, State::Terminating(_)))
            .map(|(id, pod)| (*id, pod.state))
            .collect();
        self.write_status(target, &set, &alive, min_ready, server, now);
        let wanted = usize::try_from(number(&set, "/spec/replicas")).unwrap_or(0);
        // Those that are not ready go first, then the youngest.
        alive.sort_by_key(|(id, state)| (matches!(state, State::Ready(_)), std::cmp::Reverse(*id)));
        let surplus = alive.len().saturating_sub(wanted);
        let end = plus(now, self.drain);
        for (id, _) in alive.iter().take(surplus) {
            if let Some(pod) = self.pods.get_mut(id) {
                pod.end(end, &mut self.record, now);
            }
        }
        for _ in alive.len()..wanted {
            self.create(target, &set, now);
        }
        if alive.len() != wanted {
            self.syncs.by(target, plus(now, self.luck.between(20, 500)));
        }
        let becomes_available = alive.iter().filter_map(|(_, state)| match state {
            State::Ready(since) => Some(plus(*since, min_ready * 1_000)).filter(|time| *time > now),
            State::Starting(_) | State::Terminating(_) => None,
        });
        if let Some(time) = becomes_available.min() {
            self.syncs.by(target, time);
        }
    }

    fn write_status(
        &mut self,
        target: &ObjectRef,
        set: &Value,
        alive: &[(u64, State)],
        min_ready: i64,
        server: &mut Server,
        now: Timestamp,
    ) {
        let long_enough = SignedDuration::from_secs(min_ready);
        let ready = alive.iter().filter(|(_, state)| matches!(state, State::Ready(_))).count();
        let is_available =
            |state: &State| matches!(state, State::Ready(since) if now.duration_since(*since) >= long_enough);
        let available: Vec<u64> =
            alive.iter().filter(|(_, state)| is_available(state)).map(|(number, _)| *number).collect();
        let uid = text(set, "/metadata/uid");
        let is_ending = |pod: &&Pod| pod.set_uid == uid && matches!(pod.state, State::Terminating(_));
        let ending = self.pods.values().filter(is_ending).count();
        // The real one leaves out most counters that are zero.
        let unless_zero = |count: usize| Some(count).filter(|count| *count > 0);
        let status = json!({ "status": {
            "replicas": alive.len(),
            "fullyLabeledReplicas": unless_zero(alive.len()),
            "readyReplicas": unless_zero(ready),
            "availableReplicas": unless_zero(available.len()),
            "terminatingReplicas": ending,
            "observedGeneration": set.at("/metadata/generation"),
        }});
        let call = Call::Patch { target: target.clone(), status: true, patch: Patch::Merge(status) };
        server.call(&call, now);
        self.counted.insert(target.name.clone(), available);
    }

    fn create(&mut self, target: &ObjectRef, set: &Value, now: Timestamp) {
        let image = text(set, "/spec/template/spec/containers/0/image");
        let node = self.luck.between(0, self.nodes - 1);
        let is_new_there = self.pulled.insert((node, image.to_owned()));
        let health = self.health.get(image).or(self.health.values().next());
        let spread = self.luck.between(0, health.map_or(0, |health| health.spread));
        let has_image = health.is_none_or(|health| health.has_image);
        let ready = health.filter(|_| has_image).and_then(|health| {
            let pulls = if is_new_there { health.pulled_after } else { 0 };
            Some(plus(now, health.scheduled_after + pulls + health.ready_after? + spread))
        });
        self.made += 1;
        let name = format!("{}-{:05}", target.name, self.made);
        let told = Told::new(name, set, image, has_image, now);
        if !has_image {
            self.record.begins(told.cause(Trouble::NoImage, now));
        }
        let fails = health
            .filter(|health| health.crashes)
            .map(|_| Fails { until: Timestamp::MAX, back_off: BACK_OFF });
        let pod = Pod::new(target.clone(), set, State::Starting(ready), node, told);
        self.pods.insert(self.made, Pod { fails, ..pod });
    }
}

fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

impl Pod {
    fn new(target: ObjectRef, set: &Value, state: State, node: i64, told: Told) -> Self {
        Self {
            set: target,
            set_uid: text(set, "/metadata/uid").to_owned(),
            hash: text(set, &format!("/metadata/labels/{POD_TEMPLATE_HASH}")).to_owned(),
            state,
            node,
            found_until: None,
            dark_until: None,
            doubted_at: None,
            fails: None,
            fails_at: None,
            told,
            published: None,
            version: 0,
        }
    }

    /// Lets the API server have it as it is now, if it has changed.
    fn publish(&mut self, record: &mut Record, now: Timestamp) {
        if self.published.as_ref() != Some(&self.told) {
            self.version = record.tell(&self.told, now);
            self.published = Some(self.told.clone());
        }
    }

    fn serves(&self) -> bool {
        let is_up = match self.state {
            State::Starting(_) => false,
            State::Ready(_) => true,
            State::Terminating(_) => self.found_until.is_some(),
        };
        is_up && self.dark_until.is_none()
    }

    /// When what its node does to it changes next.
    fn dark_changes_at(&self) -> Option<Timestamp> {
        [self.doubted_at, self.dark_until].into_iter().flatten().min()
    }

    /// Lets happen to it what is due; true when its readiness has changed.
    fn changes(&mut self, record: &mut Record, luck: &mut Random, now: Timestamp) -> bool {
        if self.dark_until.is_some_and(|until| until <= now) {
            (self.dark_until, self.doubted_at) = (None, None);
            self.told.doubt(false);
        }
        self.found_until = self.found_until.filter(|until| *until > now);
        if self.doubted_at.is_some_and(|at| at <= now) {
            self.doubted_at = None;
            self.told.doubt(true);
            if let State::Ready(_) = self.state {
                self.state = State::Starting(self.dark_until);
                return true;
            }
        }
        let fails = self.fails.filter(|fails| fails.until > now);
        match self.state {
            State::Starting(Some(ready)) if ready <= now => {
                self.state = State::Ready(now);
                self.told.becomes_ready(now);
                record.ends(&self.told.name, now);
                self.fails_at = fails.map(|_| plus(now, luck.between(200, 4_000)));
                true
            }
            State::Ready(_) if self.fails_at.is_some_and(|at| at <= now) => {
                self.fails_at = None;
                let wait = self.fails.as_mut().map_or(0, |fails| {
                    let wait = fails.back_off;
                    fails.back_off = (wait * 2).min(BACK_OFF_MAX);
                    wait
                });
                let again = plus(now, wait + luck.between(500, 5_000));
                if wait == 0 {
                    self.fail_probe(again, record, now);
                } else {
                    self.state = State::Starting(Some(again));
                    let times = self.told.ends(1, "Error", now);
                    record.begins(self.told.cause(Trouble::Ended(times), now));
                }
                true
            }
            _ => false,
        }
    }

    /// It runs on, and is unready until then.
    fn fail_probe(&mut self, until: Timestamp, record: &mut Record, now: Timestamp) {
        self.state = State::Starting(Some(until));
        self.told.loses_readiness(now);
        record.begins(self.told.cause(Trouble::Unready, now));
    }

    /// A pod that serves is there until `end`; another one ends at once.
    fn end(&mut self, end: Timestamp, record: &mut Record, now: Timestamp) {
        self.told.leave(now);
        record.leaves(&self.told.name, now);
        self.state = match self.state {
            State::Ready(_) => {
                self.found_until = Some(plus(now, PROXIES_LEARN_WITHIN).min(end));
                State::Terminating(end)
            }
            State::Starting(_) => State::Terminating(Timestamp::MIN),
            State::Terminating(end) => State::Terminating(end),
        };
    }
}
