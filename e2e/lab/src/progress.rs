//! What the lab tells its user while it works. It goes to stderr, so that output stays clean.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// One line. A closed stderr is no reason to stop a lab halfway.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// One step of several, with its seconds: counted live on a terminal, two lines elsewhere.
pub(crate) struct Step {
    title: String,
    started: Instant,
    live: bool,
}

impl Step {
    pub(crate) fn begin(number: usize, of: usize, what: &str) -> Self {
        let step = Self {
            title: format!("[{number}/{of}] {what}"),
            started: Instant::now(),
            live: std::io::stderr().is_terminal(),
        };
        if !step.live {
            say(&format!("{} …", step.title));
        }
        step
    }

    pub(crate) fn tick(&self) {
        if self.live {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r{} … {} s ", self.title, self.started.elapsed().as_secs());
            let _ = stderr.flush();
        }
    }

    pub(crate) fn end(self) -> Duration {
        let elapsed = self.started.elapsed();
        let start = if self.live { "\r" } else { "" };
        say(&format!("{start}{} … done in {} s", self.title, elapsed.as_secs()));
        elapsed
    }
}
