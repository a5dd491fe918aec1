//! Headgate takes over what another controller has left: the objects of one Rollout, as they were recorded, with their
//! uids, times and statuses, in a world without faults. Every write is held against the rules, as in a seed.
//!
//! What it deliberately lacks: any opinion on what may change; that is the tests' to say.

mod changes;
mod readable;

pub use changes::{changes, is_ours};
pub use readable::unreadable;

use crate::faults::Disturbance;
use crate::scenario::Scenario;
use crate::simulation::Simulation;
use crate::user::{self, Act};
use crate::world::given::{Given, GivenMetric};
use crate::world::jobs::JOBS;
use crate::world::metrics::Source;
use crate::world::plus;
use crate::world::pods::Health;
use crate::world::prune::OURS;
use crate::world::server::{Change, is_of, reference, text};
use headgate_driver::io::{ObjectRef, Resource};
use headgate_driver::resources::{ANALYSIS_RUNS, PODS, ROLLOUTS};
use headgate_driver::{Driver, Options};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// Pods of new versions are ready after so long, in milliseconds.
const READY_AFTER: i64 = 3_000;

/// What is refused is refused at the first look.
const IS_SAID_WITHIN: SignedDuration = SignedDuration::from_mins(1);

/// Whose CRDs are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crds {
    /// Headgate's.
    Ours,
    /// Those of Argo Rollouts, which drop our own fields.
    Theirs,
}

/// A world that was taken over.
pub struct World {
    simulation: Simulation,
    ignored: Vec<String>,
}

impl World {
    /// Headgate starts where these objects are, the Rollout among them. Metrics of analyses are as given, and of others a
    /// value is assumed that their own conditions accept. `None` without a Rollout.
    pub fn take_over(objects: &[Value], metrics: Vec<GivenMetric>, crds: Crds) -> Option<Self> {
        let watched = Driver::new(Options::default()).watches().into_iter().map(|watch| watch.resource);
        let known: Vec<Resource> = watched.chain([JOBS]).filter(|resource| *resource != PODS).collect();
        let (mut stored, mut pods, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
        for object in objects {
            match known.iter().find(|resource| is_of(object, **resource)) {
                Some(resource) => stored.push((reference(*resource, object), object.clone())),
                None if is_of(object, PODS) => pods.push(object.clone()),
                None => ignored.push(format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"))),
            }
        }
        let rollout = stored.iter().find(|(target, _)| target.resource == ROLLOUTS)?.1.clone();
        let simulation = Simulation::found(scenario(rollout, metrics, crds), &stored, &pods);
        Some(Self { simulation, ignored })
    }

    /// Objects of kinds that neither Headgate nor the world knows.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.simulation.now()
    }

    /// Time passes.
    pub fn pass(&mut self, time: SignedDuration) {
        self.pass_until(time, |_| false);
    }

    /// Time passes until something is so of the Rollout, at most so much. False when it never was.
    pub fn pass_until(&mut self, most: SignedDuration, holds: impl Fn(&Value) -> bool) -> bool {
        let end = plus(self.now(), i64::try_from(most.as_millis()).unwrap_or(i64::MAX));
        self.simulation.run_until(end, |simulation| holds(simulation.rollout()));
        holds(self.rollout())
    }

    /// The user acts now.
    pub fn act(&mut self, act: Act) {
        self.simulation.plan(0, Disturbance::User(act));
    }

    /// Somebody else changes an object now, by a merge patch.
    pub fn edit(&mut self, target: &ObjectRef, body: Value) {
        let now = self.now();
        user::edit(target, body, self.simulation.server_mut(), now);
    }

    /// The Rollout as it is stored.
    pub fn rollout(&self) -> &Value {
        self.simulation.rollout()
    }

    /// An object as it is stored.
    pub fn get(&self, target: &ObjectRef) -> Option<&Value> {
        self.simulation.server().get(target)
    }

    /// All objects of a kind.
    pub fn all(&self, resource: Resource) -> impl Iterator<Item = &Value> {
        self.simulation.server().all(resource).map(|(_, object)| object)
    }

    /// Each state of the Rollout, in order.
    pub fn course(&self) -> impl Iterator<Item = &Value> {
        self.simulation.server().history().iter().filter_map(|(_, change)| match change {
            Change::Applied(ROLLOUTS, rollout) => Some(rollout),
            Change::Applied(..) | Change::Deleted(..) => None,
        })
    }

    /// The rule that was broken first, if one was.
    pub fn broken_rule(&self) -> Option<String> {
        self.simulation.broken_rule()
    }
}

/// How Headgate says that it does not carry out something that these objects ask for; `None` when it takes them over.
pub fn refusal(objects: &[Value]) -> Option<String> {
    let mut world = World::take_over(objects, Vec::new(), Crds::Ours)?;
    world.pass(IS_SAID_WITHIN);
    let mut told = std::iter::once(world.rollout()).chain(world.all(ANALYSIS_RUNS));
    told.find_map(|object| {
        let message = text(object, "/status/message");
        message.contains("not supported").then(|| message.to_owned())
    })
}

fn scenario(rollout: Value, metrics: Vec<GivenMetric>, crds: Crds) -> Scenario {
    let pruned: &[&str] = if crds == Crds::Theirs { OURS } else { &[] };
    Scenario {
        health: BTreeMap::from([(String::new(), Health::good(0, READY_AFTER))]),
        pruned,
        metrics: Source::Given(Box::new(Given::new(metrics))),
        ..Scenario::calm(rollout)
    }
}
