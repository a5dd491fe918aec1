//! Any course of records: what is told is what happened, once, and bounded.

use crate::world::{all, at, outbox, snapshot, status, stored};
use headgate_api::RolloutStatus;
use headgate_notify::{OUTBOX_MAX, Trigger, file, news};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

/// A status as no engine may ever write it, too.
fn any_status() -> impl Strategy<Value = RolloutStatus> {
    let phase = prop::sample::select(vec!["Healthy", "Degraded", "Progressing", "Paused"]);
    let hash = || prop::sample::select(vec!["", "a", "b", "c"]);
    let reason = prop::sample::select(vec!["ReplicaSetUpdated", "RolloutAborted", "RolloutPaused"]);
    let pause = prop::sample::select(vec!["", "CanaryPauseStep", "InconclusiveAnalysisRun", "strange"]);
    (phase, hash(), hash(), reason, pause, -1_i32..6, 0..3_u8).prop_map(
        |(phase, stable, current, reason, pause, step, start)| {
            let pauses = json!([{ "reason": pause, "startTime": format!("2026-11-21T09:00:0{start}Z") }]);
            status(json!({
                "phase": phase, "stableRS": stable, "currentPodHash": current, "currentStepIndex": step,
                "pauseConditions": if pause.is_empty() { json!([]) } else { pauses },
                "conditions": [{ "type": "Progressing", "status": "True", "reason": reason }],
            }))
        },
    )
}

fn is_aborted(status: &RolloutStatus) -> bool {
    status.conditions.iter().any(|condition| condition.reason == "RolloutAborted")
}

proptest! {
    #[test]
    fn each_abort_is_told_once_and_an_unchanged_record_tells_nothing(course in prop::collection::vec(any_status(), 1..20)) {
        let mut now = RolloutStatus::default();
        let mut keys = BTreeSet::new();
        for (second, next) in course.into_iter().enumerate() {
            let is_new_abort = is_aborted(&next) && !is_aborted(&now);
            let before: Vec<_> = outbox(&now).to_vec();
            let after = stored(&now, next, i64::try_from(second).unwrap());
            prop_assert!(outbox(&after).len() <= OUTBOX_MAX);
            let new: Vec<_> = outbox(&after).iter().filter(|entry| !before.contains(entry)).collect();
            let aborts = new.iter().filter(|entry| entry.trigger == "aborted").count();
            prop_assert_eq!(aborts, usize::from(is_new_abort));
            for entry in &new {
                prop_assert!(Trigger::named(&entry.trigger).is_some());
                prop_assert!(keys.insert(entry.key.clone()), "{} again", entry.key);
                prop_assert!(serde_json::to_string(entry).unwrap().len() < 4_096);
            }
            let same = news(&snapshot(after.clone()), &after, &all(), at(900));
            let mut again = after.clone();
            file(&mut again, same, |_| false);
            prop_assert_eq!(&again, &after);
            now = after;
        }
    }

    #[test]
    fn without_a_webhook_a_record_stays_as_it_is(old in any_status(), new in any_status()) {
        let none = headgate_notify::Subscriptions::default();
        let mut record = new.clone();
        file(&mut record, news(&snapshot(old), &new, &none, at(1)), |_| false);
        prop_assert_eq!(record, new);
    }
}
