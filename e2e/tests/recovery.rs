//! docs/recovery.md: with the controller gone in any state of a release, its plain kubectl commands lead back to stable.

use crate::{alone, turn};
use anyhow::Context;
use futures::future::try_join_all;
use futures::{StreamExt, stream};
use headgate_e2e::cluster::{PATIENCE, output};
use headgate_e2e::door::Door;
use headgate_e2e::install::{NAMESPACE, root};
use headgate_e2e::shop::Manifests;
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use tokio::process::Command;

/// A state of a release in which Headgate goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The pods of the new version are not ready yet.
    Starting,
    /// Some of the traffic goes to the new version.
    Paused,
    /// All of it does, and the pods of the old one are still there, for it is the stable one.
    Full,
    /// A third version has replaced the second in the middle of its release.
    Interrupted,
    /// A user has aborted, and the pods of the new version are still there.
    Aborted,
    /// The pods of the new version did not get ready in time, which has aborted it.
    Overdue,
    /// The new version is stable, and the pods of the old one are still there.
    Promoted,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Starting,
        Self::Paused,
        Self::Full,
        Self::Interrupted,
        Self::Aborted,
        Self::Overdue,
        Self::Promoted,
    ];

    /// The weight at which its releases pause.
    fn weight(self) -> i64 {
        if self == Self::Full { 100 } else { 50 }
    }
}

/// Each state through Istio, and through one of the other routers, which take turns: all pairs at once are too
/// much for a small machine.
fn cases() -> anyhow::Result<Vec<(Door, State)>> {
    const OTHERS: [Door; 2] = [Door::Nginx, Door::Gateway];
    let others = OTHERS.into_iter().cycle().skip(turn(OTHERS.len())?);
    let pairs = State::ALL.into_iter().zip(others);
    Ok(pairs.flat_map(|(state, other)| [(Door::Istio, state), (other, state)]).collect())
}

/// Shops that are recovered at the same time.
const AT_ONCE: usize = 4;

/// The shell blocks of the page, after the one that sets the names.
fn commands() -> anyhow::Result<String> {
    let page = std::fs::read_to_string(root().join("docs/recovery.md"))?;
    let blocks: Vec<&str> =
        page.split("```sh\n").skip(2).filter_map(|rest| rest.split("```").next()).collect();
    anyhow::ensure!(blocks.len() == 7, "the page has {} blocks of commands", blocks.len());
    Ok(blocks.concat())
}

async fn scale_controller(cluster: &Cluster, replicas: u32) -> anyhow::Result<()> {
    let replicas = format!("--replicas={replicas}");
    cluster.kubectl(&["scale", "deployment", "headgate", "-n", NAMESPACE, &replicas]).await?;
    let wait = ["rollout", "status", "deployment/headgate", "-n", NAMESPACE, "--timeout=60s"];
    cluster.kubectl(&wait).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_kubectl_commands_lead_back_to_stable_from_every_state_of_a_release() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let cases = cases()?;
    let shops = try_join_all(cases.iter().map(|(door, state)| open(&cluster, *door, *state))).await?;
    try_join_all(shops.iter().zip(&cases).map(|(shop, (_, state))| bring(shop, *state))).await?;
    scale_controller(&cluster, 0).await?;
    let recovered = shops.iter().zip(&cases).map(async |(shop, (door, state))| {
        recover(shop).await.with_context(|| format!("{state:?} through {}", door.name()))
    });
    let recovered: Vec<_> = stream::iter(recovered).buffer_unordered(AT_ONCE).collect().await;
    scale_controller(&cluster, 2).await?;
    recovered.into_iter().collect::<anyhow::Result<()>>()?;
    // Back again, Headgate agrees.
    try_join_all(shops.iter().zip(&cases).map(|(shop, (_, state))| agrees(shop, *state))).await?;
    for shop in shops {
        shop.close().await?;
    }
    Ok(())
}

