//! `undo`.

use super::Context;
use crate::Outcome;
use crate::cluster::{Holder, Raced};
use crate::intent::history::{Choice, choose};
use crate::target::rollout_name;
use anyhow::{Result, anyhow, bail};
use clap::Args;
use headgate_model::template::same_template;
use serde_json::{Value, json};

/// How often the patch is repeated when the object changes under it.
const ATTEMPTS_MAX: usize = 8;

/// Go back to an earlier version: a release of its pod template
#[derive(Args, Debug)]
#[command(
    after_help = "The earlier version goes out as any other does, with its steps; those of a recent version \
may be skipped (spec.rollbackWindow). Going back to the stable version in the middle of a release is at once.

Examples:
  # To the version before
  kubectl headgate undo shop

  # To a certain one: `get rollout` shows the revisions
  kubectl headgate undo shop --to-revision=3"
)]
pub(crate) struct Undo {
    /// The rollout
    #[arg(required = true, value_name = "NAME")]
    name: Vec<String>,
    /// The revision to go back to; 0 is the one before
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    to_revision: i64,
}

impl Undo {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let name = rollout_name(&self.name)?;
        let rollout = context.cluster.rollout(&name).await?.rollout;
        let holder = Holder::of(&rollout)?;
        let mut held = context.cluster.held(&holder).await?;
        let path = holder.template_path();
        let before = held.pointer(path).cloned().unwrap_or_default();
        let sets = context.cluster.replica_sets(&rollout).await?;
        let Choice { revision, template } = choose(&sets, &before, self.to_revision)
            .map_err(|problem| anyhow!("rollout '{name}' {problem}"))?;
        if same_template(&before, &template) {
            context
                .output
                .line(&format!("skipped rollback (current template already matches revision {revision})"))?;
            return Ok(Outcome::Done);
        }
        for _ in 0..ATTEMPTS_MAX {
            let version = held.pointer("/metadata/resourceVersion").unwrap_or(&Value::Null);
            let operations = json!([
                { "op": "test", "path": "/metadata/resourceVersion", "value": version },
                { "op": "replace", "path": path, "value": template },
            ]);
            if context.cluster.json_patch(&holder, &operations).await? == Raced::Won {
                context.output.line(&format!("rollout '{name}' undo to revision {revision}"))?;
                return Ok(Outcome::Done);
            }
            held = context.cluster.held(&holder).await?;
            if held.pointer(path) != Some(&before) {
                bail!(
                    "the template of {} was changed in the meantime: nothing was undone. Look again",
                    holder.title()
                );
            }
        }
        bail!("{} changed under {ATTEMPTS_MAX} attempts to write to it: nothing was undone", holder.title())
    }
}
