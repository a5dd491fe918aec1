//! One part of a lab, to be stopped, killed, frozen and started again.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::Serialize;

use crate::lab::Lab;
use crate::parts::PartKind;
use crate::probe;
use crate::process::{self, Part, Process, Program, log_tail};

/// A part that was asked to end may finish its work for so long.
const STOP_LIMIT: Duration = Duration::from_secs(15);
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A part of a lab, such as `kube-apiserver`.
#[derive(Clone, Copy)]
pub struct Component<'a> {
    lab: &'a Lab,
    kind: &'static PartKind,
}

/// What `lab status` tells of a part.
#[derive(Debug, Clone, Serialize)]
pub struct ComponentStatus {
    /// The part's name.
    pub name: String,
    /// Its process, if it runs.
    pub pid: Option<i32>,
    /// It does its work.
    pub ready: bool,
    /// Why it does not.
    pub reason: Option<String>,
    /// Where it listens, within the lab.
    pub address: String,
}

impl<'a> Component<'a> {
    pub(crate) fn new(lab: &'a Lab, kind: &'static PartKind) -> Self {
        Self { lab, kind }
    }

    pub(crate) fn launch(lab: &Lab, name: &str, program: Program) -> Result<()> {
        let process = process::spawn(
            &lab.sandbox().wrapper()?,
            &program,
            &lab.cgroup().entrances(),
            lab.state_dir(),
            &lab.state().log(name),
        )?;
        store(lab, &Part { name: name.to_owned(), program, process, stopped: false })
    }

    fn part(&self) -> Result<Part> {
        let name = self.kind.name;
        let part = self.lab.part(name)?;
        part.with_context(|| {
            format!("lab {:?} was made without {name}: run `lab up --with …`", self.lab.name())
        })
    }

    fn process(&self) -> Result<Process> {
        Ok(self.part()?.process)
    }

    /// The id of its process, if it runs.
    ///
    /// # Errors
    /// If the lab was made without this part.
    pub fn pid(&self) -> Result<Option<i32>> {
        let process = self.process()?;
        Ok(process.is_alive().then_some(process.pid))
    }

    /// Asks it to end (SIGTERM) and waits; kills it if that takes too long.
    ///
    /// # Errors
    /// If it does not run, or survives.
    pub fn stop(&self) -> Result<()> {
        let part = Part { stopped: true, ..self.part()? };
        store(self.lab, &part)?;
        part.process.signal(Signal::SIGTERM).with_context(|| format!("stop {}", self.kind.name))?;
        if !part.process.ended_within(STOP_LIMIT) {
            return self.kill();
        }
        Ok(())
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// If it survives.
    pub fn kill(&self) -> Result<()> {
        let process = self.process()?;
        process.kill();
        if !process.ended_within(KILL_LIMIT) {
            bail!("{} (process {}) survives SIGKILL", self.kind.name, process.pid);
        }
        Ok(())
    }

    /// Starts it with the command line that it had, and does not wait until it is ready.
    ///
    /// # Errors
    /// If it runs already, or cannot be started.
    pub fn start(&self) -> Result<()> {
        let part = self.part()?;
        if part.process.is_alive() {
            bail!("{} runs already (process {})", self.kind.name, part.process.pid);
        }
        Self::launch(self.lab, self.kind.name, part.program)
    }

    /// Stops it, starts it, and waits until it is ready.
    ///
    /// # Errors
    /// If one of these fails.
    pub fn restart(&self, limit: Duration) -> Result<()> {
        self.stop()?;
        self.start()?;
        self.wait_ready(limit)
    }

    /// Freezes it: its connections stay open and nothing answers.
    ///
    /// # Errors
    /// If it does not run.
    pub fn sigstop(&self) -> Result<()> {
        self.process()?.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn sigcont(&self) -> Result<()> {
        self.process()?.signal(Signal::SIGCONT)
    }

    /// Fails with what is not ready yet.
    ///
    /// # Errors
    /// If it is not ready.
    pub fn check(&self) -> Result<()> {
        if !self.process()?.is_alive() {
            bail!("{} does not run", self.kind.name);
        }
        self.lab.within(|| (self.kind.ready)(self.lab))
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// If it ends, or is not ready in time.
    pub fn wait_ready(&self, limit: Duration) -> Result<()> {
        let process = self.process()?;
        let log = self.lab.state().log(self.kind.name);
        probe::wait_for(
            self.kind.name,
            limit,
            || self.check(),
            || {
                if !process.is_alive() {
                    bail!("{} has ended; the end of {}:\n{}", self.kind.name, log.display(), log_tail(&log));
                }
                Ok(())
            },
        )
    }

    /// Whether it runs and is ready, now.
    ///
    /// # Errors
    /// If the lab's state cannot be read.
    pub fn status(&self) -> Result<ComponentStatus> {
        let part = self.part()?;
        let alive = part.process.is_alive();
        let reason = match (alive, part.stopped) {
            (true, _) => self.check().err().map(|error| format!("{error:#}")),
            (false, true) => Some("stopped".to_owned()),
            (false, false) => Some("has ended".to_owned()),
        };
        Ok(ComponentStatus {
            name: part.name,
            pid: alive.then_some(part.process.pid),
            ready: reason.is_none(),
            reason,
            address: self.kind.address.to_owned(),
        })
    }
}

impl std::fmt::Debug for Component<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("lab", &self.lab.name()).field("name", &self.kind.name).finish()
    }
}

fn store(lab: &Lab, part: &Part) -> Result<()> {
    let text = serde_json::to_string(part)?;
    lab.state().write(&format!("parts/{}.json", part.name), &text).map(drop)
}
