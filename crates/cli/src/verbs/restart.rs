//! `restart`.

use super::steer::{Unobserved, steer};
use super::{Context, now};
use crate::Outcome;
use crate::connect::timeout;
use crate::intent;
use crate::target::{TargetKind, targets};
use anyhow::{Context as _, Result};
use clap::Args;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Replace all pods, gradually, without a new version
#[derive(Args, Debug)]
#[command(
    after_help = "Refused for a Rollout that Headgate carries out: this version restarts no pods yet. Change an annotation
of the pod template instead.

Examples:
  kubectl headgate restart shop
  kubectl headgate restart shop --in 10m"
)]
pub(crate) struct Restart {
    /// The rollouts
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Wait this long first, such as 30s, 5m or 1h
    #[arg(long = "in", short = 'i', value_name = "DURATION", value_parser = timeout)]
    delay: Option<Duration>,
}

impl Restart {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let delay = SignedDuration::try_from(self.delay.unwrap_or_default()).context("--in is too long")?;
        let at = now().checked_add(delay).context("--in is too long")?;
        // Kubernetes stores whole seconds.
        let at = Timestamp::from_second(at.as_second())?.to_string();
        let done = format!("restarts in {}", crate::view::age::human(delay.as_secs()));
        for target in targets(&self.names, &[TargetKind::Rollout])? {
            steer(context, &target.name, Unobserved::Irrelevant, &done, |rollout| {
                intent::restart(rollout, &at)
            })
            .await?;
        }
        Ok(Outcome::Done)
    }
}
