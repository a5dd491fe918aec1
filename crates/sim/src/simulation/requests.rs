//! Requests: what happens to them on their way, what the world answers, and what it does with them.

use super::{CALL_TIME_LIMIT, Simulation};
use crate::checkers::{Write, settled};
use crate::coverage;
use crate::effect::Effect;
use crate::faults::{Fate, ThirdParty};
use crate::kinds::Fault;
use crate::process::Flight;
use crate::random::Random;
use crate::trace::{Who, short};
use crate::user::Act;
use crate::world::plus;
use crate::world::pods::{Budget, Truth, evicted};
use crate::world::routes;
use crate::world::server::{number, refused, text};
use crate::world::webhooks::{self, Trouble};
use headgate_api::At;
use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Request, Resource};
use headgate_driver::resources::{EVENTS, PODS, REPLICA_SETS, ROLLOUTS, SERVICES};
use headgate_model::Query;
use jiff::Timestamp;
use serde_json::Value;

/// A request that was given up lands so much later at most, in milliseconds.
const LATE_MAX: i64 = 30_000;
/// The label `app` of pods that are not the Rollout's.
const STRANGER: &str = "stranger";

impl Simulation {
    pub(super) fn send(&mut self, index: usize, request: Request) {
        let mut fate = self.fate_of(&request.call, index);
        if let Call::Patch { target, .. } | Call::Create { target, .. } = &request.call
            && self.raced.remove(&target.resource)
        {
            fate = Some(Fate::Raced);
        }
        let way = match fate {
            Some(Fate::Slow(milliseconds)) => milliseconds,
            Some(Fate::RequestLost | Fate::AnswerLost) => CALL_TIME_LIMIT,
            _ => 0,
        };
        if way > 0 && target(&request.call).is_some_and(|target| routes::is_route(target.resource)) {
            self.checkers.hold_up(None, plus(self.now, way));
        }
        let slow = if is_measurement(&request.call) { self.measuring_takes() } else { 0 };
        let slow = slow + if let Some(Fate::Slow(milliseconds)) = fate { milliseconds } else { 0 };
        let number = self.writes;
        let Some(process) = self.processes.get_mut(index) else { return };
        let who = Who(process.number);
        let fault = fate.map_or(String::new(), |fate| format!(" {fate:?}"));
        self.trace.say(who, || format!("#{number}{fault} sends {}", describe(&request.call)), self.now);
        self.checkers.sent(process.number, &request.call, self.now);
        process.send(request, fate, slow, self.now);
    }

    /// What happens to a request. Fates by number, and those of the next request, are of writes: nothing is changed by what is
    /// read.
    fn fate_of(&mut self, call: &Call, index: usize) -> Option<Fate> {
        let (effect, is_leader) = (Effect::of(call), self.leader() == Some(index));
        if self.epoch.is_none() {
            // A Deployment gives way with the first version: then or never.
            return if effect == Effect::Workload { self.ambushed(effect) } else { None };
        }
        self.requests += u64::from(effect.is_counted());
        let mut fate = None;
        if effect.is_write() {
            self.writes += 1;
            fate = self.scenario.fates.get(&self.writes).copied();
            if is_leader {
                fate = self.next_fates.pop_front().or(fate);
            }
        }
        if is_leader { self.ambushed(effect).or(fate) } else { fate }
    }

    fn ambushed(&mut self, effect: Effect) -> Option<Fate> {
        let ambushes = &mut self.scenario.ambushes;
        let place = ambushes.iter().position(|ambush| ambush.effect == effect)?;
        if let Some(ambush) = ambushes.get_mut(place).filter(|ambush| ambush.passes > 0) {
            ambush.passes -= 1;
            return None;
        }
        Some(ambushes.remove(place).fate)
    }

