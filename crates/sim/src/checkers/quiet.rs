//! R10: a process does not write and write without getting anywhere, and counts pods no more than once a second.

use super::Write;
use headgate_api::At;
use headgate_driver::resources::ROLLOUTS;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// Records in a minute that change neither phase, step, weight, version, conditions nor numbers of pods, while as many pods
/// are asked for as before: the eleventh trips the breaker of a process for five seconds, and each one after it does again.
const IDLE_PER_MINUTE_MAX: usize = 11 + 49 / 5;
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
    /// `spec.replicas` at the last of them.
    asked_for: Option<Value>,
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
        let asked_for = write.after.and_then(|rollout| rollout.at("/spec/replicas")).cloned();
        let is_new_wish = asked_for != self.asked_for;
        self.asked_for = asked_for;
        if is_new_wish || PROGRESS.into_iter().any(|field| before.at(field) != after.at(field)) {
            // An autoscaler has asked for another number of pods, and what follows may have been written before. Or something
            // has got further, whoever has written it: what said nothing new before led to it. Of two leaders that find the
            // same at once one is refused, and its breaker counts from then all the same.
            self.of.retain(|(_, kind), _| *kind != Kind::Idle);
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
    let differs = |pointer: &str| before.at(pointer) != after.at(pointer);
    // A user's edit is answered at once, whatever was counted a moment before. That a weight is lowered stands in the record
    // before it is, also while another route is away and the record can say nothing of weights.
    let at_once = ["/conditions", "/observedGeneration", "/headgate/weightLoweredAt"];
    if PROGRESS.into_iter().chain(at_once).any(differs) {
        return Kind::Any;
    }
    // Pods that a restart has still to replace are counted like the others.
    let is_counted = COUNTERS.into_iter().any(|field| before.get(field) != after.get(field));
    if is_counted || differs("/headgate/progress/outdated") { Kind::Counts } else { Kind::Idle }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_driver::io::{Call, ObjectRef};
    use serde_json::json;

    /// So many records of process 1 within seconds, each with another reason to wait.
    fn idle(records: &mut Records, number: usize) -> Result<(), String> {
        (0..number).try_for_each(|index| {
            record(records, 1, &json!({ "waiting": index }), &json!({ "waiting": index + 1 }))
        })
    }

    /// So many records of process 1 within seconds, each with another number of pods.
    fn counts(records: &mut Records, number: usize) -> Result<(), String> {
        (0..number).try_for_each(|index| {
            record(records, 1, &json!({ "replicas": index }), &json!({ "replicas": index + 1 }))
        })
    }

    fn record(records: &mut Records, process: u32, before: &Value, after: &Value) -> Result<(), String> {
        let target = ObjectRef { resource: ROLLOUTS, namespace: "store".to_owned(), name: "shop".to_owned() };
        let (before, after) = (json!({ "status": before }), json!({ "status": after }));
        let now = Timestamp::UNIX_EPOCH;
        records.written(&Write {
            target: &target,
            before: Some(&before),
            after: Some(&after),
            call: &Call::Get(target.clone()),
            process: Some(process),
            sent_at: now,
            known_until: now,
            knows_abort: false,
            means_abort: false,
        })
    }

    #[test]
    fn a_process_may_write_no_more_than_a_few_records_that_say_nothing_new() {
        let mut records = Records::default();
        assert_eq!(idle(&mut records, IDLE_PER_MINUTE_MAX), Ok(()));
        assert!(idle(&mut records, 1).is_err());
    }

    #[test]
    fn an_edit_is_answered_beside_the_counters_of_each_second() {
        let mut records = Records::default();
        assert_eq!(counts(&mut records, COUNTS_PER_TEN_SECONDS_MAX), Ok(()));
        let before = json!({ "observedGeneration": "4", "replicas": 7 });
        let after = json!({ "observedGeneration": "5", "replicas": 8 });
        assert_eq!(record(&mut records, 1, &before, &after), Ok(()));
        assert!(counts(&mut records, 1).is_err());
    }

    #[test]
    fn a_weight_that_is_about_to_be_lowered_is_noted_beside_the_counters_of_each_second() {
        let mut records = Records::default();
        assert_eq!(counts(&mut records, COUNTS_PER_TEN_SECONDS_MAX), Ok(()));
        let at = |second: usize| json!({ "headgate": { "weightLoweredAt": second }, "replicas": second });
        assert_eq!(record(&mut records, 1, &at(4), &at(5)), Ok(()));
        assert!(counts(&mut records, 1).is_err());
    }

    #[test]
    fn a_release_that_gets_further_by_another_process_does_so_for_all() {
        let mut records = Records::default();
        assert_eq!(idle(&mut records, IDLE_PER_MINUTE_MAX), Ok(()));
        let (before, after) = (json!({ "phase": "Progressing" }), json!({ "phase": "Degraded" }));
        assert_eq!(record(&mut records, 2, &before, &after), Ok(()));
        assert_eq!(idle(&mut records, IDLE_PER_MINUTE_MAX), Ok(()));
        assert!(idle(&mut records, 1).is_err());
    }

    #[test]
    fn pods_that_are_still_to_be_replaced_are_counted_like_others() {
        let outdated = |pods: usize| json!({ "headgate": { "progress": { "outdated": pods } } });
        let mut records = Records::default();
        for pods in (1..=COUNTS_PER_TEN_SECONDS_MAX).rev() {
            assert_eq!(record(&mut records, 1, &outdated(pods), &outdated(pods - 1)), Ok(()));
        }
        assert_eq!(idle(&mut records, IDLE_PER_MINUTE_MAX), Ok(()));
        assert!(record(&mut records, 1, &outdated(1), &outdated(0)).is_err());
    }
}
