//! One cgroup tree per lab, so that nothing a lab starts escapes it: `<root>/headgate-lab-NAME/parts`
//! holds the lab's own processes, the kubelet puts pods below `<root>/headgate-lab-NAME/kubepods`.
//!
//! Works with cgroup v2, v1, and both mounted at once: the tree is made in every hierarchy.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A removed cgroup may stay busy while the kernel buries its last process.
const REMOVE_SECONDS_MAX: u64 = 10;

/// The cgroup tree of a lab.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    name: String,
    /// Mount points of all hierarchies.
    roots: Vec<PathBuf>,
}

impl Cgroup {
    pub(crate) fn new(lab: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
        let mut roots = BTreeSet::new();
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            if let (Some(point), Some("cgroup" | "cgroup2")) = (fields.next(), fields.next()) {
                roots.insert(PathBuf::from(point));
            }
        }
        if roots.is_empty() {
            bail!("no cgroup file system is mounted: mount cgroup2 on /sys/fs/cgroup");
        }
        Ok(Self { name: format!("headgate-lab-{lab}"), roots: roots.into_iter().collect() })
    }

    /// The tree's path from the root of a hierarchy, as the kubelet wants it.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }

    fn tops(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.roots.iter().map(|root| root.join(&self.name))
    }

    pub(crate) fn create(&self) -> Result<()> {
        for root in &self.roots {
            let top = root.join(&self.name);
            let parts = top.join("parts");
            // v2 hands controllers down level by level; v1 has no such file.
            hand_down_controllers(root);
            fs::create_dir_all(&top).with_context(|| {
                format!("create the cgroup {} (is /sys/fs/cgroup read-only?)", top.display())
            })?;
            inherit_cpuset(root, &top)?;
            hand_down_controllers(&top);
            fs::create_dir_all(&parts).with_context(|| format!("create the cgroup {}", parts.display()))?;
            inherit_cpuset(&top, &parts)?;
        }
        Ok(())
    }

    /// The files to which a process writes its id to become one of the lab's own processes.
    pub(crate) fn entrances(&self) -> Vec<PathBuf> {
        self.tops().map(|top| top.join("parts/cgroup.procs")).collect()
    }

    /// Every process in the tree, in any hierarchy.
    pub(crate) fn pids(&self) -> BTreeSet<i32> {
        let mut pids = BTreeSet::new();
        for top in self.tops() {
            visit(&top, &mut |dir| {
                let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
            });
        }
        pids
    }

    /// Wakes what a frozen container holds back: v1 freezes even the death by SIGKILL.
    pub(crate) fn thaw(&self) {
        for top in self.tops() {
            visit(&top, &mut |dir| {
                if dir.join("freezer.state").exists() {
                    // A cgroup that vanishes meanwhile needs no thaw.
                    let _ = fs::write(dir.join("freezer.state"), "THAWED");
                }
            });
        }
    }

    pub(crate) fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(REMOVE_SECONDS_MAX);
        for top in self.tops() {
            while top.exists() {
                let mut failure = None;
                visit(&top, &mut |dir| {
                    if let Err(error) = fs::remove_dir(dir) {
                        failure = Some((dir.to_path_buf(), error));
                    }
                });
                let Some((dir, error)) = failure.filter(|_| top.exists()) else { continue };
                if Instant::now() > deadline {
                    return Err(error).with_context(|| format!("remove the cgroup {}", dir.display()));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// Children before parents. A directory that vanishes meanwhile is skipped.
fn visit(dir: &Path, act: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path(), act);
        }
    }
    act(dir);
}

/// A new cpuset of v1 is empty and takes no process until it has CPUs and memory nodes.
fn inherit_cpuset(parent: &Path, child: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (parent.join(file), child.join(file));
        let is_v2 = parent.join("cgroup.controllers").exists();
        if !is_v2 && from.exists() {
            let value = fs::read_to_string(&from).with_context(|| format!("read {}", from.display()))?;
            fs::write(&to, value.trim()).with_context(|| format!("write {}", to.display()))?;
        }
    }
    Ok(())
}

fn hand_down_controllers(dir: &Path) {
    let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace() {
        // Best effort, one by one: a controller that refuses is one that the kubelet can do without.
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}
