//! What CI runs, in parts with a time budget each, an hour in all: a part over its budget is reported.

use crate::process::{cargo, output, root, run};
use crate::{generate, gotypes, house, image, presets};
use anyhow::Context;
use clap::Args;
use headgate_lab::{Addon, Lab, Options};
use headgate_notify::Config;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Arguments that are handed on.
#[derive(Args)]
pub(crate) struct Passed {
    /// Handed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Args)]
pub(crate) struct E2eArgs {
    /// Watch for minutes where CI watches for one
    #[arg(long)]
    long: bool,
    #[command(flatten)]
    passed: Passed,
}

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Leave out the tests on a real cluster (they need root)
    #[arg(long)]
    no_e2e: bool,
}

/// Counts over all parts.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    minutes: Vec<(String, Duration, Duration)>,
}

/// The cluster that tests and demo use.
const LAB: &str = "ci";

/// Builds the lab's parts, and nothing else.
pub(crate) fn setup() -> anyhow::Result<()> {
    headgate_lab::tool("kubectl").map(|_| ())
}

/// Runs the demo: `crates` of the workspace are built first, as users get them.
pub(crate) fn demo(passed: &Passed) -> anyhow::Result<()> {
    image::build()?;
    let mut command = cargo(&["run", "--quiet", "--package", "headgate-e2e", "--bin", "demo", "--"]);
    run(command.args(&passed.arguments))
}

/// Format, clippy and the rules of the house.
pub(crate) fn lint() -> anyhow::Result<()> {
    format()?;
    clippy()?;
    house::check()
}

fn format() -> anyhow::Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> anyhow::Result<()> {
    run(everything("clippy").args(["--", "-D", "warnings"]))
}

/// Always of the whole workspace: with fewer packages, those from elsewhere would have other features, and be compiled
/// once more.
const WORKSPACE: [&str; 2] = ["--release", "--workspace"];

/// All targets, also the tests that run only when they are named.
fn everything(command: &str) -> Command {
    let mut cargo = cargo(&[command]);
    cargo.args(WORKSPACE).arg("--all-targets").args(named(&ON_A_CLUSTER)).args(named(&OF_THE_LAB));
    cargo
}

/// Tests that need a cluster.
const ON_A_CLUSTER: [&str; 1] = ["e2e"];

/// Tests that boot labs of their own.
const OF_THE_LAB: [&str; 2] = ["carries_traffic", "leaves_nothing_behind"];

fn named<'a>(tests: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    tests.iter().flat_map(|test| ["--test", test])
}

/// `cargo test` of what [`everything`] builds.
fn tests() -> Command {
    let mut cargo = cargo(&["test", "--no-fail-fast"]);
    cargo.args(WORKSPACE);
    cargo
}

/// Unit and property tests.
pub(crate) fn unit() -> anyhow::Result<()> {
    let mut tally = Tally::default();
    tally.tests(&mut tests());
    tally.close()
}

/// Seeds in the simulator, with optimisation: there are many.
pub(crate) fn sim(passed: &Passed) -> anyhow::Result<()> {
    let mut command = cargo(&["run", "--quiet", "--release", "--package", "headgate-sim", "--"]);
    run(command.args(&passed.arguments))
}

/// The tests on a real cluster.
pub(crate) fn e2e(args: &E2eArgs) -> anyhow::Result<()> {
    let mut tally = Tally::default();
    run(cargo(&["build"]).args(WORKSPACE).arg("--bins").args(named(&ON_A_CLUSTER)))?;
    image::pack()?;
    tally.e2e(&args.passed.arguments, args.long)?;
    tally.close()
}

/// Builds what only `--long` needs: in the lab's network no module can be fetched.
fn go_programs() -> anyhow::Result<()> {
    for program in ["argocd", "argorollouts"] {
        let mut go = Command::new("go");
        go.args(["build", "-buildvcs=false", "-trimpath", "-o", "/dev/null", "."]);
        go.current_dir(root().join("e2e").join(program)).env("CGO_ENABLED", "0").env("GOWORK", "off");
        run(&mut go)?;
    }
    Ok(())
}

