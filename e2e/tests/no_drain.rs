//! An app that does not drain on SIGTERM: what clients lose of a release of it. Measured and told, not asserted: no
//! controller can promise anything for it, but where old pods stay until the routers have learned, little is lost.

use crate::alone;
use anyhow::ensure;
use futures::future::try_join_all;
use headgate_e2e::course::{self, Course, Outcome, conclusive};
use headgate_e2e::door::Door;
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::Manifests;
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};

/// Requests per second.
const RATE: u32 = 200;

/// At SIGTERM the app takes no new connection, answers what it is answering, and ends.
const WITHOUT_DRAIN: (&str, &str) = ("DRAIN", "0s");

#[tokio::test(flavor = "multi_thread")]
async fn what_an_app_without_drain_loses_is_told_and_its_releases_end_right() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    try_join_all(Door::ALL.map(|door| measured(&cluster, door))).await.map(|_| ())
}

async fn measured(cluster: &Cluster, door: Door) -> anyhow::Result<()> {
    let (report, strain) = conclusive(door.name(), async || releases(cluster, door).await).await?;
    let (sent, name) = (report.total.sent, door.name());
    // Two releases take longer than five seconds.
    ensure!(sent > u64::from(RATE) * 5, "{name}: {sent} requests say nothing");
    tell(&format!("{name}, without drain: {} of {sent} requests were lost; {strain}", report.total.lost));
    for lost in &report.first_lost {
        tell(&format!("  at {}: {}", lost.at, lost.cause));
    }
    Ok(())
}

async fn releases(cluster: &Cluster, door: Door) -> anyhow::Result<Outcome> {
    let namespace = format!("e2e-no-drain-{}", door.name());
    let mut manifests = Manifests::through(door, &namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        let (name, value) = WITHOUT_DRAIN;
        rollout["spec"]["replicas"] = json!(2);
        rollout["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{ "name": "VERSION", "value": "v1" }, { "name": name, "value": value }]);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = json!([{ "setWeight": 50 }, { "pause": {} }]);
        // As long as clients may take to follow a weight.
        canary["scaleDownDelaySeconds"] = json!(5);
    });
    let shop = Shop::open(cluster, &namespace, &manifests).await?;
    let course = Course::begin(&shop, RATE, "v1").await?;
    let went = acts(&shop, &course, door).await;
    // Whatever was lost is forgiven.
    let outcome = course.end(u64::MAX).await;
    course::judge(outcome, went, shop).await
}

/// A promotion and a rollback, each until the old pods are gone.
async fn acts(shop: &Shop, course: &Course<'_>, door: Door) -> anyhow::Result<()> {
    shop.release("v2", &[WITHOUT_DRAIN]).await?;
    to_its_end(shop, course, "v2").await?;
    let promotion = course.unanswered();
    shop.plugin(&["undo", "shop"]).await?;
    to_its_end(shop, course, "v1").await?;
    let rollback = course.unanswered() - promotion;
    let name = door.name();
    tell(&format!(
        "{name}, without drain: lost {promotion} over the promotion, {rollback} over the rollback"
    ));
    Ok(())
}

async fn to_its_end(shop: &Shop, course: &Course<'_>, version: &str) -> anyhow::Result<()> {
    // The route shows the weight while the step that set it is still current: a promotion sent then is refused, and rightly.
    shop.await_phase("Paused").await?;
    shop.plugin(&["promote", "shop"]).await?;
    let is_over = |status: &Value| {
        status["phase"] == "Healthy"
            && status["stableRS"] == status["currentPodHash"]
            && status["replicas"] == 2
    };
    shop.await_status("Healthy, without old pods", is_over).await?;
    course.is_alone(version).await
}
