//! The loop: time jumps from one thing that happens to the next.

mod disturb;
mod surroundings;

use crate::checkers::{Checkers, Violation, Waits, Write, settled};
use crate::coverage::{self, Reached};
use crate::defects::Defect;
use crate::faults::{Disturbance, Fate, ThirdParty};
use crate::process::{Flight, Process};
use crate::random::Random;
use crate::scenario::{FAULTS_END, Scenario};
use crate::trace::{Trace, Who, short};
use crate::user::Act;
use crate::world::metrics::Metrics;
use crate::world::plus;
use crate::world::pods::Pods;
use crate::world::proxies::{Proxies, VIRTUAL_SERVICES};
use crate::world::server::{Server, refused, text};
use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Request, Resource};
use headgate_driver::resources::{EVENTS, REPLICA_SETS, ROLLOUTS};
use headgate_model::Query;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// 2026-11-21T09:00:00Z: as good as any.
const START_SECOND: i64 = 1_795_251_600;
/// The first version must be out by then, in milliseconds.
const FIRST_RELEASE_MAX: i64 = 900_000;
/// After the last fault the world must have settled by then, in milliseconds.
const SETTLES_WITHIN: i64 = 2_700_000;
/// It counts as settled earlier when nothing but measurements was written for so long, in milliseconds: longer than any
/// deadline of a seed, and than the driver's sweep takes to come round.
const IDLE: i64 = 700_000;
/// It is then watched for so long, in milliseconds.
const QUIET_FOR: i64 = 900_000;
/// A frozen process stands still for so long, in milliseconds.
const FROZEN_FOR: i64 = 60_000;
/// And goes on for so long before it notices that it has lost its lease, in milliseconds.
const THAWED_FOR: i64 = 3_000;
/// Another process takes the lead after so long, in milliseconds.
const LEASE: i64 = 15_000;
/// A call without an answer is given up after so long, in milliseconds.
const CALL_TIME_LIMIT: i64 = 10_000;
/// So many turns without time passing are a loop without an end.
const TURNS_MAX: usize = 2_000;

/// What came of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The rules that were broken, in order.
    pub violations: Vec<Violation>,
    /// Requests of controllers to the API server, events left out.
    pub requests: u64,
    /// Which pairs it has reached.
    pub reached: Reached,
    /// The trace.
    pub trace: Trace,
}

/// One world, one seed.
pub struct Simulation {
    scenario: Scenario,
    now: Timestamp,
    /// When the first version was out: faults count from then.
    epoch: Option<Timestamp>,
    defect: Defect,
    server: Server,
    pods: Pods,
    proxies: Proxies,
    processes: Vec<Process>,
    /// Requests of processes that have died since: they arrive all the same.
    strays: BTreeMap<(Timestamp, u64), Flight>,
    made: u32,
    starts: Vec<(Timestamp, usize)>,
    agenda: BTreeMap<(Timestamp, usize), Disturbance>,
    /// Kinds whose next write is raced.
    raced: BTreeSet<Resource>,
    /// What happens to the leader's next requests.
    next_fates: VecDeque<Fate>,
    metrics: Metrics,
    absent: BTreeSet<Resource>,
    api_down_until: Option<Timestamp>,
    forbidden: BTreeMap<Resource, Timestamp>,
    requests: u64,
    /// When something else than a measurement was written last.
    written_at: Timestamp,
    /// From then on nothing may be written.
    settled_at: Option<Timestamp>,
    luck: Random,
    reached: Reached,
    /// The template whose release is under way, as far as coverage knows.
    released: String,
    /// The one in which the last focus was.
    focused: String,
    checkers: Checkers,
    trace: Trace,
}

/// Runs a scenario to its end, without a trace.
pub fn run(scenario: Scenario, defect: Defect) -> Outcome {
    live(scenario, defect, Trace::none())
}

