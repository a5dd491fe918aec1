//! Carries a case out in the virtual world.

use super::{Act, Case, Program, answer, gone, in_vain, relations};
use crate::random::Random;
use crate::world::jobs::{Jobs, Work};
use crate::world::plus;
use crate::world::pods::{Health, Pods};
use crate::world::server::{Change, Server, ServerBug, reference};
use headgate_driver::io::{ObjectRef, Reply};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// 2026-11-21T09:00:00Z: as good as any.
const START_SECOND: i64 = 1_795_251_600;
/// What is awaited comes within so many milliseconds, or never.
const PATIENCE: i64 = 600_000;
/// Pods drain for so long, in milliseconds.
const DRAIN: i64 = 2_000;

/// The answers of a case, one for each step.
pub fn run(case: &Case) -> Vec<Value> {
    let mut world = World::new(case);
    let mut answers = Vec::new();
    let mut by_name = BTreeMap::new();
    for step in &case.steps {
        let answer = world.act(case, &step.act, &by_name);
        by_name.insert(step.name, answer.clone());
        answers.push(answer);
    }
    answers
}

struct World {
    server: Server,
    pods: Pods,
    jobs: Jobs,
    now: Timestamp,
}

impl World {
    fn new(case: &Case) -> Self {
        let mut server = Server::new(ServerBug::None);
        server.pruned = case.pruned;
        server.absent.clone_from(&case.absent);
        let health = Program::ALL.iter().map(|program| (program.image().to_owned(), health(*program)));
        let works = Program::ALL.iter().map(|program| (program.image().to_owned(), work(*program)));
        Self {
            server,
            pods: Pods::new(Random::new(1, case.name), health.collect(), DRAIN, 1),
            jobs: Jobs::new(works.collect()),
            now: Timestamp::from_second(START_SECOND).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    fn act(&mut self, case: &Case, act: &Act, answers: &BTreeMap<&str, Value>) -> Value {
        match act {
            Act::Call(call) => {
                let reply = self.server.call(&case.filled_in(call, answers), self.now);
                answer(&reply)
            }
            Act::Await(target, wanted) => {
                let target = case.placed(target);
                self.go_on_until(|server| server.get(&target).is_some_and(wanted));
                match self.server.get(&target) {
                    Some(object) if wanted(object) => answer(&Reply::Object(object.clone())),
                    last => in_vain(last),
                }
            }
            Act::AwaitGone(target) => {
                let target = case.placed(target);
                self.go_on_until(|server| server.get(&target).is_none());
                self.server.get(&target).map_or_else(gone, |last| in_vain(Some(last)))
            }
            Act::History(target) => json!({ "events": self.events(&case.placed(target)) }),
            Act::Relations(target, relations) => {
                relations::answer(&self.states(&case.placed(target)), relations)
            }
            Act::DeletePod => json!({ "done": self.pods.delete_one(self.now).is_some() }),
            Act::FailProbe(seconds) => {
                let until = plus(self.now, seconds * 1_000);
                json!({ "done": self.pods.fail_probe(until, self.now) })
            }
        }
    }

    /// Lets time jump from one thing that happens to the next.
    fn go_on_until(&mut self, done: impl Fn(&Server) -> bool) {
        let end = plus(self.now, PATIENCE);
        while !done(&self.server) {
            let before = self.server.history().len();
            self.server.collect_garbage(self.now);
            self.pods.advance(&mut self.server, self.now);
            self.jobs.advance(&mut self.server, self.now);
            if self.server.history().len() != before {
                continue;
            }
            let times = [self.server.next(), self.pods.next(), self.jobs.next()];
            match times.into_iter().flatten().min() {
                Some(next) if next <= end => self.now = next.max(plus(self.now, 1)),
                _ => return,
            }
        }
    }

    fn events(&self, target: &ObjectRef) -> Vec<Value> {
        let mut events = Vec::new();
        let mut is_there = false;
        for (_, change) in self.server.history() {
            let (Change::Applied(resource, object) | Change::Deleted(resource, object)) = change;
            if *resource != target.resource || reference(*resource, object) != *target {
                continue;
            }
            let kind = match change {
                Change::Applied(..) if is_there => "MODIFIED",
                Change::Applied(..) => "ADDED",
                Change::Deleted(..) => "DELETED",
            };
            is_there = kind != "DELETED";
            events.push(json!({ "type": kind, "object": object }));
        }
        events
    }

    fn states(&self, target: &ObjectRef) -> Vec<Value> {
        self.events(target)
            .into_iter()
            .filter_map(|mut event| event.get_mut("object").map(Value::take))
            .collect()
    }
}

fn health(program: Program) -> Health {
    let ready_after = match program {
        Program::Serves | Program::Succeeds | Program::Fails => Some(500),
        Program::ServesLate => Some(5_000),
        Program::NeverReady => None,
    };
    Health {
        scheduled_after: 10,
        pulled_after: 0,
        ready_after,
        has_image: true,
        spread: 100,
        errors_percent: 0,
        latency: 0,
    }
}

fn work(program: Program) -> Work {
    match program {
        Program::Succeeds => Work { takes: Some(1_000), succeeds: true },
        Program::Fails => Work { takes: Some(1_000), succeeds: false },
        Program::Serves | Program::ServesLate | Program::NeverReady => Work { takes: None, succeeds: false },
    }
}
