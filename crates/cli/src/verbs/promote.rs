//! `promote`.

use super::Context;
use super::steer::{Unobserved, steer};
use crate::Outcome;
use crate::intent::{self, Promotion};
use crate::target::rollout_name;
use anyhow::Result;
use clap::Args;

/// Go on: past the current pause or step, or straight to the end
#[derive(Args, Debug)]
#[command(
    after_help = "Without --full the release goes past the pause, or past the step, where it is now, and on \
with the next one. With --full it skips all further steps, pauses and analysis.

The release that is promoted is the one that runs now: when it has moved on to another version or step in the \
meantime, nothing happens.

Examples:
  # End the pause
  kubectl headgate promote shop

  # Skip what is left
  kubectl headgate promote shop --full"
)]
pub(crate) struct Promote {
    /// The rollout
    #[arg(required = true, value_name = "NAME")]
    name: Vec<String>,
    /// Skip all further steps, pauses and analysis
    #[arg(long)]
    full: bool,
    #[arg(long, short = 'c', hide = true, conflicts_with_all = ["full", "skip_all_steps"])]
    skip_current_step: bool,
    #[arg(long, short = 'a', hide = true, conflicts_with = "full")]
    skip_all_steps: bool,
}

impl Promote {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let name = rollout_name(&self.name)?;
        let (promotion, done) = self.promotion(context);
        steer(context, &name, Unobserved::Refuse, done, |rollout| intent::promote(rollout, promotion))
            .await?;
        Ok(Outcome::Done)
    }

    fn promotion(&self, context: &Context<'_>) -> (Promotion, &'static str) {
        if self.full {
            return (Promotion::Full, "fully promoted");
        }
        if self.skip_current_step {
            context.output.note("--skip-current-step is deprecated: promote without it does the same");
            return (Promotion::SkipCurrentStep, "promoted");
        }
        if self.skip_all_steps {
            context.output.note("--skip-all-steps is deprecated: use --full");
            return (Promotion::SkipAllSteps, "promoted");
        }
        (Promotion::Step, "promoted")
    }
}
