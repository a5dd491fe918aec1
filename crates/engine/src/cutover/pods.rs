//! Grow and Shrink: how many pods each version gets now, and when old ones may go.

use super::{
    Plan, ROUTE_SETTLES_SECONDS, Role, dynamic, followed_at, former, held, is_selected, lowered_at,
    observed_canary_max, observed_given, observed_share, passed, routes_are_known, sized_for, target,
};
use crate::on_failure;
use crate::replicas::{self, Counts, Pods};
use crate::scene::{Scene, Versions, after};
use crate::steps::{self, Stage};
use headgate_api::{RolloutStatus, labels};
use headgate_model::spec::{AbortDelay, Routing};
use headgate_model::{Effect, ReplicaSetPatch, ReplicaSetView, Timestamp};
use std::collections::BTreeMap;

/// Sizes the versions for a stage.
pub(super) fn scale(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    versions: &Versions<'_>,
    way: Way,
    plan: &mut Plan,
) {
    let sizes = Sizes::of(scene, record, (stage, versions), way);
    match &scene.spec.canary.routing {
        Some(routing) => {
            scale_routed(scene, record, stage, versions, (routing, sizes), plan);
            retire_others(scene, record, versions, routing, plan);
        }
        None => scale_basic(scene, record, stage, (versions, sizes), plan),
    }
}

/// Whether a release goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    GoesOn,
    /// A user, an analysis, an unhealthy pod or a spec that can't be carried out holds it: pods follow the user's number, and
    /// nothing else.
    Held,
}

impl Way {
    pub(super) fn of(scene: &Scene<'_>, record: &RolloutStatus) -> Self {
        let is_held = steps::is_held(record, scene.spec) || on_failure::keeps_share(record);
        if is_held { Self::Held } else { Self::GoesOn }
    }
}

/// Whether the size of a version may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Moves,
    Held,
}

/// The same of both.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    canary: Size,
    stable: Size,
}

