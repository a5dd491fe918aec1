//! Routers that the spec no longer names. Whoever takes one out, or puts another one in, in the middle of a release leaves
//! its objects with a share for the canary, whose pods then follow the other router's weights or go. So the record holds
//! what was in use, and before it is forgotten it is led back to the stable version, as after an abort.

use super::{Plan, route};
use crate::scene::{Scene, Versions, memory};
use crate::steps::{self, Stage};
use headgate_api::{RolloutStatus, RouterInUse};
use headgate_model::{
    Destination, Effect, RouterConfig, RouterProblem, RouterView, TrafficIntent, WeightRange,
};

/// The smallest and the largest share that former routers give to the canary, of the spec's total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) least: i32,
    pub(super) most: i32,
}

/// What former routers give; `None` while one of them can't tell. Without one they give nothing, and nothing less than the
/// whole.
pub(super) fn shares(scene: &Scene<'_>) -> Option<Shares> {
    let total = steps::total(scene.spec);
    let mut shares = Shares { least: total, most: 0 };
    for router in scene.former_routers() {
        let Some(range) = router.state.as_ref().ok()?.weights else { continue };
        let of_total = |share: i32, round: i64| {
            let scaled = (i64::from(share) * i64::from(total) + round) / i64::from(range.total.max(1));
            i32::try_from(scaled).unwrap_or(total)
        };
        shares.least = shares.least.min(of_total(range.canary_min, 0));
        shares.most = shares.most.max(of_total(range.canary_max, i64::from(range.total.max(1)) - 1));
    }
    Some(shares)
}

/// True when former routers give the canary something: then stable has to bear everything before they are led back. While
/// one can't tell nothing shrinks anyway.
pub(super) fn are_in_use(scene: &Scene<'_>) -> bool {
    shares(scene).is_some_and(|shares| shares.most > 0)
}

/// True while the objects of a former router are away. Until the end of the release they may come back as they were.
pub(super) fn may_come_back(scene: &Scene<'_>) -> bool {
    let is_away = |router: &RouterView| matches!(router.state, Err(RouterProblem::Missing { .. }));
    scene.snapshot.former_routers.iter().any(is_away)
}

/// Gives everything back to the stable version as soon as it can bear it.
pub(super) fn lead_back(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    versions: &Versions<'_>,
    plan: &mut Plan,
) {
    let stage = if stage == Stage::Promoted { stage } else { Stage::Aborted };
    for router in scene.former_routers() {
        let Ok(state) = &router.state else { continue };
        let Some(range) = state.weights.filter(|range| range.canary_max > 0) else { continue };
        let weight = route::weight(scene, stage, versions, record, (state, range), plan);
        let intent = intent(&router.config, range, weight);
        if !state.satisfies(&intent) {
            let direction = route::weight_direction(stage, range, weight);
            plan.shift.push(Effect::Route { config: router.config.clone(), intent, direction });
        }
    }
}

/// Its Services stay as they are: they are no matter of this router.
fn intent(config: &RouterConfig, range: WeightRange, canary_weight: i32) -> TrafficIntent {
    let to = |service: &Option<String>| Destination { service: service.clone(), hash: None };
    TrafficIntent {
        stable: to(&config.stable_service),
        canary: to(&config.canary_service),
        canary_weight,
        total: range.total,
    }
}

/// Enters which routers give the canary something, or are now told to.
pub(super) fn remember(scene: &Scene<'_>, record: &mut RolloutStatus, plan: &Plan) {
    let known = record.headgate.as_ref().map_or(&[][..], |memory| &memory.routers_in_use);
    let is_told = |config: &RouterConfig| {
        plan.shift.iter().any(|effect| {
            matches!(effect, Effect::Route { config: told, intent, .. } if told == config && intent.canary_weight > 0)
        })
    };
    let gives = |router: &RouterView| {
        let weights = router.state.as_ref().ok().and_then(|state| state.weights);
        weights.is_some_and(|range| range.canary_max > 0)
    };
    let is_under_way = steps::stage(record, scene.spec) != Stage::Promoted;
    let is_kept = |router: &RouterView| match router.state {
        Ok(_) | Err(RouterProblem::Invalid { .. }) => false,
        // It may come back while the release goes on, with what it gave.
        Err(RouterProblem::Missing { .. }) => is_under_way,
        Err(RouterProblem::Unknown(_) | RouterProblem::Leaving(_)) => true,
    };
    // One that the spec names stays: that its object gives nothing any more may be old news when the spec changes.
    let named = scene.weight_routers().map(|router| (router, true));
    let former = scene.snapshot.former_routers.iter().map(|router| (router, is_kept(router)));
    let mut in_use = Vec::new();
    for (router, stays) in named.chain(former) {
        let entry = entry(&router.config);
        if gives(router) || is_told(&router.config) || stays && known.contains(&entry) {
            in_use.push(entry);
        }
    }
    if *known != *in_use {
        memory(record).routers_in_use = in_use;
    }
}

fn entry(config: &RouterConfig) -> RouterInUse {
    RouterInUse {
        router: config.router.to_owned(),
        canary_service: config.canary_service.clone(),
        stable_service: config.stable_service.clone(),
        total: config.total,
        config: config.config.clone(),
    }
}
