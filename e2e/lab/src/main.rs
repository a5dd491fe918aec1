//! `lab` by itself; `cargo xtask lab` is the same.

use clap::Parser;

#[derive(Parser)]
#[command(name = "lab")]
struct Cli {
    #[command(flatten)]
    lab: headgate_lab::LabArgs,
}

fn main() -> anyhow::Result<()> {
    headgate_lab::run(Cli::parse().lab)
}
