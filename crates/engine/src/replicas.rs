//! How many pods each version shall have: arithmetic only.

use headgate_model::spec::{CanaryScale, Count};

/// Pods of one ReplicaSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Pods {
    /// Wanted: `spec.replicas`.
    pub(crate) wanted: i32,
    /// Available, at most as many as wanted.
    pub(crate) available: i32,
    /// The same with those that are perhaps evicted: all but those that are surely not available.
    pub(crate) available_at_most: i32,
}

/// Pods of the two versions of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) canary: i32,
    pub(crate) stable: i32,
}

/// A release whose traffic follows the numbers of pods.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Basic {
    /// `spec.replicas`.
    pub(crate) desired: i32,
    /// Share of the canary, of `total`.
    pub(crate) weight: i32,
    pub(crate) total: i32,
    pub(crate) surge: i32,
    pub(crate) unavailable: i32,
    pub(crate) canary: Pods,
    pub(crate) stable: Pods,
    /// Pods wanted by all further ReplicaSets.
    pub(crate) others: i32,
}

/// The sum of numbers of pods, at most the largest number there is.
pub(crate) fn sum(numbers: impl IntoIterator<Item = i32>) -> i32 {
    numbers.into_iter().fold(0, i32::saturating_add)
}

/// `desired · weight / total`, rounded up.
pub(crate) fn share(desired: i32, weight: i32, total: i32) -> i32 {
    let product = i64::from(desired.max(0)) * i64::from(weight.max(0));
    let total = i64::from(total.max(1));
    i32::try_from((product + total - 1) / total).unwrap_or(i32::MAX)
}

/// Canary pods of a release whose traffic is split by a router (Argo Rollouts: a canary scale, else the share of the
/// weight, rounded up, and not below the least number of pods). A canary that is to get requests has a pod at least.
pub(crate) fn routed_canary(
    desired: i32,
    weight: i32,
    total: i32,
    scale: Option<CanaryScale>,
    least: Option<i32>,
) -> i32 {
    let serving = i32::from(weight > 0 && desired > 0);
    let pods = match scale {
        Some(CanaryScale::Replicas(replicas)) => return replicas.max(serving),
        Some(CanaryScale::Weight(weight)) => share(desired, weight, total).max(serving),
        Some(CanaryScale::MatchTrafficWeight) | None => share(desired, weight, total),
    };
    at_least(pods, least, desired)
}

/// Stable pods of such a release where they go with their weight (Argo Rollouts, `dynamicStableScale`): the share that the
/// canary's weight leaves, or what a canary scale by weight leaves if that is more, and not below the least number of pods.
/// Beside a canary of a given number of pods stable keeps all of its own.
pub(crate) fn routed_stable(
    desired: i32,
    weight: i32,
    total: i32,
    scale: Option<CanaryScale>,
    least: Option<i32>,
) -> i32 {
    let left_over = match scale {
        Some(CanaryScale::Replicas(_)) => total,
        Some(CanaryScale::Weight(scaled)) => total - weight.min(scaled),
        Some(CanaryScale::MatchTrafficWeight) | None => total - weight,
    };
    at_least(share(desired, left_over, total), least, desired)
}

/// A version that has any pods has so many, but no more than are desired.
pub(crate) fn at_least(pods: i32, least: Option<i32>, desired: i32) -> i32 {
    if pods == 0 { 0 } else { pods.max(least.unwrap_or(0).min(desired)) }
}

/// The share of `total` that so many available pods bear, rounded down.
pub(crate) fn bearable(available: i32, desired: i32, total: i32) -> i32 {
    let bearable = i64::from(total) * i64::from(available.max(0)) / i64::from(desired.max(1));
    i32::try_from(bearable).unwrap_or(total).min(total)
}

/// True when enough of `desired` pods are available for a step to count as reached.
pub(crate) fn enough_available(available: i32, desired: i32, threshold: Option<Count>) -> bool {
    match threshold {
        None => available >= desired,
        Some(Count::Pods(pods)) => available >= pods.min(desired),
        Some(Count::Percent(percent)) => {
            i64::from(available) * 100 >= i64::from(desired) * i64::from(percent)
        }
    }
}

