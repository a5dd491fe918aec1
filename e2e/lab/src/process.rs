//! Processes of the lab: started inside its namespaces and cgroup, remembered by id and start time.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

const KILL_SECONDS_MAX: u64 = 20;
const LOG_TAIL_LINES: usize = 15;

/// A process by its id and the time it started (ticks since boot): an id that was given to another
/// process since then does not match any more.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) start_ticks: u64,
}

impl Process {
    /// The process that has this id now. A zombie is none: it has ended, only its parent did not ask yet;
    /// unless other threads of it are still at work on ending, and hold its sockets.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may contain anything; see proc(5).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let (state, threads, start_ticks) = (fields.first()?, fields.get(17)?, fields.get(19)?);
        let has_ended = matches!(*state, "Z" | "X") && matches!(*threads, "0" | "1");
        let start_ticks = start_ticks.parse().ok()?;
        (!has_ended).then_some(Self { pid, start_ticks })
    }

    pub(crate) fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    pub(crate) fn signal(self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            bail!("process {} has ended", self.pid);
        }
        kill(Pid::from_raw(self.pid), signal)
            .with_context(|| format!("send {signal} to process {}", self.pid))
    }

    /// Sends SIGKILL, to nobody if the process has ended.
    pub(crate) fn kill(self) {
        if self.is_alive() {
            // It may end between the look and the signal.
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }

    pub(crate) fn ended_within(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            // If it is our child, its zombie is ours to bury.
            let _ = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG));
            if !self.is_alive() {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Kills until `remaining` finds nobody: what is killed may have started others meanwhile.
pub(crate) fn kill_all(mut remaining: impl FnMut() -> Vec<i32>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(KILL_SECONDS_MAX);
    loop {
        let alive: Vec<Process> = remaining().into_iter().filter_map(Process::find).collect();
        if alive.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "processes {:?} survive SIGKILL",
                alive.iter().map(|process| process.pid).collect::<Vec<_>>()
            );
        }
        for process in alive {
            process.kill();
            let _ = waitpid(Pid::from_raw(process.pid), Some(WaitPidFlag::WNOHANG));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// This process and those that started it: `down` may be called by a process that entered the lab.
pub(crate) fn self_and_ancestors() -> Vec<i32> {
    let mut line = vec![i32::try_from(std::process::id()).unwrap_or_default()];
    while let Some(parent) = line.last().and_then(|pid| parent(*pid)).filter(|pid| *pid > 0) {
        line.push(parent);
    }
    line
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// How a part is started. It is kept with the part, so that it can be started again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

impl Program {
    pub(crate) fn new(program: &Path) -> Self {
        Self { argv: vec![program.display().to_string()], env: BTreeMap::new() }
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.argv.push(arg.into());
        self
    }

    pub(crate) fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    /// `--flag=path`
    pub(crate) fn path(self, flag: &str, path: &Path) -> Self {
        self.arg(format!("{flag}={}", path.display()))
    }

    pub(crate) fn env(mut self, variable: &str, value: impl Into<String>) -> Self {
        self.env.insert(variable.to_owned(), value.into());
        self
    }
}

/// A part of the lab as it is remembered in `parts/NAME.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) process: Process,
    /// Stopped on purpose: `status` says so and `up` starts it again.
    pub(crate) stopped: bool,
}

/// Joins the cgroups given before `--` and becomes the command after it, in a session of its own, so
/// that neither the terminal nor the end of `lab up` reaches it. The process id stays the same.
const JOIN_AND_BECOME: &str =
    r#"while [ "$1" != -- ]; do echo $$ > "$1" || exit 71; shift; done; shift; exec setsid "$@""#;

/// Starts `program` behind `wrapper` (a command that enters or makes namespaces).
pub(crate) fn spawn(
    wrapper: &[String],
    program: &Program,
    entrances: &[PathBuf],
    directory: &Path,
    log: &Path,
) -> Result<Process> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    let out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open {}", log.display()))?;
    let child = Command::new("/bin/sh")
        .args(["-c", JOIN_AND_BECOME, "lab"])
        .args(entrances)
        .arg("--")
        .args(wrapper)
        .args(&program.argv)
        .env_clear()
        // A fixed environment: what the user happens to have set must not change the lab.
        .env("PATH", crate::packages::SEARCH_PATH)
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .envs(&program.env)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(out.try_clone().context("duplicate the log's descriptor")?)
        .stderr(out)
        .spawn()
        .with_context(|| format!("start {:?}", program.argv.first()))?;
    let pid = i32::try_from(child.id()).context("process id")?;
    // One that has ended already is a zombie of ours: found dead at the first look for readiness.
    Ok(Process::find(pid).unwrap_or(Process { pid, start_ticks: 0 }))
}

/// The last lines of a log, for an error message.
pub(crate) fn log_tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_TAIL_LINES);
    lines.iter().skip(from).map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_not_by_its_id_alone() {
        let me = Process::find(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        let other = Process { start_ticks: me.start_ticks + 1, ..me };
        assert!(!other.is_alive(), "another process with the same id");
        other.kill();
        assert!(me.is_alive(), "what is not the recorded process is not killed");
        assert!(self_and_ancestors().contains(&me.pid));
    }
}
