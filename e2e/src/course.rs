//! Releases under live traffic, and what its clients see: every request is answered, and each version's share is what the
//! weights say.

use crate::load::{KeepAlive, Load, LoadOptions, Report, UNVERSIONED};
use crate::pressure::{Pressure, Strain, tell};
use crate::shop::Shop;
use anyhow::{Context, bail, ensure};
use std::time::{Duration, Instant};

/// A check of a share that is right fails this seldom.
pub const FALSE_ALARM: f64 = 1e-6;

/// Clients see a new weight this long after the route shows it, at the latest.
pub const FOLLOWS_WITHIN: Duration = Duration::from_secs(5);

/// The share is counted over this long.
const WINDOW: Duration = Duration::from_secs(2);

/// Traffic through a shop's router, and what is expected of it.
pub struct Course<'a> {
    shop: &'a Shop,
    load: Load,
    pressure: Pressure,
    /// What was not as it should be. Told at the end: a starved machine takes all of it back.
    findings: Vec<String>,
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

/// What comes of a course whose acts went so. On a starved machine it says nothing that an act was too slow, either.
///
/// # Errors
/// When something was not as it should be.
pub async fn judge(
    outcome: anyhow::Result<Outcome>,
    acts: anyhow::Result<()>,
    shop: Shop,
) -> anyhow::Result<Outcome> {
    if !matches!(outcome, Ok(Outcome::Inconclusive(_))) {
        acts?;
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
        Ok(Self { shop, load, pressure: Pressure::begin(), findings: Vec::new() })
    }

    /// Waits until the route gives the canary `weight` of 100, and looks five seconds later whether `version` has that share
    /// of the answers.
    ///
    /// # Errors
    /// When the route does not show it within a minute.
    pub async fn share_follows(&mut self, version: &str, weight: i64) -> anyhow::Result<()> {
        self.shop.await_weight(weight).await?;
        let share = f64::from(i32::try_from(weight)?) / 100.0;
        self.shares_after_a_while(version, share).await;
        Ok(())
    }

    /// Looks after five seconds whether `version` has this share of the answers, 0 to 1.
    pub async fn shares_after_a_while(&mut self, version: &str, share: f64) {
        tokio::time::sleep(FOLLOWS_WITHIN).await;
        let seen = self.load.window(WINDOW);
        if seen.answered == 0 || !seen.share_fits(version, share, FALSE_ALARM) {
            self.findings.push(format!(
                "{version} gave {} of {} answers {} s after its share became {share}",
                seen.answered_by(version),
                seen.answered,
                FOLLOWS_WITHIN.as_secs(),
            ));
        }
    }

    /// Waits until `version` gives every answer for a whole window.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn is_alone(&self, version: &str, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tick.tick().await;
            let seen = self.load.window(WINDOW);
            if seen.answered > 0 && seen.answered_by(version) == seen.answered {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "clients see {:?} and not {version} alone after {} s",
                    seen.by_version.keys(),
                    limit.as_secs()
                );
            }
        }
    }

    /// Requests until now that no version answered: lost, or refused by a router without a route.
    pub fn unanswered(&self) -> u64 {
        unanswered(&self.load.snapshot())
    }

    /// Ends the traffic. `forgiven`: requests that the fault itself keeps every version from answering.
    ///
    /// # Errors
    /// When something was not as it should be, and the machine was not starved.
    pub async fn end(self, forgiven: u64) -> anyhow::Result<Outcome> {
        let Self { load, pressure, mut findings, .. } = self;
        let report = load.stop().await;
        let strain = pressure.strain(report.total.max_lateness);
        if unanswered(&report) > forgiven {
            findings.push(format!(
                "{} of {} requests were lost, {} answers came from no version; {forgiven} are forgiven",
                report.total.lost,
                report.total.sent,
                report.total.answered_by(UNVERSIONED)
            ));
            let first = report.first_lost.iter();
            findings.extend(first.map(|lost| format!("lost at {}: {}", lost.at, lost.cause)));
        }
        if strain.is_starved() {
            return Ok(Outcome::Inconclusive(strain));
        }
        ensure!(findings.is_empty(), "{}\n{strain}", findings.join("\n"));
        Ok(Outcome::Held(report, strain))
    }
}

fn unanswered(report: &Report) -> u64 {
    report.total.lost + report.total.answered_by(UNVERSIONED)
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
