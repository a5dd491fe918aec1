use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use headgate_driver::{
    Driver, Options,
    io::{Observation, Watch},
    resources::ROLLOUTS,
};
use headgate_notify::Subscriptions;
use kube::Client;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{Connections, DRAIN_TIME_LIMIT, EventLoop};
use crate::{
    elect::Standing,
    execute::{
        Executor,
        tests::{api_server, nested},
    },
    fleet::Fleet,
    health::Health,
    measure::Measurer,
    metrics::Metrics,
    notifier::Notifier,
    object::Object,
    secrets::Secrets,
};

/// A loop whose watches have delivered one Rollout and nothing else.
struct Running {
    task: JoinHandle<()>,
    standing: watch::Sender<Standing>,
    stop: watch::Sender<bool>,
    fleet: Arc<Fleet>,
    metrics: Arc<Metrics>,
    _observations: mpsc::Sender<Observation>,
}

fn rollout() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "strategy": {"canary": {}},
                 "template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}
    })
}

impl Running {
    async fn start(client: Client) -> Self {
        Self::start_with(client, rollout()).await
    }

    async fn start_with(client: Client, rollout: Value) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let driver = Driver::new(Options::default());
        let (observations, observed) = mpsc::channel(64);
        for Watch { resource, .. } in driver.watches() {
            observations.send(Observation::ListStarted(resource)).await.unwrap();
            if resource.kind == "Rollout" {
                observations.send(Observation::Listed(resource, rollout.clone())).await.unwrap();
            }
            observations.send(Observation::Synced(resource)).await.unwrap();
        }
        let (standing, stands) = watch::channel(Standing::Waiting);
        let (stop, stopped) = watch::channel(false);
        let (metrics, fleet) = (Arc::new(Metrics::default()), Arc::new(Fleet::default()));
        let measurer = Measurer::new(Secrets::new(client.clone()), None).unwrap();
        let notifier = Arc::new(Notifier::new(None).unwrap());
        let connections = Connections {
            observations: observed,
            standing: stands,
            stop: stopped,
            subscriptions: watch::channel(Some(Subscriptions::default())).1,
            demand: watch::channel(BTreeSet::new()).0,
            executor: Arc::new(Executor::new(client, measurer, notifier, metrics.clone(), fleet.clone())),
            metrics: metrics.clone(),
            fleet: fleet.clone(),
            health: Arc::new(Health::starting()),
        };
        let task = tokio::spawn(EventLoop::new(driver, connections).run());
        Self { task, standing, stop, fleet, metrics, _observations: observations }
    }

    /// How long it takes to end.
    async fn stop(self) -> Duration {
        let started = Instant::now();
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        started.elapsed()
    }
}

/// A server that notes what it gets and never answers.
fn silent_server() -> (Client, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let client = api_server(move |request| {
        notes.lock().unwrap().push(request);
        std::future::pending()
    });
    (client, seen)
}

/// Time passes until the server has got something.
async fn something(seen: &Mutex<Vec<String>>) -> String {
    loop {
        if let Some(request) = seen.lock().unwrap().first() {
            return request.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_waits_knows_everything_but_asks_for_nothing_and_reports_no_rollout() {
    let (client, seen) = silent_server();
    let running = Running::start(client).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let text = running.metrics.text().unwrap();
    assert!(text.contains("headgate_synced 1\n") && text.contains("headgate_leader 0\n"), "{text}");
    assert_eq!(*seen.lock().unwrap(), [""; 0]);
    assert_eq!(running.fleet.known().facts.rollouts, [], "the leader reports them");
    running.standing.send(Standing::Leading).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(running.fleet.known().facts.rollouts.len(), 1);
    assert!(running.stop().await <= DRAIN_TIME_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_replica_acts_as_soon_as_it_leads_and_its_first_call_is_about_the_rollout_it_knows() {
    let (client, seen) = silent_server();
    let running = Running::start(client).await;
    running.standing.send(Standing::Leading).unwrap();
    let first = something(&seen).await;
    assert!(first.contains(" /apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/web"), "{first}");
    // Read live, or written under the resourceVersion that the watch has delivered.
    assert!(first.starts_with("GET ") || first.contains("\"resourceVersion\":\"5\""), "{first}");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_requests_in_flight_get_a_bounded_time() {
    let (client, seen) = silent_server();
    let running = Running::start(client).await;
    running.standing.send(Standing::Leading).unwrap();
    something(&seen).await;
    let sent = seen.lock().unwrap().len();
    assert!(running.stop().await <= DRAIN_TIME_LIMIT);
    assert_eq!(seen.lock().unwrap().len(), sent, "nothing was decided any more");
}

/// A server that has this Rollout and nothing else, takes everything, and notes it. It stores a status when it is let.
fn taking_server(rollout: Value, store: watch::Receiver<bool>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let client = api_server(move |request| {
        notes.lock().unwrap().push(request.clone());
        let (mut rollout, mut store) = (rollout.clone(), store.clone());
        async move {
            let body = request.splitn(4, ' ').nth(3).unwrap_or_default();
            let body = serde_json::from_str(body).unwrap_or(Value::Null);
            if request.starts_with("POST ") {
                return (201, body);
            }
            if request.starts_with("PATCH ") {
                store.wait_for(|may| *may).await.unwrap();
                rollout["metadata"]["resourceVersion"] = json!("6");
                rollout["status"] = body["status"].clone();
            }
            let is_list = !request.contains("/rollouts/web");
            (200, if is_list { json!({"metadata": {}, "items": []}) } else { rollout })
        }
    });
    (client, seen)
}

/// Time passes until the server has got a request that begins so.
async fn request(seen: &Mutex<Vec<String>>, begins: &str) -> String {
    loop {
        if let Some(request) = seen.lock().unwrap().iter().find(|request| request.starts_with(begins)) {
            return request.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_after_the_end_is_told_and_nothing_else_is_done() {
    let (store, stores) = watch::channel(false);
    let (client, seen) = taking_server(rollout(), stores);
    let running = Running::start(client).await;
    running.standing.send(Standing::Leading).unwrap();
    request(&seen, "PATCH ").await;
    let sent = seen.lock().unwrap().len();
    let (took, ()) = tokio::join!(running.stop(), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        store.send(true).unwrap();
    });
    assert!(took < DRAIN_TIME_LIMIT, "{took:?}");
    let after = seen.lock().unwrap().split_off(sent);
    assert!(!after.is_empty());
    for request in after {
        assert!(request.starts_with("POST /api/v1/namespaces/shop/events?"), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_is_nested_too_deep_is_told_so_and_left_as_it_is() {
    let mut rollout = rollout();
    rollout["spec"]["strategy"]["canary"]["trafficRouting"] = json!({"plugins": nested(200)});
    let (client, seen) = taking_server(rollout.clone(), watch::channel(true).1);
    let known: Object = serde_json::from_str(&rollout.to_string()).unwrap();
    let running = Running::start_with(client, known.into_json(&ROLLOUTS)).await;
    running.standing.send(Standing::Leading).unwrap();
    let told = request(&seen, "PATCH ").await;
    assert!(told.contains("InvalidSpec") && told.contains("Rollout nested deeper than 100 levels"), "{told}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    running.stop().await;
    let is_write = |request: &&String| !request.starts_with("GET ") && !request.contains("/events?");
    assert_eq!(seen.lock().unwrap().iter().filter(is_write).collect::<Vec<_>>(), [&told]);
}
