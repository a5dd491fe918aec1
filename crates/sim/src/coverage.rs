//! Which pairs of (strategy × router × step × fault × act) the seeds reach, which of them cannot be, and the plan that
//! leads to all others.
//!
//! A fault or an act counts with the step at which the release stood when it took effect, and with what else took effect
//! within two minutes. A fault of requests takes effect when a request has met it, one of metrics when a measurement has, and
//! what changes nothing has none.

use crate::effect::Effect;
use crate::faults::{Disturbance, Fate, Outage, ThirdParty};
use crate::kinds::{Fault, Router, Step, Strategy, UserAct};
use crate::scenario::{Row, plan};
use crate::user::Act;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// What pairs are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// How a release goes on.
    Strategy(Strategy),
    /// How pods are reached.
    Router(Router),
    /// Where a release stands.
    Step(Step),
    /// What goes wrong.
    Fault(Fault),
    /// What the user does.
    Act(UserAct),
}

macro_rules! from_kind {
    ($($kind:ident => $feature:ident),*) => {
        $(impl From<$kind> for Feature {
            fn from(kind: $kind) -> Self {
                Self::$feature(kind)
            }
        })*
    };
}
from_kind!(Strategy => Strategy, Router => Router, Step => Step, Fault => Fault, UserAct => Act);

impl std::fmt::Display for Feature {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Strategy(kind) => write!(out, "strategy {kind:?}"),
            Self::Router(kind) => write!(out, "router {kind:?}"),
            Self::Step(kind) => write!(out, "step {kind:?}"),
            Self::Fault(kind) => write!(out, "fault {kind:?}"),
            Self::Act(kind) => write!(out, "act {kind:?}"),
        }
    }
}

/// Two features of different kinds, in their order.
pub type Pair = (Feature, Feature);

/// All pairs, possible or not.
pub fn pairs() -> Vec<Pair> {
    let factors: [Vec<Feature>; 5] = [
        Strategy::ALL.map(Feature::from).to_vec(),
        Router::ALL.map(Feature::from).to_vec(),
        Step::ALL.map(Feature::from).to_vec(),
        Fault::ALL.map(Feature::from).to_vec(),
        UserAct::ALL.map(Feature::from).to_vec(),
    ];
    let mut pairs = Vec::new();
    for (index, first) in factors.iter().enumerate() {
        for second in factors.iter().skip(index + 1) {
            pairs.extend(first.iter().flat_map(|one| second.iter().map(|other| (*one, *other))));
        }
    }
    pairs
}

/// Why a pair cannot be; `None` for a possible one.
pub fn impossible(one: Feature, other: Feature) -> Option<&'static str> {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    match (first, second) {
        (Feature::Strategy(Strategy::NoSteps), Feature::Step(step)) if step != Step::Finishing => {
            Some("a canary without steps stands at none")
        }
        (
            Feature::Router(Router::None),
            Feature::Step(Step::ScaleReplicas | Step::ScaleWeight | Step::ScaleMatch),
        ) => Some("setCanaryScale is refused without trafficRouting"),
        (
            Feature::Router(Router::None),
            Feature::Fault(
                Fault::MissingCrd | Fault::MissingRoute | Fault::ForeignWeights | Fault::ForeignRoute,
            ),
        ) => Some("without a router the Rollout names no route"),
        (Feature::Router(Router::Nginx), Feature::Fault(Fault::MissingCrd)) => {
            Some("Ingress is built in: it has no CRD")
        }
        _ => None,
    }
}

/// The row of the covering plan that a seed follows: each of the faults meets each of the steps, and with each of them
/// two acts, so that all faults meet all acts; routers and strategies alternate.
pub(crate) fn row(seed: u64) -> Row {
    let (steps, faults) = (Step::ALL.len(), Fault::ALL.len());
    let number = usize::try_from(seed % (steps * faults) as u64).unwrap_or(0);
    let (f, s) = (number / steps, number % steps);
    let step = Step::ALL[s];
    let fault = Fault::ALL[f];
    let acts = acts_at(s, f);
    let router = if is_routed(s, f) {
        // Each fault meets each of them at one of its steps, and so does each step with one of its faults.
        let before = (0..s).filter(|s| is_routed(*s, f)).count();
        match Router::ALL[(before + f) % (Router::ALL.len() - 1)] {
            Router::Nginx if fault == Fault::MissingCrd => Router::GatewayApi,
            router => router,
        }
    } else {
        Router::None
    };
    let strategy = match step {
        Step::Finishing => Strategy::NoSteps,
        // Only an analysis step measures where nothing is measured in the background.
        Step::Analysis if plan::is_of_metrics(fault) => Strategy::Steps,
        _ if (s / 2 + f) % 2 == 0 => Strategy::Steps,
        _ => Strategy::Watched,
    };
    Row { strategy, router, step, fault, acts }
}