/// Runs a scenario to its end and tells everything.
pub fn trace(scenario: Scenario, defect: Defect) -> Outcome {
    live(scenario, defect, Trace::new(start()))
}

fn live(scenario: Scenario, defect: Defect, trace: Trace) -> Outcome {
    let mut simulation = Simulation::new(scenario, defect, trace);
    simulation.live();
    Outcome {
        seed: simulation.scenario.seed,
        violations: simulation.checkers.violations,
        requests: simulation.requests,
        reached: simulation.reached,
        trace: simulation.trace,
    }
}

impl Simulation {
    fn new(scenario: Scenario, defect: Defect, trace: Trace) -> Self {
        let seed = scenario.seed;
        let now = start();
        let pods =
            Pods::new(Random::new(seed, "pods"), scenario.health.clone(), scenario.drain, scenario.nodes);
        let proxies = Proxies::new(scenario.proxies, Random::new(seed, "proxies"), scenario.proxy_delay);
        let mut simulation = Self {
            now,
            epoch: None,
            defect,
            server: Server::new(defect.of_server()),
            pods,
            proxies,
            processes: Vec::new(),
            strays: BTreeMap::new(),
            made: 0,
            starts: Vec::new(),
            agenda: BTreeMap::new(),
            raced: BTreeSet::new(),
            next_fates: VecDeque::new(),
            metrics: Metrics::new(&scenario.metrics, now),
            absent: BTreeSet::new(),
            api_down_until: None,
            forbidden: BTreeMap::new(),
            requests: 0,
            written_at: now,
            settled_at: None,
            luck: Random::new(seed, "simulation"),
            reached: Reached::new(scenario.strategy, scenario.router),
            released: String::new(),
            focused: String::new(),
            checkers: Checkers::default(),
            trace,
            scenario,
        };
        simulation.server.pruned = simulation.scenario.pruned;
        if !simulation.scenario.pruned.is_empty() {
            simulation.checkers.waits = Waits::Pruned;
        }
        for (target, body) in simulation.scenario.surroundings.clone() {
            simulation.server.call(&Call::Create { target, body }, now);
        }
        let (target, body) = (simulation.scenario.target(), simulation.scenario.rollout.clone());
        simulation.trace.say("user", || format!("applies {body}"), now);
        simulation.server.call(&Call::Create { target, body }, now);
        simulation.start(0, 500);
        simulation
    }

    fn live(&mut self) {
        self.live_until_settled();
        self.end();
    }

    fn live_until_settled(&mut self) {
        let end = plus(self.now, FIRST_RELEASE_MAX);
        self.run_until(end, |simulation| simulation.phase() == "Healthy");
        if self.checkers.violations.is_empty() && self.phase() != "Healthy" {
            let message = format!("the first version is {} after {FIRST_RELEASE_MAX} ms", self.phase());
            self.checkers.judge("9 settled", Err(message), self.now);
        }
        if !self.checkers.violations.is_empty() {
            return;
        }
        self.begin_faults();
        self.run_until(plus(self.now, FAULTS_END), |_| false);
        if !self.checkers.violations.is_empty() {
            return;
        }
        self.end_faults();
        self.written_at = self.now;
        self.run_until(plus(self.now, SETTLES_WITHIN), |simulation| simulation.is_idle());
        self.trace.say("world", || "has had the time to settle".to_owned(), self.now);
        self.settled_at = Some(self.now);
        self.run_until(plus(self.now, QUIET_FOR), |_| false);
    }

    fn end(&mut self) {
        let ready = i64::try_from(self.pods.ready()).unwrap_or(i64::MAX);
        if self.checkers.violations.is_empty() {
            self.checkers.end(&self.server, ready, self.now);
        }
        let rollout = self.server.get(&self.scenario.target()).cloned().unwrap_or_default();
        let status = rollout.get("status").unwrap_or(&Value::Null);
        self.trace.say("world", || format!("ends {status}"), self.now);
        for violation in &self.checkers.violations {
            self.trace.say(
                "VIOLATION",
                || format!("{}: {}", violation.rule, violation.message),
                violation.at,
            );
        }
    }

