//! An autoscaler scales a Rollout, through its scale subresource, in the middle of everything: its word holds, no pod is
//! missing, no request is lost, and the release goes on.

use crate::restless;
use anyhow::ensure;
use headgate_e2e::Shop;
use headgate_e2e::autoscaler::Autoscaler;
use headgate_e2e::course::{Course, nothing_is_lost};
use headgate_e2e::meanwhile;
use headgate_e2e::metrics_source::MetricsSource;
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::{Manifests, NAME};
use headgate_e2e::witness::Witness;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Requests per second.
const RATE: u32 = 60;

/// No pod may be missing.
const MAX_UNAVAILABLE: i64 = 0;

/// The Rollout says nothing of replicas, as is right beside an autoscaler.
fn without_replicas(manifests: &mut Manifests, change: impl Fn(&mut Value)) {
    manifests.change("Rollout", |rollout| {
        if let Some(spec) = rollout["spec"].as_object_mut() {
            spec.remove("replicas");
        }
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["maxUnavailable"] = json!(MAX_UNAVAILABLE);
        canary["maxSurge"] = json!(1);
        change(canary);
    });
}

/// Through Istio, where pods stay for as long as clients may take to follow a weight.
fn routed(namespace: &str, steps: &Value) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::example(namespace)?;
    without_replicas(manifests.without_analysis(), |canary| {
        canary["steps"] = steps.clone();
        canary["scaleDownDelaySeconds"] = json!(5);
        canary["abortScaleDownDelaySeconds"] = json!(5);
    });
    Ok(manifests)
}

fn plain(namespace: &str, steps: &Value) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::plain(namespace, steps)?;
    without_replicas(&mut manifests, |_| ());
    Ok(manifests)
}