/// The acts at a step with a fault, by their numbers.
fn acts_at(step: usize, fault: usize) -> [UserAct; 2] {
    [0, 1].map(|offset| UserAct::ALL[(2 * step + fault + offset) % UserAct::ALL.len()])
}

/// Whether the world of a step with a fault has a router: wherever one of them needs it, and of the others every second.
fn is_routed(step: usize, fault: usize) -> bool {
    let needs_router = |feature: Feature| impossible(Feature::Router(Router::None), feature).is_some();
    let acts = acts_at(step, fault).map(Feature::from);
    let mut features = [Step::ALL[step].into(), Fault::ALL[fault].into()].into_iter().chain(acts);
    features.any(needs_router) || (step + fault).is_multiple_of(2)
}

/// The rows of a seed: that one, and where its world allows them other faults at the same step of later releases, so that
/// each pair is planned up to four times.
pub(crate) fn rows(seed: u64) -> Vec<Row> {
    let first = row(seed);
    let steps = Step::ALL.len() as u64;
    let half = Fault::ALL.len() as u64 / 2;
    let others = [half, half / 2, half + half / 2].map(|faults| row(seed + faults * steps));
    let is_possible = |other: &Row| {
        let mut needs = [Feature::from(other.fault)].into_iter().chain(other.acts.map(Feature::from));
        needs.all(|need| impossible(first.router.into(), need).is_none())
    };
    [first].into_iter().chain(others.into_iter().filter(is_possible)).collect()
}

/// What one world has reached.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// The pairs.
    pub pairs: BTreeSet<Pair>,
    world: Vec<Feature>,
    /// The router that the world began with.
    router: Option<Feature>,
    step: Option<Step>,
    /// Where the release stood last: one that was aborted stands at no step.
    last_step: Option<Step>,
    lasting: Vec<Fault>,
    recent: Vec<(Timestamp, Feature)>,
    /// Which kinds of requests something has happened to, and what.
    pub struck: BTreeSet<(Effect, Fault)>,
}

/// What took effect so shortly before may matter still.
const RECENT: SignedDuration = SignedDuration::from_secs(120);

impl Reached {
    /// A world with this strategy and this router.
    pub fn new(strategy: Strategy, router: Router) -> Self {
        let world = vec![strategy.into(), router.into()];
        let mut reached = Self { world: world.clone(), router: Some(world[1]), ..Self::default() };
        reached.pairs.insert((world[0], world[1]));
        reached
    }

    /// The spec goes on in this way now. What happens with another router than the first one counts for none: with a fault that
    /// lasts it may be an impossible pair.
    pub fn goes_on(&mut self, strategy: Strategy, router: Router) {
        let router = Some(Feature::from(router)).filter(|router| self.router == Some(*router));
        self.world = [strategy.into()].into_iter().chain(router).collect();
    }

    /// A release begins, with faults that last as long as it does.
    pub fn begin(&mut self, lasting: Vec<Fault>, now: Timestamp) {
        (self.step, self.last_step) = (None, None);
        self.lasting = lasting;
        for fault in self.lasting.clone() {
            self.takes_effect(fault.into(), now);
        }
    }

    /// The release stands here; `None` between releases.
    pub fn stand(&mut self, step: Option<Step>) {
        if self.step == step {
            return;
        }
        self.step = step;
        if let Some(step) = step {
            self.last_step = Some(step);
            let lasting = self.lasting.iter().map(|fault| Feature::from(*fault));
            for other in self.world.iter().copied().chain(lasting) {
                self.pairs.insert(ordered(step.into(), other));
            }
        }
    }

