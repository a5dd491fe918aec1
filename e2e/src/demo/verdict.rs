//! Whether the demo went as it should.

use super::Trouble;
use super::screen::Moment;
use crate::load::{Report, UNVERSIONED};
use crate::pressure::{Pressure, Strain};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How a release stood at a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Since the release was applied.
    pub after: Duration,
    /// Index of the current step; `None` once it was aborted or promoted.
    pub step: Option<u64>,
    /// The canary's weight in the route.
    pub weight: i64,
    /// The phase.
    pub phase: String,
}

/// What the demo has shown of a bad release.
#[derive(Clone, Debug)]
pub struct Bad {
    /// What was wrong with it.
    pub trouble: Trouble,
    /// It was aborted.
    pub aborted: bool,
    /// The message of the Rollout named the fault.
    pub named: bool,
    /// Clients saw nothing but the stable version then.
    pub stable_at_full: bool,
    /// How long after the abort was recorded the last answer of the bad version came.
    pub seconds_to_stable: Option<u64>,
    /// The alert fired within a minute of the abort.
    pub alerted: bool,
    /// The alert was resolved after the fix.
    pub resolved: bool,
}

impl Default for Bad {
    fn default() -> Self {
        Self {
            trouble: Trouble::Errors,
            aborted: false,
            named: false,
            stable_at_full: false,
            seconds_to_stable: None,
            alerted: false,
            resolved: false,
        }
    }
}

/// What the demo has shown.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The router that requests came through.
    pub door: &'static str,
    /// The good release went to its end.
    pub promoted: bool,
    /// Clients saw nothing but the good version then.
    pub good_at_full: bool,
    /// The bad releases.
    pub bad: Vec<Bad>,
    /// Requests sent.
    pub sent: u64,
    /// Requests lost: a connection error, a timeout over 10 s, or a 5xx that the app did not send.
    pub lost: u64,
    /// Answers that no version gave (a gateway without a route).
    pub unversioned: u64,
    /// How each version was released, look by look.
    pub releases: BTreeMap<String, Vec<Sighting>>,
    /// How the machine fared.
    pub strain: Option<Strain>,
    /// What broke the demo off, and the first requests that were lost.
    pub details: Vec<String>,
}

impl Verdict {
    pub(super) fn count(&mut self, report: &Report, pressure: &Pressure) {
        self.strain = Some(pressure.strain(report.total.max_lateness));
        self.sent = report.total.sent;
        self.lost = report.total.lost;
        self.unversioned = report.total.answered_by(UNVERSIONED);
        self.details
            .extend(report.first_lost.iter().map(|lost| format!("lost at {}: {:?}", lost.at, lost.cause)));
    }

    pub(super) fn seen(&mut self, version: &str, after: Duration, moment: &Moment) {
        if !moment.is_observed {
            return;
        }
        let text = |field: &str| moment.status[field].as_str().unwrap_or_default();
        let is_under_way = moment.status["abort"] != true && text("stableRS") != text("currentPodHash");
        self.releases.entry(version.to_owned()).or_default().push(Sighting {
            after,
            step: moment.status["currentStepIndex"].as_u64().filter(|_| is_under_way),
            weight: moment.weight,
            phase: text("phase").to_owned(),
        });
    }

    pub(super) fn broken(&mut self, why: String) {
        self.details.push(why);
    }

    /// Changes what is said of the last bad release.
    pub(super) fn amend(&mut self, change: impl FnOnce(Bad) -> Bad) {
        if let Some(last) = self.bad.last_mut() {
            *last = change(last.clone());
        }
    }

    fn findings(&self) -> Vec<(bool, String)> {
        let mut findings = vec![
            (self.promoted, "the good release was promoted".to_owned()),
            (self.good_at_full, "clients then saw the new version only".to_owned()),
        ];
        findings.extend(self.bad.iter().flat_map(Bad::findings));
        findings.push((
            self.sent > 0 && self.lost == 0 && self.unversioned == 0,
            format!("{} requests sent, {} lost, {} without a route", self.sent, self.lost, self.unversioned),
        ));
        findings
    }

    /// True when the machine was starved, so that what was seen says nothing.
    pub fn is_inconclusive(&self) -> bool {
        self.strain.is_some_and(|strain| strain.is_starved())
    }

    /// True when all of it went as it should.
    pub fn is_good(&self) -> bool {
        self.findings().iter().all(|(good, _)| *good)
    }
}

impl Bad {
    fn findings(&self) -> [(bool, String); 5] {
        let name = self.trouble.name();
        let back = self.seconds_to_stable.map_or_else(String::new, |seconds| format!(" within {seconds} s"));
        [
            (self.aborted, format!("{name}: the release was aborted")),
            (self.named, format!("{name}: its message names the fault")),
            (self.stable_at_full, format!("{name}: clients then saw the stable version only{back}")),
            (self.alerted, format!("{name}: RolloutDegraded fired within 60 s")),
            (self.resolved, format!("{name}: and resolved after the fix")),
        ]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nVerdict, through {}", self.door)?;
        for (good, text) in self.findings() {
            writeln!(f, "  {} {text}", if good { '✔' } else { '✖' })?;
        }
        if let Some(strain) = self.strain {
            writeln!(f, "    {strain}")?;
        }
        self.details.iter().try_for_each(|detail| writeln!(f, "    {detail}"))
    }
}
