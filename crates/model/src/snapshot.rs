use crate::spec::{Canary, PodHealthAction};
use crate::{
    Capabilities, EffectKey, Failure, Observed, OrphanView, PodView, ReplicaSetView, RolloutView,
    RouterConfig, RouterProblem, RunningPod, SpecProblem, Timestamp, TrafficState, selector,
};
use headgate_api::At;
use headgate_api::{AnalysisPhase, AnalysisRunSpec, AnalysisTemplateSpec, labels};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All that is known about one rollout at one instant. Deciding is a function of this and of `now`.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The Rollout.
    pub rollout: RolloutView,
    /// ReplicaSets whose controller owner is this Rollout's uid, in no particular order.
    pub replica_sets: Observed<Vec<ReplicaSetView>>,
    /// ReplicaSets without a controller that were made for a Rollout with this selector.
    pub orphans: Vec<OrphanView>,
    /// Every Service that the spec names.
    pub services: BTreeMap<String, Observed<ServiceView>>,
    /// The routers that the spec configures, in the fixed order of the registry, `services` first when the spec names
    /// Services: how each is configured and what it sees.
    pub routers: Vec<RouterView>,
    /// Routers that the spec no longer names and that may still give the canary a share (`routersInUse` of the status),
    /// unless one that it names has the same objects; and those that it names whose objects are not whole, and still give the
    /// canary one.
    pub former_routers: Vec<RouterView>,
    /// AnalysisRuns whose controller owner is this Rollout's uid.
    pub analysis_runs: Observed<Vec<AnalysisRunView>>,
    /// Every AnalysisTemplate and ClusterAnalysisTemplate that the spec reaches, nested ones included.
    pub templates: BTreeMap<TemplateKey, Observed<AnalysisTemplateSpec>>,
    /// Pods of the versions that are not stable, by the uid of their ReplicaSet; a ReplicaSet without pods may be missing.
    pub pods: Observed<BTreeMap<String, Vec<PodView>>>,
    /// All pods of the rollout's ReplicaSets that have not ended, just read live: what a restart needs. Unknown for
    /// every other decision.
    pub running: Observed<Vec<RunningPod>>,
    /// When a weight or a selector was last moved without a record that says so, because none could be written, or a selector
    /// so long after its record that drain time counts from the answer. Unless it is known from elsewhere, nobody sees that one went up and down again meanwhile.
    pub unrecorded_shift_at: Option<Timestamp>,
    /// What is done about unhealthy pods of a new version where its spec does not say.
    pub pod_health: PodHealthAction,
    /// Effects of this rollout that failed and have not succeeded since.
    pub failures: BTreeMap<EffectKey, Failure>,
}

/// One configured router and what it sees.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterView {
    /// Its configuration.
    pub config: RouterConfig,
    /// What it can do.
    pub capabilities: Capabilities,
    /// What it sees, or why it sees nothing.
    pub state: Result<TrafficState, RouterProblem>,
}

/// A Service, as last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceView {
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// Annotation `argo-rollouts.argoproj.io/managed-by-rollouts`, when present.
    pub managed_by: Option<String>,
}

impl ServiceView {
    /// Checks that this Service, called `name`, selects the pods of a template of the Rollout `rollout`, and that no other
    /// Rollout moves it.
    ///
    /// # Errors
    /// What does not fit, and how to mend it.
    pub fn check_fits(&self, name: &str, rollout: &str, template: &Value) -> Result<(), String> {
        if let Some(manager) = self.managed_by.as_ref().filter(|manager| *manager != rollout) {
            return Err(format!(
                "Service \"{name}\" is already managed by another Rollout \"{manager}\": name another Service, or remove \
                 the annotation {} from it",
                labels::MANAGED_BY_ROLLOUTS
            ));
        }
        let pods = selector::string_map(template.at("/metadata/labels"));
        for (key, value) in self.selector.iter().filter(|(key, _)| *key != labels::POD_TEMPLATE_HASH) {
            if pods.get(key) != Some(value) {
                return Err(format!(
                    "Service \"{name}\" has unmatch label \"{key}\" in rollout: its selector asks for {key}={value}, the \
                     pods have {}; change the Service's selector or spec.template.metadata.labels",
                    pods.get(key).map_or_else(|| "no such label".to_owned(), |own| json!(own).to_string())
                ));
            }
        }
        Ok(())
    }

    /// Holds the selector against the labels that pods get with their role (`canaryMetadata`, `stableMetadata`).
    ///
    /// # Errors
    /// A label with which pods would no longer be found, and how to mend it.
    pub fn check_finds_roles(&self, name: &str, canary: &Canary) -> Result<(), SpecProblem> {
        for (role, metadata) in
            [("canaryMetadata", &canary.canary_metadata), ("stableMetadata", &canary.stable_metadata)]
        {
            let is_lost = |(key, value): &(&String, &String)| {
                self.selector.get(*key).is_some_and(|selected| selected != *value)
            };
            if let Some((key, value)) = metadata.labels.iter().find(is_lost) {
                return Err(SpecProblem {
                    field: format!("spec.strategy.canary.{role}.labels[{key}]"),
                    problem: format!(
                        "Invalid value: \"{value}\": Service \"{name}\" selects pods by this label, so that pods with it would \
                         get no traffic: use another key, or change the Service's selector"
                    ),
                });
            }
        }
        Ok(())
    }
}

/// An AnalysisRun, as last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalysisRunView {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Resource version of what was seen.
    pub resource_version: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// True once a deletion timestamp is set.
    pub deleting: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `spec.terminate`.
    pub terminate: bool,
    /// `status.phase`; Pending when it has none yet.
    pub phase: AnalysisPhase,
    /// `status.message`.
    pub message: String,
    /// When it came to its verdict, where that is known.
    pub completed_at: Option<Timestamp>,
    /// What it measures, without `terminate`; `None` once it has ended, and where it cannot be read.
    pub spec: Option<Box<AnalysisRunSpec>>,
    /// Whether each of its metrics ends by itself; `None` once it has ended, and where that cannot be told.
    pub ends_by_itself: Option<bool>,
    /// True while every metric stands well: it is over and was successful, or it has no end and its last measurement was
    /// successful. Dry runs do not count.
    pub stands_well: bool,
    /// What the metric measured last that made the run fail; at most [`LAST_VALUE_CHARS_MAX`] characters of it.
    pub last_value: Option<String>,
}

/// Characters of a measured value that are told in messages: enough for any number.
pub const LAST_VALUE_CHARS_MAX: usize = 40;

/// Names a template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TemplateKey {
    /// An AnalysisTemplate of the Rollout's namespace.
    Namespaced(String),
    /// A ClusterAnalysisTemplate.
    Cluster(String),
}
