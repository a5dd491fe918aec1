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
    after_help = "Pods that were created before are evicted a few at a time, as maxUnavailable and PodDisruptionBudgets allow, and
their ReplicaSets make new ones. `get` and `why` show how far it is.

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
        let done = match delay.as_secs() {
            0 => "restarts".to_owned(),
            seconds => format!("restarts in {}", crate::view::age::human(seconds)),
        };
        for target in targets(&self.names, &[TargetKind::Rollout])? {
            steer(context, &target.name, Unobserved::Irrelevant, &done, |_| intent::restart(&at)).await?;
        }
        Ok(Outcome::Done)
    }
}
