//! The load generator against servers that misbehave in one way each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;

/// What a server does with a request after it has sent its bytes.
#[derive(Clone, Copy, Debug)]
enum Then {
    Keep,
    Close,
    Reset,
    Hang,
}

/// Which request this is: of all, and of its connection, from 0.
#[derive(Clone, Copy, Debug)]
struct Turn {
    of_all: u64,
    of_connection: u64,
}

/// A server on loopback that follows a script; gone when dropped.
struct Server {
    address: SocketAddr,
    seen: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    async fn start<F>(script: F) -> Self
    where
        F: Fn(Turn) -> (String, Then) + Clone + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (all_seen, all_connections) = (Arc::clone(&seen), Arc::clone(&connections));
        let accepting = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                all_connections.fetch_add(1, Ordering::Relaxed);
                tasks.spawn(follow(stream, script.clone(), Arc::clone(&all_seen)));
            }
        });
        Server { address, seen, connections, accepting }
    }

    fn load(&self, options: LoadOptions) -> Load {
        Load::start(Target::from_url(&format!("http://{}/", self.address)).unwrap(), options).unwrap()
    }

    fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

async fn follow(mut stream: TcpStream, script: impl Fn(Turn) -> (String, Then), seen: Arc<AtomicU64>) {
    for of_connection in 0.. {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            request.push(byte);
        }
        let (bytes, then) = script(Turn { of_all: seen.fetch_add(1, Ordering::Relaxed), of_connection });
        stream.write_all(bytes.as_bytes()).await.unwrap();
        match then {
            Then::Keep => {}
            Then::Close => return,
            Then::Reset => return stream.set_zero_linger().unwrap(),
            Then::Hang => std::future::pending().await,
        }
    }
}

fn response(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: 2\r\n\r\nok")
}

fn ok(version: &str) -> String {
    response("200 OK", &format!("x-version: {version}\r\n"))
}

fn fast(keep_alive: KeepAlive) -> LoadOptions {
    LoadOptions { rate_per_second: 500, keep_alive, ..LoadOptions::default() }
}

/// Runs until so many requests were sent, and waits for all of them.
async fn run_for(load: Load, requests: u64) -> Report {
    run_until(load, |report| report.total.sent >= requests).await
}

/// Runs until this is so, and waits for all requests. On a busy machine many are due at once, and how many of them find a
/// kept connection is chance: who wants to see that waits for it.
async fn run_until(load: Load, reached: impl Fn(&Report) -> bool) -> Report {
    until(&load, reached).await;
    let report = load.stop().await;
    assert_eq!((report.in_flight, report.total.sent), (0, report.total.answered + report.total.lost));
    report
}