async fn open(cluster: &Cluster, door: Door, state: State) -> anyhow::Result<Shop> {
    let namespace = format!("e2e-recovery-{}-{state:?}", door.name()).to_lowercase();
    let mut manifests = Manifests::through(door, &namespace)?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = json!([{ "setWeight": state.weight() }, { "pause": {} }]);
        // Nothing is to go away while Headgate is scaled down.
        canary["scaleDownDelaySeconds"] = json!(120);
        canary["abortScaleDownDelaySeconds"] = json!(120);
    });
    let shop = Shop::open(cluster, &namespace, &manifests).await?;
    shop.await_route("v1").await?;
    Ok(shop)
}

async fn bring(shop: &Shop, state: State) -> anyhow::Result<()> {
    match state {
        State::Starting => {
            shop.release("v2", &[("NEVER_READY", "true")]).await?;
            shop.await_phase("Progressing").await?;
        }
        State::Paused | State::Full => paused_at(shop, "v2", state).await?,
        State::Interrupted => {
            paused_at(shop, "v2", state).await?;
            paused_at(shop, "v3", state).await?;
        }
        State::Aborted => {
            paused_at(shop, "v2", state).await?;
            shop.plugin(&["abort", "shop"]).await?;
            shop.await_phase("Degraded").await?;
        }
        State::Overdue => {
            // Only now: with many shops at once the first version might miss it, too.
            let deadline = json!({ "progressDeadlineSeconds": 10, "progressDeadlineAbort": true });
            shop.patch("merge", &json!({ "spec": deadline })).await?;
            shop.release("v2", &[("NEVER_READY", "true")]).await?;
            shop.await_status("aborted", |status| status["abort"] == true).await?;
        }
        State::Promoted => {
            paused_at(shop, "v2", state).await?;
            shop.plugin(&["promote", "shop"]).await?;
            shop.await_phase("Healthy").await?;
        }
    }
    Ok(())
}

async fn paused_at(shop: &Shop, version: &str, state: State) -> anyhow::Result<()> {
    shop.release(version, &[]).await?;
    shop.await_phase("Paused").await?;
    shop.await_weight(state.weight()).await
}

/// The commands of the page, and what clients see then.
async fn recover(shop: &Shop) -> anyhow::Result<()> {
    let mut shell = shop.cluster.with_kubeconfig(Command::new("sh"));
    shell.env("NAMESPACE", &shop.namespace).env("ROLLOUT", "shop");
    if let Some(lab) = shop.cluster.lab()? {
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", lab.bin_dir().display()));
    }
    output(shell.args(["-euc", &commands()?])).await?;
    anyhow::ensure!(shop.routed_weight().await? == 0, "the canary still has a weight");
    let status = shop.status().await?;
    let is_promoted = status["stableRS"] == status["currentPodHash"];
    shop.await_route(if is_promoted { "v2" } else { "v1" }).await?;
    let limit = PATIENCE;
    let stable = format!("shop-{}", status["stableRS"].as_str().unwrap_or_default());
    for name in shop.names("replicasets").await? {
        let pods = if name == stable { 2 } else { 0 };
        let seen = |set: &Value| set["status"]["replicas"] == pods;
        let what = format!("{pods} pods");
        shop.cluster.await_object("ReplicaSet", &shop.namespace, &name, limit, &what, seen).await?;
    }
    Ok(())
}

async fn agrees(shop: &Shop, state: State) -> anyhow::Result<()> {
    if state != State::Promoted {
        shop.await_phase("Degraded").await?;
        shop.await_weight(0).await?;
        let revision = stable_revision(shop).await?;
        shop.plugin(&["undo", "shop", "--to-revision", &revision]).await?;
    }
    shop.await_phase("Healthy").await.map(|_| ())
}

async fn stable_revision(shop: &Shop) -> anyhow::Result<String> {
    let status = shop.status().await?;
    let name = format!("shop-{}", status["stableRS"].as_str().unwrap_or_default());
    let set = shop.cluster.get("ReplicaSet", &shop.namespace, &name).await?;
    let revision = set["metadata"]["annotations"]["rollout.argoproj.io/revision"].as_str();
    Ok(revision.context("the stable ReplicaSet has no revision")?.to_owned())
}
