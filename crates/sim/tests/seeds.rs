//! Fixed seeds hold; the same seed tells the same story; defects made on purpose are found.

use headgate_sim::{Defect, Scenario, run, shrink};

/// Runs seeds and says how to see the first that fails.
fn hold(seeds: std::ops::RangeInclusive<u64>) {
    for seed in seeds {
        let outcome = run(Scenario::new(seed), Defect::None);
        let first = outcome.violations.first();
        assert!(first.is_none(), "{first:#?}\nagain: cargo xtask sim --first {seed} --seeds 1 --trace");
    }
}

#[test]
fn the_first_seeds_hold() {
    hold(1..=20);
}

#[test]
fn the_next_seeds_hold() {
    hold(21..=40);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in [4, 27] {
        let lines = |outcome: headgate_sim::Outcome| outcome.trace.lines().join("\n");
        let first = lines(run(Scenario::new(seed), Defect::None));
        assert_eq!(first, lines(run(Scenario::new(seed), Defect::None)));
        assert!(first.lines().count() > 50, "something happens:\n{first}");
    }
}

/// The first seed that finds a defect.
fn found(defect: Defect, seeds_max: u64) -> (u64, &'static str) {
    let first = |seed: u64| Some((seed, run(Scenario::new(seed), defect).violations.first()?.rule));
    let found = (1..=seeds_max).find_map(first);
    found.unwrap_or_else(|| panic!("{defect:?} is not found within {seeds_max} seeds"))
}