    /// A fault or an act takes effect.
    pub fn takes_effect(&mut self, feature: Feature, now: Timestamp) {
        self.recent.retain(|(time, _)| now.duration_since(*time) <= RECENT);
        let lasting = self.lasting.iter().map(|fault| Feature::from(*fault));
        let recent = self.recent.iter().map(|(_, other)| *other);
        let is_retry = feature == Feature::Act(UserAct::Retry);
        let step = if is_retry { self.last_step } else { self.step }.map(Feature::from);
        let others = self.world.iter().copied().chain(step).chain(lasting).chain(recent);
        let is_of_other_kind =
            |other: &Feature| std::mem::discriminant(other) != std::mem::discriminant(&feature);
        self.pairs.extend(others.filter(is_of_other_kind).map(|other| ordered(feature, other)));
        self.recent.push((now, feature));
    }
}

fn ordered(one: Feature, other: Feature) -> Pair {
    if one <= other { (one, other) } else { (other, one) }
}

/// The kind of a disturbance that takes effect when it happens; `None` for those that take effect later, and for ends.
pub fn at_once(disturbance: &Disturbance) -> Option<Feature> {
    let fault = match disturbance {
        Disturbance::User(act) => return of_act(*act).map(Feature::from),
        Disturbance::ThirdParty(act) => match act {
            ThirdParty::Weights(_) => Fault::ForeignWeights,
            ThirdParty::ForeignRoute => Fault::ForeignRoute,
            ThirdParty::DeletePod => Fault::DeletedPod,
            ThirdParty::DrainNode => Fault::DrainedNode,
            ThirdParty::DeleteSet(_) => Fault::DeletedSet,
            ThirdParty::ScaleSet(..) => Fault::ForeignScale,
        },
        Disturbance::Crash { .. } => Fault::Crash,
        Disturbance::Freeze => Fault::Freeze,
        Disturbance::TwoLeaders { .. } => Fault::TwoLeaders,
        Disturbance::SlowWatch { .. } => Fault::SlowWatch,
        Disturbance::BrokenWatch { .. } => Fault::BrokenWatch,
        Disturbance::PodsUnready { .. } => Fault::UnreadyPods,
        Disturbance::PodsFail { backs_off: true, .. } => Fault::CrashLoop,
        Disturbance::PodsFail { backs_off: false, .. } => Fault::FlappingPods,
        Disturbance::NodeLost { .. } => Fault::LostNode,
        Disturbance::Autoscale { .. } => Fault::Autoscaler,
        Disturbance::Missing { kind, .. } => match kind.kind {
            "Service" => Fault::MissingService,
            "VirtualService" | "Ingress" | "HTTPRoute" => Fault::MissingRoute,
            _ => Fault::MissingTemplate,
        },
        Disturbance::MissingCrd { .. } => Fault::MissingCrd,
        Disturbance::Clock(_) => Fault::Clock,
        // Planned beside the rows, so that they stay as they are.
        Disturbance::PodsHurt { .. }
        | Disturbance::Found { .. }
        | Disturbance::FoundCrd { .. }
        | Disturbance::NextRequest(_)
        | Disturbance::Race { .. }
        | Disturbance::ApiOutage { .. }
        | Disturbance::Forbidden { .. }
        | Disturbance::Metrics { .. } => return None,
    };
    Some(fault.into())
}

/// Whether a fault takes effect when a request to the API server meets it.
pub(crate) fn is_met_by_request(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::CrashBefore
            | Fault::CrashAfter
            | Fault::AnswerLost
            | Fault::RequestLost
            | Fault::Conflict
            | Fault::TooManyRequests
            | Fault::ServerError
            | Fault::Unavailable
            | Fault::Refused
            | Fault::Invalid
            | Fault::SlowRequest
            | Fault::FreezeAfter
            | Fault::Race
            | Fault::ApiOutage
            | Fault::Forbidden
    )
}

fn of_act(act: Act) -> Option<UserAct> {
    Some(match act {
        Act::Release(_) => UserAct::Release,
        Act::Undo(_) => UserAct::Undo,
        Act::Promote | Act::EndPause => UserAct::Promote,
        Act::PromoteFull => UserAct::PromoteFull,
        Act::Abort => UserAct::Abort,
        Act::Retry => UserAct::Retry,
        Act::Pause => UserAct::Pause,
        Act::Unpause => UserAct::Unpause,
        Act::Scale(0) => UserAct::ScaleToZero,
        Act::Scale(_) => UserAct::Scale,
        Act::Steps(_) => UserAct::Steps,
        Act::Limits(..) => UserAct::Limits,
        Act::Router(_) => UserAct::Router,
        Act::Restart => UserAct::Restart,
        Act::Recreate => UserAct::Recreate,
        Act::Create | Act::LetGo | Act::Dynamic(_) | Act::Edit(_) => return None,
    })
}

