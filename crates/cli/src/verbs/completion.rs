//! `completion`.

use crate::Outcome;
use crate::args::command;
use crate::output::Output;
use crate::program::Program;
use anyhow::Result;
use clap::Args;
use clap_complete::{Shell, generate};

/// Print a script that completes this command in a shell
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # bash, now
  source <(kubectl headgate completion bash)

  # `kubectl headgate <TAB>`, in every shell that completes kubectl: the same program under a second name
  ln -s kubectl-headgate \"$(dirname \"$(command -v kubectl-headgate)\")/kubectl_complete-headgate\"

  # zsh, for good
  kubectl headgate completion zsh > \"${fpath[1]}/_kubectl-headgate\"")]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self, program: Program, output: &Output) -> Result<Outcome> {
        let mut script = Vec::new();
        generate(self.shell, &mut command(program).bin_name(program.file()), program.file(), &mut script);
        output.block(&String::from_utf8(script)?)?;
        Ok(Outcome::Done)
    }
}
