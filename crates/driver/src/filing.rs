//! Files what a decision has to tell in its record, and removes from there what was told (R11): both are stored with
//! the record or not at all.

use crate::Deciders;
use headgate_api::{OutboxEntry, RolloutStatus};
use headgate_model::{Notice, Snapshot, Timestamp};
use headgate_notify::{News, OUTBOX_MAX, Subscriptions, file};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Files in `record` what follows from it; `over` are the keys of entries that are over. Returned is what to say of
/// entries for which there was no room.
pub(crate) fn filed(
    snapshot: &Snapshot,
    record: &mut RolloutStatus,
    deciders: &Deciders,
    subscriptions: Option<&Subscriptions>,
    over: &BTreeSet<String>,
    now: Timestamp,
) -> Vec<Notice> {
    let Some(subscriptions) = subscriptions else { return Vec::new() };
    let tell = AssertUnwindSafe(|| (deciders.news)(snapshot, record, subscriptions, now));
    // Whatever goes wrong with notifications, the release goes on.
    let news = catch_unwind(tell).unwrap_or_else(|_| {
        tracing::error!(
            rollout = %format!("{}/{}", snapshot.rollout.namespace, snapshot.rollout.name),
            "finding out what to tell webhooks panicked: this is a defect of Headgate, please report it"
        );
        let memory = snapshot.rollout.status.headgate.as_ref();
        News { entries: Vec::new(), completing: memory.and_then(|memory| memory.completing.clone()) }
    });
    file(record, news, |entry| over.contains(&entry.key)).iter().map(dropped).collect()
}

fn dropped(entry: &OutboxEntry) -> Notice {
    let message = format!(
        "webhooks were not told that revision {} is {}: more than {OUTBOX_MAX} notifications of this Rollout waited \
         to be taken, and the oldest goes. The controller's log says why they were not taken",
        entry.revision, entry.trigger
    );
    Notice::warning(crate::notices::NOTIFICATION_FAILED, message)
}
