//! `cargo xtask demo`: boots the lab, shows a good release and a bad one, and takes the lab down again.
#![expect(clippy::print_stdout, reason = "a command line tool speaks to its user")]

use clap::Parser;
use headgate_e2e::Cluster;
use headgate_e2e::cluster::{Existing, Where};
use headgate_e2e::demo::{self, Verdict};
use headgate_lab::{Addon, Lab, Options};
use std::process::ExitCode;

/// A real cluster, a good release to the end and a bad one into its abort, with live traffic
#[derive(Parser)]
#[command(name = "cargo xtask demo")]
struct Args {
    /// Leave the cluster and the shop running, and say how to look around
    #[arg(long)]
    keep: bool,
    /// The name of the lab that is used
    #[arg(long, default_value = "demo", conflicts_with = "context")]
    name: String,
    #[command(flatten)]
    existing: Existing,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let verdict =
        if args.existing.context.is_some() { show(Where::Existing(args.existing))? } else { in_lab(&args)? };
    println!("{verdict}");
    Ok(if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_lab(args: &Args) -> anyhow::Result<Verdict> {
    let lab = Lab::up(&Options { name: args.name.clone(), addons: vec![Addon::Prometheus, Addon::Istio] })?;
    // Before the runtime has threads: they all shall be in the lab's network.
    lab.enter_netns()?;
    let verdict = show(Where::Lab(args.name.clone()));
    if args.keep {
        look_around(&args.name);
    } else {
        Lab::down(&args.name)?;
    }
    verdict
}

fn show(place: Where) -> anyhow::Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let cluster = Cluster::connect_to(place).await?;
        tokio::select! {
            verdict = demo::run(&cluster) => verdict,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        }
    })
}

fn look_around(name: &str) {
    let namespace = demo::NAMESPACE;
    println!(
        "\nThe cluster goes on running. Look around:\n  \
         cargo xtask lab status --name {name}\n  \
         cargo xtask lab kubectl --name {name} -- -n {namespace} get rollouts,analysisruns,pods\n  \
         cargo xtask lab exec --name {name} -- target/x86_64-unknown-linux-gnu/release/kubectl-headgate get rollout shop -n {namespace}\n\
         and take it down:\n  \
         cargo xtask lab down --name {name}"
    );
}
