//! Patches reach the release that was read, or none: against a scripted API server.
#![cfg(test)]

use headgate_api::Rollout;
use headgate_cli::intent::{self, Intent, Promotion};
use headgate_cli::{Cluster, carry_out};
use headgate_sim::world::patch::merge;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// What the server holds, and what it was asked.
struct Server {
    rollout: Value,
    /// Another client's merge patches: one is made before each of our patches, as long as there are any; `null` is none.
    meddling: Vec<Value>,
    has_status_subresource: bool,
    patches: Vec<String>,
}

impl Server {
    fn new(rollout: Value) -> Self {
        Self { rollout, meddling: vec![], has_status_subresource: true, patches: vec![] }
    }

    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        if method == Method::GET {
            return (200, self.rollout.clone());
        }
        if !self.meddling.is_empty() {
            let change = self.meddling.remove(0);
            if !change.is_null() {
                self.write(&change);
            }
        }
        let is_status = path.ends_with("/status");
        if is_status && !self.has_status_subresource {
            return (404, failure(404, "NotFound"));
        }
        let fence = body.pointer("/metadata/resourceVersion");
        if fence.is_some_and(|fence| Some(fence) != self.rollout.pointer("/metadata/resourceVersion")) {
            return (409, failure(409, "Conflict"));
        }
        let mut shown = body.clone();
        shown.as_object_mut().unwrap().remove("metadata");
        let fenced = if fence.is_some() { "fenced" } else { "unfenced" };
        self.patches.push(format!("{} {fenced} {shown}", if is_status { "status" } else { "main" }));
        let mut change = body.clone();
        change.as_object_mut().unwrap().remove("metadata");
        self.write(&change);
        (200, self.rollout.clone())
    }

    fn write(&mut self, change: &Value) {
        merge(&mut self.rollout, change);
        let version: u64 = self.rollout["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        self.rollout["metadata"]["resourceVersion"] = json!((version + 1).to_string());
    }
}

fn failure(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code })
}

fn cluster(server: &Arc<Mutex<Server>>) -> Cluster {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let (code, answer) = server.lock().unwrap().answer(&parts.method, parts.uri.path(), &body);
            let response = Response::builder().status(code);
            Ok::<_, Infallible>(response.body(Body::from(answer.to_string().into_bytes())).unwrap())
        }
    });
    Cluster::new(kube::Client::new(service, "default"), "default", None)
}

/// A canary at its pause, step 1 of 3.
fn paused_canary() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": "shop", "uid": "u", "resourceVersion": "7", "generation": 1 },
        "spec": {
            "paused": true,
            "template": { "spec": { "containers": [{ "name": "app", "image": "a:2" }] } },
            "strategy": { "canary": { "steps": [{ "setWeight": 20 }, { "pause": {} }, { "setWeight": 50 }] } },
        },
        "status": {
            "currentPodHash": "new", "stableRS": "old", "currentStepIndex": 1, "controllerPause": true,
            "pauseConditions": [{ "reason": "CanaryPauseStep" }], "observedGeneration": "1",
        },
    })
}

/// Sends an intent for the canary at its pause while others meddle; tells what was written, and the error.
async fn sent(decide: impl Fn(&Rollout) -> Intent, prepare: impl Fn(&mut Server)) -> (Vec<String>, String) {
    let read: Rollout = serde_json::from_value(paused_canary()).unwrap();
    let mut server = Server::new(paused_canary());
    prepare(&mut server);
    let server = Arc::new(Mutex::new(server));
    let outcome = carry_out(&cluster(&server), &read, decide(&read)).await;
    let error = outcome.err().map(|error| format!("{error:#}")).unwrap_or_default();
    let patches = server.lock().unwrap().patches.clone();
    (patches, error)
}

fn promote(rollout: &Rollout) -> Intent {
    intent::promote(rollout, Promotion::Step)
}

