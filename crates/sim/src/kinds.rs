//! The words in which coverage is counted: strategies, routers, kinds of steps, of faults and of acts.

use headgate_api::At;

/// How a release goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// A canary with steps.
    Steps,
    /// A canary with steps and an analysis in the background.
    Watched,
    /// A canary without steps.
    NoSteps,
}

/// How a version's pods are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Router {
    /// Numbers of pods only.
    None,
    /// A VirtualService with two Services.
    Istio,
    /// An Ingress of ingress-nginx, and the canary Ingress that is made beside it.
    Nginx,
    /// An HTTPRoute with two Services, and a Gateway that says what it has read.
    GatewayApi,
    /// A VirtualService and an Ingress at once.
    IstioAndNginx,
    /// An Ingress and an HTTPRoute at once, whose weights are of a thousand.
    NginxAndGatewayApi,
}

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// `setWeight`.
    SetWeight,
    /// `pause` with a duration.
    PauseFor,
    /// `pause` without an end.
    Pause,
    /// `setCanaryScale` with `replicas`.
    ScaleReplicas,
    /// `setCanaryScale` with `weight`.
    ScaleWeight,
    /// `setCanaryScale` with `matchTrafficWeight`.
    ScaleMatch,
    /// `analysis`.
    Analysis,
    /// After the last step, until the version is stable.
    Finishing,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The controller dies between two requests.
    Crash,
    /// It dies, and its last request never arrives.
    CrashBefore,
    /// It dies when its last request has been carried out.
    CrashAfter,
    /// A request is carried out and the answer lost.
    AnswerLost,
    /// A request is lost.
    RequestLost,
    /// 409.
    Conflict,
    /// 429.
    TooManyRequests,
    /// 500.
    ServerError,
    /// 503.
    Unavailable,
    /// 403, once.
    Refused,
    /// 422.
    Invalid,
    /// A request takes seconds.
    SlowRequest,
    /// A frozen leader, between two requests.
    Freeze,
    /// A frozen leader, right after a request.
    FreezeAfter,
    /// Two processes lead.
    TwoLeaders,
    /// A clock that is set.
    Clock,
    /// Watch events that come late, and so in another order than those of other kinds.
    SlowWatch,
    /// Watch events that are lost, and an old list.
    BrokenWatch,
    /// The API server is away.
    ApiOutage,
    /// 403 for all writes to a kind.
    Forbidden,
    /// Somebody else writes the same object at the same time.
    Race,
    /// The installed CRD drops fields.
    Pruned,
    /// A router's CRD is missing.
    MissingCrd,
    /// A Service is missing.
    MissingService,
    /// A route is missing.
    MissingRoute,
    /// A template is missing.
    MissingTemplate,
    /// Somebody else writes the weights.
    ForeignWeights,
    /// Somebody else writes beside them.
    ForeignRoute,
    /// Somebody else scales a ReplicaSet.
    ForeignScale,
    /// Somebody deletes a pod.
    DeletedPod,
    /// Somebody deletes a ReplicaSet.
    DeletedSet,
    /// A node is drained: its pods are evicted.
    DrainedNode,
    /// A node is lost.
    LostNode,
    /// Pods become unready.
    UnreadyPods,
    /// Pods flap.
    FlappingPods,
    /// Pods are in a crash loop.
    CrashLoop,
    /// Pods never get ready.
    NeverReady,
    /// An autoscaler.
    Autoscaler,
    /// A metric without data.
    MetricEmpty,
    /// A metric that is not a number.
    MetricNaN,
    /// A metric provider without a connection.
    MetricDown,
    /// A metric provider that answers 503.
    MetricUnavailable,
    /// A metric provider that is slow.
    MetricSlow,
    /// A metric that stands still.
    MetricStale,
    /// A metric of another type.
    MetricWrongType,
    /// A version that fails requests.
    BadVersion,
}

/// A kind of act of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserAct {
    /// Another version in the middle.
    Release,
    /// Back to the version before.
    Undo,
    /// Promote.
    Promote,
    /// Promote to the end.
    PromoteFull,
    /// Abort.
    Abort,
    /// Retry.
    Retry,
    /// `spec.paused` set.
    Pause,
    /// `spec.paused` unset.
    Unpause,
    /// Another number of pods.
    Scale,
    /// No pods.
    ScaleToZero,
    /// Other steps.
    Steps,
    /// Other limits of pods.
    Limits,
    /// The router taken away or replaced by another one, or given back.
    Router,
    /// `spec.restartAt`.
    Restart,
    /// Deleted and created again.
    Recreate,
}

impl Strategy {
    /// All.
    pub const ALL: [Self; 3] = [Self::Steps, Self::Watched, Self::NoSteps];

    /// How a Rollout's releases go on.
    pub fn of(rollout: &serde_json::Value) -> Self {
        let canary = rollout.at("/spec/strategy/canary");
        let has = |field: &str| canary.and_then(|canary| canary.get(field));
        let steps = has("steps").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
        match (steps, has("analysis")) {
            (0, _) => Self::NoSteps,
            (_, Some(_)) => Self::Watched,
            (_, None) => Self::Steps,
        }
    }
}

