//! What a user changes about a release that is on its way, under load: its steps, and the router itself. Its pods go on, and
//! nobody loses a request.

use crate::restless;
use anyhow::ensure;
use headgate_e2e::Shop;
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::course::{Course, await_share, nothing_is_lost};
use headgate_e2e::door::Door;
use headgate_e2e::load::{Load, LoadOptions, UNVERSIONED};
use headgate_e2e::shop::{Manifests, NAME};
use serde_json::{Value, json};
use std::time::Duration;

/// Requests per second.
const RATE: u32 = 60;

/// Through Istio, waiting at half.
fn half(namespace: &str) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::example(namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["scaleDownDelaySeconds"] = json!(5);
        canary["steps"] = json!([{ "setWeight": 50 }, { "pause": {} }]);
    });
    Ok(manifests)
}

async fn begins(shop: &Shop, course: &Course<'_>) -> anyhow::Result<()> {
    shop.release("v2", &[]).await?;
    shop.await_pause(1).await?;
    course.share_follows("v2", 50).await
}

async fn change(shop: &Shop, canary: Value) -> anyhow::Result<()> {
    shop.patch("merge", &json!({ "spec": { "strategy": { "canary": canary } } })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_change_in_the_middle_begin_anew_with_the_pods_that_are_there() -> anyhow::Result<()> {
    if !crate::is_turn_of("steps change midway")? {
        return Ok(());
    }
    let (cluster, _guard) = restless().await?;
    let namespace = "e2e-midway-steps";
    let acts = async |shop: &Shop, course: &Course<'_>| {
        begins(shop, course).await?;
        let pods = shop.names("pods").await?;
        ensure!(pods.len() == 3, "two of the old version and one of the new one: {pods:?}");

        let wait = json!({ "pause": {} });
        change(shop, json!({ "steps": [{ "setWeight": 25 }, wait, { "setWeight": 75 }, wait] })).await?;
        course.share_follows("v2", 25).await?;
        shop.await_pause(1).await?;
        ensure!(shop.names("pods").await? == pods, "{pods:?}, and then {:?}", shop.names("pods").await?);
        shop.plugin(&["promote", NAME]).await?;
        shop.await_pause(3).await?;
        course.share_follows("v2", 75).await?;

        // And then there are none that hold it back.
        change(shop, json!({ "steps": null })).await?;
        shop.await_phase("Healthy").await?;
        course.is_alone("v2").await
    };
    nothing_is_lost(&cluster, namespace, &half(namespace)?, RATE, acts).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_on_through_another_router_and_the_one_before_is_led_back() -> anyhow::Result<()> {
    if !crate::is_turn_of("router changes midway")? {
        return Ok(());
    }
    let (cluster, _guard) = restless().await?;
    let namespace = "e2e-midway-router";
    let mut manifests = half(namespace)?;
    let mut other = Manifests::through(Door::Gateway, namespace)?;
    manifests.0.extend(other.take("Gateway"));
    manifests.0.extend(other.take("HTTPRoute"));
    nothing_is_lost(&cluster, namespace, &manifests, RATE, changes_router).await
}

async fn changes_router(shop: &Shop, course: &Course<'_>) -> anyhow::Result<()> {
    let second = shop.target_through(Door::Gateway)?;
    let window = Duration::from_secs(2);
    // Until its router has learned the way nobody was promised an answer.
    let probe = Load::start(second.clone(), LoadOptions { rate_per_second: 20, ..LoadOptions::default() })?;
    await_share(&probe, "v1", 1.0, window).await?;
    probe.stop().await;
    let load = Load::start(second, LoadOptions { rate_per_second: RATE, ..LoadOptions::default() })?;
    begins(shop, course).await?;
    await_share(&load, "v1", 1.0, window).await?;

    let other = json!({ "argoproj-labs/gatewayAPI": { "httpRoute": NAME } });
    change(shop, json!({ "trafficRouting": { "istio": null, "plugins": other } })).await?;
    await_share(&load, "v2", 0.5, window).await?;
    shop.await_weight(0).await?;
    course.is_alone("v1").await?;
    shop.await_pause(1).await?;

    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    await_share(&load, "v2", 1.0, window).await?;
    course.is_alone("v2").await?;
    let (kind, name) = Door::Gateway.weighted();
    let led_back = |route: &Value| Door::Gateway.weight(route) == Some(0);
    let what = "weight 0 for the canary";
    shop.cluster.await_object(kind, &shop.namespace, name, PATIENCE, what, led_back).await?;
    let report = load.stop().await;
    let unversioned = report.total.answered_by(UNVERSIONED);
    ensure!(report.total.lost == 0 && unversioned == 0, "{unversioned} from no version: {report:?}");
    Ok(())
}
