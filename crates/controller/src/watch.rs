//! Feeds the driver: one watch for each kind that it asks for, in its words.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use headgate_driver::io::{Observation, Watch};
use kube::{
    Api, Client,
    runtime::watcher::{self, Config, Event, watcher},
};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep},
};

use crate::{
    args::Scope,
    execute::explain,
    metrics::Metrics,
    object::{Object, api_resource},
};

/// The server ends a watch after so many seconds and it is begun again where it ended. A connection
/// that died without a word is noticed as late as that, and 5 seconds: so long a leader sees nothing.
const WATCH_SECONDS: u32 = 30;
/// Nothing is read from a connection for so long at most, also while a list or the beginning of a watch is awaited: the
/// server itself gives a list up after so long.
pub const SILENT_MAX: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 30);
/// Objects in one page of a list.
const PAGE_SIZE: u32 = 500;
/// The first pause after an error; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause after an error; a CRD that is installed later is noticed as late as that.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After so long without one, an error is a new trouble, also where no object has changed meanwhile: more than the longest
/// pause and an attempt that ends with an error.
const WORKS_AFTER: Duration = Duration::from_secs(120);

/// Watches one kind until nobody listens any more.
pub async fn run(
    client: Client,
    watch: Watch,
    scope: Scope,
    out: Sender<Observation>,
    metrics: Arc<Metrics>,
) {
    let kind = watch.resource.kind;
    let resource = api_resource(&watch.resource);
    let api: Api<Object> = match scope {
        Scope::Cluster => Api::all_with(client, &resource),
        Scope::Namespace(namespace) if watch.resource.namespaced => {
            Api::namespaced_with(client, &namespace, &resource)
        }
        Scope::Namespace(namespace) => {
            tracing::info!(kind, namespace, "cluster-scoped kinds are not watched: --namespaced");
            let _ = out.send(Observation::NotInstalled(watch.resource)).await;
            return out.closed().await;
        }
    };
    let mut config = Config::default().page_size(PAGE_SIZE).timeout(WATCH_SECONDS);
    if !watch.labels.is_empty() {
        config = config.labels(watch.labels);
    }
    let mut feed = Feed::new(watch, out, metrics);
    while let Ended::NotInstalled = feed.follow(watcher(api.clone(), config.clone())).await {}
}

/// Turns one watch's events into observations.
struct Feed {
    watch: Watch,
    out: Sender<Observation>,
    metrics: Arc<Metrics>,
    /// kube announces a list before it asks for it; we pass that on once the list has an answer, so
    /// that a server that refuses does not make a known kind unknown again and again.
    announced: bool,
    pause: Duration,
    /// When the last error was.
    failed_at: Option<Instant>,
    /// The last error, to log each once and not at every attempt.
    failing: Option<String>,
}

/// Nobody listens any more.
struct Closed;

/// Why following a watch has ended.
enum Ended {
    /// The kind does not exist: what the watch remembers is worth nothing, a new one must list.
    NotInstalled,
    Closed,
}

impl Feed {
    fn new(watch: Watch, out: Sender<Observation>, metrics: Arc<Metrics>) -> Self {
        Self { watch, out, metrics, announced: false, pause: PAUSE_MIN, failed_at: None, failing: None }
    }

