//! Series that Argo Rollouts has one of for each phase, 1 for the present one and 0 for the others, and its words for routers
//! and providers: dashboards and alerts go on working.

use std::fmt;

use headgate_driver::{METRICS_PHASES, RolloutFacts, RunFacts, TemplateFacts};
use prometheus_client::encoding::DescriptorEncoder;

use super::{gauges, named};

/// The phases of an AnalysisRun and of a metric.
const ANALYSIS_PHASES: [&str; 6] = ["Pending", "Error", "Failed", "Successful", "Running", "Inconclusive"];

pub(super) fn rollout_phases(encoder: &mut DescriptorEncoder<'_>, rollouts: &[RolloutFacts]) -> fmt::Result {
    let series = rollouts.iter().flat_map(|rollout| {
        METRICS_PHASES.into_iter().map(move |phase| {
            let [namespace, name] = named(rollout);
            let labels = [namespace, name, ("strategy", rollout.strategy), ("phase", phase)];
            (labels, i64::from(rollout.metrics_phase == phase))
        })
    });
    gauges(encoder, "rollout_phase", "A Rollout in each phase; rollout_info says the same in less", series)
}

pub(super) fn analysis_runs(encoder: &mut DescriptorEncoder<'_>, runs: &[RunFacts]) -> fmt::Result {
    let phases = runs.iter().flat_map(|run| {
        ANALYSIS_PHASES.into_iter().map(move |phase| {
            let labels = [("namespace", run.namespace.as_str()), ("name", &run.name), ("phase", phase)];
            (labels, i64::from(run.phase == phase))
        })
    });
    let help = "An AnalysisRun in each phase; analysis_run_info says the same in less";
    gauges(encoder, "analysis_run_phase", help, phases)?;
    let metrics = || runs.iter().flat_map(|run| run.metrics.iter().map(move |metric| (run, metric)));
    let types = metrics().map(|(run, metric)| {
        let labels = [
            ("namespace", run.namespace.as_str()),
            ("name", &run.name),
            ("metric", &metric.name),
            ("type", provider(&metric.provider)),
        ];
        (labels, 1)
    });
    gauges(encoder, "analysis_run_metric_type", "A metric of an AnalysisRun and who measures it", types)?;
    let phases = metrics().flat_map(|(run, metric)| {
        ANALYSIS_PHASES.into_iter().map(move |phase| {
            let labels = [
                ("namespace", run.namespace.as_str()),
                ("name", &run.name),
                ("metric", &metric.name),
                ("type", provider(&metric.provider)),
                ("dry_run", if metric.is_dry_run { "true" } else { "false" }),
                ("phase", phase),
            ];
            (labels, i64::from(metric.phase == phase))
        })
    });
    gauges(encoder, "analysis_run_metric_phase", "A metric of an AnalysisRun in each phase", phases)
}

pub(super) fn templates(encoder: &mut DescriptorEncoder<'_>, templates: &[TemplateFacts]) -> fmt::Result {
    let info = templates.iter().map(|template| {
        let labels = [("namespace", template.namespace.as_str()), ("name", &template.name)];
        (labels, 1)
    });
    gauges(encoder, "analysis_template_info", "A template of analyses", info)?;
    let metrics = templates.iter().flat_map(|template| {
        template.metrics.iter().map(move |(metric, by)| {
            let labels = [
                ("namespace", template.namespace.as_str()),
                ("name", &template.name),
                ("type", provider(by)),
                ("metric", metric),
            ];
            (labels, 1)
        })
    });
    gauges(encoder, "analysis_template_metric_info", "A metric of a template and who measures it", metrics)
}

fn provider(provider: &str) -> &str {
    match provider {
        "prometheus" => "Prometheus",
        "web" => "Web",
        "job" => "Job",
        "datadog" => "Datadog",
        "newRelic" => "NewRelic",
        "wavefront" => "Wavefront",
        "cloudWatch" => "CloudWatch",
        "kayenta" => "Kayenta",
        "graphite" => "Graphite",
        "influxdb" => "Influxdb",
        "plugin" => "RPCPlugin",
        "" => "Unknown Provider",
        other => other,
    }
}

pub(super) fn router(router: &'static str) -> &'static str {
    match router {
        "istio" => "Istio",
        "nginx" => "Nginx",
        "alb" => "ALB",
        "smi" => "SMI",
        "ambassador" => "Ambassador",
        "appMesh" => "AppMesh",
        "traefik" => "Traefik",
        "apisix" => "Apisix",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_provider_has_the_type_that_argo_rollouts_gives_it() {
        // What its manifest calls a provider, in the order of `Type` in metricproviders.go of v1.10.1.
        for (key, provider_type) in [
            ("prometheus", "Prometheus"),
            ("job", "Job"),
            ("kayenta", "Kayenta"),
            ("web", "Web"),
            ("datadog", "Datadog"),
            ("wavefront", "Wavefront"),
            ("newRelic", "NewRelic"),
            ("cloudWatch", "CloudWatch"),
            ("graphite", "Graphite"),
            ("influxdb", "Influxdb"),
            ("skywalking", "skywalking"),
            ("plugin", "RPCPlugin"),
            ("", "Unknown Provider"),
        ] {
            assert_eq!(super::provider(key), provider_type, "{key}");
        }
    }
}
