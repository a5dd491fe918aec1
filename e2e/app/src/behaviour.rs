//! What the next answer is: when, and an error or not.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

const MILLION: u64 = 1_000_000;

/// The share of slow answers that puts the 95th percentile among them with room to spare: with exactly
/// one in twenty it would lie on the edge.
const SLOW: Share = Share { per_million: MILLION / 10 };

/// A share of requests from 0 to 1, to the millionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    per_million: u64,
}

impl Share {
    /// Whether the request of this number belongs to the share. Of any `n` requests in a row,
    /// `n × share` do, exactly where that is whole: the error of rounding is carried to the next one.
    pub(crate) fn takes(self, number: u64) -> bool {
        let number = number % MILLION;
        (number + 1) * self.per_million / MILLION > number * self.per_million / MILLION
    }
}

impl FromStr for Share {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let share: f64 = text.parse().with_context(|| format!("{text:?} is not a number from 0 to 1"))?;
        ensure!((0.0..=1.0).contains(&share), "{text:?} is not between 0 and 1");
        // In range by the line above, so the cast loses nothing but the fraction.
        Ok(Share { per_million: (share * MILLION as f64).round() as u64 })
    }
}

/// A duration in words such as `20ms`, `1.5s` or `1m30s`.
pub(crate) fn parse_duration(text: &str) -> anyhow::Result<Duration> {
    let signed: jiff::SignedDuration = text
        .parse()
        .with_context(|| format!("{text:?} is not a duration; write it like 20ms, 5s or 1m30s"))?;
    Duration::try_from(signed).with_context(|| format!("{text:?} is negative"))
}

/// How requests are answered; changes while running when CONTROL is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    pub(crate) error_rate: Share,
    pub(crate) latency: Duration,
    /// The latency of the slowest tenth; None: as all others.
    pub(crate) p95: Option<Duration>,
}

/// What one request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) after: Duration,
    pub(crate) outcome: Outcome,
}

/// The answer's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Error,
}

impl Behaviour {
    /// What the request of this number gets. Slow ones are counted from elsewhere, so that errors and
    /// slowness of the same share do not fall on the same requests.
    pub(crate) fn fate(self, number: u64) -> Fate {
        let slow = self.p95.filter(|_| SLOW.takes(number + 5));
        Fate {
            after: slow.unwrap_or(self.latency),
            outcome: if self.error_rate.takes(number) { Outcome::Error } else { Outcome::Success },
        }
    }

    /// This behaviour with the settings of a query such as `error_rate=0.2&latency=50ms`.
    pub(crate) fn changed_by(mut self, query: &str) -> anyhow::Result<Self> {
        for setting in query.split('&').filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some(("error_rate", value)) => self.error_rate = value.parse()?,
                Some(("latency", value)) => self.latency = parse_duration(value)?,
                Some(("p95", "")) => self.p95 = None,
                Some(("p95", value)) => self.p95 = Some(parse_duration(value)?),
                _ => bail!("{setting:?} is no setting; there are error_rate=0.2, latency=50ms and p95=1s"),
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Behaviour =
        Behaviour { error_rate: Share { per_million: 0 }, latency: Duration::ZERO, p95: None };

    #[test]
    fn errors_are_exact_in_every_thousand_wherever_it_begins() {
        for (text, expected) in
            [("0", 0), ("0.001", 1), ("0.05", 50), ("0.29", 290), ("0.333", 333), ("1", 1000)]
        {
            let share: Share = text.parse().unwrap();
            for begin in [0, 1, 77, 999_999, u64::MAX / 2] {
                let taken = (begin..begin + 1000).filter(|number| share.takes(*number)).count();
                assert_eq!(taken, expected, "share {text} from request {begin}");
            }
        }
    }

    #[test]
    fn errors_are_spread_and_never_bunched() {
        let share: Share = "0.1".parse().unwrap();
        let taken: Vec<u64> = (0..1000).filter(|number| share.takes(*number)).collect();
        assert!(taken.windows(2).all(|pair| pair[1] - pair[0] == 10), "{taken:?}");
    }

    #[test]
    fn a_tenth_is_slow_and_other_requests_than_the_failing_ones() {
        let behaviour = CALM.changed_by("error_rate=0.1&latency=20ms&p95=1s").unwrap();
        let fates: Vec<Fate> = (0..1000).map(|number| behaviour.fate(number)).collect();
        let slow: Vec<_> = fates.iter().filter(|fate| fate.after == Duration::from_secs(1)).collect();
        assert_eq!(slow.len(), 100);
        assert!(slow.iter().all(|fate| fate.outcome == Outcome::Success));
        assert!(fates.iter().all(|fate| fate.after.as_millis() == 20 || fate.after.as_secs() == 1));
    }

    #[test]
    fn a_wrong_setting_says_what_would_be_right() {
        for (query, said) in [
            ("error_rate=1.2", "not between 0 and 1"),
            ("error_rate=NaN", "not between 0 and 1"),
            ("latency=20", "write it like 20ms"),
            ("latency=-5s", "is negative"),
            ("errors=1", "is no setting"),
        ] {
            let error = format!("{:#}", CALM.changed_by(query).unwrap_err());
            assert!(error.contains(said), "{query}: {error}");
        }
    }
}
