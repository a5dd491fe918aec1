//! `simulate`.

use super::get::Format;
use crate::Outcome;
use crate::connect::timeout;
use crate::manifests::{Depth, read};
use crate::output::Output;
use crate::view::forecast::view;
use anyhow::Result;
use clap::Args;
use headgate_sim::forecast::{Fault, GivenMetric, Options, forecast};
use k8s_openapi::jiff::SignedDuration;
use std::path::PathBuf;

/// Tell what a release would do, without a cluster
#[derive(Args, Debug)]
#[command(
    after_help = "The manifests' own version goes out first. Then the same pod template with another image is \
applied, and what the controller does from then on is shown: steps, weights, pods, analysis, decision, with the times \
that they would take. Metrics that are not given have a value that their own conditions accept.

Exit code 0: it would be promoted, or wait at a pause for a person. 1: it would abort, be Degraded, hang, or stop because \
an analysis or its pods tell nothing good (onFailure: pause or hold, podHealth.action: pause, Inconclusive). 2: the \
manifests can't be tried.

Examples:
  # From Git, in a pull request
  kubectl headgate simulate -f docs/examples/canary-istio

  # What if three in ten answers are errors, from the first minute on?
  kubectl headgate simulate -f rollout.yaml -f analysis.yaml --metric success-rate=0.7@60s

  # What if the controller dies, and the metrics are away?
  kubectl headgate simulate -f rollout.yaml --fault crash@60s --fault prometheus@60s+30s --traffic 200/s

  # Nobody promotes
  kubectl headgate simulate -f rollout.yaml --promote-after never -o json"
)]
pub(crate) struct Simulate {
    /// A file or a folder with manifests, or - for standard input: one Rollout, and the AnalysisTemplates, Services and
    /// routes (VirtualServices, Ingresses or HTTPRoutes) that it names; may be repeated
    #[arg(long, short, required = true, value_name = "PATH")]
    filename: Vec<PathBuf>,
    /// What a metric is: [TEMPLATE/]NAME=VALUE[@TIME], where VALUE is a number, nan, none (no data) or error (no
    /// answer), and TIME counts from the beginning of the release; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    metric: Vec<GivenMetric>,
    /// What goes wrong: crash@60s, freeze@60s, prometheus@60s+30s, api@60s+30s, pods@60s+30s, node@60s+30s or
    /// unready@0s; may be repeated
    #[arg(long, value_name = "FAULT@TIME")]
    fault: Vec<Fault>,
    /// Requests in a second, such as 200/s: tells where they go, and how many are lost
    #[arg(long, value_name = "RATE", value_parser = rate)]
    traffic: Option<u32>,
    /// From the creation of a pod until its containers run
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pod_start: SignedDuration,
    /// Somebody promotes so long after a pause began to wait for that, or never
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = patience)]
    promote_after: Patience,
    /// A Service or a route that is missing is an error; otherwise it is made up
    #[arg(long)]
    strict: bool,
    /// Print the forecast as data
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

/// How long a person takes to promote.
#[derive(Clone, Copy, Debug)]
enum Patience {
    After(SignedDuration),
    Never,
}

impl Simulate {
    pub(crate) fn run(self, namespace: Option<&str>, output: &Output) -> Result<Outcome> {
        let wrong = |error: anyhow::Error| {
            output.note(&format!("Error: {}", crate::explain::causes(&error)));
            Ok(Outcome::BadInput)
        };
        let objects = match read(&self.filename, Depth::Flat) {
            Ok(manifests) => manifests.into_iter().map(|manifest| manifest.object).collect(),
            Err(error) => return wrong(error),
        };
        let told = match forecast(objects, &self.options(namespace)) {
            Ok(told) => told,
            Err(problem) => return wrong(problem.into()),
        };
        let text = match self.output {
            Some(format) => format.print(&told)?,
            None => view(&told, output.palette),
        };
        output.block(&text)?;
        Ok(if told.verdict.is_good() { Outcome::Done } else { Outcome::Unwell })
    }

    fn options(&self, namespace: Option<&str>) -> Options {
        let promote_after = match self.promote_after {
            Patience::After(duration) => Some(duration),
            Patience::Never => None,
        };
        let default = Options::default();
        Options {
            namespace: namespace.map_or(default.namespace, str::to_owned),
            metrics: self.metric.clone(),
            faults: self.fault.clone(),
            traffic: self.traffic,
            pod_start: self.pod_start,
            promote_after,
            strict: self.strict,
        }
    }
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|_| format!("'{text}' is no rate: write for example 200/s"))
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    SignedDuration::try_from(timeout(text)?).map_err(|error| error.to_string())
}

fn patience(text: &str) -> Result<Patience, String> {
    if text == "never" { Ok(Patience::Never) } else { duration(text).map(Patience::After) }
}