/// Everything. Every part runs although an earlier one failed, so that one run tells all.
pub(crate) fn test(args: &TestArgs) -> anyhow::Result<()> {
    let mut tally = Tally::default();
    tally.part("lab builds", 15, |tally| tally.check("the lab's parts are built", setup));
    tally.part("Rust: format, clippy, builds", 15, |tally| {
        tally.check("the code is formatted", format);
        tally.check("clippy has nothing to say", clippy);
        tally.check("everything compiles", || run(&mut everything("build")));
        tally.check("the images are packed", image::pack);
    });
    tally.part("unit tests", 3, |tally| {
        tally.check("the rules of the house hold", house::check);
        tally.check("what is generated is up to date", || generate::run(true));
        tally.check("5,000 random templates hash as in Go", || gotypes::check_hash(5000, 1));
        tally.check("the alerts pass promtool", alerts);
        tally.check("the chart renders", chart);
        tally.check("the ready-made analysis templates tell good, bad, few and none apart", presets::check);
        tally.tests(&mut tests());
    });
    tally.part("simulator", 5, |tally| {
        tally.check("500 seeds hold and reach every possible pair", || simulated(&FIXED_SEEDS));
        tally.check("each defect made on purpose is found within 2,000 seeds", || {
            simulated(&["--defects", "--seeds", "2000"])
        });
        fresh_seeds();
    });
    if !args.no_e2e {
        tally.part("e2e", 22, |tally| {
            tally.tests(tests().args(named(&OF_THE_LAB)));
            if let Err(error) = tally.e2e(&[], false) {
                tally.fail("the lab comes up", &error);
            }
        });
    }
    tally.report();
    tally.close()
}

/// The seeds that gate every change.
const FIXED_SEEDS: [&str; 5] = ["--first", "1", "--seeds", "500", "--coverage"];

/// The simulator that [`everything`] has built.
fn simulated(arguments: &[&str]) -> anyhow::Result<()> {
    run(Command::new(image::binary("headgate-sim")).args(arguments))
}

/// Seeds that nobody has tried yet. What they find is mended next and does not block unrelated work: it is printed, with the
/// command that repeats it, and counts as neither passed nor failed.
fn fresh_seeds() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let first = now.as_secs().to_string();
    match simulated(&["--first", &first, "--seeds", "100"]) {
        Ok(()) => println!("ok      100 fresh seeds from {first}"),
        Err(_) => println!(
            "NOTE    fresh seeds found something: see the commands above; this does not fail the run"
        ),
    }
}

/// The alert rules against their unit tests.
fn alerts() -> anyhow::Result<()> {
    let rules = root().join("charts/headgate/rules");
    run(Command::new(headgate_lab::tool("promtool")?)
        .args(["test", "rules", "headgate.rules.test.yaml"])
        .current_dir(rules))
}

/// The chart in its variants.
fn chart() -> anyhow::Result<()> {
    let helm = headgate_lab::tool("helm")?;
    let chart = root().join("charts/headgate");
    run(Command::new(&helm).arg("lint").arg("--strict").arg(&chart).stdout(Stdio::null()))?;
    let variants: [(&str, &[&str]); 4] = [
        ("ConfigMap", &[]),
        ("PrometheusRule", &["--api-versions", "monitoring.coreos.com/v1/PrometheusRule"]),
        ("kind: Role\n", &["--set", "namespaced=true"]),
        (
            "kind: AnalysisTemplate\n",
            &["--set", "namespaced=true,analysisTemplates.enabled=true,crds.install=false"],
        ),
    ];
    for (expected, flags) in variants {
        let text = rendered(&helm, flags)?;
        anyhow::ensure!(text.contains(expected), "helm template {flags:?} renders no {expected}");
    }
    lease_elsewhere(&helm)?;
    extras(&helm)?;
    notifications(&helm)
}

/// What the chart renders with these flags.
fn rendered(helm: &Path, flags: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(helm);
    command.args(["template", "headgate", "--kube-version", "1.36.0"]).arg(root().join("charts/headgate"));
    output(command.args(flags))
}

fn objects(helm: &Path, flags: &[&str]) -> anyhow::Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(&rendered(helm, flags)?)?)
}