    pub(super) fn arrive(&mut self) {
        while let Some(entry) = self.strays.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let flight = entry.remove();
            self.trace.say("stray", || describe(&flight.request.call), self.now);
            let reply = self.carry_out(&flight, None);
            let leads = |target: &ObjectRef| target.resource == SERVICES || routes::is_route(target.resource);
            let has_wandered = matches!(flight.fate, Some(Fate::RequestLost));
            if target(&flight.request.call).is_some_and(leads)
                && has_wandered
                && matches!(reply, Reply::Object(_))
            {
                // Nobody can call it back, as long as nobody has written the object since: it is led back as soon as that is
                // seen.
                self.checkers.excuse(self.now);
            }
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

    /// What is to happen to a request happens to it, unless its process has died meanwhile.
    fn meets_its_fate(&mut self, index: usize, flight: &Flight) {
        let is_ending = self.processes.get(index).is_some_and(|process| process.ends_at.is_some());
        let is_met = |fate: &Fate| *fate != Fate::Freeze || !is_ending;
        if let Some(fault) = flight.fate.filter(is_met).map(coverage::of_fate) {
            self.reached.takes_effect(fault.into(), self.now);
            self.reached.struck.insert((Effect::of(&flight.request.call), fault));
        }
    }

    /// A request of a process that runs arrives, or does not.
    fn land(&mut self, index: usize, flight: &Flight) {
        self.meets_its_fate(index, flight);
        let lost = Reply::Lost("no answer within 10 s".to_owned());
        let (reply, takes) = match flight.fate {
            Some(Fate::RequestLost) => {
                self.wander(flight);
                (lost, CALL_TIME_LIMIT)
            }
            Some(Fate::CrashBefore) => (lost, CALL_TIME_LIMIT),
            Some(Fate::Refused(code, reason)) => {
                if code >= 500 && self.chance("although refused").percent(33) {
                    self.carry_out(flight, Some(index));
                }
                (refused(code, reason, "by the simulation"), 0)
            }
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
        let is_slow = matches!(&flight.request.call, Call::Notify { service, .. }
            if self.webhook_trouble(service) == Some(Trouble::Slow));
        let takes = if is_slow { webhooks::SLOW } else { takes };
        let Some(process) = self.processes.get_mut(index) else { return };
        let who = Who(process.number);
        self.trace.say(who, || format!("gets {}", describe_reply(&flight.request.call, &reply)), self.now);
        let arrives = process.answer(flight.request.id, reply.clone(), takes, self.now);
        self.checkers.answered(process.number, &flight.request.call, &reply, arrives);
        match flight.fate {
            Some(Fate::CrashBefore | Fate::CrashAfter) => self.crash(index, 0),
            Some(Fate::Freeze) if process.ends_at.is_none() => self.freeze(index),
            _ => {}
        }
    }

    /// A write that nobody answered may still be under way, in the queue of a proxy: half of them land when they have long
    /// been given up.
    fn wander(&mut self, flight: &Flight) {
        let mut chance = self.chance("lands late");
        let is_write = !matches!(flight.request.call, Call::Get(_) | Call::List { .. });
        if is_write && chance.percent(50) {
            let lands = plus(self.now, CALL_TIME_LIMIT + chance.between(1, LATE_MAX));
            if target(&flight.request.call).is_some_and(|target| routes::is_route(target.resource)) {
                self.checkers.hold_up(None, lands);
            }
            // Apart from those of processes that have died, which count by themselves.
            self.strays.insert((lands, u64::MAX - self.requests), flight.clone());
        }
    }

    /// What decides about this request alone: no other one's fate depends on it.
    fn chance(&self, purpose: &str) -> Random {
        Random::new(self.scenario.seed, &format!("{purpose} {}", self.requests))
    }

    /// What is wrong with a webhook now.
    fn webhook_trouble(&self, service: &str) -> Option<Trouble> {
        let since = self.now.duration_since(self.epoch?).as_millis();
        let webhook = self.scenario.webhooks.iter().find(|webhook| webhook.name == service)?;
        webhook.trouble(i64::try_from(since).ok()?)
    }

    /// Somebody changes the object that a request is about to change.
    fn race(&mut self, call: &Call) {
        match target(call) {
            Some(target) if routes::is_route(target.resource) => {
                self.others_act(ThirdParty::ForeignRoute);
            }
            Some(target) if target.resource == ROLLOUTS => {
                let act = self.luck.pick(
                    Act::Abort,
                    &[Act::Promote, Act::PromoteFull, Act::Retry, Act::Pause, Act::Scale(3), Act::Release(9)],
                );
                self.user_acts(act);
            }
            Some(target) if target.resource == REPLICA_SETS => match call {
                Call::Create { body, .. } => self.take_name(target, body),
                _ => {
                    self.checkers.excuse(self.now);
                    let said = self.scale(target, 1);
                    self.trace.say("third party", || format!("scales {} {said}", target.name), self.now);
                }
            },
            _ => {}
        }
        self.checkers.look(&self.server, self.now);
    }

    /// Somebody creates another object under the name that a new one is to have, for pods of another selector.
    fn take_name(&mut self, target: &ObjectRef, body: &Value) {
        let mut body = body.clone();
        if let Some(metadata) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.remove("ownerReferences");
        }
        for labels in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
            if let Some(labels) = body.pointer_mut(labels).and_then(Value::as_object_mut) {
                labels.insert("app".to_owned(), STRANGER.into());
            }
        }
        self.trace.say("third party", || format!("takes the name {}", target.name), self.now);
        self.server.call(&Call::Create { target: target.clone(), body }, self.now);
    }

