//! `set image`.

use super::Context;
use crate::Outcome;
use crate::cluster::{Holder, Raced};
use crate::intent::images::{ImageChange, set_images};
use crate::target::rollout_name;
use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// How often the patch is repeated when the object changes under it.
const ATTEMPTS_MAX: usize = 8;

/// Change a rollout
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Set {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Image(SetImage),
}

/// Release other images: change them in the pod template
#[derive(Args, Debug)]
#[command(
    after_help = "Where the rollout refers to a workload (spec.workloadRef), the template of that workload is \
changed.

Examples:
  kubectl headgate set image shop app=example.com/shop:v2
  kubectl headgate set image shop app=example.com/shop:v2 proxy=example.com/proxy:v7

  # Every container
  kubectl headgate set image shop '*=example.com/shop:v2'"
)]
struct SetImage {
    /// The rollout
    #[arg(value_name = "NAME")]
    name: String,
    /// Containers and their images; `*` is every container
    #[arg(required = true, value_name = "CONTAINER=IMAGE")]
    images: Vec<String>,
}

impl Set {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let What::Image(arguments) = self.what;
        let name = rollout_name(&[arguments.name])?;
        let changes: Vec<ImageChange> = arguments
            .images
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, String>>()
            .map_err(|e| anyhow!(e))?;
        let rollout = context.cluster.rollout(&name).await?.rollout;
        let holder = Holder::of(&rollout)?;
        for _ in 0..ATTEMPTS_MAX {
            let held = context.cluster.held(&holder).await?;
            let path = holder.template_path();
            let template = held.pointer(path).unwrap_or(&Value::Null);
            let mut operations = set_images(template, path, &changes)
                .map_err(|problem| anyhow!("{} {problem}", holder.title()))?;
            if operations.is_empty() {
                context.output.line(&format!("rollout \"{name}\" image unchanged"))?;
                return Ok(Outcome::Done);
            }
            let version = held.pointer("/metadata/resourceVersion").unwrap_or(&Value::Null);
            operations
                .insert(0, json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version }));
            if context.cluster.json_patch(&holder, &Value::Array(operations)).await? == Raced::Won {
                context.output.line(&format!("rollout \"{name}\" image updated"))?;
                return Ok(Outcome::Done);
            }
        }
        bail!("{} changed under {ATTEMPTS_MAX} attempts to write to it: nothing was changed", holder.title())
    }
}
