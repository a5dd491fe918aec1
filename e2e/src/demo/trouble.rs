//! What is wrong with the bad release.

/// A fault of a version, and how Headgate notices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Trouble {
    /// Three in ten of its answers are errors: its success rate tells.
    Errors,
    /// One in ten of its answers takes a second: its 95th percentile tells.
    Latency,
    /// It ends before it is ready, again and again: the health of its pods tells.
    Crash,
    /// It takes more memory than it may have before it is ready: the health of its pods tells.
    Oom,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Errors, Self::Latency, Self::Crash, Self::Oom];

    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Crash => "crash",
            Self::Oom => "oom",
        }
    }

    /// For people.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Errors => "three in ten of its answers are errors",
            Self::Latency => "one in ten of its answers takes a second",
            Self::Crash => "it crashes before it is ready",
            Self::Oom => "it takes more memory than it may have, before it is ready",
        }
    }

    /// The environment that makes the app behave so.
    pub(super) fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Errors => &[("ERROR_RATE", "0.3")],
            Self::Latency => &[("P95", "1s")],
            Self::Crash => &[("START_DELAY", "1m"), ("CRASH_AFTER", "100ms")],
            Self::Oom => &[("START_DELAY", "1m"), ("OOM_AFTER", "100ms")],
        }
    }

    /// What the message of the aborted Rollout says.
    pub(super) fn named_as(self) -> &'static str {
        match self {
            Self::Errors => "success-rate",
            Self::Latency => "latency-p95",
            Self::Crash => "container app: ended ",
            Self::Oom => "OOMKilled",
        }
    }
}
