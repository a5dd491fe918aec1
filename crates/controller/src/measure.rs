//! Asks metric providers: one HTTP exchange with a time limit, a cap on its answer, and its secrets. How many at a time
//! is the driver's business: who waited here would hold one of its places.

use std::{path::Path, time::Duration};

use anyhow::Context;
use futures::StreamExt;
use headgate_model::{HttpQuery, Method, Query, Reply};
use reqwest::{Certificate, Client, Url, redirect};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::{
    execute::with_causes,
    secrets::{MASK, Secrets, Values},
};

/// More of an answer is not read.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Redirects to follow in one exchange.
const REDIRECTS_MAX: usize = 5;
/// No connection within this time is no connection.
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(5);

/// Takes measurements.
pub struct Measurer {
    verifying: Client,
    /// For metrics whose user wrote `insecure: true`.
    insecure: Client,
    secrets: Secrets,
}

/// Which server certificates are good.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    Verify,
    AcceptAny,
}

impl Measurer {
    /// `ca_file`: PEM file with certificate authorities to trust besides Mozilla's.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificates.
    pub fn new(secrets: Secrets, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let authorities = authorities(ca_file)?;
        Ok(Self {
            verifying: client(&authorities, Trust::Verify)?,
            insecure: client(&authorities, Trust::AcceptAny)?,
            secrets,
        })
    }

    /// Asks. The secrets that the query names are read in `namespace`.
    pub async fn measure(&self, namespace: &str, query: &Query) -> Reply {
        match query {
            Query::Http(query) => self.http(namespace, query).await.unwrap_or_else(Reply::Failed),
        }
    }

    async fn http(&self, namespace: &str, query: &HttpQuery) -> Result<Reply, String> {
        let limit = Duration::from_secs(query.timeout_seconds.max(1).into());
        let values = self.secrets.read(namespace, &query.secrets).await?;
        let place = values.mask(&values.mask_placeholders(&place(&query.url)));
        let url = http_url(&values.fill_in(&query.url), &place)?;
        match timeout(limit, self.exchange(url.clone(), query, &values)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(format!("{place}: {}", without_host(values.mask(&error), &url, &place))),
            Err(_elapsed) => Err(format!(
                "{place}: no answer within {limit:?}: make the query cheaper, or raise the provider's timeout in the AnalysisTemplate"
            )),
        }
    }

    async fn exchange(&self, url: Url, query: &HttpQuery, values: &Values) -> Result<Reply, String> {
        let method = match query.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let client = if query.insecure { &self.insecure } else { &self.verifying };
        let mut request = client.request(method, url);
        for (name, value) in &query.headers {
            request = request.header(name, values.fill_in(value));
        }
        if let Some(body) = &query.body {
            request = request.body(values.fill_in(body));
        }
        let response = request.send().await.map_err(explain)?;
        let status = response.status();
        let (body, truncated) = read(response).await.map_err(explain)?;
        Ok(Reply::Http { status: status.as_u16(), body: masked(body, values), truncated })
    }
}

/// The body without secrets: it goes into messages and may quote what we sent. Not so the `data` of a success, of
/// which only numbers are taken: one that looks like a secret is none.
fn masked(body: String, values: &Values) -> String {
    if values.is_empty() {
        return body;
    }
    let Some(mut answer) = success(&body) else { return values.mask(&body) };
    for (name, part) in &mut answer {
        if name != "status" && name != "data" {
            mask_texts(part, values);
        }
    }
    Value::Object(answer).to_string()
}

/// The body as Prometheus, and whoever speaks like it, answers a query that went well.
fn success(body: &str) -> Option<Map<String, Value>> {
    let answer: Map<_, _> = serde_json::from_str(body).ok()?;
    (answer.get("status")? == "success").then_some(answer)
}

fn mask_texts(part: &mut Value, values: &Values) {
    match part {
        Value::String(text) => *text = values.mask(text),
        Value::Array(parts) => parts.iter_mut().for_each(|part| mask_texts(part, values)),
        Value::Object(parts) => parts.values_mut().for_each(|part| mask_texts(part, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The body up to the cap, and whether there is more.
async fn read(response: reqwest::Response) -> Result<(String, bool), reqwest::Error> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    let mut truncated = false;
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk?);
        if body.len() > BODY_BYTES_MAX {
            body.truncate(BODY_BYTES_MAX);
            truncated = true;
            break;
        }
    }
    Ok((String::from_utf8_lossy(&body).into_owned(), truncated))
}

/// `place` is what is shown of it.
fn http_url(text: &str, place: &str) -> Result<Url, String> {
    let wrong = |why: &str| {
        format!(
            "{place:?} is no address of a metric provider ({why}): write one such as http://prometheus.monitoring:9090"
        )
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(wrong("it does not begin with http:// or https://")),
    }
}

/// Scheme, host, port and path of an address: the query string is long and the user knows it. Of the one without secrets:
/// once an address is parsed, they can't be told from the rest.
fn place(address: &str) -> String {
    let place = address.split_once('?').map_or(address, |(place, _)| place);
    let Some((scheme, rest)) = place.split_once("://") else { return place.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |end| rest.split_at(end));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// An error without the host, unless the place tells it anyway: a certificate for somebody else is an error that names it.
fn without_host(error: String, url: &Url, place: &str) -> String {
    match url.host_str() {
        Some(host) if !place.to_lowercase().contains(host) => error.replace(host, MASK),
        _ => error,
    }
}

/// What went wrong, without the URL that reqwest repeats, and the usual reason for it.
fn explain(error: reqwest::Error) -> String {
    let hint = if error.is_connect() {
        ": is the address right, and may the controller's pod reach it?"
    } else {
        ""
    };
    let text = with_causes(&error.without_url());
    format!("{text}{hint}")
}

fn client(authorities: &[Certificate], trust: Trust) -> anyhow::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("headgate/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIME_LIMIT)
        .redirect(redirect::Policy::custom(follow))
        .tls_certs_only(authorities.iter().cloned())
        .tls_danger_accept_invalid_certs(trust == Trust::AcceptAny);
    builder.build().context("the HTTP client for metric providers")
}

/// Follows a redirect on the same host only: one to elsewhere would carry secrets there, and is most
/// often the way to a login page whose text is no measurement.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let from = attempt.previous().last();
    let same_host = from.is_some_and(|from| from.host() == attempt.url().host());
    let downgrade = from.is_some_and(|from| from.scheme() == "https") && attempt.url().scheme() != "https";
    if same_host && !downgrade && attempt.previous().len() <= REDIRECTS_MAX {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// Mozilla's certificate authorities and those of the file.
pub(crate) fn authorities(ca_file: Option<&Path>) -> anyhow::Result<Vec<Certificate>> {
    let mut all = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|der| Certificate::from_der(der))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).with_context(|| format!("--ca-file {}", path.display()))?;
        let own = Certificate::from_pem_bundle(&pem)
            .with_context(|| format!("--ca-file {}: not a PEM file with certificates", path.display()))?;
        all.extend(own);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
