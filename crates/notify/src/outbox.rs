use crate::News;
use headgate_api::{HeadgateStatus, OutboxEntry, RolloutStatus};

/// So many entries wait in one Rollout's status; when there are more, the oldest go.
pub const OUTBOX_MAX: usize = 8;

/// Files news in a record, and removes the entries that are over. Returned are those for which there is no room.
pub fn file(
    record: &mut RolloutStatus,
    news: News,
    is_over: impl Fn(&OutboxEntry) -> bool,
) -> Vec<OutboxEntry> {
    let mut memory = record.headgate.take().unwrap_or_default();
    memory.completing = news.completing;
    memory.outbox.retain(|entry| !is_over(entry));
    for entry in news.entries {
        if memory.outbox.iter().all(|known| known.key != entry.key) {
            memory.outbox.push(entry);
        }
    }
    let excess = memory.outbox.len().saturating_sub(OUTBOX_MAX);
    let dropped = memory.outbox.drain(..excess).collect();
    record.headgate = Some(memory).filter(|memory| *memory != HeadgateStatus::default());
    dropped
}
