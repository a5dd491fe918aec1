//! The controller of a Gateway: it reads HTTPRoutes a while after they have changed, and says in their status which
//! generation it has read.

use super::plus;
use super::routes::HTTP_ROUTES;
use super::server::{Change, Server, number, reference, text};
use crate::random::Random;
use headgate_api::At;
use headgate_driver::io::{Call, ObjectRef, Patch};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The controller of the one Gateway.
pub struct Gateway {
    seen: usize,
    /// When it has read a route as it is then.
    due: BTreeMap<ObjectRef, Timestamp>,
    luck: Random,
    /// It takes so long at most, in milliseconds.
    delay_max: i64,
}

impl Gateway {
    /// A controller that knows nothing yet.
    pub fn new(luck: Random, delay_max: i64) -> Self {
        Self { seen: 0, due: BTreeMap::new(), luck, delay_max }
    }

    /// Takes up what has changed, and reports what it has read by now.
    pub fn advance(&mut self, server: &mut Server, now: Timestamp) {
        for (published, change) in server.history().iter().skip(self.seen) {
            match change {
                Change::Applied(HTTP_ROUTES, route) if !is_read(route) => {
                    let due = plus(*published, self.luck.between(10, self.delay_max));
                    self.due.entry(reference(HTTP_ROUTES, route)).or_insert(due);
                }
                _ => {}
            }
        }
        self.seen = server.history().len();
        let due: Vec<ObjectRef> =
            self.due.iter().filter(|(_, due)| **due <= now).map(|(target, _)| target.clone()).collect();
        for target in due {
            self.due.remove(&target);
            let Some(route) = server.get(&target) else { continue };
            let body = json!({ "status": { "parents": [status(route)] } });
            server.call(&Call::Patch { target, status: true, patch: Patch::Merge(body) }, now);
        }
    }

    /// When it has read something next.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.values().min().copied()
    }
}

fn is_read(route: &Value) -> bool {
    read_generation(route) == Some(number(route, "/metadata/generation"))
}

/// The generation of a route that its status says was read; `None` where it says nothing.
pub fn read_generation(route: &Value) -> Option<i64> {
    route.at("/status/parents/0/conditions/0/observedGeneration")?.as_i64()
}

fn status(route: &Value) -> Value {
    json!({
        "parentRef": route.at("/spec/parentRefs/0"),
        "controllerName": "example.com/gateway-controller",
        "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": text(route, "/metadata/name"),
            "observedGeneration": route.at("/metadata/generation"),
        }],
    })
}
