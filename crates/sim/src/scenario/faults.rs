//! Single faults and acts of a kind, made by chance.

use super::ROLLOUT;
use super::objects::CANARY_INGRESS;
use crate::faults::{Disturbance, Fate, Outage, ThirdParty, Whose};
use crate::kinds::{Fault, Router, UserAct};
use crate::random::Random;
use crate::user::Act;
use crate::world::routes::{self, INGRESSES, VIRTUAL_SERVICES};
use headgate_driver::io::Resource;
use headgate_driver::resources::{ANALYSIS_RUNS, ANALYSIS_TEMPLATES, REPLICA_SETS, ROLLOUTS, SERVICES};

/// A fault of this kind; `None` for those that are there from the beginning.
pub(super) fn made(fault: Fault, router: Router, luck: &mut Random) -> Option<Disturbance> {
    of_controller(fault, router, luck)
        .or_else(|| of_world(fault, router, luck))
        .or_else(|| of_metrics(fault, luck))
}

/// What happens to requests, watches and processes.
fn of_controller(fault: Fault, router: Router, luck: &mut Random) -> Option<Disturbance> {
    let routes = door(router, luck);
    let kind = luck.pick(ROLLOUTS, &[REPLICA_SETS, SERVICES, ANALYSIS_RUNS, routes]);
    Some(match fault {
        // Mostly another process waits to take over; sometimes nobody is there for minutes.
        Fault::Crash => Disturbance::Crash { away: luck.pick(0, &[0, 0, 300]) },
        Fault::CrashBefore => Disturbance::NextRequest(Fate::CrashBefore),
        Fault::CrashAfter => Disturbance::NextRequest(Fate::CrashAfter),
        Fault::AnswerLost => Disturbance::NextRequest(Fate::AnswerLost),
        Fault::RequestLost => Disturbance::NextRequest(Fate::RequestLost),
        Fault::Conflict => refused(409, "Conflict"),
        Fault::TooManyRequests => refused(429, "TooManyRequests"),
        Fault::ServerError => refused(500, "InternalError"),
        Fault::Unavailable => refused(503, "ServiceUnavailable"),
        Fault::Refused => refused(403, "Forbidden"),
        Fault::Invalid => refused(422, "Invalid"),
        Fault::SlowRequest => Disturbance::NextRequest(Fate::Slow(luck.pick(4_000, &[9_000]))),
        Fault::Freeze => Disturbance::Freeze,
        Fault::FreezeAfter => Disturbance::NextRequest(Fate::Freeze),
        Fault::TwoLeaders => Disturbance::TwoLeaders { seconds: luck.between(2, 20) },
        Fault::Clock => Disturbance::Clock(luck.between(-40_000, 40_000)),
        Fault::SlowWatch => slow_watch(kind, luck),
        Fault::BrokenWatch => Disturbance::BrokenWatch {
            kind,
            seconds: luck.between(1, 20),
            lag: usize::try_from(luck.between(0, 30)).unwrap_or(0),
        },
        Fault::ApiOutage => Disturbance::ApiOutage { seconds: luck.between(2, 40) },
        Fault::Forbidden => Disturbance::Forbidden {
            // At most steps a controller writes no more than the first.
            kind: luck.pick(
                ROLLOUTS,
                &[ROLLOUTS, ROLLOUTS, ROLLOUTS, REPLICA_SETS, SERVICES, routes, ANALYSIS_RUNS],
            ),
            seconds: luck.pick(30, &[5, 30, 90]),
        },
        Fault::Race => {
            Disturbance::Race { kind: luck.pick(ROLLOUTS, &[ROLLOUTS, REPLICA_SETS, REPLICA_SETS, routes]) }
        }
        _ => return None,
    })
}

/// What happens to objects of this kind is told late for a while.
pub(super) fn slow_watch(kind: Resource, luck: &mut Random) -> Disturbance {
    Disturbance::SlowWatch { kind, seconds: luck.between(5, 60), late: luck.between(2_000, 20_000) }
}

/// One of the kinds of a router's routes.
fn door(router: Router, luck: &mut Random) -> Resource {
    match routes::kinds(router) {
        [one, other] => luck.pick(*one, &[*other]),
        kinds => kinds.first().copied().unwrap_or(VIRTUAL_SERVICES),
    }
}

fn refused(code: u16, reason: &'static str) -> Disturbance {
    Disturbance::NextRequest(Fate::Refused(code, reason))
}

