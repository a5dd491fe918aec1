//! What is refused when it is applied: only what Argo Rollouts would hold `InvalidSpec` for ever.
//!
//! Whether a reference resolves, a selector fits its template or a step fits its router is decided by the
//! controller and answered in the status, where it can heal. A missing `selector` is too: the answer there
//! names the lines to add.
//!
//! The API server estimates the cost of every rule for the longest list that it may meet, so lists with rules
//! need a limit. [`STEPS_MAX`] can't be met by an object that can be stored.

/// A rule in the Common Expression Language.
pub(crate) struct Rule {
    /// The kinds that have the rule.
    pub(crate) kinds: &'static [&'static str],
    /// The field whose value is `self`.
    pub(crate) path: &'static str,
    /// The rule.
    pub(crate) cel: &'static str,
    /// What is wrong and how to mend it; the API server puts the path before it.
    pub(crate) message: &'static str,
}

/// A bound that a schema states without a rule.
pub(crate) enum Bound {
    /// The least and the greatest number.
    Range(f64, Option<f64>),
    /// What a text looks like; a number passes.
    Pattern(&'static str),
    /// The greatest number of items.
    MaxItems(i64),
    /// The value of an absent field, as the CRDs of Argo Rollouts have it.
    Default(&'static str),
}

/// More steps than fit into an object: etcd takes 1.5 MiB, the shortest valid step, `{"pause":{}}` with its
/// comma, has 13 bytes.
const STEPS_MAX: i64 = 131_072;

const ROLLOUT: &[&str] = &["Rollout"];
const ANALYSIS: &[&str] = &["AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun"];

/// Durations as Go reads them, or whole seconds; not negative.
const PAUSE_DURATION: &str = r"^\+?([0-9]+|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";

const fn rollout(path: &'static str, cel: &'static str, message: &'static str) -> Rule {
    Rule { kinds: ROLLOUT, path, cel, message }
}

pub(crate) const RULES: &[Rule] = &[
    rollout(
        "spec.selector",
        "self == oldSelf",
        "the selector can't be changed: it says which pods are this Rollout's; create a Rollout with another name instead",
    ),
    rollout(
        "spec",
        "(has(self.progressDeadlineSeconds) ? self.progressDeadlineSeconds : 600) > (has(self.minReadySeconds) ? self.minReadySeconds : 0)",
        "progressDeadlineSeconds (default 600) must be greater than minReadySeconds: raise the one or lower the other",
    ),
    rollout(
        "spec.strategy",
        "has(self.canary) != has(self.blueGreen)",
        "write exactly one of canary and blueGreen",
    ),
    rollout(
        "spec.strategy.blueGreen",
        "!has(self.previewService) || self.previewService != self.activeService",
        "previewService and activeService are the same: name two Services, or leave previewService out",
    ),
    rollout("spec.strategy.blueGreen.antiAffinity", ANTI_AFFINITY, ANTI_AFFINITY_MESSAGE),
    rollout("spec.strategy.canary.antiAffinity", ANTI_AFFINITY, ANTI_AFFINITY_MESSAGE),
    rollout(
        "spec.strategy.canary",
        "!has(self.canaryService) || !has(self.stableService) || self.canaryService == '' || self.canaryService != self.stableService",
        "canaryService and stableService are the same: name two Services",
    ),
    rollout(
        "spec.strategy.canary.pingPong",
        "self.pingService != '' && self.pongService != '' && self.pingService != self.pongService",
        "pingService and pongService must name two different Services",
    ),
    rollout(
        "spec.strategy.canary",
        "!(has(self.maxSurge) && has(self.maxUnavailable)) || !(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
        "maxSurge and maxUnavailable are both 0, so that no pod could be replaced: raise one of them",
    ),
    rollout(
        "spec.strategy.canary",
        "has(self.trafficRouting) || !has(self.scaleDownDelaySeconds)",
        "scaleDownDelaySeconds needs trafficRouting: remove it, or say what routes the traffic",
    ),
    rollout(
        "spec.strategy.canary",
        "has(self.trafficRouting) || !(has(self.dynamicStableScale) && self.dynamicStableScale)",
        "dynamicStableScale needs trafficRouting: remove it, or say what routes the traffic",
    ),
    rollout(
        "spec.strategy.canary",
        "!(has(self.scaleDownDelaySeconds) && has(self.dynamicStableScale) && self.dynamicStableScale)",
        "dynamicStableScale scales down with the traffic: remove scaleDownDelaySeconds, or dynamicStableScale",
    ),
    rollout(
        "spec.strategy.canary",
        "has(self.trafficRouting) || !has(self.steps) || !self.steps.exists(step, has(step.setCanaryScale) || has(step.setHeaderRoute) || has(step.setMirrorRoute))",
        "setCanaryScale, setHeaderRoute and setMirrorRoute steps need trafficRouting: remove them, or say what routes the traffic",
    ),
    rollout(
        "spec.strategy.canary",
        "!has(self.steps) || (has(self.trafficRouting) && has(self.trafficRouting.maxTrafficWeight)) || self.steps.all(step, !has(step.setWeight) || step.setWeight <= 100)",
        "a setWeight step is above 100: write 0 to 100, or set trafficRouting.maxTrafficWeight",
    ),
    rollout(
        "spec.strategy.canary",
        "!(has(self.steps) && has(self.trafficRouting) && has(self.trafficRouting.maxTrafficWeight)) || self.steps.all(step, !has(step.setWeight) || step.setWeight <= self.trafficRouting.maxTrafficWeight)",
        "a setWeight step is above trafficRouting.maxTrafficWeight: lower the step or raise the maximum",
    ),
    rollout(
        "spec.strategy.canary.steps[]",
        "has(self.setWeight) || has(self.pause) || has(self.experiment) || has(self.analysis) || has(self.setCanaryScale) || has(self.setHeaderRoute) || has(self.setMirrorRoute) || has(self.plugin)",
        "the step does nothing: write one of setWeight, pause, analysis, experiment, setCanaryScale, setHeaderRoute, setMirrorRoute and plugin",
    ),
    rollout(
        "spec.strategy.canary.steps[]",
        "(has(self.setWeight) ? 1 : 0) + (has(self.pause) ? 1 : 0) + (has(self.experiment) ? 1 : 0) + (has(self.analysis) ? 1 : 0) <= 1",
        "the step does several things: write setWeight, pause, analysis and experiment as steps of their own, each with its own dash",
    ),
    rollout(
        "spec.strategy.canary.trafficRouting",
        "!has(self.maxTrafficWeight) || has(self.nginx) || has(self.plugins)",
        "maxTrafficWeight works with nginx and plugins only: remove it and write weights of 0 to 100",
    ),
    rollout(
        "spec.strategy.canary.trafficRouting.istio",
        "has(self.virtualService) != (has(self.virtualServices) && size(self.virtualServices) > 0)",
        "write exactly one of virtualService and virtualServices",
    ),
    rollout(
        "spec.strategy.canary.trafficRouting.nginx",
        "(has(self.stableIngress) && self.stableIngress != '') != (has(self.stableIngresses) && size(self.stableIngresses) > 0)",
        "write exactly one of stableIngress and stableIngresses",
    ),
    rollout(
        "spec.strategy.canary.trafficRouting.alb",
        "(has(self.ingress) && self.ingress != '') != (has(self.ingresses) && size(self.ingresses) > 0)",
        "write exactly one of ingress and ingresses",
    ),
];

const ANTI_AFFINITY: &str = "has(self.preferredDuringSchedulingIgnoredDuringExecution) != has(self.requiredDuringSchedulingIgnoredDuringExecution)";
const ANTI_AFFINITY_MESSAGE: &str = "write exactly one of preferredDuringSchedulingIgnoredDuringExecution and requiredDuringSchedulingIgnoredDuringExecution";

/// Kinds, path and bound.
pub(crate) const BOUNDS: &[(&[&str], &str, Bound)] = &[
    (ROLLOUT, "spec.replicas", Bound::Range(0.0, None)),
    (ROLLOUT, "spec.minReadySeconds", Bound::Range(0.0, None)),
    (ROLLOUT, "spec.revisionHistoryLimit", Bound::Range(0.0, None)),
    (ROLLOUT, "spec.progressDeadlineSeconds", Bound::Range(0.0, None)),
    (
        ROLLOUT,
        "spec.strategy.canary.antiAffinity.preferredDuringSchedulingIgnoredDuringExecution.weight",
        Bound::Range(1.0, Some(100.0)),
    ),
    (
        ROLLOUT,
        "spec.strategy.blueGreen.antiAffinity.preferredDuringSchedulingIgnoredDuringExecution.weight",
        Bound::Range(1.0, Some(100.0)),
    ),
    (ROLLOUT, "spec.strategy.canary.podHealth.failedProbes", Bound::Range(1.0, Some(1000.0))),
    (ROLLOUT, "spec.strategy.canary.podHealth.maxRestarts", Bound::Range(0.0, Some(30.0))),
    (ROLLOUT, "spec.strategy.canary.podHealth.restartWindowSeconds", Bound::Range(1.0, Some(86_400.0))),
    (ROLLOUT, "spec.strategy.canary.podHealth.maxOomKills", Bound::Range(0.0, Some(30.0))),
    (ROLLOUT, "spec.strategy.canary.podHealth.imagePullSeconds", Bound::Range(1.0, Some(86_400.0))),
    (ROLLOUT, "spec.strategy.canary.steps", Bound::MaxItems(STEPS_MAX)),
    (ROLLOUT, "spec.strategy.canary.steps[].setWeight", Bound::Range(0.0, None)),
    (ROLLOUT, "spec.strategy.canary.steps[].pause.duration", Bound::Range(0.0, None)),
    (ROLLOUT, "spec.strategy.canary.steps[].pause.duration", Bound::Pattern(PAUSE_DURATION)),
    (ANALYSIS, "spec.metrics[].provider.datadog.interval", Bound::Default("5m")),
    (ANALYSIS, "spec.metrics[].provider.datadog.apiVersion", Bound::Default("v1")),
    (ANALYSIS, "spec.metrics[].provider.datadog.requestTimeout", Bound::Default("10s")),
];
