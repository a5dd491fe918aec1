//! What the demo prints.
#![expect(clippy::print_stdout, reason = "showing is what it is for")]

use serde_json::Value;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// One look at a release.
pub(super) struct Moment {
    /// True when the controller has seen the current generation.
    pub is_observed: bool,
    /// Number of steps.
    pub steps: usize,
    /// The Rollout's status.
    pub status: Value,
    /// The canary's weight in the route.
    pub weight: i64,
    /// Its share of the answers that clients got lately.
    pub share: f64,
    /// Its answers that were no errors, lately.
    pub success_rate: Option<f64>,
    /// Its latency lately.
    pub p95: Option<Duration>,
    /// Requests lost since the beginning.
    pub lost: u64,
}

/// Prints lines with the time since the start; in colour where that is wanted.
pub(super) struct Screen {
    start: Instant,
    colour: bool,
}

impl Default for Screen {
    fn default() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { start: Instant::now(), colour }
    }
}

impl Screen {
    pub(super) fn act(&self, text: &str) {
        println!("\n{}", self.paint("1", &format!("{} {text}", self.clock())));
    }

    pub(super) fn note(&self, text: &str) {
        println!("{} {text}", self.clock());
    }

    pub(super) fn outcome(&self, good: bool, text: &str) {
        let line = if good {
            self.paint("32", &format!("✔ {text}"))
        } else {
            self.paint("31", &format!("✖ not so: {text}"))
        };
        println!("{} {line}", self.clock());
    }

    pub(super) fn head(&self, version: &str) {
        let line = format!(
            "{:7} {:12} {:>5} {:>7} {:>9} {:>8} {:>7} {:>5}  waits for",
            "", version, "step", "weight", "measured", "success", "p95", "lost"
        );
        println!("{}", self.paint("2", &line));
    }

    pub(super) fn row(&self, moment: &Moment) {
        let text = |path: &str| moment.status.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let step = moment.status["currentStepIndex"]
            .as_i64()
            .map_or_else(String::new, |index| format!("{index}/{}", moment.steps));
        let success =
            moment.success_rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
        let p95 = moment.p95.map_or_else(|| "-".to_owned(), |p95| format!("{} ms", p95.as_millis()));
        let phase = text("/phase");
        let colour = match phase {
            "Healthy" => "32",
            "Degraded" => "31",
            _ => "0",
        };
        println!(
            "{:7} {} {step:>5} {:>5} % {:>7.1} % {success:>8} {p95:>7} {:>5}  {}",
            self.clock(),
            self.paint(colour, &format!("{phase:12}")),
            moment.weight,
            moment.share * 100.0,
            moment.lost,
            text("/waiting/message"),
        );
    }

    fn clock(&self) -> String {
        let seconds = self.start.elapsed().as_secs();
        format!("[{:02}:{:02}]", seconds / 60, seconds % 60)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
