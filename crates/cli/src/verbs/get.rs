//! `get rollout`.

use super::{Context, now};
use crate::Outcome;
use crate::live::{Extent, Pace, follow};
use crate::target::rollout_name;
use crate::view::{Scene, rollout};
use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Duration;

/// Show a rollout and all that belongs to it
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Get {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    #[command(visible_aliases = ["ro", "rollouts"])]
    Rollout(GetRollout),
}

/// Show a rollout as a tree: its revisions, ReplicaSets, pods, AnalysisRuns and experiments
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kubectl headgate get rollout shop
  kubectl headgate get rollout shop --watch
  kubectl headgate get rollout shop -o json")]
struct GetRollout {
    /// The rollout
    #[arg(required = true, value_name = "NAME")]
    name: Vec<String>,
    /// Show it again whenever something changes, until Ctrl-C
    #[arg(long, short, conflicts_with = "output")]
    watch: bool,
    /// End --watch after this many seconds; 0 is never
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout_seconds: u64,
    /// Print the Rollout itself, as data
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

/// A form of data.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// Data as text.
    pub(crate) fn print(self, data: &impl Serialize) -> Result<String> {
        Ok(match self {
            Self::Json => format!("{}\n", serde_json::to_string_pretty(data)?),
            Self::Yaml => serde_saphyr::to_string(data)?,
        })
    }
}

impl Get {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let What::Rollout(get) = self.what;
        get.run(context).await
    }
}

impl GetRollout {
    async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let name = rollout_name(&self.name)?;
        if self.watch {
            return self.watch(&name, context).await;
        }
        let found = context.cluster.rollout(&name).await?;
        if let Some(format) = self.output {
            context.output.block(&format.print(&found.raw)?)?;
            return Ok(Outcome::Done);
        }
        let mut notes = vec![];
        let scene = context.cluster.scene(found.rollout, &mut notes).await;
        context.output.block(&rollout::view(&scene, context.output.palette, now()))?;
        for note in notes {
            context.output.note(&format!("Warning: {note}"));
        }
        Ok(Outcome::Done)
    }

    async fn watch(&self, name: &str, context: &Context<'_>) -> Result<Outcome> {
        let watched = async {
            if context.output.is_terminal {
                on_screen(name, context).await
            } else {
                as_blocks(name, context).await
            }
        };
        match self.timeout_seconds {
            0 => watched.await,
            seconds => match tokio::time::timeout(Duration::from_secs(seconds), watched).await {
                Ok(outcome) => outcome,
                Err(_) => Ok(Outcome::Done),
            },
        }
    }
}

async fn on_screen(name: &str, context: &Context<'_>) -> Result<Outcome> {
    let output = context.output;
    let mut is_first = true;
    let show = |scene: &Scene| {
        if std::mem::take(&mut is_first) {
            output.clear()?;
        }
        output.screen(&rollout::view(scene, output.palette, now()))?;
        Ok(ControlFlow::Continue(()))
    };
    follow(&context.cluster, name, Extent::Everything, Pace::Ticking, |note| output.note(note), show).await?;
    Ok(Outcome::Done)
}

/// One block for each change, with an empty line between: for files and pipes.
async fn as_blocks(name: &str, context: &Context<'_>) -> Result<Outcome> {
    let output = context.output;
    let mut shown: Option<Scene> = None;
    let show = |scene: &Scene| {
        let now = now();
        let text = rollout::view(scene, output.palette, now);
        // Drawn at the same instant, so that only what has changed counts, and not that time has passed.
        let before = shown.as_ref().map(|shown| rollout::view(shown, output.palette, now));
        if before.as_ref() != Some(&text) {
            let gap = if before.is_some() { "\n" } else { "" };
            output.block(&format!("{gap}{text}"))?;
        }
        shown = Some(scene.clone());
        Ok(ControlFlow::Continue(()))
    };
    follow(&context.cluster, name, Extent::Everything, Pace::OnChange, |note| output.note(note), show)
        .await?;
    Ok(Outcome::Done)
}