fn the<'a>(kind: &str, objects: &'a [Value]) -> anyhow::Result<&'a Value> {
    let object = objects.iter().find(|object| object["kind"] == kind);
    object.with_context(|| format!("the chart renders no {kind}"))
}

/// A user's own volumes and pull secrets stand beside what the chart has there itself.
fn extras(helm: &Path) -> anyhow::Result<()> {
    let values = [
        "notifications.webhooks[0].name=hook,notifications.webhooks[0].url=https://hook.example",
        "imagePullSecrets[0].name=registry",
        "extraVolumes[0].name=authorities,extraVolumes[0].configMap.name=authorities",
        "extraVolumeMounts[0].name=authorities,extraVolumeMounts[0].mountPath=/etc/authorities",
    ];
    let objects = objects(helm, &["--set", &values.join(",")])?;
    let pod = &the("Deployment", &objects)?["spec"]["template"]["spec"];
    let both = json!(["notifications", "authorities"]);
    let names = |list: &Value| -> Value {
        list.as_array().into_iter().flatten().map(|item| item["name"].clone()).collect()
    };
    anyhow::ensure!(names(&pod["imagePullSecrets"]) == json!(["registry"]), "{pod}");
    anyhow::ensure!(names(&pod["volumes"]) == both, "{pod}");
    anyhow::ensure!(names(&pod["containers"][0]["volumeMounts"]) == both, "{pod}");
    Ok(())
}

/// With a namespace for the Lease the controller asks for it there, and the right to it is granted there.
fn lease_elsewhere(helm: &Path) -> anyhow::Result<()> {
    let objects = objects(helm, &["--namespace", "own", "--set", "leaderElection.namespace=elsewhere"])?;
    for kind in ["Role", "RoleBinding"] {
        let object = the(kind, &objects)?;
        anyhow::ensure!(object["metadata"]["namespace"] == "elsewhere", "{object}");
        let of_subject = object.pointer("/subjects/0/namespace");
        anyhow::ensure!(of_subject.is_none_or(|namespace| namespace == "own"), "{object}");
    }
    let deployment = the("Deployment", &objects)?;
    let arguments = deployment.pointer("/spec/template/spec/containers/0/args");
    let arguments = arguments.and_then(Value::as_array);
    let flag = json!("--leader-election-namespace=elsewhere");
    anyhow::ensure!(arguments.is_some_and(|all| all.contains(&flag)), "{deployment}");
    Ok(())
}

/// The values of docs/notifications.md come to the file that stands there, and each Secret's key is mounted once.
fn notifications(helm: &Path) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(root().join("docs/notifications.md"))?;
    let block = |fence: &str| {
        let text = page.split_once(&format!("```{fence}\n")).and_then(|(_, rest)| rest.split_once("\n```"));
        text.map(|(block, _)| block).with_context(|| format!("docs/notifications.md has no block {fence}"))
    };
    let values = root().join("target/notifications-values.yaml");
    std::fs::write(&values, block("yaml values")?)?;
    let objects = objects(helm, &["--values", &values.display().to_string()])?;
    let text =
        |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let file = objects.iter().find_map(|object| text(object, "/stringData/notifications.yaml"));
    let config = Config::parse(&file.context("the chart renders no notifications.yaml")?)?;
    let wanted = Config::parse(block("yaml notifications")?)?;
    anyhow::ensure!(config.webhooks.first() == wanted.webhooks.first(), "{config:?} is not {wanted:?}");
    anyhow::ensure!(config.webhooks.len() == 2 && config.cluster == wanted.cluster, "{config:?}");
    let deployment = the("Deployment", &objects)?;
    let sources = deployment.pointer("/spec/template/spec/volumes/0/projected/sources");
    let sources = sources.and_then(Value::as_array).context("no projected volume")?;
    let paths: Vec<_> = sources.iter().filter_map(|source| text(source, "/secret/items/0/path")).collect();
    anyhow::ensure!(paths == ["secrets/release-hook/token", "secrets/release-hook/url"], "{paths:?}");
    Ok(())
}

