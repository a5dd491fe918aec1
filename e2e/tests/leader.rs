//! The leader dies in the middle of a release.

use crate::alone;
use headgate_e2e::Shop;
use headgate_e2e::controllers::Controller;
use headgate_e2e::shop::Manifests;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_on_under_the_next_leader() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let steps = json!([{ "setWeight": 50 }, { "pause": { "duration": "5s" } }, { "pause": {} }]);
    let shop = Shop::open(&cluster, "e2e-leader", &Manifests::plain("e2e-leader", &steps)?).await?;
    shop.release("v2", &[]).await?;
    shop.await_step(1).await?;

    let leader = Controller::leader(&cluster).await?;
    leader.remove(&cluster).await?;
    leader.await_successor(&cluster).await?;

    shop.await_step(2).await?;
    shop.plugin(&["promote", "shop"]).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}
