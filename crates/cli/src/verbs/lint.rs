//! `lint`.

use super::get::Format;
use crate::Outcome;
use crate::lint::{Given, lint};
use crate::manifests::{Depth, Manifest, read};
use crate::output::Output;
use crate::view::lint::view;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// Tell what is wrong with manifests, without a cluster
#[derive(Args, Debug)]
#[command(
    after_help = "Rollouts, AnalysisTemplates, ClusterAnalysisTemplates, AnalysisRuns and Experiments are checked by the \
code with which the controller judges them: fields, values, and what they name among the files that are given \
(templates and their arguments, Services, routes). A metric whose query does not tell canary and stable apart is a \
warning, with how bad the canary must be at each weight to trip it.

Exit code 0: nothing would stop a release; there may be warnings, unless --strict. 1: something would. 2: a file can't be \
read, or none holds anything to check.

Examples:
  # From Git, in a pull request
  kubectl headgate lint -R -f docs/examples --strict

  # What a chart renders
  helm template shop | kubectl headgate lint -f -

  # For a program
  kubectl headgate lint -f rollout.yaml -f analysis.yaml -o json"
)]
pub(crate) struct Lint {
    /// Files and folders with manifests, or - for standard input; may be repeated
    #[arg(long, short, value_name = "PATH", num_args = 1.., required_unless_present = "paths")]
    filename: Vec<PathBuf>,
    /// More files and folders
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Read the folders in folders, too
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Exit with 1 for warnings, too
    #[arg(long)]
    strict: bool,
    /// Print the findings as data
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

impl Lint {
    pub(crate) fn run(self, namespace: Option<&str>, output: &Output) -> Result<Outcome> {
        let paths: Vec<PathBuf> = self.filename.into_iter().chain(self.paths).collect();
        let depth = if self.recursive { Depth::Recursive } else { Depth::Flat };
        let manifests = match read(&paths, depth) {
            Ok(manifests) => manifests,
            Err(error) => {
                output.note(&format!("Error: {}", crate::explain::causes(&error)));
                return Ok(Outcome::BadInput);
            }
        };
        let given = |Manifest { file, object }| Given { file: file.display().to_string(), object };
        let given: Vec<Given> = manifests.into_iter().map(given).collect();
        let report = lint(&given, namespace.unwrap_or("default"));
        if report.objects == 0 {
            // A check that checks nothing must not look like one that passed.
            output.note("Error: no Rollout, no analysis template and no other object of argoproj.io is in these files");
            return Ok(Outcome::BadInput);
        }
        let text = match self.output {
            Some(format) => format.print(&report)?,
            None => view(&report, output.palette),
        };
        output.block(&text)?;
        let is_clean = report.errors == 0 && !(self.strict && report.warnings > 0);
        Ok(if is_clean { Outcome::Done } else { Outcome::Unwell })
    }
}
