//! `why`.

use super::get::Format;
use super::{Context, now};
use crate::Outcome;
use crate::target::rollout_name;
use crate::view::waiting;
use anyhow::Result;
use clap::Args;

/// Say what a rollout waits for, since when, and what ends it
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kubectl headgate why shop")]
pub(crate) struct Why {
    /// The rollout
    #[arg(required = true, value_name = "NAME")]
    name: Vec<String>,
    /// Print what is stored, as data
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

impl Why {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let found = context.cluster.rollout(&rollout_name(&self.name)?).await?;
        let text = match self.output {
            Some(format) => {
                format.print(found.raw.pointer("/status/waiting").unwrap_or(&serde_json::Value::Null))?
            }
            None => waiting::why(&found.rollout, context.program.command(), now()),
        };
        context.output.block(&text)?;
        Ok(Outcome::Done)
    }
}
