//! Behaviour on a real cluster: one file each. `cargo xtask e2e` boots the lab and runs them in its network.

mod analysis;
mod bad_input;
mod by_hand;
mod deadline;
mod installation;
mod leader;
mod live_traffic;
mod outage;
mod user_routes;

use headgate_e2e::{Cluster, install};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// Tests share the cluster; one that measures or breaks something that all need has it alone.
static CLUSTER: RwLock<()> = RwLock::const_new(());

/// A cluster with Headgate installed, beside other tests.
async fn shared() -> (Cluster, RwLockReadGuard<'static, ()>) {
    let cluster = installed().await;
    (cluster, CLUSTER.read().await)
}

/// A cluster with Headgate installed, alone.
async fn alone() -> (Cluster, RwLockWriteGuard<'static, ()>) {
    let cluster = installed().await;
    (cluster, CLUSTER.write().await)
}

async fn installed() -> Cluster {
    let cluster = Cluster::connect().await.expect("a cluster");
    INSTALLED.get_or_try_init(|| install::headgate(&cluster)).await.expect("Headgate is installed");
    cluster
}
