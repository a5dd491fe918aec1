//! A very small cluster: it stores records, carries effects out and makes pods available, and at every decision it
//! checks what must always hold. No API server, no failures of calls: those are the driver's.

mod effects;
mod invariants;
mod users;

use headgate_api::{AnalysisPhase, AnalysisTemplateSpec, RolloutStatus, labels};
use headgate_engine::{decide, notices, outcome};
use headgate_model::spec::PodHealthAction;
use headgate_model::{
    AnalysisRunView, Capabilities, Decision, Effect, EffectClass, Failure, FailureClass, Kind, Notice,
    ObjectKey, Observed, ReplicaSetView, RolloutView, RouterConfig, RouterProblem, RouterView, ServiceView,
    Snapshot, TemplateKey, Timestamp, TrafficState, WeightRange, template, validate,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const START: i64 = 1_800_000_000;

pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) now: Timestamp,
    /// Hashes of versions whose pods never get available.
    pub(crate) broken: BTreeSet<String>,
    /// Hashes of versions of which only so many pods get available.
    pub(crate) weak: BTreeMap<String, i32>,
    /// Events so far, as `reason: message`.
    pub(crate) events: Vec<String>,
    /// Effects that the API server refuses.
    pub(crate) refused: Option<fn(&Effect) -> bool>,
    hidden_routes: BTreeMap<usize, TrafficState>,
    counter: u64,
}

/// A spec with this strategy, and version 1 of the template.
pub(crate) fn spec(replicas: i32, canary: Value) -> Value {
    json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": pod_template(1),
        "strategy": {"canary": canary},
    })
}

pub(crate) fn pod_template(version: u32) -> Value {
    json!({
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "app", "image": format!("shop:{version}")}]},
    })
}

/// A canary with these steps through a router.
pub(crate) fn routed(steps: Value) -> Value {
    json!({
        "canaryService": "shop-canary",
        "stableService": "shop-stable",
        "steps": steps,
        "trafficRouting": {"istio": {"virtualService": {"name": "shop"}}},
    })
}

impl World {
    pub(crate) fn new(spec: Value) -> Self {
        let now = Timestamp::from_second(START).unwrap();
        let rollout = RolloutView {
            name: "shop".into(),
            namespace: "store".into(),
            uid: "rollout-uid".into(),
            resource_version: "1".into(),
            generation: 1,
            created_at: now,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            spec: validate(&spec),
            workload: None,
            spec_raw: spec,
            template_hash: String::new(),
            step_hash: String::new(),
            status: RolloutStatus::default(),
        };
        let snapshot = Snapshot {
            rollout,
            orphans: Vec::new(),
            replica_sets: Observed::Present(Vec::new()),
            services: BTreeMap::new(),
            routers: Vec::new(),
            former_routers: Vec::new(),
            unrecorded_shift_at: None,
            analysis_runs: Observed::Present(Vec::new()),
            templates: BTreeMap::new(),
            pods: Observed::Present(BTreeMap::new()),
            running: Observed::Unknown,
            pod_health: PodHealthAction::Abort,
            failures: BTreeMap::new(),
        };
        let mut world = Self {
            snapshot,
            now,
            broken: BTreeSet::new(),
            weak: BTreeMap::new(),
            events: Vec::new(),
            refused: None,
            hidden_routes: BTreeMap::new(),
            counter: 1,
        };
        world.add_routers();
        world.read_spec();
        world
    }

    /// A world whose first version is out and settled.
    pub(crate) fn running(spec: Value) -> Self {
        let mut world = Self::new(spec);
        world.settle();
        assert_eq!(world.phase(), "Healthy", "{:?}", world.status().message);
        world.events.clear();
        world
    }

