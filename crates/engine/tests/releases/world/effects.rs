//! How effects change the world, when they are carried out.

use super::World;
use headgate_api::{AnalysisPhase, AnalysisRunSpec, labels};
use headgate_model::analysis::check_finite;
use headgate_model::template::PodMetadata;
use headgate_model::{
    AnalysisRunView, Effect, Observed, ReplicaSetPatch, ReplicaSetView, TrafficIntent, selector,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl World {
    pub(super) fn apply(&mut self, effect: &Effect) {
        self.counter += 1;
        let version = self.counter.to_string();
        match effect {
            Effect::PatchRollout { annotations, replicas } => {
                self.snapshot.rollout.annotations.extend(annotations.clone());
                if let Some(replicas) = replicas {
                    self.scale(*replicas);
                }
            }
            Effect::CreateReplicaSet { manifest } => self.create_replica_set(manifest, &version),
            Effect::Scale { name, uid, from, to } => {
                let set = self.set_mut(name);
                if set.uid == *uid && set.replicas == *from {
                    set.replicas = *to;
                    set.generation += 1;
                    set.resource_version = version;
                }
            }
            Effect::AdoptReplicaSet { name, .. } => {
                self.snapshot.orphans.retain(|orphan| orphan.name != *name);
            }
            Effect::PatchReplicaSet(ReplicaSetPatch {
                name,
                resource_version,
                annotations,
                min_ready_seconds,
                affinity,
                pod_metadata,
                ..
            }) => {
                let set = self.set_mut(name);
                assert_eq!(
                    set.resource_version, *resource_version,
                    "a patch that conflicts with an effect before it"
                );
                for (key, value) in annotations {
                    match value {
                        Some(value) => set.annotations.insert(key.clone(), value.clone()),
                        None => set.annotations.remove(key),
                    };
                }
                set.min_ready_seconds = min_ready_seconds.unwrap_or(set.min_ready_seconds);
                if let Some(affinity) = affinity {
                    set.template["spec"]["affinity"] = affinity.clone();
                }
                if let Some(change) = pod_metadata.merge_patch() {
                    merge(&mut set.template["metadata"], &Value::Object(change));
                    set.generation += 1;
                }
                set.resource_version = version;
            }
            Effect::Route { config, intent, .. } => {
                let former = self.snapshot.former_routers.iter_mut();
                let mut routers = self.snapshot.routers.iter_mut().chain(former);
                let router = routers.find(|router| router.config == *config).unwrap();
                let Ok(state) = router.state.as_mut() else {
                    self.lead_service(intent);
                    return;
                };
                if let Some(range) = &mut state.weights {
                    (range.canary_min, range.canary_max) = (intent.canary_weight, intent.canary_weight);
                    range.well_formed = true;
                }
                for wish in [&intent.stable, &intent.canary] {
                    if let (Some(service), Some(hash)) = (&wish.service, &wish.hash)
                        && let Some(selected) = state.selectors.get_mut(service)
                    {
                        *selected = Some(hash.clone());
                    }
                }
            }
            Effect::ScaleWorkload { uid, from, to, .. } => {
                let deployment = self.deployment_mut();
                assert_eq!((deployment.uid.as_str(), deployment.replicas), (uid.as_str(), Some(*from)));
                deployment.replicas = Some(*to);
                deployment.generation += 1;
            }
            Effect::CreateAnalysisRun { manifest } => self.create_run(manifest, &version),
            Effect::TerminateAnalysisRun { name, .. } => {
                self.runs_mut()
                    .iter_mut()
                    .filter(|run| run.name == *name)
                    .for_each(|run| run.terminate = true);
            }
            Effect::DeleteAnalysisRun { name, .. } => self.runs_mut().retain(|run| run.name != *name),
            Effect::DeleteReplicaSet { name, .. } => self.sets_mut().retain(|set| set.name != *name),
            Effect::PatchPod { uid, resource_version, metadata, .. } => {
                let Observed::Present(pods) = &mut self.snapshot.running else {
                    panic!("a pod that nobody has read")
                };
                let pod = pods.iter_mut().find(|pod| pod.uid == *uid).expect("it exists");
                assert_eq!(pod.resource_version, *resource_version);
                let mut after =
                    json!({"labels": pod.metadata.labels, "annotations": pod.metadata.annotations});
                merge(&mut after, &metadata.merge_patch().map_or(Value::Null, Value::Object));
                pod.metadata = PodMetadata::of(&after);
                pod.resource_version = version;
            }
            Effect::EvictPod { uid, .. } => {
                let Observed::Present(pods) = &mut self.snapshot.running else {
                    panic!("a pod that nobody has read")
                };
                let pod = pods.iter_mut().find(|pod| pod.uid == *uid).expect("it exists");
                pod.is_leaving = true;
            }
        }
    }

    /// Of two Services one is gone.
    fn lead_service(&mut self, intent: &TrafficIntent) {
        for wish in [&intent.stable, &intent.canary] {
            let (Some(name), Some(hash)) = (&wish.service, &wish.hash) else { continue };
            let Some(Observed::Present(service)) = self.snapshot.services.get_mut(name) else {
                panic!("a Service that is gone is led to {hash}")
            };
            service.selector.insert(labels::POD_TEMPLATE_HASH.to_owned(), hash.clone());
        }
    }

    fn set_mut(&mut self, name: &str) -> &mut ReplicaSetView {
        self.sets_mut()
            .iter_mut()
            .find(|set| set.name == name)
            .expect("an effect on a ReplicaSet that exists")
    }

    fn create_replica_set(&mut self, manifest: &Value, version: &str) {
        let metadata = &manifest["metadata"];
        let view = ReplicaSetView {
            name: metadata["name"].as_str().unwrap().into(),
            uid: format!("uid-{version}"),
            resource_version: version.into(),
            created_at: self.now,
            deleting: false,
            labels: selector::string_map(metadata.get("labels")),
            annotations: selector::string_map(metadata.get("annotations")),
            generation: 1,
            observed_generation: 0,
            replicas: i32::try_from(manifest["spec"]["replicas"].as_i64().unwrap()).unwrap(),
            min_ready_seconds: i32::try_from(manifest["spec"]["minReadySeconds"].as_i64().unwrap()).unwrap(),
            current: 0,
            ready: 0,
            available_reported: 0,
            perhaps_evicted: 0,
            failure: None,
            template: manifest["spec"]["template"].clone(),
        };
        assert!(self.sets().iter().all(|set| set.name != view.name), "{} exists", view.name);
        self.sets_mut().push(view);
    }

    fn create_run(&mut self, manifest: &Value, version: &str) {
        let metadata = &manifest["metadata"];
        let labels = selector::string_map(metadata.get("labels"));
        let mut view = self.pending_run(metadata["name"].as_str().unwrap(), version, labels);
        let spec: AnalysisRunSpec = serde_json::from_value(manifest["spec"].clone()).unwrap();
        view.ends_by_itself = Some(check_finite(&spec).is_ok());
        view.spec = Some(Box::new(spec));
        let runs = self.runs_mut();
        assert!(runs.iter().all(|run| run.name != view.name), "{} exists", view.name);
        runs.push(view);
    }

    fn pending_run(&self, name: &str, version: &str, labels: BTreeMap<String, String>) -> AnalysisRunView {
        AnalysisRunView {
            last_value: None,
            completed_at: None,
            spec: None,
            ends_by_itself: None,
            stands_well: false,
            name: name.into(),
            uid: format!("uid-{version}"),
            resource_version: version.into(),
            created_at: self.now,
            deleting: false,
            labels,
            terminate: false,
            phase: AnalysisPhase::Pending,
            message: String::new(),
        }
    }

    /// A successful run of the past, of the version with this hash.
    pub(crate) fn add_past_run(&mut self, name: &str, hash: Option<&str>) {
        let labels = hash.map(|hash| (labels::POD_TEMPLATE_HASH.to_owned(), hash.to_owned()));
        let mut run = self.pending_run(name, name, labels.into_iter().collect());
        run.phase = AnalysisPhase::Successful;
        self.runs_mut().push(run);
    }
}

/// RFC 7386, for labels and annotations.
fn merge(metadata: &mut Value, change: &Value) {
    for (kind, change) in change.as_object().into_iter().flatten() {
        for (key, value) in change.as_object().unwrap() {
            if value.is_null() {
                metadata[kind].as_object_mut().map(|all| all.remove(key));
            } else {
                metadata[kind][key] = value.clone();
            }
        }
    }
}
