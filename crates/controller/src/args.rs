//! The command line. Flags that the reference controller has keep its names.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{ArgAction, Parser, ValueEnum, builder::BoolishValueParser};
use headgate_model::spec::PodHealthAction;

/// The Lease of the reference controller, without an instance id.
pub const REFERENCE_LEASE: &str = "argo-rollouts-controller-lock";

/// The name of an instance's Lease, as the reference controller builds it.
pub fn lease_of_instance(name: &str, instance_id: &str) -> String {
    match instance_id {
        "" => name.to_owned(),
        id => format!("{name}-{id}"),
    }
}

/// Progressive delivery for Kubernetes: releases a new version of a Rollout step by step, judges it
/// by its metrics, and takes it back when they say so.
#[derive(Clone, Debug, Parser)]
#[command(name = "headgate-controller", version, max_term_width = 110)]
pub struct Args {
    /// Watch and act in one namespace only. Roles then suffice where ClusterRoles are refused;
    /// ClusterAnalysisTemplates are not seen.
    #[arg(long, default_value_t = false, hide_default_value = true, action = ArgAction::Set,
          value_parser = BoolishValueParser::new(), num_args = 0..=1, default_missing_value = "true",
          require_equals = true, value_name = "BOOL", help_heading = "Scope")]
    pub namespaced: bool,

    /// The namespace of the controller, which with --namespaced is the one that is watched.
    /// Default: that of its service account; outside a cluster, argo-rollouts.
    #[arg(long, short, env = "POD_NAMESPACE", hide_env_values = true, help_heading = "Scope")]
    pub namespace: Option<String>,

    /// Handle only objects whose label argo-rollouts.argoproj.io/controller-instance-id has this
    /// value. Empty: only objects without that label.
    #[arg(long, default_value = "", hide_default_value = true, help_heading = "Scope")]
    pub instance_id: String,

    /// Act only while holding the lease. Replicas that wait for it keep their caches warm.
    #[arg(long, default_value_t = true, action = ArgAction::Set,
          value_parser = BoolishValueParser::new(), num_args = 0..=1, default_missing_value = "true",
          require_equals = true, value_name = "BOOL", help_heading = "Leader election")]
    pub leader_elect: bool,

    /// A lease that was not renewed for so long may be taken by another replica.
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "DURATION", help_heading = "Leader election")]
    pub leader_election_lease_duration: Duration,

    /// A leader that could not renew for so long gives up and exits. Less than the lease duration.
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION", help_heading = "Leader election")]
    pub leader_election_renew_deadline: Duration,

    /// How often the lease is renewed, and how often a waiting replica looks at it.
    #[arg(long, default_value = "2s", value_parser = duration, value_name = "DURATION", help_heading = "Leader election")]
    pub leader_election_retry_period: Duration,

    /// Name of the Lease; with --instance-id, "-" and the instance id are added to it. The default is
    /// the reference controller's, so that the two never act at the same time in one namespace.
    #[arg(
        long,
        default_value = REFERENCE_LEASE,
        value_name = "NAME",
        help_heading = "Leader election"
    )]
    pub leader_election_id: String,

    /// Namespace of the Lease. Default: that of the controller.
    #[arg(long, value_name = "NAMESPACE", help_heading = "Leader election")]
    pub leader_election_namespace: Option<String>,

    /// Where Prometheus metrics queries go whose template names no address.
    #[arg(
        long,
        env = "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        value_name = "URL",
        help_heading = "Analysis"
    )]
    pub prometheus_address: String,

    /// File that says which webhooks are told of Rollouts (docs/notifications.md). It is read again when it changes.
    #[arg(long, value_name = "FILE", help_heading = "Notifications")]
    pub notifications: Option<PathBuf>,

    /// PEM file with certificate authorities to trust for metric providers and webhooks, besides the built-in ones.
    #[arg(
        long,
        env = "SSL_CERT_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Analysis"
    )]
    pub ca_file: Option<PathBuf>,

    /// What happens to a release when a pod of its new version is unhealthy, where the Rollout does not
    /// say (spec.strategy.canary.podHealth.action).
    #[arg(long, value_enum, default_value_t = PodHealth::Abort, value_name = "ACTION", help_heading = "Analysis")]
    pub pod_health: PodHealth,

    /// Port of /metrics.
    #[arg(
        long = "metricsPort",
        alias = "metrics-port",
        default_value_t = 8090,
        value_name = "PORT",
        help_heading = "Serving"
    )]
    pub metrics_port: u16,

    /// Port of /healthz and /readyz.
    #[arg(
        long = "healthzPort",
        alias = "healthz-port",
        default_value_t = 8080,
        value_name = "PORT",
        help_heading = "Serving"
    )]
    pub healthz_port: u16,

    /// Least severe messages to write: error, warn, info, debug or trace; or a filter such as
    /// "info,headgate_driver=debug".
    #[arg(
        long,
        default_value = "info",
        env = "RUST_LOG",
        hide_env = true,
        value_name = "LEVEL",
        help_heading = "Logs"
    )]
    pub loglevel: String,

    /// How messages are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT", help_heading = "Logs")]
    pub logformat: LogFormat,

    /// Path of a kubeconfig file. Default: KUBECONFIG, ~/.kube/config, else the pod's service account.
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig to use.
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    pub context: Option<String>,
}

