//! `get rollout`.

use super::{Context, now};
use crate::Outcome;
use crate::live::{Extent, Pace, follow};
use crate::target::rollout_name;
use crate::view::{Detail, Scene, rollout};
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
  kubectl headgate get rollout shop -o wide
  kubectl headgate get rollout shop -o json")]
struct GetRollout {
    /// The rollout
    #[arg(required = true, value_name = "NAME")]
    name: Vec<String>,
    /// Show it again whenever something changes, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
    /// End --watch after this many seconds; 0 is never
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout_seconds: u64,
    /// Show pods with their nodes and addresses (wide), or print the Rollout itself as it is stored (json, yaml)
    #[arg(long, short, value_enum)]
    output: Option<Shape>,
}

/// What is printed in place of the usual view.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// More columns, or more in them.
    Wide,
    /// The objects as they are stored, as JSON.
    Json,
    /// The same as YAML.
    Yaml,
}

impl Shape {
    /// How much of the view is shown, or in which form data.
    pub(crate) fn of(written: Option<Self>) -> (Detail, Option<Format>) {
        match written {
            None => (Detail::Normal, None),
            Some(Self::Wide) => (Detail::Wide, None),
            Some(Self::Json) => (Detail::Normal, Some(Format::Json)),
            Some(Self::Yaml) => (Detail::Normal, Some(Format::Yaml)),
        }
    }
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
        let (detail, format) = Shape::of(self.output);
        if self.watch && format.is_some() {
            context.output.note("Error: --watch shows a view: leave out -o, or use -o wide");
            return Ok(Outcome::BadInput);
        }
        if self.watch {
            return self.watch(&name, detail, context).await;
        }
        let found = context.cluster.rollout(&name).await?;
        if let Some(format) = format {
            context.output.block(&format.print(&found.raw)?)?;
            return Ok(Outcome::Done);
        }
        let mut notes = vec![];
        let scene = context.cluster.scene(found.rollout, &mut notes).await;
        context.output.block(&rollout::view(&scene, detail, context.output.palette, now()))?;
        for note in notes {
            context.output.note(&format!("Warning: {note}"));
        }
        Ok(Outcome::Done)
    }

    async fn watch(&self, name: &str, detail: Detail, context: &Context<'_>) -> Result<Outcome> {
        let watched = async {
            if context.output.is_terminal {
                on_screen(name, detail, context).await
            } else {
                as_blocks(name, detail, context).await
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

async fn on_screen(name: &str, detail: Detail, context: &Context<'_>) -> Result<Outcome> {
    let output = context.output;
    let mut is_first = true;
    let show = |scene: &Scene| {
        if std::mem::take(&mut is_first) {
            output.clear()?;
        }
        output.screen(&rollout::view(scene, detail, output.palette, now()))?;
        Ok(ControlFlow::Continue(()))
    };
    follow(&context.cluster, name, Extent::Everything, Pace::Ticking, |note| output.note(note), show).await?;
    Ok(Outcome::Done)
}

/// One block for each change, with an empty line between: for files and pipes.
async fn as_blocks(name: &str, detail: Detail, context: &Context<'_>) -> Result<Outcome> {
    let output = context.output;
    let mut shown: Option<Scene> = None;
    let show = |scene: &Scene| {
        let now = now();
        let text = rollout::view(scene, detail, output.palette, now);
        // Drawn at the same instant, so that only what has changed counts, and not that time has passed.
        let before = shown.as_ref().map(|shown| rollout::view(shown, detail, output.palette, now));
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
