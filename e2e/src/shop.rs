//! The release that tests and demo handle: an example of docs/examples in a namespace of its own.

use crate::cluster::{Cluster, PATIENCE};
use crate::door::Door;
use crate::install::root;
use crate::load::{Load, LoadOptions, Target};
use crate::plugin::{Run, plugin};
use anyhow::Context;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The example's objects, before they are applied: a test changes what it is about.
pub struct Manifests(pub Vec<Value>);

impl Manifests {
    /// As in docs/examples/canary-istio, with a host of its own.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn example(namespace: &str) -> anyhow::Result<Self> {
        Self::through(Door::Istio, namespace)
    }

    /// The example of a router, with a host of its own.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn through(door: Door, namespace: &str) -> anyhow::Result<Self> {
        let directory = root().join("docs/examples").join(door.example());
        let entries =
            std::fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        let mut objects = Vec::new();
        for path in files {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            objects.extend(serde_saphyr::from_multiple::<Value>(&text).context("no YAML")?);
        }
        objects.iter_mut().for_each(|object| door.set_host(object, &host(namespace)));
        Ok(Self(objects))
    }

    /// Without analysis: a user, or a test, decides.
    pub fn without_analysis(&mut self) -> &mut Self {
        self.take("AnalysisTemplate");
        self.change("Rollout", |rollout| {
            rollout["spec"]["strategy"]["canary"]["analysis"] = Value::Null;
        })
    }

    /// Small and fast: two pods, no analysis, no router; what most tests of rules start from.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn plain(namespace: &str, steps: &Value) -> anyhow::Result<Self> {
        let mut manifests = Self::example(namespace)?;
        manifests.0.retain(|object| object["kind"] == "Rollout");
        manifests.change("Rollout", |rollout| {
            rollout["spec"]["replicas"] = json!(2);
            rollout["spec"]["strategy"]["canary"] = json!({ "steps": steps });
        });
        Ok(manifests)
    }

    /// Changes every object of that kind.
    pub fn change(&mut self, kind: &str, change: impl Fn(&mut Value)) -> &mut Self {
        self.0.iter_mut().filter(|object| object["kind"] == kind).for_each(change);
        self
    }

    /// Adds copies of the objects of that kind, changed.
    pub fn copy(&mut self, kind: &str, change: impl Fn(&mut Value)) -> &mut Self {
        let mut copies: Vec<Value> = self.0.iter().filter(|object| object["kind"] == kind).cloned().collect();
        copies.iter_mut().for_each(change);
        self.0.extend(copies);
        self
    }

    /// Leaves out the objects of that kind and gives them back.
    pub fn take(&mut self, kind: &str) -> Vec<Value> {
        let (taken, kept) =
            std::mem::take(&mut self.0).into_iter().partition(|object| object["kind"] == kind);
        self.0 = kept;
        taken
    }
}

fn host(namespace: &str) -> String {
    format!("{namespace}.example")
}

/// The Rollout `shop` in a namespace.
pub struct Shop {
    /// The cluster.
    pub cluster: Cluster,
    /// Its namespace.
    pub namespace: String,
    /// The router, where its objects name one.
    door: Option<Door>,
}

/// Looks four times a second until there is what is looked for; `None` when there is not in time.
async fn look_until<T>(
    limit: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let looked = tokio::time::timeout(limit, async {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tick.tick().await;
            if let Some(found) = look().await? {
                return anyhow::Ok(Some(found));
            }
        }
    });
    looked.await.unwrap_or(Ok(None))
}

/// The name of the Rollout.
pub const NAME: &str = "shop";

impl Shop {
    /// Makes the namespace, applies the objects, and waits until the first version is Healthy.
    ///
    /// # Errors
    /// When it is not Healthy within a minute and a half.
    pub async fn open(cluster: &Cluster, namespace: &str, manifests: &Manifests) -> anyhow::Result<Self> {
        let shop = Self::apply(cluster, namespace, manifests).await?;
        shop.await_phase("Healthy").await?;
        Ok(shop)
    }

    /// Makes the namespace and applies the objects, and waits for nothing.
    ///
    /// # Errors
    /// When kubectl refuses.
    pub async fn apply(cluster: &Cluster, namespace: &str, manifests: &Manifests) -> anyhow::Result<Self> {
        cluster.fresh_namespace(namespace).await?;
        cluster.apply(namespace, &manifests.0).await?;
        let door = Door::of(&manifests.0);
        Ok(Self { cluster: cluster.clone(), namespace: namespace.to_owned(), door })
    }

