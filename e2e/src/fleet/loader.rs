//! Makes the recorded objects again.

use super::{Member, RECORDED_IN, RECORDED_UNTIL, each_text, templates};
use crate::cluster::Cluster;
use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use headgate_api::labels::CONTROLLER_INSTANCE_ID;
use jiff::{SignedDuration, Timestamp, Unit};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// So many Rollouts are loaded at once.
const AT_ONCE: usize = 8;

/// The last pod is ready within so long.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// What the server gives to each object.
const SERVERS: [&str; 6] =
    ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"];

/// In the annotations of a Rollout, and in its status: the generation of the Deployment that it took its template from.
const WORKLOAD_GENERATIONS: [&str; 2] =
    ["/metadata/annotations/rollout.argoproj.io~1workload-generation", "/status/workloadObservedGeneration"];

/// Loads them into a fresh namespace, as objects of that instance.
///
/// # Errors
/// When the API server refuses an object.
pub async fn load(
    cluster: &Cluster,
    namespace: &str,
    instance: &str,
    members: &[Member],
) -> anyhow::Result<()> {
    cluster.fresh_namespace(namespace).await?;
    cluster.kubectl(&["label", "namespace", namespace, "kwok.x-k8s.io/node=fake"]).await?;
    let now = Timestamp::now().round(Unit::Second)?;
    let moved_by = now.duration_since(RECORDED_UNTIL.parse()?);
    let loader = || Loader { cluster, namespace, instance, moved_by, uids: BTreeMap::new(), workload: None };
    loader().load(templates()?).await?;
    let members = members.iter().map(|member| async {
        loader().load(member.objects.clone()).await.with_context(|| format!("cannot load {}", member.name))
    });
    // As a list of its own: the compiler does not see that a lazy one can be sent between threads.
    let members: Vec<_> = members.collect();
    stream::iter(members).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(())
}

/// Waits until as many pods are available as were.
///
/// # Errors
/// When they are not in time.
pub async fn await_pods(cluster: &Cluster, namespace: &str, members: &[Member]) -> anyhow::Result<()> {
    let sets = members.iter().flat_map(|member| &member.objects);
    let sets = sets.filter(|object| object["kind"] == "ReplicaSet" && !is_made_by_another(object));
    let wanted: BTreeMap<String, i64> =
        sets.map(|set| (text(set, "/metadata/name"), available(set))).collect();
    let api = cluster.api("ReplicaSet", namespace);
    let mut missing = Vec::new();
    let ready = async {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tick.tick().await;
            let mut found = BTreeMap::new();
            for set in api.list(&kube::api::ListParams::default()).await? {
                let set = serde_json::to_value(set)?;
                if set["status"]["observedGeneration"] == set["metadata"]["generation"] {
                    found.insert(text(&set, "/metadata/name"), available(&set));
                }
            }
            missing = wanted.iter().filter(|(name, count)| found.get(*name) != Some(count)).collect();
            if missing.is_empty() {
                return anyhow::Ok(());
            }
        }
    };
    match tokio::time::timeout(READY_WITHIN, ready).await {
        Ok(ended) => ended,
        Err(_) => bail!("not as many pods are available as were recorded: {missing:?}"),
    }
}

fn available(set: &Value) -> i64 {
    set["status"]["availableReplicas"].as_i64().unwrap_or(0)
}

/// True for what a controller of the lab makes itself.
fn is_made_by_another(object: &Value) -> bool {
    let is_of_deployment = object["metadata"]["ownerReferences"][0]["kind"] == "Deployment";
    object["kind"] == "Pod" || object["kind"] == "Job" || is_of_deployment
}

struct Loader<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    instance: &'a str,
    moved_by: SignedDuration,
    /// Recorded and new.
    uids: BTreeMap<String, String>,
    /// The recorded and the new generation of the Deployment that a Rollout takes its template from.
    workload: Option<(Value, Value)>,
}

impl Loader<'_> {
    async fn load(mut self, mut objects: Vec<Value>) -> anyhow::Result<()> {
        objects.retain(|object| !is_made_by_another(object));
        objects.sort_by_key(|object| (rank(object), text(object, "/metadata/creationTimestamp")));
        for object in objects {
            let what = format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name"));
            self.make(object).await.context(what)?;
        }
        Ok(())
    }

    async fn make(&mut self, mut object: Value) -> anyhow::Result<()> {
        let kind = text(&object, "/kind");
        let recorded = object["metadata"].clone();
        each_text(&mut object, "", &mut |_, text| self.move_text(text));
        let metadata = object["metadata"].as_object_mut().context("no metadata")?;
        metadata.retain(|field, _| !SERVERS.contains(&field.as_str()));
        if matches!(kind.as_str(), "Rollout" | "AnalysisRun" | "Experiment") {
            object["metadata"]["labels"][CONTROLLER_INSTANCE_ID] = json!(self.instance);
        }
        let api = self.api(&object)?;
        self.move_workload(&mut object);
        let made = api.create(&PostParams::default(), &serde_json::from_value(object.clone())?).await?;
        let (uid, generation) = (made.metadata.uid.unwrap_or_default(), made.metadata.generation);
        self.uids.insert(text(&recorded, "/uid"), uid);
        match kind.as_str() {
            "Deployment" => self.workload = Some((recorded["generation"].clone(), json!(generation))),
            "Rollout" => {
                let mut status = object["status"].take();
                let observed = recorded["generation"].to_string();
                if status["observedGeneration"].as_str() == Some(observed.as_str()) {
                    status["observedGeneration"] = json!(json!(generation).to_string());
                }
                let patch = Patch::Merge(json!({ "status": status }));
                let name = made.metadata.name.unwrap_or_default();
                api.patch_status(&name, &PatchParams::default(), &patch).await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn move_text(&self, text: &mut String) {
        if let Some(uid) = self.uids.get(text) {
            uid.clone_into(text);
        } else if text == RECORDED_IN {
            self.namespace.clone_into(text);
        } else if text.ends_with('Z')
            && let Ok(time) = text.parse::<Timestamp>()
        {
            *text = (time + self.moved_by).to_string();
        }
    }

    fn move_workload(&self, object: &mut Value) {
        let Some((recorded, new)) = &self.workload else { return };
        for pointer in WORKLOAD_GENERATIONS {
            if let Some(known) = object.pointer_mut(pointer)
                && known.as_str() == Some(recorded.to_string().as_str())
            {
                *known = json!(new.to_string());
            }
        }
    }

    fn api(&self, object: &Value) -> anyhow::Result<Api<DynamicObject>> {
        let version = text(object, "/apiVersion");
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let kind = GroupVersionKind::gvk(group, version, &text(object, "/kind"));
        let (client, resource) = (self.cluster.client.clone(), ApiResource::from_gvk(&kind));
        Ok(Api::namespaced_with(client, self.namespace, &resource))
    }
}

/// Owners come before what they own.
fn rank(object: &Value) -> usize {
    match object["kind"].as_str().unwrap_or_default() {
        "Deployment" => 0,
        "Rollout" => 1,
        "Experiment" => 2,
        _ => 3,
    }
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
