//! `simulate`, as people and pipelines run it: what is printed, and the exit code.
#![cfg(test)]

mod program;

use program::{error, out};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/canary-istio")
}

fn simulate(arguments: &[&str]) -> Output {
    with_input(arguments, "")
}

fn with_input(arguments: &[&str], input: &str) -> Output {
    program::run("simulate", arguments, Path::new(env!("CARGO_MANIFEST_DIR")), input)
}

fn of_example(arguments: &[&str]) -> Output {
    simulate(&[&["-f", example().to_str().unwrap()], arguments].concat())
}

/// The example with one text in place of another.
fn of_changed([from, to]: [&str; 2], arguments: &[&str]) -> Output {
    let changed = std::fs::read_dir(example()).unwrap().map(|file| {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        text.replace(from, to)
    });
    let text = changed.collect::<Vec<_>>().join("\n---\n");
    with_input(&[&["-f", "-"], arguments].concat(), &text)
}

#[test]
fn a_good_release_is_a_table_and_exit_code_0() {
    let run = of_example(&["--traffic", "200/s", "-n", "shop"]);
    assert_eq!(run.status.code(), Some(0));
    insta::assert_snapshot!("simulate_good", out(&run));
}

#[test]
fn a_bad_release_is_exit_code_1() {
    let run = of_example(&["--metric", "success-rate=0.7"]);
    assert_eq!(run.status.code(), Some(1));
    let text = out(&run);
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("✖ would abort after 25s at step 4/9, weight 25: RolloutAborted: "), "{last}");
}

#[test]
fn a_release_that_waits_for_a_person_is_exit_code_0() {
    let run = of_changed(["pause: {duration: 15s}", "pause: {}"], &["--promote-after", "never"]);
    assert_eq!(run.status.code(), Some(0));
    let text = out(&run);
    assert!(text.ends_with("weight 10: the pause of step 2 ends when a user promotes\n"), "{text}");
}

#[test]
fn a_release_that_stops_until_somebody_looks_is_exit_code_1() {
    let pauses = ["startingStep: 1", "startingStep: 1\n        onFailure: pause"];
    let run = of_changed(pauses, &["--metric", "success-rate=0.7"]);
    assert_eq!(run.status.code(), Some(1));
    let text = out(&run);
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("✖ would stop after "), "{last}");
    assert!(last.contains(", until somebody looks, at step 4/9, weight 25: AnalysisRun "), "{last}");
}

#[test]
fn data_is_what_scripts_read() {
    let run = of_example(&["-o", "json", "--metric", "success-rate=0.7"]);
    let data: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!((&data["verdict"], &data["rollout"]["name"]), (&"aborted".into(), &"shop".into()));
    let yaml = of_example(&["-o", "yaml"]);
    assert!(out(&yaml).contains("verdict: promoted\n"), "{}", out(&yaml));
}

#[test]
fn what_cannot_be_tried_is_exit_code_2_and_says_why() {
    let rollout = example().join("4-rollout.yaml");
    let missing = simulate(&["-f", rollout.to_str().unwrap()]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(error(&missing).contains("AnalysisTemplate \"success-rate\""), "{}", error(&missing));
    let no_file = simulate(&["-f", "/nowhere/rollout.yaml"]);
    assert_eq!(no_file.status.code(), Some(2));
    assert!(error(&no_file).contains("can't read '/nowhere/rollout.yaml'"), "{}", error(&no_file));
    let fault = of_example(&["--fault", "flood@1s"]);
    assert_eq!(fault.status.code(), Some(2));
    assert!(error(&fault).contains("crash@60s"), "{}", error(&fault));
}
