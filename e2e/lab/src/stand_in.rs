//! Packages that the lab's programs never use and that would be most of their build: one of our own stands in
//! for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// A package of a Go module, and what is built in its place.
#[derive(Clone, Copy)]
pub(crate) struct StandIn {
    pub(crate) module: &'static str,
    /// The package's directory in the module; those below it are left out, too.
    pub(crate) package: &'static str,
    /// The directory, below the family's sources, of the package that has the same functions.
    pub(crate) with: &'static str,
}

/// Of what `go mod download -json` says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    dir: PathBuf,
}

impl StandIn {
    /// Copies the module into `place` with the package exchanged, and beside it a go.mod that takes it from there. `go` is
    /// a go command in the family's `sources`. Returns the go.mod, for `-modfile`.
    pub(crate) fn prepare(&self, sources: &Path, place: &Path, mut go: Command) -> Result<PathBuf> {
        let output = go.args(["mod", "download", "-json", self.module]).output().context("start go")?;
        if !output.status.success() {
            bail!("go mod download {}: {}", self.module, String::from_utf8_lossy(&output.stderr));
        }
        let downloaded: Downloaded =
            serde_json::from_slice(&output.stdout).with_context(|| format!("where {} is", self.module))?;
        let module = place.join("module");
        let package = module.join(self.package);
        copy(&downloaded.dir, &module, &downloaded.dir.join(self.package))?;
        copy(&sources.join(self.with), &package, Path::new(""))?;
        let text = fs::read_to_string(sources.join("go.mod")).context("read go.mod")?;
        let file = place.join("go.mod");
        fs::write(&file, format!("{text}\nreplace {} => {}\n", self.module, module.display()))
            .context("write the go.mod of the build")?;
        fs::copy(sources.join("go.sum"), place.join("go.sum")).context("copy go.sum")?;
        Ok(file)
    }
}

/// Copies a directory with all below it, but for `without`.
fn copy(from: &Path, to: &Path, without: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path == without {
            continue;
        }
        if path.is_dir() {
            copy(&path, &target, without)?;
        } else {
            fs::copy(&path, &target).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}
