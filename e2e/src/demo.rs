//! A good release to the end and a bad one into its abort, with live traffic, shown as it happens.

mod screen;
mod verdict;

use crate::cluster::Cluster;
use crate::install;
use crate::load::{Load, LoadOptions};
use crate::prometheus::Prometheus;
use crate::shop::{Manifests, Shop};
use anyhow::bail;
use screen::{Moment, Screen};
use serde_json::Value;
use std::time::{Duration, Instant};
pub use verdict::{Sighting, Verdict};

/// The namespace of the demo, and the beginning of its host.
pub const NAMESPACE: &str = "demo";

/// Requests per second.
const RATE: u32 = 60;

/// What the clients see is judged over this long.
const WINDOW: Duration = Duration::from_secs(5);

/// The alert must fire this soon after the abort.
const ALERT_WITHIN: Duration = Duration::from_secs(60);

/// Everything that the acts of the demo need.
struct Stage {
    shop: Shop,
    load: Load,
    prometheus: Prometheus,
    screen: Screen,
    verdict: Verdict,
}

/// Runs the whole demo in a lab that is up. What went wrong is in the verdict.
///
/// # Errors
/// When the cluster cannot be handled at all.
pub async fn run(cluster: &Cluster) -> anyhow::Result<Verdict> {
    let screen = Screen::default();
    screen.act("Headgate is installed with its chart, as users install it");
    install::headgate(cluster).await?;

    screen.act("docs/examples/canary-istio is applied: a Rollout, two Services, a VirtualService, two AnalysisTemplates");
    let shop = Shop::open(cluster, NAMESPACE, &Manifests::example(NAMESPACE)?).await?;
    let load = start_traffic(&shop).await?;
    screen.note(&format!("steady traffic through the gateway: {RATE} requests a second"));

    let mut stage =
        Stage { shop, load, prometheus: Prometheus::of(cluster)?, screen, verdict: Verdict::default() };
    let outcome = stage.acts().await;
    let Stage { load, mut verdict, .. } = stage;
    verdict.count(&load.stop().await);
    if let Err(error) = outcome {
        verdict.broken(format!("{error:#}"));
    }
    Ok(verdict)
}

/// Traffic that counts begins when the gateway has learned the route: before that, nobody was promised an answer.
///
/// # Errors
/// When version `v1` does not answer through the gateway within 30 s.
pub async fn start_traffic(shop: &Shop) -> anyhow::Result<Load> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        let probe =
            Load::start(shop.target()?, LoadOptions { rate_per_second: 20, ..LoadOptions::default() })?;
        tick.tick().await;
        let report = probe.stop().await;
        if report.total.sent > 0 && report.total.answered_by("v1") == report.total.sent {
            break;
        }
        if Instant::now() > deadline {
            bail!("the gateway does not lead to the shop within 30 s: {:?}", report.first_lost);
        }
    }
    Load::start(shop.target()?, LoadOptions { rate_per_second: RATE, ..LoadOptions::default() })
}

impl Stage {
    async fn acts(&mut self) -> anyhow::Result<()> {
        self.good_release().await?;
        let aborted = self.bad_release().await?;
        self.alert(aborted).await?;
        self.mend().await
    }

    async fn good_release(&mut self) -> anyhow::Result<()> {
        self.screen.act("A good version, v2, is released");
        self.shop.release("v2", &[]).await?;
        let end = self
            .watch("v2", Duration::from_secs(300), |status| phase_is(status, &["Healthy", "Degraded"]))
            .await?;
        self.verdict.promoted = end.status["phase"] == "Healthy";
        self.settle("v2").await;
        self.verdict.good_at_full = self.share("v2") >= 1.0;
        self.screen.outcome(self.verdict.promoted && self.verdict.good_at_full, "v2 has all the traffic");
        Ok(())
    }