/// What happens to objects, pods and nodes.
fn of_world(fault: Fault, router: Router, luck: &mut Random) -> Option<Disturbance> {
    let routes = door(router, luck);
    let of = luck.pick(Whose::All, &[Whose::Stable, Whose::Newest]);
    let missing =
        |kind, name, luck: &mut Random| Disturbance::Missing { kind, name, seconds: luck.between(2, 60) };
    Some(match fault {
        // Ingress is built in.
        Fault::MissingCrd => {
            let kind =
                routes::kinds(router).iter().copied().find(|kind| *kind != INGRESSES).unwrap_or(routes);
            Disturbance::MissingCrd { kind, seconds: luck.between(5, 60) }
        }
        Fault::MissingService => missing(SERVICES, luck.pick("shop-stable", &["shop-canary"]), luck),
        // Nobody but the controller can make a canary Ingress again.
        Fault::MissingRoute if routes == INGRESSES && luck.percent(50) => {
            missing(routes, CANARY_INGRESS, luck)
        }
        Fault::MissingRoute => missing(routes, ROLLOUT, luck),
        Fault::MissingTemplate => missing(ANALYSIS_TEMPLATES, luck.pick("success", &["watch"]), luck),
        Fault::ForeignWeights => Disturbance::ThirdParty(ThirdParty::Weights(luck.between(0, 100))),
        Fault::ForeignRoute => Disturbance::ThirdParty(ThirdParty::ForeignRoute),
        Fault::ForeignScale => {
            let whose = if of == Whose::Stable { Whose::Stable } else { Whose::Newest };
            Disturbance::ThirdParty(ThirdParty::ScaleSet(whose, luck.between(0, 6)))
        }
        Fault::DeletedPod => Disturbance::ThirdParty(ThirdParty::DeletePod),
        Fault::DeletedSet => {
            Disturbance::ThirdParty(ThirdParty::DeleteSet(luck.pick(Whose::Stable, &[Whose::Newest])))
        }
        Fault::DrainedNode => Disturbance::ThirdParty(ThirdParty::DrainNode),
        Fault::LostNode => Disturbance::NodeLost { seconds: luck.pick(20, &[60, 120]) },
        Fault::UnreadyPods => {
            // Where a step begins the newest version has no ready pod yet.
            let of = luck.pick(Whose::All, &[Whose::All, Whose::Stable, Whose::Newest]);
            Disturbance::PodsUnready { of, share: luck.pick(30, &[100]), seconds: luck.pick(5, &[30, 200]) }
        }
        Fault::FlappingPods => Disturbance::PodsFail { of, seconds: luck.pick(20, &[60]), backs_off: false },
        Fault::CrashLoop => Disturbance::PodsFail { of, seconds: luck.pick(60, &[150]), backs_off: true },
        Fault::Autoscaler => {
            let least = luck.between(1, 4);
            let rounds = luck.pick(2, &[4, 8]);
            Disturbance::Autoscale { least, most: least + luck.between(1, 5), rounds }
        }
        _ => return None,
    })
}

fn of_metrics(fault: Fault, luck: &mut Random) -> Option<Disturbance> {
    let outage = match fault {
        Fault::MetricEmpty => Outage::Empty,
        Fault::MetricNaN => Outage::NotANumber,
        Fault::MetricDown => Outage::Down,
        Fault::MetricUnavailable => Outage::Unavailable,
        Fault::MetricSlow => Outage::Slow,
        Fault::MetricStale => Outage::Stale,
        Fault::MetricWrongType => Outage::WrongType,
        _ => return None,
    };
    Some(Disturbance::Metrics { outage, seconds: luck.between(10, 120) })
}

/// An act of this kind, while this version is the newest, in a world with this router.
pub(super) fn act(kind: UserAct, version: i64, router: Router, luck: &mut Random) -> Act {
    match kind {
        UserAct::Release => Act::Release(luck.between(version + 1, 9)),
        UserAct::Undo => Act::Undo((version - 1).max(1)),
        UserAct::Promote => Act::Promote,
        UserAct::PromoteFull => Act::PromoteFull,
        UserAct::Abort => Act::Abort,
        UserAct::Retry => Act::Retry,
        UserAct::Pause => Act::Pause,
        UserAct::Unpause => Act::Unpause,
        UserAct::Scale => Act::Scale(luck.pick(2, &[1, 3, 6, 8])),
        UserAct::ScaleToZero => Act::Scale(0),
        UserAct::Steps => Act::Steps(luck.between(0, 1_000_000)),
        UserAct::Limits => Act::Limits(luck.pick(1, &[0, 2]), luck.pick(1, &[2])),
        UserAct::Router => Act::Router(luck.pick(router, router.others())),
        UserAct::Restart => Act::Restart,
        UserAct::Recreate => Act::Recreate,
    }
}
