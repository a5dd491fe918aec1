//! Programs that come from Debian packages. What is missing is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::say;

/// Where the lab looks for programs, and where its parts do.
pub(crate) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Program and package.
const NEEDED: [(&str, &str); 9] = [
    ("runc", "runc"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    // kube-proxy forgets connections to endpoints that are gone with it.
    ("conntrack", "conntrack"),
    ("openssl", "openssl"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    // For the pause program, which is static.
    ("gcc", "gcc libc6-dev"),
    ("python3", "python3-minimal python3-pip"),
];

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let user = std::env::var("PATH").unwrap_or_default();
    format!("{user}:{SEARCH_PATH}")
        .split(':')
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.is_file())
}

pub(crate) fn install_missing() -> Result<()> {
    let missing: Vec<(&str, &str)> =
        NEEDED.into_iter().filter(|(program, _)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|(_, packages)| packages.split(' ')).collect();
    if find("apt-get").is_none() {
        let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
        bail!("the lab needs {}: install them (Debian: {})", programs.join(", "), packages.join(" "));
    }
    say(&format!("installing the packages {}", packages.join(" ")));
    apt_get(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    apt_get(&install)
}

fn apt_get(args: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .arg("-qq")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .context("start apt-get")?;
    if !output.status.success() {
        bail!("apt-get {} failed:\n{}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
