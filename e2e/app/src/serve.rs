//! Who gets which answer, and in which order the process lets go of its connections.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;

use crate::behaviour::{Behaviour, Outcome};
use crate::count::{self, Requests};
use crate::inbox::Inbox;

/// Whether the app becomes ready once it listens, and remains so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// Ready up to then; it serves on all the same.
    Until(Instant),
    Never,
}

/// Whether `POST /control` is obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Open,
    Closed,
}

/// A message to the inbox may have so many bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// The state that all connections share.
pub(crate) struct App {
    version: HeaderValue,
    behaviour: Mutex<Behaviour>,
    readiness: Readiness,
    control: Control,
    draining: AtomicBool,
    served: AtomicU64,
    requests: Requests,
    inbox: Inbox,
}

type Answer = Response<Full<Bytes>>;

impl App {
    pub(crate) fn new(
        version: HeaderValue,
        behaviour: Behaviour,
        readiness: Readiness,
        control: Control,
    ) -> Self {
        App {
            version,
            behaviour: Mutex::new(behaviour),
            readiness,
            control,
            draining: AtomicBool::new(false),
            served: AtomicU64::new(0),
            requests: Requests::new(),
            inbox: Inbox::default(),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let mut answer = match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            "/control" => self.obey(request.method(), request.uri().query().unwrap_or_default()),
            "/inbox" => self.inbox(request).await,
            _ => self.serve_user().await,
        };
        answer.headers_mut().insert("x-version", self.version.clone());
        if self.draining.load(Ordering::Relaxed) {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    fn ready(&self) -> Answer {
        let (status, said) = match self.readiness {
            Readiness::Never => (StatusCode::SERVICE_UNAVAILABLE, "never ready\n"),
            Readiness::Until(end) if Instant::now() >= end => {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready any more\n")
            }
            _ if self.draining.load(Ordering::Relaxed) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            Readiness::Ready | Readiness::Until(_) => (StatusCode::OK, "ready\n"),
        };
        text(status, said)
    }

    fn metrics(&self) -> Answer {
        let Ok(series) = self.requests.expose() else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the metrics\n");
        };
        let mut answer = text(StatusCode::OK, series);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(count::CONTENT_TYPE));
        answer
    }

    fn obey(&self, method: &Method, query: &str) -> Answer {
        if self.control == Control::Closed {
            return text(StatusCode::FORBIDDEN, "start the app with CONTROL=true to change it here\n");
        }
        if method != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "POST /control?error_rate=0.2&latency=50ms\n");
        }
        let mut behaviour = self.behaviour.lock().unwrap_or_else(PoisonError::into_inner);
        match behaviour.changed_by(query) {
            Ok(changed) => {
                *behaviour = changed;
                text(StatusCode::OK, format!("{changed:?}\n"))
            }
            Err(error) => text(StatusCode::BAD_REQUEST, format!("{error:#}\n")),
        }
    }

    async fn inbox(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        match Limited::new(body, MESSAGE_BYTES_MAX).collect().await {
            Ok(body) => {
                let (status, said) = self.inbox.answer(&head.method, &head.headers, &body.to_bytes());
                text(status, said)
            }
            Err(_) => text(StatusCode::PAYLOAD_TOO_LARGE, "a message may have 64 KiB\n"),
        }
    }

    async fn serve_user(&self) -> Answer {
        let began = Instant::now();
        let answer = match self.readiness {
            Readiness::Never => text(StatusCode::SERVICE_UNAVAILABLE, "never ready\n"),
            Readiness::Ready | Readiness::Until(_) => self.serve_as_told().await,
        };
        self.requests.record(answer.status(), began.elapsed());
        answer
    }

    async fn serve_as_told(&self) -> Answer {
        let number = self.served.fetch_add(1, Ordering::Relaxed);
        let fate = self.behaviour.lock().unwrap_or_else(PoisonError::into_inner).fate(number);
        if !fate.after.is_zero() {
            tokio::time::sleep(fate.after).await;
        }
        let mut line = Vec::from(self.version.as_bytes());
        line.push(b'\n');
        match fate.outcome {
            Outcome::Success => text(StatusCode::OK, line),
            Outcome::Error => {
                let mut answer = text(StatusCode::INTERNAL_SERVER_ERROR, line);
                answer.headers_mut().insert("x-app-error", HeaderValue::from_static("true"));
                answer
            }
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// Serves until `asked_to_stop`; then, not ready any more, for the time of `drain`, because routers hear
/// of it late; then takes no new connection, and returns when the requests in flight are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    asked_to_stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let connections = GracefulShutdown::new();
    let drained = async {
        asked_to_stop.await;
        app.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(drain).await;
    };
    tokio::pin!(drained);
    loop {
        let accepted = tokio::select! {
            () = &mut drained => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: some will be free again in a moment.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let app = Arc::clone(&app);
        let service = service_fn(move |request| {
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(app.answer(request).await) }
        });
        // No timeout between requests: a connection that the client keeps is the client's to close.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service);
        // Its error is the client's going away, which is no news here.
        tokio::spawn(connections.watch(connection));
    }
    drop(listener);
    connections.shutdown().await;
}
