//! R1: a shift or a shrink goes out only soon after the process has been told by the server what the Rollout is, and none
//! goes out once a record has been overtaken, until the process has looked again.

use super::guards::value_of;
use super::{Write, marks};
use crate::world::routes::is_route;
use crate::world::server::text;
use headgate_driver::io::{Call, Patch, Reply};
use headgate_driver::resources::{DEPLOYMENTS, REPLICA_SETS, ROLLOUTS, SERVICES};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// A request may be sent so long after the last proof: the time limit of a call, and some.
const PROOF_HOLDS: SignedDuration = SignedDuration::from_secs(20);

pub(super) fn check(write: &Write<'_>, proven_at: Option<Timestamp>) -> Result<(), String> {
    let resource = write.target.resource;
    let moves =
        is_route(resource) || ([SERVICES, REPLICA_SETS].contains(&resource) && write.before.is_some());
    if !moves {
        return Ok(());
    }
    let Some(proven_at) = proven_at else {
        return Err(format!(
            "{} is changed by a process that has not looked at the Rollout",
            write.target.name
        ));
    };
    if write.sent_at.duration_since(proven_at) <= PROOF_HOLDS {
        return Ok(());
    }
    Err(format!(
        "{} is changed by a process that looked at the Rollout last at {proven_at}",
        write.target.name
    ))
}

/// Processes whose last record was overtaken.
#[derive(Debug, Default)]
pub(super) struct Overtaken {
    conflicts: BTreeMap<u32, Conflict>,
    /// The uid of the Rollout that each process has written a record of last: a conflict over one that was deleted and made anew
    /// meanwhile says nothing of the new one.
    rollouts: BTreeMap<u32, String>,
}

/// A record that was overtaken.
#[derive(Clone, Copy, Debug)]
struct Conflict {
    /// When its process knows of it.
    known_at: Timestamp,
    /// When it knows what the server has answered since then.
    looked_at: Option<Timestamp>,
}

impl Overtaken {
    /// The server answers a request now, and the process has the answer at this time.
    pub(super) fn answered(&mut self, process: u32, call: &Call, reply: &Reply, arrives: Timestamp) {
        match reply {
            Reply::Refused { code: 409, .. } if self.is_of_last(process, recorded(call)) => {
                self.conflicts.insert(process, Conflict { known_at: arrives, looked_at: None });
            }
            Reply::Object(_) | Reply::Refused { code: 404, .. }
                if recorded(call).is_some() || is_look(call) =>
            {
                if let Some(conflict) = self.conflicts.get_mut(&process) {
                    conflict.looked_at.get_or_insert(arrives);
                }
            }
            _ => {}
        }
    }

    fn is_of_last(&self, process: u32, uid: Option<&str>) -> bool {
        uid.zip(self.rollouts.get(&process)).is_some_and(|(uid, last)| uid == last)
    }

    /// A process sends a request.
    pub(super) fn sent(&mut self, process: u32, call: &Call, now: Timestamp) -> Result<(), String> {
        if let Some(uid) = recorded(call)
            && self.rollouts.insert(process, uid.to_owned()).is_some_and(|before| before != uid)
        {
            self.conflicts.remove(&process);
        }
        let is_open = |conflict: &&Conflict| {
            conflict.known_at <= now && conflict.looked_at.is_none_or(|looked_at| looked_at > now)
        };
        match self.conflicts.get(&process).filter(is_open).zip(moved(call)) {
            Some((conflict, what)) => Err(format!(
                "{what} is sent by a process whose record was overtaken at {} and which has not looked again",
                conflict.known_at
            )),
            None => Ok(()),
        }
    }

    /// A process has died.
    pub(super) fn gone(&mut self, process: u32) {
        self.conflicts.remove(&process);
        self.rollouts.remove(&process);
    }
}

/// The uid of the Rollout that a record is of.
fn recorded(call: &Call) -> Option<&str> {
    match call {
        Call::Patch { target, status: true, patch: Patch::Merge(body) } if target.resource == ROLLOUTS => {
            Some(text(body, "/metadata/uid"))
        }
        _ => None,
    }
}

