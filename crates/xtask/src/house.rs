//! The rules of the house that no compiler knows: which crate may depend on which, and who may do I/O.

use crate::process::{cargo, output, root};
use anyhow::bail;
use std::collections::{BTreeMap, BTreeSet};

/// The arrows of docs/architecture.md: a crate, and those of ours that it may use directly.
const ARROWS: &[(&str, &[&str])] = &[
    ("headgate-api", &[]),
    ("headgate-model", &["headgate-api"]),
    ("headgate-engine", &["headgate-api", "headgate-model"]),
    ("headgate-traffic", &["headgate-api", "headgate-model"]),
    ("headgate-analysis", &["headgate-api", "headgate-model"]),
    ("headgate-notify", &["headgate-api", "headgate-model"]),
    (
        "headgate-driver",
        &[
            "headgate-api",
            "headgate-model",
            "headgate-engine",
            "headgate-traffic",
            "headgate-analysis",
            "headgate-notify",
        ],
    ),
    (
        "headgate-sim",
        &["headgate-api", "headgate-model", "headgate-analysis", "headgate-notify", "headgate-driver"],
    ),
    ("headgate-controller", &["headgate-api", "headgate-model", "headgate-notify", "headgate-driver"]),
    (
        "headgate-cli",
        &["headgate-api", "headgate-model", "headgate-traffic", "headgate-analysis", "headgate-sim"],
    ),
    ("headgate-lab", &[]),
    ("headgate-app", &[]),
];

/// Crates that do I/O; everything else is pure.
const SHELLS: &[&str] =
    &["headgate-controller", "headgate-cli", "xtask", "headgate-e2e", "headgate-app", "headgate-lab"];

/// What a pure crate may not have anywhere below it.
const IO: &[&str] = &["tokio", "reqwest", "kube-client", "kube-runtime", "hyper", "rand"];

/// The only place that may put driver, engine, traffic and analysis together.
const ASSEMBLER: &str = "headgate-driver";

/// Checks all rules and reports every break at once.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut broken = Vec::new();
    for (name, allowed) in ARROWS {
        broken.extend(wrong_arrows(name, allowed)?);
    }
    for name in members()? {
        if !SHELLS.contains(&name.as_str()) {
            broken.extend(io_below(&name)?);
        }
    }
    broken.extend(second_assemblers()?);
    if broken.is_empty() {
        println!("house: dependency directions are right");
        return Ok(());
    }
    bail!("the rules of docs/architecture.md are broken:\n  {}", broken.join("\n  "));
}

fn members() -> anyhow::Result<Vec<String>> {
    let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    Ok(packages.iter().filter_map(|package| package["name"].as_str().map(str::to_owned)).collect())
}

/// The crates below `name`, as `cargo tree -e normal` tells, with their depths.
fn tree(name: &str) -> anyhow::Result<BTreeMap<String, u32>> {
    let text = output(&mut cargo(&[
        "tree",
        "--package",
        name,
        "-e",
        "normal",
        "--prefix",
        "depth",
        "--format",
        " {p}",
    ]))?;
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(depth), Some(package)) = (words.next().and_then(|word| word.parse().ok()), words.next())
        {
            let least = found.entry(package.to_owned()).or_insert(depth);
            *least = depth.min(*least);
        }
    }
    Ok(found)
}

fn wrong_arrows(name: &str, allowed: &[&str]) -> anyhow::Result<Vec<String>> {
    let direct =
        tree(name)?.into_iter().filter(|(package, depth)| *depth == 1 && package.starts_with("headgate-"));
    let wrong = direct.filter(|(package, _)| !allowed.contains(&package.as_str()));
    Ok(wrong.map(|(package, _)| format!("{name} depends on {package}")).collect())
}

fn io_below(name: &str) -> anyhow::Result<Vec<String>> {
    let below = tree(name)?;
    let wrong = IO.iter().filter(|io| below.contains_key(**io));
    Ok(wrong.map(|io| format!("{name} is a pure crate and has {io} below it")).collect())
}

/// There is one driver: nobody else depends on the engine.
fn second_assemblers() -> anyhow::Result<Vec<String>> {
    let mut wrong = BTreeSet::new();
    for manifest in manifests()? {
        let text = std::fs::read_to_string(&manifest)?;
        let normal = text.split("[dev-dependencies]").next().unwrap_or_default();
        let is_assembler = text.contains(&format!("name = \"{ASSEMBLER}\""));
        if !is_assembler && normal.lines().any(|line| line.trim_start().starts_with("headgate-engine")) {
            wrong.insert(format!("{} depends on headgate-engine: only {ASSEMBLER} may", manifest.display()));
        }
    }
    Ok(wrong.into_iter().collect())
}

fn manifests() -> anyhow::Result<Vec<std::path::PathBuf>> {
    let crates = std::fs::read_dir(root().join("crates"))?;
    let paths = crates.filter_map(Result::ok).map(|entry| entry.path().join("Cargo.toml"));
    Ok(paths.chain([root().join("e2e/Cargo.toml")]).filter(|path| path.exists()).collect())
}
