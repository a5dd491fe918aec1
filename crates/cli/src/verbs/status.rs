//! `status`.

use super::Context;
use crate::Outcome;
use crate::connect::timeout;
use crate::live::{Extent, Pace, follow};
use crate::phase::{Observed, Standing, standing, standing_beside, still};
use crate::target::rollout_name;
use crate::view::Scene;
use anyhow::Result;
use clap::{ArgAction, Args};
use headgate_api::{Rollout, RolloutPhase};
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
        let rollout = context.cluster.rollout(&name).await?.rollout;
        let standing = standing_beside(&rollout, workload(&rollout, context).await?);
        context.output.line(&line(&standing))?;
        Ok(end(&name, &standing, context).unwrap_or(Outcome::Done))
    }

    async fn wait(&self, name: &str, context: &Context<'_>) -> Result<Outcome> {
        let waited = until_end(name, context);
        if self.timeout.is_zero() {
            return waited.await;
        }
        match tokio::time::timeout(self.timeout, waited).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let late = format!("Error: rollout '{name}' is not Healthy after {:?}", self.timeout);
                context.output.note(&late);
                Ok(Outcome::Unwell)
            }
        }
    }
}

/// Says each phase until the release has ended. Healthy is the end only when the workload is the one that was released.
async fn until_end(name: &str, context: &Context<'_>) -> Result<Outcome> {
    let output = context.output;
    let mut said = String::new();
    let mut say = |standing: &Standing| {
        let line = line(standing);
        if line != said {
            output.line(&line)?;
            said = line;
        }
        anyhow::Ok(())
    };
    let mut known = Observed::Latest;
    loop {
        let show = |scene: &Scene| {
            let standing = standing_beside(&scene.rollout, still(&scene.rollout, known));
            if is_end(standing.phase) {
                return Ok(ControlFlow::Break(scene.rollout.clone()));
            }
            say(&standing)?;
            Ok(ControlFlow::Continue(()))
        };
        let (extent, pace) = (Extent::Rollout, Pace::OnChange);
        let rollout = follow(&context.cluster, name, extent, pace, |note| output.note(note), show).await?;
        known = workload(&rollout, context).await?;
        let standing = standing_beside(&rollout, known);
        say(&standing)?;
        if let Some(outcome) = end(name, &standing, context) {
            return Ok(outcome);
        }
    }
}

fn is_end(phase: RolloutPhase) -> bool {
    matches!(phase, RolloutPhase::Healthy | RolloutPhase::Degraded)
}

/// Whether a Rollout that is Healthy is so with the template that its workload has now.
async fn workload(rollout: &Rollout, context: &Context<'_>) -> Result<Observed> {
    match standing(rollout).phase {
        RolloutPhase::Healthy => context.cluster.workload_observed(rollout).await,
        _ => Ok(Observed::Latest),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;
    use crate::output::streams::said;
    use crate::program::Program;
    use crate::scripted::{Server, cluster};
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    const UNSEEN: &str =
        "Progressing - waiting for rollout spec update to be observed for the reference workload\n";

    /// What is said, and how it ends. A minute is enough for everything.
    async fn told(server: Server, watch: bool) -> (String, Outcome) {
        let output = Output::plain();
        let cluster = cluster(&Arc::new(Mutex::new(server)));
        let context = Context { cluster, program: Program::Headgate, output: &output };
        let status = Status { name: vec!["shop".to_owned()], watch, timeout: Duration::from_secs(60) };
        let outcome = status.run(&context).await.unwrap();
        (said(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn healthy_is_no_end_while_the_controller_has_not_looked_at_the_workload() {
        let behind = || Server::referring(&json!({}), Ok(8));
        let late = format!("{UNSEEN}Error: rollout 'shop' is not Healthy after 60s\n");
        assert_eq!(told(behind(), true).await, (late, Outcome::Unwell));
        assert_eq!(told(behind(), false).await, (UNSEEN.to_owned(), Outcome::Done));
        let mut looks = behind();
        looks.changes = vec![
            json!({}),
            json!({
                "metadata": { "annotations": { "rollout.argoproj.io/workload-generation": "8" } },
                "status": { "workloadObservedGeneration": "8", "phase": "Degraded", "message": "aborted" },
            }),
        ];
        let aborted =
            "Degraded - aborted\nError: rollout 'shop' is Degraded; `kubectl headgate why shop` says more\n";
        assert_eq!(told(looks, true).await, (format!("{UNSEEN}{aborted}"), Outcome::Unwell));
    }

    #[tokio::test(start_paused = true)]
    async fn a_workload_that_was_looked_at_or_cannot_be_read_does_not_hold_it_up() {
        for workload in [Ok(7), Err(403), Err(404)] {
            for watch in [true, false] {
                let server = Server::referring(&json!({}), workload);
                assert_eq!(
                    told(server, watch).await,
                    ("Healthy\n".to_owned(), Outcome::Done),
                    "{workload:?}"
                );
            }
        }
        let degraded = Server::referring(&json!({ "phase": "Degraded" }), Ok(8));
        assert_eq!(told(degraded, true).await.1, Outcome::Unwell);
    }
}
