//! The Headgate controller.

use std::process::ExitCode;

use clap::Parser;
use headgate_controller::{args::Args, logs, run};

fn main() -> anyhow::Result<ExitCode> {
    // reqwest and kube share rustls but neither chooses its cryptography: without this both panic.
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    logs::init(&args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Err(error) = runtime.block_on(run::run(args)) {
        // As a log message, so that it reaches whoever reads the others, in their format.
        tracing::error!(error = format!("{error:#}"), "exiting");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
