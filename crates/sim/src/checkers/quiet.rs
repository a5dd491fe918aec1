//! R10: a process does not write and write without getting anywhere, and counts pods no more than once a second.

use super::Write;
use headgate_driver::resources::ROLLOUTS;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// Records in a minute that change neither phase, step, weight, version, conditions nor numbers of pods: the eleventh trips
/// the breaker of a process for five seconds, and where two leaders contend for a moment a few more may follow.
const IDLE_PER_MINUTE_MAX: usize = 15;
/// Records in ten seconds that change numbers of pods only: one a second, and the one before.
const COUNTS_PER_TEN_SECONDS_MAX: usize = 11;
/// Records in a minute of any kind.
const RECORDS_PER_MINUTE_MAX: usize = 130;

/// What says that a release has got further.
const PROGRESS: [&str; 5] =
    ["/phase", "/currentStepIndex", "/canary/weights", "/currentPodHash", "/stableRS"];

const MINUTE: SignedDuration = SignedDuration::from_secs(60);
const TEN_SECONDS: SignedDuration = SignedDuration::from_secs(10);

/// Records that each process has written lately, by the time at which they were sent.
#[derive(Debug, Default)]
pub(super) struct Records {
    of: BTreeMap<(u32, Kind), VecDeque<Timestamp>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Any,
    Counts,
    Idle,
}

impl Records {
    /// Counts a write.
    pub(super) fn written(&mut self, write: &Write<'_>) -> Result<(), String> {
        let (ROLLOUTS, Some(process)) = (write.target.resource, write.process) else { return Ok(()) };
        let status = |object: Option<&Value>| object.and_then(|object| object.get("status")).cloned();
        let (before, after) =
            (status(write.before).unwrap_or_default(), status(write.after).unwrap_or_default());
        if before == after {
            return Ok(());
        }
        if PROGRESS.into_iter().any(|field| before.pointer(field) != after.pointer(field)) {
            // Something has got further: what said nothing new before led to it.
            self.of.remove(&(process, Kind::Idle));
        }
        let mut kinds = vec![(Kind::Any, MINUTE, RECORDS_PER_MINUTE_MAX)];
        kinds.extend(match kind(&before, &after) {
            Kind::Any => None,
            Kind::Counts => Some((Kind::Counts, TEN_SECONDS, COUNTS_PER_TEN_SECONDS_MAX)),
            Kind::Idle => Some((Kind::Idle, MINUTE, IDLE_PER_MINUTE_MAX)),
        });
        for (kind, span, most) in kinds {
            let times = self.of.entry((process, kind)).or_default();
            times.push_back(write.sent_at);
            while times.front().is_some_and(|time| write.sent_at.duration_since(*time) >= span) {
                times.pop_front();
            }
            if times.len() > most {
                return Err(format!(
                    "{} records within {span:#} that say nothing new ({kind:?})",
                    times.len()
                ));
            }
        }
        Ok(())
    }
}

fn kind(before: &Value, after: &Value) -> Kind {
    const COUNTERS: [&str; 5] =
        ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "HPAReplicas"];
    let differs = |pointer: &str| before.pointer(pointer) != after.pointer(pointer);
    if PROGRESS.into_iter().any(differs) || differs("/conditions") {
        return Kind::Any;
    }
    if COUNTERS.into_iter().any(|field| before.get(field) != after.get(field)) {
        Kind::Counts
    } else {
        Kind::Idle
    }
}
