//! A HorizontalPodAutoscaler of the cluster's own controller on a shop's Rollout, made as KEDA makes it for a ScaledObject,
//! and led by a metric that the test sets.

use crate::cluster::PATIENCE;
use crate::metrics_source::{METRIC, MetricsSource};
use crate::shop::{NAME, Shop};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The autoscaler of a shop.
pub struct Autoscaler<'a> {
    shop: &'a Shop,
    source: &'static MetricsSource,
    /// The last one is what it is led to now.
    asked: Mutex<Vec<i64>>,
}

impl<'a> Autoscaler<'a> {
    /// Makes it, with the metric at `pods`, and waits until it has scaled the Rollout to that.
    ///
    /// # Errors
    /// When the Rollout does not get there in time.
    pub async fn begin(shop: &'a Shop, source: &'static MetricsSource, pods: i64) -> anyhow::Result<Self> {
        let autoscaler = Self { shop, source, asked: Mutex::default() };
        autoscaler.ask(pods);
        shop.cluster.apply(&shop.namespace, &[manifest()]).await?;
        autoscaler.await_wish(pods).await?;
        Ok(autoscaler)
    }

    /// Leads it to so many pods, from 1 to 8, and waits for nothing. (At 9 and 10 one more or less is within its tolerance.)
    pub fn ask(&self, pods: i64) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(pods);
        self.source.set(&self.shop.namespace, pods);
    }

    /// Leads it to so many pods and waits until the Rollout wants them.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn scale(&self, pods: i64) -> anyhow::Result<()> {
        self.ask(pods);
        self.await_wish(pods).await
    }

    /// Every number that it was led to.
    pub fn asked(&self) -> BTreeSet<i64> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    async fn await_wish(&self, pods: i64) -> anyhow::Result<()> {
        let what = format!("the autoscaler asks for {pods} pods");
        let wants = |rollout: &Value| rollout["spec"]["replicas"] == pods;
        self.shop
            .cluster
            .await_object("Rollout", &self.shop.namespace, NAME, PATIENCE, &what, wants)
            .await
            .map(|_| ())
    }

    /// Waits until all pods are there and available, so many of them of the newest version; that is what the scale
    /// subresource tells the autoscaler then, and it is content.
    ///
    /// # Errors
    /// When it is not so in time.
    pub async fn await_pods(&self, all: i64, newest: i64) -> anyhow::Result<()> {
        let shop = self.shop;
        let what = format!("{all} pods, {newest} of them of the newest version");
        let settled = |status: &Value| {
            let all =
                ["replicas", "availableReplicas", "HPAReplicas"].iter().all(|count| status[*count] == all);
            all && status["updatedReplicas"].as_i64().unwrap_or_default() == newest
        };
        shop.await_status(&what, settled).await?;
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{}/rollouts/{NAME}/scale", shop.namespace);
        let scale: Value = serde_json::from_str(&shop.cluster.kubectl(&["get", "--raw", &path]).await?)?;
        let selector = scale["status"]["selector"].as_str().context("no selector")?;
        let pods = ["get", "pods", "-n", &shop.namespace, "-l", selector, "-o", "json"];
        let pods: Value = serde_json::from_str(&shop.cluster.kubectl(&pods).await?)?;
        let staying = pods["items"].as_array().into_iter().flatten();
        let staying = staying.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).count();
        ensure!(
            scale["status"]["replicas"] == all && staying as i64 == all,
            "the scale subresource tells of {all} pods, and its selector finds them: {scale}, {staying}"
        );
        self.await_content().await
    }

    /// Waits until it has what it was led to, can scale, and knows how far.
    async fn await_content(&self) -> anyhow::Result<()> {
        let wish = self.asked.lock().unwrap_or_else(PoisonError::into_inner).last().copied();
        let content = |autoscaler: &Value| {
            let status = &autoscaler["status"];
            let conditions = status["conditions"].as_array();
            let is = |name: &str| {
                conditions.into_iter().flatten().any(|has| has["type"] == name && has["status"] == "True")
            };
            let has =
                ["currentReplicas", "desiredReplicas"].iter().all(|count| status[*count].as_i64() == wish);
            has && is("AbleToScale") && is("ScalingActive") && !is("ScalingLimited")
        };
        let (shop, limit) = (self.shop, PATIENCE);
        let kind = "HorizontalPodAutoscaler";
        shop.cluster
            .await_object(kind, &shop.namespace, AUTOSCALER, limit, "content", content)
            .await
            .map(|_| ())
    }
}

/// As KEDA names it.
const AUTOSCALER: &str = "keda-hpa-shop";

/// One pod for each unit of the metric, at once, up and down.
fn manifest() -> Value {
    let at_once = json!({
        "stabilizationWindowSeconds": 0, "policies": [{ "type": "Pods", "value": 100, "periodSeconds": 1 }],
    });
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": AUTOSCALER },
        "spec": {
            "scaleTargetRef": { "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": NAME },
            "minReplicas": 1, "maxReplicas": 12,
            "behavior": { "scaleUp": at_once, "scaleDown": at_once },
            "metrics": [{ "type": "External", "external": {
                "metric": {
                    "name": METRIC,
                    "selector": { "matchLabels": { "scaledobject.keda.sh/name": NAME } },
                },
                "target": { "type": "AverageValue", "averageValue": "1" },
            } }],
        },
    })
}
