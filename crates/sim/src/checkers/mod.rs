//! What must always hold, one module for each rule of docs/architecture.md that shows from outside.
//!
//! A controller sees the world late. So a write is wrong only when there is no instant, from what the process had been
//! told when it decided until the write, at which it would have been right.

mod abort;
mod availability;
mod fence;
mod foreign;
mod intents;
mod removals;
pub(crate) mod settled;
mod view;
mod waits;
mod weights;

pub use view::View;

use crate::world::proxies::Loss;
use crate::world::server::Server;
use headgate_driver::io::ObjectRef;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::VecDeque;

/// A write of a controller that was carried out.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The object.
    pub target: &'a ObjectRef,
    /// What it was.
    pub before: Option<&'a Value>,
    /// What it is.
    pub after: Option<&'a Value>,
    /// When the process sent the request.
    pub sent_at: Timestamp,
    /// Everything that happened before this time the process had been told of when it sent the request.
    pub known_until: Timestamp,
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
/// After a fault that takes pods away, requests may be lost for so long: until it is noticed and mended.
const LOSS_EXCUSED: SignedDuration = SignedDuration::from_secs(90);

/// All checkers and what they remember.
#[derive(Debug, Default)]
pub struct Checkers {
    /// Whether `status.waiting` is stored.
    pub waits: Waits,
    /// True in a forecast: users' objects have other names than a seed's, so nothing is read from them.
    pub is_forecast: bool,
    abort: abort::Overdue,
    /// Changes at the server that were looked at.
    seen: usize,
    views: VecDeque<(Timestamp, View)>,
    /// Until then lost requests are a fault's, not ours.
    excused_until: Option<Timestamp>,
    /// Requests lost without an excuse, in thousandths of a second of all traffic.
    pub lost: i64,
    /// The same while a fault forces it.
    pub lost_excused: i64,
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

type Rule = fn(&Write<'_>, &View) -> Result<(), String>;

const BY_VIEW: [(&str, Rule); 3] =
    [("1 weights", weights::check), ("2 removals", removals::check), ("3 availability", availability::check)];

impl Checkers {
    /// Notes what the objects say now.
    pub fn look(&mut self, server: &Server, now: Timestamp) {
        let changes = server.history().len();
        if std::mem::replace(&mut self.seen, changes) == changes {
            return;
        }
        let Some(view) = View::of(server).filter(|_| !self.is_forecast) else {
            self.views.clear();
            return;
        };
        let abort = self.abort.look(&view, now);
        self.judge("4 abort", abort, now);
        if self.views.back().is_none_or(|(_, last)| *last != view) {
            self.views.push_back((now, view));
        }
        while self.views.get(1).is_some_and(|(time, _)| now.duration_since(*time) > VIEWS_KEPT) {
            self.views.pop_front();
        }
    }

    /// Holds a write against the rules. To be called before [`Checkers::look`] sees its result.
    pub fn written(&mut self, write: &Write<'_>, proven_at: Option<Timestamp>, now: Timestamp) {
        for (rule, broken) in [
            ("R1 fence", fence::check(write, proven_at)),
            ("5 intents", intents::check(write)),
            ("7 foreign", foreign::check(write)),
            ("waits", waits::check(write)),
        ] {
            if rule == "waits" && self.waits == Waits::Pruned {
                continue;
            }
            self.judge(rule, broken, now);
        }
        let since = write.known_until.min(write.sent_at).saturating_sub(DECISION_TAKES).unwrap_or(now);
        for (rule, check) in BY_VIEW {
            let views: Vec<&View> = self.views_since(since).collect();
            let is_right = views.iter().any(|view| check(write, view).is_ok());
            // Each kind comes by its own watch, so what is known may be a mixture of instants.
            let mixed = View::most_favourable(&views).map_or(Ok(()), |view| check(write, &view));
            self.judge(rule, if is_right { Ok(()) } else { mixed }, now);
        }
    }

    /// The views that held at some time since then, the latest first.
    fn views_since(&self, since: Timestamp) -> impl Iterator<Item = &View> {
        let mut before = false;
        self.views.iter().rev().map_while(move |(time, view)| {
            let is_last = std::mem::replace(&mut before, *time <= since);
            (!is_last).then_some(view)
        })
    }

    /// A fault that may cost requests lasts until then.
    pub fn excuse(&mut self, until: Timestamp) {
        let until = until.saturating_add(LOSS_EXCUSED).unwrap_or(until);
        self.excused_until = self.excused_until.max(Some(until));
    }

    /// Time has passed and nothing has changed.
    pub fn wait(&mut self, now: Timestamp) {
        if let Some((_, view)) = self.views.back() {
            let abort = self.abort.look(view, now);
            self.judge("4 abort", abort, now);
        }
    }

    /// Notes what was lost from then until now.
    pub fn lose(&mut self, loss: &Loss, ready: usize, since: Timestamp, now: Timestamp) {
        let milliseconds = i64::try_from(now.duration_since(since).as_millis()).unwrap_or(i64::MAX);
        if loss.per_mille == 0 || milliseconds == 0 {
            return;
        }
        if ready == 0
            || self.views.back().is_none_or(|(_, view)| {
                view.desired == 0
                    || view.is_held_empty()
                    || view.is_stable_beyond_repair()
                    || view.is_without_pods()
            })
        {
            // No version could serve, or the user wants no pods, no Rollout, or that nothing moves.
            self.excuse(now);
        }
        let lost = loss.per_mille.saturating_mul(milliseconds) / 1_000;
        let is_excused = self.excused_until.is_some_and(|until| since <= until);
        if is_excused {
            self.lost_excused += lost;
            return;
        }
        self.lost += lost;
        let message = format!(
            "{} of 1000 requests are lost for {milliseconds} ms: {}",
            loss.per_mille,
            loss.to.join(" ")
        );
        self.judge("requests lost", Err(message), since);
    }

    /// Holds the end of the world against the rules.
    pub fn end(&mut self, server: &Server, ready: i64, now: Timestamp) {
        self.judge("9 settled", settled::check(server, ready, self.waits, now), now);
    }

    /// A write after the world was to have settled.
    pub fn written_late(&mut self, write: &Write<'_>, verb: &str, now: Timestamp) {
        if !settled::may_go_on(write.target.resource, write.after) {
            let message =
                format!("{verb} {} {} in a settled world", write.target.resource.kind, write.target.name);
            self.judge("6 quiet", Err(message), now);
        }
    }

    /// Remembers a broken rule.
    pub fn judge(&mut self, rule: &'static str, result: Result<(), String>, now: Timestamp) {
        if let Err(message) = result {
            self.violations.push(Violation { at: now, rule, message });
        }
    }
}
