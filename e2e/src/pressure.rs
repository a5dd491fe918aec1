//! Whether the machine had enough CPU for what a test measured.

use anyhow::Context;
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

/// A request that was due this long before it was sent says that the machine was starved: what clients saw then tells
/// nothing about the software.
const LATENESS_MAX: Duration = Duration::from_secs(2);

/// CPU pressure since a moment, from the kernel's pressure stall information.
#[derive(Debug)]
pub struct Pressure {
    since: Instant,
    stalled: Option<Duration>,
}

/// How the machine fared while something was measured.
#[derive(Clone, Copy, Debug)]
pub struct Strain {
    /// The share of the time in which some task waited for a CPU, 0 to 1; `None` where the kernel does not tell.
    pub waiting: Option<f64>,
    /// The worst delay of the load generator itself.
    pub lateness: Duration,
}

impl Pressure {
    /// Begins to watch.
    pub fn begin() -> Self {
        Self { since: Instant::now(), stalled: stalled().ok() }
    }

    /// The strain since then; `lateness` is the load generator's.
    pub fn strain(&self, lateness: Duration) -> Strain {
        let stalled = self.stalled.zip(stalled().ok()).map(|(before, now)| now.saturating_sub(before));
        let waiting = stalled.map(|stalled| stalled.as_secs_f64() / self.since.elapsed().as_secs_f64());
        Strain { waiting, lateness }
    }
}

impl Strain {
    /// True when what was measured says nothing.
    pub fn is_starved(&self) -> bool {
        self.lateness > LATENESS_MAX
    }
}

impl fmt::Display for Strain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.waiting {
            Some(share) => write!(f, "tasks waited for a CPU {:.0} % of the time", share * 100.0)?,
            None => write!(f, "the kernel does not tell how long tasks waited for a CPU")?,
        }
        write!(f, "; a request was sent up to {} ms late", self.lateness.as_millis())
    }
}

/// Tells what was measured, also of a test that passes: the test runner keeps what `println!` says to itself.
pub fn tell(text: &str) {
    // Nobody who reads it is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// `some … total=MICROSECONDS` of `/proc/pressure/cpu`.
fn stalled() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/pressure/cpu").context("no pressure stall information")?;
    let total = text.lines().find(|line| line.starts_with("some")).and_then(|line| line.split_once("total="));
    let (_, micros) = total.context("an unknown form of /proc/pressure/cpu")?;
    Ok(Duration::from_micros(micros.trim().parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_generator_that_is_late_says_that_the_machine_is_starved() {
        let pressure = Pressure::begin();
        assert!(!pressure.strain(LATENESS_MAX).is_starved());
        let strain = pressure.strain(LATENESS_MAX + Duration::from_millis(1));
        assert!(strain.is_starved());
        assert!(strain.to_string().ends_with("a request was sent up to 2001 ms late"), "{strain}");
    }
}
