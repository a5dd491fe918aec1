//! Installing Headgate as its users do: from the chart, with the image that they get.

use crate::cluster::{Cluster, output};
use anyhow::Context;
use std::path::{Path, PathBuf};

/// Where the controller runs in tests and demo.
pub const NAMESPACE: &str = "headgate-system";

/// The images as `cargo xtask image` leaves them.
const IMAGES: &[&str] = &["headgate-controller", "headgate-app"];

/// The root of the work tree.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_owned(), Path::to_owned)
}

/// Loads the images (in a lab), installs or upgrades the chart, gives the alerts to the lab's Prometheus, and waits
/// until the controller is ready.
///
/// # Errors
/// When an image was not built, or the chart does not install within two minutes.
pub async fn headgate(cluster: &Cluster) -> anyhow::Result<()> {
    headgate_with(cluster, &[]).await
}

/// The same with further flags for helm.
///
/// # Errors
/// As [`headgate`].
pub async fn headgate_with(cluster: &Cluster, flags: &[&str]) -> anyhow::Result<()> {
    if let Some(lab) = cluster.lab()? {
        for name in IMAGES {
            let archive = root().join(format!("target/images/{name}.tar"));
            anyhow::ensure!(archive.exists(), "{} is missing: run cargo xtask image", archive.display());
            lab.load_image(&archive)?;
        }
        let rules = root().join("charts/headgate/rules/headgate.rules.yaml");
        let target = lab.prometheus_rules_dir().join("headgate.rules.yaml");
        std::fs::copy(&rules, &target)
            .with_context(|| format!("cannot copy the alerts to {}", target.display()))?;
        lab.reload_prometheus()?;
    }
    let mut helm = cluster.command("helm")?;
    helm.args(["upgrade", "--install", "headgate"]).arg(root().join("charts/headgate"));
    helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s"]);
    // As many as a production has: one leads, one stands by.
    output(helm.args(["--set", "replicas=2"]).args(flags)).await.context("the chart does not install")?;
    Ok(())
}
