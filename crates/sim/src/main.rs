//! Runs seeds and says which break a rule.

use clap::Parser;
use headgate_sim::simulation::seconds_since_start;
use headgate_sim::{Defect, Outcome, Scenario, run, shrink};
use std::io::Write;
use std::process::ExitCode;

/// Runs the simulator.
#[derive(Parser)]
#[command(name = "headgate-sim")]
struct Args {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Print every event
    #[arg(long)]
    trace: bool,
    /// Leave out faults that a failure does not need
    #[arg(long)]
    shrink: bool,
    /// Run with a defect made on purpose: its place in the list, from 1
    #[arg(long)]
    defect: Option<usize>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = std::io::stdout().lock();
    match work(&args, &mut out) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        // Whoever reads has stopped reading.
        Err(_) => ExitCode::FAILURE,
    }
}

fn work(args: &Args, out: &mut impl Write) -> std::io::Result<u64> {
    let started = std::time::Instant::now();
    let mut failed = 0;
    let place = args.defect.and_then(|place| place.checked_sub(1));
    let defect = place.and_then(|place| Defect::ALL.get(place).copied()).unwrap_or_default();
    for seed in args.first..args.first.saturating_add(args.seeds) {
        let scenario = Scenario::new(seed);
        let mut outcome = run(scenario.clone(), defect);
        if !outcome.violations.is_empty() {
            failed += 1;
            if args.shrink
                && let Some((smaller, smallest)) = shrink(&scenario, defect)
            {
                writeln!(out, "shrunk to {:?} {:?}", smaller.disturbances, smaller.fates)?;
                outcome = smallest;
            }
        }
        report(&outcome, args, out)?;
    }
    let took = started.elapsed().as_secs_f64();
    let rate = args.seeds as f64 / took.max(0.001);
    writeln!(out, "{} seeds, {failed} failed, {took:.1} s, {rate:.1} seeds/s", args.seeds)?;
    Ok(failed)
}

fn report(outcome: &Outcome, args: &Args, out: &mut impl Write) -> std::io::Result<()> {
    if args.trace {
        for line in outcome.trace.lines() {
            writeln!(out, "{line}")?;
        }
    }
    for violation in &outcome.violations {
        let at = seconds_since_start(violation.at).as_secs();
        writeln!(out, "seed {} at {at} s: {}: {}", outcome.seed, violation.rule, violation.message)?;
    }
    if !outcome.violations.is_empty() && !args.trace {
        writeln!(out, "  again: cargo xtask sim --first {} --seeds 1 --trace", outcome.seed)?;
    }
    Ok(())
}
