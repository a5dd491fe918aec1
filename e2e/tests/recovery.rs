//! docs/recovery.md: with the controller gone, its plain kubectl commands lead back to stable.

use crate::alone;
use headgate_e2e::cluster::output;
use headgate_e2e::install::{NAMESPACE, root};
use headgate_e2e::shop::Manifests;
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use tokio::process::Command;

/// The shell blocks of the page, after the one that sets the names.
fn commands() -> anyhow::Result<String> {
    let page = std::fs::read_to_string(root().join("docs/recovery.md"))?;
    let blocks: Vec<&str> =
        page.split("```sh\n").skip(2).filter_map(|rest| rest.split("```").next()).collect();
    anyhow::ensure!(blocks.len() == 5, "the page has {} blocks of commands", blocks.len());
    Ok(blocks.concat())
}

async fn scale_controller(cluster: &Cluster, replicas: u32) -> anyhow::Result<()> {
    let replicas = format!("--replicas={replicas}");
    cluster.kubectl(&["scale", "deployment", "headgate", "-n", NAMESPACE, &replicas]).await?;
    let wait = ["rollout", "status", "deployment/headgate", "-n", NAMESPACE, "--timeout=60s"];
    cluster.kubectl(&wait).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_kubectl_commands_lead_back_to_stable_from_the_middle_of_a_release() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let mut manifests = Manifests::example("e2e-recovery")?;
    manifests.take("AnalysisTemplate");
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["analysis"] = Value::Null;
        canary["steps"] = json!([{ "setWeight": 50 }, { "pause": {} }]);
    });
    let shop = Shop::open(&cluster, "e2e-recovery", &manifests).await?;
    let stable = shop.status().await?["stableRS"].clone();
    shop.release("v2", &[]).await?;
    shop.await_phase("Paused").await?;
    scale_controller(&cluster, 0).await?;

    let mut shell = cluster.with_kubeconfig(Command::new("sh"));
    shell.env("NAMESPACE", &shop.namespace).env("ROLLOUT", "shop");
    if let Some(lab) = cluster.lab()? {
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", lab.bin_dir().display()));
    }
    let recovered = output(shell.args(["-euc", &commands()?])).await;
    let weight = shop.routed_weight().await?;
    scale_controller(&cluster, 2).await?;
    recovered?;
    assert_eq!(weight, 0);

    // Back again, Headgate agrees.
    let status = shop.await_phase("Degraded").await?;
    assert_eq!(status["stableRS"], stable);
    shop.await_weight(0).await?;
    shop.plugin(&["undo", "shop"]).await?;
    shop.await_phase("Healthy").await?;
    shop.close().await
}
