//! Routers that the spec no longer names. Whoever takes one out, or puts another one in, in the middle of a release leaves
//! its objects with a share for the canary, whose pods then follow the other router's weights or go. So the record holds
//! what was in use, and before it is forgotten it is led back to the stable version, as after an abort. In an abort one that
//! the spec names, and whose objects are not whole any more, is led back the same way.

use super::{Plan, route};
use crate::scene::{Scene, Versions, memory, stored};
use crate::steps::{self, Stage};
use headgate_api::{RolloutStatus, RouterInUse, Time};
use headgate_model::{
    Destination, Effect, RouterConfig, RouterProblem, RouterView, Timestamp, TrafficIntent, WeightRange,
};
use jiff::SignedDuration;
use serde_json::Value;

/// A router that the spec no longer names is watched for so many seconds more: a write that nobody answered may still land.
/// An API server gives a request a minute (`--request-timeout`).
const WATCHED_SECONDS: i64 = 60;

/// The smallest and the largest share that former routers give to the canary, of the spec's total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) least: i32,
    pub(super) most: i32,
}

/// What former routers give; `None` while one of them can't tell. Without one that gives something they give nothing, and
/// nothing less than the whole.
pub(super) fn shares(scene: &Scene<'_>) -> Option<Shares> {
    let total = steps::total(scene.spec);
    let mut shares = Shares { least: total, most: 0 };
    for router in scene.former_routers() {
        let weights = router.state.as_ref().ok()?.weights;
        let Some(range) = weights.filter(|range| range.canary_max > 0) else { continue };
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
        let weight = if state.is_remains {
            if !route::may_go_back(scene, versions) {
                continue;
            }
            0
        } else {
            route::weight(scene, stage, versions, record, (state, range), plan)
        };
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
pub(super) fn remember(scene: &Scene<'_>, record: &mut RolloutStatus, plan: &mut Plan) {
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
    let is_active = |router: &RouterView| gives(router) || is_told(&router.config);
    let remembered = |config: &RouterConfig| {
        known.iter().find(|known| entry(config, known.led_back_at.clone()) == **known)
    };
    let is_under_way = steps::stage(record, scene.spec) != Stage::Promoted;
    let mut in_use = Vec::new();
    for router in scene.weight_routers() {
        // One that the spec names stays: that its object gives nothing any more may be old news when the spec changes.
        if is_active(router) || remembered(&router.config).is_some() {
            in_use.push(entry(&router.config, None));
        }
    }
    for router in &scene.snapshot.former_routers {
        let kept = if is_active(router) {
            Some(entry(&router.config, None))
        } else {
            remembered(&router.config).and_then(|known| kept(scene, router, known, is_under_way))
        };
        plan.wake.extend(kept.as_ref().and_then(watched_until));
        // Of one that the spec names, and whose objects are not whole, it is known by now.
        in_use.extend(kept.filter(|kept| !in_use.contains(kept)));
    }
    if *known != *in_use {
        memory(record).routers_in_use = in_use;
    }
}

/// How a router stays remembered that the spec no longer names, and that is not seen to give anything; `None`: it is forgotten.
fn kept(
    scene: &Scene<'_>,
    router: &RouterView,
    known: &RouterInUse,
    is_under_way: bool,
) -> Option<RouterInUse> {
    match router.state {
        Ok(_) => {
            let led_back_at = known.led_back_at.clone().or_else(|| stored(scene.now));
            let watched = RouterInUse { led_back_at, ..known.clone() };
            watched_until(&watched).is_some_and(|until| until > scene.now).then_some(watched)
        }
        // It may come back while the release goes on, with what it gave.
        Err(RouterProblem::Missing { .. }) => {
            (is_under_way && known.led_back_at.is_none()).then(|| known.clone())
        }
        Err(RouterProblem::Unknown(_) | RouterProblem::Leaving(_)) => Some(known.clone()),
        Err(RouterProblem::Invalid { .. }) => None,
    }
}

fn watched_until(router: &RouterInUse) -> Option<Timestamp> {
    let led_back_at = router.led_back_at.as_ref()?.0;
    led_back_at.checked_add(SignedDuration::from_secs(WATCHED_SECONDS)).ok()
}

fn entry(config: &RouterConfig, led_back_at: Option<Time>) -> RouterInUse {
    RouterInUse {
        router: config.router.to_owned(),
        canary_service: config.canary_service.clone(),
        stable_service: config.stable_service.clone(),
        total: config.total,
        config: without_nulls(&config.config),
        led_back_at,
    }
}

/// A merge patch of the API server drops them, also within a list: what is stored would differ from what was meant for ever.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            there.map(|(field, value)| (field.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
