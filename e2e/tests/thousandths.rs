//! `maxTrafficWeight`: weights of a thousand, through the routers that take them. Clients see the share, the pods go with it, and
//! nothing is lost.

use crate::alone;
use anyhow::ensure;
use futures::future::try_join_all;
use headgate_e2e::course::{Course, nothing_is_lost};
use headgate_e2e::door::Door;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use std::time::Duration;

/// Requests per second.
const RATE: u32 = 200;

/// Five of a thousand are twenty requests in this time: neither none, nor the two hundred that five of a hundred would be.
const WINDOW: Duration = Duration::from_secs(20);

/// Desired pods.
const REPLICAS: i64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_thousandths_is_what_clients_see_and_nothing_is_lost() -> anyhow::Result<()> {
    if !crate::is_turn_of("thousandths")? {
        return Ok(());
    }
    let (cluster, _guard) = alone().await?;
    try_join_all([Door::Nginx, Door::Gateway].map(|door| released(&cluster, door))).await.map(|_| ())
}

async fn released(cluster: &Cluster, door: Door) -> anyhow::Result<()> {
    let namespace = format!("e2e-thousandths-{}", door.name());
    let mut manifests = Manifests::through(door, &namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(REPLICAS);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["trafficRouting"]["maxTrafficWeight"] = json!(1000);
        canary["scaleDownDelaySeconds"] = json!(5);
        canary["steps"] = json!([{ "setWeight": 5 }, { "pause": {} }, { "setWeight": 500 }, { "pause": {} }]);
    });
    nothing_is_lost(cluster, &namespace, &manifests, RATE, acts).await
}

async fn acts(shop: &Shop, course: &Course<'_>) -> anyhow::Result<()> {
    shop.release("v2", &[]).await?;
    waits_at(shop, 1, 5, 1).await?;
    course.has_share("v2", 0.005, WINDOW).await?;
    shop.plugin(&["promote", NAME]).await?;
    waits_at(shop, 3, 500, 2).await?;
    course.has_share("v2", 0.5, Duration::from_secs(2)).await?;
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    shop.await_weight(0).await?;
    course.is_alone("v2").await?;
    shop.await_pods(REPLICAS, REPLICAS).await.map(|_| ())
}

/// Waits for the pause at a step, where the new version has so many of a thousand, and so many pods.
async fn waits_at(shop: &Shop, step: i64, weight: i64, pods: i64) -> anyhow::Result<()> {
    let weights = shop.await_pause(step).await?["canary"]["weights"].clone();
    let told = (&weights["canary"]["weight"], &weights["stable"]["weight"]);
    ensure!(told == (&json!(weight), &json!(1000 - weight)), "{weights:#}");
    let door = shop.door()?;
    let (kind, name) = door.weighted();
    let route = shop.cluster.get(kind, &shop.namespace, name).await?;
    ensure!(
        (door.weight(&route), total(door, &route)) == (Some(weight), Some(1000)),
        "{weight} of a thousand: {route:#}"
    );
    shop.await_pods(REPLICAS + pods, pods).await.map(|_| ())
}

/// What the weights of a route are shares of.
fn total(door: Door, route: &Value) -> Option<i64> {
    match door {
        Door::Nginx => {
            let annotations = &route["metadata"]["annotations"];
            annotations["nginx.ingress.kubernetes.io/canary-weight-total"].as_str()?.parse().ok()
        }
        Door::Istio | Door::Gateway => {
            let backends = route["spec"]["rules"][0]["backendRefs"].as_array()?;
            backends.iter().map(|backend| backend["weight"].as_i64()).sum()
        }
    }
}