/// The kind of what has happened to a request.
pub fn of_fate(fate: Fate) -> Fault {
    match fate {
        Fate::AnswerLost => Fault::AnswerLost,
        Fate::RequestLost => Fault::RequestLost,
        Fate::CrashBefore => Fault::CrashBefore,
        Fate::CrashAfter => Fault::CrashAfter,
        Fate::Refused(409, _) => Fault::Conflict,
        Fate::Refused(429, _) => Fault::TooManyRequests,
        Fate::Refused(500, _) => Fault::ServerError,
        Fate::Refused(403, _) => Fault::Refused,
        Fate::Refused(422, _) => Fault::Invalid,
        Fate::Refused(..) => Fault::Unavailable,
        Fate::Slow(_) => Fault::SlowRequest,
        Fate::Raced => Fault::Race,
        Fate::Freeze => Fault::FreezeAfter,
    }
}

/// The kind of what has happened to a measurement.
pub fn of_outage(outage: Outage) -> Fault {
    match outage {
        Outage::Empty => Fault::MetricEmpty,
        Outage::NotANumber => Fault::MetricNaN,
        Outage::Down => Fault::MetricDown,
        Outage::Unavailable => Fault::MetricUnavailable,
        Outage::Slow => Fault::MetricSlow,
        Outage::Stale => Fault::MetricStale,
        Outage::WrongType => Fault::MetricWrongType,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_leads_to_each_possible_pair_of_fault_and_step_or_act() {
        let mut planned: BTreeSet<Pair> = BTreeSet::new();
        for row in (0..500).flat_map(rows) {
            let fault = Feature::from(row.fault);
            planned.insert(ordered(fault, row.step.into()));
            planned.insert(ordered(fault, row.router.into()));
            for act in row.acts {
                planned.insert(ordered(fault, act.into()));
                planned.insert(ordered(row.step.into(), act.into()));
            }
        }
        let is_about = |pair: &Pair| {
            !matches!(pair.0, Feature::Strategy(_)) && matches!(pair.1, Feature::Fault(_) | Feature::Act(_))
        };
        for pair in pairs().into_iter().filter(is_about) {
            let is_impossible = impossible(pair.0, pair.1).is_some();
            let is_of_router = matches!(pair.0, Feature::Router(_)) && matches!(pair.1, Feature::Act(_));
            assert!(is_impossible || is_of_router || planned.contains(&pair), "{} with {}", pair.0, pair.1);
        }
    }

    #[test]
    fn no_row_asks_for_what_cannot_be() {
        for row in (0..1_000).flat_map(rows) {
            let features: Vec<Feature> =
                [row.strategy.into(), row.router.into(), row.step.into(), row.fault.into()]
                    .into_iter()
                    .chain(row.acts.map(Feature::from))
                    .collect();
            for one in &features {
                for other in &features {
                    assert_eq!(impossible(*one, *other), None, "{row:?}");
                }
            }
        }
    }

    #[test]
    fn what_took_effect_long_ago_does_not_count() {
        let start = Timestamp::UNIX_EPOCH;
        let mut reached = Reached::new(Strategy::Steps, Router::Istio);
        reached.takes_effect(Fault::Crash.into(), start);
        reached.takes_effect(UserAct::Abort.into(), start + SignedDuration::from_secs(119));
        reached.takes_effect(UserAct::Retry.into(), start + SignedDuration::from_secs(121));
        let with_crash = |act: UserAct| ordered(Fault::Crash.into(), act.into());
        assert!(reached.pairs.contains(&with_crash(UserAct::Abort)));
        assert!(!reached.pairs.contains(&with_crash(UserAct::Retry)));
    }

    #[test]
    fn a_retry_counts_with_the_step_at_which_the_release_was_aborted() {
        let mut reached = Reached::new(Strategy::Steps, Router::Istio);
        reached.stand(Some(Step::Pause));
        reached.stand(None);
        for act in [UserAct::Scale, UserAct::Retry] {
            reached.takes_effect(act.into(), Timestamp::UNIX_EPOCH);
        }
        let at_pause = |act: UserAct| reached.pairs.contains(&ordered(Step::Pause.into(), act.into()));
        assert!(at_pause(UserAct::Retry) && !at_pause(UserAct::Scale));
    }
}
