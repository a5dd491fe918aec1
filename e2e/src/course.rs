//! Releases under live traffic, and what its clients see: every request is answered, and each version's share is what the
//! weights say.

use crate::cluster::{Cluster, PATIENCE};
use crate::load::{Counts, KeepAlive, Load, LoadOptions, Report, UNVERSIONED};
use crate::pressure::{Pressure, Strain, tell};
use crate::shop::{Manifests, Shop};
use anyhow::{Context, bail, ensure};
use std::time::{Duration, Instant};

/// A check of a share that is right fails this seldom.
pub const FALSE_ALARM: f64 = 1e-6;

/// Clients of a router that has its share of the machine see a new weight this long after the route shows it.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(5);

/// The share is counted over this long.
const WINDOW: Duration = Duration::from_secs(2);

/// Traffic through a shop's router, and what is expected of it.
pub struct Course<'a> {
    shop: &'a Shop,
    load: Load,
    pressure: Pressure,
}

/// What came of a course.
#[derive(Debug)]
pub enum Outcome {
    /// Everything was as it should be; how many requests that says.
    Held(Report, Strain),
    /// The machine was starved: this says nothing.
    Inconclusive(Strain),
}

/// Tries something under traffic. On a starved machine a try says nothing, and is repeated once; twice is no success either.
///
/// # Errors
/// When something was not as it should be, or both tries say nothing.
pub async fn conclusive(
    name: &str,
    mut attempt: impl AsyncFnMut() -> anyhow::Result<Outcome>,
) -> anyhow::Result<(Report, Strain)> {
    for _ in 0..2 {
        match attempt().await.with_context(|| name.to_owned())? {
            Outcome::Held(report, strain) => return Ok((report, strain)),
            Outcome::Inconclusive(strain) => tell(&format!("{name}: inconclusive: {strain}")),
        }
    }
    bail!("{name}: inconclusive twice: the machine is too slow")
}

