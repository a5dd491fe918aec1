//! What must always hold, one module for each rule of docs/architecture.md that shows from outside.
//!
//! A controller sees the world late. So a write is wrong only when there is no instant, from what the process had been
//! told when it decided until the write, at which it would have been right.
//!
//! | rule | module, or why there is none |
//! | --- | --- |
//! | 1 weight needs pods | `weights` |
//! | 2 pods go last | `removals` (those left suffice), `drain` (the time has passed), `acknowledged` (the router has followed), `hand_over` (a Deployment's) |
//! | 3 availability, surge | `availability`, `restarts` |
//! | 4 abort | `abort` while faults happen, `settled` after them: routes and Services, each by itself; `way_back`: as the user chose |
//! | 5 intents | `intents`: kept until consumed, bound to their version, steps one by one; `held`: what is paused is not begun |
//! | 6 quiet when settled | `settled` ([`Checkers::written_late`]); the same answer at every time before `wake_at`: the tests of `engine` |
//! | 7, 8 foreign objects, sums | `foreign`; equal bytes for equal inputs: a test of this crate and properties of `traffic` |
//! | 9 bounds | `settled`, `deadline`; the bounds are constants of `simulation` and of the modules |
//! | 10 data told apart | `verdicts` |
//! | 11 safe to stay in | `losses`: requests are counted also while no process runs, and nothing else excuses a loss |
//! | R1 fence | `fence`: a proof before each shift and shrink, and none of them after a record that was overtaken |
//! | R2 guards | `guards`: each request has them, and none is carried out against them |
//! | R3 own writes | `overlay` |
//! | R4 outcomes | `outcomes`: what is refused; what comes of a shrink on unknown ground `removals` and `losses` see |
//! | R5 names first | `naming` |
//! | R6 order | `removals`, `losses`; a decision that breaks it is refused, which `settled` sees |
//! | R7 availability | `counted`: evictions; the rest is part of `weights` and `availability`, whose numbers are those of the views |
//! | R8 marks | `marks` |
//! | R9 one writer | `writers`; other kinds than ours: `foreign` |
//! | R10 quiet on the way | `quiet`: rates; that a dropped field is told, and once: the contract tests of `driver` |
//! | R11 events, notifications | `events`, `news` |
//! | R12 the stock plugin | `intents`: a resumed pause does not come back |
//! | unhealthy pods | `pod_health`: an abort by them has a true cause, and a cause leads to an abort in time |
//! | pods carry what their role asks for | `roles`: at the end, and nothing else of a pod is written |
//! | a bake lasts, and stable stands by | `bake` |
//! | every wait is named | `waits` |
//! | a release at rest is as its steps say | `at_rest` |
//! | what the status counts, and when conditions changed | `status` |
//! | history has its limits | `kept` |
//! | requests lost | `losses` |

mod abort;
mod acknowledged;
mod at_rest;
mod availability;
mod bake;
mod by_view;
mod clocks;
mod conditions;
mod counted;
mod crossing;
mod deadline;
mod drain;
mod events;
mod fence;
mod foreign;
mod guards;
mod hand_over;
mod held;
mod intents;
mod kept;
mod losses;
pub(crate) mod marks;
mod names;
mod naming;
mod news;
mod outcomes;
mod overlay;
mod pod_health;
mod quiet;
mod refusals;
mod removals;
mod restarts;
mod roles;
mod said;
pub(crate) mod settled;
mod status;
mod verdicts;
mod view;
mod waits;
mod way_back;
mod weights;
mod writers;

use by_view::forget_old;
pub use losses::Lost;
pub use names::Names;
pub use view::View;
use view::WayBack;

use crate::world::kubelet::Cause;
use crate::world::milliseconds;
use crate::world::pods::{Pods, Truth};
use crate::world::proxies::{ALL, Loss};
use crate::world::server::Server;
use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Resource};
use headgate_driver::resources::{REPLICA_SETS, ROLLOUTS};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// A write of a controller that was carried out.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The object.
    pub target: &'a ObjectRef,
    /// What it was.
    pub before: Option<&'a Value>,
    /// What it is.
    pub after: Option<&'a Value>,
    /// The request.
    pub call: &'a Call,
    /// The process that waits for the answer; `None` when it has died meanwhile.
    pub process: Option<u32>,
    /// When the process sent the request.
    pub sent_at: Timestamp,
    /// Everything that happened before this time the process had been told of when it sent the request.
    pub known_until: Timestamp,
    /// The process had recorded, or read, that the release is aborted.
    pub knows_abort: bool,
    /// The process had tried to record that, whether it was taken or not: what leads back goes out all the same (R1).
    pub means_abort: bool,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Timestamp,
    /// The rule, by its module or number.
    pub rule: &'static str,
    /// What happened.
    pub message: String,
}

