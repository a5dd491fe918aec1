//! What the pods of the new version say about it: one that is killed for want of memory, ends again and again, loses its
//! readiness, or cannot get its image, condemns the release without any analysis.
//!
//! It counts for a version whose release began before our eyes, and from then on: pods that were unhealthy when Headgate
//! took over, or before a user resumed or retried, condemn nothing. Nor is anything said about a full promotion or a fast
//! rollback, which no analysis judges either.

use crate::bake;
use crate::intent;
use crate::pauses;
use crate::scene::{Scene, after, memory, stored};
use crate::steps::{self, Stage};
use headgate_api::{PauseCondition, PodHealthStatus, RolloutStatus};
use headgate_model::spec::PodHealthAction;
use headgate_model::{ContainerView, PodView, ReplicaSetView, Timestamp, Unready};

/// So long at least a container stays unready after its last failed probe before that counts: a pause of the garbage
/// collector, or a busy node, is no reason to wake anybody.
const UNREADY_LEAST_SECONDS: i32 = 10;

/// A new version begins: its pods' health counts from now on.
pub(crate) fn begin(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let (hash, since) = (scene.current_hash.clone(), stored(scene.now));
    memory(record).pod_health = Some(PodHealthStatus { hash, since, problem: None });
}

/// A user has the same version try again: what happened before does not count any more.
pub(crate) fn begin_again(scene: &Scene<'_>, record: &mut RolloutStatus) {
    if watched(scene, record).is_some() {
        begin(scene, record);
    }
}

/// Nothing is released: nobody's health counts.
pub(crate) fn end(record: &mut RolloutStatus) {
    if let Some(memory) = &mut record.headgate {
        memory.pod_health = None;
    }
}

/// The release does not wait for it any more.
pub(crate) fn forget_problem(record: &mut RolloutStatus) {
    if let Some(watched) = record.headgate.as_mut().and_then(|memory| memory.pod_health.as_mut()) {
        watched.problem = None;
    }
}

/// Aborts or pauses the release when a pod of the new version is unhealthy.
pub(crate) fn heed(scene: &Scene<'_>, record: &mut RolloutStatus) {
    let has_resumed = problem(record).is_some() && !is_paused(record);
    if has_resumed {
        begin_again(scene, record);
    }
    let Some(ward) = Ward::of(scene, record) else { return };
    let Some(problem) = ward.problem() else { return };
    match ward.action {
        PodHealthAction::Abort => intent::condemn(scene, record, problem),
        // What a user has promoted, and is not taken up yet, would be forgotten with another reason to wait.
        PodHealthAction::Pause if record.is_resumed() => {}
        PodHealthAction::Pause => {
            pauses::add(scene, record, PauseCondition::POD_HEALTH);
            if let Some(watched) = &mut memory(record).pod_health {
                watched.problem = Some(problem);
            }
        }
        PodHealthAction::Off => {}
    }
}

/// When a pod that is unhealthy already will have been so for too long.
pub(crate) fn due(scene: &Scene<'_>, record: &RolloutStatus) -> Option<Timestamp> {
    let ward = Ward::of(scene, record)?;
    let all = ward.containers().flat_map(|(pod, container)| ward.deadlines(pod, container));
    all.filter(|due| *due > scene.now).min()
}

/// For which pod, container and cause the release is paused.
pub(crate) fn problem(record: &RolloutStatus) -> Option<&str> {
    record.headgate.as_ref()?.pod_health.as_ref()?.problem.as_deref()
}

/// True while the release waits for a user to look at an unhealthy pod.
pub(crate) fn is_paused(record: &RolloutStatus) -> bool {
    pauses::holds(record, PauseCondition::POD_HEALTH)
}

fn watched<'a>(scene: &Scene<'_>, record: &'a RolloutStatus) -> Option<&'a PodHealthStatus> {
    let watched = record.headgate.as_ref()?.pod_health.as_ref()?;
    (watched.hash == scene.current_hash).then_some(watched)
}

/// The pods of a release whose health counts.
struct Ward<'a> {
    scene: &'a Scene<'a>,
    set: &'a ReplicaSetView,
    pods: Vec<&'a PodView>,
    /// What happened before does not count.
    since: Timestamp,
    action: PodHealthAction,
}

impl<'a> Ward<'a> {
    fn of(scene: &'a Scene<'_>, record: &RolloutStatus) -> Option<Self> {
        let is_under_way = matches!(steps::stage(record, scene.spec), Stage::Step(_) | Stage::Finishing);
        let is_forced = record.promote_full || scene.is_recent_rollback(&record.stable_rs);
        // A retry that waits for the spec to be mended is the user's: it begins anew once it is taken up.
        let is_to_be_retried = record.aborted_at.is_some();
        let action = scene.spec.canary.pod_health.action.unwrap_or(scene.snapshot.pod_health);
        if !is_under_way
            || is_forced
            || is_to_be_retried
            || is_paused(record)
            || action == PodHealthAction::Off
        {
            return None;
        }
        // Nobody has to be asked whether to go back while the old version stands.
        let is_asked = action == PodHealthAction::Pause && !bake::is_under_way(scene, record);
        let action = if is_asked { action } else { PodHealthAction::Abort };
        let since = watched(scene, record)?.since.as_ref()?.0;
        let set = scene.current?;
        let pods = scene.snapshot.pods.present()?.get(&set.uid)?;
        let mut pods: Vec<&PodView> = pods.iter().filter(|pod| !pod.is_excused).collect();
        pods.sort_by(|one, other| one.name.cmp(&other.name));
        Some(Self { scene, set, pods, since, action })
    }

