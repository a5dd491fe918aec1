//! Somebody who writes the route again and again: Argo CD's self-heal, Flux.

use anyhow::Context;
use headgate_e2e::door::Door;
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// The field manager of the writer.
const MANAGER: &str = "gitops-controller";

/// How the writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ServerSideApply,
    Update,
}

/// What the writer wants of the canary's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weights {
    /// It leaves it as it is (`ignoreDifferences`).
    Left,
    /// As in Git, where the canary has nothing.
    Reverted,
}

/// Changes of the canary's weight in the half minute in which it is reverted every second: we try three times, are reverted
/// each time, and let it be for a while. Two more for tries that were under way when it began.
const CHANGES_MAX: usize = 8;

const REVERTED: Duration = Duration::from_secs(30);

/// First a writer who reverts our weights every second for half a minute, then one who leaves them alone, until the
/// release is through. What the writer wrote survives all of it.
pub(super) async fn disturbs(shop: &Shop, way: Way) -> anyhow::Result<()> {
    let door = shop.door()?;
    if door.shares_its_route() {
        let writer = Writer::begin(shop, way, Weights::Reverted)?;
        let changes = count_changes(shop, door, REVERTED).await;
        let named = message_names_the_writer(shop).await;
        writer.end().await?;
        let changes = changes?;
        anyhow::ensure!(
            changes <= CHANGES_MAX,
            "the canary's weight changed {changes} times in half a minute"
        );
        named?;
    }
    let (kind, name) = door.route();
    let before = shop.cluster.get(kind, &shop.namespace, name).await?;
    let writer = Writer::begin(shop, way, Weights::Left)?;
    let through = shop.await_long("Healthy").await;
    let written = writer.end().await?;
    through?;
    let route = shop.cluster.get(kind, &shop.namespace, name).await?;
    anyhow::ensure!(
        route["metadata"]["annotations"]["written"].as_str() == Some(written.to_string().as_str()),
        "the writer's last word, {written}, was lost: {}",
        route["metadata"]["annotations"]
    );
    let (before, after) = (users_part(door, before), users_part(door, route));
    anyhow::ensure!(before == after, "of the writer's route\n{before:#}\nthis is left\n{after:#}");
    Ok(())
}

/// What the writer wants of the route: everything but the two weights.
fn users_part(door: Door, mut route: Value) -> Value {
    door.revert(&mut route);
    route["spec"].take()
}

/// While somebody reverts our paths, the status says who.
async fn message_names_the_writer(shop: &Shop) -> anyhow::Result<()> {
    let told = |rollout: &Value| rollout["status"]["waiting"]["message"].to_string().contains(MANAGER);
    let limit = Duration::from_secs(60);
    let what = "status.waiting that names who reverts the route";
    shop.cluster.await_object("Rollout", &shop.namespace, "shop", limit, what, told).await.map(|_| ())
}

async fn count_changes(shop: &Shop, door: Door, span: Duration) -> anyhow::Result<usize> {
    let (kind, name) = door.weighted();
    let (mut changes, mut last) = (0, None);
    let counting = shop.cluster.await_object(kind, &shop.namespace, name, span, "counting", |route| {
        let weight = door.weight(route);
        changes += usize::from(last.is_some() && last != Some(weight));
        last = Some(weight);
        false
    });
    // It never says yes: the span is over then.
    drop(counting.await);
    Ok(changes)
}

struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Writer {
    /// Begins to write once a second.
    fn begin(shop: &Shop, way: Way, weights: Weights) -> anyhow::Result<Self> {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (door, cluster, namespace) = (shop.door()?, shop.cluster.clone(), shop.namespace.clone());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            while !stopped.load(Ordering::Relaxed) {
                tick.tick().await;
                let number = count.load(Ordering::Relaxed) + 1;
                if write(&cluster, &namespace, door, way, weights, number).await? {
                    count.store(number, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        Ok(Self { stop, written, task })
    }

    /// Ends, and gives back the number that it has written last.
    async fn end(self) -> anyhow::Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        Ok(self.written.load(Ordering::Relaxed))
    }
}

/// Writes the route; false when somebody else was faster, and the next second tries again.
async fn write(
    cluster: &Cluster,
    namespace: &str,
    door: Door,
    way: Way,
    weights: Weights,
    number: u32,
) -> anyhow::Result<bool> {
    let (kind, name) = door.route();
    let mut route = cluster.get(kind, namespace, name).await?;
    let metadata = &mut route["metadata"];
    let version = metadata["resourceVersion"].clone();
    *metadata =
        json!({ "name": name, "namespace": namespace, "annotations": { "written": number.to_string() } });
    route["status"] = Value::Null;
    if weights == Weights::Reverted {
        door.revert(&mut route);
    }
    match way {
        Way::ServerSideApply => {
            let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager", MANAGER];
            cluster.feed(&arguments, &route).await.context("apply")?;
            Ok(true)
        }
        Way::Update => {
            route["metadata"]["resourceVersion"] = version;
            match cluster.feed(&["replace", "--field-manager", MANAGER], &route).await {
                Ok(()) => Ok(true),
                Err(error) if format!("{error:#}").contains("the object has been modified") => Ok(false),
                Err(error) => Err(error.context("replace")),
            }
        }
    }
}
