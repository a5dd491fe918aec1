//! R7: a pod that a process has evicted does not count as available for it, whatever its ReplicaSet still reports; and what was
//! decided on one list of pods evicts and patches a few of them only.

use crate::world::plus;
use headgate_driver::io::{Call, Reply};
use headgate_driver::resources::PODS;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// So many evictions may follow from one list of pods, and as many patches.
const AT_ONCE_MAX: u32 = 10;

/// A call to the API server has ended after so long, in milliseconds.
const CALL: i64 = 10_000;

/// The ReplicaSet controller has counted an eviction so long after its end, in milliseconds; less what times are
/// cut by.
const REPORTED: i64 = 9_000;

/// What processes have done to pods.
#[derive(Debug, Default)]
pub(super) struct Counted {
    evicted: Vec<Evicted>,
    /// How often a process has done something to pods since it has asked for a list.
    acts: BTreeMap<(u32, Act), u32>,
}

/// What is done to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Evict,
    Patch,
}

/// A pod that a process has sent an eviction for.
#[derive(Debug)]
struct Evicted {
    process: u32,
    pod: u64,
    sent_at: Timestamp,
    /// The server has done it.
    is_done: bool,
    /// It counts until then at least.
    until: Timestamp,
    /// From then on the process knows that it was not evicted.
    kept_from: Option<Timestamp>,
}

/// Pods of each ReplicaSet, by the numbers in their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Those that its status counts as available.
    pub(super) counted: BTreeMap<String, Vec<u64>>,
    /// Those that are ready in truth; nothing unless pods were evicted lately.
    pub(super) ready: BTreeMap<String, Vec<u64>>,
}

impl Counted {
    /// A process sends a request.
    pub(super) fn sent(&mut self, process: u32, call: &Call, now: Timestamp) -> Result<(), String> {
        let act = match call {
            Call::List { resource: PODS, .. } => {
                self.acts.retain(|(other, _), _| *other != process);
                return Ok(());
            }
            Call::Evict { target, .. } => {
                self.evicted.retain(|evicted| now <= plus(evicted.until, CALL));
                let (pod, until) = (number_of(&target.name), plus(now, CALL + REPORTED));
                self.evicted.push(Evicted {
                    process,
                    pod,
                    sent_at: now,
                    is_done: false,
                    until,
                    kept_from: None,
                });
                Act::Evict
            }
            Call::Patch { target, .. } if target.resource == PODS => Act::Patch,
            _ => return Ok(()),
        };
        let times = self.acts.entry((process, act)).or_default();
        *times += 1;
        if *times <= AT_ONCE_MAX {
            return Ok(());
        }
        Err(format!("by one list of pods {act:?} is sent {times} times, and may be {AT_ONCE_MAX} times"))
    }

    /// A pod is evicted now.
    pub(super) fn done(&mut self, pod: &str) {
        let pod = number_of(pod);
        self.evicted
            .iter_mut()
            .filter(|evicted| evicted.pod == pod)
            .for_each(|evicted| evicted.is_done = true);
    }

    /// The answer to a request reaches the process at this time.
    pub(super) fn answered(&mut self, process: u32, call: &Call, reply: &Reply, arrives: Timestamp) {
        let Call::Evict { target, .. } = call else { return };
        let pod = number_of(&target.name);
        let is_it = |evicted: &&mut Evicted| evicted.process == process && evicted.pod == pod;
        let Some(evicted) = self.evicted.iter_mut().rev().find(is_it) else { return };
        match reply {
            // Without an answer a look at the pods tells: who sees it there counts it.
            Reply::Refused { .. } | Reply::Lost(_) if !evicted.is_done => evicted.kept_from = Some(arrives),
            _ => evicted.until = plus(arrives.min(plus(evicted.sent_at, CALL)), REPORTED),
        }
    }

    /// The pods that this process counts as gone when it sends something at this time. Those that another one has evicted it
    /// does not know.
    pub(super) fn gone_for(&self, process: Option<u32>, sent_at: Timestamp) -> Vec<u64> {
        let counts = |evicted: &&Evicted| {
            Some(evicted.process) == process
                && evicted.sent_at <= sent_at
                && sent_at < evicted.until
                && evicted.kept_from.is_none_or(|from| sent_at < from)
        };
        self.evicted.iter().filter(counts).map(|evicted| evicted.pod).collect()
    }

    /// Whether pods were evicted lately.
    pub(super) fn is_needed(&self, now: Timestamp) -> bool {
        self.evicted.iter().any(|evicted| now <= plus(evicted.until, CALL))
    }
}

/// The number at the end of a pod's name.
fn number_of(pod: &str) -> u64 {
    pod.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