/// The split of pods that comes nearest to the weight, without a pod too many.
///
/// Argo Rollouts: the canary gets the share rounded up or down, of `desired` pods or of one more where that is allowed;
/// none or all pods only for weight 0 or all, and for a single pod that can't be surged.
pub(crate) fn nearest_split(desired: i32, weight: i32, total: i32, surge: i32) -> Counts {
    if desired <= 0 {
        return Counts { canary: 0, stable: 0 };
    }
    let up = share(desired, weight, total);
    let product = i64::from(desired) * i64::from(weight);
    let down = i32::try_from(product / i64::from(total.max(1))).unwrap_or(0);
    let zero_allowed = weight == 0 || weight == total || (desired == 1 && surge == 0);
    let tied = |pods: i32| {
        let remainder = i64::from(pods) * i64::from(weight) % i64::from(total.max(1));
        remainder * 2 == i64::from(total)
    };
    let mut options: Vec<(i32, i32)> = Vec::new();
    if up < desired || zero_allowed {
        options.push((up, desired));
    }
    if !tied(desired) && (down != 0 || zero_allowed) {
        options.push((down, desired));
    }
    if surge > 0 {
        options.push((up, desired.saturating_add(1)));
        if !tied(desired.saturating_add(1)) && (down != 0 || zero_allowed) {
            options.push((down, desired.saturating_add(1)));
        }
    }
    // The distance from the weight is |canary · total / pods − weight|: compared without division.
    let distance = |(canary, pods): (i32, i32)| {
        (i128::from(canary) * i128::from(total) - i128::from(weight) * i128::from(pods)).abs()
    };
    let nearer = |best: (i32, i32), option: (i32, i32)| {
        let is_nearer = distance(option) * i128::from(best.1) < distance(best) * i128::from(option.1);
        if is_nearer { option } else { best }
    };
    let (canary, pods) = options.into_iter().reduce(nearer).unwrap_or((0, desired));
    Counts { canary, stable: pods - canary }
}

/// The next numbers of pods of a release without a router: never more than `desired + surge` are wanted, and no step
/// leaves fewer than `desired − unavailable` available (Argo Rollouts: basic canary).
pub(crate) fn basic(input: Basic) -> Counts {
    let target = nearest_split(input.desired, input.weight, input.total, input.surge);
    let grown = grow(input, target);
    if input.others > 0 {
        return Counts {
            canary: without_unavailable(input.canary, target.canary, grown.canary),
            stable: without_unavailable(input.stable, target.stable, grown.stable),
        };
    }
    shrink(input, target, grown)
}

/// A version that is to have no pods keeps only those that are available. Else pods that never become available would
/// take the place of those that have to be added before older versions can go, and nothing would ever move.
fn without_unavailable(pods: Pods, target: i32, grown: i32) -> i32 {
    if target == 0 && pods.wanted > 0 { pods.available_at_most } else { grown }
}

fn grow(input: Basic, target: Counts) -> Counts {
    let wanted = sum([input.canary.wanted, input.stable.wanted, input.others]);
    let mut budget = input.desired.saturating_add(input.surge).saturating_sub(wanted).max(0);
    let mut grown = |wanted: i32, target: i32| {
        let more = (target - wanted).clamp(0, budget);
        budget -= more;
        wanted + more
    };
    let stable = grown(input.stable.wanted, target.stable);
    Counts { stable, canary: grown(input.canary.wanted, target.canary) }
}

