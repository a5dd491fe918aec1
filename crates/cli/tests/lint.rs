//! `lint`, as people and pipelines run it: what is printed, and the exit code.
#![cfg(test)]

mod program;

use program::{error, out};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// In the folder of the manifests.
fn lint(arguments: &[&str]) -> Output {
    with_input(arguments, "")
}

fn with_input(arguments: &[&str], input: &str) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    program::run("lint", arguments, &folder, input)
}

/// What is printed and the exit code, as one text.
fn told(run: &Output) -> String {
    format!("{}exit code {}", out(run), run.status.code().unwrap())
}

#[test]
fn names_and_values_that_are_written_wrong_are_named_with_what_was_meant() {
    insta::assert_snapshot!("lint_typing_errors", told(&lint(&["-f", "typing-errors.yaml"])));
}

#[test]
fn values_that_hardly_say_what_was_meant_are_warnings_that_say_what_they_count_as() {
    insta::assert_snapshot!("lint_odd_values", told(&lint(&["-f", "odd-values.yaml"])));
}

#[test]
fn what_a_rollout_names_is_looked_for_among_the_files() {
    insta::assert_snapshot!("lint_references", told(&lint(&["-f", "references.yaml"])));
}

#[test]
fn a_query_that_does_not_see_the_canary_is_a_warning_that_says_what_it_takes_to_trip_it() {
    insta::assert_snapshot!("lint_blind", told(&lint(&["-f", "nested/blind.yaml"])));
}

#[test]
fn warnings_fail_a_strict_check_only() {
    assert_eq!(lint(&["-f", "nested"]).status.code(), Some(0));
    assert_eq!(lint(&["-f", "nested", "--strict"]).status.code(), Some(1));
}

#[test]
fn the_examples_of_the_docs_are_clean() {
    let run = lint(&["-R", "-f", "../../../../docs/examples", "--strict"]);
    assert_eq!(run.status.code(), Some(0), "{}", out(&run));
    assert!(out(&run).ends_with(" objects: nothing to mend\n"), "{}", out(&run));
}

#[test]
fn folders_are_read_flat_unless_they_are_to_be_read_as_trees() {
    let files = |arguments: &[&str]| {
        let report: Value = serde_json::from_slice(&lint(arguments).stdout).unwrap();
        let mut files: Vec<String> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["file"].as_str().unwrap().to_owned())
            .collect();
        files.dedup();
        files
    };
    assert_eq!(
        files(&["-f", ".", "-o", "json"]),
        ["./odd-values.yaml", "./references.yaml", "./typing-errors.yaml"]
    );
    assert_eq!(
        files(&["-R", ".", "-o", "json"]),
        ["./nested/blind.yaml", "./odd-values.yaml", "./references.yaml", "./typing-errors.yaml"]
    );
}

#[test]
fn data_and_standard_input_are_for_pipelines() {
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout", "metadata": {"name": "shop"}, "spec": {"strategy": {"canary": {"stepz": []}}}}]}"#;
    let run = with_input(&["-f", "-", "-o", "json"], list);
    assert_eq!(run.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let first = &report["findings"][0];
    assert_eq!(
        (&first["severity"], &first["file"], &first["kind"]),
        (&"error".into(), &"-".into(), &"Rollout".into())
    );
    assert_eq!(first["field"], "spec.strategy.canary.stepz");
    assert_eq!((&report["objects"], &report["errors"]), (&1.into(), &2.into()), "{report}");
}

#[test]
fn what_cannot_be_read_or_holds_nothing_to_check_is_exit_code_2() {
    let missing = lint(&["-f", "nowhere.yaml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(error(&missing).contains("can't read 'nowhere.yaml'"), "{}", error(&missing));
    let broken = with_input(&["-f", "-"], "a: [b");
    assert_eq!(broken.status.code(), Some(2));
    assert!(error(&broken).contains("'-' is neither YAML nor JSON"), "{}", error(&broken));
    let other = with_input(&["-f", "-"], "apiVersion: v1\nkind: Service\nmetadata: {name: shop}");
    assert_eq!(other.status.code(), Some(2));
    assert!(error(&other).contains("no Rollout"), "{}", error(&other));
    assert_eq!(lint(&[]).status.code(), Some(2));
}
