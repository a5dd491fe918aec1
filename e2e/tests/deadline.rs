//! Pods that never get ready: the deadline, with and without abort.

use crate::shared;
use headgate_e2e::Shop;
use headgate_e2e::shop::Manifests;
use serde_json::json;

fn impatient(namespace: &str, abort: bool) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::example(namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        rollout["spec"]["progressDeadlineSeconds"] = json!(8);
        rollout["spec"]["progressDeadlineAbort"] = json!(abort);
        rollout["spec"]["strategy"]["canary"]["steps"] = json!([{ "setWeight": 20 }, { "pause": {} }]);
    });
    Ok(manifests)
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_never_get_ready_degrade_the_rollout_and_get_no_traffic() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop = Shop::open(&cluster, "e2e-deadline", &impatient("e2e-deadline", false)?).await?;
    shop.release("v2", &[("NEVER_READY", "true")]).await?;
    let status = shop.await_phase("Degraded").await?;
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("ProgressDeadlineExceeded: "), "{message}");
    assert_ne!(status["abort"], true);
    shop.await_events("ProgressDeadlineExceeded", 1).await?;
    assert_eq!(shop.routed_weight().await?, 0, "no weight for a version without an available pod");

    // Mended by the next version: it goes on.
    shop.release("v3", &[]).await?;
    shop.await_phase("Paused").await?;
    assert_eq!(shop.routed_weight().await?, 20);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_aborts_when_the_spec_says_so() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let shop = Shop::open(&cluster, "e2e-deadline-abort", &impatient("e2e-deadline-abort", true)?).await?;
    let first = shop.status().await?;
    shop.release("v2", &[("NEVER_READY", "true")]).await?;
    let status = shop.await_status("aborted", |status| status["abort"] == true).await?;
    assert_eq!(status["phase"], "Degraded");
    assert_eq!(status["stableRS"], first["stableRS"]);
    shop.close().await
}
