//! `list rollouts`.

use super::get::Shape;
use super::{Context, now};
use crate::Outcome;
use crate::cluster::Scope;
use crate::view::list::{NamespaceColumn, list};
use anyhow::Result;
use clap::{Args, Subcommand};
use headgate_api::Rollout;
use serde_json::{Value, json};

/// List rollouts, one a line
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct List {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    #[command(visible_aliases = ["ro", "rollout"])]
    Rollouts(ListRollouts),
}

/// List rollouts, one a line
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kubectl headgate list rollouts
  kubectl headgate list rollouts --all-namespaces -o wide")]
struct ListRollouts {
    /// Those of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Only the one with this name
    #[arg(long)]
    name: Option<String>,
    /// Show ages, images and messages too (wide), or print the Rollouts themselves as they are stored (json, yaml)
    #[arg(long, short, value_enum)]
    output: Option<Shape>,
}

impl List {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let What::Rollouts(arguments) = self.what;
        let (scope, column) = if arguments.all_namespaces {
            (Scope::AllNamespaces, NamespaceColumn::Shown)
        } else {
            (Scope::Namespace, NamespaceColumn::Hidden)
        };
        let mut found = context.cluster.rollouts(scope).await?;
        if let Some(name) = &arguments.name {
            found.retain(|found| found.rollout.metadata.name.as_ref() == Some(name));
        }
        let (detail, format) = Shape::of(arguments.output);
        if let Some(format) = format {
            let items: Vec<Value> = found.into_iter().map(|found| found.raw).collect();
            let items = json!({ "apiVersion": "v1", "kind": "List", "items": items });
            context.output.block(&format.print(&items)?)?;
        } else if found.is_empty() {
            context.output.note(&nothing(&context.cluster, scope));
        } else {
            let rollouts: Vec<Rollout> = found.into_iter().map(|found| found.rollout).collect();
            let text = list(&rollouts, column, detail, context.output.palette, now());
            context.output.block(&text)?;
        }
        Ok(Outcome::Done)
    }
}

fn nothing(cluster: &crate::Cluster, scope: Scope) -> String {
    match scope {
        Scope::AllNamespaces => "There are no rollouts in this cluster".to_owned(),
        Scope::Namespace => {
            format!("There are no rollouts in namespace '{}' (-A lists all namespaces)", cluster.namespace())
        }
    }
}
