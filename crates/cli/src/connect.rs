//! The way to the API server: kubectl's flags, its kubeconfig, or the pod's own account.

use anyhow::{Context, Result, anyhow};
use clap::Args;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use std::path::PathBuf;
use std::time::Duration;

/// How long to wait for a connection before saying that there is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// kubectl's flags for the connection.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Path to the kubeconfig file [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig file
    #[arg(long, global = true)]
    context: Option<String>,
    /// Cluster of the kubeconfig file
    #[arg(long, global = true)]
    cluster: Option<String>,
    /// User of the kubeconfig file
    #[arg(long, global = true)]
    user: Option<String>,
    /// Namespace [default: that of the context]
    #[arg(long, short, global = true)]
    pub(crate) namespace: Option<String>,
    /// Address of the API server
    #[arg(long, short, global = true, value_name = "URL")]
    server: Option<String>,
    /// Bearer token
    #[arg(long, global = true, hide_env_values = true)]
    token: Option<String>,
    /// User to impersonate
    #[arg(long = "as", global = true, value_name = "USER")]
    impersonate: Option<String>,
    /// Group to impersonate; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    impersonate_group: Vec<String>,
    /// Do not check the API server's certificate
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    insecure_skip_tls_verify: Option<bool>,
    /// Name to check the API server's certificate against
    #[arg(long, global = true, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Time after which a single request is given up, such as 10s; 0 waits for ever [default: 30s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = timeout)]
    request_timeout: Option<Duration>,
}

/// A client, the namespace to work in, and how long to wait for an answer.
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) request_timeout: Option<Duration>,
}

impl Connection {
    /// Builds the client. Nothing is sent yet.
    pub(crate) async fn connect(&self) -> Result<Connected> {
        let mut config = self.config().await?;
        if let Some(server) = &self.server {
            config.cluster_url =
                server.parse().with_context(|| format!("--server '{server}' is not an address"))?;
        }
        if let Some(token) = &self.token {
            config.auth_info = kube::config::AuthInfo::default();
            config.auth_info.token = Some(token.clone().into());
        }
        if let Some(user) = &self.impersonate {
            config.auth_info.impersonate = Some(user.clone());
        }
        if !self.impersonate_group.is_empty() {
            config.auth_info.impersonate_groups = Some(self.impersonate_group.clone());
        }
        if let Some(insecure) = self.insecure_skip_tls_verify {
            config.accept_invalid_certs = insecure;
        }
        if let Some(name) = &self.tls_server_name {
            config.tls_server_name = Some(name.clone());
        }
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // A person waits: better an error now than minutes of silent retries.
        config.default_retry = false;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let request_timeout = match self.request_timeout {
            Some(timeout) if timeout.is_zero() => None,
            Some(timeout) => Some(timeout),
            None => Some(Duration::from_secs(30)),
        };
        let client = Client::try_from(config)
            .map_err(|error| anyhow!("can't use this connection: {}", crate::explain::chain(&error)))?;
        Ok(Connected { client, namespace, request_timeout })
    }

    async fn config(&self) -> Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
        };
        let file = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)
                .with_context(|| format!("can't use the kubeconfig file '{}'", path.display()))?,
            None => match Kubeconfig::read() {
                Ok(file) => file,
                Err(missing) => return self.config_without_file(missing),
            },
        };
        let what = self.context.as_ref().map_or_else(
            || "can't use the current context of the kubeconfig file".to_owned(),
            |context| format!("can't use the context '{context}' of the kubeconfig file"),
        );
        Config::from_custom_kubeconfig(file, &options).await.context(what)
    }

    fn config_without_file(&self, missing: kube::config::KubeconfigError) -> Result<Config> {
        if let Some(server) = &self.server {
            let url = server.parse().with_context(|| format!("--server '{server}' is not an address"))?;
            return Ok(Config::new(url));
        }
        Config::incluster().map_err(|_| {
            anyhow!(missing).context(
                "there is no way to a cluster: name a kubeconfig file with --kubeconfig or $KUBECONFIG, \
                 or an address with --server",
            )
        })
    }
}

/// Reads a duration as kubectl does: with units, or plain seconds.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    let parsed = headgate_api::DurationOrSeconds::Text(text.to_owned()).parse();
    let parsed = parsed.map_err(|error| error.to_string())?;
    Duration::try_from(parsed).map_err(|_| format!("'{text}' is negative"))
}
