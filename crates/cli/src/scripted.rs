//! An API server for tests: one Rollout, and the workload that it refers to.

use crate::cluster::Cluster;
use headgate_sim::world::patch::merge;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// What the server holds, and what was written to it.
pub(crate) struct Server {
    pub(crate) rollout: Value,
    /// The workload, or the code with which it is refused.
    pub(crate) workload: Result<Value, u16>,
    /// Merge patches of the controller: one for each watch, as soon as it is open.
    pub(crate) changes: Vec<Value>,
    /// The patches of the client.
    pub(crate) patches: Vec<String>,
}

impl Server {
    /// A server with a Rollout in `spec` and `status`, which the controller has seen as it is.
    pub(crate) fn new(spec: &Value, status: &Value) -> Self {
        let mut rollout = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": { "name": "shop", "namespace": "default", "uid": "u", "resourceVersion": "7", "generation": 3 },
            "spec": spec,
            "status": { "observedGeneration": "3", "currentPodHash": "new", "stableRS": "new", "phase": "Healthy" },
        });
        merge(&mut rollout, &json!({ "status": status }));
        Self { rollout, workload: Err(404), changes: vec![], patches: vec![] }
    }

    /// The same, with a template that is a Deployment's, of which the controller has seen generation 7.
    pub(crate) fn referring(status: &Value, workload: Result<i64, u16>) -> Self {
        let reference = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" });
        let mut server = Self::new(&json!({ "workloadRef": reference }), status);
        let seen = json!({
            "metadata": { "annotations": { "rollout.argoproj.io/workload-generation": "7" } },
            "status": { "workloadObservedGeneration": "7" },
        });
        merge(&mut server.rollout, &seen);
        let deployment = |generation| json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop", "generation": generation } });
        server.workload = workload.map(deployment);
        server
    }

    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        if method == Method::PATCH {
            let mut change = body.clone();
            change.as_object_mut().unwrap().remove("metadata");
            self.patches.push(change.to_string());
            self.write(&change);
        }
        match path.rsplit_once("/rollouts") {
            Some((_, "")) => {
                let list = json!({
                    "kind": "RolloutList", "apiVersion": "argoproj.io/v1alpha1",
                    "metadata": { "resourceVersion": "7" }, "items": [self.rollout],
                });
                (200, list)
            }
            Some(_) => (200, self.rollout.clone()),
            None => {
                self.workload.clone().map_or_else(|code| (code, refusal(code)), |workload| (200, workload))
            }
        }
    }

    /// What a watch that has just been opened tells.
    fn watched(&mut self) -> String {
        if self.changes.is_empty() {
            return String::new();
        }
        let change = self.changes.remove(0);
        self.write(&change);
        format!("{}\n", json!({ "type": "MODIFIED", "object": self.rollout }))
    }

    fn write(&mut self, change: &Value) {
        merge(&mut self.rollout, change);
        let version: u64 = self.rollout["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        self.rollout["metadata"]["resourceVersion"] = json!((version + 1).to_string());
    }
}

/// A client of this server. A watch stays open and says no more than its first word.
pub(crate) fn cluster(server: &Arc<Mutex<Server>>) -> Cluster {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
            let mut server = server.lock().unwrap();
            let (code, text) = if is_watch {
                (200, server.watched())
            } else {
                let (code, answer) = server.answer(&parts.method, parts.uri.path(), &body);
                (code, answer.to_string())
            };
            let said = BodyStream::new(Body::from(text.into_bytes()));
            let body = if is_watch {
                StreamBody::new(futures::StreamExt::chain(said, futures::stream::pending())).boxed_unsync()
            } else {
                StreamBody::new(said).boxed_unsync()
            };
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    Cluster::new(kube::Client::new(service, "default"), "default", None)
}

fn refusal(code: u16) -> Value {
    let reason = if code == 403 { "Forbidden" } else { "NotFound" };
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code })
}
