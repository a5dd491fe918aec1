//! Defects of sight: what a decision sees instead of what is there.

use super::Defect;
use super::wire::Reported;
use headgate_api::{AnalysisPhase, labels};
use headgate_model::spec::{AbortPolicy, RolloutSpec};
use headgate_model::{End, Observed, PodView, Snapshot, Timestamp, Unready};

/// What a decision sees.
pub(super) fn seen(defect: Defect, snapshot: &Snapshot, reported: &Reported) -> Snapshot {
    let mut seen = snapshot.clone();
    mistake_routers(defect, &mut seen);
    if let Ok(spec) = &mut seen.rollout.spec {
        mistake_spec(defect, spec, snapshot.rollout.status.current_step_index);
    }
    let status = &mut seen.rollout.status;
    match defect {
        Defect::AbortForgotten => status.abort = false,
        Defect::PromotionForgotten => status.promote_full = false,
        Defect::RetryForgotten => status.abort |= status.aborted_at.is_some(),
        Defect::FailuresForgotten => seen.failures.clear(),
        Defect::NoDrain => forget_drain(&mut seen),
        Defect::FailureIgnored => {
            if let Observed::Present(runs) = &mut seen.analysis_runs {
                for run in runs.iter_mut().filter(|run| run.phase == AnalysisPhase::Failed) {
                    run.phase = AnalysisPhase::Successful;
                }
            }
        }
        _ => mistake_availability(defect, &mut seen, reported),
    }
    seen
}

fn mistake_routers(defect: Defect, seen: &mut Snapshot) {
    let status = &seen.rollout.status;
    match defect {
        Defect::AcknowledgementIgnored => {
            let all = seen.routers.iter_mut().chain(&mut seen.former_routers);
            all.filter_map(|router| router.state.as_mut().ok()).for_each(|state| state.confirmed = None);
        }
        Defect::StuckBesideAnalysis => {
            let canary = status.canary.as_ref();
            let run = canary.and_then(|canary| canary.current_background_analysis_run_status.as_ref());
            if run.is_some_and(|run| run.status == Some(AnalysisPhase::Running)) {
                let states = seen.routers.iter_mut().filter_map(|router| router.state.as_mut().ok());
                states.for_each(|state| state.confirmed = Some(false));
            }
        }
        Defect::RouteTakenForGranted if status.abort => {
            let states = seen.routers.iter_mut().filter_map(|router| router.state.as_mut().ok());
            for range in states.filter_map(|state| state.weights.as_mut()) {
                (range.canary_min, range.canary_max) = (0, 0);
            }
        }
        Defect::FormerRouterForgotten => seen.former_routers.clear(),
        _ => {}
    }
}

fn mistake_spec(defect: Defect, spec: &mut RolloutSpec, index: Option<i32>) {
    match defect {
        Defect::PauseEndsWithSteps => {
            let index = index.and_then(|index| usize::try_from(index).ok()).unwrap_or(0);
            spec.paused &= index < spec.canary.steps.len();
        }
        Defect::WayBackIgnored => spec.canary.abort_policy = AbortPolicy::Instant,
        Defect::LeastPodsIgnored => {
            if let Some(routing) = &mut spec.canary.routing {
                routing.min_pods_per_replica_set = None;
            }
        }
        _ => {}
    }
}

fn mistake_availability(defect: Defect, seen: &mut Snapshot, reported: &Reported) {
    match defect {
        Defect::WeightBeforeReady => {
            if let Observed::Present(sets) = &mut seen.replica_sets {
                sets.iter_mut().for_each(|set| set.available_reported = set.replicas);
            }
        }
        Defect::EvictionsForgotten => {
            if let Observed::Present(sets) = &mut seen.replica_sets {
                for set in sets {
                    set.available_reported = set.available_reported.max(reported.of(&set.name));
                    set.perhaps_evicted = 0;
                }
            }
        }
        Defect::YoungRestarted => {
            if let Observed::Present(pods) = &mut seen.running {
                pods.iter_mut().for_each(|pod| pod.created_at = Timestamp::UNIX_EPOCH);
            }
        }
        Defect::PodHealthIgnored => seen.pods = Observed::Unknown,
        Defect::EvictionTakenForKill => mistake_pods(seen, |pod| {
            if std::mem::take(&mut pod.is_excused) {
                let kill = End { at: pod.created_at, exit_code: 137, oom_killed: true };
                pod.containers.iter_mut().for_each(|container| container.last_ends.push(kill));
            }
        }),
        Defect::StartTakenForLoss => mistake_pods(seen, |pod| {
            let loss = Unready { since: pod.created_at, period_seconds: 1, failure_threshold: 3 };
            let starting = pod.containers.iter_mut().filter(|container| container.ends == 0);
            starting.for_each(|container| container.unready = Some(loss));
        }),
        _ => {}
    }
}

fn mistake_pods(seen: &mut Snapshot, mistake: impl Fn(&mut PodView)) {
    if let Observed::Present(pods) = &mut seen.pods {
        pods.values_mut().flatten().for_each(mistake);
    }
}

/// Every delay has passed.
pub(super) fn forget_drain(seen: &mut Snapshot) {
    if let Some(memory) = &mut seen.rollout.status.headgate {
        memory.weight_lowered_at = None;
    }
    let Observed::Present(sets) = &mut seen.replica_sets else { return };
    for deadline in sets.iter_mut().filter_map(|set| set.annotations.get_mut(labels::SCALE_DOWN_DEADLINE)) {
        *deadline = Timestamp::UNIX_EPOCH.to_string();
    }
}