/// Between the look that a decision rests on and its last effect lie a few calls.
const DECISION_TAKES: SignedDuration = SignedDuration::from_secs(12);
/// Views older than this are forgotten: nothing is known so late.
const VIEWS_KEPT: SignedDuration = SignedDuration::from_secs(300);

/// All rules that checkers hold, as violations name them. Each has a defect made on purpose that breaks it.
pub const RULES: [&str; 34] = [
    "1 weights",
    "2 removals",
    "2 hand-over",
    "2 drain",
    "2 acknowledged",
    "3 availability",
    RESTARTS,
    "4 abort",
    "4 way back",
    "5 intents",
    "5 held",
    ENDLESS,
    "7 foreign",
    "9 settled",
    "9 deadline",
    "10 verdicts",
    "R1 fence",
    "R2 guards",
    "R3 overlay",
    "R4 outcomes",
    "R5 names",
    EVICTIONS,
    "R8 marks",
    "R9 writers",
    "R10 quiet",
    "R11 events",
    "R11 news",
    "bake",
    "kept",
    "pod health",
    "requests lost",
    ROLES,
    "status",
    "waits",
];

/// The rule of restarts.
const RESTARTS: &str = "3 restarts";

/// The rule of what is available.
const EVICTIONS: &str = "R7 availability";

/// The rule of what pods carry by their role.
const ROLES: &str = "roles";

/// The rule that turns come to an end: the loop itself sees when it is broken.
pub const ENDLESS: &str = "6 quiet";

/// What a violation names when somebody has panicked: no rule of a checker, and so not among [`RULES`].
pub const PANIC: &str = "panic";

/// All checkers and what they remember.
#[derive(Debug, Default)]
pub struct Checkers {
    /// Whether `status.waiting` is stored.
    pub waits: Waits,
    /// True in a forecast, which tells what comes of a user's objects instead of judging it, and which a broken rule would end:
    /// nothing is held against the rules but [`ENDLESS`].
    pub is_forecast: bool,
    abort: abort::Overdue,
    /// Changes at the server that were looked at.
    seen: usize,
    /// What the Rollout names, or named while it was there.
    names: Option<Names>,
    views: VecDeque<(Timestamp, View)>,
    /// Those of the Rollouts before this one: a slow request may outlive several.
    former: VecDeque<(Timestamp, View)>,
    said: said::Said,
    told: overlay::Told,
    overtaken: fence::Overtaken,
    events: events::Events,
    news: news::News,
    records: quiet::Records,
    answers: verdicts::Answers,
    clocks: clocks::Clocks,
    shares: drain::Shares,
    acknowledged: acknowledged::Acknowledged,
    crossing: crossing::Crossing,
    way: deadline::Way,
    allowance: losses::Allowance,
    /// What truly went wrong with pods.
    pub causes: Vec<Cause>,
    pod_health: pod_health::Health,
    restarts: restarts::Restarts,
    counted: counted::Counted,
    known: counted::Known,
    marks: marks::Marks,
    outcomes: outcomes::Outcomes,
    now: Timestamp,
    refusals: refusals::Refusals,
    /// Since when the Rollout is being deleted.
    deleted_at: Option<Timestamp>,
    /// Somebody else has written weights, or a Rollout that is no more: nobody can say of a route that is no longer named
    /// whose they are.
    is_route_edited: bool,
    /// What clients have lost so far.
    pub lost: Lost,
    /// Only this rule is heeded, to see whether its checker finds by itself what others find first; all of them by default.
    pub only: Option<&'static str>,
    /// What was found.
    pub violations: Vec<Violation>,
}

/// Whether the installed CRD has our own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Waits {
    /// It has.
    #[default]
    Stored,
    /// It is the one of Argo Rollouts and drops them.
    Pruned,
}