impl Tally {
    fn part(&mut self, name: &str, budget_minutes: u64, work: impl FnOnce(&mut Self)) {
        println!("\n=== {name}");
        let start = Instant::now();
        work(self);
        self.minutes.push((name.to_owned(), start.elapsed(), Duration::from_secs(budget_minutes * 60)));
    }

    fn check(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<()>) {
        let start = Instant::now();
        match work() {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {name} ({:.0} s)", start.elapsed().as_secs_f64());
            }
            Err(error) => self.fail(name, &error),
        }
    }

    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        self.failed += 1;
        println!("FAILED  {name}: {error:#}");
    }

    /// Runs cargo's test runner, shows what it prints, and counts from its summary lines.
    fn tests(&mut self, command: &mut Command) {
        if let Err(error) = self.counted(command) {
            self.fail("cargo test", &error);
        }
    }

    fn counted(&mut self, command: &mut Command) -> anyhow::Result<()> {
        // Errors say where they come from; a backtrace of each would bury them.
        command.env("RUST_BACKTRACE", "0").env_remove("RUST_LIB_BACKTRACE");
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
        let stdout = child.stdout.take().context("cargo test has no output")?;
        let failed_before = self.failed;
        for line in BufReader::new(stdout).lines() {
            let line = line.context("cannot read the output of cargo test")?;
            if let Some((passed, failed)) = summary(&line) {
                self.passed += passed;
                self.failed += failed;
            }
            // A passing test binary's own chatter is not worth a screen.
            let chatter = line.starts_with("running ")
                || line.ends_with("... ok")
                || line.ends_with("has been running for over 60 seconds");
            if !line.trim().is_empty() && !chatter {
                println!("{line}");
            }
        }
        let status = child.wait().context("cannot wait for cargo test")?;
        anyhow::ensure!(status.success() || self.failed > failed_before, "cargo test ended with {status}");
        Ok(())
    }

    /// Boots the lab, runs the tests in its network, and takes it down again, also after a failure. With
    /// `HEADGATE_CONTEXT` they run in that cluster instead.
    fn e2e(&mut self, filter: &[String], long: bool) -> anyhow::Result<()> {
        let mut command = tests();
        command.args(named(&ON_A_CLUSTER));
        if long {
            go_programs()?;
            command.env("HEADGATE_E2E_LONG", "1");
        }
        if std::env::var_os("HEADGATE_CONTEXT").is_some() {
            self.tests(command.arg("--").args(filter));
            return Ok(());
        }
        let start = Instant::now();
        let addons = vec![Addon::Prometheus, Addon::Istio, Addon::Traefik, Addon::Kwok];
        let lab = Lab::up(&Options { name: LAB.to_owned(), addons })?;
        println!("lab up with all parts ready: {:.0} s", start.elapsed().as_secs_f64());
        // All at once: they let each other in, see e2e/tests/seats.rs.
        command.env("HEADGATE_LAB", LAB).args(["--", "--test-threads=256"]).args(filter);
        lab.within(|| {
            self.tests(&mut command);
            Ok(())
        })?;
        Lab::down(LAB)
    }

    fn report(&self) {
        println!("\n=== minutes");
        for (name, took, budget) in &self.minutes {
            let over = if took > budget { "  OVER ITS BUDGET" } else { "" };
            println!("{:6.1} of {:2}  {name}{over}", took.as_secs_f64() / 60.0, budget.as_secs() / 60);
        }
    }

    fn close(&self) -> anyhow::Result<()> {
        println!("\n{} passed, {} failed", self.passed, self.failed);
        if self.failed > 0 {
            // The line above must stay the last one.
            std::process::exit(1);
        }
        Ok(())
    }
}

/// `test result: ok. 12 passed; 0 failed; …`
fn summary(line: &str) -> Option<(u32, u32)> {
    let counts = line.strip_prefix("test result: ")?;
    let number = |unit: &str| {
        counts.split(['.', ';']).find_map(|part| part.trim().strip_suffix(unit)?.trim().parse().ok())
    };
    Some((number(" passed")?, number(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn the_summary_line_of_the_test_runner_is_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.5s";
        assert_eq!(summary(line), Some((12, 3)));
        assert_eq!(summary("running 3 tests"), None);
    }
}
