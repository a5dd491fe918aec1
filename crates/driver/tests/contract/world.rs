//! A driver, a server, a clock, and everything that can go wrong between them.

use crate::server::{Author, Event, Refusal, Server};
use headgate_driver::io::{Call, ObjectRef, Observation, Patch, Reply, Request, RequestId, Resource};
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, REPLICA_SETS, ROLLOUTS, SERVICES};
use headgate_driver::{Deciders, Driver, Options};
use headgate_model::{Decision, HttpQuery, Query, Reply as Measured, Timestamp};
use headgate_notify::{Post, Subscriptions};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// 2026-11-21T09:00:00Z.
const START: i64 = 1_795_251_600;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It never arrives.
    RequestLost,
    /// It never arrives, and the process dies.
    CrashBefore,
    /// It is carried out, and the process dies.
    CrashAfter,
    /// The server refuses it with this code and reason.
    Refused(u16, &'static str),
}

type Provider = Box<dyn FnMut(&HttpQuery) -> Option<Measured>>;

/// What a webhook does with a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Answers(u16),
    /// No answer comes.
    Silence,
    /// It is taken, and the process dies before it knows.
    Crash,
    /// The request stays on its way for ever.
    Hangs,
}

type Hook = Box<dyn FnMut(&str) -> Heard>;

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) driver: Driver,
    deciders: Box<dyn Fn() -> Deciders>,
    pub(crate) now: Timestamp,
    /// Watch events on their way, per kind in order, with the time from which they are delivered.
    watch: BTreeMap<Resource, VecDeque<(Timestamp, Event)>>,
    /// How long events take.
    pub(crate) watch_delay: SignedDuration,
    /// How many events a list lags behind when a process starts.
    pub(crate) list_lag: usize,
    /// Whether pods come up.
    pub(crate) pods_start: bool,
    /// Requests sent so far, by any driver.
    pub(crate) requests: u64,
    pub(crate) log: Vec<Call>,
    pub(crate) fault: Box<dyn FnMut(u64) -> Fault>,
    /// What metric providers answer; `None`: nothing, for ever.
    pub(crate) provider: Provider,
    /// Who wants to be told.
    pub(crate) subscriptions: Option<Subscriptions>,
    /// What the webhook of this name does.
    pub(crate) hook: Hook,
    /// What webhooks have heard, taken or not: when, who, and the body.
    pub(crate) told: Vec<(Timestamp, String, Value)>,
    /// The Rollout's resourceVersion that the driver has last been answered.
    proven: BTreeMap<ObjectRef, String>,
}

pub(crate) fn at(resource: Resource, name: &str) -> ObjectRef {
    ObjectRef { resource, namespace: "shop".to_owned(), name: name.to_owned() }
}

impl World {
    /// With the real engine.
    pub(crate) fn new() -> Self {
        Self::deciding(Deciders::default)
    }

    /// With a scripted engine.
    pub(crate) fn deciding(deciders: impl Fn() -> Deciders + 'static) -> Self {
        let mut world = Self {
            server: Server::default(),
            driver: Driver::with_deciders(Options::default(), deciders()),
            deciders: Box::new(deciders),
            now: Timestamp::from_second(START).unwrap(),
            watch: BTreeMap::new(),
            watch_delay: SignedDuration::ZERO,
            list_lag: 0,
            pods_start: true,
            requests: 0,
            log: Vec::new(),
            fault: Box::new(|_| Fault::None),
            provider: Box::new(|_| None),
            subscriptions: Some(Subscriptions::default()),
            hook: Box::new(|_| Heard::Answers(200)),
            told: Vec::new(),
            proven: BTreeMap::new(),
        };
        world.restart();
        world
    }

    /// The process starts again: everything that it knew is gone, it lists and leads.
    pub(crate) fn restart(&mut self) {
        self.driver = self.standby();
        self.driver.lead(self.now);
    }

