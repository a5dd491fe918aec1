//! What people and CI run: the lab, what is generated, the checks, the demo.
#![expect(clippy::print_stdout, reason = "a command line tool speaks to its user")]

mod ci;
#[cfg(test)]
mod docs;
mod generate;
mod gotypes;
mod house;
mod image;
mod presets;
mod process;
mod rbac;

use clap::{Parser, Subcommand};

/// Builds, tests and shows Headgate.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the lab needs and build it (once; cached outside the work tree)
    Setup,
    /// A real cluster, a good release to the end and a bad one into its abort, with live traffic
    Demo(ci::Passed),
    /// Everything that CI runs; ends with `N passed, N failed`
    Test(ci::TestArgs),
    /// Format, clippy, the house's own rules
    Lint,
    /// Unit and property tests: no cluster, no network
    Unit,
    /// The tests on a real cluster (needs root); what follows goes to the test runner, for example a filter
    E2e(ci::E2eArgs),
    /// Try the driver in a virtual cluster that breaks on purpose, by seed (--seeds N --first S --trace)
    Sim(ci::Passed),
    /// CRDs, RBAC, reference pages
    Generate {
        /// Change nothing; fail when something differs
        #[arg(long)]
        check: bool,
    },
    /// Hash random pod templates with Go and with Headgate, and compare
    CheckHash {
        /// How many templates
        #[arg(long, default_value_t = 5000)]
        count: u32,
        /// The first seed; the same seed makes the same templates
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Hold the chart's ready-made analysis templates against made-up series, with promtool
    Presets,
    /// Check the directions of dependencies and the other rules of the house
    House,
    /// Build the images that users get, as docker-archive files in target/images
    Image,
    /// A real Kubernetes on this machine, without Docker
    Lab(headgate_lab::LabArgs),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Setup => ci::setup(),
        Command::Demo(passed) => ci::demo(&passed),
        Command::Test(args) => ci::test(&args),
        Command::Lint => ci::lint(),
        Command::Unit => ci::unit(),
        Command::E2e(args) => ci::e2e(&args),
        Command::Sim(passed) => ci::sim(&passed),
        Command::Generate { check } => generate::run(check),
        Command::CheckHash { count, seed } => gotypes::check_hash(count, seed),
        Command::Presets => presets::check(),
        Command::House => house::check(),
        Command::Image => image::build(),
        Command::Lab(args) => headgate_lab::run(args),
    }
}
