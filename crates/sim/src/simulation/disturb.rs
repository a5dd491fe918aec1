//! What happens in the world: the user, others, and faults that are not of requests.

use super::Simulation;
use crate::coverage;
use crate::faults::{Ailment, Disturbance, ThirdParty, Whose};
use crate::kinds::Router;
use crate::random::Random;
use crate::scenario::{ROLLOUT, objects};
use crate::user::{self, Act};
use crate::world::autoscaler::{self, Metric};
use crate::world::plus;
use crate::world::pods::Hurt;
use crate::world::routes::{self, VIRTUAL_SERVICES};
use crate::world::server::{number, text};
use headgate_api::At;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::io::{Call, ObjectRef, Resource};
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS, SERVICES};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeSet;
use std::ops::Range;

/// An autoscaler looks so often, in milliseconds (kube-controller-manager's `--horizontal-pod-autoscaler-sync-period`).
const AUTOSCALER_PERIOD: i64 = 15_000;

/// Numbers of what happens at a step on purpose: the first of them, and how many there are at most.
pub(super) const FOCUS: usize = 1_000;
const FOCUS_MAX: usize = 10;
/// What had no effect there is tried again so often.
const FOCUSED: Range<usize> = FOCUS..FOCUS + 5 * FOCUS_MAX;
/// And after so long, in milliseconds.
const TRIED_AGAIN_AFTER: i64 = 1_500;

