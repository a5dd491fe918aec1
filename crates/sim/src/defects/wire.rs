//! Defects of requests and answers, between the driver and the world.

use super::Defect;
use crate::checkers::marks;
use crate::world::routes::is_route;
use crate::world::server::{number, reference, refused, text};
use headgate_api::At;
use headgate_driver::io::{Call, ObjectRef, Observation, Patch, Reply, Request, RequestId};
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS, SERVICES};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Calls that go out beside those of the driver.
#[derive(Clone, Debug, Default)]
pub(super) struct Extra(Arc<Mutex<Vec<Call>>>);

impl Extra {
    pub(super) fn add(&self, calls: impl IntoIterator<Item = Call>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(calls);
    }

    fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The most available pods that ReplicaSets have reported while they had their size, by their names, with that size.
#[derive(Clone, Debug, Default)]
pub(super) struct Reported(Arc<Mutex<BTreeMap<String, (i64, i32)>>>);

impl Reported {
    fn see(&self, set: &Value) {
        let available = i32::try_from(number(set, "/status/availableReplicas")).unwrap_or(0);
        let size = number(set, "/spec/replicas");
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(text(set, "/metadata/name").to_owned()).or_default();
        let most = if known.0 == size { known.1.max(available) } else { available };
        *known = (size, most);
    }

    /// Those of a ReplicaSet.
    pub(super) fn of(&self, set: &str) -> i32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(set).map_or(0, |(_, available)| *available)
    }
}

/// What requests and answers of one process go through.
#[derive(Debug)]
pub struct Wire {
    defect: Defect,
    pub(super) extra: Extra,
    pub(super) reported: Reported,
    extra_sent: u64,
    /// What the watches have shown last.
    cache: BTreeMap<ObjectRef, Value>,
    /// Targets of requests whose answers are to be spoilt.
    asked: BTreeMap<RequestId, ObjectRef>,
    /// Requests that are sent again when they are refused.
    sent_last: BTreeMap<RequestId, Call>,
}

impl Wire {
    pub(super) fn new(defect: Defect) -> Self {
        Self {
            defect,
            extra: Extra::default(),
            reported: Reported::default(),
            extra_sent: 0,
            cache: BTreeMap::new(),
            asked: BTreeMap::new(),
            sent_last: BTreeMap::new(),
        }
    }

    /// A watch shows something.
    pub fn observed(&mut self, observation: &Observation) {
        if let (
            Defect::EvictionsForgotten,
            Observation::Applied(REPLICA_SETS, set) | Observation::Listed(REPLICA_SETS, set),
        ) = (self.defect, observation)
        {
            self.reported.see(set);
        }
        if !matches!(
            self.defect,
            Defect::NoOverlay
                | Defect::RetryOnStaleCache
                | Defect::FenceFromCache
                | Defect::ConflictTakenForSuccess
        ) {
            return;
        }
        match observation {
            Observation::Applied(resource, object) | Observation::Listed(resource, object) => {
                self.cache.insert(reference(*resource, object), object.clone());
            }
            Observation::Deleted(resource, object) => {
                self.cache.remove(&reference(*resource, object));
            }
            Observation::Synced(_) | Observation::ListStarted(_) | Observation::NotInstalled(_) => {}
        }
    }

    /// Requests of the driver leave. Returned are those that go out, and answers that come at once.
    pub fn sent(&mut self, requests: Vec<Request>) -> (Vec<Request>, Vec<(RequestId, Reply)>) {
        if self.defect == Defect::None {
            return (requests, Vec::new());
        }
        let mut answers = Vec::new();
        let mut out: Vec<Request> = Vec::new();
        for extra in self.extra.take() {
            self.extra_sent += 1;
            // Nobody waits for the answer.
            let owner =
                ObjectRef { resource: ROLLOUTS, namespace: String::new(), name: "a defect".to_owned() };
            out.push(Request { id: RequestId(u64::MAX - self.extra_sent), owner, call: extra });
        }
        for mut request in requests {
            if let Some(answer) = self.answer_at_once(&request.call) {
                answers.push((request.id, answer));
                continue;
            }
            if let (Defect::KeyOfEachAttempt, Call::Notify { post, .. }) = (self.defect, &mut request.call) {
                let RequestId(number) = request.id;
                post.body = post.body.replacen("\"key\":\"", &format!("\"key\":\"{number}/"), 1);
            }
            self.spoil(&mut request.call);
            self.remember(&request);
            out.push(request);
        }
        (out, answers)
    }

