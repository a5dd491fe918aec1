//! A restart under load: every pod is replaced, a budget holds it back for as long as it is there, and nobody loses a request.

use crate::alone;
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::course::{self, Course, Outcome, conclusive};
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::Manifests;
use headgate_e2e::{Cluster, Shop};
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Requests per second.
const RATE: u32 = 200;

/// Pods of the Rollout.
const REPLICAS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_replaces_all_pods_as_their_budget_allows_and_loses_nothing() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let (report, strain) = conclusive("restart", async || under_load(&cluster).await).await?;
    tell(&format!("restart: {} requests, none lost; {strain}", report.total.sent));
    Ok(())
}

async fn under_load(cluster: &Cluster) -> anyhow::Result<Outcome> {
    let mut manifests = Manifests::example("e2e-restart")?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(REPLICAS);
        rollout["spec"]["strategy"]["canary"]["maxUnavailable"] = json!(1);
    });
    let shop = Shop::open(cluster, "e2e-restart", &manifests).await?;
    let pods = Pods::watch(&shop).await?;
    let course = Course::begin(&shop, RATE, "v1").await?;
    let went = restarts(&shop, &pods).await;
    let outcome = course.end(0).await;
    course::judge(outcome, went, shop).await
}

async fn restarts(shop: &Shop, pods: &Pods) -> anyhow::Result<()> {
    let before = pods.names();
    ensure!(before.len() == REPLICAS, "{before:?}");

    // A budget that allows nothing.
    shop.cluster.apply(&shop.namespace, &[budget()]).await?;
    let (namespace, limit) = (&shop.namespace, PATIENCE);
    let is_taken_up = |budget: &Value| budget["status"]["currentHealthy"] == json!(REPLICAS);
    let what = "counts the pods";
    shop.cluster.await_object("PodDisruptionBudget", namespace, "shop", limit, what, is_taken_up).await?;
    let said = shop.plugin(&["restart", "shop"]).await?.out;
    ensure!(said.contains("rollout 'shop' restarts"), "{said}");
    let named = |status: &Value| {
        status["waiting"]["message"].as_str().is_some_and(|why| why.contains("PodDisruptionBudget shop"))
    };
    let status = shop.await_status("held back by its budget", named).await?;
    ensure!(status["message"] == "rollout is restarting", "{status}");
    let why = shop.plugin(&["why", "shop"]).await?.out;
    ensure!(
        why.contains("waits for its pods to be restarted") && why.contains("PodDisruptionBudget shop"),
        "{why}"
    );
    ensure!(pods.names() == before, "{before:?} and then {:?}", pods.names());

    // Without it.
    shop.cluster.kubectl(&["delete", "pdb", "shop", "-n", namespace]).await?;
    let is_done = |rollout: &Value| {
        let (spec, status) = (&rollout["spec"], &rollout["status"]);
        status["restartedAt"] == spec["restartAt"] && status["phase"] == "Healthy"
    };
    let limit = Duration::from_secs(300);
    shop.cluster.await_object("Rollout", namespace, "shop", limit, "is restarted", is_done).await?;
    let are_new =
        |names: &[String]| names.len() == REPLICAS && names.iter().all(|name| !before.contains(name));
    pods.await_names(are_new).await.with_context(|| format!("{before:?} and then {:?}", pods.names()))?;
    let least = pods.least_available();
    ensure!(least == REPLICAS - 1, "{least} of {REPLICAS} pods were available at some time");
    Ok(())
}

/// A budget that lets no pod of the shop be evicted.
pub(crate) fn budget() -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "shop" },
        "spec": { "maxUnavailable": 0, "selector": { "matchLabels": { "app": "shop" } } },
    })
}

/// The pods of a namespace as a watch shows them, one change after the other.
struct Pods {
    seen: Arc<Mutex<Seen>>,
    watch: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// Whether each one is available.
    pods: BTreeMap<String, bool>,
    least_available: usize,
}

impl Pods {
    /// Watches from now on; the list is complete when this ends.
    async fn watch(shop: &Shop) -> anyhow::Result<Self> {
        let api = shop.cluster.api("Pod", &shop.namespace);
        let seen = Arc::new(Mutex::new(Seen { least_available: usize::MAX, ..Seen::default() }));
        let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
        while let Some(event) = events.try_next().await? {
            let is_complete = matches!(event, watcher::Event::InitDone);
            note(&seen, event);
            if is_complete {
                break;
            }
        }
        let noted = Arc::clone(&seen);
        let watch = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                // What fails is begun anew.
                if let Ok(event) = event {
                    note(&noted, event);
                }
            }
        });
        Ok(Self { seen, watch })
    }

    fn names(&self) -> Vec<String> {
        locked(&self.seen).pods.keys().cloned().collect()
    }

    /// Waits until the names are as wanted: this watch may be later than that of the Rollout.
    async fn await_names(&self, wanted: impl Fn(&[String]) -> bool) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let looking = async {
            while !wanted(&self.names()) {
                tick.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), looking).await.context("not within 10 s")
    }

    /// The fewest pods that were available at the same time.
    fn least_available(&self) -> usize {
        locked(&self.seen).least_available
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// What was seen stays true although somebody panicked beside it.
fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(seen: &Mutex<Seen>, event: watcher::Event<DynamicObject>) {
    let mut seen = locked(seen);
    let is_list = matches!(event, watcher::Event::Init | watcher::Event::InitApply(_));
    match event {
        watcher::Event::Init => seen.pods.clear(),
        watcher::Event::InitDone => {}
        watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
            let name = pod.metadata.name.clone().unwrap_or_default();
            seen.pods.insert(name, is_available(&pod));
        }
        watcher::Event::Delete(pod) => {
            seen.pods.remove(&pod.metadata.name.unwrap_or_default());
        }
    }
    if !is_list {
        let available = seen.pods.values().filter(|is_available| **is_available).count();
        seen.least_available = seen.least_available.min(available);
    }
}

fn is_available(pod: &DynamicObject) -> bool {
    let conditions = pod.data["status"]["conditions"].as_array().into_iter().flatten();
    let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    pod.metadata.deletion_timestamp.is_none() && conditions.into_iter().any(is_ready)
}