impl Sizes {
    fn of(
        scene: &Scene<'_>,
        record: &RolloutStatus,
        (stage, versions): (Stage, &Versions<'_>),
        way: Way,
    ) -> Self {
        if way == Way::GoesOn || stage == Stage::Aborted {
            return Self { canary: Size::Moves, stable: Size::Moves };
        }
        // Who holds a release does not want a number that changes to begin it.
        let has_begun = |set: &ReplicaSetView| has_begun(scene, set) || held::share(scene, record).is_some();
        let newest = versions.current.filter(|set| versions.stable.is_none() || has_begun(set));
        let is_scaled = [newest, versions.stable].into_iter().flatten().any(|set| is_left_behind(scene, set));
        let size = |moves: bool| if moves { Size::Moves } else { Size::Held };
        Self { canary: size(is_scaled && newest.is_some()), stable: size(is_scaled) }
    }
}

/// True for a new version that serves, or would if it had not been scaled to nothing.
fn has_begun(scene: &Scene<'_>, set: &ReplicaSetView) -> bool {
    set.replicas > 0 || observed_canary_max(scene).is_some_and(|weight| weight > 0)
}

/// True while the user's change of `spec.replicas` has not reached this version, also one to nothing and from there. A version
/// that was given no pods yet has nothing to follow with.
pub(super) fn is_left_behind(scene: &Scene<'_>, set: &ReplicaSetView) -> bool {
    match (scene.spec.replicas, set.replicas) {
        (0, replicas) => replicas > 0,
        (_, 0) => sized_for(set) == Some(0),
        (desired, _) => sized_for(set).is_some_and(|number| number != desired),
    }
}

pub(super) fn resize(set: &ReplicaSetView, to: i32, plan: &mut Plan) {
    let effect = Effect::Scale { name: set.name.clone(), uid: set.uid.clone(), from: set.replicas, to };
    match to.cmp(&set.replicas) {
        std::cmp::Ordering::Greater => plan.grow.push(effect),
        std::cmp::Ordering::Less => plan.shrink.push(effect),
        std::cmp::Ordering::Equal => {}
    }
}

/// Notes `spec.replicas` on a ReplicaSet that has its size; this tells a user's scaling from a release's.
fn note_desired(scene: &Scene<'_>, set: &ReplicaSetView, plan: &mut Plan) {
    let desired = scene.spec.replicas.to_string();
    if set.annotations.get(labels::DESIRED_REPLICAS) != Some(&desired) {
        annotate(set, labels::DESIRED_REPLICAS, Some(desired), plan);
    }
}

fn annotate(set: &ReplicaSetView, key: &str, value: Option<String>, plan: &mut Plan) {
    let annotations = BTreeMap::from([(key.to_owned(), value)]);
    plan.grow.push(Effect::PatchReplicaSet(ReplicaSetPatch { annotations, ..ReplicaSetPatch::of(set) }));
}

pub(super) fn forget_deadline(set: &ReplicaSetView, plan: &mut Plan) {
    if set.annotations.contains_key(labels::SCALE_DOWN_DEADLINE) {
        annotate(set, labels::SCALE_DOWN_DEADLINE, None, plan);
    }
}

fn scale_routed(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    versions: &Versions<'_>,
    (routing, sizes): (&Routing, Sizes),
    plan: &mut Plan,
) {
    let wanted = target(scene, stage, versions);
    let canary_left = scale_canary(scene, record, stage, (versions, wanted.canary), sizes.canary, plan);
    let Some(stable) = versions.stable else { return };
    forget_deadline(stable, plan);
    if !routing.dynamic_stable_scale {
        return settle_size(scene, stable, wanted.stable, sizes.stable, plan);
    }
    if sizes.stable == Size::Held {
        // Nothing moves, but what the routes give to stable must be borne.
        let owed = dynamic::owed(scene, routing, stable).max(stable.replicas);
        return settle_size(scene, stable, owed, Size::Moves, plan);
    }
    let to = dynamic::size(scene, record, (stable, wanted.stable), canary_left, routing, plan);
    settle_size(scene, stable, to, Size::Moves, plan);
}

/// Sizes the newest version; answers how many available pods of it are left then.
fn scale_canary(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    (versions, wanted): (&Versions<'_>, i32),
    size: Size,
    plan: &mut Plan,
) -> i32 {
    let (Some(canary), Some(routing)) = (versions.current, &scene.spec.canary.routing) else { return 0 };
    if stage == Stage::Aborted {
        if routing.dynamic_stable_scale && routing.abort_delay == AbortDelay::Default {
            dynamic::follow_weight(scene, record, canary, versions, routing, plan);
        } else {
            retire_aborted(scene, record, canary, versions, routing, plan);
        }
        return canary.available();
    }
    forget_deadline(canary, plan);
    let to = match versions.stable {
        Some(stable) if wanted < canary.replicas => {
            shrunk_canary(scene, record, stage, (canary, wanted), stable, plan)
        }
        _ => wanted,
    };
    if to == wanted {
        settle_size(scene, canary, wanted, size, plan);
    } else if to < canary.replicas && size == Size::Moves && plan.shift.is_empty() {
        // It has its share of the new number then; for the rest it drains.
        note_desired(scene, canary, plan);
        resize(canary, to, plan);
    }
    canary.available().min(to)
}

fn settle_size(scene: &Scene<'_>, set: &ReplicaSetView, to: i32, size: Size, plan: &mut Plan) {
    if set.replicas == to {
        note_desired(scene, set, plan);
    } else if size == Size::Moves {
        if scene.spec.replicas == 0 {
            // It may be wanted again before anybody has seen it at nothing.
            note_desired(scene, set, plan);
        }
        resize(set, to, plan);
    }
}

/// How long pods stay that get no new requests. Without a delay in the spec proxies are still given their time.
pub(super) fn drain_seconds(routing: &Routing) -> i32 {
    routing.scale_down_delay_seconds.max(ROUTE_SETTLES_SECONDS)
}

/// When pods that have lost their share may go; `None` when no weight has moved.
pub(super) fn drained_at(record: &RolloutStatus, routing: &Routing) -> Option<Timestamp> {
    lowered_at(record).map(|lowered| after(lowered, drain_seconds(routing)))
}

/// The size that the canary may be brought down to now, on its way to `wanted`: the rest must suffice for what the route
/// still gives it, and drain time must have passed. A user's smaller number does not wait for that: then the canary keeps its
/// share of it.
fn shrunk_canary(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    (canary, wanted): (&ReplicaSetView, i32),
    stable: &ReplicaSetView,
    plan: &mut Plan,
) -> i32 {
    let (Some(given), Some(routing)) =
        (observed_given(scene, canary, Role::Canary), &scene.spec.canary.routing)
    else {
        return canary.replicas;
    };
    let is_scaled = steps::wish(stage, scene.spec).scale.is_some();
    let share = |given: i32| replicas::share(scene.spec.replicas, given.min(routing.total), routing.total);
    // A size of its own says how many pods bear the canary's weight, and nothing of what is stable's.
    let needed = if is_scaled {
        share(given.through_stable).max(i32::from(given.through_canary > 0))
    } else {
        share(given.through_canary + given.through_stable)
    };
    let to = if passed(scene, drained_at(record, routing), plan) {
        wanted
    } else {
        wanted.max(same_share(scene, canary))
    };
    let left = stable.available().min(scene.spec.replicas).saturating_add(to);
    let stays_available = left >= scene.spec.replicas - scene.max_unavailable();
    if to >= needed && stays_available { to.min(canary.replicas) } else { canary.replicas }
}

/// The pods of `spec.replicas` that are the same share as those that this ReplicaSet has of the number that it was sized for.
pub(super) fn same_share(scene: &Scene<'_>, set: &ReplicaSetView) -> i32 {
    match sized_for(set) {
        Some(number) if number > scene.spec.replicas => {
            replicas::share(scene.spec.replicas, set.replicas.min(number), number)
        }
        _ => set.replicas,
    }
}

/// After an abort: once stable has everything the canary gets a deadline, and at the deadline it goes, unless a Service
/// still leads to it. Without a delay in the spec it stays as long as any pods are wanted.
fn retire_aborted(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    canary: &ReplicaSetView,
    versions: &Versions<'_>,
    routing: &Routing,
    plan: &mut Plan,
) {
    if serves_again(scene, canary) {
        return forget_deadline(canary, plan);
    }
    let stable_bears_all = versions
        .stable
        .is_some_and(|stable| stable.available() >= scene.spec.replicas - scene.max_unavailable());
    let gets_nothing = routes_are_known(scene) && observed_canary_max(scene) == Some(0);
    if canary.replicas == 0 || !stable_bears_all || !gets_nothing {
        return;
    }
    let Some(delay) = routing.abort_delay.seconds() else {
        // The pods stay, unless the user wants none at all.
        if scene.spec.replicas == 0 && !is_selected(scene, canary) {
            resize(canary, 0, plan);
        }
        return;
    };
    // The deadline may be one of an earlier abort, that could not be taken away when the release was tried again.
    let drained = lowered_at(record).map(|lowered| after(lowered, delay));
    match deadline(canary) {
        None => {
            annotate(canary, labels::SCALE_DOWN_DEADLINE, Some(text(after(scene.now, delay))), plan);
            plan.delayed_until = plan.delayed_until.max(Some(after(scene.now, delay)));
        }
        Some(deadline) => {
            let is_time = passed(scene, Some(deadline).max(drained), plan);
            if is_time && !is_selected(scene, canary) {
                resize(canary, 0, plan);
            }
        }
    }
}

/// Versions that are neither current nor stable: their pods go after a delay that begins when no Service leads to them.
/// Those beyond the limit of versions that wait go earlier, as soon as proxies have had the time to follow.
fn retire_others(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    versions: &Versions<'_>,
    routing: &Routing,
    plan: &mut Plan,
) {
    let mut waiting = 0;
    for old in &versions.others {
        if old.replicas == 0 {
            // `kubectl argo rollouts get` shows a delay for as long as there is a deadline.
            forget_deadline(old, plan);
            continue;
        }
        if serves_again(scene, old) {
            forget_deadline(old, plan);
            continue;
        }
        if is_selected(scene, old) || !routes_are_known(scene) || !others_can_be_missed(scene, versions) {
            continue;
        }
        let deadline = match deadline(old) {
            Some(deadline) => deadline,
            None => {
                let deadline = after(scene.now, drain_seconds(routing));
                annotate(old, labels::SCALE_DOWN_DEADLINE, Some(text(deadline)), plan);
                deadline
            }
        };
        let too_many = routing.scale_down_delay_revision_limit.is_some_and(|limit| waiting >= limit);
        let until = if too_many { when_left(deadline, routing) } else { deadline };
        // Somebody else may have moved a weight while a Service still led to it. Its deadline may be that of an abort and
        // have passed before.
        if passed(scene, Some(until).max(followed_at(record)), plan) {
            resize(old, 0, plan);
        } else {
            waiting += 1;
        }
    }
}

/// When no proxy sends anything any more to a version that has this deadline since its Service was led elsewhere.
fn when_left(deadline: Timestamp, routing: &Routing) -> Timestamp {
    after(deadline, ROUTE_SETTLES_SECONDS - drain_seconds(routing))
}

/// True when the routes lead to this version once more, for example because no other one has available pods: its delay
/// then counts from when they leave it again.
fn serves_again(scene: &Scene<'_>, set: &ReplicaSetView) -> bool {
    is_selected(scene, set) && observed_share(scene, set, Role::Canary).is_some_and(|share| share > 0)
}

/// Old pods may go only while enough of those that are meant to serve are available.
fn others_can_be_missed(scene: &Scene<'_>, versions: &Versions<'_>) -> bool {
    let serving = [versions.current, versions.stable].into_iter().flatten().map(ReplicaSetView::available);
    replicas::sum(serving) >= scene.spec.replicas - scene.max_unavailable()
}

/// The time at which the pods of a ReplicaSet may go, as annotated.
pub(crate) fn deadline(set: &ReplicaSetView) -> Option<Timestamp> {
    set.annotations.get(labels::SCALE_DOWN_DEADLINE)?.parse().ok()
}

fn text(time: Timestamp) -> String {
    time.to_string()
}

fn scale_basic(
    scene: &Scene<'_>,
    record: &RolloutStatus,
    stage: Stage,
    (versions, sizes): (&Versions<'_>, Sizes),
    plan: &mut Plan,
) {
    let has_current = versions.current.is_some();
    // An abort leads back to stable although the new version's ReplicaSet is gone.
    let is_abandoned = || versions.stable.is_some_and(|set| is_left_behind(scene, set));
    if !has_current && stage != Stage::Aborted && !is_abandoned() {
        return;
    }
    let others: Vec<Pods> = versions.others.iter().map(|set| pods(set)).collect();
    // A pod that serves nobody is kept only where it is not in the way of another one.
    let kept_of =
        |set: &ReplicaSetView| if others.is_empty() { set.replicas } else { set.available_at_most() };
    let share = held::share(scene, record);
    // A version that gets no pods leaves all of them to stable.
    let (weight, total) = match sizes.canary {
        Size::Moves if has_current => share.unwrap_or_else(|| held::wish(scene, stage)),
        Size::Moves | Size::Held => (0, steps::total(scene.spec)),
    };
    let counts = basic_counts(scene, versions, &others, (weight, total));
    let of_canary = versions.current.map(|set| (set, counts.canary, set.replicas, sizes.canary));
    let of_stable = versions.stable.map(|set| (set, counts.stable, kept_of(set), sizes.stable));
    let wanted = [of_canary, of_stable].into_iter().flatten();
    let wanted = wanted.map(|(set, to, kept, size)| (set, to.max(kept_for_service(scene, set, kept)), size));
    let wanted: Vec<(&ReplicaSetView, i32, Size)> = wanted.collect();
    // Whoever has noted the number is not on his way to it: in a release that is held both would stop there.
    let goal = || replicas::nearest_split(scene.spec.replicas, weight, total, scene.max_surge());
    let is_there = || counts == goal() && wanted.iter().all(|(set, to, _)| set.replicas == *to);
    let is_under_way = share.is_some() && scene.spec.replicas > 0 && !is_there();
    for (set, to, size) in wanted {
        forget_deadline(set, plan);
        match size {
            Size::Moves if is_under_way => resize(set, to, plan),
            Size::Moves | Size::Held => settle_size(scene, set, to, size, plan),
        }
    }
    // While the release is held nothing takes the place of pods that go.
    let unavailable = if sizes.canary == Size::Moves { scene.max_unavailable() } else { 0 };
    retire_basic_others(scene, versions, &others, unavailable, plan);
}

fn pods(set: &ReplicaSetView) -> Pods {
    Pods { wanted: set.replicas, available: set.available(), available_at_most: set.available_at_most() }
}

/// What the two versions are to have for this share, in the next step of the way there.
fn basic_counts(
    scene: &Scene<'_>,
    versions: &Versions<'_>,
    others: &[Pods],
    (weight, total): (i32, i32),
) -> Counts {
    let desired = scene.spec.replicas;
    let canary = versions.current.map(pods).unwrap_or_default();
    let of_others = replicas::sum(others.iter().map(|pods| pods.wanted));
    match versions.stable {
        // Routers that the spec no longer names still send requests: stable has to bear them all, and the canary those that
        // it gets, before its share is taken back.
        Some(stable) if former::are_in_use(scene) => {
            Counts { canary: canary.wanted, stable: stable.replicas.max(desired) }
        }
        None => {
            let budget = (desired + scene.max_surge() - replicas::sum([of_others, canary.wanted])).max(0);
            Counts { canary: desired.min(canary.wanted.saturating_add(budget)), stable: 0 }
        }
        Some(stable) => replicas::basic(replicas::Basic {
            desired,
            weight,
            total,
            surge: scene.max_surge(),
            unavailable: scene.max_unavailable(),
            canary,
            stable: pods(stable),
            others: of_others,
        }),
    }
}

/// The stable Service leads to a version until another one can bear what it gets: one of these pods stays for it, where the
/// other one can have a pod beside it.
fn kept_for_service(scene: &Scene<'_>, set: &ReplicaSetView, pods: i32) -> i32 {
    let has_room = scene.spec.replicas + scene.max_surge() > 1 && scene.spec.replicas > 0;
    let leads_here = scene.selected(scene.spec.canary.stable_service.as_ref()) == Some(set.hash());
    if has_room && leads_here { pods.min(1) } else { 0 }
}

fn retire_basic_others(
    scene: &Scene<'_>,
    versions: &Versions<'_>,
    others: &[Pods],
    unavailable: i32,
    plan: &mut Plan,
) {
    let serving = [versions.current, versions.stable].into_iter().flatten().map(ReplicaSetView::available);
    let available = replicas::sum(serving.chain(others.iter().map(|pods| pods.available)));
    let spare = available - (scene.spec.replicas - unavailable);
    // What stays for the Service takes nothing of what can be missed: else nothing would go, and nothing could be added.
    let kept = versions.others.iter().map(|old| kept_for_service(scene, old, old.available_at_most()));
    let others: Vec<(Pods, i32)> = others.iter().copied().zip(kept).collect();
    for (old, to) in versions.others.iter().zip(replicas::basic_others(&others, spare)) {
        resize(old, to, plan);
    }
}
