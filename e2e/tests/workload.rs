//! A Deployment that serves gives way to a Rollout that takes its template from it, under load; then a new image in the
//! Deployment is a release of the Rollout. What else may hold a template, and is never written by anybody but its user.

use crate::{alone, shared};
use anyhow::{Context, ensure};
use headgate_api::labels::WORKLOAD_GENERATION;
use headgate_e2e::course::{self, Course, Outcome, conclusive};
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use std::time::Duration;

/// Requests per second.
const RATE: u32 = 100;

/// Pods of the Deployment, and then of the Rollout.
const REPLICAS: i64 = 3;

/// Each mode, and how many pods it leaves the Deployment.
const MODES: [(&str, i64); 3] = [("progressively", 0), ("onsuccess", 0), ("never", REPLICAS)];

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_gives_way_to_its_rollout_and_nobody_loses_a_request() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    for (mode, left) in MODES {
        let (report, strain) = conclusive(mode, async || under_load(&cluster, mode, left).await).await?;
        tell(&format!("scaleDown {mode}: {} requests, none lost; {strain}", report.total.sent));
    }
    Ok(())
}

async fn under_load(cluster: &Cluster, mode: &str, left: i64) -> anyhow::Result<Outcome> {
    let namespace = format!("e2e-workload-{mode}");
    let mut manifests = Manifests::example(&namespace)?;
    manifests.without_analysis();
    let mut rollout = manifests.take("Rollout").pop().context("the example has a Rollout")?;
    manifests.0.push(deployment(&mut rollout, mode)?);
    let shop = Shop::apply(cluster, &namespace, &manifests).await?;
    let is_up = |deployment: &Value| deployment["status"]["availableReplicas"] == json!(REPLICAS);
    await_deployment(&shop, "serves", is_up).await?;
    let course = Course::begin(&shop, RATE, "v1").await?;
    let went = takes_over(&shop, &rollout, left).await;
    let outcome = course.end(0).await;
    course::judge(outcome, went, shop).await
}

/// The Deployment that the Rollout refers to from now on.
fn deployment(rollout: &mut Value, mode: &str) -> anyhow::Result<Value> {
    let spec = rollout["spec"].as_object_mut().context("the Rollout has a spec")?;
    let (template, selector) = (spec.remove("template"), spec.remove("selector"));
    spec.insert("replicas".to_owned(), json!(REPLICAS));
    spec.insert(
        "workloadRef".to_owned(),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "name": NAME, "scaleDown": mode,
        }),
    );
    rollout["spec"]["strategy"]["canary"]["steps"] = json!([{ "setWeight": 50 }, { "pause": {} }]);
    rollout["spec"]["strategy"]["canary"]["scaleDownDelaySeconds"] = json!(5);
    Ok(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": NAME },
        "spec": { "replicas": REPLICAS, "selector": selector, "template": template },
    }))
}

async fn takes_over(shop: &Shop, rollout: &Value, left: i64) -> anyhow::Result<()> {
    shop.cluster.apply(&shop.namespace, std::slice::from_ref(rollout)).await?;
    shop.await_phase("Healthy").await?;
    let has_given_way = |deployment: &Value| deployment["spec"]["replicas"] == json!(left);
    await_deployment(shop, &format!("has {left} pods"), has_given_way).await?;
    generations_agree(shop, "Deployment").await?;

    shop.plugin(&["set", "image", NAME, &other_image(shop).await?]).await?;
    shop.await_phase("Paused").await?;
    generations_agree(shop, "Deployment").await?;
    let shown = shop.plugin(&["get", "rollout", NAME]).await?.out;
    ensure!(shown.contains("Paused"), "{shown}");
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    let said = shop.plugin(&["undo", NAME]).await?.out;
    ensure!(said.contains("revision 1"), "{said}");
    shop.await_phase("Paused").await?;
    shop.plugin(&["promote", NAME, "--full"]).await?;
    shop.await_phase("Healthy").await?;
    await_deployment(shop, &format!("has {left} pods"), has_given_way).await.map(|_| ())
}

/// The same image under another name, so that there is a new version.
async fn other_image(shop: &Shop) -> anyhow::Result<String> {
    let deployment = shop.cluster.get("Deployment", &shop.namespace, NAME).await?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let (name, image) = (container["name"].as_str(), container["image"].as_str());
    let (name, image) = name.zip(image).context("a container has a name and an image")?;
    Ok(format!("{name}=docker.io/{}", image.trim_start_matches("docker.io/")))
}