    fn add_routers(&mut self) {
        let canary = self.snapshot.rollout.spec_raw.pointer("/strategy/canary").cloned().unwrap_or_default();
        let service = |key: &str| canary.get(key).and_then(Value::as_str).map(str::to_owned);
        let (canary_service, stable_service) = (service("canaryService"), service("stableService"));
        for name in [&canary_service, &stable_service].into_iter().flatten() {
            self.add_service(name);
        }
        let config = |router: &'static str| RouterConfig {
            router,
            namespace: "store".into(),
            rollout: "shop".into(),
            uid: "uid-of-shop".into(),
            total: 100,
            canary_service: canary_service.clone(),
            stable_service: stable_service.clone(),
            config: Value::Null,
            item: None,
            object: None,
        };
        if canary_service.is_some() || stable_service.is_some() {
            let selectors = [&canary_service, &stable_service]
                .into_iter()
                .flatten()
                .map(|name| (name.clone(), None))
                .collect();
            self.snapshot.routers.push(RouterView {
                config: config("services"),
                capabilities: Capabilities::default(),
                state: Ok(TrafficState { selectors, ..TrafficState::default() }),
            });
        }
        if canary.get("trafficRouting").is_some() {
            let weights = WeightRange { canary_min: 0, canary_max: 0, total: 100, well_formed: true };
            self.snapshot.routers.push(RouterView {
                config: config("istio"),
                capabilities: Capabilities { weights: true },
                state: Ok(TrafficState { weights: Some(weights), ..TrafficState::default() }),
            });
        }
    }

    pub(crate) fn add_service(&mut self, name: &str) {
        let service =
            ServiceView { selector: BTreeMap::from([("app".into(), "shop".into())]), managed_by: None };
        self.snapshot.services.insert(name.to_owned(), Observed::Present(service));
    }

    /// Version 2 has half of four pods, without a router, and each version a Service.
    pub(crate) fn half_way_with_services() -> Self {
        let canary = json!({
            "steps": [{"setWeight": 50}, {"pause": {}}],
            "canaryService": "shop-canary", "stableService": "shop-stable",
        });
        let mut world = Self::running(spec(4, canary));
        world.release(2);
        world.settle();
        world
    }

    /// What sees the selectors of both Services.
    fn services_router(&mut self) -> &mut RouterView {
        self.snapshot.routers.iter_mut().find(|router| !router.capabilities.weights).unwrap()
    }

    /// Somebody takes the hash out of the selector of a Service and leaves the annotation.
    pub(crate) fn strip(&mut self, name: &str) {
        let router = self.services_router();
        router.state.as_mut().unwrap().selectors.insert(name.to_owned(), None);
        let selector = BTreeMap::from([("app".into(), "shop".into())]);
        let managed_by = Some(self.snapshot.rollout.name.clone());
        self.snapshot
            .services
            .insert(name.to_owned(), Observed::Present(ServiceView { selector, managed_by }));
    }

    /// A Service is deleted: the router of both says so. The other one selects what it has selected.
    pub(crate) fn lose_service(&mut self, name: &str) {
        let router = self.services_router();
        let kind = Kind { group: "", version: "v1", kind: "Service", plural: "services" };
        let object = ObjectKey { kind, namespace: "store".into(), name: name.to_owned() };
        let (field, message) = ("spec.strategy.canary.canaryService".to_owned(), "it is gone".to_owned());
        let state =
            std::mem::replace(&mut router.state, Err(RouterProblem::Missing { object, field, message }));
        for (other, hash) in state.unwrap().selectors {
            let selector = BTreeMap::from([(labels::POD_TEMPLATE_HASH.to_owned(), hash.unwrap())]);
            let service = ServiceView { selector, managed_by: None };
            self.snapshot.services.insert(other, Observed::Present(service));
        }
        self.snapshot.services.insert(name.to_owned(), Observed::Absent);
    }

    fn read_spec(&mut self) {
        let rollout = &mut self.snapshot.rollout;
        rollout.spec = validate(&rollout.spec_raw);
        rollout.template_hash =
            template::pod_template_hash(&rollout.spec_raw["template"], rollout.status.collision_count);
        rollout.step_hash = template::steps_hash(rollout.spec_raw.pointer("/strategy/canary/steps"));
    }

    // ---- what the cluster does ----------------------------------------------------------------------------------------

    pub(crate) fn sets(&self) -> &[ReplicaSetView] {
        self.snapshot.replica_sets.present().unwrap()
    }

    pub(crate) fn sets_mut(&mut self) -> &mut Vec<ReplicaSetView> {
        let Observed::Present(sets) = &mut self.snapshot.replica_sets else {
            panic!("the world knows its ReplicaSets")
        };
        sets
    }

    pub(crate) fn runs_mut(&mut self) -> &mut Vec<AnalysisRunView> {
        let Observed::Present(runs) = &mut self.snapshot.analysis_runs else {
            panic!("the world knows its runs")
        };
        runs
    }

    /// Pods start and stop, as far as their version lets them.
    pub(crate) fn kubelet(&mut self) {
        let (broken, weak) = (self.broken.clone(), self.weak.clone());
        for set in self.sets_mut() {
            set.observed_generation = set.generation;
            set.current = set.replicas;
            let most = weak.get(set.hash()).copied().unwrap_or(i32::MAX);
            let available = if broken.contains(set.hash()) { 0 } else { set.replicas.min(most) };
            set.ready = available;
            set.available_reported = available;
        }
        for run in self.runs_mut() {
            if run.terminate && !run.phase.is_completed() {
                run.phase = AnalysisPhase::Successful;
            }
        }
    }

    /// Pods of a version die; the kubelet brings them back unless the version is broken.
    pub(crate) fn kill_pods(&mut self, hash: &str, left: i32) {
        for set in self.sets_mut().iter_mut().filter(|set| set.hash() == hash) {
            set.available_reported = set.available_reported.min(left);
            set.ready = set.ready.min(left);
        }
    }

    /// All pods of a version die, and new ones do not get ready until it is mended. Gives back its hash.
    pub(crate) fn break_pods(&mut self, version: u32) -> String {
        let hash = self.hash(version);
        self.broken.insert(hash.clone());
        self.kill_pods(&hash, 0);
        hash
    }

    pub(crate) fn verdict(&mut self, name: &str, phase: AnalysisPhase, message: &str) {
        let now = self.now;
        let run = self.runs_mut().iter_mut().find(|run| run.name == name).expect("a run of that name");
        run.phase = phase;
        run.completed_at = phase.is_completed().then_some(now);
        message.clone_into(&mut run.message);
    }

    pub(crate) fn add_template(&mut self, name: &str, spec: Value) {
        let spec: AnalysisTemplateSpec = serde_json::from_value(spec).unwrap();
        self.snapshot.templates.insert(TemplateKey::Namespaced(name.into()), Observed::Present(spec));
    }

    fn route_mut(&mut self) -> Option<&mut RouterView> {
        self.snapshot.routers.iter_mut().find(|router| router.capabilities.weights)
    }

    /// Somebody else changes the weights of the route.
    pub(crate) fn drift(&mut self, least: i32, most: i32) {
        if let Some(RouterView { state: Ok(TrafficState { weights: Some(range), .. }), .. }) =
            self.route_mut()
        {
            (range.canary_min, range.canary_max) = (least, most);
        }
    }

    /// Somebody else points a Service at this version.
    pub(crate) fn repoint(&mut self, service: &str, hash: &str) {
        let router = self.services_router();
        let selectors = &mut router.state.as_mut().unwrap().selectors;
        selectors.insert(service.to_owned(), Some(hash.to_owned()));
    }

    /// The user takes the router out of the spec, or puts another one there, whose route is as it was left, or as it should
    /// be without a release.
    pub(crate) fn change_router(&mut self, to: Option<&'static str>) {
        let Snapshot { routers, former_routers, .. } = &mut self.snapshot;
        let place = routers.iter().position(|router| router.capabilities.weights).expect("it has a router");
        let former = routers.remove(place);
        if let Some(router) = to {
            let left = former_routers.iter().position(|view| view.config.router == router);
            let weights = WeightRange { canary_min: 0, canary_max: 0, total: 100, well_formed: true };
            let plain = || RouterView {
                config: RouterConfig { router, ..former.config.clone() },
                state: Ok(TrafficState { weights: Some(weights), ..TrafficState::default() }),
                capabilities: former.capabilities,
            };
            routers.push(left.map_or_else(plain, |place| former_routers.remove(place)));
        }
        former_routers.push(former);
        self.edit(|spec| {
            let canary = spec["strategy"]["canary"].as_object_mut().unwrap();
            match to {
                Some(router) => canary.insert("trafficRouting".into(), json!({ router: {} })),
                None => canary.remove("trafficRouting"),
            };
        });
        self.forget_former();
    }

    /// What the routers that the spec named before see, as long as they are remembered.
    pub(crate) fn former(&mut self) -> Vec<&mut Result<TrafficState, RouterProblem>> {
        self.snapshot.former_routers.iter_mut().map(|router| &mut router.state).collect()
    }

    /// As the driver does it: it looks at those that the record names.
    fn forget_former(&mut self) {
        let memory = self.snapshot.rollout.status.headgate.as_ref();
        let in_use = memory.map_or(&[][..], |memory| &memory.routers_in_use);
        let named = |router: &RouterView| in_use.iter().any(|entry| entry.router == router.config.router);
        self.snapshot.former_routers.retain(named);
    }

    /// What the data plane says of the route.
    pub(crate) fn confirm(&mut self, word: Option<bool>) {
        if let Some(RouterView { state: Ok(state), .. }) = self.route_mut() {
            state.confirmed = word;
        }
    }

    /// Makes a router's objects unreadable, or readable again as they were.
    pub(crate) fn hide_route(&mut self, index: usize, hide: bool) {
        let Some(route) = self.snapshot.routers.get_mut(index) else { return };
        if hide {
            let kind = Kind { group: "", version: "v1", kind: "Service", plural: "services" };
            let object = ObjectKey { kind, namespace: "store".into(), name: "shop".into() };
            if let Ok(shown) = std::mem::replace(&mut route.state, Err(RouterProblem::Unknown(object))) {
                self.hidden_routes.insert(index, shown);
            }
        } else if let Some(state) = self.hidden_routes.remove(&index) {
            route.state = Ok(state);
        }
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
    }

    // ---- the controller -----------------------------------------------------------------------------------------------

    pub(crate) fn decide(&mut self) -> Decision {
        let decision = decide(&self.snapshot, self.now);
        invariants::check(self, &decision);
        decision
    }

    /// Stores the record and carries out at most this many effects.
    pub(crate) fn carry_out(&mut self, decision: &Decision, most: usize) {
        let said = notices(&self.snapshot, &decision.record);
        self.note(said);
        self.snapshot.rollout.status = stored(&decision.record);
        self.read_spec();
        self.forget_former();
        for effect in decision.effects.iter().take(most) {
            if self.refused.is_some_and(|is_refused| is_refused(effect)) {
                self.refuse(effect);
                continue;
            }
            let said = outcome(&self.snapshot, effect);
            self.note(said);
            self.apply(effect);
        }
    }

    /// It is held until its next attempt, which does not come here.
    fn refuse(&mut self, effect: &Effect) {
        let failure = Failure {
            class: FailureClass::Forbidden,
            message: "Forbidden".into(),
            since: self.now,
            attempts: 1,
            told: false,
            held: vec![effect.clone()],
        };
        self.snapshot.failures.insert(effect.key(), failure);
    }

    /// The record could not be written: only what adds, or leads back to stable, goes out, and no run is made or ends (R1).
    pub(crate) fn carry_out_without_record(&mut self, decision: &Decision) {
        for effect in &decision.effects {
            let back = effect.leads_back();
            let is_of_a_run = matches!(
                effect,
                Effect::CreateAnalysisRun { .. }
                    | Effect::TerminateAnalysisRun { .. }
                    | Effect::DeleteAnalysisRun { .. }
            );
            if back || effect.class() == EffectClass::Grow && !is_of_a_run {
                self.apply(effect);
            }
        }
    }

    fn note(&mut self, notices: Vec<Notice>) {
        self.events
            .extend(notices.into_iter().map(|notice| format!("{}: {}", notice.reason, notice.message)));
    }

    /// One decision, carried out whole; its pods start, but none are counted by the checks of this world.
    pub(crate) fn unchecked_step(&mut self) {
        let decision = decide(&self.snapshot, self.now);
        self.carry_out(&decision, usize::MAX);
        for set in self.sets_mut() {
            set.observed_generation = set.generation;
            (set.ready, set.available_reported) = (set.replicas, set.replicas);
        }
    }

    /// One decision, carried out whole; true when it changed anything.
    pub(crate) fn step(&mut self) -> bool {
        let decision = self.decide();
        let changes =
            !decision.effects.is_empty() || stored(&decision.record) != self.snapshot.rollout.status;
        self.carry_out(&decision, usize::MAX);
        changes
    }

    /// Decides and lets pods start until nothing changes any more at this instant.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200 {
            let changed = self.step();
            let before = self.snapshot.clone();
            self.kubelet();
            if !changed && before == self.snapshot {
                self.check_settled();
                return;
            }
        }
        panic!("does not settle: {:#?}", self.decide());
    }

    /// Settles, and follows every wake-up, until nothing is due any more.
    pub(crate) fn settle_over_time(&mut self) {
        for _ in 0..100 {
            self.settle();
            match self.decide().wake_at {
                Some(wake) => {
                    assert!(wake > self.now);
                    self.now = wake;
                }
                None => return,
            }
        }
        panic!("wakes for ever: {:#?}", self.decide());
    }

    /// Invariant 6: a settled snapshot gets the stored record and no effects, at every time before the wake-up.
    pub(crate) fn check_settled(&self) {
        let first = decide(&self.snapshot, self.now);
        let until = first.wake_at.map_or(self.now.as_second() + 100_000, |wake| wake.as_second() - 1);
        for second in [self.now.as_second(), (self.now.as_second() + until) / 2, until] {
            let decision = decide(&self.snapshot, Timestamp::from_second(second).unwrap());
            assert_eq!(decision.effects, [], "settled, but still has effects");
            assert_eq!(
                stored(&decision.record),
                self.snapshot.rollout.status,
                "settled, but changes the record"
            );
            assert_eq!(decision.wake_at, first.wake_at);
        }
        let status = self.status();
        let is_settled = self.phase() == "Healthy" && status.waiting.is_none();
        assert!(
            is_settled || status.waiting.is_some(),
            "{} without a reason: {}",
            self.phase(),
            status.message
        );
    }

    // ---- what one sees ------------------------------------------------------------------------------------------------

    pub(crate) fn status(&self) -> &RolloutStatus {
        &self.snapshot.rollout.status
    }

    pub(crate) fn phase(&self) -> &'static str {
        self.status().phase.map_or("none", |phase| phase.as_str())
    }

    pub(crate) fn waits_for(&self) -> &str {
        self.status().waiting.as_ref().map_or("", |waiting| waiting.kind.as_str())
    }

    pub(crate) fn weight(&self) -> i32 {
        self.snapshot
            .routers
            .iter()
            .find_map(|router| router.state.as_ref().ok()?.weights)
            .unwrap()
            .canary_max
    }

    pub(crate) fn selected(&self, service: &str) -> Option<String> {
        self.snapshot.routers[0].state.as_ref().unwrap().selectors[service].clone()
    }

    /// Hash of this version of the template.
    pub(crate) fn hash(&self, version: u32) -> String {
        template::pod_template_hash(&pod_template(version), None)
    }

    /// Wanted pods of this version; 0 without a ReplicaSet.
    pub(crate) fn pods(&self, version: u32) -> i32 {
        let hash = self.hash(version);
        self.sets().iter().find(|set| set.hash() == hash).map_or(0, |set| set.replicas)
    }

    pub(crate) fn condition(&self, type_: &str) -> (String, String) {
        let condition = self.status().conditions.iter().find(|condition| condition.type_ == type_);
        condition.map_or_else(Default::default, |known| (known.status.clone(), known.reason.clone()))
    }

    pub(crate) fn annotation(&self, version: u32, key: &str) -> Option<String> {
        let hash = self.hash(version);
        self.sets().iter().find(|set| set.hash() == hash)?.annotations.get(key).cloned()
    }
}

/// A status as the API server gives it back.
fn stored(record: &RolloutStatus) -> RolloutStatus {
    serde_json::from_value(serde_json::to_value(record).unwrap()).unwrap()
}

/// The deadline's annotation.
pub(crate) const DEADLINE: &str = labels::SCALE_DOWN_DEADLINE;
