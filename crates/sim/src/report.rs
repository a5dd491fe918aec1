//! After how many seeds each defect made on purpose is found by the rule that it breaks.

use headgate_sim::{Defect, Scenario, run};
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

/// What came of a defect.
struct Finding {
    defect: Defect,
    /// The first seed that finds it, and the rule that it breaks.
    found: Option<(u64, &'static str, String)>,
    /// How many seeds were run, and for how many seconds.
    tried: u32,
    took: f64,
}

/// Looks for all defects, each in these seeds, one after the other until one finds it; a line for each. True when all
/// were found.
pub(crate) fn defects(seeds: &Range<u64>, threads: usize, out: &mut impl Write) -> std::io::Result<bool> {
    let next = AtomicUsize::new(0);
    let (sender, findings) = channel();
    let mut missed = 0;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || look(next, seeds.clone(), &sender));
        }
        drop(sender);
        for finding in findings {
            missed += u64::from(finding.found.is_none());
            print(&finding, out)?;
        }
        Ok::<(), std::io::Error>(())
    })?;
    let count = seeds.end.saturating_sub(seeds.start);
    writeln!(out, "{} defects, {missed} not found within {count} seeds", Defect::ALL.len())?;
    Ok(missed == 0)
}

/// Takes one defect after the other until none is left.
fn look(next: &AtomicUsize, seeds: Range<u64>, findings: &Sender<Finding>) {
    while let Some(defect) = Defect::ALL.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
        let started = Instant::now();
        let mut tried = 0;
        let found = seeds.clone().find_map(|seed| {
            tried += 1;
            let violation = run(Scenario::new(seed), defect).violations.into_iter().next()?;
            // What another rule notices says nothing of the one that should; what is wrong anyway is not found because
            // of the defect.
            if !defect.breaks().contains(&violation.rule)
                || !run(Scenario::new(seed), Defect::None).violations.is_empty()
            {
                return None;
            }
            Some((seed, violation.rule, violation.message))
        });
        let took = started.elapsed().as_secs_f64().max(0.001);
        if findings.send(Finding { defect, found, tried, took }).is_err() {
            // Whoever reads has stopped reading.
            return;
        }
    }
}

fn print(finding: &Finding, out: &mut impl Write) -> std::io::Result<()> {
    let Finding { defect, found, tried, took } = finding;
    let rate = f64::from(*tried) / took;
    let name = format!("{defect:?}");
    match found {
        Some((seed, rule, message)) => {
            writeln!(
                out,
                "{name:<26} after {tried:>4} seeds ({rate:>6.1}/s) by seed {seed}: {rule}: {message}"
            )
        }
        None => writeln!(out, "{name:<26} NOT FOUND in {tried} seeds ({rate:.1}/s)"),
    }
}
