//! Carries a case out in the virtual world.

use super::pods::{BUDGETS, Known, PodAct, room};
use super::{Act, Case, Program, answer, gone, in_vain, relations};
use crate::random::Random;
use crate::world::jobs::{Jobs, Work};
use crate::world::plus;
use crate::world::pods::{Health, Pods, evicted};
use crate::world::server::{Change, Server, ServerBug, number, reference, text};
use headgate_api::At;
use headgate_driver::io::{Call, ObjectRef, Reply};
use headgate_driver::resources::{PODS, REPLICA_SETS};
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
    /// What the case has seen of pods.
    known: Known,
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
            known: Known::default(),
            now: Timestamp::from_second(START_SECOND).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    fn act(&mut self, case: &Case, act: &Act, answers: &BTreeMap<&str, Value>) -> Value {
        match act {
            Act::Call(call) => {
                let reply = self.call(&case.filled_in(call, answers));
                answer(&reply)
            }
            Act::Await(target, wanted) => {
                let target = case.placed(target);
                self.go_on_until(|world| world.server.get(&target).is_some_and(wanted));
                match self.server.get(&target) {
                    Some(object) if wanted(object) => answer(&Reply::Object(object.clone())),
                    last => in_vain(last),
                }
            }
            Act::AwaitGone(target) => {
                let target = case.placed(target);
                self.go_on_until(|world| world.server.get(&target).is_none());
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
            Act::Pods(act) => self.pod_act(case, act),
            Act::AwaitBudget { target, needed, healthy } => {
                let target = case.placed(target);
                let is_counted = |world: &mut Self| world.room_of(&target) == Some((*needed, *healthy));
                self.go_on_until(is_counted);
                let counted = self.room_of(&target).filter(|room| *room == (*needed, *healthy));
                counted.map_or_else(|| in_vain(None), |(needed, healthy)| room(needed, healthy))
            }
        }
    }

    /// Pods answer for themselves, as in a simulation.
    fn call(&mut self, call: &Call) -> Reply {
        match call {
            Call::List { resource: PODS, namespace, labels } => {
                Reply::Objects(self.pods.list(namespace, labels))
            }
            Call::Evict { target, uid } => {
                let room = self.room(target);
                let answer = self.pods.evict(target, uid, room, self.now);
                answer.map_or_else(|refusal| refusal, |_| evicted())
            }
            Call::Patch { target, patch, .. } if target.resource == PODS => self.pods.patch(target, patch),
            call => self.server.call(call, self.now),
        }
    }

    fn pod_act(&mut self, case: &Case, act: &PodAct) -> Value {
        let call = self.known.call(act, case);
        if let PodAct::Await(_) = act {
            self.go_on_until(|world| Known::is_awaited(act, &world.call(&call)));
        } else {
            // What was asked for a moment ago is told by now, and nothing else has happened.
            self.pods.advance(&mut self.server, self.now);
        }
        let reply = self.call(&call);
        if Known::is_awaited(act, &reply) { self.known.answer(act, &reply) } else { in_vain(None) }
    }

    /// The budget that selects a pod: how many healthy pods it needs, and how many of those that it selects there are.
    fn room(&self, pod: &ObjectRef) -> Option<(i64, i64)> {
        let pods = self.pods.list(&pod.namespace, "");
        let pod = pods.iter().find(|one| text(one, "/metadata/name") == pod.name)?;
        let (budget, _) =
            self.server.all(BUDGETS).find(|(_, budget)| selects(budget, pod.at("/metadata/labels")))?;
        self.room_of(budget)
    }

    /// A simulation counts in the same way.
    fn room_of(&self, budget: &ObjectRef) -> Option<(i64, i64)> {
        let budget = self.server.get(budget)?;
        let sets = self.server.all(REPLICA_SETS).map(|(_, set)| set);
        let selected: Vec<&Value> =
            sets.filter(|set| selects(budget, set.at("/spec/template/metadata/labels"))).collect();
        let wanted: i64 = selected.iter().map(|set| number(set, "/spec/replicas")).sum();
        let is_selected = |uid: &str| selected.iter().any(|set| text(set, "/metadata/uid") == uid);
        let healthy = self.pods.truth().filter(|pod| pod.ready_since.is_some() && is_selected(&pod.set_uid));
        Some(((wanted - number(budget, "/spec/maxUnavailable")).max(0), i64::try_from(healthy.count()).ok()?))
    }

    /// Lets time jump from one thing that happens to the next.
    fn go_on_until(&mut self, done: impl Fn(&mut Self) -> bool) {
        let end = plus(self.now, PATIENCE);
        while !done(self) {
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

/// Whether a budget is for pods with these labels.
fn selects(budget: &Value, labels: Option<&Value>) -> bool {
    let wanted = budget.at("/spec/selector/matchLabels").and_then(Value::as_object);
    let has = |(key, value): (&String, &Value)| labels.and_then(|labels| labels.get(key)) == Some(value);
    wanted.is_some_and(|wanted| wanted.iter().all(has))
}

fn health(program: Program) -> Health {
    let ready_after = match program {
        Program::Serves | Program::Succeeds | Program::Fails => Some(500),
        Program::ServesLate | Program::Lingers => Some(5_000),
        Program::NeverReady | Program::NoImage => None,
    };
    Health {
        scheduled_after: 10,
        pulled_after: 0,
        ready_after,
        has_image: program != Program::NoImage,
        crashes: false,
        spread: 100,
        errors_percent: 0,
        latency: 0,
    }
}

fn work(program: Program) -> Work {
    match program {
        Program::Succeeds => Work { takes: Some(1_000), succeeds: true },
        Program::Fails => Work { takes: Some(1_000), succeeds: false },
        Program::Serves | Program::ServesLate | Program::NeverReady | Program::Lingers | Program::NoImage => {
            Work { takes: None, succeeds: false }
        }
    }
}
