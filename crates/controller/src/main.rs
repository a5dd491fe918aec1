//! The Headgate controller.

use clap::Parser;
use headgate_controller::{args::Args, logs, run};

fn main() -> anyhow::Result<()> {
    // reqwest and kube share rustls but neither chooses its cryptography: without this both panic.
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    logs::init(&args)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run::run(args))
}
