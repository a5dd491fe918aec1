//! The loop: time jumps from one thing that happens to the next.

mod disturb;
pub(crate) mod outlook;
mod requests;
mod surroundings;

use crate::checkers::{Checkers, ENDLESS, Lost, PANIC, Violation, Waits};
use crate::coverage::Reached;
use crate::defects::Defect;
use crate::faults::{Disturbance, Fate};
use crate::process::{Flight, Process};
use crate::random::Random;
use crate::scenario::{FAULTS_END, Scenario};
use crate::trace::{Trace, Who};
use crate::user::{self, Act};
use crate::world::gateway::Gateway;
use crate::world::metrics::Metrics;
use crate::world::plus;
use crate::world::pods::Pods;
use crate::world::proxies::Proxies;
use crate::world::server::{Server, text};
use crate::world::webhooks;
use headgate_driver::io::{Call, ObjectRef, Resource};
use jiff::{SignedDuration, Timestamp};
use outlook::Tally;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

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
/// So often at most a hold ends in a settled world: once for each step, and in the background.
const HOLDS_MAX: usize = 12;
/// A frozen process stands still for so long, in milliseconds.
const FROZEN_FOR: i64 = 60_000;
/// And goes on for so long before it notices that it has lost its lease, in milliseconds.
const THAWED_FOR: i64 = 3_000;
/// Another process takes the lead after so long, in milliseconds.
const LEASE: i64 = 15_000;
/// A process that has just started has seen, decided and written what it found after so long, in milliseconds.
const CATCHES_UP: i64 = 15_000;
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
    /// Requests of clients that were lost.
    pub lost: Lost,
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
    gateway: Gateway,
    processes: Vec<Process>,
    /// Requests of processes that are no more, and such as were given up: they arrive all the same.
    strays: BTreeMap<(Timestamp, u64), Flight>,
    made: u32,
    starts: Vec<(Timestamp, usize)>,
    agenda: BTreeMap<(Timestamp, usize), Disturbance>,
    /// The Rollout was deleted and made anew, and knows nothing of the routers of the one before.
    is_made_anew: bool,
    /// Somebody else has written weights.
    has_foreign_weights: bool,
    /// The spec has left a router while somebody else's weight stood in its route and none of the record's: from then on nobody
    /// knows of it.
    is_route_forgotten: bool,
    /// The doors that the Rollout named when requests flowed last, and whether others lost some that were not counted.
    named: (&'static [Resource], bool),
    /// Kinds whose next write is raced.
    raced: BTreeSet<Resource>,
    /// What happens to the leader's next requests.
    next_fates: VecDeque<Fate>,
    metrics: Metrics,
    /// What clients have sent so far.
    sent: Tally,
    api_down_until: Option<Timestamp>,
    forbidden: BTreeMap<Resource, Timestamp>,
    requests: u64,
    /// Writes among them.
    writes: u64,
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

/// Runs a scenario to its end, heeding one rule only.
pub fn run_heeding(scenario: Scenario, defect: Defect, rule: &'static str) -> Outcome {
    let mut simulation = Simulation::new(scenario, defect, Trace::none());
    simulation.checkers.only = Some(rule);
    simulation.tell()
}

/// Runs a scenario to its end and tells everything.
pub fn trace(scenario: Scenario, defect: Defect) -> Outcome {
    live(scenario, defect, Trace::new(start()))
}

fn live(scenario: Scenario, defect: Defect, trace: Trace) -> Outcome {
    Simulation::new(scenario, defect, trace).tell()
}

impl Simulation {
    pub(crate) fn new(scenario: Scenario, defect: Defect, trace: Trace) -> Self {
        let mut simulation = Self::empty(scenario, defect, trace);
        simulation.checkers.is_forecast = simulation.given().is_some();
        for (target, body) in simulation.scenario.surroundings.clone() {
            simulation.server.call(&Call::Create { target, body }, simulation.now);
        }
        let (target, body) = (simulation.scenario.target(), simulation.scenario.rollout.clone());
        simulation.trace.say("user", || format!("applies {body}"), simulation.now);
        simulation.server.call(&Call::Create { target, body }, simulation.now);
        simulation.start(0, 500);
        simulation
    }

    /// A world in which another controller has ruled: its objects and pods are as it has left them, and now ours starts.
    pub(crate) fn found(scenario: Scenario, objects: &[(ObjectRef, Value)], pods: &[Value]) -> Self {
        let mut simulation = Self::empty(scenario, Defect::None, Trace::none());
        simulation.server.restore(objects, simulation.now);
        for pod in pods {
            simulation.pods.adopt(pod, &simulation.server);
        }
        simulation.epoch = Some(simulation.now);
        simulation.start(0, 500);
        simulation
    }

    fn empty(scenario: Scenario, defect: Defect, trace: Trace) -> Self {
        let seed = scenario.seed;
        let now = start();
        let pods =
            Pods::new(Random::new(seed, "pods"), scenario.health.clone(), scenario.drain, scenario.nodes);
        let proxies = Proxies::new(
            scenario.proxies,
            &scenario.doors,
            Random::new(seed, "proxies"),
            scenario.proxy_delay,
        );
        let gateway = Gateway::new(Random::new(seed, "gateway"), scenario.proxy_delay);
        let mut simulation = Self {
            now,
            epoch: None,
            defect,
            server: Server::new(defect.of_server()),
            pods,
            proxies,
            gateway,
            processes: Vec::new(),
            strays: BTreeMap::new(),
            made: 0,
            starts: Vec::new(),
            agenda: BTreeMap::new(),
            is_made_anew: false,
            has_foreign_weights: false,
            is_route_forgotten: false,
            named: (&[], false),
            raced: BTreeSet::new(),
            next_fates: VecDeque::new(),
            metrics: Metrics::new(&scenario.metrics, now),
            sent: Tally::default(),
            api_down_until: None,
            forbidden: BTreeMap::new(),
            requests: 0,
            writes: 0,
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
        simulation.checkers.wanted_by(simulation.scenario.webhooks.iter().map(|webhook| webhook.name));
        if !simulation.scenario.pruned.is_empty() {
            simulation.checkers.waits = Waits::Pruned;
        }
        simulation
    }

    fn tell(self) -> Outcome {
        self.tell_of(Self::live)
    }

    /// Who panics, in deciding or as the world itself, is told of like a broken rule, after all that was told until then.
    fn tell_of(mut self, live: impl FnOnce(&mut Self)) -> Outcome {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| live(&mut self))) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let message =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            let violation = Violation { rule: PANIC, message: message.to_owned(), at: self.now };
            self.checkers.violations.push(violation);
        }
        for Violation { at, rule, message } in &self.checkers.violations {
            self.trace.say("VIOLATION", || format!("{rule}: {message}"), *at);
        }
        Outcome {
            seed: self.scenario.seed,
            lost: self.checkers.lost.in_requests(self.scenario.metrics.per_minute()),
            violations: self.checkers.violations,
            requests: self.requests,
            reached: self.reached,
            trace: self.trace,
        }
    }

    fn live(&mut self) {
        self.live_until_settled();
        self.end();
    }

    fn live_until_settled(&mut self) {
        if self.scenario.from_the_start {
            self.trace.say("world", || "faults begin at once".to_owned(), self.now);
        } else if !self.release_first() {
            return;
        }
        self.begin_faults();
        self.run_until(plus(self.now, FAULTS_END), |_| false);
        if !self.checkers.violations.is_empty() {
            return;
        }
        self.end_faults();
        // A hold that ends, at any time, lets a release go on, which then must settle.
        for _ in 0..HOLDS_MAX {
            if self.settled_at.is_some() || !self.checkers.violations.is_empty() {
                return;
            }
            self.written_at = self.now;
            self.run_until(plus(self.now, SETTLES_WITHIN), Self::is_idle);
            self.trace.say("world", || "has had the time to settle".to_owned(), self.now);
            self.settled_at = Some(self.now);
            self.run_until(plus(self.now, QUIET_FOR), |_| false);
        }
        if self.settled_at.is_none() {
            let message = format!("it is held and goes on more than {HOLDS_MAX} times");
            self.checkers.judge("9 settled", Err(message), self.now);
        }
    }

    /// The first version goes out in a world in which nothing fails; true when it is out.
    fn release_first(&mut self) -> bool {
        let end = plus(self.now, FIRST_RELEASE_MAX);
        let is_judged = |simulation: &Self| ["Healthy", "Degraded"].contains(&simulation.phase().as_str());
        self.run_until(end, is_judged);
        if self.checkers.violations.is_empty() && self.phase() == "Degraded" {
            // Measured before anybody has sent it a request: the user tries again.
            self.user_acts(Act::Retry);
            self.run_until(end, |simulation| simulation.phase() == "Healthy");
        }
        if self.checkers.violations.is_empty() && self.phase() != "Healthy" {
            let message = format!("the first version is {} after {FIRST_RELEASE_MAX} ms", self.phase());
            self.checkers.judge("9 settled", Err(message), self.now);
        }
        self.trace.say("world", || "the first version is out: faults begin".to_owned(), self.now);
        self.checkers.violations.is_empty()
    }

    fn end(&mut self) {
        let ready = i64::try_from(self.pods.ready()).unwrap_or(i64::MAX);
        if self.checkers.violations.is_empty() {
            self.checkers.end(&self.server, ready, self.now);
            self.checkers.end_of_pods(&self.pods, &self.server, self.now);
        }
        let rollout = self.server.get(&self.scenario.target()).cloned().unwrap_or_default();
        let status = rollout.get("status").unwrap_or(&Value::Null);
        self.trace.say("world", || format!("ends {status}"), self.now);
        if self.checkers.violations.is_empty() && self.scenario.retires {
            self.retire();
        }
    }

    /// The Rollout is deleted, and does not come back.
    fn retire(&mut self) {
        self.trace.say("user", || "deletes the Rollout for good".to_owned(), self.now);
        let target = self.scenario.target();
        self.server.remove(&target, self.now);
        if self.server.get(&target).is_some() {
            // A finalizer has kept it: whoever put it there takes it away.
            user::act(Act::LetGo, &self.scenario, &mut self.server, self.now);
        }
        (self.settled_at, self.written_at) = (None, self.now);
        self.run_until(plus(self.now, SETTLES_WITHIN), Self::is_idle);
        if self.checkers.violations.is_empty() {
            self.checkers.end_of_deleted(&self.server, self.now);
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
        self.epoch = Some(self.now);
        (self.requests, self.writes) = (0, 0);
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
                    | Disturbance::User(Act::Create | Act::EndPause)
            ) {
                self.happen(&disturbance);
            }
        }
        self.scenario.fates.clear();
        self.scenario.focuses.clear();
        self.scenario.ambushes.clear();
        self.next_fates.clear();
        self.raced.clear();
        self.pods.stop_failing();
    }

    pub(crate) fn run_until(&mut self, end: Timestamp, done: impl Fn(&Self) -> bool) {
        let mut turns = 0;
        while self.checkers.violations.is_empty() && !done(self) {
            let busy = self.turn();
            turns = if busy { turns + 1 } else { 0 };
            if busy && turns < TURNS_MAX {
                continue;
            }
            if turns >= TURNS_MAX {
                return self.checkers.judge(ENDLESS, Err("turns without an end".to_owned()), self.now);
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
            self.gateway.next(),
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
        self.pods.record.trace(&mut self.trace);
        if std::mem::take(&mut self.pods.has_crashed) {
            self.checkers.excuse(self.now);
        }
        self.gateway.advance(&mut self.server, self.now);
        self.checkers.look_at_pods(&self.pods, &self.server, self.now);
        self.checkers.causes.clone_from(&self.pods.record.causes);
        self.proxies.advance(&self.server, &mut self.trace, self.now);
        self.metrics.advance(self.now);
        self.checkers.look(&self.server, self.now);
        self.stand();
        self.start_due();
        self.arrive();
        for index in 0..self.processes.len() {
            let Some(process) = self.processes.get_mut(index) else { break };
            for request in process.turn(&self.server, &self.pods.record, self.now) {
                self.send(index, request);
            }
        }
        let now = self.now;
        let is_over = |process: &mut Process| process.ends_at.is_some_and(|end| end <= now);
        for process in self.processes.extract_if(.., is_over).collect::<Vec<_>>() {
            self.leave(process);
        }
        self.server.history().len() != before
    }

    // ---- processes ----

    fn start(&mut self, lag: usize, leads_after: i64) {
        self.made += 1;
        let leads_at = plus(self.now, leads_after);
        let (seed, delay) = (self.scenario.seed, self.scenario.watch_delay);
        self.trace.say(Who(self.made), || format!("starts, {lag} changes late"), self.now);
        let mut process = Process::new(self.made, self.defect, seed, lag, delay, leads_at, self.now);
        self.checkers.started(self.made, self.now);
        for kind in &self.server.absent {
            process.watches.uninstall(*kind, &self.server, self.now);
        }
        process.notify(webhooks::subscriptions(&self.scenario.webhooks), self.now);
        self.processes.push(process);
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

    /// A process dies; nobody takes over for at least so many milliseconds.
    fn crash(&mut self, index: usize, away: i64) {
        if index >= self.processes.len() {
            return;
        }
        let process = self.processes.remove(index);
        self.trace.say(Who(process.number), || "dies".to_owned(), self.now);
        let has_successor = process.ends_at.is_some();
        self.leave(process);
        // One that stands still has lost its lease already.
        if !has_successor {
            self.start_another(away, away + 10_000);
        }
    }

    /// A process is no more; what it has sent arrives all the same.
    fn leave(&mut self, process: Process) {
        self.checkers.gone(process.number, self.now);
        self.strays.extend(process.out.into_iter().map(|((time, number), flight)| {
            ((time, number + u64::from(process.number) * 1_000_000), flight)
        }));
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
        self.checkers.hold_up(None, plus(self.now, after + CATCHES_UP));
        let lag = usize::try_from(self.luck.between(0, 20)).unwrap_or(0);
        self.starts.push((plus(self.now, after), lag));
    }
}

fn start() -> Timestamp {
    Timestamp::from_second(START_SECOND).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// So long after its beginning, for messages.
pub fn seconds_since_start(time: Timestamp) -> SignedDuration {
    time.duration_since(start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_after_all_that_has_happened_until_then() {
        let simulation = Simulation::new(Scenario::new(1), Defect::None, Trace::new(start()));
        let outcome = simulation.tell_of(|simulation| {
            simulation.trace.say("world", || "turns".to_owned(), simulation.now);
            panic!("by the test");
        });
        let told: Vec<_> = outcome.violations.iter().map(|one| (one.rule, one.message.as_str())).collect();
        assert_eq!(told, [(PANIC, "by the test")]);
        let lines = outcome.trace.lines();
        assert!(
            lines.last().is_some_and(|last| last.ends_with("VIOLATION    panic: by the test")),
            "{lines:#?}"
        );
    }
}
