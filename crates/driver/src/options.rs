//! How a driver is set up: options, limits, and who decides.

use headgate_analysis::{RunDecision, RunSnapshot};
use headgate_api::{AnalysisRunStatus, RolloutStatus, events};
use headgate_model::spec::PodHealthAction;
use headgate_model::{Decision, Effect, Notice, Snapshot, Timestamp};
use headgate_notify::{News, Subscriptions};

/// How the driver is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only objects whose label `argo-rollouts.argoproj.io/controller-instance-id` has this value are looked
    /// after; empty: only objects without that label.
    pub instance_id: String,
    /// The component that events name. Default: `rollouts-controller`.
    pub component: String,
    /// Address of the Prometheus for metrics that name none (`ARGO_ROLLOUTS_PROMETHEUS_ADDRESS`).
    pub prometheus_address: Option<String>,
    /// What is done about unhealthy pods of a new version where its Rollout does not say. Default: abort.
    pub pod_health: PodHealthAction,
    /// Upper bounds.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            instance_id: String::new(),
            component: events::SOURCE_COMPONENT.to_owned(),
            prometheus_address: None,
            pod_health: PodHealthAction::default(),
            limits: Limits::default(),
        }
    }
}

/// Upper bounds, so that nothing grows without one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Measurements of one AnalysisRun on their way at the same time. Default: 8.
    pub measurements_per_run: usize,
    /// Measurements of all AnalysisRuns on their way at the same time. Default: 128, and one for each
    /// namespace that has none: however many hosts hang, a namespace that asks another goes on.
    pub measurements_total: usize,
    /// Measurements with one host on their way at the same time. Default: 20, as many as Prometheus answers at a time.
    pub measurements_per_host: usize,
    /// Measurements of one namespace on their way at the same time. Default: 32. One host gets no more of them than it leaves
    /// to others, which is 16: fewer than all of that host, because slow queries of one namespace are its own business.
    pub measurements_per_namespace: usize,
    /// Notifications on their way to one webhook at the same time. Default: 4.
    pub notifications_per_service: usize,
    /// Kubernetes events about one object in a minute. Default: 30.
    pub events_per_minute: usize,
    /// Tasks that one call of [`Driver::poll`] decides, so that a shell can send in between. Default: 256.
    pub decisions_per_poll: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            measurements_per_run: 8,
            measurements_total: 128,
            measurements_per_host: 20,
            measurements_per_namespace: 32,
            notifications_per_service: 4,
            events_per_minute: 30,
            decisions_per_poll: 256,
        }
    }
}

type Decide<S, D> = Box<dyn Fn(&S, Timestamp) -> D + Send>;
type Tell<S, R> = Box<dyn Fn(&S, &R) -> Vec<Notice> + Send>;
type FindNews = Box<dyn Fn(&Snapshot, &RolloutStatus, &Subscriptions, Timestamp) -> News + Send>;

/// The pure functions that decide. Tests script them; everybody else takes [`Deciders::default`].
pub struct Deciders {
    /// Decides a Rollout.
    pub rollout: Decide<Snapshot, Decision>,
    /// What is told about a Rollout's new record.
    pub notices: Tell<Snapshot, RolloutStatus>,
    /// What webhooks are told about a Rollout's new record.
    pub news: FindNews,
    /// What is told about an effect once it was carried out.
    pub outcome: Tell<Snapshot, Effect>,
    /// Decides an AnalysisRun.
    pub run: Decide<RunSnapshot, RunDecision>,
    /// What is told about an AnalysisRun's new record.
    pub run_notices: Tell<RunSnapshot, AnalysisRunStatus>,
}

impl Default for Deciders {
    fn default() -> Self {
        Self {
            rollout: Box::new(headgate_engine::decide),
            notices: Box::new(headgate_engine::notices),
            news: Box::new(headgate_notify::news),
            outcome: Box::new(headgate_engine::outcome),
            run: Box::new(headgate_analysis::decide),
            run_notices: Box::new(headgate_analysis::notices),
        }
    }
}
