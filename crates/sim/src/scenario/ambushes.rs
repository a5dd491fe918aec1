//! Where a process dies or stands still on purpose: at each kind of request, before it and after it.

use super::Scenario;
use crate::effect::{Effect, INTERRUPTIONS};
use crate::faults::Fate;
use crate::random::Random;
use crate::world::routes::INGRESSES;
use headgate_driver::resources::DEPLOYMENTS;

/// What happens to the leader's next request of a kind, once it has sent so many others of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambush {
    /// The kind.
    pub effect: Effect,
    /// What happens.
    pub fate: Fate,
    /// So many go through before it.
    pub passes: u32,
}

/// What may befall what is read, beside an end of the process.
const OF_READS: [Fate; 6] = [
    Fate::CrashAfter,
    Fate::Freeze,
    Fate::AnswerLost,
    Fate::RequestLost,
    Fate::Refused(503, "ServiceUnavailable"),
    Fate::Slow(9_000),
];

/// One at any kind of request, and one at a kind that few worlds have.
pub(super) fn plan(scenario: &Scenario, luck: &mut Random) -> Vec<Ambush> {
    let any = luck.pick(Effect::Record, &Effect::ALL);
    let has_deployment = scenario.surroundings.iter().any(|(target, _)| target.resource == DEPLOYMENTS);
    let has_metadata = scenario.rollout.pointer("/spec/strategy/canary/canaryMetadata").is_some();
    let rare = [
        (Effect::Workload, has_deployment),
        (Effect::Pod, has_metadata),
        (Effect::CreateRoute, scenario.doors.contains(&INGRESSES)),
        (Effect::Notify, !scenario.webhooks.is_empty()),
    ];
    let mut rare: Vec<_> =
        rare.into_iter().filter(|(_, is_here)| *is_here).map(|(effect, _)| effect).collect();
    rare.extend([Effect::DeleteSet, Effect::DeleteRun, Effect::TerminateRun, Effect::Annotate]);
    // A Deployment gives way once, with the first version.
    let is_about_workload = has_deployment && luck.percent(70);
    let rare = if is_about_workload { Effect::Workload } else { luck.pick(Effect::Evict, &rare) };
    let at = |effect, most, luck: &mut Random| {
        let fates: &[Fate] = if effect == Effect::Read { &OF_READS } else { &INTERRUPTIONS };
        let passes = u32::try_from(luck.between(0, most)).unwrap_or(0);
        Ambush { effect, fate: luck.pick(Fate::CrashBefore, fates), passes }
    };
    vec![at(any, 6, luck), at(rare, 0, luck)]
}
