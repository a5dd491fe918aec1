use std::{convert::Infallible, future::Future, sync::Arc};

use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Request, RequestId, Resource};
use headgate_driver::resources::{ANALYSIS_RUNS, PODS, ROLLOUTS};
use kube::{Client, client::Body};
use serde_json::{Value, json};

use super::{CALL_TIME_LIMIT, Executor};
use crate::{fleet::Fleet, measure::Measurer, metrics::Metrics, notifier::Notifier, secrets::Secrets};

pub(crate) const REPLICA_SET: Resource =
    Resource { group: "apps", version: "v1", kind: "ReplicaSet", plural: "replicasets", namespaced: true };

/// A value of so many levels.
pub(crate) fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| Value::Object([("a".to_owned(), inner)].into_iter().collect()))
}

/// An API server in this process: what it got as `METHOD path?query content-type body`, and its answer; a text is sent as
/// it is.
pub(crate) fn api_server<F, A>(answer: F) -> Client
where
    F: Fn(String) -> A + Clone + Send + 'static,
    A: Future<Output = (u16, Value)> + Send + 'static,
{
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let content_type = parts.headers.get("content-type").map_or("-", |value| value.to_str().unwrap());
            let seen =
                format!("{} {} {content_type} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
            let (code, body) = answer(seen).await;
            let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            let response = http::Response::builder().status(code).body(Body::from(body.into_bytes()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    Client::new(service, "default")
}

fn executor(client: Client) -> Executor {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let measurer = Measurer::new(Secrets::new(client.clone()), None).unwrap();
    let notifier = Arc::new(Notifier::new(None).unwrap());
    Executor::new(client, measurer, notifier, Arc::new(Metrics::default()), Arc::new(Fleet::default()))
}

fn target() -> ObjectRef {
    ObjectRef { resource: REPLICA_SET, namespace: "shop".into(), name: "web-1".into() }
}

fn rollout(namespace: &str) -> ObjectRef {
    ObjectRef { resource: ROLLOUTS, namespace: namespace.into(), name: "web".into() }
}

async fn execute(client: Client, call: Call) -> Reply {
    let (id, reply) =
        executor(client).execute(Request { id: RequestId(7), owner: rollout("shop"), call }).await;
    assert_eq!(id, RequestId(7));
    reply
}

/// What the server gets to see of a call.
async fn seen(call: Call) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    let client = api_server(move |seen| {
        tell.send(seen).unwrap();
        async { (200, json!({"metadata": {"name": "web-1"}, "items": []})) }
    });
    execute(client, call).await;
    told.recv().unwrap()
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
           "message": format!("because {reason}"), "reason": reason, "code": code})
}

#[tokio::test]
async fn every_call_is_the_request_that_kubernetes_documents() {
    let merge = |status| Call::Patch { target: target(), status, patch: Patch::Merge(json!({"a": null})) };
    let operations = json!([{"op": "test", "path": "/metadata/uid", "value": "u"}]);
    let cluster_scoped =
        Resource { group: "", version: "v1", kind: "Namespace", plural: "namespaces", namespaced: false };
    let calls = [
        Call::Get(target()),
        Call::Get(ObjectRef { resource: cluster_scoped, namespace: String::new(), name: "shop".into() }),
        Call::List {
            resource: REPLICA_SET,
            namespace: "shop".into(),
            labels: "app=web,hash in (a, b)".into(),
        },
        Call::Create { target: target(), body: json!({"metadata": {"name": "web-1"}}) },
        merge(false),
        merge(true),
        Call::Patch { target: target(), status: false, patch: Patch::Json(operations) },
        Call::Delete { target: target(), uid: "u".into() },
        Call::Evict { target: ObjectRef { resource: PODS, ..target() }, uid: "u".into() },
    ];
    let mut transcript = Vec::new();
    for call in calls {
        transcript.push(seen(call).await);
    }
    insta::assert_snapshot!(transcript.join("\n"));
}

#[tokio::test]
async fn refusals_keep_code_reason_and_message() {
    for (code, reason) in
        [(404, "NotFound"), (409, "Conflict"), (409, "AlreadyExists"), (422, "Invalid"), (403, "Forbidden")]
    {
        let client = api_server(move |_| async move { (code, status(code, reason)) });
        let expected = Reply::Refused { code, reason: reason.into(), message: format!("because {reason}") };
        assert_eq!(execute(client, Call::Get(target())).await, expected);
    }
}

#[tokio::test]
async fn an_eviction_that_is_refused_names_the_budget() {
    let mut answer = status(429, "TooManyRequests");
    answer["details"] =
        json!({"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 4"}]});
    let client = api_server(move |_| {
        let answer = answer.clone();
        async move { (429, answer) }
    });
    let call = Call::Evict { target: ObjectRef { resource: PODS, ..target() }, uid: "u".into() };
    let message = "because TooManyRequests The disruption budget web needs 4".to_owned();
    let expected = Reply::Refused { code: 429, reason: "TooManyRequests".into(), message };
    assert_eq!(execute(client, call).await, expected);
}

