//! `pause`.

use super::Context;
use super::steer::{Unobserved, steer};
use crate::Outcome;
use crate::intent;
use crate::target::{TargetKind, targets};
use anyhow::Result;
use clap::Args;

/// Hold the release where it is, until it is promoted
#[derive(Args, Debug)]
#[command(after_help = "Traffic and pods stay as they are. `promote` goes on.

Examples:
  kubectl headgate pause shop")]
pub(crate) struct Pause {
    /// The rollouts
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Pause {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        for target in targets(&self.names, &[TargetKind::Rollout])? {
            steer(context, &target.name, Unobserved::Irrelevant, "paused", intent::pause).await?;
        }
        Ok(Outcome::Done)
    }
}
