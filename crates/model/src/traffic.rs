use crate::Observed;
use serde_json::Value;
use std::collections::BTreeMap;

/// The whole wish for the traffic of one rollout: "these weights, these versions behind these
/// Services, and nothing else of ours". Being whole, it repairs drift and needs no removal of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficIntent {
    /// Where the stable version is reached.
    pub stable: Destination,
    /// Where the canary version is reached.
    pub canary: Destination,
    /// Share of the canary, 0..=`total`. The stable gets the rest.
    pub canary_weight: i32,
    /// The sum of all weights: 100 unless `maxTrafficWeight` says otherwise.
    pub total: i32,
}

/// One version as a target of traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The Service in front of it, when the spec names one.
    pub service: Option<String>,
    /// `rollouts-pod-template-hash` of the pods that the Service shall select. `None`: leave the
    /// Service's selector as it is.
    pub hash: Option<String>,
}

/// What the route objects say now, as one router sees it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TrafficState {
    /// Weights over all routes of this router; `None` for a router without weights (Services).
    pub weights: Option<WeightRange>,
    /// For each Service that this router manages: the hash that its selector names now.
    pub selectors: BTreeMap<String, Option<String>>,
    /// The data plane's word on whether it follows the objects; `None`: this router cannot tell.
    pub confirmed: Option<bool>,
    /// True of what [`TrafficRouter::observe_remains`] has found where the objects are not whole: nothing but weight 0 can be
    /// planned.
    pub is_remains: bool,
    /// Who else writes our paths, when the objects' managedFields tell (for messages).
    pub other_writer: Option<String>,
}

/// The smallest and largest share that the canary has on any route, of `total`. One route that lags
/// makes the two differ; what may be removed is judged by the end that is worse for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightRange {
    /// Smallest share of the canary on any route.
    pub canary_min: i32,
    /// Largest share of the canary on any route.
    pub canary_max: i32,
    /// What our destinations' weights on each route are to sum to.
    pub total: i32,
    /// False when some route's weights are not of the form that we write (they don't sum to `total`, or a
    /// destination of ours is missing), so that a repair is needed although the range looks right.
    pub well_formed: bool,
}

impl TrafficState {
    /// True when nothing is left to be written for `intent`. A router's `plan` is empty exactly then.
    pub fn satisfies(&self, intent: &TrafficIntent) -> bool {
        let weights = self.weights.is_none_or(|range| {
            range.well_formed
                && range.canary_min == intent.canary_weight
                && range.canary_max == intent.canary_weight
                && range.total == intent.total
        });
        weights && [&intent.stable, &intent.canary].into_iter().all(|wish| self.selects(wish))
    }

    fn selects(&self, wish: &Destination) -> bool {
        let (Some(service), Some(hash)) = (&wish.service, &wish.hash) else { return true };
        self.selectors.get(service).is_none_or(|selected| selected.as_ref() == Some(hash))
    }
}

/// A kind of object that a router reads and patches. Drives RBAC, discovery and watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// API group, empty for core.
    pub group: &'static str,
    /// API version that we speak.
    pub version: &'static str,
    /// Kind, CamelCase.
    pub kind: &'static str,
    /// Plural resource name, as in URLs and RBAC.
    pub plural: &'static str,
}

/// Names one object that a router needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The objects that a router asked for, as last seen.
pub type Objects = BTreeMap<ObjectKey, Observed<Value>>;

/// One change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectChange {
    /// A narrow change of an object that is there. The driver sends it with the resourceVersion of the object it was
    /// planned on, so that a concurrent edit is never overwritten (R2).
    Patch {
        /// The object to change.
        target: ObjectKey,
        /// A JSON merge patch that touches only the router's own paths. It holds `metadata.resourceVersion`.
        merge: Value,
    },
    /// An object of ours that is not there yet. Its name follows from the spec, so it needs no record (R5); one that is
    /// there all the same is adopted when it is ours, and never overwritten.
    Create {
        /// The object to make.
        target: ObjectKey,
        /// The whole manifest; its controller owner is the Rollout.
        manifest: Value,
    },
}

impl ObjectChange {
    /// The object that is changed or made.
    pub fn target(&self) -> &ObjectKey {
        match self {
            Self::Patch { target, .. } | Self::Create { target, .. } => target,
        }
    }
}

/// The weight that means all traffic: `maxTrafficWeight` of a Rollout's `trafficRouting`, as far as it can be read.
///
/// 100 where it is absent or no whole number above 0, and wherever Istio takes part, whose weights sum to 100.
pub fn total_weight(traffic_routing: &Value) -> i32 {
    let has_istio = traffic_routing.get("istio").is_some_and(|istio| !istio.is_null());
    let written = traffic_routing.get("maxTrafficWeight").and_then(Value::as_i64);
    let total = written.and_then(|total| i32::try_from(total).ok()).filter(|total| *total > 0 && !has_istio);
    total.unwrap_or(100)
}

