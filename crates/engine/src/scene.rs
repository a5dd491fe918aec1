//! What one decision looks at, derived once from the snapshot.

use crate::workload;
use headgate_api::{HeadgateStatus, RolloutStatus, Time, labels};
use headgate_model::spec::RolloutSpec;
use headgate_model::{
    AnalysisRunView, Observed, ReplicaSetView, RolloutView, RouterProblem, RouterView, Snapshot, Timestamp,
    TrafficState, template,
};

use jiff::SignedDuration;

/// Everything that a decision needs to know, with a spec that is known to be right (or at least salvaged).
pub(crate) struct Scene<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) rollout: &'a RolloutView,
    pub(crate) spec: &'a RolloutSpec,
    /// The status as stored.
    pub(crate) old: &'a RolloutStatus,
    pub(crate) now: Timestamp,
    /// ReplicaSets that are not being deleted.
    pub(crate) replica_sets: Vec<&'a ReplicaSetView>,
    pub(crate) runs: &'a [AnalysisRunView],
    /// Hash of the newest version, whether its ReplicaSet exists or not.
    pub(crate) current_hash: String,
    pub(crate) current: Option<&'a ReplicaSetView>,
    /// Number of the newest release.
    pub(crate) revision: i64,
}

/// The ReplicaSets by role. The current one is the stable one too once it is promoted.
pub(crate) struct Versions<'a> {
    pub(crate) current: Option<&'a ReplicaSetView>,
    /// The stable version where it is another than the current one.
    pub(crate) stable: Option<&'a ReplicaSetView>,
    /// Neither current nor stable, newest revision first.
    pub(crate) others: Vec<&'a ReplicaSetView>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        spec: &'a RolloutSpec,
        replica_sets: &'a [ReplicaSetView],
        runs: &'a [AnalysisRunView],
        now: Timestamp,
    ) -> Self {
        let rollout = &snapshot.rollout;
        let replica_sets: Vec<_> = replica_sets.iter().filter(|set| !set.deleting).collect();
        let current = find_current(rollout, spec, &replica_sets);
        let older = replica_sets.iter().filter(|set| current.is_none_or(|current| current.name != set.name));
        let next = older.map(|set| set.revision()).max().unwrap_or(0).saturating_add(1);
        Self {
            snapshot,
            rollout,
            spec,
            old: &rollout.status,
            now,
            runs,
            current_hash: current.map_or(rollout.template_hash.clone(), |current| current.hash().to_owned()),
            revision: current.map_or(next, |current| current.revision().max(next)),
            current,
            replica_sets,
        }
    }

    /// Sticks to the version that the record names, whatever the template says by now: for a spec that is not carried out.
    pub(crate) fn stay_with_stored_version(&mut self) {
        let hash = &self.old.current_pod_hash;
        self.current = self.replica_sets.iter().copied().find(|set| !hash.is_empty() && set.hash() == hash);
        self.current_hash.clone_from(hash);
        self.revision = self.current.map_or(self.revision, ReplicaSetView::revision);
    }

    /// The ReplicaSets by role, for this stable hash.
    pub(crate) fn versions(&self, stable_hash: &str) -> Versions<'a> {
        let is = |set: &ReplicaSetView, hash: &str| !hash.is_empty() && set.hash() == hash;
        let mut others: Vec<_> = self
            .replica_sets
            .iter()
            .copied()
            .filter(|set| !is(set, stable_hash) && !is(set, &self.current_hash))
            .collect();
        others.sort_by_key(|set| std::cmp::Reverse((set.revision(), set.created_at)));
        let stable = self
            .replica_sets
            .iter()
            .copied()
            .find(|set| is(set, stable_hash) && !is(set, &self.current_hash));
        Versions { current: self.current, stable, others }
    }

    /// True when a version is stable and its ReplicaSet exists.
    pub(crate) fn has_stable(&self, stable_hash: &str) -> bool {
        !stable_hash.is_empty()
            && (stable_hash == self.current_hash
                || self.replica_sets.iter().any(|set| set.hash() == stable_hash))
    }

    /// True when the newest version is an older one than the stable one, and so recent that going back to it needs no
    /// steps (Argo Rollouts: fewer than `rollbackWindow.revisions` ReplicaSets were created between the two).
    pub(crate) fn is_recent_rollback(&self, stable_hash: &str) -> bool {
        is_recent_rollback(&self.replica_sets, (&self.current_hash, stable_hash), self.spec.rollback_window)
    }

    /// The routers that split traffic by weights.
    pub(crate) fn weight_routers(&self) -> impl Iterator<Item = &'a RouterView> + use<'a> {
        self.snapshot.routers.iter().filter(|router| router.capabilities.weights)
    }

    /// The routers that the spec no longer names and that may still give the canary a share. What can't be led back because
    /// it is gone, or no longer leads to both Services, gives nothing.
    pub(crate) fn former_routers(&self) -> impl Iterator<Item = &'a RouterView> + use<'a> {
        let is_gone = |router: &&RouterView| {
            matches!(router.state, Err(RouterProblem::Missing { .. } | RouterProblem::Invalid { .. }))
        };
        self.snapshot.former_routers.iter().filter(move |router| !is_gone(router))
    }

    /// What the router of Services sees, when Services are named and readable.
    pub(crate) fn services(&self) -> Option<&'a TrafficState> {
        let router = self.snapshot.routers.iter().find(|router| router.config.router == "services")?;
        router.state.as_ref().ok()
    }

    /// The hash that this Service selects now.
    pub(crate) fn selected(&self, service: Option<&String>) -> Option<&'a str> {
        let name = service?;
        match (self.services(), self.snapshot.services.get(name)) {
            (Some(state), _) => state.selectors.get(name)?.as_deref(),
            // The other one is gone. Without a router this one has nothing to do with it.
            (None, Some(Observed::Present(service))) if self.spec.canary.routing.is_none() => {
                service.selector.get(labels::POD_TEMPLATE_HASH).map(String::as_str)
            }
            (None, _) => None,
        }
    }

    /// True when what a router shows can be relied on. Without a router a Service that is gone sends nothing to anybody, and
    /// is no reason to keep pods.
    pub(crate) fn is_known(&self, router: &RouterView) -> bool {
        match &router.state {
            Ok(state) => state.confirmed != Some(false),
            Err(RouterProblem::Missing { .. }) => self.spec.canary.routing.is_none(),
            Err(_) => false,
        }
    }

    /// Available pods that may be missing, at most all of them and at least one where nothing may be added.
    pub(crate) fn max_unavailable(&self) -> i32 {
        let unavailable = self.spec.canary.max_unavailable.rounded_down(self.spec.replicas);
        let least = i32::from(self.max_surge() == 0);
        unavailable.max(least).min(self.spec.replicas)
    }

    /// Pods that may be added; with the wanted ones no more than a number of pods can be.
    pub(crate) fn max_surge(&self) -> i32 {
        self.spec.canary.max_surge.rounded_up(self.spec.replicas).min(i32::MAX - self.spec.replicas)
    }
}