    fn is_idle(&self) -> bool {
        plus(self.written_at, IDLE) <= self.now
    }

    fn phase(&self) -> String {
        let rollout = self.server.get(&self.scenario.target());
        rollout.map_or(String::new(), |rollout| text(rollout, "/status/phase").to_owned())
    }

    fn begin_faults(&mut self) {
        self.trace.say("world", || "the first version is out: faults begin".to_owned(), self.now);
        self.epoch = Some(self.now);
        self.requests = 0;
        let agenda = self.scenario.disturbances.iter().enumerate();
        self.agenda = agenda
            .map(|(number, (time, disturbance))| ((plus(self.now, *time), number), disturbance.clone()))
            .collect();
    }

    fn end_faults(&mut self) {
        self.trace.say("world", || "no more faults".to_owned(), self.now);
        // What has gone comes back, and what was begun is completed; nothing new begins.
        for disturbance in std::mem::take(&mut self.agenda).into_values() {
            if matches!(
                disturbance,
                Disturbance::Found { .. }
                    | Disturbance::FoundCrd { .. }
                    | Disturbance::User(Act::Create | Act::EndPause | Act::EndRestart)
            ) {
                self.happen(&disturbance);
            }
        }
        self.scenario.fates.clear();
        self.scenario.focuses.clear();
        self.next_fates.clear();
        self.raced.clear();
    }

    fn run_until(&mut self, end: Timestamp, done: impl Fn(&Self) -> bool) {
        let mut turns = 0;
        while self.checkers.violations.is_empty() && !done(self) {
            let busy = self.turn();
            turns = if busy { turns + 1 } else { 0 };
            if busy && turns < TURNS_MAX {
                continue;
            }
            if turns >= TURNS_MAX {
                return self.checkers.judge("6 quiet", Err("turns without an end".to_owned()), self.now);
            }
            let next = self.next().unwrap_or(end).max(plus(self.now, 1));
            self.flow(next.min(end));
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            self.checkers.wait(next);
        }
    }

    fn next(&self) -> Option<Timestamp> {
        let processes = self.processes.iter().filter_map(|process| process.next(self.now));
        let others = [
            self.server.next(),
            self.pods.next(),
            self.proxies.next(),
            self.metrics_matter().then(|| self.metrics.next()),
            self.strays.keys().next().map(|(time, _)| *time),
            self.starts.iter().map(|(time, _)| *time).min(),
            self.agenda.keys().next().map(|(time, _)| *time),
        ];
        processes.chain(others.into_iter().flatten()).min()
    }

    /// Everything that is due now. True when the world has changed, so that more may be due.
    fn turn(&mut self) -> bool {
        let before = self.server.history().len();
        self.disturb();
        self.server.collect_garbage(self.now);
        self.pods.advance(&mut self.server, self.now);
        self.proxies.advance(&self.server, self.now);
        self.metrics.advance(self.now);
        self.checkers.look(&self.server, self.now);
        self.stand();
        self.start_due();
        self.arrive();
        for index in 0..self.processes.len() {
            let Some(process) = self.processes.get_mut(index) else { break };
            for request in process.turn(&self.server, self.now) {
                self.send(index, request);
            }
        }
        let now = self.now;
        self.processes.retain(|process| process.ends_at.is_none_or(|end| end > now));
        self.server.history().len() != before
    }

    // ---- processes ----

    fn start(&mut self, lag: usize, leads_after: i64) {
        self.made += 1;
        let leads_at = plus(self.now, leads_after);
        let (seed, delay) = (self.scenario.seed, self.scenario.watch_delay);
        self.trace.say(Who(self.made), || format!("starts, {lag} changes late"), self.now);
        self.processes.push(Process::new(self.made, self.defect, seed, lag, delay, leads_at, self.now));
    }

