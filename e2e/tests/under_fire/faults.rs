//! What breaks.

use super::is_under_way;
use super::writer::{self, Way};
use anyhow::{Context, ensure};
use headgate_e2e::controllers::Controller;
use headgate_e2e::course::Course;
use headgate_e2e::door::Door;
use headgate_e2e::install::NAMESPACE;
use headgate_e2e::pressure::tell;
use headgate_e2e::{Cluster, Shop};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the lease lasts, as the issue that asked for it says.
const FROZEN: Duration = Duration::from_secs(60);

const PROMETHEUS_AWAY: Duration = Duration::from_secs(120);

const KILLS: u32 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Killed,
    Frozen,
    FailedOver,
    TwoControllers,
    ApiServerRestarted,
    PrometheusGone,
    RouteRecreated,
    ReappliedByServerSideApply,
    ReappliedByUpdate,
}

impl Fault {
    pub(super) const ALL: [Self; 9] = [
        Self::Killed,
        Self::Frozen,
        Self::FailedOver,
        Self::TwoControllers,
        Self::ApiServerRestarted,
        Self::PrometheusGone,
        Self::RouteRecreated,
        Self::ReappliedByServerSideApply,
        Self::ReappliedByUpdate,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Frozen => "frozen",
            Self::FailedOver => "failed-over",
            Self::TwoControllers => "two-controllers",
            Self::ApiServerRestarted => "api-server",
            Self::PrometheusGone => "prometheus",
            Self::RouteRecreated => "route-recreated",
            Self::ReappliedByServerSideApply => "apply",
            Self::ReappliedByUpdate => "update",
        }
    }

    /// Whether it makes a difference for this router.
    pub(super) fn concerns(self, _door: Door) -> bool {
        true
    }

    /// How long a step of the release takes: a leader that stood still for a minute is to find the release under way.
    pub(super) fn pause(self) -> &'static str {
        if self == Self::Frozen { "25s" } else { "8s" }
    }

    /// Lets it happen in the middle of a release, to its end. Gives back how many requests it keeps from being answered.
    pub(super) async fn strike(self, shop: &Shop, course: &Course<'_>) -> anyhow::Result<u64> {
        let cluster = &shop.cluster;
        match self {
            Self::Killed => killed(shop).await?,
            Self::Frozen => frozen(shop).await?,
            Self::FailedOver => {
                let leader = Controller::leader(cluster).await?;
                cluster.kubectl(&["delete", "pod", &leader.pod, "-n", NAMESPACE, "--wait=false"]).await?;
                leader.await_successor(cluster).await?;
            }
            Self::TwoControllers => two_controllers(shop).await?,
            Self::ApiServerRestarted => {
                let lab = cluster.lab()?.context("no lab")?;
                lab.component("kube-apiserver")?.restart(Duration::from_secs(60))?;
            }
            Self::PrometheusGone => {
                let lab = cluster.lab()?.context("no lab")?;
                lab.component("prometheus")?.stop()?;
                tokio::time::sleep(PROMETHEUS_AWAY).await;
                let waits = is_waiting(shop).await;
                lab.component("prometheus")?.start()?;
                waits?;
            }
            Self::RouteRecreated => return route_recreated(shop, course).await,
            Self::ReappliedByServerSideApply => writer::disturbs(shop, Way::ServerSideApply).await?,
            Self::ReappliedByUpdate => writer::disturbs(shop, Way::Update).await?,
        }
        Ok(0)
    }
}

/// The leader is killed at moments that no two runs share, one release after the other. The lease is short here: what is
/// tried are the moments, not the patience.
async fn killed(shop: &Shop) -> anyhow::Result<()> {
    let cluster = &shop.cluster;
    let patient = ["3s", "2s", "1s"].map(str::to_owned);
    let arguments = [
        format!("--leader-election-lease-duration={}", patient[0]),
        format!("--leader-election-renew-deadline={}", patient[1]),
        format!("--leader-election-retry-period={}", patient[2]),
    ];
    set_arguments(cluster, Some(&arguments)).await?;
    let killed = kill_often(shop).await;
    set_arguments(cluster, None).await?;
    killed
}

async fn kill_often(shop: &Shop) -> anyhow::Result<()> {
    let mut version = 2;
    for kill in 1..=KILLS {
        let moment = Duration::from_millis(
            u64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs()) % 3000,
        );
        tokio::time::sleep(moment).await;
        if shop.status().await?["phase"] == "Healthy" {
            version += 1;
            shop.release(&format!("v{version}"), &[]).await?;
        }
        let leader = Controller::leader(&shop.cluster).await?;
        tell(&format!(
            "  kill {kill} of {KILLS} after {} ms, at {}",
            moment.as_millis(),
            step(&shop.status().await?)
        ));
        leader.signal(Signal::SIGKILL)?;
        leader.remove(&shop.cluster).await?;
        leader.await_successor(&shop.cluster).await?;
    }
    Ok(())
}

