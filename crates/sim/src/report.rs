//! After how many seeds each defect made on purpose is found by the rule that it breaks.

use headgate_sim::checkers::RULES;
use headgate_sim::{Defect, Scenario, run, run_heeding};
use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

/// A defect, and the one rule that has to find it; any of those that it breaks where none is named.
#[derive(Clone, Copy)]
struct Task {
    defect: Defect,
    alone: Option<&'static str>,
}

impl Task {
    /// Whether the defect is found by what breaks this rule: what another one notices, or a panic, says nothing of the one that
    /// should.
    fn is_met_by(self, rule: &str) -> bool {
        match self.alone {
            Some(alone) => alone == rule,
            None => self.defect.breaks().contains(&rule),
        }
    }
}

/// What came of it.
struct Finding {
    task: Task,
    /// The first seed that finds it, and the rule that it breaks.
    found: Option<(u64, &'static str, String)>,
    /// How many seeds were run, and for how many seconds.
    tried: u32,
    took: f64,
}

/// Looks for all defects, each in these seeds, one after the other until one finds it; a line for each. True when all
/// were found, and each rule has found one.
pub(crate) fn defects(seeds: &Range<u64>, threads: usize, out: &mut impl Write) -> std::io::Result<bool> {
    let all = Defect::ALL.into_iter().map(|defect| Task { defect, alone: None });
    let alone = Defect::ALONE.into_iter().map(|(rule, defect)| Task { defect, alone: Some(rule) });
    let tasks: Vec<Task> = all.chain(alone).collect();
    let next = AtomicUsize::new(0);
    let (sender, findings) = channel();
    let (mut missed, mut finders) = (0, BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, tasks) = (sender.clone(), &next, &tasks);
            scope.spawn(move || look(tasks, next, seeds.clone(), &sender));
        }
        drop(sender);
        for finding in findings {
            missed += u64::from(finding.found.is_none());
            finders.extend(finding.found.iter().map(|(_, rule, _)| *rule));
            print(&finding, out)?;
        }
        Ok::<(), std::io::Error>(())
    })?;
    let idle: Vec<&str> = RULES.into_iter().filter(|rule| !finders.contains(rule)).collect();
    for rule in &idle {
        writeln!(out, "{rule}: the checker has found no defect by itself")?;
    }
    let count = seeds.end.saturating_sub(seeds.start);
    writeln!(
        out,
        "{} defects, {missed} not found within {count} seeds; {} of {} rules have found one",
        Defect::ALL.len(),
        RULES.len() - idle.len(),
        RULES.len()
    )?;
    Ok(missed == 0 && idle.is_empty())
}

/// Takes one defect after the other until none is left.
fn look(tasks: &[Task], next: &AtomicUsize, seeds: Range<u64>, findings: &Sender<Finding>) {
    while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
        let started = Instant::now();
        let mut tried = 0;
        let found = seeds.clone().find_map(|seed| {
            tried += 1;
            let outcome = match task.alone {
                Some(rule) => run_heeding(Scenario::new(seed), task.defect, rule),
                None => run(Scenario::new(seed), task.defect),
            };
            let violation = outcome.violations.into_iter().next()?;
            // What is wrong anyway is not found because of the defect.
            if !task.is_met_by(violation.rule)
                || !run(Scenario::new(seed), Defect::None).violations.is_empty()
            {
                return None;
            }
            Some((seed, violation.rule, violation.message))
        });
        let took = started.elapsed().as_secs_f64().max(0.001);
        if findings.send(Finding { task, found, tried, took }).is_err() {
            // Whoever reads has stopped reading.
            return;
        }
    }
}

fn print(finding: &Finding, out: &mut impl Write) -> std::io::Result<()> {
    let Finding { task, found, tried, took } = finding;
    let rate = f64::from(*tried) / took;
    let name = format!("{:?}{}", task.defect, task.alone.map_or("", |_| " (alone)"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_sim::checkers::PANIC;

    #[test]
    fn a_defect_is_found_by_a_rule_that_it_breaks_and_not_by_a_panic() {
        for (rule, defect) in Defect::ALONE {
            let alone = Task { defect, alone: Some(rule) };
            assert!(alone.is_met_by(rule), "{rule}");
            assert!(!alone.is_met_by("waits") && !alone.is_met_by(PANIC), "{rule}");
        }
        for defect in Defect::ALL {
            let task = Task { defect, alone: None };
            assert!(defect.breaks().iter().all(|rule| task.is_met_by(rule)), "{defect:?}");
            assert!(!task.is_met_by(PANIC), "{defect:?}");
        }
    }
}