fn shrink(input: Basic, target: Counts, grown: Counts) -> Counts {
    let least = input.desired - input.unavailable;
    let increasing = target.canary >= input.canary.wanted;
    let (kept, drained) =
        if increasing { (input.canary, input.stable) } else { (input.stable, input.canary) };
    // Pods of the side that grows count once they are available; of the drained side all that are wanted, because the
    // ReplicaSet controller takes those that are not ready first.
    let surplus = kept.available.saturating_add(drained.wanted).saturating_sub(least);
    if surplus <= 0 {
        return grown;
    }
    let (floor, kept_to, grown_to) = if increasing {
        (target.stable, grown.canary, grown.stable)
    } else {
        (target.canary, grown.stable, grown.canary)
    };
    let drained_to = if drained.wanted > floor { floor.max(drained.wanted - surplus) } else { grown_to };
    let kept_to = within_surge(input, kept, kept_to, drained, drained_to);
    if increasing {
        Counts { canary: kept_to, stable: drained_to }
    } else {
        Counts { canary: drained_to, stable: kept_to }
    }
}

/// Takes pods that are too many from the side that is kept, but none that is needed to stay available.
fn within_surge(input: Basic, kept: Pods, kept_to: i32, drained: Pods, drained_to: i32) -> i32 {
    let excess = kept_to.saturating_add(drained_to).saturating_sub(input.desired.saturating_add(input.surge));
    if excess <= 0 {
        return kept_to;
    }
    let needed = input.desired - input.unavailable - drained.available.min(drained_to);
    (kept_to - excess).max(needed.min(kept.available_at_most)).clamp(0, kept_to)
}