    async fn follow(&mut self, events: impl Stream<Item = watcher::Result<Event<Object>>>) -> Ended {
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            let passed_on = match event {
                Ok(event) => self.pass_on(event).await,
                Err(error) if not_installed(&error) => {
                    return match self.wait_after(error).await {
                        Ok(()) => Ended::NotInstalled,
                        Err(Closed) => Ended::Closed,
                    };
                }
                Err(error) => self.wait_after(error).await,
            };
            if passed_on.is_err() {
                break;
            }
        }
        Ended::Closed
    }

    async fn pass_on(&mut self, event: Event<Object>) -> Result<(), Closed> {
        let resource = self.watch.resource;
        let observation = match event {
            Event::Init => {
                self.announced = false;
                return Ok(());
            }
            Event::InitApply(object) => {
                self.announce().await?;
                Observation::Listed(resource, object.into_json(&resource))
            }
            Event::InitDone => {
                self.announce().await?;
                self.recovered();
                Observation::Synced(resource)
            }
            Event::Apply(object) => {
                self.recovered();
                Observation::Applied(resource, object.into_json(&resource))
            }
            Event::Delete(object) => {
                self.recovered();
                Observation::Deleted(resource, object.into_json(&resource))
            }
        };
        self.send(observation).await
    }

    async fn announce(&mut self) -> Result<(), Closed> {
        if self.announced {
            return Ok(());
        }
        self.announced = true;
        self.send(Observation::ListStarted(self.watch.resource)).await
    }

    fn recovered(&mut self) {
        let kind = self.watch.resource.kind;
        self.pause = PAUSE_MIN;
        if self.failing.take().is_some() {
            tracing::info!(kind, "the watch works");
            self.metrics.watch_works(kind);
        }
    }

    async fn wait_after(&mut self, error: watcher::Error) -> Result<(), Closed> {
        let kind = self.watch.resource.kind;
        let is_absent = not_installed(&error);
        if is_absent {
            self.send(Observation::NotInstalled(self.watch.resource)).await?;
        }
        if self.failed_at.replace(Instant::now()).is_some_and(|before| before.elapsed() > WORKS_AFTER) {
            (self.pause, self.failing) = (PAUSE_MIN, None);
        }
        let why = self.explain(&error);
        let is_news = self.failing.as_ref() != Some(&why);
        // Who does without a kind must not be told for ever that its watch fails.
        if is_absent && !self.watch.required {
            if is_news {
                tracing::info!(kind, why, "not watched");
            }
            self.metrics.watch_works(kind);
        } else {
            if is_news {
                tracing::warn!(kind, why, "the watch fails");
            }
            self.metrics.watch_failed(kind);
        }
        self.failing = Some(why);
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }

    fn explain(&self, error: &watcher::Error) -> String {
        let resource = &self.watch.resource;
        if not_installed(error) {
            let hint = if self.watch.required {
                ": install Headgate's CRDs"
            } else {
                "; it is watched once it is installed"
            };
            return format!(
                "{}.{} {} is not installed{hint}",
                resource.plural, resource.group, resource.version
            );
        }
        match error {
            watcher::Error::InitialListFailed(error) => format!("list: {}", explain(error)),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                format!("watch: {}", explain(error))
            }
            watcher::Error::WatchError(status) => format!("watch: {} ({})", status.message, status.code),
            error @ watcher::Error::NoResourceVersion => error.to_string(),
        }
    }

    async fn send(&self, observation: Observation) -> Result<(), Closed> {
        self.out.send(observation).await.map_err(|_closed| Closed)
    }
}