async fn until(load: &Load, reached: impl Fn(&Report) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached(&load.snapshot()) {
        assert!(Instant::now() < deadline, "not reached: {:?}", load.snapshot());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn counts_are_those_of_the_server() {
    for keep_alive in [KeepAlive::Always, KeepAlive::Never, KeepAlive::Mixed] {
        let server = Server::start(|turn| {
            let version = if turn.of_all % 10 == 0 { "v2" } else { "v1" };
            (ok(version), Then::Keep)
        })
        .await;
        let connections = || server.connections.load(Ordering::Relaxed);
        let report = run_until(server.load(fast(keep_alive)), |report| {
            let sent = report.total.sent;
            let kept = match keep_alive {
                KeepAlive::Always => connections() < sent / 2,
                KeepAlive::Never => true,
                KeepAlive::Mixed => connections() < sent,
            };
            sent >= 100 && kept
        })
        .await;
        let total = report.total;
        assert_eq!((total.sent, total.lost, total.retried), (server.seen(), 0, 0), "{keep_alive:?}");
        assert_eq!(total.answered_by("v2"), server.seen().div_ceil(10));
        assert_eq!(total.answered_by("v1") + total.answered_by("v2"), total.answered);
        assert_eq!(total.by_status[&200], total.answered);
        assert!(total.share_fits("v2", 0.1, 1e-6) && !total.share_fits("v2", 0.9, 1e-6));
        match keep_alive {
            KeepAlive::Always => {}
            KeepAlive::Never => assert_eq!(connections(), total.sent),
            KeepAlive::Mixed => assert!(connections() >= total.sent / 2),
        }
    }
}

#[tokio::test]
async fn an_error_of_the_app_is_an_answer_and_one_of_a_proxy_is_a_loss() {
    let server = Server::start(|turn| match turn.of_all % 3 {
        0 => (response("500 Broken", "x-version: v1\r\nx-app-error: true\r\n"), Then::Keep),
        1 => (response("503 Upstream", ""), Then::Keep),
        _ => (response("404 Nowhere", ""), Then::Keep),
    })
    .await;
    let report = run_for(server.load(fast(KeepAlive::Mixed)), 90).await;
    let total = report.total;
    assert_eq!(total.app_errors, total.by_status[&500]);
    assert_eq!(total.lost, total.by_status[&503]);
    assert_eq!(total.answered_by(UNVERSIONED), total.by_status[&404]);
    assert!(total.app_errors >= 30 && total.lost >= 30);
    assert_eq!(report.first_lost.len(), 20);
    assert!(report.first_lost.iter().all(|lost| lost.cause == LostCause::Status(503)));
    assert!(report.first_lost.iter().all(|lost| lost.at >= report.started));
}

#[tokio::test]
async fn a_connection_closed_without_a_whole_answer_is_a_loss() {
    let half = ok("v1");
    let half = half[..half.len() - 1].to_owned();
    for (bytes, then) in
        [("", Then::Close), ("", Then::Reset), ("HTTP/1.1 2", Then::Close), (&half, Then::Close)]
    {
        let bytes = bytes.to_owned();
        let server = Server::start(move |_| (bytes.clone(), then)).await;
        let report = run_for(server.load(fast(KeepAlive::Always)), 20).await;
        assert_eq!((report.total.lost, report.total.retried), (report.total.sent, 0), "{then:?}");
        assert_eq!(server.seen(), report.total.sent);
        let cause = &report.first_lost[0].cause;
        assert!(matches!(cause, LostCause::Connection(_)), "{cause}");
    }
}

#[tokio::test]
async fn nobody_listening_is_a_loss() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = Target::from_url(&format!("http://{closed}")).unwrap();
    let report = run_for(Load::start(target, fast(KeepAlive::Mixed)).unwrap(), 10).await;
    assert_eq!(report.total.lost, report.total.sent);
    assert!(report.first_lost[0].cause.to_string().contains("refused"), "{}", report.first_lost[0].cause);
}

#[tokio::test]
async fn no_whole_answer_in_time_is_a_loss() {
    let half = ok("v1");
    let half = half[..half.len() - 1].to_owned();
    for bytes in [String::new(), half] {
        let server = Server::start(move |_| (bytes.clone(), Then::Hang)).await;
        let options = LoadOptions { timeout: Duration::from_millis(100), ..fast(KeepAlive::Always) };
        let report = run_for(server.load(options), 20).await;
        assert_eq!((report.total.lost, report.total.retried), (report.total.sent, 0));
        assert!(report.first_lost.iter().all(|lost| lost.cause == LostCause::Timeout));
    }
}

#[tokio::test]
async fn a_kept_connection_closed_before_it_answers_is_tried_again_once() {
    for then in [Then::Close, Then::Reset] {
        let server = Server::start(move |turn| match turn.of_connection {
            0 => (ok("v1"), Then::Keep),
            _ => (String::new(), then),
        })
        .await;
        let report =
            run_until(server.load(fast(KeepAlive::Always)), |report| report.total.retried >= 10).await;
        let total = report.total;
        assert_eq!((total.lost, total.answered), (0, total.sent), "{:?}", report.first_lost);
        assert_eq!(server.seen(), total.sent + total.retried);
    }
}

#[tokio::test]
async fn a_second_attempt_that_fails_is_not_tried_again() {
    let server = Server::start(|turn| match turn.of_all {
        0 => (ok("v1"), Then::Keep),
        _ => (String::new(), Then::Close),
    })
    .await;
    let report = run_for(server.load(fast(KeepAlive::Always)), 20).await;
    assert_eq!((report.total.answered, report.total.retried), (1, 1));
    assert_eq!(server.seen(), report.total.sent + 1);
}

#[tokio::test]
async fn a_kept_connection_closed_within_its_answer_is_a_loss() {
    let server = Server::start(|turn| match turn.of_connection {
        0 => (ok("v1"), Then::Keep),
        _ => ("HTTP/1.1 200".to_owned(), Then::Close),
    })
    .await;
    let report = run_until(server.load(fast(KeepAlive::Always)), |report| report.total.lost >= 10).await;
    assert_eq!(report.total.retried, 0);
    assert_eq!(server.seen(), report.total.sent);
}

/// Answers nothing until it is told to.
async fn answer_once_released(listener: TcpListener, released: watch::Receiver<bool>) {
    let mut answers = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut released = released.clone();
        answers.spawn(async move {
            released.wait_for(|released| *released).await.unwrap();
            stream.write_all(ok("v1").as_bytes()).await.unwrap();
            // Held open until the client has read it all and closes.
            drop(stream.read_to_end(&mut Vec::new()).await);
        });
    }
}