impl Checkers {
    /// Notes what the objects say now.
    pub fn look(&mut self, server: &Server, now: Timestamp) {
        self.now = now;
        let changes = server.history().len();
        if std::mem::replace(&mut self.seen, changes) == changes {
            return;
        }
        let mut view = View::of(server);
        self.outcomes.look(view::rollout(server).map(|(_, rollout)| rollout), now);
        self.marks.look(view.as_ref().map(|view| &view.names), now);
        self.deleted_at =
            self.deleted_at.or(Some(now)).filter(|_| view.is_none() && server.all(ROLLOUTS).next().is_some());
        if let (Some(view), Some(before)) = (&mut view, &self.names) {
            view.remember(before, server);
            let is_another = !view.names.is_of_same_rollout(before);
            self.is_route_edited |= is_another && view.canary_weight.is_some_and(|weight| weight > 0);
        }
        if let Some(view) = &mut view {
            view.know_pods(&self.known);
        }
        self.said.look(server, view.as_ref(), now);
        let Some(view) = view else {
            self.events.forget();
            self.former.append(&mut self.views);
            forget_old(&mut self.former, now);
            return;
        };
        self.shares.look(&view, now);
        self.way.look(&view);
        self.names = Some(view.names.clone());
        let abort = self.abort.look(&view, now);
        self.judge("4 abort", abort, now);
        self.pod_health.look(server, now);
        if self.views.back().is_none_or(|(_, last)| *last != view) {
            if self.views.back().is_some_and(|(_, last)| !last.needs_pods()) {
                // Where none had to serve there may be none yet.
                self.allowance.nobody_serves(now);
            }
            self.views.push_back((now, view));
        }
        forget_old(&mut self.views, now);
    }

    /// Holds a write against the rules. To be called before [`Checkers::look`] sees its result.
    pub fn written(
        &mut self,
        write: &Write<'_>,
        proven_at: Option<Timestamp>,
        server: &Server,
        now: Timestamp,
    ) {
        // A version is made also by a record that is refused.
        let may_be_unnamed = write.target.resource == REPLICA_SETS && self.refusals.are_recent(now);
        let named = if may_be_unnamed { Ok(()) } else { naming::check(write, &self.said, now) };
        self.events.written(write);
        let kept = self.news.written(write, &self.clocks, now);
        self.judge("R11 news", kept, now);
        for (rule, result) in [
            ("R1 fence", fence::check(write, proven_at)),
            ("R2 guards", guards::check(write)),
            ("R5 names", named),
            ("R8 marks", self.marks.check(write, &self.clocks)),
            ("R9 writers", writers::check(write)),
            ("R9 writers", writers::of_deleted(write, self.deleted_at)),
            ("R10 quiet", self.records.written(write)),
            ("10 verdicts", self.answers.check(write)),
            ("10 verdicts", verdicts::record(write, server)),
            ("10 verdicts", verdicts::abort(write, server, now)),
            ("9 deadline", verdicts::overdue(write, now)),
            ("10 verdicts", verdicts::ends(write, server)),
            ("10 verdicts", verdicts::steps(write, server)),
            ("pod health", self.pod_health.check(write, &self.causes, now)),
            (RESTARTS, self.restarts.written(write, server, &self.clocks)),
            ("5 intents", intents::check(write)),
            ("status", status::check(write)),
            ("2 hand-over", hand_over::never(write, server)),
        ] {
            self.judge(rule, result, now);
        }
        if self.waits == Waits::Stored {
            self.judge("waits", waits::check(write), now);
        }
        self.judge_by_knowledge(write, server, now);
    }

    /// Looks at pods as they are.
    pub fn look_at_pods(&mut self, pods: &Pods, server: &Server, now: Timestamp) {
        self.restarts.look(pods, server, now);
        if self.known.counted != pods.counted {
            self.known.counted.clone_from(&pods.counted);
        }
        self.known.ready = if self.counted.is_needed(now) { pods.ready_by_set() } else { BTreeMap::new() };
    }

    /// Somebody else writes the weights of a route now.
    pub fn route_edited(&mut self, now: Timestamp) {
        self.is_route_edited = true;
        self.shares.edited(now);
    }

    /// An object is back that was away. A route that the record has forgotten with the end of a release can be led back by
    /// nobody.
    pub fn found(&mut self, server: &Server) {
        let settled = self.views.back().map(|(_, view)| view).filter(|view| view.stable == view.current);
        self.is_route_edited |= settled.is_some_and(|view| view.names.forgotten_gives(server));
    }

