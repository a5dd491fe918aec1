//! What a world is: a Rollout and its surroundings, how pods behave, and everything that will go wrong, all made in
//! advance, so that single faults can be left out when a failure is to be understood.

mod additions;
mod ambushes;
mod faults;
pub(crate) mod objects;
pub(crate) mod plan;
mod steps;

pub use ambushes::Ambush;
pub(crate) use steps::analysis;
pub use steps::steps;

use crate::faults::{Disturbance, Fate};
use crate::kinds::{Fault, Router, Step, Strategy, UserAct};
use crate::world::metrics::Source;
use crate::world::pods::{Budget, Health};
use crate::world::routes;
use crate::world::server::{reference, text};
use crate::world::webhooks::Webhook;
use headgate_driver::io::{ObjectRef, Resource};
use headgate_driver::resources::{CLUSTER_ANALYSIS_TEMPLATES, ROLLOUTS};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Namespace of everything that a seed makes.
pub const NAMESPACE: &str = "store";
/// Name of the Rollout that a seed makes.
pub const ROLLOUT: &str = "shop";
/// Images of a seed are this and the number of the version.
const IMAGE: &str = "shop:";

/// Of what lasts as long as the world a failure may not need: the pruned fields, the budget, the webhooks, what ails versions.
const LASTING: usize = 5;

/// Names an object of a seed.
pub fn at(resource: Resource, name: &str) -> ObjectRef {
    ObjectRef { resource, namespace: NAMESPACE.to_owned(), name: name.to_owned() }
}

/// What is to happen when a release first stands at a step of this kind.
#[derive(Clone, Debug)]
pub struct Focus {
    /// The step.
    pub step: Step,
    /// A fault, `None` for one that lasts as long as the world.
    pub fault: Option<Disturbance>,
    /// Acts of the user, each so many milliseconds later.
    pub acts: Vec<(i64, Disturbance)>,
}

/// Everything about a world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed: of what is not planned, too, such as how long a request takes.
    pub seed: u64,
    /// How releases go on.
    pub strategy: Strategy,
    /// The router.
    pub router: Router,
    /// Where users' requests come in: the kinds of routes of all routers that the Rollout ever has.
    pub doors: Vec<Resource>,
    /// The Rollout as the user first applies it, with the pod template of version 1.
    pub rollout: Value,
    /// Objects that are there before the Rollout.
    pub surroundings: Vec<(ObjectRef, Value)>,
    /// Images are this and the number of the version.
    pub image: String,
    /// Images by number, and how their pods behave.
    pub health: BTreeMap<String, Health>,
    /// Fields of a Rollout that the installed CRD drops, by their paths.
    pub pruned: &'static [&'static str],
    /// Nodes.
    pub nodes: i64,
    /// Proxies.
    pub proxies: usize,
    /// The longest that a proxy takes to learn something, in milliseconds.
    pub proxy_delay: i64,
    /// The longest usual delay of a watch event, in milliseconds.
    pub watch_delay: i64,
    /// Pods serve for so long after they were told to end, in milliseconds.
    pub drain: i64,
    /// Where answers to measurements come from.
    pub metrics: Source,
    /// What keeps pods from being evicted.
    pub budget: Option<Budget>,
    /// A user who restarts asks for it in so many milliseconds.
    pub restarts_in: i64,
    /// A Rollout that is deleted is applied again in so many milliseconds.
    pub recreated_in: i64,
    /// At the end of the world the user deletes the Rollout for good.
    pub retires: bool,
    /// Webhooks that are told of the Rollout.
    pub webhooks: Vec<Webhook>,
    /// What happens at a step, the first in one release, the next in a later one.
    pub focuses: Vec<Focus>,
    /// Faults begin with the Rollout itself, and not once its first version is out.
    pub from_the_start: bool,
    /// What happens in the world, at this many milliseconds after faults begin.
    pub disturbances: Vec<(i64, Disturbance)>,
    /// What happens to writes, by their number.
    pub fates: BTreeMap<u64, Fate>,
    /// Where a process dies or stands still.
    pub ambushes: Vec<Ambush>,
}

/// Until then, in milliseconds, faults happen.
pub const FAULTS_END: i64 = 600_000;

impl Scenario {
    /// The scenario of a seed.
    pub fn new(seed: u64) -> Self {
        plan::of(seed)
    }

