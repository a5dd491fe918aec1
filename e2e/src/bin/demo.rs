//! `cargo xtask demo`: boots the lab, shows a good release and a bad one, and takes the lab down again.
#![expect(clippy::print_stdout, reason = "a command line tool speaks to its user")]

use clap::Parser;
use headgate_e2e::Cluster;
use headgate_e2e::cluster::{Existing, Where};
use headgate_e2e::demo::{self, Programme, Trouble, Verdict};
use headgate_e2e::door::Door;
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
    /// The router that requests come through
    #[arg(long, value_enum, default_value = "istio")]
    router: Door,
    /// What is wrong with the bad release
    #[arg(long, value_enum, default_value = "errors")]
    fault: Trouble,
    /// Every fault through every router, one after the other (about a quarter of an hour)
    #[arg(long, conflicts_with_all = ["router", "fault", "keep"])]
    all: bool,
    #[command(flatten)]
    existing: Existing,
}

impl Args {
    fn programmes(&self) -> Vec<Programme> {
        if self.all {
            return Door::ALL.map(|door| Programme { door, troubles: Trouble::ALL.to_vec() }).to_vec();
        }
        vec![Programme { door: self.router, troubles: vec![self.fault] }]
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let verdicts = match args.existing.context {
        Some(_) => show(Where::Existing(args.existing.clone()), &args.programmes())?,
        None => in_lab(&args)?,
    };
    for verdict in &verdicts {
        println!("{verdict}");
    }
    Ok(if verdicts.iter().all(Verdict::is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_lab(args: &Args) -> anyhow::Result<Vec<Verdict>> {
    let programmes = args.programmes();
    let mut addons = vec![Addon::Prometheus];
    for addon in programmes.iter().map(|programme| programme.door.addon()) {
        if !addons.contains(&addon) {
            addons.push(addon);
        }
    }
    let lab = Lab::up(&Options { name: args.name.clone(), addons })?;
    // Before the runtime has threads: they all shall be in the lab's network.
    lab.enter_netns()?;
    let verdicts = show(Where::Lab(args.name.clone()), &programmes);
    if args.keep {
        look_around(&args.name);
    } else {
        Lab::down(&args.name)?;
    }
    verdicts
}

fn show(place: Where, programmes: &[Programme]) -> anyhow::Result<Vec<Verdict>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let cluster = Cluster::connect_to(place).await?;
        let all = async {
            let mut verdicts = Vec::new();
            for programme in programmes {
                verdicts.push(demo::run(&cluster, programme).await?);
            }
            Ok(verdicts)
        };
        tokio::select! {
            verdicts = all => verdicts,
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
