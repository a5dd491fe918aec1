//! A wrong spec, a missing Service, a missing template: said clearly in condition, event and CLI, and healed when mended.

use crate::shared;
use headgate_e2e::Shop;
use headgate_e2e::plugin::plugin;
use headgate_e2e::shop::{Manifests, NAME};
use serde_json::{Value, json};

/// Waits for InvalidSpec and checks that condition, event and CLI all say each of `words`.
async fn assert_invalid(shop: &Shop, words: &[&str]) -> anyhow::Result<()> {
    let status = shop
        .await_status("InvalidSpec", |status| {
            status["phase"] == "Degraded"
                && status["message"].as_str().is_some_and(|text| text.starts_with("InvalidSpec"))
        })
        .await?;
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let condition =
        conditions.iter().find(|condition| condition["type"] == "InvalidSpec").cloned().unwrap_or_default();
    let condition = condition["message"].as_str().unwrap_or_default().to_owned();
    assert!(condition.starts_with("The Rollout \"shop\" is invalid: "), "{condition}");
    let events = shop.await_events("InvalidSpec", 1).await?.join("\n");
    let cli = plugin(&shop.cluster, &shop.namespace, &["get", "rollout", "shop"]).await?.out;
    let why = plugin(&shop.cluster, &shop.namespace, &["why", "shop"]).await?.out;
    for word in words {
        for (place, text) in [("condition", &condition), ("event", &events), ("get", &cli), ("why", &why)] {
            assert!(text.contains(word), "{place} does not say {word:?}: {text}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_without_selector_and_labels_is_told_the_lines_to_add() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut manifests = Manifests::plain("e2e-no-selector", &json!([{ "setWeight": 50 }]))?;
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["selector"] = Value::Null;
        rollout["spec"]["template"]["metadata"]["labels"] = Value::Null;
    });
    let shop = Shop::apply(&cluster, "e2e-no-selector", &manifests).await?;
    assert_invalid(&shop, &["spec.selector", "matchLabels", "app: app"]).await?;

    let mended = Manifests::plain("e2e-no-selector", &json!([{ "setWeight": 50 }]))?;
    cluster.apply(&shop.namespace, &mended.0).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_service_is_named_and_the_rollout_heals_when_it_appears() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut manifests = Manifests::example("e2e-no-service")?;
    let services = manifests.take("Service");
    let shop = Shop::apply(&cluster, "e2e-no-service", &manifests).await?;
    assert_invalid(&shop, &["spec.strategy.canary.canaryService", "shop-canary", "not found: create it"])
        .await?;
    cluster.apply(&shop.namespace, &services).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_template_is_named_and_the_rollout_heals_when_it_appears() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut manifests = Manifests::example("e2e-no-template")?;
    let templates = manifests.take("AnalysisTemplate");
    let shop = Shop::apply(&cluster, "e2e-no-template", &manifests).await?;
    assert_invalid(&shop, &["AnalysisTemplate", "success-rate"]).await?;
    cluster.apply(&shop.namespace, &templates).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_becomes_wrong_moves_nothing_and_others_go_on() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }]);
    let shop = Shop::open(&cluster, "e2e-wrong-spec", &Manifests::plain("e2e-wrong-spec", &steps)?).await?;
    let before = shop.status().await?;
    // What the reference answers with InvalidSpec, and no schema can know.
    let wrong = json!([{ "op": "add", "path": "/spec/strategy/canary/stableService", "value": "nowhere" }]);
    shop.patch("json", &wrong).await?;
    assert_invalid(&shop, &["nowhere", "spec.strategy.canary.stableService"]).await?;
    let held = shop.status().await?;
    assert_eq!(held["stableRS"], before["stableRS"]);
    assert_eq!(held["availableReplicas"], 2);

    let other =
        Shop::open(&cluster, "e2e-wrong-spec-other", &Manifests::plain("e2e-wrong-spec-other", &steps)?)
            .await?;
    other.release("v2", &[]).await?;
    other.await_phase("Paused").await?;
    other.close().await?;

    shop.patch("json", &json!([{ "op": "remove", "path": "/spec/strategy/canary/stableService" }])).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strategy_that_becomes_blue_green_in_the_middle_moves_nothing_and_the_release_goes_on_when_it_is_back()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }]);
    let namespace = "e2e-strategy";
    let shop = Shop::open(&cluster, namespace, &Manifests::plain(namespace, &steps)?).await?;
    shop.release("v2", &[]).await?;
    let before = shop.await_pause(1).await?;
    let canary = cluster.get("Rollout", namespace, NAME).await?["spec"]["strategy"].clone();
    let strategy = |value: Value| json!([{ "op": "replace", "path": "/spec/strategy", "value": value }]);
    shop.patch("json", &strategy(json!({ "blueGreen": { "activeService": "shop" } }))).await?;
    assert_invalid(&shop, &["spec.strategy.blueGreen"]).await?;
    let held = shop.status().await?;
    for field in ["stableRS", "currentPodHash", "currentStepIndex", "replicas", "updatedReplicas"] {
        assert_eq!(held[field], before[field], "{field}");
    }

    shop.patch("json", &strategy(canary)).await?;
    shop.await_pause(1).await?;
    shop.plugin(&["promote", NAME]).await?;
    let after = shop.await_phase("Healthy").await?;
    assert_eq!(after["stableRS"], before["currentPodHash"]);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_right_is_refused_at_apply() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    cluster.fresh_namespace("e2e-refused").await?;
    let both = json!({ "setWeight": 10, "pause": {} });
    for (steps, word) in [(json!([{ "setWeight": 150 }]), "setWeight"), (json!([both]), "step")] {
        let manifests = Manifests::plain("e2e-refused", &steps)?;
        let refused = cluster.apply("e2e-refused", &manifests.0).await;
        let message = refused.expect_err("refused").to_string();
        assert!(message.contains(word), "{message}");
    }
    cluster.remove_namespace("e2e-refused").await
}