    fn carry_out(&mut self, flight: &Flight, process: Option<usize>) -> Reply {
        let call = &flight.request.call;
        if let Call::Measure { query, .. } = call {
            let Query::Http(query) = query;
            let reply = Reply::Measured(self.measured(&flight.request.owner, query, flight.sent_at));
            self.checkers.measured(&reply, self.now);
            return reply;
        }
        if let Call::Notify { service, post } = call {
            let (is_taken, reply) = webhooks::answer(self.webhook_trouble(service));
            self.checkers.heard(service, &post.body, is_taken, self.now);
            return reply;
        }
        if self.api_down_until.is_some_and(|until| until > self.now) {
            self.reached.takes_effect(Fault::ApiOutage.into(), self.now);
            return refused(503, "ServiceUnavailable", "the API server is overloaded");
        }
        let is_forbidden =
            |target: &ObjectRef| self.forbidden.get(&target.resource).is_some_and(|until| *until > self.now);
        if !matches!(call, Call::Get(_)) && target(call).is_some_and(is_forbidden) {
            self.reached.takes_effect(Fault::Forbidden.into(), self.now);
            return refused(403, "Forbidden", "by the simulation");
        }
        if let Call::List { resource: PODS, namespace, labels } = call {
            return Reply::Objects(self.pods.list(namespace, labels));
        }
        if let Call::Evict { target, uid } = call {
            return self.evict(target, uid, flight);
        }
        if let Call::Patch { target, patch, .. } = call
            && target.resource == PODS
        {
            return self.patch_pod(target, patch);
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

    fn patch_pod(&mut self, target: &ObjectRef, patch: &Patch) -> Reply {
        let reply = self.pods.patch(target, patch);
        if let Reply::Object(_) = reply {
            self.written_at = self.now;
            self.checkers.pod_patched(target, patch, self.now);
            if self.settled_at.is_some() {
                let late = format!("{} is patched in a settled world", target.name);
                self.checkers.judge("6 quiet", Err(late), self.now);
            }
        }
        reply
    }

    /// How many healthy pods this budget needs, and how many there are. It selects the Rollout's pods, and not those of a
    /// stranger who has taken a name.
    fn needed_and_healthy(&self, budget: Budget) -> (i64, i64) {
        let sets = self.server.all(REPLICA_SETS).map(|(_, set)| set);
        let selected: Vec<&Value> =
            sets.filter(|set| text(set, "/spec/template/metadata/labels/app") != STRANGER).collect();
        let wanted: i64 = selected.iter().map(|set| number(set, "/spec/replicas")).sum();
        let is_selected = |pod: &Truth| selected.iter().any(|set| text(set, "/metadata/uid") == pod.set_uid);
        let healthy = self.pods.truth().filter(|pod| pod.ready_since.is_some() && is_selected(pod)).count();
        (wanted - budget.max_unavailable, i64::try_from(healthy).unwrap_or(i64::MAX))
    }

    fn evict(&mut self, target: &ObjectRef, uid: &str, flight: &Flight) -> Reply {
        let since_epoch = self.epoch.map_or(0, |epoch| self.now.duration_since(epoch).as_millis());
        let budget = self.scenario.budget.filter(|budget| since_epoch < i128::from(budget.until));
        let room = budget.map(|budget| self.needed_and_healthy(budget));
        let served = self.served();
        match self.pods.evict(target, uid, room, self.now) {
            Ok(pod) => {
                // One that has wandered lands on whatever is left by then, and nobody can call it back.
                if self.checkers.wants_one_pod() || matches!(flight.fate, Some(Fate::RequestLost)) {
                    self.excuse_emptied(&served, self.now);
                }
                self.written_at = self.now;
                let known_since = flight.known_until.min(flight.sent_at);
                self.checkers.evicted(&pod, &self.pods, known_since, &self.server, self.now);
                if self.settled_at.is_some() {
                    self.checkers.judge(
                        "6 quiet",
                        Err(format!("{} is evicted in a settled world", pod.name)),
                        self.now,
                    );
                }
                evicted()
            }
            Err(refusal) => refusal,
        }
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
        let sender = process.and_then(|index| self.processes.get(index));
        let aborted_from = sender.and_then(|process| process.aborted_from);
        // What a dead process has sent it had proven while it lived.
        let proven_at = sender.map_or(Some(flight.sent_at), |process| process.proven_at);
        let write = Write {
            target,
            before,
            after,
            call,
            process: sender.map(|process| process.number),
            sent_at: flight.sent_at,
            known_until: flight.known_until,
            knows_abort: aborted_from.is_some_and(|from| from <= flight.sent_at),
            means_abort: flight.means_abort,
        };
        if target.resource == EVENTS {
            self.judge_event(&write);
        } else if !matches!(call, Call::Get(_)) && before != after {
            self.judge_write(&write, proven_at);
        }
        let process = process.and_then(|index| self.processes.get_mut(index));
        if let (ROLLOUTS, Some(process)) = (target.resource, process) {
            process.proven_at = Some(flight.sent_at);
            let is_aborted =
                after.is_some_and(|rollout| rollout.at("/status/abort") == Some(&Value::Bool(true)));
            process.aborted_from = is_aborted.then(|| process.aborted_from.unwrap_or(self.now));
        }
        self.checkers.look(&self.server, self.now);
    }

    /// Holds a write against the rules, and notes whether the world still settles.
    fn judge_write(&mut self, write: &Write<'_>, proven_at: Option<Timestamp>) {
        let Write { target, before, after, .. } = *write;
        self.checkers.written(write, proven_at, &self.server, self.now);
        if !settled::may_go_on(target.resource, after, &self.server) {
            self.written_at = self.now;
        }
        let was_held = target.resource == ROLLOUTS && before.is_some_and(settled::holds);
        if was_held && !settled::is_held(&self.server) {
            // What has held it is good at last, and the release goes on.
            self.settled_at = None;
        }
        if settled::fails(target.resource, before, after) && !settled::is_held(&self.server) {
            // Few requests make a metric a matter of chance, also while nothing else goes on.
            (self.settled_at, self.written_at) = (None, self.now);
        }
        if self.settled_at.is_some() {
            self.checkers.written_late(write, &describe(write.call), &self.server, self.now);
        }
    }

    /// Holds an event against the rules.
    fn judge_event(&mut self, write: &Write<'_>) {
        let Some(event) = write.after else { return };
        self.checkers.told(write.process.unwrap_or(0), event, &self.server, self.now);
        let is_about_rollout = text(event, "/involvedObject/kind") == ROLLOUTS.kind;
        if is_about_rollout && self.settled_at.is_some() && !settled::is_held(&self.server) {
            let message = format!("{} in a settled world", describe(write.call));
            self.checkers.judge("6 quiet", Err(message), self.now);
        }
    }
}

fn target(call: &Call) -> Option<&ObjectRef> {
    match call {
        Call::Get(target)
        | Call::Create { target, .. }
        | Call::Patch { target, .. }
        | Call::Delete { target, .. }
        | Call::Evict { target, .. } => Some(target),
        Call::List { .. } | Call::Measure { .. } | Call::Notify { .. } => None,
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
        Call::Evict { target, .. } => format!("evict {}", target.name),
        Call::Measure { .. } => "measure".to_owned(),
        Call::Notify { service, post } => format!("notify {service} {}", post.body),
    }
}

fn describe_pod(pod: &Value) -> String {
    let conditions = pod.at("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let is_ready = conditions
        .into_iter()
        .any(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True");
    let name = text(pod, "/metadata/name");
    match (pod.at("/metadata/deletionTimestamp").is_some_and(Value::is_string), is_ready) {
        (true, _) => format!("{name} leaves"),
        (false, true) => format!("{name} ready"),
        (false, false) => name.to_owned(),
    }
}

fn describe_reply(call: &Call, reply: &Reply) -> String {
    let subject =
        target(call).map_or(String::new(), |target| format!(" for {} {}", target.resource.kind, target.name));
    match reply {
        Reply::Object(object) => format!("version {}{subject}", text(object, "/metadata/resourceVersion")),
        Reply::Objects(pods) if matches!(call, Call::List { resource: PODS, .. }) => {
            let pods: Vec<String> = pods.iter().map(describe_pod).collect();
            format!("pods: {}", pods.join(", "))
        }
        Reply::Objects(objects) => format!("{} objects", objects.len()),
        Reply::Refused { code, reason, .. } => format!("{code} {reason}{subject}"),
        Reply::Lost(why) => format!("{why}{subject}"),
        Reply::Measured(reply) => format!("{reply:?}"),
        Reply::Notified(status) => format!("{status} from a webhook"),
    }
}
