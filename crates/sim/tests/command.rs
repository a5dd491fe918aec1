//! The program itself: when a run fails, and what it says then.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy.toml excuses functions marked as tests only"
)]

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headgate-sim")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_seed_that_breaks_a_rule_fails_the_run_and_says_how_to_run_it_again() {
    let output = sim(&["--first", "1", "--seeds", "5", "--defect", "NoFence"]);
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    let seed = said.lines().find_map(|line| line.strip_prefix("seed ")?.split(' ').next()).unwrap();
    let again = format!("again: cargo xtask sim --first {seed} --seeds 1 --shrink --trace --defect NoFence");
    assert!(said.contains(&again), "{again:?} is not in {said}");
}

#[test]
fn a_run_says_how_many_requests_clients_have_lost_and_that_faults_have_forced_it() {
    let said = said(&sim(&["--first", "1", "--seeds", "5"]));
    let lost = said.lines().find_map(|line| Some(line.split_once(" requests; clients lost ")?.1));
    let (all, forced) = lost.and_then(|lost| lost.split_once(" of theirs, ")).unwrap();
    assert_ne!(all, "0", "{said}");
    assert_eq!(forced, format!("{all} of them forced by faults"), "{said}");
}

#[test]
fn a_pair_that_no_seed_reaches_fails_a_run_that_asks_for_coverage_and_no_other() {
    let output = sim(&["--first", "1", "--seeds", "1"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = sim(&["--first", "1", "--seeds", "1", "--coverage"]);
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    for line in ["never reached: ", "never struck: ", "impossible, as "] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line:?} is missing:\n{said}");
    }
}

#[test]
fn a_defect_that_no_seed_finds_fails_the_report_and_so_does_a_rule_that_finds_none() {
    let output = sim(&["--defects", "--seeds", "0"]);
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("NOT FOUND in 0 seeds"), "{said}");
    assert!(said.contains("R1 fence: the checker has found no defect by itself"), "{said}");
}