/// Argo CD compares these two.
async fn generations_agree(shop: &Shop, kind: &str) -> anyhow::Result<()> {
    let workload = shop.cluster.get(kind, &shop.namespace, NAME).await?;
    let latest = workload["metadata"]["generation"].to_string();
    let agree = |rollout: &Value| {
        let noted = rollout["metadata"]["annotations"][WORKLOAD_GENERATION].as_str();
        let observed = rollout["status"]["workloadObservedGeneration"].as_str();
        noted == Some(&latest) && observed == Some(&latest)
    };
    let what = format!("speaks of generation {latest} of the {kind}");
    let limit = Duration::from_secs(30);
    shop.cluster.await_object("Rollout", &shop.namespace, NAME, limit, &what, agree).await.map(|_| ())
}

async fn await_deployment(shop: &Shop, what: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let limit = Duration::from_secs(120);
    shop.cluster.await_object("Deployment", &shop.namespace, NAME, limit, what, is).await
}

/// Another kind that holds a template: its API version, and where in it the template is.
#[derive(Clone, Copy)]
struct Holder {
    kind: &'static str,
    api_version: &'static str,
    path: &'static str,
}

const HOLDERS: [Holder; 2] = [
    Holder { kind: "PodTemplate", api_version: "v1", path: "/template" },
    Holder { kind: "ReplicaSet", api_version: "apps/v1", path: "/spec/template" },
];

impl Holder {
    /// The object that the Rollout refers to from now on. Only a ReplicaSet has a selector, and a pod of its own: that is
    /// nobody's business here.
    fn take_over(self, rollout: &mut Value) -> anyhow::Result<Value> {
        let spec = rollout["spec"].as_object_mut().context("the Rollout has a spec")?;
        let template = spec.remove("template");
        let reference = json!({
            "apiVersion": self.api_version, "kind": self.kind, "name": NAME, "scaleDown": "onsuccess",
        });
        spec.insert("workloadRef".to_owned(), reference);
        let metadata = json!({ "name": NAME, "labels": { "app": NAME } });
        let mut holder = json!({ "apiVersion": self.api_version, "kind": self.kind, "metadata": metadata });
        if self.kind == "PodTemplate" {
            holder["template"] = json!(template);
        } else {
            holder["spec"] =
                json!({ "replicas": 1, "selector": spec.remove("selector"), "template": template });
        }
        Ok(holder)
    }

    async fn set_version(self, shop: &Shop, version: &str) -> anyhow::Result<()> {
        let path = format!("{}/spec/containers/0/env/0/value", self.path);
        let patch = json!([{ "op": "replace", "path": path, "value": version }]).to_string();
        let arguments = ["patch", self.kind, NAME, "-n", &shop.namespace, "--type=json", "--patch", &patch];
        shop.cluster.kubectl(&arguments).await.map(|_| ())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_template_and_a_replica_set_give_a_rollout_its_template_and_each_change_of_it_is_released()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    for holder in HOLDERS {
        releases_what_it_holds(&cluster, holder).await.context(holder.kind)?;
    }
    Ok(())
}

async fn releases_what_it_holds(cluster: &Cluster, holder: Holder) -> anyhow::Result<()> {
    let namespace = format!("e2e-workload-{}", holder.kind.to_lowercase());
    let mut manifests = Manifests::plain(&namespace, &json!([{ "setWeight": 50 }, { "pause": {} }]))?;
    let mut rollout = manifests.take("Rollout").pop().context("the example has a Rollout")?;
    let held = holder.take_over(&mut rollout)?;
    let shop = Shop::open(cluster, &namespace, &Manifests(vec![held, rollout])).await?;
    shop.await_pods(2, 2).await?;
    is_made_of(&shop, holder, "v1").await?;

    holder.set_version(&shop, "v2").await?;
    shop.await_pause(1).await?;
    shop.await_pods(2, 1).await?;
    is_made_of(&shop, holder, "v2").await?;
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    shop.await_pods(2, 2).await?;

    let said = shop.plugin(&["undo", NAME]).await?.out;
    ensure!(said.contains("revision 1"), "{said}");
    shop.await_pause(1).await?;
    is_made_of(&shop, holder, "v1").await?;
    shop.plugin(&["promote", NAME, "--full"]).await?;
    shop.await_phase("Healthy").await?;
    let workload = cluster.get(holder.kind, &namespace, NAME).await?;
    // One more for the patch, one for `undo`, and none for a controller: it keeps the pod that it has.
    ensure!(workload["metadata"]["generation"] == 3, "written by somebody else: {workload:#}");
    shop.close().await
}

/// The pods of the newest version are made as the object says, and the Rollout tells which generation that was.
async fn is_made_of(shop: &Shop, holder: Holder, version: &str) -> anyhow::Result<()> {
    generations_agree(shop, holder.kind).await?;
    let status = shop.status().await?;
    let name = format!("{NAME}-{}", status["currentPodHash"].as_str().unwrap_or_default());
    let set = shop.cluster.get("ReplicaSet", &shop.namespace, &name).await?;
    let made_of = &set["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"];
    ensure!(made_of == version, "{name} has {made_of}, not {version}");
    Ok(())
}
