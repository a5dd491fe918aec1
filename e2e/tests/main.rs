//! Behaviour on a real cluster: one file each. `cargo xtask e2e` boots the lab and runs them in its network.

mod additions;
mod adoption;
mod analysis;
mod argocd;
mod autoscaling;
mod bad_input;
mod by_hand;
mod conformance;
mod deadline;
mod docs;
mod doors;
mod dynamic;
mod installation;
mod kubectl_wait;
mod leader;
mod live_traffic;
mod no_drain;
mod nothing_lost;
mod notifications;
mod outage;
mod plugin;
mod pod_health;
mod pod_metadata;
mod presets;
mod quiet;
mod recovery;
mod restart;
mod rival;
mod simulate;
mod sweep;
mod under_fire;
mod user_routes;
mod workload;

use headgate_e2e::{Cluster, install, metrics_source};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// Tests share the cluster; one that measures or breaks something that all need has it alone.
static CLUSTER: RwLock<()> = RwLock::const_new(());

/// A cluster with Headgate installed, beside other tests.
async fn shared() -> anyhow::Result<(Cluster, RwLockReadGuard<'static, ()>)> {
    Ok((installed().await?, CLUSTER.read().await))
}

/// A cluster with Headgate installed, alone.
async fn alone() -> anyhow::Result<(Cluster, RwLockWriteGuard<'static, ()>)> {
    Ok((installed().await?, CLUSTER.write().await))
}

/// Of so many things that take too long to be tried in one run, the one whose turn it is: another one each hour.
fn turn(of: usize) -> anyhow::Result<usize> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(usize::try_from(now.as_secs() / 3600)? % of)
}

async fn installed() -> anyhow::Result<Cluster> {
    let cluster = Cluster::connect().await?;
    let install = async || {
        metrics_source::forget(&cluster).await?;
        install::headgate(&cluster).await
    };
    INSTALLED.get_or_try_init(install).await?;
    Ok(cluster)
}
