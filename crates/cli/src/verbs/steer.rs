//! What the verbs that steer a release share: look, decide, write, say.

use super::Context;
use crate::intent::Intent;
use crate::phase::{Observed, observed};
use crate::send::{Sent, carry_out};
use anyhow::{Result, bail};
use headgate_api::Rollout;
use kube::runtime::wait::await_condition;
use std::time::Duration;

/// How long a controller may take to look at a change: it looks within a second unless it is down or overrun.
const OBSERVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What to do when no controller looks at the latest spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unobserved {
    /// Say so, and do nothing: the wish would be about a version that nobody has named yet.
    Refuse,
    /// Write it all the same.
    GoOn,
    /// Not worth a wait: the wish is not about a version.
    Irrelevant,
}

/// Reads a Rollout, decides, writes, and says what became of it.
pub(crate) async fn steer(
    context: &Context<'_>,
    name: &str,
    unobserved: Unobserved,
    done: &str,
    decide: impl FnOnce(&Rollout) -> Intent,
) -> Result<()> {
    let rollout = look(context, name, unobserved).await?;
    match carry_out(&context.cluster, &rollout, decide(&rollout)).await? {
        Sent::Written => context.output.line(&format!("rollout '{name}' {done}")),
        Sent::Nothing(why) => context.output.line(&format!("rollout '{name}' {why}")),
    }
}

/// A Rollout whose status is about its spec, if a controller works on it.
async fn look(context: &Context<'_>, name: &str, unobserved: Unobserved) -> Result<Rollout> {
    let rollout = context.cluster.rollout(name).await?.rollout;
    if observed(&rollout) == Observed::Latest || unobserved == Unobserved::Irrelevant {
        return Ok(rollout);
    }
    let is_observed =
        |rollout: Option<&Rollout>| rollout.is_none_or(|rollout| observed(rollout) == Observed::Latest);
    let api = context.cluster.api();
    tokio::time::timeout(OBSERVE_TIMEOUT, await_condition(api, name, is_observed)).await.ok();
    let rollout = context.cluster.rollout(name).await?.rollout;
    match observed(&rollout) {
        Observed::Behind { seen, latest } if unobserved == Unobserved::Refuse => bail!(
            "the controller has not looked at the latest change of rollout '{name}' (generation {latest}, seen \
             {seen}), so it has not begun to release it. Is the controller running? Nothing was changed"
        ),
        _ => Ok(rollout),
    }
}