/// What happens to a release when a pod of its new version is unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PodHealth {
    /// It is aborted.
    Abort,
    /// It waits for a user.
    Pause,
    /// Nothing.
    Off,
}

impl From<PodHealth> for PodHealthAction {
    fn from(pod_health: PodHealth) -> Self {
        match pod_health {
            PodHealth::Abort => Self::Abort,
            PodHealth::Pause => Self::Pause,
            PodHealth::Off => Self::Off,
        }
    }
}

/// How log messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    // The reference controller's default is an empty word.
    #[value(alias = "")]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces and cluster-scoped kinds.
    Cluster,
    /// One namespace; no cluster-scoped kinds.
    Namespace(String),
}

impl Args {
    /// What to watch, given the namespace of the controller.
    pub fn scope(&self, own_namespace: &str) -> Scope {
        if self.namespaced { Scope::Namespace(own_namespace.to_owned()) } else { Scope::Cluster }
    }

    /// The Lease's name, as the reference controller builds it.
    pub fn lease_name(&self) -> String {
        lease_of_instance(&self.leader_election_id, &self.instance_id)
    }

    /// Refuses values that do not fit together.
    ///
    /// # Errors
    /// Names the flags and the relation that must hold.
    pub fn check(&self) -> anyhow::Result<()> {
        let (lease, renew, retry) = (
            self.leader_election_lease_duration,
            self.leader_election_renew_deadline,
            self.leader_election_retry_period,
        );
        if lease < Duration::from_secs(1) || renew >= lease || retry.is_zero() || retry * 2 > renew {
            bail!(
                "--leader-election-lease-duration ({lease:?}) must be 1s or more and longer than \
                 --leader-election-renew-deadline ({renew:?}), and that at least twice \
                 --leader-election-retry-period ({retry:?}), which must not be zero"
            );
        }
        Ok(())
    }
}

/// A duration such as `15s` or `1m30s`.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let parsed: jiff::SignedDuration = text
        .parse()
        .with_context(|| format!("{text:?} is not a duration: write one such as 15s or 1m30s"))?;
    Duration::try_from(parsed).with_context(|| format!("{text:?} is negative"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Args, LogFormat};

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["headgate-controller"], line].concat())
    }

    #[test]
    fn help_says_what_every_flag_does() {
        let help = Args::command().term_width(110).render_long_help().to_string();
        insta::assert_snapshot!(help);
    }

    #[test]
    fn leader_election_can_be_switched_off_as_in_the_reference() {
        assert!(parse(&[]).unwrap().leader_elect);
        assert!(parse(&["--leader-elect"]).unwrap().leader_elect);
        assert!(!parse(&["--leader-elect=false"]).unwrap().leader_elect);
    }

    #[test]
    fn flags_are_understood_as_the_reference_is_given_them() {
        for (flag, is_set) in [
            ("--namespaced", true),
            ("--namespaced=true", true),
            ("--namespaced=1", true),
            ("--namespaced=false", false),
            ("--namespaced=F", false),
        ] {
            assert_eq!(parse(&[flag]).unwrap().namespaced, is_set, "{flag}");
        }
        assert!(!parse(&[]).unwrap().namespaced);
        for (flag, format) in [
            ("--logformat=", LogFormat::Text),
            ("--logformat=text", LogFormat::Text),
            ("--logformat=json", LogFormat::Json),
        ] {
            assert_eq!(parse(&[flag]).unwrap().logformat, format, "{flag}");
        }
    }

    #[test]
    fn both_spellings_of_the_ports_are_understood() {
        assert_eq!(parse(&["--metricsPort", "1"]).unwrap().metrics_port, 1);
        assert_eq!(parse(&["--metrics-port=2", "--healthz-port=3"]).unwrap().healthz_port, 3);
    }

    #[test]
    fn lease_name_carries_the_instance_id() {
        assert_eq!(parse(&[]).unwrap().lease_name(), "argo-rollouts-controller-lock");
        assert_eq!(parse(&["--instance-id=a"]).unwrap().lease_name(), "argo-rollouts-controller-lock-a");
    }

    #[test]
    fn a_renew_deadline_beyond_the_lease_duration_is_refused() {
        parse(&[]).unwrap().check().unwrap();
        let late = parse(&["--leader-election-renew-deadline=20s"]).unwrap().check().unwrap_err();
        assert!(late.to_string().contains("must be 1s or more and longer than"), "{late}");
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_an_example() {
        let error = parse(&["--leader-election-retry-period=2"]).unwrap_err().to_string();
        assert!(error.contains("write one such as 15s"), "{error}");
    }
}
