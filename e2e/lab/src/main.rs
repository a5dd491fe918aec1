//! `lab` by itself; `cargo xtask lab` is the same.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "lab")]
struct Cli {
    #[command(flatten)]
    lab: headgate_lab::LabArgs,
}

fn main() -> ExitCode {
    match headgate_lab::run(Cli::parse().lab) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace: the messages say what to do.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
