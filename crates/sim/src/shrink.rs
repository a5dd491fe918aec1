//! Leaves out faults that a failure does not need, so that its trace is short.

use crate::defects::Defect;
use crate::scenario::Scenario;
use crate::simulation::{Outcome, run};
use std::collections::BTreeSet;

/// The smallest scenario that this finds which still breaks the same rule, and what comes of it: faults, and what lasts as
/// long as the world, are left out in halves, then quarters, then one by one until none can be left out any more.
pub fn shrink(scenario: &Scenario, defect: Defect) -> Option<(Scenario, Outcome)> {
    let rule = run(scenario.clone(), defect).violations.first()?.rule;
    let still_fails = |without: &BTreeSet<usize>| {
        let outcome = run(scenario.without(without), defect);
        outcome.violations.first().is_some_and(|violation| violation.rule == rule).then_some(outcome)
    };
    let mut left_out = BTreeSet::new();
    let mut size = scenario.pieces().div_ceil(2).max(1);
    loop {
        let before = left_out.len();
        let kept: Vec<usize> = (0..scenario.pieces()).filter(|number| !left_out.contains(number)).collect();
        for chunk in kept.chunks(size) {
            let attempt: BTreeSet<usize> = left_out.iter().chain(chunk).copied().collect();
            if still_fails(&attempt).is_some() {
                left_out = attempt;
            }
        }
        if size == 1 && left_out.len() == before {
            break;
        }
        size = size.div_ceil(2);
    }
    let outcome = still_fails(&left_out)?;
    Some((scenario.without(&left_out), outcome))
}
