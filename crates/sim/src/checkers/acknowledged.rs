//! Rule 2, the router's word: no pods go as long as a router says that it has read an older route than the one that this
//! process has written or been told of.

use super::{View, Write};
use crate::world::gateway::read_generation;
use crate::world::routes::HTTP_ROUTES;
use crate::world::server::{Server, number, reference, text};
use headgate_driver::io::{Call, ObjectRef, Reply};
use headgate_driver::resources::REPLICA_SETS;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What answers have told each process of routes whose routers say what they have read.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    told: BTreeMap<(u32, ObjectRef), Vec<Told>>,
}

/// A generation of a route.
#[derive(Debug)]
struct Told {
    uid: String,
    generation: i64,
    at: Timestamp,
}

impl Acknowledged {
    /// An answer reaches a process at this time.
    pub(super) fn answered(&mut self, process: u32, call: &Call, reply: &Reply, arrives: Timestamp) {
        let (Call::Get(target) | Call::Patch { target, .. }, Reply::Object(route)) = (call, reply) else {
            return;
        };
        if target.resource != HTTP_ROUTES {
            return;
        }
        let told = Told {
            uid: text(route, "/metadata/uid").to_owned(),
            generation: number(route, "/metadata/generation"),
            at: arrives,
        };
        let known = self.told.entry((process, reference(HTTP_ROUTES, route))).or_default();
        known.retain(|known| known.uid == told.uid);
        known.push(told);
    }

    /// A write; `views` are those that the process may have decided on.
    pub(super) fn check(&self, write: &Write<'_>, views: &[&View], server: &Server) -> Result<(), String> {
        let (REPLICA_SETS, Some(before), Some(process)) =
            (write.target.resource, write.before, write.process)
        else {
            return Ok(());
        };
        let to = write.after.map_or(0, |after| number(after, "/spec/replicas"));
        // Somebody may scale a version up whose last pods had gone when it was decided to take it away.
        let had_none =
            || views.iter().any(|view| view.set(&write.target.name).is_some_and(|set| set.replicas == 0));
        if to >= number(before, "/spec/replicas")
            || to == 0 && had_none()
            || views.is_empty()
            || views.iter().any(|view| view.lets_pods_go())
        {
            return Ok(());
        }
        for ((_, route), told) in self.told.iter().filter(|((other, _), _)| *other == process) {
            let (true, Some(live)) = (views.iter().all(|view| view.names.is_named(route)), server.get(route))
            else {
                continue;
            };
            let is_known = |told: &&Told| told.at <= write.sent_at && told.uid == text(live, "/metadata/uid");
            let newest = told.iter().filter(is_known).map(|told| told.generation).max();
            if let (Some(newest), Some(read)) = (newest, read_generation(live))
                && read < newest
            {
                return Err(format!(
                    "{} goes to {to} pods while the router has read generation {read} of {}, and not {newest}",
                    write.target.name, route.name
                ));
            }
        }
        Ok(())
    }
}