/// Whether `to` is an older version than `from`, with fewer than `window` created between the two.
pub(crate) fn is_recent_rollback(sets: &[&ReplicaSetView], (to, from): (&str, &str), window: i32) -> bool {
    let created_at =
        |hash: &str| sets.iter().find(|set| !hash.is_empty() && set.hash() == hash).map(|set| set.created_at);
    let (Some(to), Some(from)) = (created_at(to), created_at(from)) else { return false };
    let number = sets.iter().filter(|set| to < set.created_at && set.created_at < from).count();
    to < from && i32::try_from(number).is_ok_and(|number| number < window)
}

impl<'a> Versions<'a> {
    /// The ReplicaSet with this hash.
    pub(crate) fn with_hash(&self, hash: &str) -> Option<&'a ReplicaSetView> {
        [self.current, self.stable]
            .into_iter()
            .flatten()
            .chain(self.others.iter().copied())
            .find(|set| set.hash() == hash)
    }
}

/// The stored hash while the spec it was stored for is unchanged; else an equal template; else the hash. A wrong
/// answer would restart the pods.
fn find_current<'a>(
    rollout: &RolloutView,
    spec: &RolloutSpec,
    replica_sets: &[&'a ReplicaSetView],
) -> Option<&'a ReplicaSetView> {
    let status = &rollout.status;
    let by_hash =
        |hash: &str| replica_sets.iter().copied().find(|set| !hash.is_empty() && set.hash() == hash);
    // While a spec is invalid its template is not taken up, although the generation counts as observed.
    let was_invalid = status
        .conditions
        .iter()
        .any(|condition| condition.type_ == headgate_api::conditions::types::INVALID_SPEC);
    let unchanged = !was_invalid
        && status.observed_generation == rollout.generation.to_string()
        && workload::is_observed(rollout);
    if unchanged && let Some(stored) = by_hash(&status.current_pod_hash) {
        return Some(stored);
    }
    by_template(spec, replica_sets, &rollout.template_hash).or_else(|| by_hash(&rollout.template_hash))
}

/// Of several ReplicaSets with the same template: the one with our hash, else the oldest.
fn by_template<'a>(
    spec: &RolloutSpec,
    replica_sets: &[&'a ReplicaSetView],
    template_hash: &str,
) -> Option<&'a ReplicaSetView> {
    let same = replica_sets.iter().copied().filter(|set| {
        template::same_template(&template::strip_injected(&set.template, &set.annotations), &spec.template)
    });
    same.min_by_key(|set| (set.hash() != template_hash, set.created_at, set.name.clone()))
}

/// The part of the record that only Headgate knows.
pub(crate) fn memory(record: &mut RolloutStatus) -> &mut HeadgateStatus {
    record.headgate.get_or_insert_default()
}

/// `time` plus `seconds`, at most the end of time.
pub(crate) fn after(time: Timestamp, seconds: i32) -> Timestamp {
    after_duration(time, SignedDuration::from_secs(i64::from(seconds)))
}

/// `time` plus `duration`, at most the end of time.
pub(crate) fn after_duration(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// The stored form of an instant.
pub(crate) fn stored(time: Timestamp) -> Option<Time> {
    Some(Time(time))
}
