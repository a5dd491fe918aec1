//! `status`.

use super::Context;
use crate::Outcome;
use crate::connect::timeout;
use crate::live::{Extent, Pace, follow};
use crate::phase::{Standing, standing};
use crate::target::rollout_name;
use crate::view::Scene;
use anyhow::Result;
use clap::{ArgAction, Args};
use headgate_api::RolloutPhase;
use std::ops::ControlFlow;
use std::time::Duration;

/// Wait until a release has ended, and tell how
#[derive(Args, Debug)]
#[command(
    after_help = "Prints each phase with its message. Ends with exit code 0 when the rollout is Healthy, and with \
1 when it is Degraded or not Healthy in time. A pause is waited through.

Examples:
  kubectl headgate status shop
  kubectl headgate status shop --timeout 10m
  kubectl headgate status shop --watch=false"
)]
pub(crate) struct Status {
    /// The rollout
    #[arg(required = true, value_name = "NAME")]
    name: Vec<String>,
    /// Wait for the end
    #[arg(
        long, short, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", value_name = "true|false"
    )]
    watch: bool,
    /// Wait no longer than this, such as 90s, 10m or 1h; 0 is for ever
    #[arg(long, short, value_name = "DURATION", default_value = "0", value_parser = timeout)]
    timeout: Duration,
}

impl Status {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let name = rollout_name(&self.name)?;
        if self.watch {
            return self.wait(&name, context).await;
        }
        let found = context.cluster.rollout(&name).await?;
        let standing = standing(&found.rollout);
        context.output.line(&line(&standing))?;
        Ok(end(&name, &standing, context).unwrap_or(Outcome::Done))
    }

    async fn wait(&self, name: &str, context: &Context<'_>) -> Result<Outcome> {
        let output = context.output;
        let mut said = String::new();
        let show = |scene: &Scene| {
            let standing = standing(&scene.rollout);
            let line = line(&standing);
            if line != said {
                output.line(&line)?;
                said = line;
            }
            Ok(end(name, &standing, context).map_or(ControlFlow::Continue(()), ControlFlow::Break))
        };
        let waited =
            follow(&context.cluster, name, Extent::Rollout, Pace::OnChange, |note| output.note(note), show);
        if self.timeout.is_zero() {
            return waited.await;
        }
        match tokio::time::timeout(self.timeout, waited).await {
            Ok(outcome) => outcome,
            Err(_) => {
                output.note(&format!("Error: rollout '{name}' is not Healthy after {:?}", self.timeout));
                Ok(Outcome::Unwell)
            }
        }
    }
}

/// A phase with its message, as scripts know it.
fn line(standing: &Standing) -> String {
    match standing.message.as_str() {
        "" => standing.phase.to_string(),
        message => format!("{} - {message}", standing.phase),
    }
}

/// Whether the release has ended, and how.
fn end(name: &str, standing: &Standing, context: &Context<'_>) -> Option<Outcome> {
    match standing.phase {
        RolloutPhase::Healthy => Some(Outcome::Done),
        RolloutPhase::Degraded => {
            let why = format!("`{} why {name}` says more", context.program.command());
            context.output.note(&format!("Error: rollout '{name}' is Degraded; {why}"));
            Some(Outcome::Unwell)
        }
        RolloutPhase::Progressing | RolloutPhase::Paused => None,
    }
}