impl Simulation {
    pub(super) fn disturb(&mut self) {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (number, disturbance) = (entry.key().1, entry.remove());
            if self.happen(&disturbance) {
                if let Some(feature) = coverage::at_once(&disturbance) {
                    self.reached.takes_effect(feature, self.now);
                }
            } else if FOCUSED.contains(&number) {
                let again = number + FOCUS_MAX;
                self.agenda.insert((plus(self.now, TRIED_AGAIN_AFTER), again), disturbance);
            }
            self.checkers.look(&self.server, self.now);
        }
    }

    /// Lets something happen. False when it changes nothing.
    pub(super) fn happen(&mut self, disturbance: &Disturbance) -> bool {
        match disturbance {
            Disturbance::User(act) => return self.user_acts(*act),
            Disturbance::ThirdParty(act) => return self.others_act(*act),
            _ => self.trace.say("fault", || format!("{disturbance:?}"), self.now),
        }
        self.checkers.hold_up(routes_held_up(disturbance), self.after(holds_up(disturbance)));
        self.ails_processes(disturbance)
            .or_else(|| self.ails_pods(disturbance))
            .or_else(|| self.ails_objects(disturbance))
            .unwrap_or(false)
    }

    fn after(&self, seconds: i64) -> Timestamp {
        plus(self.now, seconds * 1_000)
    }

    /// What happens to processes, to what they see, and to their requests; `None` for anything else.
    fn ails_processes(&mut self, disturbance: &Disturbance) -> Option<bool> {
        let leader = self.leader();
        match disturbance {
            Disturbance::Crash { away } => {
                leader.into_iter().for_each(|index| self.crash(index, away * 1_000));
            }
            Disturbance::Freeze => leader.into_iter().for_each(|index| self.freeze(index)),
            Disturbance::SlowWatch { kind, seconds, late } => {
                let until = self.after(*seconds);
                self.processes.iter_mut().for_each(|process| process.slow_down(*kind, until, *late));
                return Some(!self.processes.is_empty());
            }
            Disturbance::BrokenWatch { kind, seconds, lag } => {
                let until = self.after(*seconds);
                let now = self.now;
                self.processes.iter_mut().for_each(|process| process.break_off(*kind, until, *lag, now));
                return Some(!self.processes.is_empty());
            }
            Disturbance::TwoLeaders { seconds } => {
                let ends_at = self.after(*seconds);
                if let Some(process) = leader.and_then(|index| self.processes.get_mut(index)) {
                    process.ends_at = Some(ends_at);
                    self.start(0, 0);
                }
            }
            Disturbance::Clock(skew) => {
                if let Some(process) = leader.and_then(|index| self.processes.get_mut(index)) {
                    process.skew = *skew;
                    self.checkers.clock_set(process.number, *skew, self.now);
                }
            }
            Disturbance::NextRequest(fate) => self.next_fates.push_back(*fate),
            Disturbance::Race { kind } => {
                self.raced.insert(*kind);
            }
            Disturbance::Forbidden { kind, seconds } => self.forbid(*kind, self.after(*seconds)),
            Disturbance::ApiOutage { seconds } => self.api_down_until = Some(self.after(*seconds)),
            Disturbance::Metrics { outage, seconds } => {
                self.metrics.fail(*outage, self.after(*seconds), self.now);
            }
            _ => return None,
        }
        Some(leader.is_some())
    }

    /// What happens to pods and their number; `None` for anything else.
    fn ails_pods(&mut self, disturbance: &Disturbance) -> Option<bool> {
        let count = match disturbance {
            Disturbance::PodsFail { of, seconds, backs_off } => {
                let hash = self.hash(*of);
                let count = self.pods.make_fail(hash.as_deref(), *backs_off, self.after(*seconds), self.now);
                if count > 0 {
                    // The last back-off may begin just before the end.
                    self.checkers.excuse(self.after(*seconds * 3));
                }
                count
            }
            Disturbance::PodsHurt { version, how, seconds } => {
                let hash = self.version(*version).unwrap_or_default();
                let served = self.served();
                let count = self.pods.hurt(&hash, hurt(*how, self.after(*seconds)), self.now);
                self.trace.say("world", || format!("{count} pods of {hash} are hit"), self.now);
                match how {
                    // The last back-off may begin just before the end, and lasts as long as all before it.
                    Ailment::Crashing if count > 0 => self.checkers.excuse(self.after(*seconds * 2)),
                    Ailment::Crashing => {}
                    Ailment::OomKilled | Ailment::Unready => {
                        self.excuse_emptied(&served, self.after(*seconds));
                    }
                }
                count
            }
            Disturbance::NodeLost { seconds } => {
                let count = self.pods.lose_node(self.after(*seconds), self.now);
                self.trace.say("world", || format!("{count} pods are out of reach"), self.now);
                if count > 0 {
                    self.checkers.excuse(self.after(*seconds));
                }
                count
            }
            Disturbance::PodsUnready { of, share, seconds } => {
                let until = self.after(*seconds);
                let (hash, served) = (self.hash(*of), self.served());
                let count = self.pods.knock_out(hash.as_deref(), *share, until, self.now);
                self.excuse_emptied(&served, until);
                count
            }
            Disturbance::Autoscale { least, most, rounds } => {
                return Some(self.autoscale(*least, *most, *rounds));
            }
            _ => return None,
        };
        Some(count > 0)
    }

    /// What happens to objects that a Rollout names; `None` for anything else.
    fn ails_objects(&mut self, disturbance: &Disturbance) -> Option<bool> {
        let before = self.server.history().len();
        match disturbance {
            Disturbance::Missing { kind, name, seconds } => {
                self.server.remove(&self.scenario.at(*kind, name), self.now);
                if *kind == SERVICES || self.doors().contains(kind) {
                    self.checkers.excuse(self.after(*seconds));
                }
                let found = Disturbance::Found { kind: *kind, name };
                self.agenda.insert((self.after(*seconds), usize::MAX), found);
            }
            Disturbance::Found { kind, name } => {
                let target = self.scenario.at(*kind, name);
                let body = self.scenario.surroundings.iter().find(|(place, _)| *place == target).cloned();
                if let Some((target, body)) = body {
                    self.server.call(&Call::Create { target, body }, self.now);
                    self.checkers.found(&self.server);
                }
            }
            Disturbance::MissingCrd { kind, seconds } => self.uninstall(*kind, self.after(*seconds)),
            Disturbance::FoundCrd { kind } => self.install(*kind),
            _ => return None,
        }
        Some(self.server.history().len() > before)
    }

    fn forbid(&mut self, kind: Resource, until: Timestamp) {
        self.forbidden.insert(kind, until);
        if kind == SERVICES && !self.is_routed() {
            // Without a router and without room for one more pod the old one must go before its Service can be moved.
            self.checkers.excuse(until);
        }
    }

    fn is_routed(&self) -> bool {
        let rollout = self.server.get(&self.scenario.target());
        rollout.is_some_and(|rollout| rollout.at("/spec/strategy/canary/trafficRouting").is_some())
    }

    /// The kinds of routes that the Rollout names now; those of the beginning where it names none.
    pub(super) fn doors(&self) -> &'static [Resource] {
        let now = self.server.get(&self.scenario.target()).map_or(Router::None, Router::of);
        routes::kinds(if now == Router::None { self.scenario.router } else { now })
    }

    /// One of them, by a number.
    fn door(&self, number: i64) -> Resource {
        let kinds = self.doors();
        let index = usize::try_from(number).unwrap_or(0) % kinds.len().max(1);
        kinds.get(index).copied().unwrap_or(VIRTUAL_SERVICES)
    }

    /// One round of an autoscaler; the next one follows. False when it leaves the number as it is.
    fn autoscale(&mut self, least: i64, most: i64, rounds: u32) -> bool {
        let load = self.luck.between(least, most);
        let metric = match Random::new(self.scenario.seed, "autoscaler").percent(50) {
            true => Metric::OfPods,
            false => Metric::External,
        };
        let rollout = self.server.get(&self.scenario.target());
        let replicas =
            rollout.and_then(|rollout| autoscaler::asks_for(metric, load, rollout, &self.pods, &self.server));
        let has_effect =
            replicas.is_some_and(|replicas| self.user_acts(Act::Scale(replicas.clamp(least, most))));
        if rounds > 1 {
            let next = Disturbance::Autoscale { least, most, rounds: rounds - 1 };
            self.agenda.insert((plus(self.now, AUTOSCALER_PERIOD), usize::MAX - 1), next);
        }
        has_effect
    }

    /// Whether the record gives the canary a share, or knows of a route that does.
    fn is_weight_recorded(&self) -> bool {
        let Some(rollout) = self.server.get(&self.scenario.target()) else { return false };
        number(rollout, "/status/canary/weights/canary/weight") > 0
            || rollout.at("/status/headgate/routersInUse").is_some()
    }

    fn uninstall(&mut self, kind: Resource, until: Timestamp) {
        let all: Vec<_> = self.server.all(kind).map(|(target, _)| target.clone()).collect();
        for target in all {
            self.server.remove(&target, self.now);
        }
        self.server.absent.push(kind);
        let (server, now) = (&self.server, self.now);
        for process in &mut self.processes {
            process.watches.uninstall(kind, server, now);
        }
        self.checkers.excuse(until);
        self.agenda.insert((until, usize::MAX - 2), Disturbance::FoundCrd { kind });
    }

    fn install(&mut self, kind: Resource) {
        self.server.absent.retain(|absent| *absent != kind);
        for (target, body) in self.scenario.surroundings.clone() {
            if target.resource == kind {
                self.server.call(&Call::Create { target, body }, self.now);
            }
        }
        // A watcher of a kind that is not there asks again after a while.
        let until = plus(self.now, self.luck.between(0, 30_000));
        for process in &mut self.processes {
            process.watches.install(kind, until, self.now);
        }
        self.checkers.excuse(until);
    }

    /// The version that is meant; `None` for all.
    fn hash(&self, of: Whose) -> Option<String> {
        let field = match of {
            Whose::All => return None,
            Whose::Stable => "/status/stableRS",
            Whose::Newest => "/status/currentPodHash",
        };
        Some(text(self.server.get(&self.scenario.target())?, field).to_owned())
    }

    /// The ReplicaSet of a version; it may not be there.
    fn set_of(&self, whose: Whose) -> ObjectRef {
        let hash = self.hash(whose).unwrap_or_default();
        self.scenario.at(REPLICA_SETS, &format!("{ROLLOUT}-{hash}"))
    }

    /// Somebody else scales a ReplicaSet; says what came of it.
    pub(super) fn scale(&mut self, set: &ObjectRef, replicas: i64) -> String {
        let body = json!({ "spec": { "replicas": replicas } });
        user::edit(set, body, &mut self.server, self.now)
    }

    /// The hash of a version by its number, once its ReplicaSet is there.
    fn version(&self, number: i64) -> Option<String> {
        let image = self.scenario.image_of(number);
        let mut sets = self.server.all(REPLICA_SETS).map(|(_, set)| set);
        let set = sets.find(|set| text(set, "/spec/template/spec/containers/0/image") == image)?;
        Some(text(set, &format!("/metadata/labels/{POD_TEMPLATE_HASH}")).to_owned())
    }

    /// False when the act changes nothing.
    pub(super) fn user_acts(&mut self, act: Act) -> bool {
        let before = self.server.history().len();
        // A retry of what was not aborted writes down what holds already.
        let is_idle = act == Act::Retry && !self.is_aborted();
        if matches!(act, Act::Router(_)) {
            self.is_route_forgotten |= self.has_foreign_weights && !self.is_weight_recorded();
        }
        let (said, follows) = user::act(act, &self.scenario, &mut self.server, self.now);
        self.trace.say("user", || format!("{act:?}: {said}"), self.now);
        self.is_made_anew |= act == Act::Create;
        if matches!(act, Act::Recreate | Act::LetGo | Act::Create) {
            self.checkers.excuse(self.now);
        }
        if let Some((time, next)) = follows {
            self.agenda.insert((time, usize::MAX), Disturbance::User(next));
        }
        !is_idle && self.server.history().len() > before
    }

    /// The versions that have pods which serve and stay.
    pub(super) fn served(&self) -> BTreeSet<String> {
        self.pods.ready_versions().into_iter().map(str::to_owned).collect()
    }

    /// What has happened to pods until then may cost requests only where it has left none of a version that served.
    pub(super) fn excuse_emptied(&mut self, served: &BTreeSet<String>, until: Timestamp) {
        if !served.is_subset(&self.served()) {
            self.checkers.excuse(until);
        }
    }

    fn is_aborted(&self) -> bool {
        let rollout = self.server.get(&self.scenario.target());
        rollout.is_some_and(|rollout| rollout.at("/status/abort") == Some(&json!(true)))
    }

    /// False when the act changes nothing.
    pub(super) fn others_act(&mut self, act: ThirdParty) -> bool {
        let before = self.server.history().len();
        let mut ended = 0;
        let served = self.served();
        if matches!(act, ThirdParty::DeleteSet(_) | ThirdParty::Weights(_) | ThirdParty::ScaleSet(_, 0)) {
            self.checkers.excuse(self.now);
        }
        let said = match act {
            ThirdParty::DeletePod => {
                let hash = self.pods.delete_one(self.now);
                ended = hash.iter().len();
                hash.unwrap_or_default()
            }
            ThirdParty::DrainNode => {
                ended = self.pods.drain_node(self.now);
                format!("{ended} pods")
            }
            ThirdParty::DeleteSet(whose) => {
                let set = self.set_of(whose);
                self.server.remove(&set, self.now);
                set.name
            }
            ThirdParty::Weights(canary) => {
                self.checkers.route_edited(self.now);
                self.has_foreign_weights = true;
                let (route, body) = objects::other_weights(self.door(canary), canary, &self.server);
                user::edit(&route, body, &mut self.server, self.now)
            }
            ThirdParty::ForeignRoute => {
                let (route, body) = objects::other_route(self.door(0), &self.server);
                user::edit(&route, body, &mut self.server, self.now)
            }
            ThirdParty::ScaleSet(whose, replicas) => {
                let set = self.set_of(whose);
                format!("{} {}", set.name, self.scale(&set, replicas))
            }
        };
        self.excuse_emptied(&served, self.now);
        self.trace.say("third party", || format!("{act:?}: {said}"), self.now);
        ended > 0 || self.server.history().len() > before
    }
}