    /// Removes the namespace.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn close(self) -> anyhow::Result<()> {
        self.cluster.remove_namespace(&self.namespace).await
    }

    /// Waits until the Rollout's current generation was observed and `wanted` says yes to the status, which
    /// it gives back.
    ///
    /// # Errors
    /// When it does not in time, with the last status.
    pub async fn await_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let observed = |rollout: &Value| {
            let generation = rollout["metadata"]["generation"].to_string();
            rollout["status"]["observedGeneration"].as_str() == Some(&generation)
                && wanted(&rollout["status"])
        };
        let rollout =
            self.cluster.await_object("Rollout", &self.namespace, NAME, PATIENCE, what, observed).await?;
        Ok(rollout["status"].clone())
    }

    /// Waits until the phase is this one.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn await_phase(&self, phase: &str) -> anyhow::Result<Value> {
        self.await_status(&format!("phase {phase}"), |status| status["phase"] == phase).await
    }

    /// Waits up to five minutes until the phase is this one, however it was in between.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn await_long(&self, phase: &str) -> anyhow::Result<()> {
        let limit = Duration::from_secs(300);
        let is = |rollout: &Value| rollout["status"]["phase"] == phase;
        let what = format!("phase {phase}");
        self.cluster.await_object("Rollout", &self.namespace, NAME, limit, &what, is).await.map(|_| ())
    }

    /// Waits until the current step has this index.
    ///
    /// # Errors
    /// When it has not in time.
    pub async fn await_step(&self, index: i64) -> anyhow::Result<Value> {
        self.await_status(&format!("step {index}"), |status| status["currentStepIndex"] == index).await
    }

    /// Waits until the Rollout is paused at the step with this index.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn await_pause(&self, index: i64) -> anyhow::Result<Value> {
        let is = |status: &Value| status["phase"] == "Paused" && status["currentStepIndex"] == index;
        self.await_status(&format!("paused at step {index}"), is).await
    }

    /// Waits until so many pods are all there are, available, and so many of them of the newest version.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn await_pods(&self, all: i64, newest: i64) -> anyhow::Result<Value> {
        let wanted = [("replicas", all), ("availableReplicas", all), ("updatedReplicas", newest)];
        let are = |status: &Value| {
            wanted.iter().all(|(count, pods)| status[*count].as_i64().unwrap_or_default() == *pods)
        };
        self.await_status(&format!("{all} pods, {newest} of them of the newest version"), are).await
    }

    /// The status as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn status(&self) -> anyhow::Result<Value> {
        Ok(self.cluster.get("Rollout", &self.namespace, NAME).await?["status"].clone())
    }

    /// Releases a version: a changed pod template, as a new image would be.
    ///
    /// # Errors
    /// When kubectl refuses.
    pub async fn release(&self, version: &str, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let variables = [&[("VERSION", version)], environment].concat();
        let variables: Vec<Value> =
            variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let patch =
            json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/env", "value": variables }]);
        self.patch("json", &patch).await
    }

    /// Releases a version while a user holds the Rollout (`spec.paused`), and gives back its hash.
    ///
    /// # Errors
    /// When it is not taken up in time, or a tool refuses.
    pub async fn release_held(&self, version: &str) -> anyhow::Result<String> {
        self.plugin(&["pause", NAME]).await?;
        self.await_status("held by a user", |status| status["message"] == "manually paused").await?;
        self.release(version, &[]).await?;
        let is_taken_up = |status: &Value| status["currentPodHash"] != status["stableRS"];
        let status = self.await_status(&format!("{version} is taken up"), is_taken_up).await?;
        Ok(status["currentPodHash"].as_str().context("no hash")?.to_owned())
    }

    /// `kubectl patch rollout shop`.
    ///
    /// # Errors
    /// When kubectl refuses.
    pub async fn patch(&self, kind: &str, patch: &Value) -> anyhow::Result<()> {
        let patch = patch.to_string();
        let arguments =
            ["patch", "rollout", NAME, "--namespace", &self.namespace, "--type", kind, "--patch", &patch];
        self.cluster.kubectl(&arguments).await.map(|_| ())
    }

    /// `kubectl headgate VERB … shop`.
    ///
    /// # Errors
    /// When the plugin cannot be started, or ends with an error.
    pub async fn plugin(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        let run = plugin(&self.cluster, &self.namespace, arguments).await?;
        anyhow::ensure!(run.code == 0, "kubectl headgate {arguments:?} ended with {run:?}");
        Ok(run)
    }

    /// The canary's weight in the route, as stored.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn routed_weight(&self) -> anyhow::Result<i64> {
        let door = self.door()?;
        let (kind, name) = door.weighted();
        let route = self.cluster.get(kind, &self.namespace, name).await?;
        door.weight(&route).with_context(|| format!("no weight in {kind} {name}"))
    }

    /// Waits until the route gives the canary this weight.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn await_weight(&self, weight: i64) -> anyhow::Result<()> {
        let door = self.door()?;
        let (kind, name) = door.weighted();
        let shown = |route: &Value| door.weight(route) == Some(weight);
        let what = format!("weight {weight} for the canary");
        self.cluster.await_object(kind, &self.namespace, name, PATIENCE, &what, shown).await.map(|_| ())
    }

    /// Waits until the router leads to the shop, and `version` gives every answer: before that nobody was promised one.
    ///
    /// # Errors
    /// When it does not within 30 s, with what became of the requests instead.
    pub async fn await_route(&self, version: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            let options = LoadOptions { rate_per_second: 20, ..LoadOptions::default() };
            let probe = Load::start(self.target()?, options)?;
            tick.tick().await;
            let report = probe.stop().await;
            if report.total.sent > 0 && report.total.answered_by(version) == report.total.sent {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "the router does not lead to the shop within 30 s: {:?}",
                report.first_lost
            );
        }
    }

    /// The router that the shop is reached through.
    ///
    /// # Errors
    /// When its objects name none.
    pub fn door(&self) -> anyhow::Result<Door> {
        self.door.context("the shop has no router")
    }

    /// The names of all objects of a kind in its namespace, such as `pods`, in order.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn names(&self, kind: &str) -> anyhow::Result<Vec<String>> {
        let names = ["get", kind, "-n", &self.namespace, "-o", "jsonpath={.items[*].metadata.name}"];
        let names = self.cluster.kubectl(&names).await?;
        let mut names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Waits until there are so many objects of a kind in its namespace, and gives back their names, in order.
    ///
    /// # Errors
    /// When there are not in time, with those that there are.
    pub async fn await_count(&self, kind: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let mut seen = Vec::new();
        let look = async || {
            seen = self.names(kind).await?;
            Ok((seen.len() == count).then(|| seen.clone()))
        };
        let found = look_until(PATIENCE, look).await?;
        found.with_context(|| format!("not {count} {kind} within {PATIENCE:?}: {seen:?}"))
    }

    /// Messages of the Rollout's events with this reason.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn events(&self, reason: &str) -> anyhow::Result<Vec<String>> {
        let selector = format!("involvedObject.name={NAME},involvedObject.kind=Rollout,reason={reason}");
        let arguments = ["get", "events", "-n", &self.namespace, "--field-selector", &selector, "-o", "json"];
        let list: Value = serde_json::from_str(&self.cluster.kubectl(&arguments).await?)?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Ok(items.iter().filter_map(|event| event["message"].as_str().map(str::to_owned)).collect())
    }

    /// Waits until the Rollout has this many events with this reason, and gives back their messages.
    ///
    /// # Errors
    /// When it has fewer after 20 s: events follow the record.
    pub async fn await_events(&self, reason: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let look = async || {
            let events = self.events(reason).await?;
            Ok((events.len() >= count).then_some(events))
        };
        let found = look_until(Duration::from_secs(20), look).await?;
        found.with_context(|| format!("fewer than {count} events {reason} within 20 s"))
    }

    /// Where clients find the shop: the gateway, with the shop's host.
    ///
    /// # Errors
    /// When nobody said where the gateway is.
    pub fn target(&self) -> anyhow::Result<Target> {
        self.target_through(self.door()?)
    }

    /// Where clients find the shop behind this router.
    ///
    /// # Errors
    /// When nobody said where it is.
    pub fn target_through(&self, door: Door) -> anyhow::Result<Target> {
        door.target(&self.cluster, &host(&self.namespace))
    }
}
