//! The rules of the house that no compiler knows: which crate may depend on which, and who may do I/O.

use crate::process::{cargo, output};
use anyhow::bail;
use serde_json::Value;
use std::collections::BTreeMap;

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
const ENGINE: &str = "headgate-engine";

/// Checks all rules and reports every break at once.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut broken = Vec::new();
    for (name, allowed) in ARROWS {
        broken.extend(wrong_arrows(name, allowed)?);
    }
    let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    for name in packages(&metadata).filter_map(|package| package["name"].as_str()) {
        if !SHELLS.contains(&name) {
            broken.extend(io_below(name)?);
        }
    }
    broken.extend(second_assemblers(&metadata));
    if broken.is_empty() {
        println!("house: dependency directions are right");
        return Ok(());
    }
    bail!("the rules of docs/architecture.md are broken:\n  {}", broken.join("\n  "));
}

/// The packages of the workspace, as `cargo metadata` tells them.
fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
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

/// There is one driver: nobody else depends on the engine, under whatever name. For tests anybody may.
fn second_assemblers(metadata: &Value) -> Vec<String> {
    let depends = |package: &&Value| {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        dependencies.into_iter().any(|one| one["name"] == ENGINE && one["kind"] != "dev")
    };
    let names = packages(metadata).filter(depends).filter_map(|package| package["name"].as_str());
    let others = names.filter(|name| *name != ASSEMBLER);
    others.map(|name| format!("{name} depends on {ENGINE}: only {ASSEMBLER} may")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(name: &str, dependency: &Value) -> Value {
        json!({ "packages": [{ "name": name, "dependencies": [dependency] }] })
    }

    #[test]
    fn nobody_but_the_driver_depends_on_the_engine_by_whatever_name() {
        let normal = json!({ "name": "headgate-engine", "rename": null, "kind": null });
        let renamed = json!({ "name": "headgate-engine", "rename": "heart", "kind": null });
        let build = json!({ "name": "headgate-engine", "rename": null, "kind": "build" });
        for dependency in [normal.clone(), renamed, build] {
            let wrong = second_assemblers(&workspace("headgate-sim", &dependency));
            assert_eq!(wrong, ["headgate-sim depends on headgate-engine: only headgate-driver may"]);
        }
        let test = json!({ "name": "headgate-engine", "rename": null, "kind": "dev" });
        assert!(second_assemblers(&workspace("headgate-sim", &test)).is_empty());
        assert!(second_assemblers(&workspace("headgate-driver", &normal)).is_empty());
    }
}
