//! Each defect made on purpose is found, by the rule that it breaks, within a few seeds. The report
//! (`headgate-sim --defects --seeds 2000`) says by which seed; what takes too many seeds for a test stands in [`RARE`].

#![expect(
    clippy::panic,
    reason = "a test fails by panicking; clippy.toml excuses functions marked as tests only"
)]

use headgate_sim::{Defect, Scenario, run};

/// No more seeds than these are tried in a test.
const SEEDS_MAX: u64 = 80;

/// Defects that need many worlds: each needs a chain of rare events. Only the report looks for them.
const RARE: [Defect; 6] = [
    // An analysis that is held for, has failed, and is waited for by nobody who goes on past it.
    Defect::HoldTakenForSuccess,
    // Another router in the spec in the middle of a release, and nobody who puts the one before back.
    Defect::FormerRouterForgotten,
    // Somebody else scales a ReplicaSet between a look and a write.
    Defect::TestsIgnored,
    // Pods flap, several times within one step.
    Defect::DeadlineResetByFlapping,
    // An abort while stable cannot bear everything yet, or while the canary had been given nothing.
    Defect::AbortForgetsServices,
    // A provider is away just while an analysis measures.
    Defect::OutageTakenForFailure,
];

/// Looks for these defects and says which rules have noticed them.
fn find(defects: &[Defect]) {
    for defect in defects.iter().filter(|defect| !RARE.contains(defect)) {
        let violation = |seed| run(Scenario::new(seed), *defect).violations.into_iter().next();
        let found = (1..=SEEDS_MAX).find_map(violation);
        let found = found.unwrap_or_else(|| panic!("{defect:?} is not found within {SEEDS_MAX} seeds"));
        assert!(defect.breaks().contains(&found.rule), "{defect:?} is noticed by {found:?}");
    }
}

/// A quarter of all defects, so that tests run beside each other.
fn quarter(number: usize) -> Vec<Defect> {
    Defect::ALL.into_iter().skip(number).step_by(4).collect()
}

#[test]
fn the_first_quarter_of_the_defects_is_found() {
    find(&quarter(0));
}

#[test]
fn the_second_quarter_of_the_defects_is_found() {
    find(&quarter(1));
}

#[test]
fn the_third_quarter_of_the_defects_is_found() {
    find(&quarter(2));
}

#[test]
fn the_last_quarter_of_the_defects_is_found() {
    find(&quarter(3));
}

#[test]
fn every_defect_has_a_name_by_which_it_can_be_asked_for() {
    for defect in Defect::ALL {
        assert_eq!(Defect::named(&format!("{defect:?}")), Some(defect));
    }
    assert_eq!(Defect::named("None"), None);
}