/// A list or watch of a kind that does not exist is answered with 404.
fn not_installed(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        time::Duration,
    };

    use futures::stream;
    use headgate_driver::io::{Observation, Watch};
    use kube::{Client, client::Body, runtime::watcher};
    use serde_json::{Value, json};
    use tokio::{
        sync::mpsc,
        time::{Instant, sleep, timeout},
    };

    use super::{Feed, PAUSE_MAX, PAUSE_MIN, WORKS_AFTER, run};
    use crate::{
        args::Scope,
        execute::tests::{REPLICA_SET, api_server, nested},
        metrics::Metrics,
    };

    const WATCH: Watch =
        Watch { resource: REPLICA_SET, labels: "app=web", required: false, on_demand: false };

    fn list(names: &[&str]) -> (u16, Value) {
        let item = |name: &&str| json!({"metadata": {"name": name, "resourceVersion": "5"}});
        (
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "9"},
                     "items": names.iter().map(item).collect::<Vec<_>>()}),
        )
    }

    fn refuse(code: u16) -> (u16, Value) {
        (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": "no", "reason": "No"}))
    }

    fn described(observation: &Observation) -> String {
        let name = |value: &Value| value["metadata"]["name"].as_str().unwrap().to_owned();
        match observation {
            Observation::ListStarted(_) => "list".into(),
            Observation::Listed(_, value) => format!("listed {}", name(value)),
            Observation::Synced(_) => "synced".into(),
            Observation::Applied(_, value) => format!("applied {}", name(value)),
            Observation::Deleted(_, value) => format!("deleted {}", name(value)),
            Observation::NotInstalled(_) => "not installed".into(),
        }
    }

    /// Runs a watch against a scripted server until it has delivered so many observations. Where the
    /// script has no answer, the server has nothing to tell yet.
    async fn observe(
        scope: Scope,
        count: usize,
        answer: impl Fn(u32, &str) -> Option<(u16, Value)> + Copy + Send + Sync + 'static,
    ) -> Vec<String> {
        let calls = Arc::new(AtomicU32::new(0));
        let client = api_server(move |seen| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                match answer(call, &seen) {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        });
        let (send, mut receive) = mpsc::channel(1);
        let task = tokio::spawn(run(client, WATCH, scope, send, Arc::new(Metrics::default())));
        let mut seen = Vec::new();
        while seen.len() < count {
            seen.push(described(&receive.recv().await.unwrap()));
        }
        task.abort();
        seen
    }

    fn is_watch(request: &str) -> bool {
        request.contains("watch=true")
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_then_changes() {
        let seen = observe(Scope::Cluster, 6, |_, request| {
            assert!(request.contains("/apis/apps/v1/replicasets?"), "{request}");
            assert!(request.contains("labelSelector=app%3Dweb"), "{request}");
            if !is_watch(request) {
                return Some(list(&["a", "b"]));
            }
            let (kind, version) = if request.contains("resourceVersion=9") {
                ("MODIFIED", "11")
            } else if request.contains("resourceVersion=11") {
                ("DELETED", "12")
            } else {
                return None;
            };
            let object = json!({"metadata": {"name": "b", "resourceVersion": version}});
            Some((200, json!({"type": kind, "object": object})))
        })
        .await;
        assert_eq!(seen, ["list", "listed a", "listed b", "synced", "applied b", "deleted b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_installed_later_is_then_watched() {
        let seen = observe(Scope::Cluster, 6, |call, request| match call {
            0..3 => Some(refuse(404)),
            _ => (!is_watch(request)).then(|| list(&["a"])),
        })
        .await;
        let not = "not installed";
        assert_eq!(seen, [not, not, not, "list", "listed a", "synced"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_uninstalled_is_listed_anew_when_it_comes_back() {
        let seen = observe(Scope::Cluster, 7, |call, request| match (call, is_watch(request)) {
            (1 | 2, _) => Some(refuse(404)),
            (3, true) => panic!("a watch that remembers what is gone: {request}"),
            (_, true) => None,
            (_, false) => Some(list(&["a"])),
        })
        .await;
        assert_eq!(
            seen,
            ["list", "listed a", "synced", "not installed", "not installed", "list", "listed a"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_list_says_nothing_about_the_objects() {
        let seen = observe(Scope::Cluster, 3, |call, request| match call {
            0..9 => Some(refuse(403)),
            _ => (!is_watch(request)).then(|| list(&["a"])),
        })
        .await;
        assert_eq!(seen, ["list", "listed a", "synced"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_watch_lists_again() {
        let seen = observe(Scope::Cluster, 6, |_, request| {
            if !is_watch(request) {
                return Some(list(&["a"]));
            }
            let status = json!({"code": 410, "reason": "Expired", "message": "too old", "status": "Failure"});
            Some((200, json!({"type": "ERROR", "object": status})))
        })
        .await;
        assert_eq!(seen, ["list", "listed a", "synced", "list", "listed a", "synced"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_namespace_is_watched_when_told_so() {
        let seen = observe(Scope::Namespace("shop".into()), 3, |_, request| {
            assert!(request.contains("/apis/apps/v1/namespaces/shop/replicasets?"), "{request}");
            (!is_watch(request)).then(|| list(&["a"]))
        })
        .await;
        assert_eq!(seen, ["list", "listed a", "synced"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_with_an_object_that_is_nested_too_deep_gives_every_object() {
        let seen = observe(Scope::Cluster, 4, |_, request| {
            let (code, mut list) = list(&["a", "b"]);
            list["items"][1]["spec"] = nested(200);
            (!is_watch(request)).then_some((code, list))
        });
        let seen = timeout(PAUSE_MIN, seen).await.unwrap();
        assert_eq!(seen, ["list", "listed a", "listed b", "synced"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_of_an_object_that_is_nested_too_deep_is_followed_by_the_next_one_at_once() {
        let seen = observe(Scope::Cluster, 5, |_, request| {
            if !is_watch(request) {
                return Some(list(&["a"]));
            }
            let event = |name, spec: Value| {
                let object = json!({"metadata": {"name": name, "resourceVersion": "11"}, "spec": spec});
                // The server writes the type first, a JSON object here has its fields in the order of the alphabet.
                format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n")
            };
            let events = event("b", nested(200)) + &event("c", json!({}));
            request.contains("resourceVersion=9").then(|| (200, events.into()))
        });
        let seen = timeout(PAUSE_MIN, seen).await.unwrap();
        assert_eq!(seen, ["list", "listed a", "synced", "applied b", "applied c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_died_without_a_word_is_given_up_within_45_seconds() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let silent = move |request: http::Request<Body>| {
            let watches = is_watch(&request.uri().to_string());
            if watches {
                tell.send(Instant::now()).unwrap();
            }
            let body = if watches {
                axum::body::Body::from_stream(stream::pending::<Result<Vec<u8>, Infallible>>())
            } else {
                list(&["a"]).1.to_string().into()
            };
            async move { Ok::<_, Infallible>(http::Response::new(body)) }
        };
        let client = Client::new(tower::service_fn(silent), "default");
        let (send, _observed) = mpsc::channel(64);
        let task = tokio::spawn(run(client, WATCH, Scope::Cluster, send, Arc::new(Metrics::default())));
        let first = told.recv().await.unwrap();
        let second = told.recv().await.unwrap();
        task.abort();
        assert!(second - first <= Duration::from_secs(45), "{:?}", second - first);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_required_kind_fails_where_it_is_not_installed() {
        for (required, failing) in [(false, 0), (true, 1)] {
            let client = api_server(|_| async { refuse(404) });
            let (send, mut receive) = mpsc::channel(1);
            let metrics = Arc::new(Metrics::default());
            let watch = Watch { required, ..WATCH };
            let task = tokio::spawn(run(client, watch, Scope::Cluster, send, Arc::clone(&metrics)));
            for _ in 0..3 {
                assert!(matches!(receive.recv().await.unwrap(), Observation::NotInstalled(_)));
            }
            task.abort();
            let text = metrics.text().unwrap();
            assert!(
                text.contains(&format!("headgate_watch_failing{{kind=\"ReplicaSet\"}} {failing}\n")),
                "{text}"
            );
            assert_eq!(text.contains("headgate_watch_errors_total{"), required, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_short_again_after_a_watch_has_worked_in_silence() {
        let (send, _observed) = mpsc::channel(1);
        let mut feed = Feed::new(WATCH, send, Arc::new(Metrics::default()));
        let mut last = Duration::ZERO;
        for silence in [Duration::ZERO; 9].into_iter().chain([WORKS_AFTER / 2, WORKS_AFTER * 2]) {
            sleep(silence).await;
            let started = Instant::now();
            let _ = feed.wait_after(watcher::Error::NoResourceVersion).await;
            let pause = started.elapsed();
            let expected =
                if silence > WORKS_AFTER { PAUSE_MIN } else { (last * 2).clamp(PAUSE_MIN, PAUSE_MAX) };
            assert_eq!((silence, pause), (silence, expected));
            last = pause;
        }
    }
}