#[tokio::test]
async fn a_stalled_server_stops_no_request_and_is_charged_for_each() {
    let (release, released) = watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::from_url(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(answer_once_released(listener, released));
    let load = Load::start(target, LoadOptions { rate_per_second: 200, ..fast(KeepAlive::Never) }).unwrap();
    until(&load, |report| report.total.sent > 60).await;
    assert_eq!((load.snapshot().total.answered, load.snapshot().in_flight > 60), (0, true));
    release.send(true).unwrap();
    let report = load.stop().await;
    server.abort();
    assert_eq!((report.total.answered, report.in_flight), (report.total.sent, 0));
    // Request 0 waited for 300 ms, request 60 hardly: each from when it was due.
    let latency = &report.total.by_version["v1"].latency;
    assert!(latency.max() >= Duration::from_millis(300), "{latency:?}");
    assert!(latency.quantile(0.5) >= Duration::from_millis(145), "{latency:?}");
}

#[tokio::test]
async fn starvation_of_the_generator_itself_shows() {
    let server = Server::start(|_| (ok("v1"), Then::Keep)).await;
    let load = server.load(fast(KeepAlive::Always));
    until(&load, |report| report.total.answered > 10).await;
    // The runtime of this test has one thread, which is now busy with something else.
    std::thread::sleep(Duration::from_millis(300));
    let report = run_for(load, 50).await;
    assert!(report.total.max_lateness >= Duration::from_millis(290), "{:?}", report.total.max_lateness);
    assert_eq!(report.total.lost, 0);
}

#[tokio::test]
async fn a_dropped_load_sends_nothing_more() {
    let server = Server::start(|_| (ok("v1"), Then::Keep)).await;
    let load = server.load(fast(KeepAlive::Mixed));
    until(&load, |report| report.total.answered > 10).await;
    let run = Arc::downgrade(&load.run);
    drop(load);
    let deadline = Instant::now() + Duration::from_secs(10);
    while run.strong_count() > 0 {
        assert!(Instant::now() < deadline, "tasks of a dropped load still run");
        tokio::task::yield_now().await;
    }
}

#[test]
fn requests_are_due_evenly_for_ever() {
    for rate in [1, 3, 200, HIGHEST_RATE] {
        assert_eq!(due(0, rate), Duration::ZERO);
        assert_eq!(due(u64::from(rate) * 86_400, rate), Duration::from_secs(86_400));
        assert_eq!(
            due(u64::from(rate) + 1, rate) - due(u64::from(rate), rate),
            Duration::from_secs(1) / rate
        );
    }
}

#[test]
fn a_wrong_target_or_rate_says_what_would_be_right() {
    for (url, said) in [
        ("https://shop.example/", "write it like http://"),
        ("shop.example:80", "write it like http://"),
        ("http://me@shop.example/", "user name"),
        ("http://", "is no URL"),
    ] {
        let error = format!("{:#}", Target::from_url(url).unwrap_err());
        assert!(error.contains(said), "{url}: {error}");
    }
    let target = Target::from_url("http://10.0.0.1?a=b").unwrap().with_host("shop.example").unwrap();
    assert_eq!((target.address.as_str(), target.path.to_string().as_str()), ("10.0.0.1:80", "/?a=b"));
    assert!(Load::start(target, LoadOptions { rate_per_second: 0, ..LoadOptions::default() }).is_err());
}