    /// A pod was evicted on behalf of a process that knew everything until then.
    pub fn evicted(
        &mut self,
        pod: &Truth,
        pods: &Pods,
        known_since: Timestamp,
        server: &Server,
        now: Timestamp,
    ) {
        self.counted.done(&pod.name);
        let since = known_since.saturating_sub(DECISION_TAKES).unwrap_or(now);
        // Without a Rollout nobody says any more how many may be down.
        let Some(most) = self.views_since(since).map(|view| view.max_unavailable.max(1)).max() else {
            return;
        };
        let is_right = self.restarts.evicted(pod, pods, server, (most, since), &self.clocks, now);
        self.judge(RESTARTS, is_right, now);
        // Whoever evicted it knows that it is gone before its ReplicaSet says so.
        let without = self.views.back().map(|(_, view)| view.without_pod_of(restarts::name_of(pod, server)));
        self.views.extend(without.map(|view| (now, view)));
    }

    /// True when a restart has no other way than to leave a version without a pod: the user wants no second one.
    pub fn wants_one_pod(&self) -> bool {
        self.views.back().is_some_and(|(_, view)| view.desired <= 1)
    }

    /// A process sends a request.
    pub fn sent(&mut self, process: u32, call: &Call, now: Timestamp) {
        self.events.sent(process, call);
        self.judge("R2 guards", guards::sent(call), now);
        let told = self.told.sent(process, call, now);
        self.judge("R3 overlay", told, now);
        let looked = self.overtaken.sent(process, call, now);
        self.judge("R1 fence", looked, now);
        let view = self.views.back().map(|(_, view)| view);
        let may_be_unsaid = self.waits == Waits::Pruned
            || self.refusals.are_recent(now)
            || view.is_none_or(|view| view.is_invalid);
        let tried = self.outcomes.sent(process, call, may_be_unsaid, &self.clocks, now);
        self.judge("R4 outcomes", tried, now);
        let few = self.counted.sent(process, call, now);
        self.judge(EVICTIONS, few, now);
    }

    /// The answer to a request reaches the process at this time.
    pub fn answered(&mut self, process: u32, call: &Call, reply: &Reply, arrives: Timestamp) {
        self.told.answered(process, call, reply, self.names.as_ref(), arrives);
        self.overtaken.answered(process, call, reply, arrives);
        self.acknowledged.answered(process, call, reply, arrives);
        self.events.answered(process, call, reply, arrives);
        self.refusals.answered(process, call, reply, arrives);
        self.outcomes.answered(process, call, reply, arrives);
        self.counted.answered(process, call, reply, arrives);
    }

    /// An event arrives.
    pub fn told(&mut self, process: u32, event: &Value, server: &Server, now: Timestamp) {
        let fits = self.events.arrived(process, event, &self.said, server, now);
        self.judge("R11 events", fits, now);
    }

    /// These webhooks want to be told.
    pub fn wanted_by(&mut self, webhooks: impl Iterator<Item = &'static str>) {
        self.news.wanted_by(webhooks);
    }

    /// A message reaches a webhook, which takes it or not.
    pub fn heard(&mut self, webhook: &str, body: &str, is_taken: bool, now: Timestamp) {
        let fits = self.news.heard(webhook, body, is_taken);
        self.judge("R11 news", fits, now);
    }

    /// A metric provider answers.
    pub fn measured(&mut self, reply: &Reply, now: Timestamp) {
        self.answers.measured(reply, now);
    }

    /// A process has died.
    pub fn gone(&mut self, process: u32, now: Timestamp) {
        self.events.gone(process, now);
        self.overtaken.gone(process);
        self.clocks.gone(process, now);
    }

    /// A process's clock was set, by so many milliseconds from the truth.
    pub fn clock_set(&mut self, process: u32, skew: i64, now: Timestamp) {
        self.pod_health.clock_set(skew);
        self.clocks.set(process, skew, now);
    }

    /// A process starts, which knows of pods what it sees from now on.
    pub fn started(&mut self, process: u32, now: Timestamp) {
        self.pod_health.started(now);
        self.clocks.started(process, now);
    }

    /// A fault that may cost requests begins now and lasts until then.
    pub fn excuse(&mut self, until: Timestamp) {
        self.allowance.fault(self.now, until);
    }

    /// A fault keeps controllers from seeing or acting until then, on routes of this kind or at all.
    pub fn hold_up(&mut self, routes: Option<Resource>, until: Timestamp) {
        self.allowance.hold_up(self.now, until);
        self.abort.hold_up(routes, until);
    }

