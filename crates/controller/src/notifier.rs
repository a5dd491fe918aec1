//! Tells webhooks: one POST with a time limit. Their addresses and headers may be secrets, and never leave this module.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context, bail};
use headgate_driver::io::Reply;
use headgate_notify::{Config, Given, Post, Subscriptions};
use reqwest::{
    Client, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use tokio::{io::AsyncReadExt, sync::watch, time::timeout};

use crate::{execute::with_causes, measure::authorities, metrics::Metrics};

/// A webhook without an answer for so long has not taken the message.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);
/// No connection within this time is no connection.
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(5);
/// The files are looked at so often: the kubelet takes up to a minute to bring a change.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A file of the configuration may have so many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What stands in messages where a part of an address or a header was.
const MASK: &str = "***";

/// Sends to webhooks.
pub struct Notifier {
    client: Client,
    targets: RwLock<BTreeMap<String, Target>>,
}

/// Where a webhook is. Neither `Debug` nor `Display`: it must not get into logs.
#[derive(Clone, PartialEq, Eq)]
struct Target {
    url: Url,
    headers: HeaderMap,
}

/// A configuration with everything that its files hold.
#[derive(Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What decisions need of it.
    pub subscriptions: Subscriptions,
    targets: BTreeMap<String, Target>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Loaded").field("subscriptions", &self.subscriptions).finish_non_exhaustive()
    }
}

impl Notifier {
    /// `ca_file`: PEM file with certificate authorities to trust besides Mozilla's.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificates.
    pub fn new(ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let client = Client::builder()
            .user_agent(concat!("headgate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME_LIMIT)
            // A redirect would carry headers with secrets to where nobody meant them to go.
            .redirect(redirect::Policy::none())
            .tls_certs_only(authorities(ca_file)?)
            .build()
            .context("the HTTP client for webhooks")?;
        Ok(Self { client, targets: RwLock::default() })
    }

    /// From now on these are the webhooks.
    pub fn configure(&self, loaded: &Loaded) {
        *self.targets.write().unwrap_or_else(PoisonError::into_inner) = loaded.targets.clone();
    }

    /// Sends a message. Its answer's body is not read: it may quote what was sent.
    pub async fn tell(&self, service: &str, post: &Post) -> Reply {
        let target = self.targets.read().unwrap_or_else(PoisonError::into_inner).get(service).cloned();
        let Some(target) = target else {
            return Reply::Lost("it is not configured any more".to_owned());
        };
        let mut request = self.client.post(target.url.clone()).headers(target.headers.clone());
        for (name, value) in &post.headers {
            request = request.header(*name, value);
        }
        match timeout(TIME_LIMIT, request.body(post.body.clone()).send()).await {
            Ok(Ok(response)) => Reply::Notified(response.status().as_u16()),
            Ok(Err(error)) => Reply::Lost(target.mask(&with_causes(&error.without_url()))),
            Err(_elapsed) => Reply::Lost(format!("no answer within {TIME_LIMIT:?}")),
        }
    }
}

impl Target {
    /// A text without anything of the address or the headers.
    fn mask(&self, text: &str) -> String {
        let url = &self.url;
        let parts = [Some(url.as_str()), url.host_str(), Some(url.path()), url.query(), url.password()];
        let headers = self.headers.values().filter_map(|value| value.to_str().ok());
        let mut parts: Vec<&str> =
            parts.into_iter().flatten().chain(headers).filter(|part| part.len() > 1).collect();
        // The longest first: one may be a part of another.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.iter().fold(text.to_owned(), |text, part| text.replace(part, MASK))
    }
}

/// Reads a configuration, and the files that it names.
///
/// # Errors
/// What is wrong, where, and how to mend it; without a secret.
pub async fn load(path: &Path) -> anyhow::Result<Loaded> {
    let text = read(path).await?;
    let config = Config::parse(&text).with_context(|| path.display().to_string())?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut targets = BTreeMap::new();
    for webhook in &config.webhooks {
        let place = || format!("{}: webhook {:?}", path.display(), webhook.name);
        let target = target(webhook, directory).await.with_context(place)?;
        targets.insert(webhook.name.clone(), target);
    }
    Ok(Loaded { subscriptions: config.subscriptions(), targets })
}

async fn target(webhook: &headgate_notify::Webhook, directory: &Path) -> anyhow::Result<Target> {
    let url = given(&webhook.url, directory).await?;
    // What is wrong with an address is said without showing it.
    let url = Url::parse(&url).map_err(|error| anyhow::anyhow!("its address is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        bail!("its address must begin with https:// (or http://)");
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &webhook.headers {
        let value = given(value, directory).await?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            anyhow::anyhow!("the value of header {name:?} holds what no header may: line ends, for example")
        })?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes())?, value);
    }
    Ok(Target { url, headers })
}

/// Line ends at the end are cut: editors and `echo` put one there.
async fn given(given: &Given, directory: &Path) -> anyhow::Result<String> {
    match given {
        Given::Here(text) => Ok(text.clone()),
        Given::InFile(path) => Ok(read(&directory.join(path)).await?.trim_end().to_owned()),
    }
}

async fn read(path: &Path) -> anyhow::Result<String> {
    let place = || format!("{} cannot be read", path.display());
    let file = tokio::fs::File::open(path).await.with_context(place)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).await.with_context(place)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("{} has more than {FILE_BYTES_MAX} bytes", path.display());
    }
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{} is not UTF-8 text", path.display()))
}

/// The configuration as it is followed: what was good last holds until something else is.
pub struct Follower {
    path: PathBuf,
    notifier: Arc<Notifier>,
    metrics: Arc<Metrics>,
    tell: watch::Sender<Option<Subscriptions>>,
    last: Option<Loaded>,
    problem: String,
}

impl Follower {
    /// Follows the configuration in `path`; who wants to be told what is sent to the receiver, `None` until it is known.
    pub fn new(
        path: PathBuf,
        notifier: Arc<Notifier>,
        metrics: Arc<Metrics>,
    ) -> (Self, watch::Receiver<Option<Subscriptions>>) {
        let (tell, told) = watch::channel(None);
        (Self { path, notifier, metrics, tell, last: None, problem: String::new() }, told)
    }

    /// Looks at the files now.
    pub async fn look(&mut self) {
        match load(&self.path).await {
            Ok(loaded) => {
                self.metrics.notifications_configured(true);
                self.problem.clear();
                if self.last.as_ref() != Some(&loaded) {
                    let webhooks = loaded.subscriptions.services.len();
                    tracing::info!(file = %self.path.display(), webhooks, "notifications are configured");
                    self.notifier.configure(&loaded);
                    self.tell.send_replace(Some(loaded.subscriptions.clone()));
                    self.last = Some(loaded);
                }
            }
            Err(error) => {
                self.metrics.notifications_configured(false);
                let problem = format!("{error:#}");
                if problem != self.problem {
                    let until_then = if self.last.is_some() {
                        "what was configured before holds"
                    } else {
                        "nobody is told"
                    };
                    tracing::error!(
                        problem,
                        "the configuration of notifications is wrong; until it is corrected {until_then}"
                    );
                    self.problem = problem;
                }
            }
        }
    }

    /// Looks at the files for ever.
    pub async fn follow(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look().await;
        }
    }
}

#[cfg(test)]
mod tests;
