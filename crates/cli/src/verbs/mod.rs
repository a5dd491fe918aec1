//! The verbs: one file each, with its flags, its help and what it does.

mod abort;
mod completion;
mod get;
mod lint;
mod list;
mod pause;
mod promote;
mod restart;
mod retry;
mod set;
mod simulate;
mod status;
mod steer;
mod terminate;
mod undo;
mod version;
mod why;

use crate::Outcome;
use crate::args::CommandLine;
use crate::cluster::Cluster;
use crate::output::Output;
use crate::program::Program;
use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    Get(get::Get),
    List(list::List),
    Status(status::Status),
    Why(why::Why),
    Promote(promote::Promote),
    Abort(abort::Abort),
    Retry(retry::Retry),
    Undo(undo::Undo),
    Pause(pause::Pause),
    Restart(restart::Restart),
    Set(set::Set),
    Terminate(terminate::Terminate),
    Simulate(simulate::Simulate),
    Lint(lint::Lint),
    Completion(completion::Completion),
    Version(version::Version),
}

/// What a verb works with.
pub(crate) struct Context<'a> {
    pub(crate) cluster: Cluster,
    pub(crate) program: Program,
    pub(crate) output: &'a Output,
}

/// Runs the verb that was asked for.
pub(crate) async fn run(line: CommandLine, program: Program, output: &Output) -> Result<Outcome> {
    // These four work without a cluster.
    let verb = match line.verb {
        Verb::Completion(verb) => return verb.run(program, output),
        Verb::Version(verb) => return verb.run(program, output),
        Verb::Simulate(verb) => return verb.run(line.global.connection.namespace.as_deref(), output),
        Verb::Lint(verb) => return verb.run(line.global.connection.namespace.as_deref(), output),
        verb => verb,
    };
    let cluster = Cluster::from(line.global.connection.connect().await?);
    let context = Context { cluster, program, output };
    match verb {
        Verb::Get(verb) => verb.run(&context).await,
        Verb::List(verb) => verb.run(&context).await,
        Verb::Status(verb) => verb.run(&context).await,
        Verb::Why(verb) => verb.run(&context).await,
        Verb::Promote(verb) => verb.run(&context).await,
        Verb::Abort(verb) => verb.run(&context).await,
        Verb::Retry(verb) => verb.run(&context).await,
        Verb::Undo(verb) => verb.run(&context).await,
        Verb::Pause(verb) => verb.run(&context).await,
        Verb::Restart(verb) => verb.run(&context).await,
        Verb::Set(verb) => verb.run(&context).await,
        Verb::Terminate(verb) => verb.run(&context).await,
        Verb::Completion(_) | Verb::Version(_) | Verb::Simulate(_) | Verb::Lint(_) => Ok(Outcome::Done),
    }
}

/// The instant at which a command looks.
pub(crate) fn now() -> k8s_openapi::jiff::Timestamp {
    k8s_openapi::jiff::Timestamp::now()
}