    fn answer_at_once(&self, call: &Call) -> Option<Reply> {
        match (self.defect, call) {
            (Defect::MarksKept, Call::Patch { target, patch: Patch::Merge(body), .. })
                if target.resource == SERVICES && marks::gives_back(body) =>
            {
                Some(refused(404, "NotFound", "it has gone"))
            }
            (Defect::FenceFromCache, Call::Get(target)) if target.resource == ROLLOUTS => {
                self.cache.get(target).cloned().map(Reply::Object)
            }
            _ => None,
        }
    }

    fn remember(&mut self, request: &Request) {
        if let (Defect::RefusedTriedAtOnce, Call::Patch { target, .. }) = (self.defect, &request.call)
            && target.resource == REPLICA_SETS
        {
            self.sent_last.insert(request.id, request.call.clone());
        }
        if let (Defect::NoOverlay, Call::Patch { target, .. })
        | (Defect::RetryOnStaleCache, Call::Get(target))
        | (Defect::ConflictTakenForSuccess, Call::Patch { target, status: true, .. }) =
            (self.defect, &request.call)
        {
            self.asked.insert(request.id, target.clone());
        }
    }

    /// An answer arrives: what becomes of it.
    pub fn answered(&mut self, id: RequestId, reply: Reply) -> Reply {
        if let (Some(call), Reply::Refused { code: 403 | 429 | 500.., .. }) =
            (self.sent_last.remove(&id), &reply)
        {
            self.extra.add(std::iter::once(call));
        }
        let cached = self.asked.remove(&id).and_then(|target| self.cache.get(&target));
        match (reply, cached) {
            (Reply::Notified(_), _) if self.defect == Defect::RefusalTakenForDelivery => Reply::Notified(200),
            (Reply::Refused { code: 409, .. }, Some(cached))
                if self.defect == Defect::ConflictTakenForSuccess =>
            {
                Reply::Object(cached.clone())
            }
            (Reply::Object(_), Some(cached)) if self.defect != Defect::ConflictTakenForSuccess => {
                Reply::Object(cached.clone())
            }
            (reply, _) => reply,
        }
    }

    fn spoil(&self, call: &mut Call) {
        match (self.defect, call) {
            (Defect::NoFence, Call::Patch { target, status: true, patch: Patch::Merge(body) })
                if target.resource == ROLLOUTS =>
            {
                if let Some(fields) = body.as_object_mut() {
                    fields.remove("metadata");
                }
            }
            (Defect::ScaledBlindly, Call::Patch { target, patch: Patch::Json(operations), .. })
                if target.resource == REPLICA_SETS =>
            {
                if let Some(all) = operations.as_array_mut() {
                    all.retain(|operation| text(operation, "/op") != "test");
                }
            }
            (Defect::TwoWriters, Call::Patch { target, patch: Patch::Merge(body), .. })
                if target.resource == ANALYSIS_RUNS && body.at("/spec/terminate").is_some() =>
            {
                if let Some(fields) = body.as_object_mut() {
                    fields.insert("status".to_owned(), json!({ "phase": "Successful" }));
                }
            }
            (Defect::MarkLeftOut, Call::Patch { target, patch: Patch::Merge(body), .. })
                if target.resource == SERVICES =>
            {
                if let Some(metadata) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
                    metadata.remove("annotations");
                }
            }
            (Defect::WeightsDoNotSum | Defect::OthersRoutesDropped, Call::Patch { target, patch, .. })
                if is_route(target.resource) =>
            {
                if let Patch::Merge(body) = patch {
                    self.spoil_route(body);
                }
            }
            _ => {}
        }
    }

    fn spoil_route(&self, body: &mut Value) {
        for (routes, destinations) in [("/spec/http", "route"), ("/spec/rules", "backendRefs")] {
            let Some(routes) = body.pointer_mut(routes).and_then(Value::as_array_mut) else { continue };
            if self.defect == Defect::OthersRoutesDropped {
                let all =
                    |route: &Value| route.get(destinations).and_then(Value::as_array).map_or(0, Vec::len);
                routes.retain(|route| all(route) > 1);
                continue;
            }
            let weight = format!("/{destinations}/1/weight");
            for weight in routes.iter_mut().filter_map(|route| route.pointer_mut(&weight)) {
                *weight = json!(weight.as_i64().unwrap_or(0) + 1);
            }
        }
    }
}
