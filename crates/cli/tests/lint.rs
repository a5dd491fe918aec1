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

/// The Rollout `shop` with the template of a Deployment, this as its canary strategy, and what it names.
fn referring(canary: &str, more: &[&str]) -> String {
    let rollout = format!(
        "apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: shop}}
spec: {{workloadRef: {{apiVersion: apps/v1, kind: Deployment, name: shop}}, strategy: {{canary: {canary}}}}}"
    );
    std::iter::once(rollout.as_str()).chain(more.iter().copied()).collect::<Vec<_>>().join("\n---\n")
}

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template: {metadata: {labels: {app: shop, version: '1'}}, spec: {containers: [{name: app, image: shop:1}]}}";

const SEES_CANARY: &str = "apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: sees}
spec:
  args: [{name: version}]
  metrics: [{name: up, provider: {prometheus: {address: http://prometheus, query: 'up{version=\"{{args.version}}\"}'}}}]";

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: shop-canary}
spec: {selector: {app: shop, role: any}}";

#[test]
fn of_a_rollout_whose_workload_is_elsewhere_all_but_its_template_is_checked() {
    let canary = "{steps: [{setWeight: 101}]}";
    let told_of = |canary: &str, more: &[&str]| told(&with_input(&["-f", "-"], &referring(canary, more)));
    insta::assert_snapshot!(told_of(canary, &[]), @r#"
    -: Rollout shop: warning: spec.workloadRef.name: Deployment "shop" is not among the files: if the cluster does not have it, no release begins
    -: Rollout shop: error: spec.strategy.canary.steps[0].setWeight: Invalid value: 101: SetWeight needs to be between 0 and 100
    1 object: 1 error, 1 warning
    exit code 1
    "#);
    let canary = "{canaryService: shop-canary, stableService: shop-stable, stableMetadata: {labels: {role: stable}},
      trafficRouting: {istio: {virtualService: {name: shop}}},
      analysis: {templates: [{templateName: sees}], args: [{name: version, valueFrom: {fieldRef: {fieldPath: spec.template.metadata.labels.version}}}]},
      steps: [{analysis: {templates: [{templateName: nowhere}]}}]}";
    insta::assert_snapshot!(told_of(canary, &[SERVICE, SEES_CANARY]), @r#"
    -: Rollout shop: warning: spec.workloadRef.name: Deployment "shop" is not among the files: if the cluster does not have it, no release begins
    -: Rollout shop: error: spec.strategy.canary.stableMetadata.labels[role]: Invalid value: "stable": Service "shop-canary" selects pods by this label, so that pods with it would get no traffic: use another key, or change the Service's selector
    -: Rollout shop: warning: spec.strategy.canary.stableService: Service "shop-stable" is not among the files: if the cluster does not have it, no release begins
    -: Rollout shop: warning: spec.strategy.canary.trafficRouting.istio.virtualService.name: VirtualService "shop" is not among the files: if the cluster does not have it, no release begins
    -: Rollout shop: warning: spec.strategy.canary.steps[0].analysis.templates: AnalysisTemplate "nowhere" is not among the files: if the cluster does not have it, no release begins
    2 objects: 1 error, 4 warnings
    exit code 1
    "#);
}

#[test]
fn an_argument_may_come_from_the_template_of_a_workload() {
    let canary = "{analysis: {templates: [{templateName: sees}], args: [{name: version, valueFrom: {fieldRef: {fieldPath: \"spec.template.metadata.labels.version\"}}}]}}";
    let run = with_input(&["-f", "-", "--strict"], &referring(canary, &[DEPLOYMENT, SEES_CANARY]));
    assert_eq!(told(&run), "2 objects: nothing to mend\nexit code 0");
    let nowhere = canary.replace("labels.version", "labels.revision");
    let run = with_input(&["-f", "-"], &referring(&nowhere, &[DEPLOYMENT, SEES_CANARY]));
    assert!(out(&run).contains("leads nowhere: the Rollout has no \"revision\" there"), "{}", out(&run));
}

#[test]
fn of_several_routes_each_is_judged_whatever_the_others_are() {
    let canary = "{canaryService: shop-canary, stableService: shop-canary-not,
      trafficRouting: {istio: {virtualServices: [{name: elsewhere}, {name: shop, routes: [first]}]}}}";
    let route = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec: {http: [{name: primary}]}";
    let run = with_input(&["-f", "-"], &referring(canary, &[DEPLOYMENT, route]));
    let of_routes: Vec<String> =
        out(&run).lines().filter(|line| line.contains("virtualServices")).map(str::to_owned).collect();
    insta::assert_snapshot!(of_routes.join("\n"), @r#"
    -: Rollout shop: warning: spec.strategy.canary.trafficRouting.istio.virtualServices[0].name: VirtualService "elsewhere" is not among the files: if the cluster does not have it, no release begins
    -: Rollout shop: error: spec.strategy.canary.trafficRouting.istio.virtualServices[1].routes: Invalid value: VirtualService "shop" in namespace "default" has no http route named "first": add it, or correct the name
    "#);
}

#[test]
fn a_metric_that_cannot_be_measured_is_a_warning_where_it_runs_dry() {
    let template = |dry_run: &str| {
        format!(
            "apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {{name: tried}}
spec:
  {dry_run}
  metrics:
  - {{name: up, provider: {{datadog: {{query: up}}}}}}
  - {{name: down, provider: {{prometheus: {{address: http://prometheus, query: down}}}}}}"
        )
    };
    for (dry_run, severity, code) in [
        ("dryRun: [{metricName: up}]", "warning", 0),
        ("dryRun: [{metricName: .*}]", "warning", 0),
        ("dryRun: [{metricName: down}]", "error", 1),
        ("args: []", "error", 1),
    ] {
        let run = with_input(&["-f", "-"], &template(dry_run));
        let start = format!("-: AnalysisTemplate tried: {severity}: spec.metrics[0]: metric \"up\": ");
        assert!(out(&run).starts_with(&start), "{dry_run}: {}", out(&run));
        assert_eq!(run.status.code(), Some(code), "{dry_run}: {}", out(&run));
    }
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
