//! A Rollout's spec once it is known to be right: wrong states don't exist here.
//!
//! [`crate::validate`] is the only place that makes these. Defaults are filled in (Argo Rollouts' defaults).

use crate::template::PodMetadata;
use headgate_api::RolloutAnalysis;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// A valid Rollout spec with its defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutSpec {
    /// Desired pods, 0 or more. Default 1.
    pub replicas: i32,
    /// True when the user left `replicas` out, so that the default must be persisted for autoscalers.
    pub replicas_unset: bool,
    /// The label selector as written (`matchLabels`, `matchExpressions`).
    pub selector: Value,
    /// The pod template, raw.
    pub template: Value,
    /// Seconds that a pod must be ready to count as available. Default 0.
    pub min_ready_seconds: i32,
    /// Old scaled-down ReplicaSets that are kept. Default 10.
    pub revision_history_limit: i32,
    /// `spec.paused`.
    pub paused: bool,
    /// Seconds without progress after which the rollout is Degraded. Default 600.
    pub progress_deadline_seconds: i32,
    /// True: the deadline also aborts. Default false.
    pub progress_deadline_abort: bool,
    /// Number of latest revisions to which a rollback takes no steps. Default 0: all rollbacks take them.
    pub rollback_window: i32,
    /// Pods created before this are to be replaced, once it has passed. Whole seconds.
    pub restart_at: Option<Timestamp>,
    /// Successful AnalysisRuns that are kept. Default 5.
    pub successful_runs_kept: i32,
    /// Other finished AnalysisRuns that are kept. Default 5.
    pub unsuccessful_runs_kept: i32,
    /// What becomes of the pods of a referenced Deployment. Default: nothing.
    pub workload_scale_down: WorkloadScaleDown,
    /// How a new version goes out.
    pub canary: Canary,
}

/// What becomes of the pods of the Deployment that `spec.workloadRef` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WorkloadScaleDown {
    /// They are nobody's concern here.
    #[default]
    Never,
    /// They go once the Rollout is healthy.
    OnSuccess,
    /// They go as the pods of the Rollout become available.
    Progressively,
}

/// The canary strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// The steps, in order; empty means a plain rolling update.
    pub steps: Vec<Step>,
    /// Pods above `replicas` that may exist without a router. Default 25 %, rounded up.
    pub max_surge: Count,
    /// Pods below `replicas` that may be unavailable. Default 25 %, rounded down.
    pub max_unavailable: Count,
    /// Service that selects canary pods.
    pub canary_service: Option<String>,
    /// Service that selects stable pods.
    pub stable_service: Option<String>,
    /// Analysis beside the steps.
    pub background: Option<BackgroundAnalysis>,
    /// Routers, when traffic is split by weights.
    pub routing: Option<Routing>,
    /// Whether pods of a new version keep off the nodes of the stable one's.
    pub anti_affinity: Option<AntiAffinity>,
    /// Labels and annotations that pods carry while they are the canary.
    pub canary_metadata: PodMetadata,
    /// The same while they are stable.
    pub stable_metadata: PodMetadata,
    /// How much of a version must be available for a step to count as reached. `None`: all of it.
    pub progress_threshold: Option<Count>,
    /// When a pod of the new version is unhealthy, and what is done then.
    pub pod_health: PodHealth,
    /// How the weight goes back to 0 after an abort. Default: at once.
    pub abort_policy: AbortPolicy,
    /// For how long the old version stands once the new one has everything. `None`: it is promoted at once.
    pub bake: Option<Bake>,
    /// What is done about the very first version.
    pub initial: Initial,
}

/// How the weight goes back to 0 after an abort, where the canary still has available pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AbortPolicy {
    /// At once when all stable pods but those that may be missing are available; until then in proportion.
    #[default]
    Instant,
    /// Through the weights of the steps, each once stable has the pods for it and the routes show the one before.
    Stepped,
    /// In proportion to the available stable pods, until all are.
    AsCapacityAllows,
}

/// A last look at a new version that has everything, while the old one still stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Bake {
    /// How long.
    pub duration: SignedDuration,
    /// What is run meanwhile.
    pub analysis: Option<RolloutAnalysis>,
}

/// What is done about the very first version of a Rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Initial {
    /// It is stable at once.
    #[default]
    Skip,
    /// Its analyses must be successful before.
    Analyse,
}

/// What happens when an analysis has failed, or could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Back to the stable version.
    #[default]
    Abort,
    /// The release waits for a user.
    Pause,
    /// The release stays until a fresh run is successful.
    Hold,
}

/// How pods of a new version keep off the nodes of the stable one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AntiAffinity {
    /// The scheduler tries to.
    Preferred {
        /// How much it cares, 1 to 100.
        weight: i32,
    },
    /// They stay pending where there is no other node.
    Required,
}

/// When a pod of the new version is unhealthy, and what is done then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodHealth {
    /// What is done. `None`: what the controller does where no spec says otherwise.
    pub action: Option<PodHealthAction>,
    /// Readiness probes that fail in a row, at least 1. Default 3.
    pub failed_probes: i32,
    /// Ends of one container that are allowed within the window, 0 to 30. Default 5.
    pub max_restarts: i32,
    /// The window, at least 1. Default 300.
    pub restart_window_seconds: i32,
    /// Ends of one container for want of memory that are allowed, 0 to 30. Default 0.
    pub max_oom_kills: i32,
    /// For so long an image may be unobtainable, at least 1. Default 120.
    pub image_pull_seconds: i32,
}

impl Default for PodHealth {
    fn default() -> Self {
        Self {
            action: None,
            failed_probes: 3,
            max_restarts: 5,
            restart_window_seconds: 300,
            max_oom_kills: 0,
            image_pull_seconds: 120,
        }
    }
}