    /// Another process that has listed everything and does not lead yet.
    pub(crate) fn standby(&mut self) -> Driver {
        let mut driver = Driver::with_deciders(Options::default(), (self.deciders)());
        driver.notify(self.subscriptions.clone(), self.now);
        let (objects, since) = self.server.lagging(self.list_lag);
        self.watch.clear();
        self.server.events = since;
        self.take_events();
        for watch in driver.watches() {
            driver.observe(Observation::ListStarted(watch.resource), self.now);
            for (_, object) in objects.iter().filter(|(resource, _)| *resource == watch.resource) {
                driver.observe(Observation::Listed(watch.resource, object.clone()), self.now);
            }
            driver.observe(Observation::Synced(watch.resource), self.now);
        }
        driver
    }

    fn take_events(&mut self) {
        let delivered_at = self.now + self.watch_delay;
        for event in std::mem::take(&mut self.server.events) {
            let (Event::Applied(resource, _) | Event::Deleted(resource, _)) = &event;
            self.watch.entry(*resource).or_default().push_back((delivered_at, event));
        }
    }

    /// Delivers the events that are due.
    pub(crate) fn deliver(&mut self) {
        self.take_events();
        for queue in self.watch.values_mut() {
            while queue.front().is_some_and(|(time, _)| *time <= self.now) {
                let (_, event) = queue.pop_front().unwrap();
                let observation = match event {
                    Event::Applied(resource, object) => Observation::Applied(resource, object),
                    Event::Deleted(resource, object) => Observation::Deleted(resource, object),
                };
                self.driver.observe(observation, self.now);
            }
        }
    }

    fn next_event(&self) -> Option<Timestamp> {
        self.watch.values().filter_map(|queue| queue.front()).map(|(time, _)| *time).min()
    }

    /// One round: events, requests, replies. True when something was sent.
    pub(crate) fn round(&mut self) -> bool {
        if self.pods_start {
            self.server.kubelet(self.now);
        }
        self.deliver();
        let requests = self.driver.poll(self.now);
        let any = !requests.is_empty();
        for request in requests {
            if !self.carry_out(&request) {
                self.restart();
                return true;
            }
        }
        any
    }

    /// Carries out one request; false when the process has died of it.
    pub(crate) fn carry_out(&mut self, request: &Request) -> bool {
        if let Call::Measure { query: Query::Http(query), .. } = &request.call {
            self.log.push(request.call.clone());
            if let Some(reply) = (self.provider)(query) {
                self.driver.reply(request.id, Reply::Measured(reply), self.now);
            }
            return true;
        }
        if let Call::Notify { service, post } = &request.call {
            return self.hear(request.id, service, post);
        }
        self.requests += 1;
        let fault = (self.fault)(self.requests);
        let arrives = matches!(fault, Fault::None | Fault::AnswerLost | Fault::CrashAfter);
        let reply = if arrives { self.execute(&request.call) } else { Reply::Lost("lost".to_owned()) };
        match fault {
            Fault::None => self.driver.reply(request.id, reply, self.now),
            Fault::AnswerLost | Fault::RequestLost => {
                self.driver.reply(request.id, Reply::Lost("no answer".to_owned()), self.now);
            }
            Fault::CrashBefore | Fault::CrashAfter => return false,
            Fault::Refused(code, reason) => {
                self.driver.reply(request.id, crate::server::refused(code, reason), self.now);
            }
        }
        if self.pods_start {
            self.server.kubelet(self.now);
        }
        true
    }

    fn hear(&mut self, id: RequestId, service: &str, post: &Post) -> bool {
        let body: Value = serde_json::from_str(&post.body).unwrap();
        assert!(post.headers.contains(&("Idempotency-Key", body["key"].as_str().unwrap().to_owned())));
        self.told.push((self.now, service.to_owned(), body));
        let reply = match (self.hook)(service) {
            Heard::Answers(status) => Reply::Notified(status),
            Heard::Silence => Reply::Lost("no answer within 10 s".to_owned()),
            Heard::Crash => return false,
            Heard::Hangs => return true,
        };
        self.driver.reply(id, reply, self.now);
        true
    }