/// Opens a shop in this namespace and acts on it under traffic, of which nothing may be lost. See [`conclusive`].
///
/// # Errors
/// When an act fails, a request is lost, or two tries say nothing.
pub async fn nothing_is_lost(
    cluster: &Cluster,
    namespace: &str,
    manifests: &Manifests,
    rate_per_second: u32,
    acts: impl AsyncFn(&Shop, &Course<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let attempt = async || {
        let shop = Shop::open(cluster, namespace, manifests).await?;
        let course = Course::begin(&shop, rate_per_second, "v1").await?;
        let went = acts(&shop, &course).await;
        let outcome = course.end(0).await;
        judge(outcome, went, shop).await
    };
    let (report, strain) = conclusive(namespace, attempt).await?;
    tell(&format!("{namespace}: {} requests, none lost; {strain}", report.total.sent));
    Ok(())
}

/// What comes of a course whose acts went so. On a starved machine it says nothing that an act was too slow, either.
///
/// # Errors
/// When something was not as it should be.
pub async fn judge(
    outcome: anyhow::Result<Outcome>,
    acts: anyhow::Result<()>,
    shop: Shop,
) -> anyhow::Result<Outcome> {
    match (&outcome, acts) {
        (Ok(Outcome::Inconclusive(_)), _) => {}
        (Err(lost), Err(act)) => bail!("{act:#}\n{lost:#}"),
        (_, acts) => acts?,
    }
    shop.close().await?;
    outcome
}

impl<'a> Course<'a> {
    /// Begins to send, once the router has learned its way to `version`: before that nobody was promised an answer.
    ///
    /// # Errors
    /// When it does not within 30 s.
    pub async fn begin(shop: &'a Shop, rate_per_second: u32, version: &str) -> anyhow::Result<Self> {
        shop.await_route(version).await?;
        let options = LoadOptions { rate_per_second, keep_alive: KeepAlive::Mixed, ..LoadOptions::default() };
        let load = Load::start(shop.target()?, options)?;
        Ok(Self { shop, load, pressure: Pressure::begin() })
    }

    /// Waits until the route gives the canary `weight` of 100, and `version` that share of the answers.
    ///
    /// # Errors
    /// When one of them does not come.
    pub async fn share_follows(&self, version: &str, weight: i64) -> anyhow::Result<()> {
        self.shop.await_weight(weight).await?;
        let share = f64::from(i32::try_from(weight)?) / 100.0;
        let took = await_share(&self.load, version, share, WINDOW).await?;
        if took > FOLLOWS_WITHIN {
            tell(&format!("{}: {version} had its share of {share} after {took:.0?}", self.shop.namespace));
        }
        Ok(())
    }

    /// Waits until `version` has this share, 0 to 1, of the answers in `window`, and in the one after it.
    ///
    /// # Errors
    /// When it does not.
    pub async fn has_share(&self, version: &str, share: f64, window: Duration) -> anyhow::Result<()> {
        await_share(&self.load, version, share, window).await.map(|_| ())
    }

    /// Waits until `version` gives every answer.
    ///
    /// # Errors
    /// When it does not.
    pub async fn is_alone(&self, version: &str) -> anyhow::Result<()> {
        self.has_share(version, 1.0, WINDOW).await
    }

    /// Waits until every request is answered again.
    ///
    /// # Errors
    /// When some are still not.
    pub async fn all_are_answered(&self) -> anyhow::Result<()> {
        let all = |seen: &Counts| seen.answered > 0 && unanswered(seen) == 0;
        await_traffic(&self.load, WINDOW, "every request is answered", all).await.map(|_| ())
    }

    /// Requests until now that no version answered: lost, or refused by a router without a route.
    pub fn unanswered(&self) -> u64 {
        unanswered(&self.load.snapshot().total)
    }

    /// Ends the traffic. `forgiven`: requests that the fault itself keeps every version from answering.
    ///
    /// # Errors
    /// When something was not as it should be, and the machine was not starved.
    pub async fn end(self, forgiven: u64) -> anyhow::Result<Outcome> {
        let report = self.load.stop().await;
        let strain = self.pressure.strain(report.total.max_lateness);
        if strain.is_starved() {
            return Ok(Outcome::Inconclusive(strain));
        }
        let first = report.first_lost.iter().map(|lost| format!("\nlost at {}: {}", lost.at, lost.cause));
        ensure!(
            unanswered(&report.total) <= forgiven,
            "{} of {} requests were lost, {} answers came from no version; {forgiven} are forgiven{}\n{strain}",
            report.total.lost,
            report.total.sent,
            report.total.answered_by(UNVERSIONED),
            first.collect::<String>(),
        );
        Ok(Outcome::Held(report, strain))
    }
}

/// Waits until `version` has this share, 0 to 1, of the answers in a window and in the one after it, and says how long it took
/// to get it.
///
/// # Errors
/// When it does not in [`PATIENCE`].
pub async fn await_share(
    load: &Load,
    version: &str,
    share: f64,
    window: Duration,
) -> anyhow::Result<Duration> {
    let fits = |seen: &Counts| seen.answered > 0 && seen.share_fits(version, share, FALSE_ALARM);
    await_traffic(load, window, &format!("{version} has a share of {share} in the answers"), fits).await
}

/// Waits until what clients see fits in a window and in the one after it: a share that is passed on the way to another one
/// fits no two. How long it took to fit first.
async fn await_traffic(
    load: &Load,
    window: Duration,
    what: &str,
    fits: impl Fn(&Counts) -> bool,
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut fits_since = None;
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tick.tick().await;
        let seen = load.window(window);
        let now = Instant::now();
        fits_since = if fits(&seen) { fits_since.or(Some(now)) } else { None };
        match fits_since {
            Some(since) if now - since >= window => return Ok(since - start),
            _ => ensure!(now - start < PATIENCE, "not after {PATIENCE:?}: {what}; clients saw {seen:?}"),
        }
    }
}

fn unanswered(counts: &Counts) -> u64 {
    counts.lost + counts.answered_by(UNVERSIONED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Counts;

    fn held() -> Outcome {
        let report = Report {
            started: jiff::Timestamp::UNIX_EPOCH,
            elapsed: Duration::ZERO,
            in_flight: 0,
            total: Counts::default(),
            first_lost: Vec::new(),
        };
        Outcome::Held(report, strain())
    }

    fn strain() -> Strain {
        Strain { waiting: None, lateness: Duration::ZERO }
    }

    #[tokio::test]
    async fn what_a_starved_machine_says_is_tried_once_more_and_never_passes() {
        let mut outcomes = vec![held(), Outcome::Inconclusive(strain())];
        let mut next = async || Ok(outcomes.pop().unwrap_or(Outcome::Inconclusive(strain())));
        assert!(conclusive("try", &mut next).await.is_ok());
        let twice = conclusive("try", next).await.map_err(|error| error.to_string());
        assert_eq!(twice.map(|_| ()), Err("try: inconclusive twice: the machine is too slow".to_owned()));
    }
}