fn hurt(ailment: Ailment, until: Timestamp) -> Hurt {
    match ailment {
        Ailment::OomKilled => Hurt::OomKilled,
        Ailment::Unready => Hurt::Unready(until),
        Ailment::Crashing => Hurt::Crashing(until),
    }
}

/// The longest time in seconds between two attempts of what is refused.
const BACK_OFF_MAX: i64 = 60;

/// For so many seconds a fault keeps controllers from seeing or acting; one that ends a process does until the next one acts.
fn holds_up(disturbance: &Disturbance) -> i64 {
    match disturbance {
        Disturbance::SlowWatch { seconds, late, .. } => seconds + late / 1_000,
        Disturbance::Forbidden { kind: ANALYSIS_RUNS, seconds } => *seconds,
        // Nobody says when a right is given back: it is seen at the next attempt.
        Disturbance::Forbidden { seconds, .. } => seconds + BACK_OFF_MAX,
        Disturbance::BrokenWatch { seconds, .. }
        | Disturbance::MissingCrd { seconds, .. }
        | Disturbance::ApiOutage { seconds } => *seconds,
        _ => 0,
    }
}

/// The routes that alone are held up: a router that fails stops no other (rule 4).
fn routes_held_up(disturbance: &Disturbance) -> Option<Resource> {
    let (Disturbance::SlowWatch { kind, .. }
    | Disturbance::BrokenWatch { kind, .. }
    | Disturbance::Forbidden { kind, .. }
    | Disturbance::MissingCrd { kind, .. }) = disturbance
    else {
        return None;
    };
    Some(*kind).filter(|kind| routes::is_route(*kind))
}
