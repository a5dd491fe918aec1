//! Latencies in little memory.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Buckets per doubling: a quantile is too high by at most one part in this many.
const PER_DOUBLING: u64 = 32;

/// A histogram of latencies: exact below 64 µs, else in buckets 3 % wide; exact in its maximum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    buckets: BTreeMap<u64, u64>,
    max: Duration,
}

impl Latency {
    pub(super) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        *self.buckets.entry(bucket(micros)).or_default() += 1;
        self.max = self.max.max(latency);
    }

    pub(super) fn merge(&mut self, other: &Latency) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.max = self.max.max(other.max);
    }

    /// The latency that the share `q` (0 to 1) of the requests did not exceed; zero when there were none.
    pub fn quantile(&self, q: f64) -> Duration {
        let count: u64 = self.buckets.values().sum();
        let rank = ((count as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper_bound(*bucket)).min(self.max);
            }
        }
        self.max
    }

    /// The longest; zero when there were none.
    pub fn max(&self) -> Duration {
        self.max
    }
}

/// Which bucket: the top six bits of the value and how far they were shifted.
fn bucket(micros: u64) -> u64 {
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(6);
    u64::from(shift) * PER_DOUBLING + (micros >> shift)
}

/// The largest value of a bucket.
fn upper_bound(bucket: u64) -> u64 {
    let shift = (bucket / PER_DOUBLING).saturating_sub(1);
    let top = bucket - shift * PER_DOUBLING;
    (top << shift) | ((1 << shift) - 1)
}

/// Written as its quantiles in milliseconds.
impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let milliseconds = |duration: Duration| duration.as_micros() as f64 / 1000.0;
        let mut written = serializer.serialize_struct("Latency", 4)?;
        written.serialize_field("p50Milliseconds", &milliseconds(self.quantile(0.5)))?;
        written.serialize_field("p95Milliseconds", &milliseconds(self.quantile(0.95)))?;
        written.serialize_field("p99Milliseconds", &milliseconds(self.quantile(0.99)))?;
        written.serialize_field("maxMilliseconds", &milliseconds(self.max))?;
        written.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_no_bucket_is_wide() {
        let values =
            (0..100_000).chain((17..63).map(|bit| (1 << bit) - 1)).chain((17..63).map(|bit| 1 << bit));
        for micros in values {
            let upper = upper_bound(bucket(micros));
            assert!(upper >= micros && upper - micros <= micros / PER_DOUBLING, "{micros} in ..={upper}");
            assert_eq!(bucket(upper + 1), bucket(upper) + 1, "a gap after {upper}");
        }
    }

    #[test]
    fn quantiles_of_a_merged_histogram_are_those_of_all_values() {
        let (mut low, mut high) = (Latency::default(), Latency::default());
        for ms in 1..=500 {
            low.record(Duration::from_millis(ms));
            high.record(Duration::from_millis(500 + ms));
        }
        low.merge(&high);
        for (q, expected) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = low.quantile(q).as_secs_f64() * 1000.0;
            assert!((expected..=expected * 1.032).contains(&found), "{found} is not {expected} (q {q})");
        }
        assert_eq!(low.max(), Duration::from_secs(1));
        assert_eq!(Latency::default().quantile(0.95), Duration::ZERO);
    }
}
