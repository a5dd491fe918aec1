//! Steady traffic from the command line: a line per second, and the losses at the end.

use std::io::Write;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use headgate_e2e::load::{Counts, KeepAlive, Load, LoadOptions, Report, Target};
use serde::Serialize;
use tokio::time::{Instant, interval_at};

/// Sends requests at a steady rate whatever the answers; exits with code 1 if one was lost.
#[derive(Parser)]
#[command(name = "load")]
struct Options {
    /// Where to, for example http://127.0.0.1:8080/path.
    #[arg(long)]
    url: String,
    /// The header host, if it is not the URL's.
    #[arg(long)]
    host: Option<String>,
    /// Requests per second.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// How long; without it until interrupted.
    #[arg(long)]
    seconds: Option<u64>,
    /// Which requests share connections.
    #[arg(long, value_enum, default_value_t)]
    keep_alive: KeepAlive,
    /// The length in seconds of the window over which lines show shares and latencies.
    #[arg(long, default_value_t = 5)]
    window: u64,
    /// How lines are written.
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Human,
    Json,
}

/// A line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    report: &'a Report,
    window: &'a Counts,
}

impl Options {
    fn target(&self) -> anyhow::Result<Target> {
        let target = Target::from_url(&self.url)?;
        match &self.host {
            Some(host) => target.with_host(host),
            None => Ok(target),
        }
    }

    fn load_options(&self) -> LoadOptions {
        LoadOptions { rate_per_second: self.rate, keep_alive: self.keep_alive, ..LoadOptions::default() }
    }

    async fn end(&self) {
        match self.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let load = Load::start(options.target()?, options.load_options())?;
    let window = Duration::from_secs(options.window);
    let second = Duration::from_secs(1);
    let mut ticks = interval_at(Instant::now() + second, second);
    let end = options.end();
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            interrupted = tokio::signal::ctrl_c() => { interrupted?; break }
            _ = ticks.tick() => print(options.output, &load.snapshot(), &load.window(window))?,
        }
    }
    let report = load.stop().await;
    print(options.output, &report, &report.total)?;
    if report.total.lost > 0 {
        print_losses(options.output, &report)?;
        std::process::exit(1);
    }
    Ok(())
}

fn print(output: Output, report: &Report, window: &Counts) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(&Line { report, window })?)?,
        Output::Human => write_human(&mut out, report, window)?,
    }
    Ok(out.flush()?)
}

/// For example `  12s  sent 2400  lost 0  | v1 90.0% p95 12ms errors 0.0% | late 2ms`.
fn write_human(out: &mut impl Write, report: &Report, window: &Counts) -> std::io::Result<()> {
    let total = &report.total;
    write!(out, "{:>4.0}s  sent {}", report.elapsed.as_secs_f64(), total.sent)?;
    write!(out, "  lost {}  retried {}", total.lost, total.retried)?;
    for (version, counts) in &window.by_version {
        let share = window.share(version) * 100.0;
        let errors = (1.0 - counts.success_rate()) * 100.0;
        let p95 = counts.latency.quantile(0.95).as_millis();
        write!(out, "  | {version} {share:.1}% p95 {p95}ms errors {errors:.1}%")?;
    }
    writeln!(out, "  | late {}ms", window.max_lateness.as_millis())
}

/// The first losses; JSON lines hold them already.
fn print_losses(output: Output, report: &Report) -> anyhow::Result<()> {
    if let Output::Json = output {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    for lost in &report.first_lost {
        writeln!(out, "      lost at {}: {}", lost.at, lost.cause)?;
    }
    Ok(out.flush()?)
}