#[tokio::test]
async fn overload_is_answered_at_once_because_the_driver_retries() {
    let (tell, told) = std::sync::mpsc::channel();
    let client = api_server(move |_| {
        tell.send(()).unwrap();
        async { (503, status(503, "ServiceUnavailable")) }
    });
    let reply = execute(client, Call::Get(target())).await;
    assert!(matches!(reply, Reply::Refused { code: 503, .. }), "{reply:?}");
    assert_eq!(told.try_iter().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_loses_the_call_after_the_time_limit() {
    let client = api_server(|_| std::future::pending());
    let started = tokio::time::Instant::now();
    let reply = execute(client, Call::Create { target: target(), body: json!({}) }).await;
    assert!(matches!(&reply, Reply::Lost(why) if why.contains("within 10s")), "{reply:?}");
    assert_eq!(started.elapsed().as_secs(), CALL_TIME_LIMIT.as_secs());
}

#[tokio::test]
async fn a_broken_connection_loses_the_call_and_says_why() {
    let broken = tower::service_fn(|_: http::Request<Body>| async {
        Err::<http::Response<Body>, _>(std::io::Error::other("connection reset by peer"))
    });
    let reply = execute(Client::new(broken, "default"), Call::Get(target())).await;
    assert!(matches!(&reply, Reply::Lost(why) if why.contains("connection reset by peer")), "{reply:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_json_loses_the_call() {
    let client = Client::new(
        tower::service_fn(|_: http::Request<Body>| async {
            Ok::<_, Infallible>(http::Response::new(Body::from(b"<html>".to_vec())))
        }),
        "default",
    );
    assert!(matches!(execute(client, Call::Get(target())).await, Reply::Lost(_)));
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page() {
    let client = api_server(|seen| async move {
        let (token, name) = if seen.contains("continue=next") { ("", "b") } else { ("next", "a") };
        (
            200,
            json!({"metadata": {"continue": token, "resourceVersion": "9"}, "items": [{"metadata": {"name": name}}]}),
        )
    });
    let call = Call::List { resource: REPLICA_SET, namespace: "shop".into(), labels: String::new() };
    let Reply::Objects(objects) = execute(client, call).await else { panic!("no list") };
    let names =
        objects.iter().map(|object| (&object["kind"], &object["metadata"]["name"])).collect::<Vec<_>>();
    assert_eq!(names, [(&json!("ReplicaSet"), &json!("a")), (&json!("ReplicaSet"), &json!("b"))]);
}

#[tokio::test]
async fn an_object_that_is_nested_too_deep_hides_no_other_one_of_its_list() {
    let item = |name: &str, spec| json!({"metadata": {"name": name, "uid": name}, "spec": spec});
    let list = json!({"metadata": {}, "items": [item("a", nested(1)), item("b", nested(200)), item("c", nested(1))]});
    let answers = move |seen: String| {
        let list = list.clone();
        async move { (200, if seen.contains("/web-1") { list["items"][1].clone() } else { list }) }
    };
    let call = Call::List { resource: ANALYSIS_RUNS, namespace: "shop".into(), labels: String::new() };
    let Reply::Objects(objects) = execute(api_server(answers.clone()), call).await else { panic!("no list") };
    let names = objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!((&objects[0]["spec"], &objects[2]["spec"]), (&nested(1), &nested(1)));
    let target = ObjectRef { resource: ANALYSIS_RUNS, ..target() };
    assert_eq!(execute(api_server(answers), Call::Get(target)).await, Reply::Object(objects[1].clone()));
}

#[tokio::test]
async fn a_name_that_would_name_another_object_is_never_sent() {
    let client = api_server(|seen| async move { panic!("sent: {seen}") });
    for name in ["../secrets/password", "a/b", "a?b", "", "..", "a%2fb"] {
        let target = ObjectRef { name: name.into(), ..target() };
        let reply = execute(client.clone(), Call::Get(target)).await;
        assert!(
            matches!(&reply, Reply::Refused { code: 400, message, .. } if message.contains("is no name")),
            "{reply:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn eight_namespaces_whose_webhooks_hang_do_not_hold_up_another() {
    let client = api_server(|seen| async move {
        if seen.contains("/namespaces/hangs-") {
            std::future::pending::<()>().await;
        }
        (200, json!({}))
    });
    let executor = Arc::new(executor(client));
    let create = |namespace: &str| Request {
        id: RequestId(0),
        owner: rollout(namespace),
        call: Call::Create { target: ObjectRef { namespace: namespace.into(), ..target() }, body: json!({}) },
    };
    for number in 0..1000 {
        let (executor, request) = (executor.clone(), create(&format!("hangs-{}", number % 8)));
        tokio::spawn(async move { executor.execute(request).await });
    }
    // Time passes only once all of them hang, or wait.
    tokio::time::sleep(CALL_TIME_LIMIT / 100).await;
    let (_, reply) =
        tokio::time::timeout(CALL_TIME_LIMIT / 10, executor.execute(create("works"))).await.unwrap();
    assert!(matches!(reply, Reply::Object(_)), "{reply:?}");
}
