//! `version`.

use crate::Outcome;
use crate::output::Output;
use crate::program::Program;
use anyhow::Result;
use clap::Args;

/// Print the version
#[derive(Args, Debug)]
pub(crate) struct Version {
    /// The number alone
    #[arg(long)]
    short: bool,
}

impl Version {
    pub(crate) fn run(self, program: Program, output: &Output) -> Result<Outcome> {
        const VERSION: &str = env!("CARGO_PKG_VERSION");
        if self.short {
            output.line(&format!("v{VERSION}"))?;
        } else {
            output.line(&format!("{}: v{VERSION}+headgate", program.file()))?;
            output.line(&format!("  Platform: {}/{}", std::env::consts::OS, std::env::consts::ARCH))?;
        }
        Ok(Outcome::Done)
    }
}
