//! Where things are: the cache of builds, the state directory of a lab and the files in it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// Names become names of cgroups and parts of paths of sockets, which may have 107 bytes.
const NAME_BYTES_MAX: usize = 20;

/// `$HEADGATE_CACHE`, else `$XDG_CACHE_HOME/headgate`, else `~/.cache/headgate`: what is built once stays out of the work
/// tree.
///
/// # Errors
/// When none of the variables, nor HOME, says where.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = non_empty("HEADGATE_CACHE") {
        return std::path::absolute(dir).context("HEADGATE_CACHE is no path");
    }
    if let Some(dir) = non_empty("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(dir).join("headgate"));
    }
    let home = non_empty("HOME").context("set HOME or HEADGATE_CACHE: the lab keeps its builds there")?;
    Ok(PathBuf::from(home).join(".cache/headgate"))
}

fn non_empty(variable: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// The files of one lab. All of them lie below one directory, which `down` removes.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) root: PathBuf,
}

impl State {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(word) || name.starts_with('-')
        {
            bail!("lab name {name:?}: use up to {NAME_BYTES_MAX} lower-case letters, digits and dashes");
        }
        let base = match non_empty("HEADGATE_LAB_STATE") {
            Some(dir) => std::path::absolute(dir).context("HEADGATE_LAB_STATE is no path")?,
            None => cache_dir()?.join("labs"),
        };
        // The lab's mount namespace has directories of its own there (see sandbox.rs).
        for covered in ["/run", "/var/run", "/var/lib", "/var/log"] {
            if base.starts_with(covered) {
                bail!(
                    "{} cannot hold the state of a lab: choose a directory outside {covered}",
                    base.display()
                );
            }
        }
        Ok(Self { name: name.to_owned(), root: base.join(name) })
    }

    /// Names of all labs that have a state directory.
    pub(crate) fn all() -> Result<Vec<String>> {
        let base = Self::new("x")?.root;
        let Some(base) = base.parent().filter(|base| base.is_dir()) else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in fs::read_dir(base).with_context(|| format!("read {}", base.display()))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    pub(crate) fn log(&self, part: &str) -> PathBuf {
        self.root.join("logs").join(format!("{part}.log"))
    }

    /// What the lab's programs see as `path`, one of the directories that the sandbox gives them
    /// (`/run`, `/var/lib`, `/var/log`), as the host sees it.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        self.root.join("inside").join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, below: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(below);
        write(&path, content)?;
        Ok(path)
    }

    /// Locks the lab against another `up` or `down`. The lock is on the state directory itself, so it
    /// leaves no file behind; whoever waited for a directory that was removed meanwhile tries again.
    pub(crate) fn lock(&self) -> Result<Flock<File>> {
        loop {
            fs::create_dir_all(&self.root).with_context(|| format!("create {}", self.root.display()))?;
            let dir = File::open(&self.root).with_context(|| format!("open {}", self.root.display()))?;
            let inode = dir.metadata()?.ino();
            let lock = lock_waiting(dir, &format!("another `lab up` or `lab down` of {:?}", self.name))?;
            if fs::metadata(&self.root).is_ok_and(|now| now.ino() == inode) {
                return Ok(lock);
            }
        }
    }
}

/// Takes an exclusive lock; says who is waited for if it is taken.
pub(crate) fn lock_waiting(file: File, holder: &str) -> Result<Flock<File>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
            crate::progress::say(&format!("waiting for {holder}"));
            Flock::lock(file, FlockArg::LockExclusive)
                .map_err(|(_, errno)| anyhow::Error::from(errno).context(format!("lock held by {holder}")))
        }
        Err((_, errno)) => Err(anyhow::Error::from(errno).context("lock")),
    }
}

pub(crate) fn write(path: &Path, content: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_for_paths_and_cgroups() {
        for good in ["dev", "test-1", "0"] {
            State::new(good).unwrap();
        }
        for bad in ["", "-x", "Dev", "a/b", "..", "a b", "a-name-that-is-too-long"] {
            State::new(bad).unwrap_err();
        }
    }
}
