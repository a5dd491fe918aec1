//! Packages that the lab's programs never use and that would be most of their build: one of our own stands in
//! for them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::builds::collect_files;

/// A package of a Go module, and what is built in its place.
#[derive(Clone, Copy)]
pub(crate) struct StandIn {
    pub(crate) module: &'static str,
    /// The package's directory in the module; those below it are left out, too.
    pub(crate) package: &'static str,
    /// The directory, below the family's sources, of the package that has the same functions.
    pub(crate) with: &'static str,
}

impl StandIn {
    /// Copies `module`, a directory, into `place` with the package exchanged, and beside it the go.mod of `sources`, which
    /// takes it from there. Returns that go.mod, for `-modfile`.
    pub(crate) fn prepare(&self, module: &Path, sources: &Path, place: &Path) -> Result<PathBuf> {
        let exchanged = place.join("module");
        let package = module.join(self.package);
        copy(module, &exchanged, |file| !file.starts_with(&package))?;
        copy(&sources.join(self.with), &exchanged.join(self.package), |_| true)?;
        let text = fs::read_to_string(sources.join("go.mod")).context("read go.mod")?;
        let file = place.join("go.mod");
        fs::write(&file, format!("{text}\nreplace {} => {}\n", self.module, exchanged.display()))
            .context("write the go.mod of the build")?;
        fs::copy(sources.join("go.sum"), place.join("go.sum")).context("copy go.sum")?;
        Ok(file)
    }
}

/// Copies the wanted files of a directory and all below it.
fn copy(from: &Path, to: &Path, is_wanted: impl Fn(&Path) -> bool) -> Result<()> {
    let mut files = Vec::new();
    collect_files(from, &mut files)?;
    for file in files.into_iter().filter(|file| is_wanted(file)) {
        let target = to.join(file.strip_prefix(from).context("a file outside of its directory")?);
        if let Some(directory) = target.parent() {
            fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        }
        fs::copy(&file, &target).with_context(|| format!("copy {}", file.display()))?;
    }
    Ok(())
}
