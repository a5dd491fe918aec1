//! The command line.

use crate::connect::Connection;
use crate::program::Program;
use crate::verbs::Verb;
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser};
use std::ffi::OsString;

/// See and steer releases: Rollouts of the API argoproj.io
#[derive(Parser, Debug)]
#[command(
    name = "kubectl-headgate",
    bin_name = "kubectl headgate",
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
#[command(after_help = "Every NAME may be written rollout/NAME.

Examples:
  # Watch a release
  kubectl headgate get rollout shop -w

  # Why does it not go on?
  kubectl headgate why shop

  # Go on, or go back
  kubectl headgate promote shop
  kubectl headgate abort shop")]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Flags of every verb.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Print without colours (as do $NO_COLOR and output that is not a terminal)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
    // The stock plugin's log flags: this program logs nothing, and scripts that pass them shall go on working.
    #[arg(short = 'v', long = "kloglevel", global = true, hide = true)]
    kloglevel: Option<String>,
    #[arg(long = "loglevel", global = true, hide = true)]
    loglevel: Option<String>,
}

/// Reads the command line; prints help or an error and ends the process when there is nothing to run.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> (CommandLine, Program) {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = arguments.first().map_or(Program::Headgate, |path| Program::from_path(path));
    let matches = command(program).get_matches_from(arguments);
    match CommandLine::from_arg_matches(&matches) {
        Ok(line) => (line, program),
        Err(error) => error.exit(),
    }
}

/// The command line as it is shown under a name.
pub(crate) fn command(program: Program) -> Command {
    let command = CommandLine::command().name(program.file()).bin_name(program.command());
    renamed(command, program)
}

fn renamed(command: Command, program: Program) -> Command {
    let examples = command.get_after_help().map(ToString::to_string);
    let command = match examples {
        Some(text) => command.after_help(text.replace(Program::Headgate.command(), program.command())),
        None => command,
    };
    command.mut_subcommands(|sub| renamed(sub, program))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(line: &str) -> bool {
        command(Program::Headgate).try_get_matches_from(line.split_whitespace()).is_ok()
    }

    #[test]
    fn the_command_line_is_sound() {
        command(Program::Headgate).debug_assert();
        command(Program::ArgoRollouts).debug_assert();
    }

    #[test]
    fn what_people_type_is_understood() {
        for line in [
            "x get rollout shop -w",
            "x get ro shop --watch --no-color",
            "x get rollout shop --timeout-seconds 60 -w",
            "x get rollouts rollout/shop -o json",
            "x promote shop --full -n prod",
            "x promote shop -c",
            "x promote -a shop",
            "x -n prod promote rollout/shop",
            "x abort shop cart",
            "x retry rollout shop",
            "x retry shop",
            "x retry experiment one",
            "x undo shop --to-revision=3",
            "x undo shop --to-revision 3",
            "x set image shop app=img:2 side=img:1",
            "x set image shop *=img:2",
            "x status shop -w=false",
            "x status shop --watch=false",
            "x status shop -w",
            "x status shop --timeout 5m",
            "x status shop -t 60s",
            "x restart shop -i 10s",
            "x terminate analysisrun one",
            "x list rollouts -A",
            "x list ro -n prod",
            "x list ro -o wide",
            "x get ro shop -o wide -w",
            "x why shop",
            "x simulate -f rollout.yaml -f more.yaml --metric success-rate=0.97 --fault crash@60s --traffic 200/s -o json",
            "x simulate -f . --metric errors/rate=nan@30s --promote-after never --pod-start 5s --strict -n prod",
            "x lint -f rollout.yaml analysis.yaml -R apps --strict -n prod",
            "x lint -f - -o json",
            "x completion bash",
            "x version --short",
            "x pause shop --kubeconfig k --context c --cluster c --user u --server https://h --token t --as a",
            "x pause shop --insecure-skip-tls-verify --request-timeout 10s -v 5 --loglevel info",
        ] {
            assert!(reads(line), "{line}");
        }
        for line in [
            "x",
            "x promote",
            "x set image shop",
            "x get",
            "x undo",
            "x promote a --full -a",
            "x simulate",
            "x lint",
            "x simulate -f a --fault crash",
        ] {
            assert!(!reads(line), "{line}");
        }
    }

    /// The commands of this plugin in the shell blocks of README and docs.
    fn commands_in_docs(directory: &std::path::Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.ends_with("docs") {
                found.extend(commands_in_docs(&path));
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let page = std::fs::read_to_string(&path).unwrap();
                let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
                let lines =
                    blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap_or_default());
                found.extend(lines.filter(|line| line.starts_with("kubectl headgate ")).map(str::to_owned));
            }
        }
        found
    }

    #[test]
    fn what_the_docs_say_is_understood() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let commands = commands_in_docs(&root);
        assert!(commands.len() > 10, "{commands:?}");
        for line in commands {
            assert!(reads(line.trim_start_matches("kubectl ")), "{line}");
        }
    }

    #[test]
    fn the_help_speaks_the_name_under_which_the_program_was_called() {
        let mut command = command(Program::ArgoRollouts);
        let help = command.render_long_help().to_string();
        assert!(help.contains("kubectl argo rollouts promote shop"), "{help}");
        assert!(!help.contains("kubectl headgate"), "{help}");
    }
}
