//! `retry`.

use super::Context;
use super::steer::{Unobserved, steer};
use crate::Outcome;
use crate::intent;
use crate::target::{TargetKind, targets};
use anyhow::Result;
use clap::Args;
use serde_json::json;

/// Start an aborted release, or a finished experiment, again
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kubectl headgate retry shop
  kubectl headgate retry rollout shop
  kubectl headgate retry experiment baseline")]
pub(crate) struct Retry {
    /// The rollouts, or `experiment` and the names of experiments
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Retry {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        for target in targets(&self.names, &[TargetKind::Rollout, TargetKind::Experiment])? {
            if target.kind == TargetKind::Rollout {
                steer(context, &target.name, Unobserved::GoOn, "retried", intent::retry).await?;
            } else {
                context.cluster.merge_object(&target, &json!({ "status": null })).await?;
                context.output.line(&format!("experiment '{}' retried", target.name))?;
            }
        }
        Ok(Outcome::Done)
    }
}