    async fn bad_release(&mut self) -> anyhow::Result<Instant> {
        self.screen.act("A bad version, v3, is released: three in ten of its answers are errors");
        self.shop.release("v3", &[("ERROR_RATE", "0.3")]).await?;
        let end = self
            .watch("v3", Duration::from_secs(300), |status| phase_is(status, &["Healthy", "Degraded"]))
            .await?;
        let aborted = Instant::now();
        self.verdict.aborted = end.status["abort"] == true;
        self.screen.note(end.status["message"].as_str().unwrap_or_default());
        self.settle("v2").await;
        self.verdict.stable_at_full = self.share("v2") >= 1.0;
        self.verdict.seconds_to_stable = Some(aborted.elapsed().saturating_sub(WINDOW).as_secs());
        self.screen.outcome(
            self.verdict.aborted && self.verdict.stable_at_full,
            "v3 was aborted, v2 has all the traffic again",
        );
        Ok(aborted)
    }

    async fn alert(&mut self, aborted: Instant) -> anyhow::Result<()> {
        self.screen.act("The alert");
        let limit = ALERT_WITHIN.saturating_sub(aborted.elapsed());
        self.verdict.alerted = self.await_alert(true, limit).await?;
        let seconds = aborted.elapsed().as_secs();
        self.screen
            .outcome(self.verdict.alerted, &format!("RolloutDegraded fires {seconds} s after the abort"));
        Ok(())
    }

    async fn mend(&mut self) -> anyhow::Result<()> {
        self.screen.act("The fix: kubectl headgate undo shop");
        self.shop.plugin(&["undo", "shop"]).await?;
        self.shop.await_phase("Healthy").await?;
        self.verdict.resolved = self.await_alert(false, ALERT_WITHIN).await?;
        self.screen.outcome(self.verdict.resolved, "the Rollout is Healthy, the alert is resolved");
        Ok(())
    }

    /// Shows the release once a second, and notes how it stands, until `ended` says yes to its status.
    async fn watch(
        &mut self,
        version: &str,
        limit: Duration,
        ended: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Moment> {
        let start = Instant::now();
        let deadline = start + limit;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        self.screen.head(version);
        loop {
            tick.tick().await;
            let moment = self.look(version).await?;
            self.screen.row(&moment);
            self.verdict.seen(version, start.elapsed(), &moment);
            if moment.is_observed && ended(&moment.status) {
                return Ok(moment);
            }
            if Instant::now() > deadline {
                bail!("{version} is not through after {} s: {}", limit.as_secs(), moment.status);
            }
        }
    }

    async fn look(&self, version: &str) -> anyhow::Result<Moment> {
        let rollout = self.shop.cluster.get("Rollout", NAMESPACE, crate::shop::NAME).await?;
        let counts = self.load.window(WINDOW);
        let seen = counts.by_version.get(version);
        Ok(Moment {
            is_observed: rollout["status"]["observedGeneration"].as_str()
                == Some(&rollout["metadata"]["generation"].to_string()),
            steps: rollout["spec"]["strategy"]["canary"]["steps"].as_array().map_or(0, Vec::len),
            status: rollout["status"].clone(),
            weight: self.shop.routed_weight().await?,
            share: counts.share(version),
            success_rate: seen.filter(|seen| seen.answered > 0).map(crate::load::VersionCounts::success_rate),
            p95: seen.filter(|seen| seen.answered > 0).map(|seen| seen.latency.quantile(0.95)),
            lost: self.load.snapshot().total.lost,
        })
    }

    fn share(&self, version: &str) -> f64 {
        self.load.window(WINDOW).share(version)
    }

    /// Waits until clients have seen nothing but `version` for a whole window.
    async fn settle(&self, version: &str) {
        let deadline = Instant::now() + WINDOW * 4;
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        while self.share(version) < 1.0 && Instant::now() < deadline {
            tick.tick().await;
        }
    }

    async fn await_alert(&self, fires: bool, limit: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + limit;
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        while self.prometheus.fires("RolloutDegraded", NAMESPACE, crate::shop::NAME).await? != fires {
            if Instant::now() > deadline {
                return Ok(false);
            }
            tick.tick().await;
        }
        Ok(true)
    }
}

fn phase_is(status: &Value, phases: &[&str]) -> bool {
    status["phase"].as_str().is_some_and(|phase| phases.contains(&phase))
}