    fn containers(&self) -> impl Iterator<Item = (&'a PodView, &'a ContainerView)> {
        self.pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (*pod, container)))
    }

    /// The first problem, with the names of pod and container.
    fn problem(&self) -> Option<String> {
        self.containers().find_map(|(pod, container)| {
            let cause = self
                .oom_killed(pod, container)
                .or_else(|| self.restarts(pod, container))
                .or_else(|| self.unready(pod, container))
                .or_else(|| self.unpulled(container))?;
            Some(format!("pod {}, container {}: {cause}", pod.name, container.name))
        })
    }

    /// What happened to a pod counts from then on: all of it where the release made the pod.
    fn counts_from(&self, pod: &PodView) -> Timestamp {
        if pod.created_at >= self.since { Timestamp::MIN } else { self.since }
    }

    fn oom_killed(&self, pod: &PodView, container: &ContainerView) -> Option<String> {
        let from = self.counts_from(pod);
        let kills = || container.last_ends.iter().filter(|end| end.oom_killed && end.at >= from);
        let last = kills().next_back()?;
        let count = kills().count();
        if !is_more(count, self.scene.spec.canary.pod_health.max_oom_kills) {
            return None;
        }
        let times = if count > 1 { format!(" {count} times") } else { String::new() };
        let limit = container
            .memory_limit
            .as_deref()
            .map_or("no memory limit".to_owned(), |limit| format!("memory limit {limit}"));
        Some(format!("OOMKilled{times} (exit {}), {limit}", last.exit_code))
    }

    fn restarts(&self, pod: &PodView, container: &ContainerView) -> Option<String> {
        let health = &self.scene.spec.canary.pod_health;
        let window = after(self.scene.now, -health.restart_window_seconds);
        let from = self.counts_from(pod).max(window);
        let count = if pod.started_at.unwrap_or(pod.created_at) >= from {
            usize::try_from(container.ends).unwrap_or(0)
        } else {
            container.last_ends.iter().filter(|end| end.at >= from).count()
        };
        let last = container
            .last_ends
            .last()
            .map_or(String::new(), |end| format!(", last with exit {}", end.exit_code));
        is_more(count, health.max_restarts)
            .then(|| format!("ended {count} times within {} s{last}", health.restart_window_seconds))
    }

    fn unready(&self, pod: &PodView, container: &ContainerView) -> Option<String> {
        self.unready_too_long_at(pod, container).filter(|due| *due <= self.scene.now)?;
        let Unready { since, failure_threshold, .. } = container.unready?;
        let probes = self.scene.spec.canary.pod_health.failed_probes.max(failure_threshold);
        Some(format!(
            "was ready and has not been since {since}: at least {probes} readiness probes failed in a row"
        ))
    }

    fn unpulled(&self, container: &ContainerView) -> Option<String> {
        self.unpulled_too_long_at(container).filter(|due| *due <= self.scene.now)?;
        let unpulled = container.unpulled.as_ref()?;
        let seconds = self.scene.spec.canary.pod_health.image_pull_seconds;
        Some(format!("image {} cannot be pulled for {seconds} s ({})", unpulled.image, unpulled.reason))
    }

    fn deadlines(&self, pod: &PodView, container: &ContainerView) -> impl Iterator<Item = Timestamp> + use<> {
        [self.unready_too_long_at(pod, container), self.unpulled_too_long_at(container)].into_iter().flatten()
    }

    /// When as many readiness probes as may not have failed in a row. The kubelet calls a container unready when
    /// `failureThreshold` of them have, and says nothing of them before: with a lower limit that is when it counts. It asks
    /// on every `periodSeconds`; readiness that comes back ends the row, and another loss begins a new one.
    ///
    /// One probe more is waited for: a kubelet that was restarted calls its containers unready until it has asked them again,
    /// without any probe having failed (kubernetes/kubernetes#100277).
    ///
    /// What is unready for another reason has no [`Unready`], and is not counted here: a container without a readiness
    /// probe, one that has ended or has not been ready in this run, a pod whose node is lost or whose readiness gates are
    /// closed. Pods that are being deleted are not looked at in the first place.
    fn unready_too_long_at(&self, pod: &PodView, container: &ContainerView) -> Option<Timestamp> {
        let unready = container.unready.filter(|_| self.is_some_pod_unready())?;
        let limit = self.scene.spec.canary.pod_health.failed_probes;
        let take = |probes: i32| unready.period_seconds.saturating_mul(probes);
        let failed_at = after(unready.since, take((limit - unready.failure_threshold).max(0)));
        let due = after(failed_at, unready.period_seconds.max(UNREADY_LEAST_SECONDS));
        // Probes that failed before a user had the version try again do not count.
        Some(due.max(after(self.counts_from(pod), take(limit))))
    }

    fn unpulled_too_long_at(&self, container: &ContainerView) -> Option<Timestamp> {
        let unpulled = container.unpulled.as_ref().filter(|_| self.is_some_pod_unready())?;
        Some(after(unpulled.since.max(self.since), self.scene.spec.canary.pod_health.image_pull_seconds))
    }

    /// What lasts must also be seen by the ReplicaSet, which comes by another watch: one that hangs aborts nothing.
    fn is_some_pod_unready(&self) -> bool {
        self.set.ready < self.set.current
    }
}

fn is_more(count: usize, most: i32) -> bool {
    i32::try_from(count).unwrap_or(i32::MAX) > most
}
