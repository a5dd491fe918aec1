//! `kubectl headgate`: what people type to look at releases and to steer them.
//!
//! A verb reads the Rollout, decides purely ([`intent`], [`phase`], [`view`]), and sends one or two narrow patches
//! ([`send`]). It keeps nothing, starts nothing, and polls nothing: what changes arrives through watches.
//!
//! Invariants:
//! - A patch that steers a release carries the resourceVersion of what was read, and is repeated only while the release
//!   is still the one that was read.
//! - What is shown is a function of (objects, now). Only [`output`] writes to the terminal.

use program::Program;
use std::ffi::OsString;
use std::process::ExitCode;

mod args;
mod cluster;
mod complete;
mod connect;
mod explain;
pub mod intent;
pub mod lint;
mod live;
mod manifests;
mod output;
pub mod phase;
mod program;
#[cfg(test)]
mod scripted;
mod send;
mod target;
mod verbs;
pub mod view;

pub use cluster::Cluster;
pub use send::{Bound, carry_out};

/// How a command ended that did what it was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Done,
    /// The answer was given, and it is bad news: scripts must notice.
    Unwell,
    /// What was given can't be used; why was said.
    BadInput,
}

/// Runs the command that `arguments` (with the program's path first) ask for.
///
/// Exit codes: 0 done; 1 it failed, or the Rollout is Degraded or not Healthy in time, or a simulated release does not go
/// out, or `lint` has found what would stop one; 2 wrong usage, or manifests that can't be read or tried.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Two providers may be in the graph; rustls wants to be told. An error means that one is installed already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let (Some(program), Ok(runtime)) =
        (arguments.first().and_then(|path| Program::to_complete(path)), &runtime)
    {
        let words: Vec<String> =
            arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        let answer = runtime.block_on(complete::complete(&args::command(program), &words));
        return output::Output::plain().block(&answer).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let (command, program) = args::parse(arguments);
    let output = output::Output::new(&command.global);
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return output.fail(&error.into()),
    };
    match runtime.block_on(verbs::run(command, program, &output)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Unwell) => ExitCode::FAILURE,
        Ok(Outcome::BadInput) => ExitCode::from(2),
        Err(error) => output.fail(&error),
    }
}