fn step(status: &Value) -> String {
    format!("step {} of {}", status["currentStepIndex"], status["currentPodHash"])
}

/// The chart's Deployment with further arguments; without, as it was installed.
async fn set_arguments(cluster: &Cluster, arguments: Option<&[String]>) -> anyhow::Result<()> {
    let mut helm = cluster.command("helm")?;
    let chart = headgate_e2e::install::root().join("charts/headgate");
    helm.args(["upgrade", "headgate"]).arg(chart).args(["--namespace", NAMESPACE]);
    helm.args(["--set", "replicas=2", "--wait", "--timeout", "120s"]);
    for (index, argument) in arguments.unwrap_or_default().iter().enumerate() {
        helm.arg("--set-string").arg(format!("extraArgs[{index}]={argument}"));
    }
    headgate_e2e::cluster::output(&mut helm).await.map(|_| ())
}

/// The release waits for the fault to end: neither promoted without having been measured, nor aborted for want of numbers.
async fn is_waiting(shop: &Shop) -> anyhow::Result<()> {
    let status = shop.status().await?;
    ensure!(is_under_way(&status) && status["abort"] != true, "the release did not wait: {status:#}");
    Ok(())
}

/// The leader stands still; the standby takes over; then the leader that was goes on where it stood.
async fn frozen(shop: &Shop) -> anyhow::Result<()> {
    let cluster = &shop.cluster;
    let leader = Controller::leader(cluster).await?;
    leader.signal(Signal::SIGSTOP)?;
    let thaw = tokio::time::Instant::now() + FROZEN;
    let succeeded = leader.await_successor(cluster).await;
    tokio::time::sleep_until(thaw).await;
    let status = shop.status().await;
    leader.signal(Signal::SIGCONT)?;
    succeeded?;
    ensure!(is_under_way(&status?), "the release was over before the leader that was could disturb it");
    Ok(())
}

/// Another installation with a lease of its own acts on the same Rollouts for the rest of the release.
async fn two_controllers(shop: &Shop) -> anyhow::Result<()> {
    let cluster = &shop.cluster;
    let mut other = cluster.get("Deployment", NAMESPACE, "headgate").await?;
    let template = &mut other["spec"]["template"];
    template["metadata"]["labels"]["other"] = json!("yes");
    let arguments = &mut template["spec"]["containers"][0]["args"];
    arguments.as_array_mut().context("no arguments")?.push(json!("--leader-election-id=another-lock"));
    other["spec"]["selector"]["matchLabels"]["other"] = json!("yes");
    other["spec"]["replicas"] = json!(1);
    other["metadata"] = json!({ "name": "headgate-other" });
    other["status"] = Value::Null;
    cluster.apply(NAMESPACE, &[other]).await?;
    let both = async {
        let wait = ["rollout", "status", "deployment/headgate-other", "-n", NAMESPACE, "--timeout=60s"];
        cluster.kubectl(&wait).await?;
        let leads = |lease: &Value| lease["spec"]["holderIdentity"].as_str().is_some_and(|it| !it.is_empty());
        let limit = Duration::from_secs(30);
        cluster
            .await_object("Lease", NAMESPACE, "another-lock", limit, "the other one leading", leads)
            .await?;
        ensure!(is_under_way(&shop.status().await?), "the release was over before there were two");
        shop.await_phase("Healthy").await
    };
    let outcome = both.await;
    cluster.kubectl(&["delete", "deployment", "headgate-other", "-n", NAMESPACE, "--wait=true"]).await?;
    outcome.map(|_| ())
}

/// The route is deleted and made again as it stands in Git. While there is none, requests are lost, and a little longer:
/// until the proxy has learned the new one.
async fn route_recreated(shop: &Shop, course: &Course<'_>) -> anyhow::Result<u64> {
    let cluster = &shop.cluster;
    let door = shop.door()?;
    let (kind, name) = door.route();
    let mut route = cluster.get(kind, &shop.namespace, name).await?;
    route["metadata"] = json!({ "name": name, "annotations": route["metadata"]["annotations"] });
    route["status"] = Value::Null;
    door.revert(&mut route);
    cluster.kubectl(&["delete", kind, name, "-n", &shop.namespace]).await?;
    let missing = format!("{kind} \"{name}\" does not exist");
    let told = |rollout: &Value| {
        rollout["status"]["waiting"]["message"].as_str().is_some_and(|said| said.contains(&missing))
    };
    let limit = Duration::from_secs(30);
    cluster.await_object("Rollout", &shop.namespace, "shop", limit, "the missing route named", told).await?;
    cluster.apply(&shop.namespace, &[route]).await?;
    course.all_are_answered().await?;
    Ok(course.unanswered())
}
