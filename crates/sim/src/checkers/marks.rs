//! R8: a Service that is pointed at a version says whose it is, and one that no Rollout uses any more is given back: both the
//! mark and the version go, and only then.

use super::clocks::Clocks;
use super::view::rollout;
use super::{DECISION_TAKES, Names, Write};
use crate::world::proxies::selected;
use crate::world::server::Server;
use headgate_api::At;
use headgate_api::labels::MANAGED_BY_ROLLOUTS;
use headgate_driver::io::ObjectRef;
use headgate_driver::resources::{ROLLOUTS, SERVICES};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Services that are in use.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Since when the Rollout names them, without a break.
    used: BTreeMap<String, Timestamp>,
}

impl Marks {
    /// Looks at what the Rollout names from now on; nothing without one.
    pub(super) fn look(&mut self, names: Option<&Names>, now: Timestamp) {
        let is_named = |name: &str| names.is_some_and(|names| names.services().any(|other| other == name));
        self.used.retain(|name, _| is_named(name));
        for name in names.into_iter().flat_map(Names::services) {
            self.used.entry(name.to_owned()).or_insert(now);
        }
    }

    /// A write to a Service.
    pub(super) fn check(&self, write: &Write<'_>, clocks: &Clocks) -> Result<(), String> {
        let (SERVICES, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
            return Ok(());
        };
        let (name, hash) = (&write.target.name, selected(after));
        let is_given_back = !mark(before).is_empty() && mark(after).is_empty();
        let is_asked_late =
            |since: &Timestamp| *since < asked_at(write) && !clocks.may_be_wrong(write.sent_at);
        match hash {
            Some(hash) if is_given_back => Err(format!("{name} loses its mark and goes on selecting {hash}")),
            Some(hash) if mark(after).is_empty() && selected(before).as_ref() != Some(&hash) => {
                Err(format!("{name} is pointed at {hash}, and nothing in it says by whom"))
            }
            None if is_given_back && self.used.get(name).is_some_and(is_asked_late) => {
                Err(format!("{name} is given back, and a Rollout uses it"))
            }
            _ => Ok(()),
        }
    }
}

/// The Rollout was read live no earlier than that.
fn asked_at(write: &Write<'_>) -> Timestamp {
    write.sent_at.saturating_sub(DECISION_TAKES).unwrap_or(write.sent_at)
}

/// When all is quiet no Service is marked that the Rollout does not name. A spec that cannot be carried out says nothing of what
/// its user wants.
pub(super) fn end(server: &Server, is_invalid: bool) -> Result<(), String> {
    let names = rollout(server).map(|(_, rollout)| Names::of(rollout));
    let is_used = |name: &str| {
        names.as_ref().is_some_and(|names| is_invalid || names.services().any(|other| other == name))
    };
    let is_left = |target: &ObjectRef, service: &Value| !mark(service).is_empty() && !is_used(&target.name);
    let mut left = server.all(SERVICES).filter(|(target, service)| is_left(target, service));
    match left.next() {
        Some((target, service)) => {
            Err(format!("{} says that {} uses it, which does not", target.name, mark(service)))
        }
        None => Ok(()),
    }
}

/// Nothing is left of a Rollout that was deleted for good, and what was not its own is as it was.
pub(super) fn end_of_deleted(server: &Server) -> Result<(), String> {
    if server.all(ROLLOUTS).next().is_some() {
        return Err("the Rollout was deleted and is still there".to_owned());
    }
    let selects = server.all(SERVICES).find_map(|(target, service)| Some((target, selected(service)?)));
    match selects {
        Some((target, hash)) => {
            Err(format!("{} still selects {hash}, of a Rollout that is no more", target.name))
        }
        None => end(server, false),
    }
}

fn mark(service: &Value) -> &str {
    annotation(service).and_then(Value::as_str).unwrap_or_default()
}

/// True for a patch of the sweep, which gives a Service back.
pub(crate) fn gives_back(patch: &Value) -> bool {
    annotation(patch) == Some(&Value::Null)
}

fn annotation(object: &Value) -> Option<&Value> {
    object.at("/metadata/annotations")?.get(MANAGED_BY_ROLLOUTS)
}