    fn start_due(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) = self.starts.drain(..).partition(|(time, _)| *time <= now);
        self.starts = later;
        for (_, lag) in due {
            self.start(lag, 1_000);
        }
    }

    /// The leading process: the last one that runs.
    fn leader(&self) -> Option<usize> {
        self.processes.iter().rposition(|process| process.is_awake(self.now) && process.ends_at.is_none())
    }

    fn crash(&mut self, index: usize) {
        if index >= self.processes.len() {
            return;
        }
        let process = self.processes.remove(index);
        self.trace.say(Who(process.number), || "dies".to_owned(), self.now);
        self.checkers.gone(process.number);
        let has_successor = process.ends_at.is_some();
        self.strays.extend(process.out.into_iter().map(|((time, number), flight)| {
            ((time, number + u64::from(process.number) * 1_000_000), flight)
        }));
        // One that stands still has lost its lease already.
        if !has_successor {
            self.start_another(0, 10_000);
        }
    }

    fn freeze(&mut self, index: usize) {
        let Some(process) = self.processes.get_mut(index) else { return };
        process.frozen_until = Some(plus(self.now, FROZEN_FOR));
        process.ends_at = Some(plus(self.now, FROZEN_FOR + THAWED_FOR));
        let who = Who(process.number);
        self.trace.say(who, || "stands still for a minute".to_owned(), self.now);
        self.start_another(LEASE, LEASE);
    }

    fn start_another(&mut self, least: i64, most: i64) {
        let after = self.luck.between(least, most);
        let lag = usize::try_from(self.luck.between(0, 20)).unwrap_or(0);
        self.starts.push((plus(self.now, after), lag));
    }

    fn send(&mut self, index: usize, request: Request) {
        let is_counted =
            self.epoch.is_some() && !is_about(&request.call, EVENTS) && !is_measurement(&request.call);
        let mut fate = None;
        if is_counted {
            self.requests += 1;
            fate = self.scenario.fates.get(&self.requests).copied();
            if self.leader() == Some(index) {
                fate = self.next_fates.pop_front().or(fate);
            }
        }
        if let Call::Patch { target, .. } | Call::Create { target, .. } = &request.call
            && self.raced.remove(&target.resource)
        {
            fate = Some(Fate::Raced);
        }
        if let Some(fate) = fate {
            self.reached.takes_effect(coverage::of_fate(fate).into(), self.now);
        }
        let slow = if is_measurement(&request.call) { self.measuring_takes() } else { 0 };
        let slow = slow + if let Some(Fate::Slow(milliseconds)) = fate { milliseconds } else { 0 };
        let number = self.requests;
        let Some(process) = self.processes.get_mut(index) else { return };
        let who = Who(process.number);
        let fault = fate.map_or(String::new(), |fate| format!(" {fate:?}"));
        self.trace.say(who, || format!("#{number}{fault} sends {}", describe(&request.call)), self.now);
        self.checkers.sent(process.number, &request.call, self.now);
        process.send(request, fate, slow, self.now);
    }

    // ---- requests that arrive ----

    fn arrive(&mut self) {
        while let Some(entry) = self.strays.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let flight = entry.remove();
            self.trace.say("stray", || describe(&flight.request.call), self.now);
            self.carry_out(&flight, None);
        }
        let mut index = 0;
        while let Some(process) = self.processes.get_mut(index) {
            match process.out.first_entry() {
                Some(entry) if entry.key().0 <= self.now => {
                    let flight = entry.remove();
                    self.land(index, &flight);
                }
                _ => index += 1,
            }
        }
    }

    /// A request of a process that runs arrives, or does not.
    fn land(&mut self, index: usize, flight: &Flight) {
        let lost = Reply::Lost("no answer within 10 s".to_owned());
        let (reply, takes) = match flight.fate {
            Some(Fate::RequestLost | Fate::CrashBefore) => (lost, CALL_TIME_LIMIT),
            Some(Fate::Refused(code, reason)) => (refused(code, reason, "by the simulation"), 0),
            Some(Fate::AnswerLost) => {
                self.carry_out(flight, Some(index));
                (lost, CALL_TIME_LIMIT)
            }
            Some(Fate::Raced) => {
                self.race(&flight.request.call);
                (self.carry_out(flight, Some(index)), 0)
            }
            Some(Fate::CrashAfter | Fate::Freeze | Fate::Slow(_)) | None => {
                (self.carry_out(flight, Some(index)), 0)
            }
        };
        let Some(process) = self.processes.get_mut(index) else { return };
        let who = Who(process.number);
        self.trace.say(who, || format!("gets {}", describe_reply(&flight.request.call, &reply)), self.now);
        let arrives = process.answer(flight.request.id, reply.clone(), takes, self.now);
        self.checkers.answered(process.number, &flight.request.call, &reply, arrives);
        match flight.fate {
            Some(Fate::CrashBefore | Fate::CrashAfter) => self.crash(index),
            Some(Fate::Freeze) if process.ends_at.is_none() => self.freeze(index),
            _ => {}
        }
    }

    /// Somebody changes the object that a request is about to change.
    fn race(&mut self, call: &Call) {
        match target(call) {
            Some(target) if target.resource == VIRTUAL_SERVICES => self.others_act(ThirdParty::ForeignRoute),
            Some(target) if target.resource == ROLLOUTS => {
                let act = self.luck.pick(
                    Act::Abort,
                    &[Act::Promote, Act::PromoteFull, Act::Retry, Act::Pause, Act::Scale(3), Act::Release(9)],
                );
                self.user_acts(act);
            }
            Some(target) if target.resource == REPLICA_SETS => match call {
                Call::Create { body, .. } => self.take_name(target, body),
                _ => self.others_act(ThirdParty::ScaleSet(1)),
            },
            _ => {}
        }
        self.checkers.look(&self.server, self.now);
    }

    /// Somebody creates another object under the name that a new one is to have.
    fn take_name(&mut self, target: &ObjectRef, body: &Value) {
        let mut body = body.clone();
        if let Some(metadata) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.remove("ownerReferences");
        }
        self.trace.say("third party", || format!("takes the name {}", target.name), self.now);
        self.server.call(&Call::Create { target: target.clone(), body }, self.now);
    }

    fn carry_out(&mut self, flight: &Flight, process: Option<usize>) -> Reply {
        let call = &flight.request.call;
        if let Call::Measure { query, .. } = call {
            let Query::Http(query) = query;
            let reply = Reply::Measured(self.measured(query, flight.sent_at));
            self.checkers.measured(&reply, self.now);
            return reply;
        }
        if self.api_down_until.is_some_and(|until| until > self.now) {
            return refused(503, "ServiceUnavailable", "the API server is overloaded");
        }
        if target(call).is_some_and(|target| self.absent.contains(&target.resource)) {
            return refused(404, "NotFound", "the server could not find the requested resource");
        }
        let is_forbidden =
            |target: &ObjectRef| self.forbidden.get(&target.resource).is_some_and(|until| *until > self.now);
        if !matches!(call, Call::Get(_)) && target(call).is_some_and(is_forbidden) {
            return refused(403, "Forbidden", "by the simulation");
        }
        let before = target(call).and_then(|target| self.server.get(target)).cloned();
        let reply = self.server.call(call, self.now);
        if let (Some(index), true, Reply::Refused { code: 404, .. }) =
            (process, is_about(call, ROLLOUTS), &reply)
            && let Some(process) = self.processes.get_mut(index)
        {
            // That it is gone is known then, too.
            process.proven_at = Some(flight.sent_at);
        }
        if let (Some(target), Reply::Object(object)) = (target(call), &reply) {
            let after = (!matches!(call, Call::Delete { .. })).then_some(object);
            self.judge(call, target, before.as_ref(), after, flight, process);
        }
        reply
    }

    /// Holds an answered call against the rules, and notes what it proves.
    fn judge(
        &mut self,
        call: &Call,
        target: &ObjectRef,
        before: Option<&Value>,
        after: Option<&Value>,
        flight: &Flight,
        process: Option<usize>,
    ) {
        let process = process.and_then(|index| self.processes.get_mut(index));
        let is_write = !matches!(call, Call::Get(_)) && before != after;
        // What a dead process has sent it had proven while it lived.
        let proven_at = process.as_ref().map_or(Some(flight.sent_at), |process| process.proven_at);
        if is_write && target.resource != EVENTS {
            let (sent_at, known_until) = (flight.sent_at, flight.known_until);
            let number = process.as_ref().map(|process| process.number);
            let write = Write { target, before, after, call, process: number, sent_at, known_until };
            self.checkers.written(&write, proven_at, &self.server, self.now);
            if !settled::may_go_on(target.resource, after) {
                self.written_at = self.now;
            }
            if self.settled_at.is_some() {
                self.checkers.written_late(&write, &describe(call), self.now);
            }
        }
        if let (EVENTS, Some(event)) = (target.resource, after) {
            let number = process.as_ref().map_or(0, |process| process.number);
            self.checkers.told(number, event, &self.server, self.now);
        }
        if let (ROLLOUTS, Some(process)) = (target.resource, process) {
            process.proven_at = Some(flight.sent_at);
        }
        self.checkers.look(&self.server, self.now);
    }
}

