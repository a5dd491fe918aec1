//! Asking the cluster's Prometheus.

use crate::cluster::Cluster;
use anyhow::Context;
use serde_json::Value;

/// A Prometheus server.
#[derive(Clone)]
pub struct Prometheus {
    url: String,
    client: reqwest::Client,
}

impl Prometheus {
    /// That of a cluster.
    ///
    /// # Errors
    /// When nobody said where it is.
    pub fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(5)).build()?;
        Ok(Self { url: cluster.prometheus_url()?, client })
    }

    /// The value of the first series of an instant query; `None` without data or for NaN.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub async fn value(&self, query: &str) -> anyhow::Result<Option<f64>> {
        let url = format!("{}/api/v1/query", self.url);
        let reply: Value = self.client.get(url).query(&[("query", query)]).send().await?.json().await?;
        let text = reply.pointer("/data/result/0/value/1").and_then(Value::as_str);
        let value =
            text.map(str::parse::<f64>).transpose().with_context(|| format!("no number in {reply}"))?;
        Ok(value.filter(|value| !value.is_nan()))
    }

    /// True when this alert fires for this Rollout.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub async fn fires(&self, alert: &str, namespace: &str, rollout: &str) -> anyhow::Result<bool> {
        let query = format!(
            "ALERTS{{alertname={alert:?},alertstate=\"firing\",namespace={namespace:?},name={rollout:?}}}"
        );
        Ok(self.value(&query).await?.is_some())
    }
}