    /// A world without faults around this Rollout, whose metrics are good. How its pods behave is left to say.
    pub fn calm(rollout: Value) -> Self {
        let router = Router::of(&rollout);
        let image = text(&rollout, "/spec/template/spec/containers/0/image");
        Self {
            seed: 1,
            strategy: Strategy::of(&rollout),
            router,
            doors: routes::kinds(router).to_vec(),
            surroundings: Vec::new(),
            image: format!("{image}-next-"),
            health: BTreeMap::new(),
            pruned: &[],
            nodes: 1,
            proxies: 1,
            proxy_delay: 500,
            watch_delay: 50,
            drain: 1_000,
            metrics: Source::Given(Box::default()),
            budget: None,
            restarts_in: 0,
            recreated_in: 8_000,
            retires: false,
            webhooks: Vec::new(),
            focuses: Vec::new(),
            from_the_start: false,
            disturbances: Vec::new(),
            fates: BTreeMap::new(),
            ambushes: Vec::new(),
            rollout,
        }
    }

    /// Leaves out faults by their numbers: disturbances first, then fates, focuses, and ambushes.
    #[must_use]
    pub fn without(&self, numbers: &BTreeSet<usize>) -> Self {
        let mut scenario = self.clone();
        let kept = |number: usize| !numbers.contains(&number);
        let disturbances = self.disturbances.iter().enumerate();
        scenario.disturbances =
            disturbances.filter(|(number, _)| kept(*number)).map(|(_, one)| one.clone()).collect();
        let fates = self.fates.iter().enumerate();
        let first = self.disturbances.len();
        scenario.fates =
            fates.filter(|(number, _)| kept(first + number)).map(|(_, (at, fate))| (*at, *fate)).collect();
        let first = first + self.fates.len();
        let focuses = self.focuses.iter().enumerate();
        scenario.focuses =
            focuses.filter(|(number, _)| kept(first + number)).map(|(_, focus)| focus.clone()).collect();
        let first = first + self.focuses.len();
        let ambushes = self.ambushes.iter().enumerate();
        scenario.ambushes =
            ambushes.filter(|(number, _)| kept(first + number)).map(|(_, one)| *one).collect();
        let first = first + self.ambushes.len();
        let lasting: [fn(&mut Self); LASTING] = [
            |scenario| scenario.pruned = &[],
            |scenario| scenario.budget = None,
            |scenario| scenario.webhooks.clear(),
            |scenario| scenario.health.values_mut().for_each(Health::recover),
            |scenario| scenario.from_the_start = false,
        ];
        let left_out = lasting.iter().enumerate().filter(|(number, _)| !kept(first + number));
        left_out.for_each(|(_, leave_out)| leave_out(&mut scenario));
        scenario
    }

    /// What [`Scenario::without`] can leave out: faults, acts, and what lasts as long as the world.
    pub fn pieces(&self) -> usize {
        self.faults() + LASTING
    }

    /// How many faults and acts there are.
    pub fn faults(&self) -> usize {
        self.disturbances.len() + self.fates.len() + self.focuses.len() + self.ambushes.len()
    }

    /// Faults that last as long as this version of the world.
    pub fn lasting(&self, image: &str) -> Vec<Fault> {
        let health = self.health.get(image);
        let holds = [
            (Fault::Pruned, !self.pruned.is_empty()),
            (Fault::NeverReady, health.is_some_and(|health| health.ready_after.is_none())),
            (
                Fault::BadVersion,
                health.is_some_and(|health| health.errors_percent > 0 || health.latency > 500),
            ),
        ];
        holds.into_iter().filter(|(_, holds)| *holds).map(|(fault, _)| fault).collect()
    }

    /// The Rollout's reference.
    pub fn target(&self) -> ObjectRef {
        reference(ROLLOUTS, &self.rollout)
    }

    /// Names an object beside the Rollout.
    pub fn at(&self, resource: Resource, name: &str) -> ObjectRef {
        ObjectRef { resource, namespace: self.target().namespace, name: name.to_owned() }
    }

    /// True when the templates of analyses are the cluster's, not the namespace's.
    pub fn has_clusterwide_templates(&self) -> bool {
        self.surroundings.iter().any(|(target, _)| target.resource == CLUSTER_ANALYSIS_TEMPLATES)
    }

    /// The pod template of a version: this one with another image.
    pub fn pod_template(&self, template: &Value, version: i64) -> Value {
        let mut template = template.clone();
        if let Some(image) = template.pointer_mut("/spec/containers/0/image") {
            *image = json!(self.image_of(version));
        }
        template
    }

    /// The image of a version.
    pub fn image_of(&self, version: i64) -> String {
        format!("{}{version}", self.image)
    }
}

/// What a row of the covering plan asks of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) strategy: Strategy,
    pub(crate) router: Router,
    pub(crate) step: Step,
    pub(crate) fault: Fault,
    pub(crate) acts: [UserAct; 2],
}