    pub(crate) fn execute(&mut self, call: &Call) -> Reply {
        self.log.push(call.clone());
        self.check_fence(call);
        let reply = self.server.call(call, Author::Driver, self.now);
        if let (Some(target), Reply::Object(object)) = (rollout_of(call), &reply) {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            self.proven.insert(target, version.to_owned());
        }
        reply
    }

    /// No effect may rest on a Rollout that somebody other than the user has changed since the driver was last
    /// answered: that would be a write from a stale snapshot.
    fn check_fence(&self, call: &Call) {
        let is_effect = match call {
            Call::Create { target, .. } => target.resource != EVENTS,
            Call::Patch { target, .. } => target.resource != ROLLOUTS && target.resource != ANALYSIS_RUNS,
            Call::Delete { target, .. } => target.resource == REPLICA_SETS,
            Call::Evict { .. } => true,
            Call::Get(_) | Call::List { .. } | Call::Measure { .. } | Call::Notify { .. } => false,
        };
        if !is_effect {
            return;
        }
        for (target, version) in &self.proven {
            let by_user = self.server.author_of_last_change.get(target) == Some(&Author::Other);
            assert!(
                by_user || *version == self.server.version_of(target),
                "{call:?} rests on version {version} of the Rollout"
            );
        }
    }

    /// Rounds until nothing happens at this time.
    pub(crate) fn settle(&mut self) {
        for _ in 0..2_000 {
            if !self.round() && self.driver.wake_at().is_none_or(|time| time > self.now) {
                return;
            }
        }
        panic!("never quiet; the last calls: {:#?}", &self.log[self.log.len().saturating_sub(6)..]);
    }

    /// Lets time pass, from one wake-up to the next.
    pub(crate) fn run(&mut self, seconds: i64) {
        let end = self.now + SignedDuration::from_secs(seconds);
        loop {
            self.settle();
            let next = self.driver.wake_at().into_iter().chain(self.next_event()).min();
            match next.filter(|time| *time <= end) {
                Some(time) => self.now = time.max(self.now),
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    pub(crate) fn get(&self, target: &ObjectRef) -> &Value {
        &self.server.objects[target]
    }

    pub(crate) fn rollout(&self) -> &Value {
        self.get(&at(ROLLOUTS, "web"))
    }

    pub(crate) fn phase(&self) -> &str {
        self.rollout()["status"]["phase"].as_str().unwrap_or_default()
    }

    /// A user, or another controller, patches an object.
    pub(crate) fn edit(&mut self, target: ObjectRef, body: Value) {
        let status = body.get("status").is_some();
        let call = Call::Patch { target, status, patch: Patch::Merge(body) };
        let reply = self.server.call(&call, Author::Other, self.now);
        assert!(matches!(reply, Reply::Object(_)), "{reply:?}");
    }

    pub(crate) fn create(&mut self, resource: Resource, object: Value) {
        let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
        let namespace = text("namespace").unwrap_or_else(|| "shop".to_owned());
        let target = ObjectRef { resource, namespace, name: text("name").unwrap() };
        let reply = self.server.call(&Call::Create { target, body: object }, Author::Other, self.now);
        assert!(matches!(reply, Reply::Object(_)), "{reply:?}");
    }

    /// Somebody else, such as garbage collection, deletes an object.
    pub(crate) fn delete(&mut self, target: ObjectRef, uid: &str) {
        let call = Call::Delete { target, uid: uid.to_owned() };
        let reply = self.server.call(&call, Author::Other, self.now);
        assert!(matches!(reply, Reply::Object(_)), "{reply:?}");
    }

    pub(crate) fn refuse(&mut self, when: impl Fn(&Call) -> bool + 'static, reply: Reply) {
        self.server.refusals.push(Refusal { when: Box::new(when), reply });
    }

    /// Everything that the driver has written, as verb and object.
    pub(crate) fn written(&self) -> Vec<String> {
        let name = |call: &Call| match call {
            Call::Create { target, .. } => format!("create {}", target.resource.kind),
            Call::Patch { target, status: true, .. } => format!("record {}", target.name),
            Call::Patch { target, .. } => format!("patch {} {}", target.resource.kind, target.name),
            Call::Delete { target, .. } => format!("delete {} {}", target.resource.kind, target.name),
            Call::Evict { target, .. } => format!("evict {}", target.name),
            Call::Get(_) | Call::List { .. } | Call::Measure { .. } | Call::Notify { .. } => {
                "read".to_owned()
            }
        };
        let written = self.server.writes.iter().map(name);
        written.filter(|name| name != "create Event").collect()
    }

    pub(crate) fn events(&self, reason: &str) -> usize {
        self.server
            .objects
            .iter()
            .filter(|(key, event)| key.resource == EVENTS && event["reason"] == reason)
            .count()
    }
}

fn rollout_of(call: &Call) -> Option<ObjectRef> {
    match call {
        Call::Get(target) | Call::Patch { target, .. } if target.resource == ROLLOUTS => Some(target.clone()),
        _ => None,
    }
}

/// A Rollout with steps 20 %, pause, 50 %, pause.
pub(crate) fn web() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": {
            "replicas": 4,
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": { "canary": { "steps": [
                { "setWeight": 25 }, { "pause": { "duration": "10s" } },
                { "setWeight": 50 }, { "pause": { "duration": "10s" } },
            ]}},
            "template": template("1"),
        },
    })
}

