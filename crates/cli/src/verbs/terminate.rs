//! `terminate`.

use super::Context;
use crate::Outcome;
use crate::target::{TargetKind, targets};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

/// End an AnalysisRun or an Experiment early
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kubectl headgate terminate analysisrun shop-6c6f8c4b9d-2
  kubectl headgate terminate experiment/baseline")]
pub(crate) struct Terminate {
    /// `analysisrun` or `experiment`, and a name
    #[arg(required = true, value_name = "KIND NAME")]
    words: Vec<String>,
}

impl Terminate {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let names_kind = self.words.len() > 1 || self.words.iter().all(|word| word.contains('/'));
        if !names_kind {
            bail!("say what to terminate: `analysisrun NAME` or `experiment NAME`");
        }
        for target in targets(&self.words, &[TargetKind::AnalysisRun, TargetKind::Experiment])? {
            context.cluster.merge_object(&target, &json!({ "spec": { "terminate": true } })).await?;
            context.output.line(&format!("{} '{}' terminated", target.kind.word(), target.name))?;
        }
        Ok(Outcome::Done)
    }
}
