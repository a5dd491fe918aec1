//! What flows, what is measured, and where the release stands.

use super::Simulation;
use super::disturb::FOCUS;
use crate::coverage;
use crate::faults::Outage;
use crate::kinds::{Router, Step, Strategy};
use crate::world::metrics::{Service, Source};
use crate::world::proxies::Forgotten;
use crate::world::server::{number, text};
use crate::world::workload;
use crate::world::{milliseconds, plus};
use headgate_api::At;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::REPLICA_SETS;
use headgate_model::{HttpQuery, Reply};
use jiff::Timestamp;
use serde_json::Value;

/// A measurement whose value is given takes so long, in milliseconds.
const GIVEN_TAKES: i64 = 20;

impl Simulation {
    /// Requests flow from now until then.
    pub(super) fn flow(&mut self, until: Timestamp) {
        let stable = text(self.rollout(), "/spec/strategy/canary/stableService").to_owned();
        // Where the server drops what is remembered, the next process knows nothing of a router that the spec no longer names.
        let forgets = !self.scenario.pruned.is_empty() && self.made > 1;
        let forgotten = if self.is_made_anew || self.is_route_forgotten || forgets {
            Forgotten::Everything
        } else {
            Forgotten::Service(&stable)
        };
        let doors = self.doors();
        let flow = self.proxies.flow(&self.pods, doors, forgotten);
        let (named, has_lost) = std::mem::replace(&mut self.named, (doors, flow.loses_uncounted));
        if has_lost && named != doors {
            // The spec names a door whose requests were lost before: until it is led elsewhere they are.
            self.checkers.excuse(self.now);
        }
        self.sent.add(&flow, milliseconds(self.now, until));
        let services: Vec<_> = flow
            .shares
            .iter()
            .map(|(hash, share)| {
                let health = self.image(hash).and_then(|image| self.scenario.health.get(image));
                let errors_percent = health.map_or(0, |health| health.errors_percent);
                let latency = health.map_or(0, |health| health.latency);
                Service { hash, share: *share, errors_percent, latency }
            })
            .collect();
        self.metrics.count(&services, self.now, until);
        if self.epoch.is_some() {
            self.checkers.lose(&flow.loss, self.pods.ready(), self.now, until);
        }
    }

    /// The image of the version with this hash.
    fn image(&self, hash: &str) -> Option<&str> {
        let label = format!("/metadata/labels/{POD_TEMPLATE_HASH}");
        let (_, set) = self.server.all(REPLICA_SETS).find(|(_, set)| text(set, &label) == hash)?;
        Some(text(set, "/spec/template/spec/containers/0/image"))
    }

    /// A measurement that is sent now takes so long, in milliseconds.
    pub(super) fn measuring_takes(&mut self) -> i64 {
        let outage = self.metrics.outage(self.now);
        if let Some(outage) = outage {
            self.reached.takes_effect(coverage::of_outage(outage).into(), self.now);
        }
        match outage {
            None if matches!(self.scenario.metrics, Source::Given(_)) => GIVEN_TAKES,
            Some(Outage::Slow) => self.luck.between(5_000, 60_000),
            _ => self.luck.between(50, 3_000),
        }
    }

    pub(super) fn measured(&mut self, run: &ObjectRef, query: &HttpQuery, sent_at: Timestamp) -> Reply {
        let outage = self.metrics.outage(self.now);
        if let (Source::Given(given), None) = (&mut self.scenario.metrics, outage) {
            return given.answer(run, query, &self.server, self.now);
        }
        let limit = i64::from(query.timeout_seconds) * 1_000;
        if plus(sent_at, limit) < self.now {
            return Reply::Failed(format!("no answer within {} s", query.timeout_seconds));
        }
        self.metrics.answer(query, &self.server, self.now)
    }

    /// Notes where the release stands, and lets happen what is to happen there.
    pub(super) fn stand(&mut self) {
        if self.epoch.is_none() {
            return;
        }
        let Some(rollout) = self.server.get(&self.scenario.target()) else { return };
        let template = workload::template(rollout, &self.server);
        let image = template.map_or("", |template| text(template, "/spec/containers/0/image"));
        if image != self.released {
            self.released = image.to_owned();
            self.reached.begin(self.scenario.lasting(&self.released), self.now);
        }
        self.reached.goes_on(Strategy::of(rollout), Router::of(rollout));
        let step = step(rollout).filter(|_| workload::is_observed(rollout, &self.server));
        self.reached.stand(step);
        let is_next = self.focused != self.released
            && self.scenario.focuses.first().is_some_and(|focus| step == Some(focus.step));
        if is_next {
            self.focused.clone_from(&self.released);
            let focus = self.scenario.focuses.remove(0);
            let planned = focus.fault.into_iter().map(|fault| (0, fault)).chain(focus.acts);
            for (number, (delay, disturbance)) in planned.enumerate() {
                self.agenda.insert((plus(self.now, delay), FOCUS + number), disturbance);
            }
        }
    }
}

/// Where a release under way stands.
fn step(rollout: &Value) -> Option<Step> {
    let is_observed =
        number(rollout, "/metadata/generation").to_string() == text(rollout, "/status/observedGeneration");
    let is_under_way = text(rollout, "/status/currentPodHash") != text(rollout, "/status/stableRS");
    let is_aborted = rollout.at("/status/abort") == Some(&Value::Bool(true));
    if !is_observed || !is_under_way || is_aborted {
        return None;
    }
    let index = usize::try_from(number(rollout, "/status/currentStepIndex")).unwrap_or(0);
    let steps = rollout.at("/spec/strategy/canary/steps").and_then(Value::as_array);
    Some(steps.and_then(|steps| steps.get(index)).map_or(Step::Finishing, Step::of))
}