/// What is done when a pod of the new version is unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PodHealthAction {
    /// The release is aborted.
    #[default]
    Abort,
    /// The release waits for a user.
    Pause,
    /// Nothing.
    Off,
}

impl Canary {
    /// The sum of the weights: 100 unless a router says otherwise.
    pub fn total(&self) -> i32 {
        self.routing.as_ref().map_or(100, |routing| routing.total)
    }

    /// The weight that holds at the step with this index: that of the last `setWeight` up to it, or 0.
    pub fn weight_at(&self, step: usize) -> i32 {
        let done = self.steps.get(..=step).unwrap_or(&self.steps);
        done.iter().rev().find_map(Step::weight).unwrap_or(0)
    }

    /// The weights that hold from the step with this index on, each once, in their order; 0 is left out: the canary
    /// gets nothing there.
    pub fn weights_from(&self, step: usize) -> Vec<i32> {
        let later = self.steps.iter().skip(step.saturating_add(1)).filter_map(Step::weight);
        let mut weights = Vec::new();
        for weight in std::iter::once(self.weight_at(step)).chain(later) {
            if weight > 0 && !weights.contains(&weight) {
                weights.push(weight);
            }
        }
        weights
    }
}

/// Traffic split by weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// Routers by name with their own part of the spec.
    pub routers: BTreeMap<&'static str, Value>,
    /// Sum of the weights. Default 100.
    pub total: i32,
    /// Seconds that old pods stay after the switch. Default 30, or 0 where stable shrinks with its weight.
    pub scale_down_delay_seconds: i32,
    /// How long canary pods stay after an abort.
    pub abort_delay: AbortDelay,
    /// Old ReplicaSets that may wait for their delay at once. `None`: no limit.
    pub scale_down_delay_revision_limit: Option<i32>,
    /// Stable shrinks as the canary grows.
    pub dynamic_stable_scale: bool,
    /// Least pods of a version that has any.
    pub min_pods_per_replica_set: Option<i32>,
}

/// How long canary pods stay after an abort: `abortScaleDownDelaySeconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortDelay {
    /// The user wrote nothing: 30 s; where stable's pods follow its weight, so do those of the canary.
    Default,
    /// So many seconds, 1 or more.
    After(i32),
    /// They stay (written as 0).
    Stay,
}

impl AbortDelay {
    /// Of what the user wrote, 0 or more.
    pub(crate) fn new(written: Option<i32>) -> Self {
        match written {
            None => Self::Default,
            Some(0) => Self::Stay,
            Some(seconds) => Self::After(seconds),
        }
    }

    /// In seconds; `None` where they stay.
    pub fn seconds(self) -> Option<i32> {
        match self {
            Self::Default => Some(30),
            Self::After(seconds) => Some(seconds),
            Self::Stay => None,
        }
    }
}

/// Analysis beside the steps.
#[derive(Clone, Debug, PartialEq)]
pub struct BackgroundAnalysis {
    /// Index of the first step at which it runs. Default 0.
    pub starting_step: usize,
    /// What to run.
    pub analysis: RolloutAnalysis,
    /// What happens when it has failed.
    pub on_failure: OnFailure,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Give the canary this share, 0..=total.
    SetWeight(i32),
    /// Stay.
    Pause(PauseEnd),
    /// Stay until the analysis has a verdict.
    Analysis(Box<RolloutAnalysis>, OnFailure),
    /// Size of the canary independent of its weight (routers only).
    SetCanaryScale(CanaryScale),
}

impl Step {
    /// The weight that it sets, if it sets one.
    pub fn weight(&self) -> Option<i32> {
        match self {
            Self::SetWeight(weight) => Some(*weight),
            _ => None,
        }
    }
}

/// What ends a pause step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseEnd {
    /// This much time.
    After(SignedDuration),
    /// A promotion by the user, which is waited for no longer than so.
    Promotion(Option<PauseLimit>),
}

/// How long a promotion by the user is waited for (`pause.maxDuration`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseLimit {
    /// This much time.
    pub after: SignedDuration,
    /// What happens then.
    pub then: PauseTimeout,
}

/// What happens when nobody has promoted in time (`pause.onTimeout`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseTimeout {
    /// Back to the stable version.
    Abort,
    /// On with the next step.
    Promote,
    /// The release waits on, which is told.
    Stay,
}

/// Size of the canary independent of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryScale {
    /// As many pods as this weight would need.
    Weight(i32),
    /// This many pods.
    Replicas(i32),
    /// Back to following the weight.
    MatchTrafficWeight,
}

/// A number of pods, absolute or as a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This many.
    Pods(i32),
    /// This many hundredths of the desired number.
    Percent(i32),
}

impl Count {
    /// The number for `desired` pods, rounded up (maxSurge).
    pub fn rounded_up(self, desired: i32) -> i32 {
        match self {
            Self::Pods(pods) => pods,
            Self::Percent(percent) => hundredths(desired, percent, 99),
        }
    }

    /// The number for `desired` pods, rounded down (maxUnavailable).
    pub fn rounded_down(self, desired: i32) -> i32 {
        match self {
            Self::Pods(pods) => pods,
            Self::Percent(percent) => hundredths(desired, percent, 0),
        }
    }
}

/// `(desired · percent + round) / 100` without overflow; `round` is 0 or 99.
fn hundredths(desired: i32, percent: i32, round: i64) -> i32 {
    let exact = i64::from(desired) * i64::from(percent) + round;
    i32::try_from(exact / 100).unwrap_or(i32::MAX)
}