/// Where and how a rollout's traffic goes through one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// The router's name, as in the registry: `istio`, `services`.
    pub router: &'static str,
    /// Namespace of the Rollout.
    pub namespace: String,
    /// Name of the Rollout.
    pub rollout: String,
    /// Uid of the Rollout: the controller owner of what a router makes.
    pub uid: String,
    /// `canaryService`, where set.
    pub canary_service: Option<String>,
    /// `stableService`, where set.
    pub stable_service: Option<String>,
    /// The sum of all weights: [`total_weight`] of the spec.
    pub total: i32,
    /// The router's own part of the spec, as the user wrote it; `Null` for `services`. Of several objects that the spec
    /// names in a list it holds one, as if the spec named no other ([`TrafficRouter::parts`]).
    pub config: Value,
    /// The item of that list, below the router's own part: `virtualServices[1]`.
    pub item: Option<String>,
    /// The object that it is about, where it is known: its name, with its namespace in front where that is another one.
    pub object: Option<String>,
}

impl RouterConfig {
    /// What this is called in messages and failures: `istio shop`. By the object, which stays the same when a list is
    /// reordered, or leaves the spec.
    pub fn label(&self) -> String {
        match &self.object {
            None => self.router.to_owned(),
            Some(object) => format!("{} {object}", self.router),
        }
    }
}

/// What a router can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// It splits traffic by weights, independent of the numbers of pods.
    pub weights: bool,
}

/// Why a router cannot plan or observe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouterProblem {
    /// An object is not known yet (cache, API server): wait, don't judge.
    #[error("{kind} {namespace}/{name} has not been read yet", kind = .0.kind.kind, namespace = .0.namespace, name = .0.name)]
    Unknown(ObjectKey),
    /// An object of ours by name still belongs to a Rollout of the same name that is gone: wait until it is, too.
    #[error("{kind} {namespace}/{name} belongs to a deleted Rollout of the same name: it is made again once garbage collection has removed it", kind = .0.kind.kind, namespace = .0.namespace, name = .0.name)]
    Leaving(ObjectKey),
    /// An object that the spec names does not exist.
    #[error("{message}")]
    Missing {
        /// The object.
        object: ObjectKey,
        /// The spec's field that names it, as a path.
        field: String,
        /// What, where, and how to mend it.
        message: String,
    },
    /// The spec or the object has not the form that is needed.
    #[error("{message}")]
    Invalid {
        /// The spec's field concerned, as a path.
        field: String,
        /// What, where, and how to mend it.
        message: String,
    },
}

impl RouterProblem {
    /// True when objects are away, or have not the needed form: what they give the canary all the same may be taken back.
    pub fn is_of_objects(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Invalid { .. })
    }
}

/// A traffic router, without I/O: objects in, changes out. A new router is one file and one line in the registry.
pub trait TrafficRouter: Sync {
    /// Its name in the registry, in metrics and in messages; also of its docs page and its golden files.
    fn name(&self) -> &'static str;

    /// Where its own part of the spec stands, as keys below `spec.strategy.canary.trafficRouting`; empty for a router that
    /// is configured elsewhere.
    fn spec_path(&self) -> &'static [&'static str];

    /// The kinds that it reads and patches.
    fn kinds(&self) -> &'static [Kind];

    /// Those of its kinds of which it makes objects.
    fn created_kinds(&self) -> &'static [Kind] {
        &[]
    }

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The objects that this configuration names.
    ///
    /// # Errors
    /// [`RouterProblem::Invalid`] when the configuration itself is wrong.
    fn references(&self, config: &RouterConfig) -> Result<Vec<ObjectKey>, RouterProblem>;

    /// What stands for itself of this configuration: one part for each object that the spec names, so that one that is
    /// missing, broken or slow keeps no abort from the others. A configuration that is wrong stays whole.
    fn parts(&self, config: &RouterConfig) -> Vec<RouterConfig> {
        vec![config.clone()]
    }

    /// The paths of those objects that are the router's own, for docs and for messages about other writers.
    fn owned_paths(&self) -> &'static [&'static str];

    /// The changes that turn `objects` into what `intent` wishes; empty exactly when
    /// [`TrafficRouter::observe`] satisfies the intent. Outside the owned paths nothing changes.
    ///
    /// # Errors
    /// As [`TrafficRouter::observe`].
    fn plan(
        &self,
        config: &RouterConfig,
        intent: &TrafficIntent,
        objects: &Objects,
    ) -> Result<Vec<ObjectChange>, RouterProblem>;

    /// What the objects say now.
    ///
    /// # Errors
    /// A [`RouterProblem`] when an object is unknown, missing, or not of the needed form.
    fn observe(&self, config: &RouterConfig, objects: &Objects) -> Result<TrafficState, RouterProblem>;

    /// What the objects still give to the canary where the router is no longer of use: the spec names it no longer, or its
    /// objects are not whole. Also what they will give once those are back that are missing now. [`TrafficRouter::plan`] of
    /// weight 0 takes it back.
    ///
    /// # Errors
    /// As [`TrafficRouter::observe`].
    fn observe_remains(
        &self,
        config: &RouterConfig,
        objects: &Objects,
    ) -> Result<TrafficState, RouterProblem> {
        let problem = match self.observe(config, objects) {
            Err(problem) if problem.is_of_objects() => problem,
            known => return known,
        };
        match self.remains(config, objects)?.filter(|range| range.canary_max > 0) {
            None => Err(problem),
            weights => Ok(TrafficState { weights, is_remains: true, ..TrafficState::default() }),
        }
    }

    /// What can be read of the weights of objects that are not whole; `None`: nothing.
    ///
    /// # Errors
    /// As [`TrafficRouter::observe`].
    fn remains(
        &self,
        _config: &RouterConfig,
        _objects: &Objects,
    ) -> Result<Option<WeightRange>, RouterProblem> {
        Ok(None)
    }
}