/// The next numbers of pods of ReplicaSets that are neither current nor stable, in the given order: those that are not
/// available go at once, the others as far as `spare` available pods can be missed, but for so many that are `kept` of each.
pub(crate) fn basic_others(others: &[(Pods, i32)], spare: i32) -> Vec<i32> {
    let mut spare = spare.max(0);
    others
        .iter()
        .map(|(pods, kept)| {
            let taken = pods.available.min(pods.wanted).saturating_sub(*kept).clamp(0, spare);
            spare -= taken;
            pods.available_at_most - taken
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (desired, weight, unavailable, surge), (canary wanted, available), (stable wanted, available), others;
    /// expected canary and stable. Numbers are those of Argo Rollouts.
    type Case = ((i32, i32, i32, i32), (i32, i32), (i32, i32), i32, (i32, i32));

    const CASES: &[Case] = &[
        ((10, 10, 1, 1), (0, 0), (10, 10), 0, (1, 9)),
        ((10, 30, 0, 3), (0, 0), (10, 10), 0, (3, 10)),
        ((10, 30, 5, 0), (0, 0), (10, 10), 0, (0, 7)),
        ((1, 5, 0, 1), (0, 0), (1, 1), 0, (1, 1)),
        ((1, 95, 0, 1), (0, 0), (1, 1), 0, (1, 1)),
        ((10, 5, 1, 0), (0, 0), (10, 10), 0, (0, 9)),
        ((10, 5, 1, 0), (0, 0), (9, 9), 0, (1, 9)),
        ((10, 100, 0, 1), (10, 8), (10, 2), 0, (9, 2)),
        ((10, 30, 1, 0), (4, 2), (8, 6), 3, (4, 8)),
        // Back to the stable version, past a broken canary, while a version in between still serves.
        ((10, 0, 0, 1), (1, 0), (8, 8), 2, (0, 8)),
        // The canary's pods are ready: the old ones go.
        ((10, 100, 0, 3), (10, 10), (3, 3), 0, (10, 0)),
        // Back to the stable version.
        ((4, 0, 1, 1), (2, 2), (2, 2), 0, (1, 3)),
        ((4, 0, 1, 1), (1, 1), (4, 4), 0, (0, 4)),
        // Up to the weight, with surge, without, and with both.
        ((10, 100, 0, 3), (6, 3), (7, 7), 0, (6, 7)),
        ((10, 20, 0, 2), (0, 0), (10, 10), 0, (2, 10)),
        ((10, 20, 0, 2), (2, 2), (10, 10), 0, (2, 8)),
        ((10, 30, 0, 2), (0, 0), (10, 10), 0, (2, 10)),
        ((10, 20, 2, 0), (0, 0), (10, 10), 0, (0, 8)),
        ((10, 30, 2, 0), (0, 0), (10, 10), 0, (0, 8)),
        ((10, 50, 1, 2), (0, 0), (10, 10), 0, (2, 9)),
        // None and all.
        ((10, 0, 1, 1), (1, 1), (10, 10), 0, (0, 10)),
        ((10, 100, 1, 1), (10, 10), (1, 1), 0, (10, 0)),
        // A single pod.
        ((1, 20, 0, 1), (0, 0), (1, 1), 0, (1, 1)),
        ((1, 90, 0, 1), (0, 0), (1, 1), 0, (1, 1)),
        ((1, 49, 1, 0), (0, 0), (1, 1), 0, (0, 1)),
        ((1, 51, 1, 0), (0, 0), (1, 1), 0, (0, 0)),
        ((1, 51, 1, 0), (0, 0), (0, 0), 0, (1, 0)),
        // Stable comes first, and pods that are missing count for nothing.
        ((10, 30, 0, 1), (0, 0), (1, 1), 3, (1, 7)),
        ((10, 30, 3, 0), (4, 4), (8, 5), 0, (3, 7)),
        ((10, 10, 1, 0), (0, 0), (10, 10), 0, (0, 9)),
        ((4, 100, 0, 1), (0, 0), (4, 1), 0, (1, 4)),
        ((3, 99, 2, 0), (0, 0), (3, 3), 0, (0, 1)),
        ((3, 99, 2, 0), (0, 0), (1, 1), 0, (2, 1)),
        ((4, 100, 0, 1), (1, 1), (4, 1), 0, (1, 3)),
        // On the way back the new version's pods go as stable's come.
        ((4, 0, 0, 1), (4, 4), (0, 0), 0, (4, 1)),
        ((4, 0, 0, 1), (4, 4), (1, 0), 0, (4, 1)),
        ((4, 0, 0, 1), (4, 4), (1, 1), 0, (3, 1)),
        // Nobody wants pods.
        ((0, 50, 0, 1), (1, 1), (0, 0), 0, (0, 0)),
    ];

    #[test]
    fn pods_move_between_the_versions_within_surge_and_unavailable() {
        for &((desired, weight, unavailable, surge), canary, stable, others, expected) in CASES {
            let pods = |(wanted, available)| Pods { wanted, available, available_at_most: available };
            let (canary, stable) = (pods(canary), pods(stable));
            let input = Basic { desired, weight, total: 100, surge, unavailable, canary, stable, others };
            let counts = basic(input);
            assert_eq!((counts.canary, counts.stable), expected, "{input:?}");
        }
    }

    #[test]
    fn a_small_weight_gets_a_pod_and_a_large_one_leaves_one() {
        let split = |desired, weight, surge| {
            let counts = nearest_split(desired, weight, 100, surge);
            (counts.canary, counts.stable)
        };
        assert_eq!(split(1, 1, 0), (0, 1));
        assert_eq!(split(1, 99, 0), (1, 0));
        assert_eq!(split(2, 1, 0), (1, 1));
        assert_eq!(split(2, 99, 0), (1, 1));
        assert_eq!(split(10, 5, 0), (1, 9));
        assert_eq!(split(10, 0, 1), (0, 10));
        assert_eq!(split(10, 100, 1), (10, 0));
        assert_eq!(split(4, 50, 1), (2, 2));
    }

    #[test]
    fn old_pods_go_the_unavailable_first_and_then_as_many_as_can_be_missed() {
        let pods = |wanted, available| Pods { wanted, available, available_at_most: available };
        assert_eq!(basic_others(&[(pods(3, 1), 0), (pods(2, 2), 0)], 2), [0, 1]);
        assert_eq!(basic_others(&[(pods(3, 1), 0), (pods(2, 2), 0)], -4), [1, 2]);
        assert_eq!(
            basic_others(&[(pods(1, 1), 1), (pods(4, 4), 0)], 1),
            [1, 3],
            "what is kept takes nothing"
        );
        assert_eq!(basic_others(&[(pods(1, 0), 1)], 0), [0]);
        let uncertain = Pods { wanted: 7, available: 5, available_at_most: 6 };
        assert_eq!(basic_others(&[(uncertain, 0)], 0), [6], "the seventh is not there, the sixth may be");
        assert_eq!(basic_others(&[(uncertain, 0)], 2), [4]);
    }

    #[test]
    fn a_canary_scale_overrides_the_weight() {
        assert_eq!(routed_canary(10, 25, 100, None, None), 3);
        assert_eq!(routed_canary(10, 0, 100, None, Some(2)), 0);
        assert_eq!(routed_canary(10, 5, 100, None, Some(2)), 2);
        assert_eq!(routed_canary(10, 5, 100, Some(CanaryScale::Replicas(7)), None), 7);
        assert_eq!(routed_canary(10, 5, 100, Some(CanaryScale::Weight(50)), None), 5);
        assert_eq!(routed_canary(10, 5, 100, Some(CanaryScale::MatchTrafficWeight), None), 1);
    }

    #[test]
    fn a_stable_version_that_goes_with_its_weight_keeps_what_the_canary_leaves() {
        assert_eq!(routed_stable(10, 25, 100, None, None), 8);
        assert_eq!(routed_stable(10, 100, 100, None, Some(2)), 0);
        assert_eq!(routed_stable(10, 95, 100, None, Some(2)), 2);
        assert_eq!(routed_stable(1, 95, 100, None, Some(2)), 1);
        assert_eq!(routed_stable(10, 60, 100, Some(CanaryScale::Replicas(7)), None), 10);
        assert_eq!(routed_stable(10, 60, 100, Some(CanaryScale::Weight(20)), None), 8);
        assert_eq!(routed_stable(10, 20, 100, Some(CanaryScale::Weight(60)), None), 8);
        assert_eq!(routed_stable(10, 250, 1000, None, None), 8);
    }

    #[test]
    fn so_many_pods_bear_their_share_of_the_traffic() {
        assert_eq!(bearable(1, 3, 100), 33);
        assert_eq!(bearable(3, 3, 100), 100);
        assert_eq!(bearable(5, 3, 100), 100);
        assert_eq!(bearable(0, 0, 100), 0);
    }

    #[test]
    fn thresholds_lower_what_counts_as_available() {
        assert!(
            enough_available(9, 10, Some(Count::Percent(90)))
                && !enough_available(8, 10, Some(Count::Percent(90)))
        );
        assert!(
            enough_available(1, 1, Some(Count::Pods(3))) && !enough_available(2, 5, Some(Count::Pods(3)))
        );
        assert!(enough_available(0, 0, None) && !enough_available(4, 5, None));
    }

    proptest::proptest! {
        /// Invariant 3: no step takes available pods below the least, nor asks for more than may be added.
        #[test]
        fn no_step_breaks_surge_or_unavailable(
            desired in 0..30i32, weight in 0..=100i32, surge in 0..6i32, unavailable in 0..6i32,
            canary in (0..30i32, 0..30i32, 0..3i32), stable in (0..30i32, 0..30i32, 0..3i32),
        ) {
            let unavailable = unavailable.max(i32::from(surge == 0)).min(desired);
            let pods = |(wanted, available, perhaps_evicted): (i32, i32, i32)| {
                let available = available.min(wanted);
                Pods { wanted, available, available_at_most: wanted.min(available + perhaps_evicted) }
            };
            let (canary, stable) = (pods(canary), pods(stable));
            let input = Basic { desired, weight, total: 100, surge, unavailable, canary, stable, others: 0 };
            let counts = basic(input);
            for available in [|pods: Pods| pods.available, |pods: Pods| pods.available_at_most] {
                let (canary, stable) = (available(canary), available(stable));
                let after = canary.min(counts.canary) + stable.min(counts.stable);
                proptest::prop_assert!(
                    after >= (canary + stable).min(desired - unavailable), "{input:?} {counts:?}"
                );
            }
            let grown = counts.canary > canary.wanted || counts.stable > stable.wanted;
            proptest::prop_assert!(!grown || counts.canary + counts.stable <= desired + surge, "{input:?} {counts:?}");
        }
    }
}
