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

/// A Headgate beside the one that all tests share, for the objects of its instance id, in a namespace of its own.
#[derive(Debug)]
pub struct Instance {
    id: String,
}

impl Instance {
    /// One with this id, which does not run yet: what an earlier run left of it is removed.
    ///
    /// # Errors
    /// When helm refuses.
    pub async fn new(cluster: &Cluster, id: &str) -> anyhow::Result<Self> {
        let instance = Self { id: id.to_owned() };
        instance.end(cluster).await?;
        Ok(instance)
    }

    /// One process, ready. The CRDs and the image are there already.
    ///
    /// # Errors
    /// When the chart does not install within two minutes.
    pub async fn start(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.start_with(cluster, &[]).await
    }

    /// The same, with these values of the chart (`name=value`) besides.
    ///
    /// # Errors
    /// As [`Instance::start`].
    pub async fn start_with(&self, cluster: &Cluster, more: &[&str]) -> anyhow::Result<()> {
        let (id, namespace) = (&self.id, self.namespace());
        let mut helm = cluster.command("helm")?;
        helm.args(["upgrade", "--install", id]).arg(root().join("charts/headgate"));
        helm.args(["--namespace", &namespace, "--create-namespace", "--wait", "--timeout", "120s"]);
        let values = format!("replicas=1,crds.install=false,alerts.enabled=false,instanceId={id}");
        for values in std::iter::once(values.as_str()).chain(more.iter().copied()) {
            helm.args(["--set", values]);
        }
        output(&mut helm).await.context("the chart does not install").map(|_| ())
    }

    /// Where it runs.
    pub fn namespace(&self) -> String {
        format!("headgate-{}", self.id)
    }

    /// As whom it writes.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}-headgate", self.namespace(), self.id)
    }

    /// Removes it, and waits until its process is gone. It is no error if there is none.
    ///
    /// # Errors
    /// When helm refuses.
    pub async fn end(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let mut helm = cluster.command("helm")?;
        let namespace = self.namespace();
        helm.args(["uninstall", &self.id, "--namespace", &namespace, "--wait", "--ignore-not-found"]);
        output(&mut helm).await?;
        let arguments = ["delete", "namespace", &namespace, "--ignore-not-found", "--timeout=120s"];
        cluster.kubectl(&arguments).await.map(|_| ())
    }
}
