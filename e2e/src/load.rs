//! Steady traffic from users who do not wait for each other, and what became of each request.
//!
//! The load is open-loop: request number `i` is due at `start + i / rate` whatever happened to the ones
//! before, and its latency counts from then, so a server that stalls is charged for all the requests
//! that users would have sent meanwhile (no coordinated omission).

mod binomial;
mod count;
mod exchange;
mod latency;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
pub use binomial::within_binomial;
pub use count::{Counts, Lost, LostCause, UNVERSIONED, VersionCounts};
use count::{Event, Tally};
use exchange::{Client, Via};
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use jiff::Timestamp;
pub use latency::Latency;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

const HIGHEST_RATE: u32 = 100_000;

/// Where requests go: plain HTTP/1.1.
#[derive(Clone, Debug)]
pub struct Target {
    address: String,
    host: HeaderValue,
    path: PathAndQuery,
}

impl Target {
    /// A target such as `http://127.0.0.1:8080/path`; the header `host` is what the URL says.
    pub fn from_url(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            bail!("{url:?} has no scheme http and host; write it like http://127.0.0.1:8080/path");
        };
        ensure!(!authority.as_str().contains('@'), "{url:?} holds a user name, which is not sent");
        Ok(Target {
            address: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            host: authority.as_str().parse()?,
            path: uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }

    /// The same address asked for another host, as one does to reach a gateway.
    pub fn with_host(mut self, host: &str) -> anyhow::Result<Self> {
        self.host = host.parse().with_context(|| format!("{host:?} is no host header"))?;
        Ok(self)
    }
}

/// Which requests share connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum KeepAlive {
    /// All use connections that are kept.
    Always,
    /// Each has a connection of its own.
    Never,
    /// Every other one has a connection of its own; the others share.
    #[default]
    Mixed,
}

/// How the load is sent.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Requests per second, from 1 to 100,000.
    pub rate_per_second: u32,
    /// Which of them share connections.
    pub keep_alive: KeepAlive,
    /// How long after it was sent a request without a whole answer counts as lost.
    pub timeout: Duration,
}

impl Default for LoadOptions {
    /// 100 requests per second, mixed connections, 10 s.
    fn default() -> Self {
        LoadOptions {
            rate_per_second: 100,
            keep_alive: KeepAlive::default(),
            timeout: Duration::from_secs(10),
        }
    }
}

/// What happened so far.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When the first request was due.
    pub started: Timestamp,
    /// How long ago that is.
    #[serde(rename = "elapsedMilliseconds", serialize_with = "count::as_milliseconds")]
    pub elapsed: Duration,
    /// Requests sent that are neither answered nor lost; zero when the load has stopped.
    pub in_flight: u64,
    /// Everything since the start.
    pub total: Counts,
    /// The first 20 requests that were lost.
    pub first_lost: Vec<Lost>,
}

/// Running traffic. Dropped, it ends at once and forgets the requests in flight.
#[derive(Debug)]
pub struct Load {
    run: Arc<Run>,
    stop: oneshot::Sender<()>,
    scheduler: JoinHandle<()>,
}

#[derive(Debug)]
struct Run {
    start: Instant,
    started: Timestamp,
    tally: Mutex<Tally>,
}

impl Load {
    /// Begins to send, from the tokio runtime of the caller. An error if the rate is out of range.
    pub fn start(target: Target, options: LoadOptions) -> anyhow::Result<Self> {
        let rate = options.rate_per_second;
        ensure!((1..=HIGHEST_RATE).contains(&rate), "a rate of {rate}/s is not from 1 to {HIGHEST_RATE}");
        let run = Arc::new(Run { start: Instant::now(), started: Timestamp::now(), tally: Mutex::default() });
        let client = Arc::new(Client::new(target, options.timeout));
        let (stop, stopped) = oneshot::channel();
        let scheduler = tokio::spawn(schedule(Arc::clone(&run), client, options, stopped));
        Ok(Load { run, stop, scheduler })
    }

    /// What happened until now.
    pub fn snapshot(&self) -> Report {
        self.run.report()
    }

    /// What happened in the last `length`: never earlier, and for up to 0.1 s not from its very begin.
    /// Answers count when they come, so with requests in flight `sent` and the rest need not add up.
    /// Reaches back five minutes.
    pub fn window(&self, length: Duration) -> Counts {
        self.run.tally().window(length, self.run.start.elapsed())
    }

    /// Sends nothing more, waits until each request in flight is answered or lost, and says it all.
    pub async fn stop(self) -> Report {
        // Both fail only if the scheduler has ended by a panic: then `in_flight` is not zero.
        let _ = self.stop.send(());
        let _ = self.scheduler.await;
        self.run.report()
    }
}

impl Run {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, event: &Event) {
        self.tally().record(event, self.start.elapsed(), Timestamp::now());
    }

    fn report(&self) -> Report {
        let tally = self.tally();
        let (total, first_lost) = (tally.total.clone(), tally.first_lost.clone());
        let in_flight = total.sent.saturating_sub(total.answered + total.lost);
        Report { started: self.started, elapsed: self.start.elapsed(), in_flight, total, first_lost }
    }

    /// Sends the request that is due at `due`, and counts what becomes of it.
    async fn request(&self, client: &Client, via: Via, due: Instant) {
        self.record(&Event::Started { lateness: due.elapsed() });
        let event = match client.get(via, || self.record(&Event::Retried)).await {
            Ok((response, answered_at)) => Event::Responded { response, latency: answered_at - due },
            Err(cause) => Event::Failed(cause),
        };
        self.record(&event);
    }
}

/// Starts each request when it is due. The tasks are bounded by rate × timeout.
async fn schedule(
    run: Arc<Run>,
    client: Arc<Client>,
    options: LoadOptions,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut requests = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            wait_for_answers = &mut stopped => {
                // An error says that the load was dropped, and with it go the requests in flight.
                if wait_for_answers.is_ok() {
                    while requests.join_next().await.is_some() {}
                }
                return;
            }
            () = sleep_until(run.start + due(number, options.rate_per_second)) => {}
        }
        let now = Instant::now();
        while run.start + due(number, options.rate_per_second) <= now {
            let (run, client) = (Arc::clone(&run), Arc::clone(&client));
            let via = via(number, options.keep_alive);
            let due = run.start + due(number, options.rate_per_second);
            run.record(&Event::Sent);
            requests.spawn(async move { run.request(&client, via, due).await });
            number += 1;
        }
        while requests.try_join_next().is_some() {}
    }
}

/// When, after the start, a request is due.
fn due(number: u64, rate_per_second: u32) -> Duration {
    let rate = u64::from(rate_per_second);
    Duration::from_secs(number / rate) + Duration::from_secs(number % rate) / rate_per_second
}

fn via(number: u64, keep_alive: KeepAlive) -> Via {
    match keep_alive {
        KeepAlive::Always => Via::Kept,
        KeepAlive::Never => Via::Own,
        KeepAlive::Mixed if number.is_multiple_of(2) => Via::Kept,
        KeepAlive::Mixed => Via::Own,
    }
}