const PROMOTED: [&str; 2] =
    [r#"status fenced {"status":{"pauseConditions":null}}"#, r#"main fenced {"spec":{"paused":false}}"#];

#[tokio::test]
async fn promote_writes_the_status_first_and_then_the_spec_both_fenced() {
    let (patches, error) = sent(promote, |_| ()).await;
    assert_eq!(error, "");
    assert_eq!(patches, PROMOTED);
}

#[tokio::test]
async fn a_conflict_over_something_else_is_repeated() {
    let counters = |server: &mut Server| {
        server.meddling =
            vec![json!({ "status": { "readyReplicas": 3 } }), json!({ "status": { "replicas": 5 } })];
    };
    let (patches, error) = sent(promote, counters).await;
    assert_eq!(error, "");
    assert_eq!(patches, PROMOTED);
}

#[tokio::test]
async fn promote_never_reaches_the_next_step() {
    let next_step = |server: &mut Server| {
        server.meddling = vec![json!({ "status": { "currentStepIndex": 2 } })];
    };
    let (patches, error) = sent(promote, next_step).await;
    assert_eq!(
        error,
        "rollout 'shop' moved on from step 1 to step 2 in the meantime: nothing was changed. Look again, then decide"
    );
    assert!(patches.is_empty(), "{patches:?}");
}

#[tokio::test]
async fn neither_promote_nor_abort_reaches_another_version() {
    let other_version = |server: &mut Server| {
        server.meddling = vec![json!({ "status": { "currentPodHash": "newer" } })];
    };
    let other_template = |server: &mut Server| {
        server.meddling = vec![json!({ "spec": { "template": { "metadata": { "labels": { "v": "3" } } } } })];
    };
    let full = |rollout: &Rollout| intent::promote(rollout, Promotion::Full);
    for (patches, error) in [
        sent(promote, other_version).await,
        sent(full, other_version).await,
        sent(intent::abort, other_version).await,
        sent(promote, other_template).await,
        sent(intent::abort, other_template).await,
    ] {
        assert!(error.contains("moved on from version new to"), "{error}");
        assert!(patches.is_empty(), "{patches:?}");
    }
}

#[tokio::test]
async fn abort_reaches_the_version_at_whatever_step_it_is() {
    let next_step = |server: &mut Server| {
        server.meddling = vec![json!({ "status": { "currentStepIndex": 2 } })];
    };
    let (patches, error) = sent(intent::abort, next_step).await;
    assert_eq!(error, "");
    assert_eq!(patches, [r#"status fenced {"status":{"abort":true}}"#]);
}

#[tokio::test]
async fn a_rollout_that_was_deleted_and_created_again_is_another_one() {
    let recreated = |server: &mut Server| server.meddling = vec![json!({ "metadata": { "uid": "other" } })];
    let (patches, error) = sent(intent::abort, recreated).await;
    assert!(error.starts_with("rollout 'shop' was deleted and created again"), "{error}");
    assert!(patches.is_empty(), "{patches:?}");
}

#[tokio::test]
async fn after_its_first_part_promote_goes_on_although_the_step_has_moved() {
    // The controller has consumed the resume before the pause of the spec is lifted.
    let consumed = |server: &mut Server| {
        server.meddling = vec![Value::Null, json!({ "status": { "currentStepIndex": 2 } })];
    };
    let (patches, error) = sent(promote, consumed).await;
    assert_eq!(error, "");
    assert_eq!(patches, PROMOTED);
}

#[tokio::test]
async fn without_a_status_subresource_the_object_itself_is_patched() {
    let (patches, error) = sent(intent::abort, |server| server.has_status_subresource = false).await;
    assert_eq!(error, "");
    assert_eq!(patches, [r#"main fenced {"status":{"abort":true}}"#]);
}

#[tokio::test]
async fn without_a_status_subresource_another_version_is_not_reached_either() {
    let other_version = |server: &mut Server| {
        server.has_status_subresource = false;
        server.meddling = vec![json!({ "status": { "currentPodHash": "newer" } })];
    };
    let (patches, error) = sent(intent::abort, other_version).await;
    assert!(error.contains("moved on from version new to newer"), "{error}");
    assert!(patches.is_empty(), "{patches:?}");
}

#[tokio::test]
async fn an_endless_fight_ends_with_an_error() {
    let fight = |server: &mut Server| {
        server.meddling = (0..100).map(|n| json!({ "status": { "readyReplicas": n } })).collect();
    };
    let (patches, error) = sent(intent::abort, fight).await;
    assert!(error.contains("changed under 8 attempts"), "{error}");
    assert!(patches.is_empty(), "{patches:?}");
}
