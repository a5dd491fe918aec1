//! `abort`.

use super::Context;
use super::steer::{Unobserved, steer};
use crate::Outcome;
use crate::intent;
use crate::target::{TargetKind, targets};
use anyhow::Result;
use clap::Args;

/// Stop the release and give all traffic back to the stable version
#[derive(Args, Debug)]
#[command(
    after_help = "The spec keeps the new version: start it again with `retry`, go back for good with `undo`, \
or release something else.

Examples:
  kubectl headgate abort shop
  kubectl headgate abort shop cart"
)]
pub(crate) struct Abort {
    /// The rollouts
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Abort {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        for target in targets(&self.names, &[TargetKind::Rollout])? {
            steer(context, &target.name, Unobserved::GoOn, "aborted", intent::abort).await?;
        }
        Ok(Outcome::Done)
    }
}