pub(crate) fn template(version: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "web", "image": format!("web:{version}") }] },
    })
}

/// The same, with its traffic split by Istio.
pub(crate) fn routed() -> Value {
    let mut rollout = web();
    let canary = &mut rollout["spec"]["strategy"]["canary"];
    canary["canaryService"] = json!("web-canary");
    canary["stableService"] = json!("web-stable");
    canary["trafficRouting"] = json!({ "istio": { "virtualService": { "name": "web" } } });
    rollout
}

pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "shop" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    })
}

pub(crate) const VIRTUAL_SERVICES: Resource = Resource {
    group: "networking.istio.io",
    version: "v1beta1",
    kind: "VirtualService",
    plural: "virtualservices",
    namespaced: true,
};

pub(crate) fn virtual_service() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService",
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": { "hosts": ["web"], "http": [{ "route": [
            { "destination": { "host": "web-stable" }, "weight": 100 },
            { "destination": { "host": "web-canary" }, "weight": 0 },
        ]}]},
    })
}

/// A world in which version 1 of the routed Rollout is released.
pub(crate) fn released() -> World {
    let mut world = World::new();
    world.create(SERVICES, service("web-stable"));
    world.create(SERVICES, service("web-canary"));
    world.create(VIRTUAL_SERVICES, virtual_service());
    world.create(ROLLOUTS, routed());
    world.run(60);
    assert_eq!(world.phase(), "Healthy", "{:#}", world.rollout());
    world
}

/// The same, taken over by a new process.
pub(crate) fn taken_over(before: &World) -> World {
    let mut world = World::new();
    world.now = before.now;
    world.server = before.server.copy();
    world.restart();
    world
}

/// Deciders with this function for Rollouts, and nothing to tell.
pub(crate) fn scripted(
    decide: impl Fn(&headgate_model::Snapshot, Timestamp) -> Decision + Send + 'static,
) -> Deciders {
    Deciders {
        rollout: Box::new(decide),
        notices: Box::new(|_, _| Vec::new()),
        outcome: Box::new(|_, _| Vec::new()),
        ..Deciders::default()
    }
}