    /// Time has passed and nothing has changed.
    pub fn wait(&mut self, now: Timestamp) {
        self.now = now;
        let told = self.events.wait(now);
        self.judge("R11 events", told, now);
        if let Some((_, view)) = self.views.back() {
            let abort = self.abort.look(view, now);
            self.judge("4 abort", abort, now);
        }
        let in_time = self.pod_health.wait(&self.causes, self.allowance.held_until(), now);
        self.judge("pod health", in_time, now);
    }

    /// Notes what was lost from then until now.
    pub fn lose(&mut self, loss: &Loss, ready: usize, since: Timestamp, now: Timestamp) {
        let milliseconds = milliseconds(since, now);
        if loss.share == 0 || milliseconds == 0 {
            return;
        }
        let view = self.views.back().map(|(_, view)| view);
        let needs_pods = view.is_some_and(View::needs_pods);
        if ready == 0 || !needs_pods || view.is_none_or(View::is_without_pods) {
            // No version could serve, or the user wants no pods, no Rollout, or that nothing moves.
            self.allowance.nobody_serves(now);
            return;
        }
        let lost = loss.share.saturating_mul(milliseconds);
        let unforced = self.allowance.charge(lost, since);
        self.lost += Lost { all: lost, forced: lost - unforced };
        if unforced == 0 {
            return;
        }
        let message =
            format!("{} of {ALL} requests are lost for {milliseconds} ms: {}", loss.share, loss.to.join(" "));
        self.judge("requests lost", Err(message), since);
    }

    /// Holds the end of the world against the rules.
    pub fn end(&mut self, server: &Server, ready: i64, now: Timestamp) {
        self.judge("9 settled", settled::check(server, ready, self.waits, now), now);
        if self.waits == Waits::Stored && !self.is_route_edited {
            let left = self.names.as_ref().map_or(Ok(()), |names| settled::led_back(names, server));
            self.judge("9 settled", left, now);
        }
        if let Some(view) = View::of(server) {
            self.judge("status", status::end(server, &view), now);
            let rests = if self.is_route_edited { Ok(()) } else { at_rest::check(server, &view) };
            self.judge("9 settled", rests, now);
        }
        self.judge("10 verdicts", verdicts::end(server), now);
        self.judge("kept", kept::end(server), now);
        let is_invalid = self.views.back().is_some_and(|(_, view)| view.is_invalid);
        self.judge("R8 marks", marks::end(server, is_invalid), now);
        // Where the server drops the outbox only the process knows it, and forgets it when it dies.
        if self.waits == Waits::Stored {
            // The same of what was begun for a Deployment.
            self.judge("2 hand-over", hand_over::end(server), now);
            let rollout = view::rollout(server).map(|(_, rollout)| rollout);
            self.judge("R11 news", self.news.end(rollout), now);
        }
    }

    /// Holds the world against the rules when the Rollout is gone for good.
    pub fn end_of_deleted(&mut self, server: &Server, now: Timestamp) {
        self.judge("R8 marks", marks::end_of_deleted(server), now);
    }

    /// Holds the pods at the end of the world against what their roles ask for.
    pub fn end_of_pods(&mut self, pods: &Pods, server: &Server, now: Timestamp) {
        self.judge(ROLES, roles::end(pods, server), now);
    }

    /// A pod was patched.
    pub fn pod_patched(&mut self, target: &ObjectRef, patch: &Patch, now: Timestamp) {
        self.judge(ROLES, roles::patched(target, patch), now);
    }

    /// A write after the world was to have settled.
    pub fn written_late(&mut self, write: &Write<'_>, verb: &str, server: &Server, now: Timestamp) {
        let resource = write.target.resource;
        if !settled::may_go_on(resource, write.after, server) {
            let message = format!("{verb} {} {} in a settled world", resource.kind, write.target.name);
            self.judge("6 quiet", Err(message), now);
        }
    }

    /// Remembers a broken rule.
    pub fn judge(&mut self, rule: &'static str, result: Result<(), String>, now: Timestamp) {
        if let Err(message) = result
            && !(self.is_forecast && rule != ENDLESS)
            && self.only.is_none_or(|only| only == rule)
        {
            assert!(RULES.contains(&rule), "{rule} is not among the rules");
            self.violations.push(Violation { at: now, rule, message });
        }
    }
}
