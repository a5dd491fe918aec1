//! What the verbs that steer a release share: look, decide, write, say.

use super::Context;
use crate::cluster::Holder;
use crate::intent::Intent;
use crate::phase::{Observed, observed, still};
use crate::send::{Sent, carry_out};
use anyhow::{Result, bail};
use headgate_api::Rollout;
use kube::runtime::wait::await_condition;
use std::time::Duration;

/// How long a controller may take to look at a change: it looks within a second unless it is down or overrun.
const OBSERVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What to do when no controller looks at the latest spec, or at the latest template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unobserved {
    /// Say so, and do nothing: the wish would be about a version that nobody has named yet.
    Refuse,
    /// Write it all the same, and say that it is about the version before; where there is nothing to write, as `Refuse`.
    GoOn,
    /// Not worth a wait: the wish is not about a version.
    Irrelevant,
}

/// A Rollout, and what of it no controller has looked at.
struct Looked {
    rollout: Rollout,
    unseen: Option<Unseen>,
}

/// A change that no controller has looked at: of the spec, or of the workload that holds the template.
enum Unseen {
    Spec { seen: i64, latest: i64 },
    Workload { title: String, seen: i64, latest: i64 },
}

impl Unseen {
    /// Whether a later status may be about it.
    fn is_over(&self, now: &Rollout) -> bool {
        match *self {
            Self::Spec { .. } => observed(now) == Observed::Latest,
            Self::Workload { seen, latest, .. } => {
                still(now, Observed::Behind { seen, latest }) == Observed::Latest
            }
        }
    }

    fn told(&self, name: &str) -> String {
        let (what, seen, latest) = match self {
            Self::Spec { seen, latest } => (format!("rollout '{name}'"), seen, latest),
            Self::Workload { title, seen, latest } => {
                (format!("{title}, which holds the pod template of rollout '{name}'"), seen, latest)
            }
        };
        format!(
            "the controller has not looked at the latest change of {what} (generation {latest}, seen {seen})"
        )
    }
}

/// Reads a Rollout, decides, writes, and says what became of it.
pub(crate) async fn steer(
    context: &Context<'_>,
    name: &str,
    unobserved: Unobserved,
    done: &str,
    decide: impl FnOnce(&Rollout) -> Intent,
) -> Result<()> {
    let Looked { rollout, unseen } = match unobserved {
        Unobserved::Irrelevant => {
            Looked { rollout: context.cluster.rollout(name).await?.rollout, unseen: None }
        }
        Unobserved::Refuse | Unobserved::GoOn => look(context, name).await?,
    };
    let intent = decide(&rollout);
    let unseen = unseen.map(|unseen| unseen.told(name));
    // That there is nothing to do would be said of the version before.
    if let Some(unseen) = &unseen
        && (unobserved == Unobserved::Refuse || matches!(intent, Intent::Nothing(_)))
    {
        bail!("{unseen}, so it has not begun to release it. Is the controller running? Nothing was changed");
    }
    match carry_out(&context.cluster, &rollout, intent).await? {
        Sent::Written => context.output.line(&format!("rollout '{name}' {done}"))?,
        Sent::Nothing(why) => return context.output.line(&format!("rollout '{name}' {why}")),
    }
    if let Some(unseen) = unseen {
        context
            .output
            .note(&format!("Warning: {unseen}: if that is another pod template, the controller drops this"));
    }
    Ok(())
}

/// A Rollout whose status is about its spec and its template, if a controller works on it.
async fn look(context: &Context<'_>, name: &str) -> Result<Looked> {
    let first = read(context, name).await?;
    let catch_up = async {
        let mut looked = first;
        while let Some(unseen) = &looked.unseen {
            let is_over = |now: Option<&Rollout>| now.is_none_or(|now| unseen.is_over(now));
            if await_condition(context.cluster.api(), name, is_over).await.is_err() {
                return read(context, name).await;
            }
            looked = read(context, name).await?;
        }
        Ok(looked)
    };
    match tokio::time::timeout(OBSERVE_TIMEOUT, catch_up).await {
        Ok(looked) => looked,
        Err(_) => read(context, name).await,
    }
}

async fn read(context: &Context<'_>, name: &str) -> Result<Looked> {
    let rollout = context.cluster.rollout(name).await?.rollout;
    if let Observed::Behind { seen, latest } = observed(&rollout) {
        return Ok(Looked { rollout, unseen: Some(Unseen::Spec { seen, latest }) });
    }
    let unseen = match context.cluster.workload_observed(&rollout).await? {
        Observed::Latest => None,
        Observed::Behind { seen, latest } => {
            Some(Unseen::Workload { title: Holder::of(&rollout)?.title(), seen, latest })
        }
    };
    Ok(Looked { rollout, unseen })
}

#[cfg(test)]
mod tests;
