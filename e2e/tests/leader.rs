//! The leader dies in the middle of a release.

use crate::alone;
use headgate_e2e::Shop;
use headgate_e2e::install::NAMESPACE;
use headgate_e2e::shop::Manifests;
use serde_json::json;
use std::time::Duration;

const LEASE: &str = "argo-rollouts-controller-lock";

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_on_under_the_next_leader() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let steps = json!([{ "setWeight": 50 }, { "pause": { "duration": "5s" } }, { "pause": {} }]);
    let shop = Shop::open(&cluster, "e2e-leader", &Manifests::plain("e2e-leader", &steps)?).await?;
    shop.release("v2", &[]).await?;
    shop.await_step(1).await?;

    let lease = cluster.get("Lease", NAMESPACE, LEASE).await?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    let pods = cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-o", "name"]).await?;
    let leader = pods.lines().filter_map(|line| line.strip_prefix("pod/")).find(|name| holder.contains(name));
    let leader = leader.ok_or_else(|| anyhow::anyhow!("the lease names {holder:?}, none of {pods}"))?;
    cluster.kubectl(&["delete", "pod", leader, "-n", NAMESPACE, "--grace-period=0", "--force"]).await?;
    cluster
        .await_object("Lease", NAMESPACE, LEASE, Duration::from_secs(60), "another holder", |lease| {
            lease["spec"]["holderIdentity"].as_str().is_some_and(|other| !other.is_empty() && other != holder)
        })
        .await?;

    shop.await_step(2).await?;
    shop.plugin(&["promote", "shop"]).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}