fn half_and_wait() -> Value {
    json!([{ "setWeight": 50 }, { "pause": {} }])
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_router_an_autoscaler_scales_a_paused_a_promoted_and_an_aborted_release()
-> anyhow::Result<()> {
    let (cluster, _guard) = restless().await?;
    let Some(source) = MetricsSource::shared(&cluster).await? else { return Ok(()) };
    let namespace = "e2e-hpa-routed";
    let manifests = routed(namespace, &half_and_wait())?;
    let acts = async |shop: &Shop, course: &Course<'_>| scaled_through_a_router(shop, source, course).await;
    nothing_is_lost(&cluster, namespace, &manifests, RATE, acts).await
}

async fn scaled_through_a_router(
    shop: &Shop,
    source: &'static MetricsSource,
    course: &Course<'_>,
) -> anyhow::Result<()> {
    let witness = Witness::begin(shop);
    let autoscaler = Autoscaler::begin(shop, source, 4).await?;
    autoscaler.await_pods(4, 4).await?;

    // In the middle of a step, which waits for a user.
    shop.release("v2", &[]).await?;
    shop.await_phase("Paused").await?;
    autoscaler.await_pods(4 + 2, 2).await?;
    autoscaler.scale(8).await?;
    autoscaler.await_pods(8 + 4, 4).await?;
    autoscaler.scale(2).await?;
    autoscaler.await_pods(2 + 1, 1).await?;
    // It waits on.
    shop.await_pause(1).await?;
    course.share_follows("v2", 50).await?;

    // While it is promoted, and after.
    autoscaler.ask(5);
    shop.plugin(&["promote", "shop"]).await?;
    shop.await_phase("Healthy").await?;
    autoscaler.await_pods(5, 5).await?;
    autoscaler.scale(3).await?;
    autoscaler.await_pods(3, 3).await?;
    course.is_alone("v2").await?;

    // While it is aborted, and after.
    shop.release("v3", &[]).await?;
    shop.await_phase("Paused").await?;
    autoscaler.ask(6);
    shop.plugin(&["abort", "shop"]).await?;
    shop.await_phase("Degraded").await?;
    autoscaler.await_pods(6, 0).await?;
    shop.await_weight(0).await?;
    autoscaler.scale(2).await?;
    autoscaler.await_pods(2, 0).await?;
    course.is_alone("v2").await?;
    witness.judge(MAX_UNAVAILABLE, &autoscaler.asked())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_router_an_autoscaler_scales_a_paused_an_aborted_and_a_promoted_release()
-> anyhow::Result<()> {
    let (cluster, _guard) = restless().await?;
    let Some(source) = MetricsSource::shared(&cluster).await? else { return Ok(()) };
    let namespace = "e2e-hpa-plain";
    let shop = Shop::open(&cluster, namespace, &plain(namespace, &half_and_wait())?).await?;
    let witness = Witness::begin(&shop);
    let autoscaler = Autoscaler::begin(&shop, source, 4).await?;
    autoscaler.await_pods(4, 4).await?;

    shop.release("v2", &[]).await?;
    shop.await_phase("Paused").await?;
    autoscaler.await_pods(4, 2).await?;
    autoscaler.scale(8).await?;
    autoscaler.await_pods(8, 4).await?;
    autoscaler.scale(2).await?;
    autoscaler.await_pods(2, 1).await?;
    // It waits on.
    shop.await_pause(1).await?;

    autoscaler.ask(6);
    shop.plugin(&["abort", "shop"]).await?;
    shop.await_phase("Degraded").await?;
    autoscaler.await_pods(6, 0).await?;
    autoscaler.scale(4).await?;
    autoscaler.await_pods(4, 0).await?;

    shop.plugin(&["retry", "rollout", "shop"]).await?;
    shop.await_phase("Paused").await?;
    autoscaler.ask(6);
    shop.plugin(&["promote", "shop"]).await?;
    shop.await_phase("Healthy").await?;
    autoscaler.await_pods(6, 6).await?;
    autoscaler.scale(3).await?;
    autoscaler.await_pods(3, 3).await?;
    witness.judge(MAX_UNAVAILABLE, &autoscaler.asked())?;
    shop.close().await
}

/// A version is released while `spec.paused` holds the Rollout, and the autoscaler leads stable up and down meanwhile: the new
/// version gets no pod of these. Ends with six.
async fn scaled_while_held(shop: &Shop, autoscaler: &Autoscaler<'_>) -> anyhow::Result<()> {
    let held = shop.release_held("v2").await?;
    let scaled = async {
        for pods in [8, 3, 6] {
            autoscaler.scale(pods).await?;
            autoscaler.await_pods(pods, 0).await?;
        }
        anyhow::Ok(())
    };
    meanwhile::size_stays(shop, &held, 0, scaled).await
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_router_an_autoscaler_scales_stable_alone_while_a_user_holds_the_rollout()
-> anyhow::Result<()> {
    if !crate::is_turn_of("autoscaling, held, routed")? {
        return Ok(());
    }
    let (cluster, _guard) = restless().await?;
    let Some(source) = MetricsSource::shared(&cluster).await? else { return Ok(()) };
    let namespace = "e2e-hpa-held-routed";
    let manifests = routed(namespace, &half_and_wait())?;
    let acts = async |shop: &Shop, course: &Course<'_>| held_through_a_router(shop, source, course).await;
    nothing_is_lost(&cluster, namespace, &manifests, RATE, acts).await
}

async fn held_through_a_router(
    shop: &Shop,
    source: &'static MetricsSource,
    course: &Course<'_>,
) -> anyhow::Result<()> {
    let witness = Witness::begin(shop);
    let autoscaler = Autoscaler::begin(shop, source, 4).await?;
    autoscaler.await_pods(4, 4).await?;
    meanwhile::weight_stays(shop, 0, scaled_while_held(shop, &autoscaler)).await?;
    course.is_alone("v1").await?;

    shop.plugin(&["promote", NAME]).await?;
    shop.await_pause(1).await?;
    autoscaler.await_pods(6 + 3, 3).await?;
    course.share_follows("v2", 50).await?;
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    autoscaler.await_pods(6, 6).await?;
    course.is_alone("v2").await?;
    witness.judge(MAX_UNAVAILABLE, &autoscaler.asked())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_router_an_autoscaler_scales_stable_alone_while_a_user_holds_the_rollout()
-> anyhow::Result<()> {
    if !crate::is_turn_of("autoscaling, held, plain")? {
        return Ok(());
    }
    let (cluster, _guard) = restless().await?;
    let Some(source) = MetricsSource::shared(&cluster).await? else { return Ok(()) };
    let namespace = "e2e-hpa-held-plain";
    let shop = Shop::open(&cluster, namespace, &plain(namespace, &half_and_wait())?).await?;
    let witness = Witness::begin(&shop);
    let autoscaler = Autoscaler::begin(&shop, source, 4).await?;
    autoscaler.await_pods(4, 4).await?;
    scaled_while_held(&shop, &autoscaler).await?;

    shop.patch("merge", &json!({ "spec": { "paused": false } })).await?;
    shop.await_pause(1).await?;
    autoscaler.await_pods(6, 3).await?;
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    autoscaler.await_pods(6, 6).await?;
    witness.judge(MAX_UNAVAILABLE, &autoscaler.asked())?;
    shop.close().await
}

/// Through Istio, with a stable version whose pods go with its weight.
fn dynamic(namespace: &str) -> anyhow::Result<Manifests> {
    let wait = json!({ "pause": {} });
    let mut manifests = routed(namespace, &json!([{ "setWeight": 25 }, wait, { "setWeight": 75 }, wait]))?;
    manifests.change("Rollout", |rollout| {
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["dynamicStableScale"] = json!(true);
        if let Some(fields) = canary.as_object_mut() {
            // The one has no place beside it, and with the other an aborted version would not go with its weight.
            fields.remove("scaleDownDelaySeconds");
            fields.remove("abortScaleDownDelaySeconds");
        }
    });
    Ok(manifests)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_scales_both_versions_where_stable_goes_with_its_weight() -> anyhow::Result<()> {
    if !crate::is_turn_of("autoscaling, dynamic")? {
        return Ok(());
    }
    let (cluster, _guard) = restless().await?;
    let Some(source) = MetricsSource::shared(&cluster).await? else { return Ok(()) };
    let namespace = "e2e-hpa-dynamic";
    let manifests = dynamic(namespace)?;
    let acts = async |shop: &Shop, course: &Course<'_>| scaled_with_its_weight(shop, source, course).await;
    nothing_is_lost(&cluster, namespace, &manifests, RATE, acts).await
}

/// Up and down in the pause of a step: both versions together are as many as are wanted, the newest has its share of them, and
/// the release waits on.
async fn scaled_at_a_weight(
    shop: &Shop,
    autoscaler: &Autoscaler<'_>,
    step: i64,
    weight: i64,
) -> anyhow::Result<()> {
    shop.await_pause(step).await?;
    let scaled = async {
        for pods in [4, 8, 4] {
            autoscaler.scale(pods).await?;
            autoscaler.await_pods(pods, pods * weight / 100).await?;
        }
        anyhow::Ok(())
    };
    meanwhile::weight_stays(shop, weight, scaled).await?;
    shop.await_pause(step).await.map(|_| ())
}

async fn scaled_with_its_weight(
    shop: &Shop,
    source: &'static MetricsSource,
    course: &Course<'_>,
) -> anyhow::Result<()> {
    let witness = Witness::begin(shop);
    let autoscaler = Autoscaler::begin(shop, source, 4).await?;
    autoscaler.await_pods(4, 4).await?;

    shop.release("v2", &[]).await?;
    scaled_at_a_weight(shop, &autoscaler, 1, 25).await?;
    course.share_follows("v2", 25).await?;
    shop.plugin(&["promote", NAME]).await?;
    scaled_at_a_weight(shop, &autoscaler, 3, 75).await?;
    course.share_follows("v2", 75).await?;

    // While it is promoted, and while another one is aborted.
    autoscaler.ask(8);
    shop.plugin(&["promote", NAME]).await?;
    shop.await_phase("Healthy").await?;
    autoscaler.await_pods(8, 8).await?;
    course.is_alone("v2").await?;
    shop.release("v3", &[]).await?;
    shop.await_pause(1).await?;
    autoscaler.await_pods(8, 2).await?;
    autoscaler.ask(4);
    shop.plugin(&["abort", NAME]).await?;
    shop.await_phase("Degraded").await?;
    autoscaler.await_pods(4, 0).await?;
    shop.await_weight(0).await?;
    course.is_alone("v2").await?;
    witness.judge(MAX_UNAVAILABLE, &autoscaler.asked())
}

/// What an autoscaler is led to that changes its mind at every look: never the same number twice in a row.
const RESTLESS: [i64; 6] = [4, 6, 5, 8, 3, 6];

/// So long a release may take beside it: each step waits for the pods of a moment's number, which take seconds to start.
const RESTLESS_LIMIT: Duration = Duration::from_secs(300);

/// Three weights with a short pause behind each.
fn timed_steps() -> Value {
    let pause = json!({ "pause": { "duration": "2s" } });
    json!([{ "setWeight": 25 }, pause, { "setWeight": 50 }, pause, { "setWeight": 75 }, pause])
}

/// Releases v2 while another number of pods is asked for every second, and waits until it is promoted nonetheless.
async fn released_in_restlessness(shop: &Shop, source: &'static MetricsSource) -> anyhow::Result<()> {
    let witness = Witness::begin(shop);
    let autoscaler = Autoscaler::begin(shop, source, 4).await?;
    autoscaler.await_pods(4, 4).await?;
    let restless = async {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        for pods in RESTLESS.into_iter().cycle() {
            tick.tick().await;
            autoscaler.ask(pods);
        }
    };
    let released = async {
        let begin = Instant::now();
        let first = shop.status().await?["stableRS"].clone();
        shop.release("v2", &[]).await?;
        let promoted = |rollout: &Value| {
            let status = &rollout["status"];
            status["stableRS"] == status["currentPodHash"] && status["stableRS"] != first
        };
        let (cluster, namespace) = (&shop.cluster, &shop.namespace);
        cluster.await_object("Rollout", namespace, NAME, RESTLESS_LIMIT, "promoted", promoted).await?;
        anyhow::Ok(begin.elapsed())
    };
    let took = tokio::select! {
        () = restless => anyhow::bail!("never"),
        took = released => took?,
    };
    let wishes = witness.wishes();
    tell(&format!(
        "{}: promoted after {} s, between {} wishes of the autoscaler's",
        shop.namespace,
        took.as_secs(),
        wishes.len()
    ));
    // Another one every second, but for those that the machine was too slow for.
    ensure!(wishes.len() as u64 > took.as_secs() / 3, "too quiet to say anything: {wishes:?} in {took:?}");

    autoscaler.scale(4).await?;
    autoscaler.await_pods(4, 4).await?;
    shop.await_phase("Healthy").await?;
    witness.judge(MAX_UNAVAILABLE, &autoscaler.asked())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_that_changes_its_mind_every_second_stalls_no_release_without_a_router()
-> anyhow::Result<()> {
    let (cluster, _guard) = restless().await?;
    let Some(source) = MetricsSource::shared(&cluster).await? else { return Ok(()) };
    let namespace = "e2e-hpa-restless";
    let shop = Shop::open(&cluster, namespace, &plain(namespace, &timed_steps())?).await?;
    released_in_restlessness(&shop, source).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_that_changes_its_mind_every_second_stalls_no_release_through_a_router()
-> anyhow::Result<()> {
    let (cluster, _guard) = restless().await?;
    let Some(source) = MetricsSource::shared(&cluster).await? else { return Ok(()) };
    let namespace = "e2e-hpa-restless-routed";
    let manifests = routed(namespace, &timed_steps())?;
    let acts = async |shop: &Shop, _: &Course<'_>| released_in_restlessness(shop, source).await;
    nothing_is_lost(&cluster, namespace, &manifests, RATE, acts).await
}
