//! How long releases took, counted for metrics.

use headgate_engine::EndedRelease;
use std::collections::BTreeMap;

/// Upper bounds in seconds of the parts that times are sorted into: all those of Argo Rollouts, and a day and a week.
pub const BOUNDS: [i64; 16] =
    [0, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400, 259_200, 604_800];

/// Some times, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many there were up to each of [`BOUNDS`] and above the one before; the last: above all of them.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Their sum.
    pub sum: u64,
}

impl Times {
    fn add(&mut self, seconds: i64) {
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(u64::try_from(seconds).unwrap_or(0));
    }
}

/// Releases that have ended, by `completionStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseTimes {
    /// From beginning to end.
    pub total: BTreeMap<String, Times>,
    /// Without what they waited for a person.
    pub progression: BTreeMap<String, Times>,
    /// What they waited for a person.
    pub manual_pause: BTreeMap<String, Times>,
}

impl ReleaseTimes {
    pub(crate) fn add(&mut self, release: &EndedRelease) {
        let status = release.status.as_str();
        let progression = release.seconds.saturating_sub(release.manual_pause_seconds).max(0);
        for (times, seconds) in [
            (&mut self.total, release.seconds),
            (&mut self.progression, progression),
            (&mut self.manual_pause, release.manual_pause_seconds),
        ] {
            times.entry(status.to_owned()).or_default().add(seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_api::CompletionStatus;

    #[test]
    fn what_a_release_took_is_split_into_moving_and_waiting() {
        let mut times = ReleaseTimes::default();
        let release = |seconds, manual_pause_seconds| EndedRelease {
            status: CompletionStatus::Promoted,
            seconds,
            manual_pause_seconds,
        };
        times.add(&release(400, 350));
        times.add(&release(2_000_000, 0));
        // Whoever may write a status may write this.
        ReleaseTimes::default().add(&release(400, i64::MIN));
        let (total, progression) = (&times.total["Promoted"], &times.progression["Promoted"]);
        assert_eq!((total.counts[5], total.counts[BOUNDS.len()], total.sum), (1, 1, 2_000_400));
        assert_eq!((progression.counts[2], times.manual_pause["Promoted"].counts[0]), (1, 1));
    }
}
