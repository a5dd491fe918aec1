//! A good release to the end and a bad one into its abort, with live traffic, shown as it happens.

mod screen;
mod trouble;
mod verdict;

use crate::cluster::Cluster;
use crate::door::Door;
use crate::install;
use crate::load::{Load, LoadOptions};
use crate::pressure::Pressure;
use crate::prometheus::Prometheus;
use crate::shop::{Manifests, Shop};
use anyhow::bail;
use screen::{Moment, Screen};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
pub use trouble::Trouble;
pub use verdict::{Bad, Sighting, Verdict};

/// The namespace of the demo, and the beginning of its host.
pub const NAMESPACE: &str = "demo";

/// Requests per second.
const RATE: u32 = 60;

/// What the clients see is judged over this long.
const WINDOW: Duration = Duration::from_secs(5);

/// The alert must fire this soon after the abort.
const ALERT_WITHIN: Duration = Duration::from_secs(60);

/// What is shown.
#[derive(Clone, Debug)]
pub struct Programme {
    /// The router that requests come through.
    pub door: Door,
    /// The bad releases, one after the other.
    pub troubles: Vec<Trouble>,
}

impl Default for Programme {
    /// Through Istio, with errors.
    fn default() -> Self {
        Self { door: Door::Istio, troubles: vec![Trouble::Errors] }
    }
}

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
pub async fn run(cluster: &Cluster, programme: &Programme) -> anyhow::Result<Verdict> {
    let screen = Screen::default();
    screen.act("Headgate is installed with its chart, as users install it");
    install::headgate(cluster).await?;

    let example = programme.door.example();
    screen.act(&format!(
        "docs/examples/{example} is applied: a Rollout, two Services, a route, two AnalysisTemplates"
    ));
    let shop = Shop::open(cluster, NAMESPACE, &manifests(programme.door)?).await?;
    shop.await_route("v1").await?;
    let pressure = Pressure::begin();
    let load = Load::start(shop.target()?, LoadOptions { rate_per_second: RATE, ..LoadOptions::default() })?;
    screen.note(&format!("steady traffic through the router: {RATE} requests a second"));

    let verdict = Verdict { door: programme.door.name(), ..Verdict::default() };
    let mut stage = Stage { shop, load, prometheus: Prometheus::of(cluster)?, screen, verdict };
    let outcome = stage.acts(&programme.troubles).await;
    let Stage { load, mut verdict, .. } = stage;
    verdict.count(&load.stop().await, &pressure);
    if let Err(error) = outcome {
        verdict.broken(format!("{error:#}"));
    }
    Ok(verdict)
}

/// The example as it stands, with a limit of memory, and with less patience for pods that end: the default counts five ends
/// in five minutes, and this is a demo.
///
/// # Errors
/// When a file cannot be read.
pub fn manifests(door: Door) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::through(door, NAMESPACE)?;
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] =
            json!({ "memory": "64Mi" });
        rollout["spec"]["strategy"]["canary"]["podHealth"] = json!({ "maxRestarts": 2 });
    });
    Ok(manifests)
}

impl Stage {
    async fn acts(&mut self, troubles: &[Trouble]) -> anyhow::Result<()> {
        self.good_release().await?;
        for (number, trouble) in troubles.iter().enumerate() {
            let version = format!("v{}", number + 3);
            self.verdict.bad.push(Bad { trouble: *trouble, ..Bad::default() });
            let aborted = self.bad_release(&version, *trouble).await?;
            self.alert(aborted).await?;
            self.mend().await?;
        }
        Ok(())
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

    async fn bad_release(&mut self, version: &str, trouble: Trouble) -> anyhow::Result<Instant> {
        self.screen.act(&format!("A bad version, {version}, is released: {}", trouble.told()));
        self.shop.release(version, trouble.environment()).await?;
        let end = self
            .watch(version, Duration::from_secs(300), |status| phase_is(status, &["Healthy", "Degraded"]))
            .await?;
        let aborted = Instant::now();
        let message = end.status["message"].as_str().unwrap_or_default();
        self.screen.note(message);
        let is_aborted = end.status["abort"] == true;
        let is_named = message.contains(trouble.named_as());
        self.settle("v2").await;
        let stable_at_full = self.share("v2") >= 1.0;
        let seconds_to_stable = Some(aborted.elapsed().saturating_sub(WINDOW).as_secs());
        self.verdict.amend(|bad| Bad {
            aborted: is_aborted,
            named: is_named,
            stable_at_full,
            seconds_to_stable,
            ..bad
        });
        self.screen.outcome(
            is_aborted && is_named && stable_at_full,
            &format!("{version} was aborted and its fault named, v2 has all the traffic again"),
        );
        Ok(aborted)
    }

    async fn alert(&mut self, aborted: Instant) -> anyhow::Result<()> {
        self.screen.act("The alert");
        let limit = ALERT_WITHIN.saturating_sub(aborted.elapsed());
        let alerted = self.await_alert(true, limit).await?;
        self.verdict.amend(|bad| Bad { alerted, ..bad });
        let seconds = aborted.elapsed().as_secs();
        self.screen.outcome(alerted, &format!("RolloutDegraded fires {seconds} s after the abort"));
        Ok(())
    }

    async fn mend(&mut self) -> anyhow::Result<()> {
        self.screen.act("The fix: kubectl headgate undo shop");
        self.shop.plugin(&["undo", "shop"]).await?;
        self.shop.await_phase("Healthy").await?;
        let resolved = self.await_alert(false, ALERT_WITHIN).await?;
        self.verdict.amend(|bad| Bad { resolved, ..bad });
        self.screen.outcome(resolved, "the Rollout is Healthy, the alert is resolved");
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
