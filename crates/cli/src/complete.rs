//! Shell completion as kubectl asks for it: the program called as `kubectl_complete-headgate`, with the words so far.
//!
//! The answer is one candidate a line and then `:` with a number, by the protocol of cobra: 4 means that files are no
//! candidates, 0 that they are.

use crate::args::Global;
use crate::cluster::{Cluster, Scope};
use anyhow::Result;
use clap::{Arg, ArgAction, Args as _, Command, FromArgMatches as _};
use std::time::Duration;

const FILES_TOO: &str = ":0";
const NO_FILES: &str = ":4";
/// A person waits at the key.
const PATIENCE: Duration = Duration::from_secs(3);

/// What may stand in place of the last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// One of these, with what each is.
    Words(Vec<(String, String)>),
    /// The name of a Rollout.
    Rollouts,
    /// A file, or whatever the shell thinks.
    Anything,
    /// Nothing that is known here.
    Nothing,
}

/// Answers kubectl; `words` are those behind the plugin's name, the last one is being typed.
pub(crate) async fn complete(command: &Command, words: &[String]) -> String {
    let typed = words.last().map_or("", String::as_str);
    let (candidates, directive) = match candidates(command, words) {
        Candidates::Words(words) => (words, NO_FILES),
        Candidates::Rollouts => (names(words).await.unwrap_or_default(), NO_FILES),
        Candidates::Anything => (vec![], FILES_TOO),
        Candidates::Nothing => (vec![], NO_FILES),
    };
    let fitting = candidates.into_iter().filter(|(word, _)| word.starts_with(typed));
    let lines: String = fitting.map(|(word, about)| format!("{word}\t{about}\n")).collect();
    format!("{lines}{directive}\n")
}

/// What may stand in place of the last word.
pub(crate) fn candidates(command: &Command, words: &[String]) -> Candidates {
    let Some((typed, done)) = words.split_last() else { return Candidates::Nothing };
    let mut command = command.clone();
    command.build();
    let (mut place, mut open, mut positional) = (&command, None, 0);
    for word in done {
        if open.take().is_some() {
            continue;
        }
        if let Some(flag) = flag(place, word) {
            open = flag.get_action().takes_values().then_some(flag).filter(|_| !word.contains('='));
        } else if let Some(sub) = place.find_subcommand(word) {
            (place, positional) = (sub, 0);
        } else {
            positional += 1;
        }
    }
    match open {
        Some(flag) => values(flag),
        None if typed.starts_with('-') => Candidates::Words(flags(place)),
        None if place.has_subcommands() => Candidates::Words(subcommands(place)),
        None => place
            .get_positionals()
            .nth(positional)
            .or(place.get_positionals().last())
            .map_or(Candidates::Nothing, values),
    }
}

fn flag<'a>(place: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next().unwrap_or(word);
    let is_it = |arg: &&Arg| {
        name.strip_prefix("--").is_some_and(|long| arg.get_long() == Some(long))
            || name
                .strip_prefix('-')
                .is_some_and(|short| arg.get_short().is_some_and(|own| short == own.to_string()))
    };
    place.get_arguments().find(is_it)
}

fn values(arg: &Arg) -> Candidates {
    let words = arg.get_possible_values();
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let name = arg.get_value_names().and_then(|names| names.first()).map(clap::builder::Str::as_str);
    match name {
        _ if is_switch => Candidates::Nothing,
        _ if !words.is_empty() => Candidates::Words(
            words
                .iter()
                .map(|value| {
                    (
                        value.get_name().to_owned(),
                        value.get_help().map(ToString::to_string).unwrap_or_default(),
                    )
                })
                .collect(),
        ),
        Some("NAME") if !arg.is_set_by_flag() => Candidates::Rollouts,
        Some("PATH") => Candidates::Anything,
        _ => Candidates::Nothing,
    }
}

/// Whether an argument is one of the flags.
trait IsFlag {
    fn is_set_by_flag(&self) -> bool;
}

impl IsFlag for Arg {
    fn is_set_by_flag(&self) -> bool {
        self.get_long().is_some() || self.get_short().is_some()
    }
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(|text| text.to_string().lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
}

fn flags(place: &Command) -> Vec<(String, String)> {
    let shown = place.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(|arg| Some((format!("--{}", arg.get_long()?), about(arg.get_help())))).collect()
}

fn subcommands(place: &Command) -> Vec<(String, String)> {
    let shown = place.get_subcommands().filter(|sub| !sub.is_hide_set());
    shown.map(|sub| (sub.get_name().to_owned(), about(sub.get_about()))).collect()
}

/// The Rollouts of the namespace that the words name.
async fn names(words: &[String]) -> Result<Vec<(String, String)>> {
    // Whatever else is among the words, only the connection matters.
    let only = Global::augment_args(
        Command::new("complete").ignore_errors(true).arg(Arg::new("rest").num_args(0..)),
    );
    let matches =
        only.try_get_matches_from(std::iter::once("complete").chain(words.iter().map(String::as_str)))?;
    let connection = Global::from_arg_matches(&matches)?.connection;
    let asked = async {
        let cluster = Cluster::from(connection.connect().await?);
        cluster.rollouts(Scope::Namespace).await
    };
    let found = tokio::time::timeout(PATIENCE, asked).await??;
    Ok(found.into_iter().filter_map(|found| Some((found.rollout.metadata.name?, String::new()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::command;
    use crate::program::Program;

    fn after(line: &str) -> Candidates {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        candidates(&command(Program::Headgate), &words)
    }

    fn words(line: &str) -> Vec<String> {
        match after(line) {
            Candidates::Words(words) => words.into_iter().map(|(word, _)| word).collect(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_place_of_a_command_has_its_candidates() {
        let verbs = words("pro");
        for verb in ["promote", "list", "restart", "lint", "completion", "status"] {
            assert!(verbs.iter().any(|known| known == verb), "{verb}: {verbs:?}");
        }
        assert_eq!(words("get "), ["rollout", "help"]);
        assert_eq!(words("list rollouts -o "), ["wide", "json", "yaml"]);
        assert!(words("promote --").contains(&"--full".to_owned()));
        assert!(!words("promote --").contains(&"--skip-all-steps".to_owned()), "hidden flags stay hidden");
        for line in
            ["promote ", "promote --full ", "-n prod promote ", "get rollout sh", "status shop --timeout 5m "]
        {
            assert_eq!(after(line), Candidates::Rollouts, "{line}");
        }
        assert_eq!(after("lint -f "), Candidates::Anything);
        assert_eq!(after("promote -n "), Candidates::Nothing);
        assert_eq!(words("completion ").first().map(String::as_str), Some("bash"));
    }

    #[tokio::test]
    async fn the_answer_ends_with_whether_files_are_candidates() {
        let command = command(Program::Headgate);
        let ask = async |word: &str| complete(&command, &[word.to_owned()]).await;
        assert_eq!(ask("ver").await, "version\tPrint the version\n:4\n");
        let files = complete(&command, &["lint".to_owned(), "-f".to_owned(), String::new()]).await;
        assert_eq!(files, ":0\n");
    }
}
