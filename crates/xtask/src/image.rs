//! The images that users get: one static binary each, alone on scratch.

use crate::process::{cargo, root, run};
use anyhow::Context;
use headgate_lab::{ImageConfig, docker_archive};
use std::path::{Path, PathBuf};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// One image: which package it is made of, and what it is called.
struct Image {
    package: &'static str,
    repository: &'static str,
}

const IMAGES: &[Image] = &[
    Image { package: "headgate-controller", repository: "headgate/controller" },
    Image { package: "headgate-app", repository: "headgate/app" },
];

/// Builds the binaries and packs them.
pub(crate) fn build() -> anyhow::Result<()> {
    let packages = IMAGES.iter().flat_map(|image| ["--package", image.package]);
    let arguments: Vec<&str> =
        ["build", "--release"].into_iter().chain(packages).chain(["--package", "headgate-cli"]).collect();
    run(&mut cargo(&arguments))?;
    pack()
}

/// Packs each binary as a docker-archive below `target/images`.
pub(crate) fn pack() -> anyhow::Result<()> {
    let directory = root().join("target/images");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    IMAGES.iter().try_for_each(|image| archive(image, &directory))
}

/// Where the release build puts a binary.
pub(crate) fn binary(name: &str) -> PathBuf {
    root().join("target").join(TARGET).join("release").join(name)
}

fn archive(image: &Image, directory: &Path) -> anyhow::Result<()> {
    let binary = binary(image.package);
    let archive = directory.join(format!("{}.tar", image.package));
    let inside = format!("/{}", image.package);
    let config = ImageConfig {
        entrypoint: vec![inside.clone()],
        user: "65532:65532".to_owned(),
        ..ImageConfig::default()
    };
    let tag = format!("{}:{}", image.repository, env!("CARGO_PKG_VERSION"));
    docker_archive(&archive, &tag, &[(&inside, &binary, 0o755)], &config)?;
    println!("{tag} -> {}", archive.display());
    Ok(())
}
