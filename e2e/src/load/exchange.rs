//! One request and its answer, over a kept or a fresh connection.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::Target;
use super::count::{LostCause, Response};

const MOST_IDLE: usize = 256;

/// On which connection a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// One of those kept from earlier requests if there is any; kept afterwards.
    Kept,
    /// One of its own, which asks the server to close it.
    Own,
}

/// Sends requests to one target and keeps its connections.
pub(super) struct Client {
    target: Target,
    timeout: Duration,
    /// The one that was last in use is the next to be used.
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    received: Arc<AtomicU64>,
}

enum Failure {
    /// The server closed the connection without a byte of an answer.
    Unanswered(hyper::Error),
    Broken(hyper::Error),
}

impl Client {
    pub(super) fn new(target: Target, timeout: Duration) -> Self {
        Client { target, timeout, idle: Mutex::new(Vec::new()) }
    }

    /// The whole answer and when it was there. `on_retry` is called before the request is sent again.
    pub(super) async fn get(
        &self,
        via: Via,
        on_retry: impl FnOnce(),
    ) -> Result<(Response, Instant), LostCause> {
        let exchanged = timeout(self.timeout, self.get_once_or_again(via, on_retry)).await;
        let (response, mut connection) = exchanged.unwrap_or(Err(LostCause::Timeout))?;
        let answered_at = Instant::now();
        if via == Via::Kept && connection.sender.ready().await.is_ok() {
            self.keep(connection);
        }
        Ok((response, answered_at))
    }

    /// A server may close a connection that it believes idle just when a request is on its way. As HTTP
    /// clients do (RFC 9110 §9.2.2, RFC 9112 §9.3.1), a GET is then sent again, once, on a fresh
    /// connection: only if the connection was a kept one and not a byte of an answer had come.
    async fn get_once_or_again(
        &self,
        via: Via,
        on_retry: impl FnOnce(),
    ) -> Result<(Response, Connection), LostCause> {
        if via == Via::Kept
            && let Some(connection) = self.take_kept()
        {
            match self.exchange(connection, via).await {
                Ok(answered) => return Ok(answered),
                Err(Failure::Broken(error)) => return Err(connection_lost(error)),
                Err(Failure::Unanswered(_)) => on_retry(),
            }
        }
        let connection = self.connect().await?;
        self.exchange(connection, via).await.map_err(|failure| match failure {
            Failure::Unanswered(error) | Failure::Broken(error) => connection_lost(error),
        })
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        via: Via,
    ) -> Result<(Response, Connection), Failure> {
        let before = connection.received.load(Ordering::Relaxed);
        let response = match connection.sender.send_request(self.request(via)).await {
            Ok(response) => response,
            Err(error) if connection.received.load(Ordering::Relaxed) == before => {
                return Err(Failure::Unanswered(error));
            }
            Err(error) => return Err(Failure::Broken(error)),
        };
        let (head, mut body) = response.into_parts();
        while let Some(frame) = body.frame().await {
            frame.map_err(Failure::Broken)?;
        }
        let version = head.headers.get("x-version");
        let response = Response {
            status: head.status.as_u16(),
            version: version.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            app_error: head.headers.contains_key("x-app-error"),
        };
        Ok((response, connection))
    }

    fn request(&self, via: Via) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.target.path.clone().into();
        request.headers_mut().insert(HOST, self.target.host.clone());
        if via == Via::Own {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        request
    }

    async fn connect(&self) -> Result<Connection, LostCause> {
        let stream = TcpStream::connect(&self.target.address).await.map_err(connection_lost)?;
        stream.set_nodelay(true).map_err(connection_lost)?;
        let received = Arc::new(AtomicU64::new(0));
        let counted = CountedStream { stream, received: Arc::clone(&received) };
        let (sender, connection) = handshake(TokioIo::new(counted)).await.map_err(connection_lost)?;
        // Ends when its sender is dropped; its error reaches the request that it broke.
        tokio::spawn(connection);
        Ok(Connection { sender, received })
    }

    fn take_kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(connection);
        }
    }
}

/// The error with its causes: hyper's own words leave out what the system said.
fn connection_lost(error: impl std::error::Error + 'static) -> LostCause {
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let words: Vec<String> = causes.map(ToString::to_string).collect();
    LostCause::Connection(words.join(": "))
}

/// A stream that counts the bytes received, which tells an unanswered request from a broken answer.
struct CountedStream {
    stream: TcpStream,
    received: Arc<AtomicU64>,
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.received.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
