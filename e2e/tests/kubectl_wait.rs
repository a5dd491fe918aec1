//! `kubectl wait` on a Rollout, as docs/guide.md tells pipelines to use it.

use crate::shared;
use anyhow::ensure;
use futures::future::try_join_all;
use headgate_e2e::Shop;
use headgate_e2e::cluster::output;
use headgate_e2e::install::root;
use headgate_e2e::shop::Manifests;
use serde_json::json;

/// `kubectl wait rollout/shop FOR`, up to a minute.
async fn wait(shop: &Shop, condition: &str) -> anyhow::Result<()> {
    let condition = format!("--for={condition}");
    let namespace = &shop.namespace;
    let arguments = ["wait", "rollout/shop", "-n", namespace, &condition, "--timeout=60s"];
    shop.cluster.kubectl(&arguments).await.map(|_| ())
}

/// Each of them, one after the other: they are all true at that time.
async fn all_are_true(shop: &Shop, conditions: &[&str]) -> anyhow::Result<()> {
    try_join_all(conditions.iter().map(|condition| wait(shop, condition))).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_wait_ends_at_each_condition_of_a_release() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-wait";
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }]);
    let shop = Shop::apply(&cluster, namespace, &Manifests::plain(namespace, &steps)?).await?;
    wait(&shop, "condition=Healthy").await?;
    let settled = ["condition=Completed", "condition=Available", "condition=Progressing"];
    all_are_true(&shop, &settled).await?;
    wait(&shop, "jsonpath={.status.phase}=Healthy").await?;

    shop.release("v2", &[]).await?;
    wait(&shop, "condition=Paused").await?;
    let paused = [
        "condition=Healthy=False",
        "condition=Completed=False",
        "condition=Available",
        "condition=Progressing=Unknown",
        "jsonpath={.status.phase}=Paused",
    ];
    all_are_true(&shop, &paused).await?;

    shop.plugin(&["abort", "shop"]).await?;
    wait(&shop, "jsonpath={.status.phase}=Degraded").await?;
    // Paused stays as it was, as with Argo Rollouts: the guide says so.
    all_are_true(&shop, &["condition=Progressing=False", "condition=Completed=False", "condition=Paused"])
        .await?;

    shop.plugin(&["retry", "rollout", "shop"]).await?;
    wait(&shop, "jsonpath={.status.phase}=Paused").await?;
    shop.plugin(&["promote", "shop"]).await?;
    wait(&shop, "condition=Completed").await?;
    wait(&shop, "condition=Healthy").await?;
    all_are_true(&shop, &["condition=Paused=False", "condition=Progressing", "condition=Available"]).await?;
    shop.close().await
}

/// The commands of the guide's section on pipelines that wait for the end of a release.
fn of_the_guide(namespace: &str) -> anyhow::Result<String> {
    let guide = std::fs::read_to_string(root().join("docs/guide.md"))?;
    let section = guide.split_once("### Wait with kubectl").map(|(_, rest)| rest).unwrap_or_default();
    let block = section.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```"));
    let block = block.map(|(block, _)| block).unwrap_or_default();
    ensure!(block.contains("kubectl wait"), "the guide shows how to wait");
    Ok(block.replace("-n shop", &format!("-n {namespace}")))
}

/// Runs these lines in a shell that has the lab's kubectl.
async fn run(shop: &Shop, lines: &str) -> anyhow::Result<String> {
    let kubectl = shop.cluster.command("kubectl")?;
    let directory = std::path::Path::new(kubectl.as_std().get_program()).parent();
    let path = format!(
        "{}:{}",
        directory.map(|directory| directory.display().to_string()).unwrap_or_default(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut shell = shop.cluster.with_kubeconfig(tokio::process::Command::new("sh"));
    output(shell.args(["-e", "-c", lines]).env("PATH", path)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_commands_do_not_take_the_health_of_the_version_before_for_the_new_ones()
-> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-wait-stale";
    let steps = json!([{ "setWeight": 50 }, { "pause": { "duration": "3s" } }]);
    let shop = Shop::open(&cluster, namespace, &Manifests::plain(namespace, &steps)?).await?;
    let commands = of_the_guide(namespace)?;
    for version in ["v2", "v3", "v4"] {
        shop.release(version, &[]).await?;
        run(&shop, &commands).await?;
        let rollout = cluster.get("Rollout", namespace, "shop").await?;
        let shown = &rollout["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"];
        ensure!(
            shown == version
                && rollout["status"]["observedGeneration"].as_str()
                    == Some(&rollout["metadata"]["generation"].to_string())
                && rollout["status"]["stableRS"] == rollout["status"]["currentPodHash"]
                && rollout["status"]["phase"] == "Healthy",
            "{version} is out when the commands end: {}",
            rollout["status"]
        );
    }

    let steps = json!([{ "analysis": { "templates": [{ "templateName": "nobody-has-it" }] } }]);
    shop.patch("merge", &json!({ "spec": { "strategy": { "canary": { "steps": steps } } } })).await?;
    let (first, _) = commands.trim().split_once('\n').unwrap_or_default();
    run(&shop, first).await?;
    let status = shop.status().await?;
    ensure!(status["phase"] == "Degraded", "the second command waits while the spec is refused: {status}");
    // This is why the guide does not wait for the condition.
    wait(&shop, "condition=Healthy").await?;
    shop.close().await
}