fn target(call: &Call) -> Option<&ObjectRef> {
    match call {
        Call::Get(target)
        | Call::Create { target, .. }
        | Call::Patch { target, .. }
        | Call::Delete { target, .. } => Some(target),
        Call::List { .. } | Call::Measure { .. } => None,
    }
}

fn is_about(call: &Call, resource: Resource) -> bool {
    target(call).is_some_and(|target| target.resource == resource)
}

fn is_measurement(call: &Call) -> bool {
    matches!(call, Call::Measure { .. })
}

fn describe(call: &Call) -> String {
    match call {
        Call::Get(target) => format!("get {} {}", target.resource.kind, target.name),
        Call::List { resource, labels, .. } => format!("list {} {labels}", resource.kind),
        Call::Create { target, body } if target.resource == EVENTS => {
            format!("create Event {}: {}", text(body, "/reason"), text(body, "/message"))
        }
        Call::Create { target, .. } => format!("create {} {}", target.resource.kind, target.name),
        Call::Patch { target, status, patch } => {
            let part = if *status { "/status" } else { "" };
            let (Patch::Merge(body) | Patch::Json(body)) = patch;
            format!("patch{part} {} {} {}", target.resource.kind, target.name, short(body))
        }
        Call::Delete { target, .. } => format!("delete {} {}", target.resource.kind, target.name),
        Call::Measure { .. } => "measure".to_owned(),
    }
}

fn describe_reply(call: &Call, reply: &Reply) -> String {
    let subject =
        target(call).map_or(String::new(), |target| format!(" for {} {}", target.resource.kind, target.name));
    match reply {
        Reply::Object(object) => format!("version {}{subject}", text(object, "/metadata/resourceVersion")),
        Reply::Objects(objects) => format!("{} objects", objects.len()),
        Reply::Refused { code, reason, .. } => format!("{code} {reason}{subject}"),
        Reply::Lost(why) => format!("{why}{subject}"),
        Reply::Measured(reply) => format!("{reply:?}"),
    }
}

fn start() -> Timestamp {
    Timestamp::from_second(START_SECOND).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// So long after its beginning, for messages.
pub fn seconds_since_start(time: Timestamp) -> SignedDuration {
    time.duration_since(start())
}