impl Router {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Istio,
        Self::Nginx,
        Self::GatewayApi,
        Self::IstioAndNginx,
        Self::NginxAndGatewayApi,
        Self::None,
    ];

    /// What it consists of.
    pub fn parts(self) -> &'static [Self] {
        match self {
            Self::None => &[Self::None],
            Self::Istio => &[Self::Istio],
            Self::Nginx => &[Self::Nginx],
            Self::GatewayApi => &[Self::GatewayApi],
            Self::IstioAndNginx => &[Self::Istio, Self::Nginx],
            Self::NginxAndGatewayApi => &[Self::Nginx, Self::GatewayApi],
        }
    }

    /// The weight that means all traffic in a world with it.
    pub fn total(self) -> i64 {
        if self == Self::NginxAndGatewayApi { 1_000 } else { 100 }
    }

    /// What a user of it may change to, with the same weights: another one, some of its parts, or none.
    pub fn others(self) -> &'static [Self] {
        match self {
            Self::Istio => &[Self::None, Self::Nginx, Self::GatewayApi, Self::IstioAndNginx],
            Self::Nginx => &[Self::None, Self::Istio, Self::GatewayApi, Self::IstioAndNginx],
            Self::GatewayApi => &[Self::None, Self::Istio, Self::Nginx, Self::IstioAndNginx],
            Self::IstioAndNginx => &[Self::None, Self::Istio, Self::Nginx, Self::GatewayApi],
            // Without a router weights are of a hundred.
            Self::NginxAndGatewayApi => &[Self::Nginx, Self::GatewayApi],
            // The first router.
            Self::None => &[Self::Istio],
        }
    }

    /// The routers of a Rollout; the first one where no world has all of them.
    pub fn of(rollout: &serde_json::Value) -> Self {
        let routing = rollout.at("/spec/strategy/canary/trafficRouting");
        let has =
            |router: &str| routing.and_then(|routing| routing.get(router)).is_some_and(|one| !one.is_null());
        match () {
            () if has("istio") && has("nginx") => Self::IstioAndNginx,
            () if has("istio") => Self::Istio,
            () if has("nginx") && has("plugins") => Self::NginxAndGatewayApi,
            () if has("nginx") => Self::Nginx,
            () if has("plugins") => Self::GatewayApi,
            () => Self::None,
        }
    }
}

impl Step {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::SetWeight,
        Self::PauseFor,
        Self::Pause,
        Self::ScaleReplicas,
        Self::ScaleWeight,
        Self::ScaleMatch,
        Self::Analysis,
        Self::Finishing,
    ];

    /// The kind of a step as it is written.
    pub fn of(step: &serde_json::Value) -> Self {
        let has = |pointer: &str| step.at(pointer).is_some();
        match () {
            () if has("/setWeight") => Self::SetWeight,
            () if has("/pause/duration") => Self::PauseFor,
            () if has("/pause") => Self::Pause,
            () if has("/setCanaryScale/replicas") => Self::ScaleReplicas,
            () if has("/setCanaryScale/weight") => Self::ScaleWeight,
            () if has("/setCanaryScale") => Self::ScaleMatch,
            () => Self::Analysis,
        }
    }
}

impl Fault {
    /// All.
    pub const ALL: [Self; 46] = [
        Self::Crash,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::AnswerLost,
        Self::RequestLost,
        Self::Conflict,
        Self::TooManyRequests,
        Self::ServerError,
        Self::Unavailable,
        Self::Refused,
        Self::Invalid,
        Self::SlowRequest,
        Self::Freeze,
        Self::FreezeAfter,
        Self::TwoLeaders,
        Self::Clock,
        Self::SlowWatch,
        Self::BrokenWatch,
        Self::ApiOutage,
        Self::Forbidden,
        Self::Race,
        Self::Pruned,
        Self::MissingCrd,
        Self::MissingService,
        Self::MissingRoute,
        Self::MissingTemplate,
        Self::ForeignWeights,
        Self::ForeignRoute,
        Self::ForeignScale,
        Self::DeletedPod,
        Self::DeletedSet,
        Self::DrainedNode,
        Self::LostNode,
        Self::UnreadyPods,
        Self::FlappingPods,
        Self::CrashLoop,
        Self::NeverReady,
        Self::Autoscaler,
        Self::MetricEmpty,
        Self::MetricNaN,
        Self::MetricDown,
        Self::MetricUnavailable,
        Self::MetricSlow,
        Self::MetricStale,
        Self::MetricWrongType,
        Self::BadVersion,
    ];
}

impl UserAct {
    /// All.
    pub const ALL: [Self; 15] = [
        Self::Release,
        Self::Undo,
        Self::Promote,
        Self::PromoteFull,
        Self::Abort,
        Self::Retry,
        Self::Pause,
        Self::Unpause,
        Self::Scale,
        Self::ScaleToZero,
        Self::Steps,
        Self::Limits,
        Self::Router,
        Self::Restart,
        Self::Recreate,
    ];
}
