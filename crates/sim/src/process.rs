//! One controller process: a driver with its watches and its requests on their way. It binds them as the controller's
//! event loop does, and decides nothing.

use crate::defects::{Defect, Wire};
use crate::faults::Fate;
use crate::random::Random;
use crate::world::kubelet::Record;
use crate::world::plus;
use crate::world::pod_watch::PodWatch;
use crate::world::server::Server;
use crate::world::watch::Watches;
use headgate_api::At;
use headgate_driver::io::{Call, Patch, Reply, Request, RequestId, Resource};
use headgate_driver::resources::{PODS, ROLLOUTS};
use headgate_driver::{Driver, Options};
use headgate_notify::Subscriptions;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// A request on its way.
#[derive(Clone)]
pub struct Flight {
    /// The request.
    pub request: Request,
    /// What happens to it.
    pub fate: Option<Fate>,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// What the process knew then.
    pub known_until: Timestamp,
    /// It had tried to record that the release is aborted, whether that was taken or not.
    pub means_abort: bool,
}

/// A process.
pub struct Process {
    /// Counts processes.
    pub number: u32,
    driver: Driver,
    /// What its requests and answers go through.
    wire: Wire,
    /// Its watches.
    pub watches: Watches,
    pod_watch: PodWatch,
    /// Requests by the time at which they arrive.
    pub out: BTreeMap<(Timestamp, u64), Flight>,
    back: BTreeMap<(Timestamp, u64), (RequestId, Reply)>,
    /// Leads from then on.
    leads_at: Option<Timestamp>,
    /// Stands still until then.
    pub frozen_until: Option<Timestamp>,
    /// Ends then: it has noticed that another one leads.
    pub ends_at: Option<Timestamp>,
    /// When the server has last told it what the Rollout is.
    pub proven_at: Option<Timestamp>,
    /// Since when the server has told it, or been told by it, that the release is aborted.
    pub aborted_from: Option<Timestamp>,
    /// What it has sent last of that.
    means_abort: bool,
    sent: u64,
    latency: Random,
    /// Its clock differs from the truth by so many milliseconds.
    pub skew: i64,
}

/// A loop rests at least so long, in milliseconds, as the controller's does.
const REST_MIN: i64 = 2;

impl Process {
    /// A process that begins to list and leads from `leads_at` on.
    pub fn new(
        number: u32,
        defect: Defect,
        seed: u64,
        lag: usize,
        delay_max: i64,
        leads_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        let (deciders, wire) = defect.around();
        let driver = Driver::with_deciders(Options::default(), deciders);
        let resources = driver.watches().into_iter().map(|watch| watch.resource);
        let resources: Vec<_> = resources.filter(|resource| *resource != PODS).collect();
        let stream = |purpose: &str| Random::new(seed, &format!("{purpose} {number}"));
        Self {
            number,
            driver,
            wire,
            watches: Watches::new(&resources, lag, stream("watches"), delay_max, now),
            pod_watch: PodWatch::new(stream("pod watch"), delay_max),
            out: BTreeMap::new(),
            back: BTreeMap::new(),
            leads_at: Some(leads_at),
            frozen_until: None,
            ends_at: None,
            proven_at: None,
            aborted_from: None,
            means_abort: false,
            sent: 0,
            latency: stream("latency"),
            skew: 0,
        }
    }

    /// From now on these want to be told.
    pub fn notify(&mut self, subscriptions: Subscriptions, now: Timestamp) {
        self.driver.notify(Some(subscriptions), now);
    }

    /// True while the process runs.
    pub fn is_awake(&self, now: Timestamp) -> bool {
        self.frozen_until.is_none_or(|until| until <= now)
    }

    /// From now on the watch of this kind takes longer.
    pub fn slow_down(&mut self, resource: Resource, until: Timestamp, milliseconds: i64) {
        if resource == PODS {
            self.pod_watch.slow_down(until, milliseconds);
        } else {
            self.watches.slow_down(resource, until, milliseconds);
        }
    }

    /// The watch of this kind breaks off; what was on its way is lost, and a list follows.
    pub fn break_off(&mut self, resource: Resource, until: Timestamp, lag: usize, now: Timestamp) {
        if resource == PODS {
            self.pod_watch.break_off(until);
        } else {
            self.watches.break_off(resource, until, lag, now);
        }
    }

    /// One turn: what has arrived is taken in, and what the driver asks for is returned.
    pub fn turn(&mut self, server: &Server, pods: &Record, now: Timestamp) -> Vec<Request> {
        if !self.is_awake(now) {
            return Vec::new();
        }
        // What has piled up meanwhile comes in any order: often the answers first, and what they lead to goes out at once.
        let answers_first = self.frozen_until.take().is_some() && self.latency.percent(50);
        let clock = plus(now, self.skew);
        if self.leads_at.is_some_and(|time| time <= now) {
            self.leads_at = None;
            self.driver.lead(clock);
        }
        if !answers_first {
            self.look(server, pods, now);
        }
        while let Some(entry) = self.back.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (id, reply) = entry.remove();
            self.driver.reply(id, self.wire.answered(id, reply), clock);
        }
        let (requests, answers) = self.wire.sent(self.driver.poll(clock));
        for (id, reply) in answers {
            self.answer(id, reply, 0, now);
        }
        requests
    }

    /// Takes in what the watches have brought.
    fn look(&mut self, server: &Server, pods: &Record, now: Timestamp) {
        let clock = plus(now, self.skew);
        for observation in self.watches.deliver(server, now) {
            self.wire.observed(&observation);
            self.driver.observe(observation, clock);
        }
        for observation in self.pod_watch.deliver(pods, now) {
            self.driver.observe(observation, clock);
        }
    }

    /// Sends a request on its way.
    pub fn send(&mut self, request: Request, fate: Option<Fate>, slow: i64, now: Timestamp) {
        self.sent += 1;
        let arrives = plus(now, slow + self.latency.between(1, 60));
        let known_until = self.watches.knows_until(now);
        self.means_abort = recorded_abort(&request.call).unwrap_or(self.means_abort);
        let means_abort = self.means_abort;
        let flight = Flight { request, fate, sent_at: now, known_until, means_abort };
        self.out.insert((arrives, self.sent), flight);
    }

    /// Sends an answer back; says when it arrives.
    pub fn answer(&mut self, id: RequestId, reply: Reply, takes: i64, now: Timestamp) -> Timestamp {
        self.sent += 1;
        let arrives = plus(now, takes + self.latency.between(1, 60));
        self.back.insert((arrives, self.sent), (id, reply));
        arrives
    }

    /// When something happens next.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let out = self.out.keys().next().map(|(time, _)| *time);
        if let Some(until) = self.frozen_until.filter(|until| *until > now) {
            return [out, Some(until)].into_iter().flatten().min();
        }
        let back = self.back.keys().next().map(|(time, _)| *time);
        let wake = self.driver.wake_at().map(|time| plus(time, -self.skew).max(plus(now, REST_MIN)));
        let pods = self.pod_watch.next();
        [out, back, wake, self.leads_at, self.watches.next(), pods, self.ends_at].into_iter().flatten().min()
    }
}

/// What a record of a Rollout says about an abort, where it says something.
fn recorded_abort(call: &Call) -> Option<bool> {
    match call {
        Call::Patch { target, patch: Patch::Merge(body), status: true } if target.resource == ROLLOUTS => {
            body.at("/status/abort").map(|abort| *abort == Value::Bool(true))
        }
        _ => None,
    }
}