fn is_look(call: &Call) -> bool {
    matches!(call, Call::Get(target) if target.resource == ROLLOUTS)
}

/// What a request shifts or shrinks. What only adds may go out without a record, and the sweep writes none.
fn moved(call: &Call) -> Option<String> {
    let target = match call {
        // A canary Ingress is made with its weight.
        Call::Patch { target, .. } | Call::Create { target, .. } if is_route(target.resource) => target,
        Call::Patch { target, patch: Patch::Merge(body), .. }
            if target.resource == SERVICES && !marks::gives_back(body) =>
        {
            target
        }
        Call::Patch { target, patch: Patch::Json(operations), .. }
            if [REPLICA_SETS, DEPLOYMENTS].contains(&target.resource) && shrinks(operations) =>
        {
            target
        }
        Call::Delete { target, .. } if target.resource == REPLICA_SETS => target,
        Call::Evict { target, .. } => target,
        _ => return None,
    };
    Some(format!("a change of {} {}", target.resource.kind, target.name))
}

fn shrinks(operations: &Value) -> bool {
    let replicas = |op: &str| value_of(operations, op, "/spec/replicas").and_then(Value::as_i64);
    replicas("test").zip(replicas("replace")).is_some_and(|(from, to)| to < from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_driver::io::{ObjectRef, Resource};
    use serde_json::json;

    const CONFLICT: Reply = Reply::Refused { code: 409, reason: String::new(), message: String::new() };

    fn at(resource: Resource) -> ObjectRef {
        ObjectRef { resource, namespace: "n".to_owned(), name: "o".to_owned() }
    }

    fn record(uid: &str) -> Call {
        let patch = Patch::Merge(json!({ "metadata": { "uid": uid }, "status": {} }));
        Call::Patch { target: at(ROLLOUTS), status: true, patch }
    }

    fn scale(from: i64, to: i64) -> Call {
        let patch = json!([
            { "op": "test", "path": "/spec/replicas", "value": from },
            { "op": "replace", "path": "/spec/replicas", "value": to },
        ]);
        Call::Patch { target: at(REPLICA_SETS), status: false, patch: Patch::Json(patch) }
    }

    #[test]
    fn after_an_overtaken_record_nothing_shrinks_until_the_rollout_was_read() {
        let then = Timestamp::UNIX_EPOCH;
        let mut overtaken = Overtaken::default();
        assert_eq!(overtaken.sent(1, &scale(3, 1), then), Ok(()));
        let look = Call::Get(at(ROLLOUTS));
        overtaken.answered(1, &look, &Reply::Object(json!({})), then);
        assert_eq!(overtaken.sent(1, &record("u"), then), Ok(()));
        overtaken.answered(1, &record("u"), &CONFLICT, then);
        assert!(overtaken.sent(1, &scale(3, 1), then).is_err(), "what was answered before proves nothing");
        assert_eq!(
            overtaken.sent(1, &scale(1, 3), then),
            Ok(()),
            "what only adds may go out without a record"
        );
        assert_eq!(overtaken.sent(2, &scale(3, 1), then), Ok(()), "another process knows nothing of it");
        overtaken.answered(1, &look, &Reply::Lost(String::new()), then);
        assert!(overtaken.sent(1, &scale(3, 1), then).is_err());
        overtaken.answered(1, &look, &Reply::Object(json!({})), then);
        assert_eq!(overtaken.sent(1, &scale(3, 1), then), Ok(()));
    }

    #[test]
    fn a_conflict_over_a_rollout_that_was_made_anew_says_nothing_of_the_new_one() {
        let then = Timestamp::UNIX_EPOCH;
        let mut overtaken = Overtaken::default();
        assert_eq!(overtaken.sent(1, &record("u"), then), Ok(()));
        assert_eq!(overtaken.sent(1, &record("v"), then), Ok(()));
        overtaken.answered(1, &record("u"), &CONFLICT, then);
        assert_eq!(overtaken.sent(1, &scale(3, 1), then), Ok(()));
    }
}
