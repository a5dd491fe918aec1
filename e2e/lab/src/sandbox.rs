//! The namespaces of a lab. A process that only sleeps makes a network and a mount namespace; every
//! part enters both. Nothing is bound to a file: when the last process of a lab is gone, so are its
//! namespaces with every interface, firewall rule and mount in them.
//!
//! In the mount namespace `/run`, `/var/lib` and `/var/log` are directories of the lab's state, because
//! Kubernetes' programs have paths there that no flag changes: two labs would meet in them. And its
//! `/etc/resolv.conf` names the cluster's DNS: no other can be reached, and a part that asks one waits in
//! vain for most of a minute.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use serde::{Deserialize, Serialize};

use crate::process::{Process, Program, log_tail};
use crate::state::State;

/// All of it lies in 198.18.0.0/15, the range for benchmarks: no real network is hidden by it.
/// Labs all have the same addresses, each in its own network namespace.
pub(crate) const NODE_ADDRESS: &str = "198.18.0.1";
pub(crate) const POD_RANGE: &str = "198.18.128.0/17";
/// Nothing answers there.
pub(crate) const FAKE_POD_RANGE: &str = "198.18.64.0/18";
pub(crate) const SERVICE_RANGE: &str = "198.19.0.0/16";
/// The first address of the service range: the Service `kubernetes`.
pub(crate) const API_SERVICE_ADDRESS: &str = "198.19.0.1";

/// What the node and its pods resolve names with, in the lab's state. Names that are not the cluster's do not exist.
pub(crate) const RESOLV_CONF: &str = "resolv.conf";

const SETUP_SECONDS_MAX: u64 = 10;

/// Directories that the lab's programs have for themselves.
const OWN_DIRECTORIES: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// The namespaces of a running lab, by the process that made them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    pub(crate) holder: Process,
    net_inode: u64,
    mount_inode: u64,
}

impl Sandbox {
    pub(crate) fn create(state: &State, entrances: &[std::path::PathBuf]) -> Result<Self> {
        let mut script = String::from("set -e\n");
        for directory in OWN_DIRECTORIES {
            let own = state.inside(directory);
            fs::create_dir_all(&own).with_context(|| format!("create {}", own.display()))?;
            script += &format!("mount --bind '{}' {directory}\n", own.display());
        }
        let resolv_conf = state.write(RESOLV_CONF, &format!("nameserver {NODE_ADDRESS}\n"))?;
        // Where it is a link into `/run`, that is the lab's own by now, and empty.
        script += &format!(
            "file=$(readlink -m /etc/resolv.conf)
             case $file in /run/*) mkdir -p \"${{file%/*}}\"; : > \"$file\";; esac
             if [ -e \"$file\" ]; then mount --bind '{}' \"$file\"; fi\n",
            resolv_conf.display()
        );
        // The node's address is on a bridge without members: the kind of device that every kernel has.
        script += &format!(
            "ip link set lo up
             ip link add node0 type bridge
             ip addr add {NODE_ADDRESS}/32 dev node0
             ip link set node0 up
             ip route add default dev node0
             echo 1 > /proc/sys/net/ipv4/ip_forward
             echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
             exec sleep infinity"
        );
        let log = state.log("sandbox");
        let wrapper = ["unshare", "--net", "--mount", "--propagation", "slave", "--"].map(str::to_owned);
        let program = Program::new(Path::new("/bin/sh")).args(["-c", &script]);
        let holder = crate::process::spawn(&wrapper, &program, entrances, &state.root, &log)?;
        let deadline = Instant::now() + Duration::from_secs(SETUP_SECONDS_MAX);
        // The script is done when its process has become `sleep`.
        while fs::read_to_string(format!("/proc/{}/comm", holder.pid)).unwrap_or_default().trim() != "sleep" {
            if Process::find(holder.pid).is_none() || Instant::now() > deadline {
                bail!("could not set up the namespaces:\n{}", log_tail(&log));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let inode =
            |kind: &str| namespace_inode(holder.pid, kind).context("the namespaces' holder has ended");
        let sandbox = Self { holder, net_inode: inode("net")?, mount_inode: inode("mnt")? };
        state.write("sandbox.json", &serde_json::to_string(&sandbox)?)?;
        Ok(sandbox)
    }

    pub(crate) fn load(state: &State) -> Option<Self> {
        let text = fs::read_to_string(state.path("sandbox.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// A process in the sandbox: the holder, or another if that was killed.
    fn member(&self) -> Result<i32> {
        if self.holder.is_alive() && namespace_inode(self.holder.pid, "mnt") == Some(self.mount_inode) {
            return Ok(self.holder.pid);
        }
        self.pids()
            .into_iter()
            .find(|pid| namespace_inode(*pid, "mnt") == Some(self.mount_inode))
            .context("the lab's processes are gone: run `lab up`")
    }

    /// Every process in the lab's network.
    pub(crate) fn pids(&self) -> BTreeSet<i32> {
        let inside = |pid: &i32| namespace_inode(*pid, "net") == Some(self.net_inode);
        all_pids().into_iter().filter(inside).collect()
    }

    /// Keeps the network namespace, and with it its number, while the result lives. `None` if no member
    /// is left: then the number may be another's already.
    pub(crate) fn pin(&self, cgroup_pids: &BTreeSet<i32>) -> Option<File> {
        let holder = self.holder.is_alive().then_some(self.holder.pid);
        holder.into_iter().chain(cgroup_pids.iter().copied()).find_map(|pid| {
            let file = File::open(format!("/proc/{pid}/ns/net")).ok()?;
            (file.metadata().ok()?.ino() == self.net_inode).then_some(file)
        })
    }

    /// The command that enters both namespaces and becomes what follows.
    pub(crate) fn wrapper(&self) -> Result<Vec<String>> {
        let pid = self.member()?;
        Ok(vec![
            "nsenter".to_owned(),
            format!("--net=/proc/{pid}/ns/net"),
            format!("--mount=/proc/{pid}/ns/mnt"),
            "--".to_owned(),
        ])
    }

    /// Moves the calling thread into the network namespace.
    fn enter_network(&self) -> Result<()> {
        let path = format!("/proc/{}/ns/net", self.member()?);
        let file = File::open(&path).with_context(|| format!("open {path}"))?;
        setns(file, CloneFlags::CLONE_NEWNET).context("enter the lab's network namespace (run as root)")
    }

    /// Moves the calling thread, and what it starts from now on, into the lab's network, where the
    /// cluster's names resolve: it gets a view of the file system of its own in which
    /// `/etc/resolv.conf` names the cluster's DNS.
    pub(crate) fn enter(&self, resolv_conf: &Path) -> Result<()> {
        self.enter_network()?;
        unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).context("detach the mounts")?;
        if resolv_conf.exists() && Path::new("/etc/resolv.conf").exists() {
            mount(Some(resolv_conf), "/etc/resolv.conf", none, MsFlags::MS_BIND, none)
                .context("put the cluster's resolv.conf in place")?;
        }
        Ok(())
    }

    /// Runs `work` in a thread of its own within the network namespace. What it starts is there too.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter_network()?;
                work()
            });
            thread.join().map_err(|_| anyhow::anyhow!("a thread within the lab panicked"))?
        })
    }
}

fn namespace_inode(pid: i32, kind: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok().map(|namespace| namespace.ino())
}

fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
