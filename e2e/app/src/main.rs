//! The app that the lab's releases are made of: an HTTP server whose faults are set by its environment,
//! so that a new revision is a changed variable.
//!
//! Besides `/` and any other path it answers `/healthz`, `/readyz`, `/metrics` and, when CONTROL is on,
//! `POST /control`; what is posted to `/inbox` is kept and shown there. Every answer carries the header `x-version`; a 500 that was asked for carries
//! `x-app-error: true`, so a client can tell it from a proxy's 5xx.

mod behaviour;
mod count;
mod inbox;
mod serve;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use behaviour::{Behaviour, Share, parse_duration};
use clap::Parser;
use clap::builder::BoolishValueParser;
use http::HeaderValue;
use serve::{App, Control, Readiness};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How the app is to behave. Durations are written `20ms`, `5s`, `1m30s`.
#[derive(Parser)]
#[command(name = "headgate-app")]
struct Options {
    /// Where to listen; with port 0 the system picks one, printed at the start.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// What the header `x-version` and the body say.
    #[arg(long, env = "VERSION", default_value = "v1", value_parser = HeaderValue::from_str)]
    version: HeaderValue,
    /// Share of requests answered with 500, from 0 to 1, spread evenly and exactly.
    #[arg(long, env = "ERROR_RATE", default_value = "0")]
    error_rate: Share,
    /// How long an answer takes.
    #[arg(long, env = "LATENCY", default_value = "0s", value_parser = parse_duration)]
    latency: Duration,
    /// How long the slowest tenth of the answers takes, which puts the 95th percentile there.
    #[arg(long, env = "P95", value_parser = parse_duration)]
    p95: Option<Duration>,
    /// How long after its start the app begins to listen.
    #[arg(long, env = "START_DELAY", default_value = "0s", value_parser = parse_duration)]
    start_delay: Duration,
    /// Never become ready: `/readyz` and every path that a user would ask for answer 503, without
    /// `x-app-error`, because no request should have come.
    #[arg(long, env = "NEVER_READY", value_parser = BoolishValueParser::new())]
    never_ready: bool,
    /// This long after the start `/readyz` begins to answer 503 for ever; all else is served as before.
    #[arg(long, env = "UNREADY_AFTER", value_parser = parse_duration)]
    unready_after: Option<Duration>,
    /// Exit with code 1 this long after the start, in the middle of whatever is going on.
    #[arg(long, env = "CRASH_AFTER", value_parser = parse_duration)]
    crash_after: Option<Duration>,
    /// Allocate memory without end this long after the start, to be killed by the memory limit.
    #[arg(long, env = "OOM_AFTER", value_parser = parse_duration)]
    oom_after: Option<Duration>,
    /// How long after SIGTERM the app keeps serving, not ready, with `connection: close`.
    #[arg(long, env = "DRAIN", default_value = "5s", value_parser = parse_duration)]
    drain: Duration,
    /// Let `POST /control?error_rate=0.2&latency=50ms&p95=1s` change the behaviour of this process.
    #[arg(long, env = "CONTROL", value_parser = BoolishValueParser::new())]
    control: bool,
    /// Print the addresses of this name, one a line, and exit.
    #[arg(long, value_name = "NAME")]
    resolve: Option<String>,
}

impl Options {
    fn app(&self, start: Instant) -> App {
        let behaviour = Behaviour { error_rate: self.error_rate, latency: self.latency, p95: self.p95 };
        let readiness = match self.unready_after {
            _ if self.never_ready => Readiness::Never,
            Some(after) => Readiness::Until(start + after),
            None => Readiness::Ready,
        };
        let control = if self.control { Control::Open } else { Control::Closed };
        App::new(self.version.clone(), behaviour, readiness, control)
    }
}

// One thread: many pods of this app share few cores.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match &options.resolve {
        Some(name) => resolve(name),
        None => run(options).await,
    }
}

/// Runs until SIGTERM or SIGINT, and drains. As PID 1 the kernel gives these no default action: the
/// handlers stand before anything else happens.
async fn run(options: Options) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut terminate = signal(SignalKind::terminate()).context("handling SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handling SIGINT")?;
    let asked_to_stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(asked_to_stop);
    plan_crash(options.crash_after);
    plan_out_of_memory(options.oom_after);
    tokio::select! {
        () = &mut asked_to_stop => return Ok(()),
        () = tokio::time::sleep(options.start_delay) => {}
    }
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("listening on {}", options.listen))?;
    say(format_args!("listening on {}", listener.local_addr()?))?;
    serve::serve(listener, Arc::new(options.app(start)), asked_to_stop, options.drain).await;
    say(format_args!("drained"))
}

fn plan_crash(after: Option<Duration>) {
    let Some(after) = after else { return };
    std::thread::spawn(move || {
        std::thread::sleep(after);
        std::process::exit(1);
    });
}

fn plan_out_of_memory(after: Option<Duration>) {
    let Some(after) = after else { return };
    std::thread::spawn(move || {
        std::thread::sleep(after);
        exhaust_memory();
    });
}

/// Fills memory until the limit kills the process. Where no limit does, it ends like such a kill
/// (code 137) after 1 GiB, so that a forgotten limit takes down no machine.
fn exhaust_memory() {
    const CHUNK: usize = 16 << 20;
    const CHUNKS: usize = 64;
    let mut held = Vec::new();
    for _ in 0..CHUNKS {
        // Ones and not zeros: the kernel gives zeroed memory only when it is touched.
        held.push(std::hint::black_box(vec![1u8; CHUNK]));
        std::thread::sleep(Duration::from_millis(20));
    }
    std::process::exit(137);
}

/// Prints the addresses that the system's resolver, as linked into this binary, gives for a name.
fn resolve(name: &str) -> anyhow::Result<()> {
    let found = (name, 0).to_socket_addrs().with_context(|| format!("resolving {name}"))?;
    let addresses: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.iter().try_for_each(|address| say(format_args!("{address}")))
}

fn say(line: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
