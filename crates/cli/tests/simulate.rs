//! `simulate`, as people and pipelines run it: what is printed, and the exit code.
#![cfg(test)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/canary-istio")
}

/// Runs the plugin without a kubeconfig: no cluster is asked.
fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-headgate"));
    command
        .arg("simulate")
        .args(arguments)
        .env("KUBECONFIG", "/nowhere")
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn of_example(arguments: &[&str]) -> Output {
    simulate(&[&["-f", example().to_str().unwrap()], arguments].concat())
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
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
    let folder = std::env::temp_dir().join(format!("headgate-simulate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for file in std::fs::read_dir(example()).unwrap() {
        let file = file.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap().replace("pause: {duration: 15s}", "pause: {}");
        std::fs::write(folder.join(file.file_name().unwrap()), text).unwrap();
    }
    let run = simulate(&["-f", folder.to_str().unwrap(), "--promote-after", "never"]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(run.status.code(), Some(0));
    let text = out(&run);
    assert!(text.ends_with("weight 10: the pause of step 2 ends when a user promotes\n"), "{text}");
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
