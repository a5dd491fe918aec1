//! The share of the pods that the newest version keeps while a release without a router is held and the user, or an
//! autoscaler, changes their number.
//!
//! It is remembered from the first change on, until the hold ends: read off the pods at each change it would drift, because
//! two of ten are one of two, and that is five of ten.

use super::pods::{Way, is_left_behind};
use super::sized_for;
use crate::replicas;
use crate::scene::{Scene, Versions, memory};
use crate::steps::{self, Stage};
use headgate_api::{HeldShare, RolloutStatus};

/// Remembers the share, or forgets it.
pub(super) fn remember(
    scene: &Scene<'_>,
    record: &mut RolloutStatus,
    stage: Stage,
    versions: &Versions<'_>,
    way: Way,
) {
    let is_held = way == Way::Held && matches!(stage, Stage::Step(_) | Stage::Finishing);
    let kept = if is_held && scene.spec.canary.routing.is_none() {
        known(scene, record).cloned().or_else(|| first(scene, record, stage, versions))
    } else {
        None
    };
    if record.headgate.as_ref().and_then(|memory| memory.held_share.as_ref()) != kept.as_ref() {
        memory(record).held_share = kept;
    }
}

/// The share that is remembered: a weight, and the whole that it is a part of.
pub(super) fn share(scene: &Scene<'_>, record: &RolloutStatus) -> Option<(i32, i32)> {
    known(scene, record).map(|share| (share.weight, share.total))
}

/// What the stage itself wants.
pub(super) fn wish(scene: &Scene<'_>, stage: Stage) -> (i32, i32) {
    (steps::wish(stage, scene.spec).weight, steps::total(scene.spec))
}

fn known<'a>(scene: &Scene<'_>, record: &'a RolloutStatus) -> Option<&'a HeldShare> {
    let share = record.headgate.as_ref()?.held_share.as_ref()?;
    (share.hash == scene.current_hash && (0..=share.total).contains(&share.weight) && share.total > 0)
        .then_some(share)
}

/// Once the number has changed: the weight of the step where the version has got there, the one before where it has not left
/// that, and in between what it has.
fn first(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    versions: &Versions<'_>,
) -> Option<HeldShare> {
    let (newest, stable) = (versions.current.filter(|set| set.replicas > 0)?, versions.stable?);
    let number = sized_for(newest)?;
    if !is_left_behind(scene, newest) && !is_left_behind(scene, stable) {
        return None;
    }
    let (weight, total) = wish(scene, stage);
    let before = steps::weight_before(record, scene.spec);
    let is_way_up = weight >= before.unwrap_or(0);
    let has_reached = |weight: i32, is_way_up: bool| {
        let goal = replicas::nearest_split(number, weight, total, scene.max_surge());
        match is_way_up {
            // None is not a share: some weights of a few pods come out as that where nothing may be added.
            true if goal.canary == 0 && weight > 0 => false,
            true => newest.replicas >= goal.canary && stable.replicas <= goal.stable,
            false => newest.replicas <= goal.canary && stable.replicas >= goal.stable,
        }
    };
    let (weight, total) = match before {
        _ if has_reached(weight, is_way_up) => (weight, total),
        Some(before) if has_reached(before, !is_way_up) => (before, total),
        _ => (newest.replicas, newest.replicas.saturating_add(stable.replicas)),
    };
    Some(HeldShare { hash: newest.hash().to_owned(), weight, total })
}
