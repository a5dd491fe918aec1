//! Runs seeds and says which break a rule.

mod report;

use clap::Parser;
use headgate_sim::campaign::{self, Campaign};
use headgate_sim::coverage::pairs;
use headgate_sim::effect::strikes;
use headgate_sim::simulation::seconds_since_start;
use headgate_sim::{Defect, Outcome, Scenario, shrink};
use std::io::{Result, Write};
use std::process::ExitCode;
use std::time::Instant;

/// Worlds are JSON, and JSON is many small allocations: three times as fast as glibc's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the driver in a virtual cluster that breaks on purpose, one world for each seed.
#[derive(Parser)]
#[command(name = "headgate-sim")]
struct Args {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Threads; 0 is one for each core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Print every event (docs/simulator.md explains the lines)
    #[arg(long)]
    trace: bool,
    /// Leave out faults that a failure does not need
    #[arg(long)]
    shrink: bool,
    /// Fail when a possible pair of strategy, router, step, fault and act was not reached, or when no process has died at
    /// some kind of request; print which, and which pairs are impossible
    #[arg(long)]
    coverage: bool,
    /// Run with a defect made on purpose, by its name
    #[arg(long, value_parser = defect)]
    defect: Option<Defect>,
    /// Say of each defect made on purpose after how many seeds it is found; fail if one is not within `--seeds`
    #[arg(long)]
    defects: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = std::io::stdout().lock();
    match work(&args, &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        // Failures; or whoever reads has stopped reading.
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

fn defect(name: &str) -> std::result::Result<Defect, String> {
    Defect::named(name).ok_or_else(|| format!("one of {:?}", Defect::ALL))
}

fn work(args: &Args, out: &mut impl Write) -> Result<bool> {
    let started = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if args.threads == 0 { cores } else { args.threads };
    let seeds = args.first..args.first.saturating_add(args.seeds);
    if args.defects {
        return report::defects(&seeds, threads, out);
    }
    let defect = args.defect.unwrap_or_default();
    let (mut said, mut is_first) = (Ok(()), true);
    let campaign = campaign::run_all(seeds, threads, defect, |outcome| {
        if said.is_ok() {
            said = report(outcome, defect, args, out);
        }
        if said.is_ok() && !outcome.violations.is_empty() && std::mem::take(&mut is_first) && !args.trace {
            said = last_lines(outcome.seed, defect, out);
        }
    });
    said?;
    let (failed, took) = (campaign.failed.len(), started.elapsed().as_secs_f64());
    let Campaign { seeds, requests, lost, .. } = campaign;
    let rate = seeds as f64 / took.max(0.001);
    writeln!(
        out,
        "{seeds} seeds, {failed} failed, {took:.1} s on {threads} threads, {rate:.1} seeds/s, {requests} requests; clients \
         lost {} of theirs, {} of them forced by faults",
        lost.all, lost.forced
    )?;
    let is_covered = covered(&campaign, args.coverage, out)?;
    Ok(failed == 0 && (is_covered || !args.coverage))
}

fn report(outcome: &Outcome, defect: Defect, args: &Args, out: &mut impl Write) -> Result<()> {
    let shrunk = (args.shrink && !outcome.violations.is_empty())
        .then(|| shrink(&Scenario::new(outcome.seed), defect))
        .flatten();
    if let Some((smaller, _)) = &shrunk {
        let (fates, ambushes) = (&smaller.fates, &smaller.ambushes);
        writeln!(out, "shrunk to {:?} {:?} {fates:?} {ambushes:?}", smaller.focuses, smaller.disturbances)?;
        let (pruned, budget, webhooks) = (smaller.pruned, &smaller.budget, &smaller.webhooks);
        writeln!(
            out,
            "  in a world with pruned {pruned:?}, {budget:?}, webhooks {webhooks:?}, versions {:?}, faults from the start: {}",
            smaller.health, smaller.from_the_start
        )?;
    }
    let outcome = shrunk.as_ref().map_or(outcome, |(_, smallest)| smallest);
    if args.trace {
        let scenario =
            shrunk.as_ref().map_or_else(|| Scenario::new(outcome.seed), |(smaller, _)| smaller.clone());
        for line in headgate_sim::trace(scenario, defect).trace.lines() {
            writeln!(out, "{line}")?;
        }
    }
    for violation in &outcome.violations {
        let at = seconds_since_start(violation.at).as_secs();
        writeln!(out, "seed {} at {at} s: {}: {}", outcome.seed, violation.rule, violation.message)?;
    }
    if !outcome.violations.is_empty() && !args.trace {
        let broken = args.defect.map_or(String::new(), |defect| format!(" --defect {defect:?}"));
        writeln!(
            out,
            "  again: cargo xtask sim --first {} --seeds 1 --shrink --trace{broken}",
            outcome.seed
        )?;
    }
    out.flush()
}

/// The end of the trace of a seed: who reads a log that others have made sees what led to the violation.
fn last_lines(seed: u64, defect: Defect, out: &mut impl Write) -> Result<()> {
    const LINES: usize = 40;
    const CHARACTERS: usize = 300;
    let trace = headgate_sim::trace(Scenario::new(seed), defect).trace;
    let lines = trace.lines();
    for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
        writeln!(out, "  {}", line.chars().take(CHARACTERS).collect::<String>())?;
    }
    out.flush()
}

/// Says what was reached, and in detail what was not; true when all that is possible was.
fn covered(campaign: &Campaign, in_detail: bool, out: &mut impl Write) -> Result<bool> {
    let impossible = campaign::impossible_pairs();
    let (missed, surprising) = (campaign.missed(), campaign.surprising());
    let not_struck = campaign.not_struck();
    if in_detail {
        for (reason, pairs) in &impossible {
            let pairs: Vec<_> = pairs.iter().map(|(one, other)| format!("{one} with {other}")).collect();
            writeln!(out, "impossible, as {reason}: {}", pairs.join(", "))?;
        }
        for (one, other) in &missed {
            writeln!(out, "never reached: {one} with {other}")?;
        }
        for (effect, fault) in &not_struck {
            writeln!(out, "never struck: {effect:?} by {fault:?}")?;
        }
    }
    for (one, other) in &surprising {
        writeln!(out, "reached although it is said to be impossible: {one} with {other}")?;
    }
    let impossible: usize = impossible.values().map(Vec::len).sum();
    let possible = pairs().len() - impossible;
    let strikes = strikes().count();
    writeln!(
        out,
        "pairs: {possible} possible, {} reached; {impossible} impossible; ends of a process at a kind of request: {} of \
         {strikes}",
        possible - missed.len(),
        strikes - not_struck.len()
    )?;
    Ok(missed.is_empty() && surprising.is_empty() && not_struck.is_empty())
}
