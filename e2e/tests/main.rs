//! Behaviour on a real cluster: one file each. `cargo xtask e2e` boots the lab and runs them in its network.

mod additions;
mod adoption;
mod analysis;
mod anti_affinity;
mod argocd;
mod autoscaling;
mod bad_input;
mod by_hand;
mod canary_scale;
mod conformance;
mod deadline;
mod docs;
mod doors;
mod dynamic;
mod history;
mod installation;
mod kubectl_wait;
mod leader;
mod live_traffic;
mod metrics;
mod midway;
mod no_drain;
mod nothing_lost;
mod notifications;
mod outage;
mod ownership;
mod plugin;
mod pod_health;
mod pod_metadata;
mod presets;
mod quiet;
mod readiness;
mod recovery;
mod restart;
mod rival;
mod rollback;
mod seats;
mod simulate;
mod sweep;
mod thousandths;
mod to_zero;
mod under_fire;
mod user_routes;
mod ways_back;
mod workload;

use anyhow::Context;
use headgate_e2e::{Cluster, install, metrics_source};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::OnceCell;

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// A seat in a cluster with Headgate installed.
type Seat = (Cluster, seats::Taken);

/// A cluster with Headgate installed, beside other tests.
async fn shared() -> anyhow::Result<Seat> {
    seated(seats::Kind::Shared).await
}

/// The same for a test of minutes.
async fn long() -> anyhow::Result<Seat> {
    seated(seats::Kind::Long).await
}

/// The same for a test that makes pods come and go all the time: beside one other, which is none of its kind.
async fn restless() -> anyhow::Result<Seat> {
    seated(seats::Kind::Restless).await
}

/// A cluster with Headgate installed, alone: for what measures, or breaks something that all need.
async fn alone() -> anyhow::Result<Seat> {
    seated(seats::Kind::Alone).await
}

async fn seated(kind: seats::Kind) -> anyhow::Result<Seat> {
    Ok((installed().await?, seats::take(kind).await))
}

/// Of so many things that take too long to be tried in one run, the one whose turn it is: another one each hour.
fn turn(of: usize) -> anyhow::Result<usize> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(usize::try_from(now.as_secs() / 3600)? % of)
}

/// Tests that load the cluster for a minute or more each, beside others that do so in every run.
const BY_THE_HOUR: [&str; 10] = [
    "autoscaling, held, routed",
    "autoscaling, held, plain",
    "autoscaling, dynamic",
    "canary scale",
    "abort in steps",
    "abort as capacity allows",
    "steps change midway",
    "router changes midway",
    "orphans",
    "thousandths",
];

/// Whether it is the turn of one of them, or of all (`--long`). Says so when it is not.
fn is_turn_of(test: &str) -> anyhow::Result<bool> {
    let place = BY_THE_HOUR.iter().position(|one| *one == test).context("a test without a turn")?;
    let is_turn = std::env::var_os("HEADGATE_E2E_LONG").is_some() || place == turn(BY_THE_HOUR.len())?;
    if !is_turn {
        headgate_e2e::pressure::tell(&format!("{test}: left to another hour, or to --long"));
    }
    Ok(is_turn)
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
